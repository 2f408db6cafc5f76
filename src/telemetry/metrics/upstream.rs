//! Series of what hugbucket asks of others: calls to the Hub and the CAS, their budget, and the commits made by them.

use std::time::Duration;

use prometheus::{
    Counter, Error, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
};

use super::Metrics;
use super::labels::Upstream;
use super::register::Register;

/// Seconds, 1 ms to 300 s: from a look-up in the next rack to a batch that waits out a rate limit.
pub(super) const CALL_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1., 2.5, 5., 10., 30., 60., 300.,
];

/// Lines of one batch call; the Hub takes 1,000.
const BATCH_LINES: &[f64] = &[1., 2., 5., 10., 20., 50., 100., 200., 500., 1000.];

/// Ways in which a write was registered.
const COMMIT_RESULTS: [&str; 4] = ["ok", "retried", "failed", "refused"];

#[derive(Debug)]
pub(super) struct UpstreamSeries {
    requests: IntCounterVec,
    duration: HistogramVec,
    in_flight: IntGaugeVec,
    retries: IntCounterVec,
    sent: IntCounterVec,
    received: IntCounterVec,
    ratelimited_seconds: Counter,
    budget_remaining: IntGauge,
    budget_limit: IntGauge,
    dedup_saved: IntCounter,
    commit_batch_size: Histogram,
    commit_duration: Histogram,
    commits: IntCounterVec,
    ingest_buffered: IntGauge,
    ingest_limit: IntGauge,
}

impl UpstreamSeries {
    pub(super) fn register(r: &Register<'_>) -> Result<Self, Error> {
        let series = Self {
            requests: r.counters(
                "upstream_requests_total",
                "Attempts to call an upstream.",
                &["target", "operation", "outcome"],
            )?,
            duration: r.histograms(
                "upstream_request_duration_seconds",
                "Time to the response head of an upstream attempt.",
                &["target", "operation"],
                CALL_SECONDS,
            )?,
            in_flight: r.gauges(
                "upstream_in_flight",
                "Upstream attempts under way.",
                &["target"],
            )?,
            retries: r.counters(
                "upstream_retries_total",
                "Upstream attempts beyond the first.",
                &["target", "reason"],
            )?,
            sent: r.counters(
                "upstream_sent_bytes_total",
                "Bytes sent to an upstream.",
                &["target"],
            )?,
            received: r.counters(
                "upstream_received_bytes_total",
                "Bytes received from an upstream.",
                &["target"],
            )?,
            ratelimited_seconds: r.float_counter(
                "upstream_ratelimited_seconds_total",
                "Seconds waited because an upstream asked to.",
            )?,
            budget_remaining: r.gauge(
                "hub_budget_remaining",
                "Hub API calls left in the current window.",
            )?,
            budget_limit: r.gauge("hub_budget_limit", "Hub API calls allowed in a window.")?,
            dedup_saved: r.counter(
                "dedup_saved_bytes_total",
                "Bytes that needed no upload because their chunks were known.",
            )?,
            commit_batch_size: r.histogram(
                "commit_batch_size",
                "Lines in a batch call.",
                BATCH_LINES,
            )?,
            commit_duration: r.histogram(
                "commit_duration_seconds",
                "Time of a batch call.",
                CALL_SECONDS,
            )?,
            commits: r.counters(
                "commits_total",
                "Writes registered at the Hub, by result.",
                &["result"],
            )?,
            ingest_buffered: r
                .gauge("ingest_buffered_bytes", "Bytes of uploads held in memory.")?,
            ingest_limit: r.gauge(
                "ingest_limit_bytes",
                "Bytes of uploads that may be held in memory.",
            )?,
        };
        series.show_closed_sets();
        Ok(series)
    }

    fn show_closed_sets(&self) {
        for target in Upstream::ALL {
            self.in_flight.with_label_values(&[target.name()]);
            self.sent.with_label_values(&[target.name()]);
            self.received.with_label_values(&[target.name()]);
        }
        for result in COMMIT_RESULTS {
            self.commits.with_label_values(&[result]);
        }
    }
}

