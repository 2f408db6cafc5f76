//! The metrics registry: every series of hugbucket, with closed label sets.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

/// An upstream that hugbucket calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upstream {
    /// The Hub's REST API.
    Hub,
    /// The Xet content-addressed store's API.
    Cas,
    /// The storage behind signed URLs.
    Xorb,
}

impl Upstream {
    /// Returns the label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hub => "hub",
            Self::Cas => "cas",
            Self::Xorb => "xorb",
        }
    }
}

/// A cache with series of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheName {
    /// Decoded chunks.
    Xorb,
    /// File info.
    FileInfo,
    /// Reconstruction plans.
    Reconstruction,
    /// Xet tokens.
    Token,
    /// Pages of listings under way.
    Listing,
}

impl CacheName {
    /// All caches.
    pub const ALL: [Self; 5] = [
        Self::Xorb,
        Self::FileInfo,
        Self::Reconstruction,
        Self::Token,
        Self::Listing,
    ];

    /// Returns the label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Xorb => "xorb",
            Self::FileInfo => "file_info",
            Self::Reconstruction => "reconstruction",
            Self::Token => "token",
            Self::Listing => "listing",
        }
    }
}

/// What a cache said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheResult {
    /// It was there.
    Hit,
    /// It was fetched.
    Miss,
    /// Somebody else was fetching it, and the result was shared.
    Coalesced,
    /// The cache was not asked.
    Bypass,
}

impl CacheResult {
    /// All results.
    pub const ALL: [Self; 4] = [Self::Hit, Self::Miss, Self::Coalesced, Self::Bypass];

    /// Returns the label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Coalesced => "coalesced",
            Self::Bypass => "bypass",
        }
    }
}

/// All metrics of the process; clones share them.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Series>);

#[derive(Debug)]
struct Series {
    registry: Registry,
    upstream_requests: IntCounterVec,
    upstream_duration: HistogramVec,
    upstream_retries: IntCounterVec,
    upstream_sent: IntCounterVec,
    upstream_received: IntCounterVec,
    ratelimited_seconds: prometheus::Counter,
    hub_budget_remaining: IntGauge,
    hub_budget_limit: IntGauge,
    dedup_saved: IntCounter,
    commit_batch_size: Histogram,
    commit_duration: Histogram,
    commits: IntCounterVec,
    cache_requests: IntCounterVec,
    cache_evictions: IntCounterVec,
    cache_size: IntGaugeVec,
    cache_entries: IntGaugeVec,
    ingest_buffered: IntGauge,
    ready: Gauge,
}

impl Metrics {
    /// Creates a registry of its own, with every closed series at zero.
    ///
    /// # Panics
    /// Never in practice: names are constants that the tests register.
    pub fn new() -> Self {
        Self::register().map_or_else(
            |error| unreachable!("constant metric names register: {error}"),
            Self::from,
        )
    }

    fn register() -> Result<Series, prometheus::Error> {
        let registry = Registry::new_custom(Some("hugbucket".into()), None)?;
        let r = &registry;
        let series = Series {
            upstream_requests: counters(
                r,
                "upstream_requests_total",
                "Attempts to call an upstream.",
                &["target", "operation", "outcome"],
            )?,
            upstream_duration: histograms(
                r,
                "upstream_request_duration_seconds",
                "Time to the response head of an upstream attempt.",
                &["target", "operation"],
            )?,
            upstream_retries: counters(
                r,
                "upstream_retries_total",
                "Upstream attempts beyond the first.",
                &["target", "reason"],
            )?,
            upstream_sent: counters(
                r,
                "upstream_sent_bytes_total",
                "Bytes sent to an upstream.",
                &["target"],
            )?,
            upstream_received: counters(
                r,
                "upstream_received_bytes_total",
                "Bytes received from an upstream.",
                &["target"],
            )?,
            ratelimited_seconds: registered(
                r,
                prometheus::Counter::new(
                    "upstream_ratelimited_seconds_total",
                    "Seconds waited because an upstream asked to.",
                )?,
            )?,
            hub_budget_remaining: registered(
                r,
                IntGauge::new(
                    "hub_budget_remaining",
                    "Hub API calls left in the current window.",
                )?,
            )?,
            hub_budget_limit: registered(
                r,
                IntGauge::new("hub_budget_limit", "Hub API calls allowed in a window.")?,
            )?,
            dedup_saved: registered(
                r,
                IntCounter::new(
                    "dedup_saved_bytes_total",
                    "Bytes that needed no upload because their chunks were known.",
                )?,
            )?,
            commit_batch_size: registered(
                r,
                Histogram::with_opts(
                    HistogramOpts::new("commit_batch_size", "Lines in a batch call.")
                        .buckets(vec![1., 2., 5., 10., 20., 50., 100., 200., 500., 1000.]),
                )?,
            )?,
            commit_duration: registered(
                r,
                Histogram::with_opts(
                    HistogramOpts::new("commit_duration_seconds", "Time of a batch call.")
                        .buckets(duration_buckets()),
                )?,
            )?,
            commits: counters(
                r,
                "commits_total",
                "Writes registered at the Hub, by result.",
                &["result"],
            )?,
            cache_requests: counters(
                r,
                "cache_requests_total",
                "Look-ups in a cache.",
                &["cache", "result"],
            )?,
            cache_evictions: counters(
                r,
                "cache_evictions_total",
                "Entries evicted from a cache.",
                &["cache"],
            )?,
            cache_size: gauges(r, "cache_size_bytes", "Bytes held by a cache.", &["cache"])?,
            cache_entries: gauges(r, "cache_entries", "Entries held by a cache.", &["cache"])?,
            ingest_buffered: registered(
                r,
                IntGauge::new("ingest_buffered_bytes", "Bytes of uploads held in memory.")?,
            )?,
            ready: registered(
                r,
                Gauge::new("ready", "Whether the process takes requests.")?,
            )?,
            registry,
        };
        for cache in CacheName::ALL {
            for result in CacheResult::ALL {
                series
                    .cache_requests
                    .with_label_values(&[cache.name(), result.name()]);
            }
            series.cache_evictions.with_label_values(&[cache.name()]);
            series.cache_size.with_label_values(&[cache.name()]);
            series.cache_entries.with_label_values(&[cache.name()]);
        }
        for target in [Upstream::Hub, Upstream::Cas, Upstream::Xorb] {
            series.upstream_sent.with_label_values(&[target.name()]);
            series.upstream_received.with_label_values(&[target.name()]);
        }
        for result in ["ok", "retried", "failed"] {
            series.commits.with_label_values(&[result]);
        }
        Ok(series)
    }

