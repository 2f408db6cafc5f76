//! Reads through the disk tier, against the fake CAS: what a restart costs upstream, and what damage does.

use std::fs;
use std::path::Path;

use xet_core_structures::xorb_object::CompressionScheme;

use crate::provider::cas::DiskConfig;
use crate::provider::cas::client::CasClient;
use crate::provider::cas::download::FileRef;
use crate::provider::cas::download::fake_cas::FakeCas;
use crate::provider::cas::download::tests::{chunks, client, read};

/// A client with a disk tier, which knows what lies there. Its memory is too small for anything.
async fn on_disk(dir: &Path) -> CasClient {
    let cas = client(|config| {
        config.xorb_cache_max_bytes = 1 << 20;
        config.disk_cache = Some(DiskConfig {
            dir: dir.into(),
            max_bytes: 1 << 30,
            keeps_all: true,
        });
    });
    cas.flush_disk_cache().await;
    cas
}

fn stored(fake: &FakeCas, count: usize) -> (FileRef, Vec<u8>) {
    fake.store(&chunks(count, 7), CompressionScheme::LZ4, 0..count)
}

/// Calls `change` for every file of the cache.
fn each_file(dir: &Path, change: impl Fn(&Path)) {
    for prefix in fs::read_dir(dir.join("xorbs-1")).unwrap() {
        for file in fs::read_dir(prefix.unwrap().path()).unwrap() {
            change(&file.unwrap().path());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_no_byte_is_fetched_again() {
    let (fake, dir) = (FakeCas::start().await, tempfile::tempdir().unwrap());
    for count in [4, 300] {
        let (file, content) = stored(&fake, count);
        let cas = on_disk(dir.path()).await;
        assert!(read(&cas, &fake, file, None).await.unwrap() == content);
        cas.flush_disk_cache().await;
        let fetched = fake.asked().xorb_bytes;
        let restarted = on_disk(dir.path()).await;
        for cas in [&cas, &restarted] {
            assert!(read(cas, &fake, file, None).await.unwrap() == content);
            let (start, end) = (file.size / 3, file.size / 2);
            let part = read(cas, &fake, file, Some((start, end))).await.unwrap();
            let at = |offset: u64| usize::try_from(offset).unwrap();
            assert!(part == content[at(start)..at(end)]);
        }
        assert_eq!(fake.asked().xorb_bytes, fetched);
        let metrics = restarted.0.metrics.render();
        assert!(metrics.contains("cache_requests_total{cache=\"disk\",result=\"miss\"} 0"));
        assert!(!metrics.contains("cache_requests_total{cache=\"disk\",result=\"hit\"} 0"));
        // The plan is what says that somebody may read this: it is asked for.
        assert!(metrics.contains("cache_requests_total{cache=\"reconstruction\",result=\"miss\"}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_fetched_again_and_never_served() {
    let (fake, dir) = (FakeCas::start().await, tempfile::tempdir().unwrap());
    let (file, content) = stored(&fake, 300);
    let cas = on_disk(dir.path()).await;
    read(&cas, &fake, file, None).await.unwrap();
    cas.flush_disk_cache().await;
    // In the last chunk of every file: reads have begun to deliver when they find it.
    each_file(dir.path(), |path| {
        let mut bytes = fs::read(path).unwrap();
        let at = bytes.len() - 100;
        bytes[at] ^= 4;
        fs::write(path, bytes).unwrap();
    });
    let fetched = fake.asked().xorb_bytes;
    assert!(read(&cas, &fake, file, None).await.unwrap() == content);
    assert!(fake.asked().xorb_bytes > fetched);
    // Each read finds the damage that is first in its way, and brings back what went with it.
    let mut is_whole = false;
    for _ in 0..20 {
        cas.flush_disk_cache().await;
        let fetched = fake.asked().xorb_bytes;
        assert!(read(&cas, &fake, file, None).await.unwrap() == content);
        is_whole |= fake.asked().xorb_bytes == fetched;
    }
    assert!(is_whole, "it was written again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_vanishes_is_no_error() {
    let (fake, dir) = (FakeCas::start().await, tempfile::tempdir().unwrap());
    let (file, content) = stored(&fake, 100);
    let cas = on_disk(dir.path()).await;
    for _ in 0..3 {
        assert!(read(&cas, &fake, file, None).await.unwrap() == content);
        cas.flush_disk_cache().await;
        fs::remove_dir_all(dir.path().join("xorbs-1")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_without_authorised_plan_gets_nothing_from_disk() {
    let (fake, dir) = (FakeCas::start().await, tempfile::tempdir().unwrap());
    let (file, _) = stored(&fake, 100);
    let cas = on_disk(dir.path()).await;
    read(&cas, &fake, file, None).await.unwrap();
    cas.flush_disk_cache().await;
    let restarted = on_disk(dir.path()).await;
    // No token is good enough from now on, not even a new one.
    fake.lock().token = "t1".into();
    fake.lock().v2_status = Some(axum::http::StatusCode::FORBIDDEN);
    read(&restarted, &fake, file, None).await.unwrap_err();
    let metrics = restarted.0.metrics.render();
    assert!(metrics.contains("disk_cache_read_bytes_total 0"));
}