impl Metrics {
    /// Makes the series of the calls that an upstream gets exist at zero.
    pub fn upstream_calls(&self, target: Upstream, operations: &[&str]) {
        let series = &self.0.upstream;
        for operation in operations {
            let labels = &[target.name(), *operation];
            series.duration.with_label_values(labels);
            let [target, operation] = labels;
            series
                .requests
                .with_label_values(&[*target, *operation, "200"]);
        }
    }

    /// Counts one attempt that reached the wire. `outcome` is an HTTP status or `connect`, `timeout`, `reset`.
    pub fn upstream_attempt(
        &self,
        target: Upstream,
        operation: &str,
        outcome: &str,
        elapsed: Duration,
    ) {
        let series = &self.0.upstream;
        series
            .requests
            .with_label_values(&[target.name(), operation, outcome])
            .inc();
        series
            .duration
            .with_label_values(&[target.name(), operation])
            .observe(elapsed.as_secs_f64());
    }

    /// Shows one attempt as under way until the guard is dropped.
    #[must_use]
    pub fn upstream_in_flight(&self, target: Upstream) -> InFlight {
        let gauge = self
            .0
            .upstream
            .in_flight
            .with_label_values(&[target.name()]);
        InFlight::enter(gauge)
    }

    /// Counts a further attempt, by the reason for it: an HTTP status or `connect`, `timeout`, `reset`, `batch_entry`.
    pub fn upstream_retry(&self, target: Upstream, reason: &str) {
        self.0
            .upstream
            .retries
            .with_label_values(&[target.name(), reason])
            .inc();
    }

    /// Counts time waited because an upstream asked to.
    pub fn upstream_ratelimited(&self, waited: Duration) {
        self.0
            .upstream
            .ratelimited_seconds
            .inc_by(waited.as_secs_f64());
    }

    /// Shows the Hub's budget as its RateLimit headers tell it, in calls.
    pub fn hub_budget(&self, remaining: i64, limit: Option<i64>) {
        self.0.upstream.budget_remaining.set(remaining);
        if let Some(limit) = limit {
            self.0.upstream.budget_limit.set(limit);
        }
    }

    /// Counts bytes sent to an upstream.
    pub fn upstream_sent(&self, target: Upstream, len_bytes: u64) {
        self.0
            .upstream
            .sent
            .with_label_values(&[target.name()])
            .inc_by(len_bytes);
    }

    /// Counts bytes received from an upstream.
    pub fn upstream_received(&self, target: Upstream, len_bytes: u64) {
        self.0
            .upstream
            .received
            .with_label_values(&[target.name()])
            .inc_by(len_bytes);
    }

    /// Counts bytes that needed no upload.
    pub fn dedup_saved(&self, len_bytes: u64) {
        self.0.upstream.dedup_saved.inc_by(len_bytes);
    }

    /// Records a batch call.
    pub fn commit_batch(&self, lines: usize, elapsed: Duration) {
        self.0.upstream.commit_batch_size.observe(lines as f64);
        self.0
            .upstream
            .commit_duration
            .observe(elapsed.as_secs_f64());
    }

    /// Counts a registered write by its result: `ok`, `retried`, `failed`, or `refused` by its conditions.
    pub fn commit(&self, result: &str) {
        self.0.upstream.commits.with_label_values(&[result]).inc();
    }

    /// Shows how many bytes of uploads may be held in memory.
    pub fn ingest_limit(&self, len_bytes: u64) {
        self.0.upstream.ingest_limit.set(len_bytes.cast_signed());
    }

    /// Shows the bytes of uploads held in memory.
    pub fn ingest_buffered(&self, len_bytes: u64) {
        self.0.upstream.ingest_buffered.set(len_bytes.cast_signed());
    }
}

/// One more of something under way, until dropped.
#[derive(Debug)]
pub struct InFlight(IntGauge);

impl InFlight {
    pub(super) fn enter(gauge: IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
