//! Series of what clients ask of hugbucket, and of what reaches the provider.

use std::time::Duration;

use prometheus::{
    Error, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
};

use super::Metrics;
use super::labels::{AuthFailure, PROTOCOLS, RefusedBy, Status};
use super::register::Register;
use super::upstream::{CALL_SECONDS, InFlight};

/// Seconds, 5 ms to 300 s: whole requests, up to the last body byte.
const REQUEST_SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1., 2.5, 5., 10., 30., 60., 120., 300.,
];

/// Seconds, 1 ms to 10 s: up to the first body byte.
const FIRST_BYTE_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1., 2.5, 5., 10.,
];

/// Bytes, 1 KiB to 64 GiB in steps of sixteen, with 64 MiB, the size of a xorb, between.
const OBJECT_BYTES: &[f64] = &[
    0.,
    1024.,
    16_384.,
    262_144.,
    4_194_304.,
    67_108_864.,
    1_073_741_824.,
    17_179_869_184.,
    68_719_476_736.,
];

#[derive(Debug)]
pub(super) struct RequestSeriesSet {
    requests: IntCounterVec,
    duration: HistogramVec,
    ttfb: HistogramVec,
    in_flight: IntGaugeVec,
    rejected: IntCounterVec,
    received: IntCounterVec,
    sent: IntCounterVec,
    object_size: HistogramVec,
    auth_failures: IntCounterVec,
    provider_requests: IntCounterVec,
    provider_duration: HistogramVec,
}

impl RequestSeriesSet {
    pub(super) fn register(r: &Register<'_>) -> Result<Self, Error> {
        let operation = &["protocol", "operation"];
        let series = Self {
            requests: r.counters(
                "requests_total",
                "Requests that ended, by blame (status) and outcome (error, empty when all went well).",
                &["protocol", "operation", "status", "error"],
            )?,
            duration: r.histograms(
                "request_duration_seconds",
                "Time from the request head to the last byte of the response body.",
                operation,
                REQUEST_SECONDS,
            )?,
            ttfb: r.histograms(
                "request_ttfb_seconds",
                "Time from the request head to the first byte of the response body, or to the answer where there is none.",
                operation,
                FIRST_BYTE_SECONDS,
            )?,
            in_flight: r.gauges(
                "requests_in_flight",
                "Requests under way, response bodies included.",
                &["protocol"],
            )?,
            rejected: r.counters(
                "requests_rejected_total",
                "Requests that a layer refused before they reached the provider.",
                &["layer", "protocol"],
            )?,
            received: r.counters(
                "received_bytes_total",
                "Body bytes received from clients, framing included.",
                operation,
            )?,
            sent: r.counters("sent_bytes_total", "Body bytes sent to clients.", operation)?,
            object_size: r.histograms(
                "object_size_bytes",
                "Sizes of the objects and parts that were read or written.",
                operation,
                OBJECT_BYTES,
            )?,
            auth_failures: r.counters(
                "auth_failures_total",
                "Requests and logins that were not let in.",
                &["protocol", "reason"],
            )?,
            provider_requests: r.counters(
                "provider_requests_total",
                "Attempts that reached the provider.",
                &["operation", "outcome"],
            )?,
            provider_duration: r.histograms(
                "provider_request_duration_seconds",
                "Time from the attempt to the provider's answer, without the response body.",
                &["operation"],
                CALL_SECONDS,
            )?,
        };
        series.show_closed_sets();
        Ok(series)
    }

    fn show_closed_sets(&self) {
        for protocol in PROTOCOLS {
            self.in_flight.with_label_values(&[protocol]);
            for layer in RefusedBy::ALL {
                self.rejected.with_label_values(&[layer.name(), protocol]);
            }
            for reason in AuthFailure::ALL {
                self.auth_failures
                    .with_label_values(&[protocol, reason.name()]);
            }
        }
    }
}

