//! How far content is checked on its way from the storage to a client: what README and SECURITY.md promise of it.

use hugbucket::devhub::{Effect, Fault, Route};

use crate::stand::{BUCKET, Stand, put, random_bytes};

const MIB: usize = 1 << 20;

/// Reads an object, or a range of it; `None` if the read was refused or cut.
async fn read(stand: &Stand, key: &str, range: Option<&str>) -> Option<Vec<u8>> {
    let s3 = stand.s3();
    let config = s3.config().to_builder();
    let once = config.retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled());
    let request = aws_sdk_s3::Client::from_conf(once.build()).get_object();
    let request = request.bucket(BUCKET).key(key);
    let object = request
        .set_range(range.map(str::to_owned))
        .send()
        .await
        .ok()?;
    let body = object.body.collect().await.ok()?;
    Some(body.to_vec())
}

/// Has the next answer of the storage be wrong.
fn inject(stand: &Stand, effect: Effect) {
    stand.hub.faults().clear();
    stand
        .hub
        .faults()
        .inject(Fault::once(Route::XorbGet, effect));
}

/// Stores incompressible bytes, which lie in their xorb as they are, and text, which does not.
async fn stored(stand: &Stand) -> (Vec<u8>, Vec<u8>) {
    let raw = random_bytes(7, 3 * MIB);
    let text = "the same words again and again, "
        .repeat(MIB / 16)
        .into_bytes();
    put(&stand.s3(), "raw", raw.clone()).await;
    put(&stand.s3(), "text", text.clone()).await;
    (raw, text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_object_is_right_or_cut_wherever_a_byte_was_changed() {
    let mut stand = Stand::start().await;
    let (raw, text) = stored(&stand).await;
    for at_byte in [0, 1, 4, 5, 8, 1000, 70_000, 1_500_000, 3_000_000] {
        for (key, content) in [("raw", &raw), ("text", &text)] {
            stand.restart_gateway().await;
            inject(&stand, Effect::Corrupt { at_byte });
            if let Some(read) = read(&stand, key, None).await {
                assert!(read == *content, "{key}, byte {at_byte}");
            }
            // Nothing of it was kept.
            stand.hub.faults().clear();
            assert!(
                read(&stand, key, None).await.as_ref() == Some(content),
                "{key}, byte {at_byte}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_cut_short_is_resumed_for_ranges_too() {
    let mut stand = Stand::start().await;
    let (raw, text) = stored(&stand).await;
    for after_bytes in [0, 7, 8, 1000, 300_000] {
        for (key, content) in [("raw", &raw), ("text", &text)] {
            for (first, last) in [(0, 99), (500_000, 1_499_999)] {
                stand.restart_gateway().await;
                inject(&stand, Effect::Truncate { after_bytes });
                let range = format!("bytes={first}-{last}");
                let got = read(&stand, key, Some(&range)).await;
                assert!(
                    got.as_deref() == Some(&content[first..=last]),
                    "{key} {range} {after_bytes}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_with_a_broken_frame_is_refused_or_fetched_again() {
    let mut stand = Stand::start().await;
    let (raw, text) = stored(&stand).await;
    // The version, a length, the scheme, and the other length of the first chunk; then the frame of a compressed one.
    for (key, content, bytes) in [
        ("raw", &raw, &[0, 1, 4, 5][..]),
        ("text", &text, &[0, 1, 4, 5, 8, 9]),
    ] {
        for at_byte in bytes {
            stand.restart_gateway().await;
            inject(&stand, Effect::Corrupt { at_byte: *at_byte });
            let got = read(&stand, key, Some("bytes=0-99")).await;
            assert!(
                got.is_none_or(|got| got == content[..100]),
                "{key}, byte {at_byte}"
            );
            stand.hub.faults().clear();
            let again = read(&stand, key, Some("bytes=0-99")).await;
            assert!(
                again.as_deref() == Some(&content[..100]),
                "{key}, byte {at_byte}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_of_a_small_object_is_checked_with_the_whole() {
    let mut stand = Stand::start().await;
    let content = random_bytes(9, 500_000);
    put(&stand.s3(), "k", content.clone()).await;
    for at_byte in [50, 400_000] {
        stand.restart_gateway().await;
        inject(&stand, Effect::Corrupt { at_byte });
        let got = read(&stand, "k", Some("bytes=0-99")).await;
        assert!(
            got.is_none_or(|got| got == content[..100]),
            "byte {at_byte}"
        );
        stand.hub.faults().clear();
        let again = read(&stand, "k", Some("bytes=0-99")).await;
        assert!(again.as_deref() == Some(&content[..100]), "byte {at_byte}");
    }
}

/// Plans name no hashes of chunks, so that a range of a large object cannot be checked: this is the limit, and not a wish.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_byte_in_a_range_of_a_large_object_is_not_found_but_never_becomes_a_whole() {
    let mut stand = Stand::start().await;
    let (raw, _) = stored(&stand).await;
    stand.restart_gateway().await;
    inject(&stand, Effect::Corrupt { at_byte: 50 });
    let got = read(&stand, "raw", Some("bytes=0-99")).await.unwrap();
    assert_eq!(got.len(), 100);
    let differs = |(got, stored): &(&u8, &u8)| got != stored;
    let wrong = got.iter().zip(&raw).filter(differs).count();
    assert_eq!(wrong, 1, "the byte that the storage changed, and no other");
    // Whatever was kept of the range, a whole object is right, or it is cut and all that led to it is forgotten.
    stand.hub.faults().clear();
    if let Some(whole) = read(&stand, "raw", None).await {
        assert!(whole == raw);
    }
    assert!(read(&stand, "raw", None).await.as_ref() == Some(&raw));
}
