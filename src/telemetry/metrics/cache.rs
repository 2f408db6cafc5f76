//! Series of the caches.

use prometheus::{Error, IntCounterVec, IntGaugeVec};

use super::Metrics;
use super::labels::{CacheName, CacheResult};
use super::register::Register;

#[derive(Debug)]
pub(super) struct CacheSeries {
    requests: IntCounterVec,
    evictions: IntCounterVec,
    size: IntGaugeVec,
    entries: IntGaugeVec,
}

impl CacheSeries {
    pub(super) fn register(r: &Register<'_>) -> Result<Self, Error> {
        let series = Self {
            requests: r.counters(
                "cache_requests_total",
                "Look-ups in a cache.",
                &["cache", "result"],
            )?,
            evictions: r.counters(
                "cache_evictions_total",
                "Entries evicted from a cache.",
                &["cache"],
            )?,
            size: r.gauges("cache_size_bytes", "Bytes held by a cache.", &["cache"])?,
            entries: r.gauges("cache_entries", "Entries held by a cache.", &["cache"])?,
        };
        for cache in CacheName::ALL {
            for result in CacheResult::ALL {
                series
                    .requests
                    .with_label_values(&[cache.name(), result.name()]);
            }
            series.evictions.with_label_values(&[cache.name()]);
            series.size.with_label_values(&[cache.name()]);
            series.entries.with_label_values(&[cache.name()]);
        }
        Ok(series)
    }
}

impl Metrics {
    /// Counts a look-up in a cache.
    pub fn cache_request(&self, cache: CacheName, result: CacheResult) {
        self.0
            .cache
            .requests
            .with_label_values(&[cache.name(), result.name()])
            .inc();
    }

    /// Counts entries that a cache evicted.
    pub fn cache_evicted(&self, cache: CacheName, entries: u64) {
        self.0
            .cache
            .evictions
            .with_label_values(&[cache.name()])
            .inc_by(entries);
    }

    /// Returns how many entries a cache evicted so far.
    pub(super) fn cache_evictions(&self, cache: CacheName) -> u64 {
        let evictions = &self.0.cache.evictions;
        evictions.with_label_values(&[cache.name()]).get()
    }

    /// Shows what a cache holds; `len_bytes` is zero for caches that are bounded by entries.
    pub fn cache_holds(&self, cache: CacheName, len_bytes: u64, entries: u64) {
        self.0
            .cache
            .size
            .with_label_values(&[cache.name()])
            .set(len_bytes.cast_signed());
        self.0
            .cache
            .entries
            .with_label_values(&[cache.name()])
            .set(entries.cast_signed());
    }
}
