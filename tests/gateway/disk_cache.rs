//! The disk tier of the cache, as operators use it: gateways that are killed, that share a directory, that cannot write.

use std::path::Path;
use std::time::Duration;

use hugbucket::devhub::Route;

use crate::operate::text;
use crate::stand::{Gateway, Stand, get, put, random_bytes};

/// Returns the value of a series.
pub(crate) async fn metric(gateway: &Gateway, series: &str) -> u64 {
    let (_, metrics) = text(format!("{}/metrics", gateway.admin)).await;
    let line = metrics.lines().find_map(|line| line.strip_prefix(series));
    let value = line.unwrap_or_else(|| panic!("{series} is missing"));
    value.trim().parse().unwrap()
}

/// Waits until a series has at least this value.
pub(crate) async fn reaches(gateway: &Gateway, series: &str, least: u64) {
    let mut look = tokio::time::interval(Duration::from_millis(5));
    while metric(gateway, series).await < least {
        look.tick().await;
    }
}

const ENTRIES: &str = "hugbucket_cache_entries{cache=\"disk\"}";
const WRITTEN: &str = "hugbucket_disk_cache_written_bytes_total";
const READ: &str = "hugbucket_disk_cache_read_bytes_total";
const FAILED_TO_WRITE: &str = "hugbucket_disk_cache_failures_total{reason=\"write\"}";

fn settings(dir: &Path) -> [(&str, &str); 2] {
    [
        ("HUGBUCKET_DISK_CACHE_DIR", dir.to_str().unwrap()),
        // What comes a second time comes from disk, not from memory.
        ("HUGBUCKET_XORB_CACHE_MAX_BYTES", "0"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateway_finds_its_bytes_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut stand = Stand::start_with(&settings(dir.path())).await;
    let (large, small) = (random_bytes(1, 20 << 20), random_bytes(2, 1000));
    put(&stand.s3(), "large", large.clone()).await;
    put(&stand.s3(), "small", small.clone()).await;
    for (key, content) in [("large", &large), ("small", &small)] {
        assert!(get(&stand.s3(), key).await.as_ref() == Some(content));
    }
    reaches(&stand.gateway, WRITTEN, (large.len() + small.len()) as u64).await;
    let entries = metric(&stand.gateway, ENTRIES).await;
    stand.gateway.kill();
    stand.gateway = stand.another_gateway(&settings(dir.path())).await;
    reaches(&stand.gateway, ENTRIES, entries).await;
    stand.hub.calls().reset();
    for (key, content) in [("large", &large), ("small", &small)] {
        assert!(get(&stand.s3(), key).await.as_ref() == Some(content));
    }
    assert_eq!(stand.hub.calls().count(Route::XorbGet), 0);
    assert!(stand.hub.calls().count(Route::Reconstruction) > 0);
    assert!(metric(&stand.gateway, READ).await >= (large.len() + small.len()) as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_that_share_a_directory_serve_what_either_has_fetched() {
    let dir = tempfile::tempdir().unwrap();
    let stand = Stand::start_with(&settings(dir.path())).await;
    let other = stand.another_gateway(&settings(dir.path())).await;
    let contents: Vec<_> = (0..8).map(|n| random_bytes(n, 3 << 20)).collect();
    for (n, content) in contents.iter().enumerate() {
        put(&stand.s3(), &n.to_string(), content.clone()).await;
    }
    // Both at once, so that both write the same files.
    let read_all = |s3: aws_sdk_s3::Client| {
        let contents = contents.clone();
        async move {
            for (n, content) in contents.iter().enumerate() {
                assert!(get(&s3, &n.to_string()).await.as_ref() == Some(content));
            }
        }
    };
    tokio::join!(read_all(stand.s3()), read_all(other.s3()));
    reaches(&stand.gateway, WRITTEN, 8 * (3 << 20)).await;
    let third = stand.another_gateway(&settings(dir.path())).await;
    reaches(&third, ENTRIES, 8).await;
    stand.hub.calls().reset();
    for s3 in [stand.s3(), other.s3(), third.s3()] {
        read_all(s3).await;
    }
    for gateway in [&stand.gateway, &other, &third] {
        for reason in ["read", "write", "damaged"] {
            let series = format!("hugbucket_disk_cache_failures_total{{reason=\"{reason}\"}}");
            assert_eq!(metric(gateway, &series).await, 0, "{reason}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_cannot_be_written_costs_no_request() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    let stand = Stand::start_with(&settings(&file)).await;
    let content = random_bytes(1, 5 << 20);
    put(&stand.s3(), "k", content.clone()).await;
    for _ in 0..2 {
        assert!(get(&stand.s3(), "k").await.as_ref() == Some(&content));
    }
    assert!(metric(&stand.gateway, FAILED_TO_WRITE).await >= 1);
    assert_eq!(metric(&stand.gateway, WRITTEN).await, 0);
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
}