    /// Returns the registry, for collectors that live elsewhere.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// Returns all series in Prometheus' text format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.0.registry.gather(), &mut text) {
            tracing::error!(%error, "failed to render metrics");
        }
        text
    }

    /// Counts one attempt that reached the wire. `outcome` is an HTTP status or `connect`, `timeout`, `reset`.
    pub fn upstream_attempt(
        &self,
        target: Upstream,
        operation: &str,
        outcome: &str,
        elapsed: Duration,
    ) {
        self.0
            .upstream_requests
            .with_label_values(&[target.name(), operation, outcome])
            .inc();
        self.0
            .upstream_duration
            .with_label_values(&[target.name(), operation])
            .observe(elapsed.as_secs_f64());
    }

    /// Counts a further attempt, by the reason for it: an HTTP status or `connect`, `timeout`, `reset`, `batch_entry`.
    pub fn upstream_retry(&self, target: Upstream, reason: &str) {
        self.0
            .upstream_retries
            .with_label_values(&[target.name(), reason])
            .inc();
    }

    /// Counts time waited because an upstream asked to.
    pub fn upstream_ratelimited(&self, waited: Duration) {
        self.0.ratelimited_seconds.inc_by(waited.as_secs_f64());
    }

    /// Shows the Hub's budget as its RateLimit headers tell it, in calls.
    pub fn hub_budget(&self, remaining: i64, limit: Option<i64>) {
        self.0.hub_budget_remaining.set(remaining);
        if let Some(limit) = limit {
            self.0.hub_budget_limit.set(limit);
        }
    }

    /// Counts bytes sent to an upstream.
    pub fn upstream_sent(&self, target: Upstream, len_bytes: u64) {
        self.0
            .upstream_sent
            .with_label_values(&[target.name()])
            .inc_by(len_bytes);
    }

    /// Counts bytes received from an upstream.
    pub fn upstream_received(&self, target: Upstream, len_bytes: u64) {
        self.0
            .upstream_received
            .with_label_values(&[target.name()])
            .inc_by(len_bytes);
    }

    /// Counts bytes that needed no upload.
    pub fn dedup_saved(&self, len_bytes: u64) {
        self.0.dedup_saved.inc_by(len_bytes);
    }

    /// Records a batch call.
    pub fn commit_batch(&self, lines: usize, elapsed: Duration) {
        self.0.commit_batch_size.observe(lines as f64);
        self.0.commit_duration.observe(elapsed.as_secs_f64());
    }

    /// Counts a registered write by its result: `ok`, `retried`, `failed`.
    pub fn commit(&self, result: &str) {
        self.0.commits.with_label_values(&[result]).inc();
    }

    /// Counts a look-up in a cache.
    pub fn cache_request(&self, cache: CacheName, result: CacheResult) {
        self.0
            .cache_requests
            .with_label_values(&[cache.name(), result.name()])
            .inc();
    }

    /// Counts entries that a cache evicted.
    pub fn cache_evicted(&self, cache: CacheName, entries: u64) {
        self.0
            .cache_evictions
            .with_label_values(&[cache.name()])
            .inc_by(entries);
    }

    /// Shows what a cache holds; `len_bytes` is zero for caches that are bounded by entries.
    pub fn cache_holds(&self, cache: CacheName, len_bytes: u64, entries: u64) {
        self.0
            .cache_size
            .with_label_values(&[cache.name()])
            .set(len_bytes.cast_signed());
        self.0
            .cache_entries
            .with_label_values(&[cache.name()])
            .set(entries.cast_signed());
    }

    /// Shows the bytes of uploads held in memory.
    pub fn ingest_buffered(&self, len_bytes: u64) {
        self.0.ingest_buffered.set(len_bytes.cast_signed());
    }

    /// Shows whether the process takes requests.
    pub fn ready(&self, is_ready: bool) {
        self.0.ready.set(if is_ready { 1.0 } else { 0.0 });
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Series> for Metrics {
    fn from(series: Series) -> Self {
        Self(Arc::new(series))
    }
}

fn duration_buckets() -> Vec<f64> {
    vec![
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1., 2.5, 5., 10., 30., 60., 300.,
    ]
}

fn registered<C: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    registered(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
}

fn gauges(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntGaugeVec, prometheus::Error> {
    registered(registry, IntGaugeVec::new(Opts::new(name, help), labels)?)
}

fn histograms(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<HistogramVec, prometheus::Error> {
    registered(
        registry,
        HistogramVec::new(
            HistogramOpts::new(name, help).buckets(duration_buckets()),
            labels,
        )?,
    )
}
