//! Series of the disk tier of the xorb cache, beside those that it has like every cache.

use prometheus::{Error, IntCounter, IntCounterVec};

use super::Metrics;
use super::labels::{CacheName, DiskFailure};
use super::register::Register;

#[derive(Debug)]
pub(super) struct DiskSeries {
    read: IntCounter,
    written: IntCounter,
    skipped: IntCounter,
    failures: IntCounterVec,
}

/// What the disk cache did so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskCacheTotals {
    /// Bytes of object data that came from it.
    pub read_bytes: u64,
    /// Bytes of object data that went to it.
    pub written_bytes: u64,
    /// Bytes of object data that it did not take.
    pub skipped_bytes: u64,
    /// Files that it gave up to make room.
    pub evictions: u64,
}

impl DiskSeries {
    pub(super) fn register(r: &Register<'_>) -> Result<Self, Error> {
        let series = Self {
            read: r.counter(
                "disk_cache_read_bytes_total",
                "Bytes of object data that were read from the disk cache.",
            )?,
            written: r.counter(
                "disk_cache_written_bytes_total",
                "Bytes of object data that were written to the disk cache.",
            )?,
            skipped: r.counter(
                "disk_cache_skipped_bytes_total",
                "Bytes of object data that the disk cache had no time, room, or permission to write.",
            )?,
            failures: r.counters(
                "disk_cache_failures_total",
                "Failures of the disk cache, none of which a client sees.",
                &["reason"],
            )?,
        };
        for failure in DiskFailure::ALL {
            series.failures.with_label_values(&[failure.name()]);
        }
        Ok(series)
    }
}

impl Metrics {
    /// Returns what the disk cache did so far.
    pub fn disk_cache_totals(&self) -> DiskCacheTotals {
        let disk = &self.0.disk;
        DiskCacheTotals {
            read_bytes: disk.read.get(),
            written_bytes: disk.written.get(),
            skipped_bytes: disk.skipped.get(),
            evictions: self.cache_evictions(CacheName::Disk),
        }
    }

    /// Counts bytes that were read from the disk cache.
    pub fn disk_cache_read(&self, len_bytes: u64) {
        self.0.disk.read.inc_by(len_bytes);
    }

    /// Counts bytes that were written to the disk cache.
    pub fn disk_cache_written(&self, len_bytes: u64) {
        self.0.disk.written.inc_by(len_bytes);
    }

    /// Counts bytes that the disk cache did not take.
    pub fn disk_cache_skipped(&self, len_bytes: u64) {
        self.0.disk.skipped.inc_by(len_bytes);
    }

    /// Counts a failure of the disk cache.
    pub fn disk_cache_failed(&self, failure: DiskFailure) {
        let failures = &self.0.disk.failures;
        failures.with_label_values(&[failure.name()]).inc();
    }
}