impl Metrics {
    /// Returns the series of one operation over one protocol, resolved once so that requests look nothing up.
    ///
    /// Asking for them makes them exist at zero. Both labels must come from closed sets.
    pub fn requests(&self, protocol: &str, operation: &str) -> RequestSeries {
        let set = &self.0.requests;
        let labels = &[protocol, operation];
        RequestSeries {
            ok: set
                .requests
                .with_label_values(&[protocol, operation, Status::Ok.name(), ""]),
            ended: set.requests.clone(),
            labels: [protocol.to_owned(), operation.to_owned()],
            duration: set.duration.with_label_values(labels),
            ttfb: set.ttfb.with_label_values(labels),
            in_flight: set.in_flight.with_label_values(&[protocol]),
            received: set.received.with_label_values(labels),
            sent: set.sent.with_label_values(labels),
            object_size: set.object_size.with_label_values(labels),
        }
    }

    /// Returns the series of one operation as it reaches the provider, resolved once.
    pub fn provider_requests(&self, operation: &str) -> ProviderSeries {
        let set = &self.0.requests;
        ProviderSeries {
            ok: set.provider_requests.with_label_values(&[operation, "ok"]),
            ended: set.provider_requests.clone(),
            operation: operation.to_owned(),
            duration: set.provider_duration.with_label_values(&[operation]),
        }
    }

    /// Counts a request that a layer refused; `protocol` is `s3` or `ftp`.
    pub fn request_rejected(&self, layer: RefusedBy, protocol: &str) {
        self.0
            .requests
            .rejected
            .with_label_values(&[layer.name(), protocol])
            .inc();
    }

    /// Counts a request that an adapter refused before it became an operation: `error` is the outcome's name.
    pub fn request_refused(&self, protocol: &str, operation: &str, status: Status, error: &str) {
        self.0
            .requests
            .requests
            .with_label_values(&[protocol, operation, status.name(), error])
            .inc();
    }

    /// Counts a caller that was not let in; `protocol` is `s3` or `ftp`.
    pub fn auth_failure(&self, protocol: &str, reason: AuthFailure) {
        self.0
            .requests
            .auth_failures
            .with_label_values(&[protocol, reason.name()])
            .inc();
    }
}

/// The series of one operation over one protocol.
#[derive(Debug, Clone)]
pub struct RequestSeries {
    ok: IntCounter,
    ended: IntCounterVec,
    labels: [String; 2],
    duration: Histogram,
    ttfb: Histogram,
    in_flight: IntGauge,
    received: IntCounter,
    sent: IntCounter,
    object_size: Histogram,
}

impl RequestSeries {
    /// Shows one request as under way until the guard is dropped.
    #[must_use]
    pub fn enter(&self) -> InFlight {
        InFlight::enter(self.in_flight.clone())
    }

    /// Records the time to the first byte.
    pub fn first_byte(&self, elapsed: Duration) {
        self.ttfb.observe(elapsed.as_secs_f64());
    }

    /// Counts body bytes from the client.
    pub fn received(&self, len_bytes: usize) {
        self.received.inc_by(len_bytes as u64);
    }

    /// Counts body bytes to the client.
    pub fn sent(&self, len_bytes: usize) {
        self.sent.inc_by(len_bytes as u64);
    }

    /// Records the size of an object or part.
    pub fn object_size(&self, len_bytes: u64) {
        self.object_size.observe(len_bytes as f64);
    }

    /// Counts the end of a request; `error` is the outcome's name, empty when all went well.
    pub fn ended(&self, status: Status, error: &str, elapsed: Duration) {
        self.duration.observe(elapsed.as_secs_f64());
        if status == Status::Ok && error.is_empty() {
            self.ok.inc();
            return;
        }
        let [protocol, operation] = &self.labels;
        self.ended
            .with_label_values(&[protocol, operation, status.name(), error])
            .inc();
    }
}

/// The series of one operation as it reaches the provider.
#[derive(Debug, Clone)]
pub struct ProviderSeries {
    ok: IntCounter,
    ended: IntCounterVec,
    operation: String,
    duration: Histogram,
}

impl ProviderSeries {
    /// Counts an attempt by its outcome: `ok` or an error's name.
    pub fn ended(&self, outcome: &str, elapsed: Duration) {
        self.duration.observe(elapsed.as_secs_f64());
        if outcome == "ok" {
            self.ok.inc();
        } else {
            self.ended
                .with_label_values(&[&self.operation, outcome])
                .inc();
        }
    }
}
