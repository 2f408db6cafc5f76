//! The tier against real directories: restarts, neighbours, damage, bounds, and disks that do not work.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use xet_core_structures::merklehash::MerkleHash;

use crate::provider::cas::chunk::Chunk;
use crate::provider::cas::disk::extent::temporary_dir;
use crate::provider::cas::disk::keeper::Order;
use crate::provider::cas::disk::tier::{DiskConfig, DiskTier};
use crate::telemetry::Metrics;

fn xorb(n: u64) -> MerkleHash {
    MerkleHash::from([n.rotate_right(8), n, 0, 0])
}

fn chunk(xorb: u64, index: u32, len: usize) -> Chunk {
    let mut bytes = vec![u8::try_from(index % 251).unwrap(); len];
    bytes[..8].copy_from_slice(&xorb.to_le_bytes());
    Chunk::from_compact(Bytes::from(bytes))
}

fn open(dir: &Path, max_bytes: u64) -> (DiskTier, Metrics) {
    let metrics = Metrics::new();
    let config = DiskConfig {
        dir: dir.into(),
        max_bytes,
        keeps_all: true,
    };
    (DiskTier::new(Some(config), &metrics), metrics)
}

/// Stores chunks of 1,000 bytes.
async fn fill(tier: &DiskTier, of: u64, chunks: std::ops::Range<u32>) {
    let mut spill = tier.spill();
    for index in chunks {
        spill.add(xorb(of), index, &chunk(of, index, 1000)).await;
    }
    drop(spill);
    tier.flush().await;
}

/// Reads chunks and checks them; `None` if one is missing.
async fn read(tier: &DiskTier, of: u64, chunks: std::ops::Range<u32>) -> Option<()> {
    let mut run = tier.find(xorb(of), &chunks)?;
    let mut index = chunks.start;
    loop {
        let chunks = run.next().await.ok()?;
        if chunks.is_empty() {
            break;
        }
        for found in chunks {
            assert_eq!(found.pieces(), chunk(of, index, 1000).pieces());
            index += 1;
        }
    }
    assert_eq!(index, chunks.end);
    Some(())
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let prefixes = fs::read_dir(dir.join("xorbs-1")).unwrap();
    let files = prefixes.flat_map(|prefix| fs::read_dir(prefix.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().path()).collect()
}

fn shows(metrics: &Metrics, line: &str) {
    let text = metrics.render();
    assert!(text.lines().any(|found| found == line), "{line}\n{text}");
}

#[tokio::test]
async fn what_was_written_is_read_in_any_cut_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (tier, metrics) = open(dir.path(), 1 << 30);
    fill(&tier, 1, 0..10).await;
    fill(&tier, 1, 8..700).await;
    assert_eq!(files(dir.path()).len(), 2);
    shows(&metrics, "hugbucket_disk_cache_written_bytes_total 700000");
    for tier in [tier, open(dir.path(), 1 << 30).0] {
        tier.flush().await;
        assert!(read(&tier, 1, 0..700).await.is_some());
        assert!(read(&tier, 1, 9..11).await.is_some());
        assert!(read(&tier, 1, 699..701).await.is_none());
        assert!(read(&tier, 2, 0..1).await.is_none());
    }
    shows(&metrics, "hugbucket_cache_entries{cache=\"disk\"} 2");
    shows(&metrics, "hugbucket_disk_cache_read_bytes_total 702000");
}

#[tokio::test]
async fn files_are_for_their_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let (tier, _) = open(dir.path(), 1 << 30);
    fill(&tier, 1, 0..1).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&files(dir.path())[0]), 0o600);
    assert_eq!(mode(&dir.path().join("xorbs-1")), 0o700);
}

