//! Many writers at once share one budget of memory, and all get through.

use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;
use bytes::Bytes;
use futures::StreamExt;

use crate::stand::{BUCKET, Stand, get, random_bytes};

/// Peak of the process's resident memory, MiB.
fn peak_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        / 1024
}

const FRAME_BYTES: usize = 32 << 10;

/// What the n-th writer sends as its frame.
fn content(writer: u64, frame: u64) -> Vec<u8> {
    random_bytes(writer << 32 | frame, FRAME_BYTES)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_slow_writers_all_finish_within_the_budget() {
    const WRITERS: u64 = 200;
    const FRAMES: u64 = 160;
    let stand = Stand::start_with(&[("HUGBUCKET_INGEST_MAX_BYTES", "64 MiB")]).await;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let expiry = PresigningConfig::expires_in(Duration::from_secs(600)).unwrap();
    let uploads = (0..WRITERS).map(|n| {
        let (s3, http, expiry) = (stand.s3(), http.clone(), expiry.clone());
        async move {
            let signed = s3
                .put_object()
                .bucket(BUCKET)
                .key(format!("slow/{n}"))
                .presigned(expiry)
                .await
                .unwrap();
            // Many frames with a pause before each: all writers have begun long before any of them ends.
            let frames = futures::stream::iter(0..FRAMES).then(move |frame| async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Ok::<_, std::io::Error>(Bytes::from(content(n, frame)))
            });
            let len_bytes = FRAMES * FRAME_BYTES as u64;
            let request = http.put(signed.uri()).header("content-length", len_bytes);
            let answer = request
                .body(reqwest::Body::wrap_stream(frames))
                .send()
                .await
                .unwrap();
            assert_eq!(answer.status(), 200, "writer {n}");
        }
    });
    futures::future::join_all(uploads).await;
    let peak = peak_mib(stand.gateway.pid());
    // They bring 1,000 MiB. Beside the budget, a connection holds its share of a read buffer, a frame or two that may be as
    // long, and what is cut of them; the process itself takes the rest.
    let most = 64 + WRITERS * 2 + 64;
    assert!(
        peak < most,
        "{peak} MiB for a budget of 64 MiB and {WRITERS} connections"
    );
    let s3 = stand.s3();
    for n in [0, 99, 199] {
        let whole: Vec<u8> = (0..FRAMES).flat_map(|frame| content(n, frame)).collect();
        assert!(get(&s3, &format!("slow/{n}")).await.unwrap() == whole);
    }
}
