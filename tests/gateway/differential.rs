//! The official client as the oracle: it reads what we write, and we read what it writes.

use bytes::Bytes;

use crate::stand::{BUCKET, HUB_TOKEN, NAMESPACE, Stand, get, put, random_bytes};
use crate::xet;

/// Sizes around the borders of chunks and frames.
const SIZES: [usize; 9] = [
    1,
    8_191,
    8_192,
    65_536,
    131_072,
    131_073,
    1_000_000,
    5 << 20,
    20 << 20,
];

/// Text that compresses, with repetition that deduplicates.
fn text(len: usize) -> Vec<u8> {
    let lines = (0_u32..)
        .flat_map(|n| format!("{} the quick brown fox {}\n", n % 1000, n / 7).into_bytes());
    lines.take(len).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_client_reads_what_the_gateway_writes() {
    let stand = Stand::start().await;
    let client = xet::Client::new(
        stand.hub.url().as_str(),
        HUB_TOKEN,
        &format!("{NAMESPACE}/{BUCKET}"),
    )
    .await
    .unwrap();
    for (n, size) in SIZES.into_iter().enumerate() {
        for (kind, bytes) in [
            ("random", random_bytes(n as u64, size)),
            ("text", text(size)),
        ] {
            let key = format!("{kind}/{size}");
            put(&stand.s3(), &key, bytes.clone()).await;
            let mut read = Vec::new();
            client
                .get(&key, |frame| read.extend_from_slice(frame))
                .await
                .unwrap();
            assert!(read == bytes, "{key}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_reads_what_the_official_client_writes() {
    let stand = Stand::start().await;
    let client = xet::Client::new(
        stand.hub.url().as_str(),
        HUB_TOKEN,
        &format!("{NAMESPACE}/{BUCKET}"),
    )
    .await
    .unwrap();
    for (n, size) in SIZES.into_iter().enumerate() {
        for (kind, bytes) in [
            ("random", random_bytes(n as u64, size)),
            ("text", text(size)),
        ] {
            let key = format!("{kind}/{size}");
            client.put(&key, Bytes::from(bytes.clone())).await.unwrap();
            assert!(get(&stand.s3(), &key).await.unwrap() == bytes, "{key}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_give_the_same_bytes_the_same_hash() {
    let stand = Stand::start().await;
    let client = xet::Client::new(
        stand.hub.url().as_str(),
        HUB_TOKEN,
        &format!("{NAMESPACE}/{BUCKET}"),
    )
    .await
    .unwrap();
    for (n, size) in [1, 131_073, 3 << 20].into_iter().enumerate() {
        let bytes = random_bytes(100 + n as u64, size);
        let (ours, theirs) = (format!("ours/{size}"), format!("theirs/{size}"));
        client
            .put(&theirs, Bytes::from(bytes.clone()))
            .await
            .unwrap();
        put(&stand.s3(), &ours, bytes).await;
        let tag = async |key: &str| {
            let head = stand.s3().head_object().bucket(BUCKET).key(key);
            head.send().await.unwrap().e_tag().unwrap().to_owned()
        };
        assert_eq!(tag(&ours).await, tag(&theirs).await, "{size} bytes");
    }
}
