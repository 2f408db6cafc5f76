//! Series of connections, and of the rates at which their bodies may pass.

use std::time::Duration;

use prometheus::{CounterVec, Error, IntCounterVec, IntGauge};

use super::Metrics;
use super::labels::{ConnectionRefused, Direction};
use super::register::Register;

#[derive(Debug)]
pub(super) struct ConnectionSeries {
    active: IntGauge,
    refused: IntCounterVec,
    throttled_seconds: CounterVec,
}

impl ConnectionSeries {
    pub(super) fn register(r: &Register<'_>) -> Result<Self, Error> {
        let series = Self {
            active: r.gauge(
                "s3_connections_active",
                "Open connections of the S3 listener.",
            )?,
            refused: r.counters(
                "s3_connections_refused_total",
                "Connections that the S3 listener refused, by the limit that was reached.",
                &["reason"],
            )?,
            throttled_seconds: r.float_counters(
                "throttled_seconds_total",
                "Time that bodies waited for the rate of their credential.",
                &["direction"],
            )?,
        };
        for reason in ConnectionRefused::ALL {
            series.refused.with_label_values(&[reason.name()]);
        }
        for direction in Direction::ALL {
            let labels = [direction.name()];
            series.throttled_seconds.with_label_values(&labels);
        }
        Ok(series)
    }
}

impl Metrics {
    /// Shows the open connections of the S3 listener.
    pub fn s3_connections(&self, open: usize) {
        let open = i64::try_from(open).unwrap_or(i64::MAX);
        self.0.connections.active.set(open);
    }

    /// Counts a connection that the S3 listener refused.
    pub fn s3_connection_refused(&self, reason: ConnectionRefused) {
        let refused = &self.0.connections.refused;
        refused.with_label_values(&[reason.name()]).inc();
    }

    /// Counts the time that a body waits for the rate of its credential.
    pub fn throttled(&self, direction: Direction, waits: Duration) {
        let seconds = &self.0.connections.throttled_seconds;
        let seconds = seconds.with_label_values(&[direction.name()]);
        seconds.inc_by(waits.as_secs_f64());
    }
}
