//! What clients may take: connections, requests of one credential, bytes a second, headers.

use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::Credentials;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::crowd::{Raw, begins_with_ok};
use crate::multipart::begin;
use crate::operate::text;
use crate::stand::{BUCKET, Stand, get, put, random_bytes};

/// A stand with a second credential, `tenant`, about which the file says this too.
async fn stand(own: &str, more: &[(&str, &str)]) -> (Stand, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hugbucket.toml");
    let toml = format!(
        "[[s3_credentials]]\naccess_key_id = \"tenant\"\nsecret_access_key = \"secret\"\n{own}\n"
    );
    std::fs::write(&file, toml).unwrap();
    let settings = [("HUGBUCKET_CONFIG", file.to_str().unwrap())];
    (Stand::start_with(&[&settings, more].concat()).await, dir)
}

/// A client of the second credential, which does not try again.
fn tenant(stand: &Stand) -> Client {
    let own = stand.s3().config().to_builder();
    let own = own.credentials_provider(Credentials::new("tenant", "secret", None, None, "test"));
    Client::from_conf(own.retry_config(RetryConfig::disabled()).build())
}

async fn shows(stand: &Stand, line: &str) -> bool {
    let (_, metrics) = text(format!("{}/metrics", stand.gateway.admin)).await;
    metrics.lines().any(|found| found == line)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_has_so_many_requests_and_the_others_have_theirs() {
    let (stand, _dir) = stand("max_requests = 2", &[]).await;
    put(&stand.s3(), "large", random_bytes(1, 16 << 20)).await;
    let tenant = tenant(&stand);
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut raw = Raw::open(&stand.gateway).await;
        raw.ask_get(&tenant, "large").await;
        assert!(begins_with_ok(&mut raw.stream).await);
        held.push(raw);
    }
    let refused = tenant
        .head_object()
        .bucket(BUCKET)
        .key("large")
        .send()
        .await;
    assert_eq!(
        refused
            .unwrap_err()
            .raw_response()
            .unwrap()
            .status()
            .as_u16(),
        503
    );
    let refused = tenant.get_object().bucket(BUCKET).key("large").send().await;
    assert_eq!(refused.unwrap_err().code(), Some("SlowDown"));
    let line = "hugbucket_requests_rejected_total{layer=\"share\",protocol=\"s3\"} 2";
    assert!(shows(&stand, line).await);
    put(&stand.s3(), "other", "x").await;
    drop(held);
    // The gateway notices in its own time.
    let mut look = tokio::time::interval(Duration::from_millis(5));
    loop {
        look.tick().await;
        let found = tenant.head_object().bucket(BUCKET).key("other").send();
        if found.await.is_ok() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_credentials_none_takes_every_request() {
    let (stand, _dir) = stand("", &[("HUGBUCKET_MAX_REQUESTS", "18")]).await;
    put(&stand.s3(), "large", random_bytes(1, 16 << 20)).await;
    let tenant = tenant(&stand);
    let mut held = Vec::new();
    loop {
        let mut raw = Raw::open(&stand.gateway).await;
        raw.ask_get(&tenant, "large").await;
        if !begins_with_ok(&mut raw.stream).await {
            break;
        }
        held.push(raw);
        assert!(held.len() < 18, "it took everything");
    }
    assert_eq!(held.len(), 16, "eight ninths");
    assert_eq!(get(&stand.s3(), "missing").await, None);
    put(&stand.s3(), "other", "x").await;
    assert_eq!(get(&stand.s3(), "other").await.unwrap(), b"x");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_sends_and_receives_at_its_rate() {
    let own = "download_rate = \"512 KiB\"\nupload_rate = \"256 KiB\"";
    let (stand, _dir) = stand(own, &[]).await;
    let (own, tenant) = (stand.s3(), tenant(&stand));
    let bytes = random_bytes(1, 512 << 10);
    let begun = Instant::now();
    put(&tenant, "k", bytes.clone()).await;
    assert!(
        begun.elapsed() > Duration::from_millis(1400),
        "{:?}",
        begun.elapsed()
    );
    let begun = Instant::now();
    let both = tokio::join!(get(&tenant, "k"), get(&tenant, "k"));
    assert!(
        begun.elapsed() > Duration::from_millis(1400),
        "{:?}",
        begun.elapsed()
    );
    assert!(both.0.unwrap() == bytes && both.1.unwrap() == bytes);
    let (_, metrics) = text(format!("{}/metrics", stand.gateway.admin)).await;
    for direction in ["upload", "download"] {
        let series = format!("hugbucket_throttled_seconds_total{{direction=\"{direction}\"}} ");
        let line = metrics
            .lines()
            .find(|line| line.starts_with(&series))
            .unwrap();
        let seconds: f64 = line[series.len()..].parse().unwrap();
        assert!(seconds > 1.0, "{line}");
    }
    assert!(get(&own, "k").await.unwrap() == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_are_told() {
    let settings = [("HUGBUCKET_S3_MAX_CONNECTIONS_PER_ADDRESS", "3")];
    let stand = Stand::start().await;
    let limited = stand.another_gateway(&settings).await;
    let held: Vec<Raw> = {
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(Raw::open(&limited).await);
        }
        held
    };
    // They are accepted in their order, so the fourth comes when three are there.
    let mut answer = String::new();
    let mut fourth = Raw::open(&limited).await.stream;
    fourth.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.contains("SlowDown"),
        "{answer}"
    );
    let (_, metrics) = text(format!("{}/metrics", limited.admin)).await;
    let line = "hugbucket_s3_connections_refused_total{reason=\"address\"} 1";
    assert!(metrics.lines().any(|found| found == line));
    let mut first = held.into_iter().next().unwrap();
    first.ask("GET / HTTP/1.1", "").await;
    let mut answer = [0; 12];
    first.stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 403");
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_too_large_or_too_slow_end() {
    let settings = [
        ("HUGBUCKET_S3_MAX_HEADERS", "30"),
        ("HUGBUCKET_S3_MAX_HEADER_BYTES", "8 KiB"),
        ("HUGBUCKET_S3_HEADER_TIMEOUT", "1 s"),
    ];
    let stand = Stand::start_with(&settings).await;
    let many: String = (0..40).map(|n| format!("x-{n}: 1\r\n")).collect();
    let long = format!("x-long: {}\r\n", "x".repeat(9 << 10));
    for headers in [many, long] {
        let mut raw = Raw::open(&stand.gateway).await;
        raw.ask("GET / HTTP/1.1", &format!("{headers}connection: close\r\n"))
            .await;
        let mut answer = String::new();
        raw.stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains("RequestHeaderSectionTooLarge"), "{answer}");
    }
    let mut slow: TcpStream = Raw::open(&stand.gateway).await.stream;
    slow.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nx-")
        .await
        .unwrap();
    let mut answer = Vec::new();
    slow.read_to_end(&mut answer).await.unwrap();
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_has_so_many_uploads_under_way() {
    let stand = Stand::start_with(&[("HUGBUCKET_MAX_UPLOADS_PER_BUCKET", "2")]).await;
    let s3 = stand.s3();
    let first = begin(&s3, "a").await;
    begin(&s3, "b").await;
    let third = s3.create_multipart_upload().bucket(BUCKET).key("c");
    let refused = third.send().await.unwrap_err();
    assert_eq!(refused.code(), Some("InvalidRequest"));
    assert!(refused.message().unwrap().contains("complete or abort"));
    assert!(
        shows(
            &stand,
            "hugbucket_multipart_uploads_total{result=\"refused\"} 1"
        )
        .await
    );
    // Another process finds them all, without having seen any of them.
    let other = stand
        .another_gateway(&[("HUGBUCKET_MAX_UPLOADS_PER_BUCKET", "2")])
        .await;
    let third = other.s3().create_multipart_upload().bucket(BUCKET).key("c");
    assert_eq!(
        third.send().await.unwrap_err().code(),
        Some("InvalidRequest")
    );
    let abort = s3.abort_multipart_upload().bucket(BUCKET).key("a");
    abort.upload_id(first).send().await.unwrap();
    begin(&s3, "c").await;
}