#[tokio::test]
async fn damage_of_every_kind_is_a_miss_and_the_file_is_removed() {
    let damages: [fn(&Path); 4] = [
        |path| {
            let mut bytes = fs::read(path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(path, bytes).unwrap();
        },
        |path| {
            let file = fs::OpenOptions::new().write(true).open(path).unwrap();
            file.set_len(file.metadata().unwrap().len() - 1).unwrap();
        },
        |path| fs::write(path, "something else altogether").unwrap(),
        |path| {
            let other = path.with_file_name("other");
            fs::write(&other, vec![0; 5000]).unwrap();
            fs::rename(other, path).unwrap();
        },
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let (tier, metrics) = open(dir.path(), 1 << 30);
        fill(&tier, 1, 0..4).await;
        let path = files(dir.path()).remove(0);
        damage(&path);
        assert!(read(&tier, 1, 0..4).await.is_none(), "damage {number}");
        tier.flush().await;
        assert!(!path.exists(), "damage {number}");
        let counted = "hugbucket_disk_cache_failures_total{reason=\"damaged\"} 1";
        shows(&metrics, counted);
        assert!(tier.find(xorb(1), &(0..1)).is_none());
        fill(&tier, 1, 0..4).await;
        assert!(read(&tier, 1, 0..4).await.is_some());
    }
}

#[tokio::test]
async fn foreign_names_are_left_alone_and_abandoned_writes_are_swept() {
    let dir = tempfile::tempdir().unwrap();
    let (tier, _) = open(dir.path(), 1 << 30);
    fill(&tier, 1, 0..1).await;
    let beside = files(dir.path())[0].with_file_name("notes.txt");
    let outside = dir.path().join("precious");
    let temporary = temporary_dir(dir.path());
    let (old, fresh) = (temporary.join("old"), temporary.join("fresh"));
    for path in [&beside, &outside, &old, &fresh] {
        fs::write(path, "x").unwrap();
    }
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    let file = fs::File::options().write(true).open(&old).unwrap();
    file.set_modified(long_ago).unwrap();
    let (tier, metrics) = open(dir.path(), 1 << 30);
    tier.flush().await;
    assert!(beside.exists() && outside.exists() && fresh.exists() && !old.exists());
    shows(&metrics, "hugbucket_cache_entries{cache=\"disk\"} 1");
}

#[tokio::test]
async fn bytes_stay_below_the_bound_and_what_is_read_stays() {
    let dir = tempfile::tempdir().unwrap();
    let max_bytes = 100_000;
    let (tier, metrics) = open(dir.path(), max_bytes);
    for of in 0..60 {
        fill(&tier, of, 0..5).await;
        assert!(of == 0 || read(&tier, 0, 0..5).await.is_some(), "{of}");
        let held: u64 = files(dir.path())
            .iter()
            .map(|file| fs::metadata(file).unwrap().len())
            .sum();
        assert!(held <= max_bytes, "{held}");
    }
    assert!(read(&tier, 59, 0..5).await.is_some());
    assert!(read(&tier, 1, 0..5).await.is_none());
    let text = metrics.render();
    let evictions = "hugbucket_cache_evictions_total{cache=\"disk\"} 0";
    assert!(!text.lines().any(|line| line == evictions));
    // A smaller bound takes effect at the next start.
    let (smaller, _) = open(dir.path(), max_bytes / 4);
    smaller.flush().await;
    assert!(files(dir.path()).len() < 5);
}

#[tokio::test]
async fn two_that_share_a_directory_do_not_harm_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let (one, _) = open(dir.path(), 200_000);
    let (other, metrics) = open(dir.path(), 200_000);
    let fill_all = |tier: DiskTier, first: u64| async move {
        for of in first..first + 40 {
            fill(&tier, of, 0..5).await;
        }
        tier
    };
    // Both write some of the same.
    let (one, other) = tokio::join!(fill_all(one, 0), fill_all(other, 20));
    for of in 0..60 {
        // Whatever is read is right; what the other evicted is a miss.
        let _ = (read(&one, of, 0..5).await, read(&other, of, 0..5).await);
    }
    assert!(read(&other, 59, 0..5).await.is_some());
    for reason in ["read", "write", "damaged"] {
        let none = format!("hugbucket_disk_cache_failures_total{{reason=\"{reason}\"}} 0");
        shows(&metrics, &none);
    }
    // Who looks through the directory sees what both wrote, and keeps the bound again.
    let (third, metrics) = open(dir.path(), 200_000);
    third.flush().await;
    let left = files(dir.path());
    let held: u64 = left
        .iter()
        .map(|file| fs::metadata(file).unwrap().len())
        .sum();
    assert!(held <= 200_000, "{held}");
    let entries = format!("hugbucket_cache_entries{{cache=\"disk\"}} {}", left.len());
    shows(&metrics, &entries);
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_costs_nothing_but_the_cache() {
    let dir = tempfile::tempdir().unwrap();
    // Not even the administrator can make a directory of a file.
    let blocked = dir.path().join("file");
    fs::write(&blocked, "x").unwrap();
    let (tier, metrics) = open(&blocked, 1 << 30);
    tier.flush().await;
    fill(&tier, 1, 0..4).await;
    assert!(read(&tier, 1, 0..4).await.is_none());
    shows(
        &metrics,
        "hugbucket_disk_cache_failures_total{reason=\"write\"} 1",
    );
    assert_eq!(fs::read(&blocked).unwrap(), b"x");
}

#[tokio::test]
async fn without_patience_what_does_not_fit_is_left_out_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let metrics = Metrics::new();
    let config = DiskConfig {
        dir: dir.path().into(),
        max_bytes: 1 << 30,
        keeps_all: false,
    };
    let tier = DiskTier::new(Some(config), &metrics);
    let disk = tier.disk_for_test();
    let taken = disk.budget.clone().acquire_many_owned(32 << 20).await;
    fill(&tier, 1, 0..4).await;
    assert!(tier.find(xorb(1), &(0..1)).is_none());
    shows(&metrics, "hugbucket_disk_cache_skipped_bytes_total 4000");
    drop(taken);
    fill(&tier, 1, 0..4).await;
    assert!(read(&tier, 1, 0..4).await.is_some());
}

#[tokio::test]
async fn what_led_to_a_wrong_file_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (tier, _) = open(dir.path(), 1 << 30);
    fill(&tier, 1, 0..4).await;
    fill(&tier, 1, 4..8).await;
    tier.forget(xorb(1), &(3..4));
    assert!(tier.find(xorb(1), &(0..1)).is_none());
    tier.flush().await;
    assert_eq!(files(dir.path()).len(), 1);
    assert!(read(&tier, 1, 4..8).await.is_some());
}

#[tokio::test]
async fn a_file_that_is_asked_to_go_twice_goes_once() {
    let dir = tempfile::tempdir().unwrap();
    let (tier, metrics) = open(dir.path(), 1 << 30);
    fill(&tier, 1, 0..4).await;
    let disk = tier.disk_for_test();
    let held = disk.core.index.overlapping(xorb(1), &(0..4))[0];
    for _ in 0..2 {
        disk.order(Order::Remove(held));
    }
    tier.flush().await;
    assert!(files(dir.path()).is_empty());
    shows(
        &metrics,
        "hugbucket_disk_cache_failures_total{reason=\"write\"} 0",
    );
}
