//! Series of the change feed.

use prometheus::{Error, IntCounter, IntCounterVec, IntGauge};

use super::Metrics;
use super::labels::FeedSign;
use super::register::Register;

#[derive(Debug)]
pub(super) struct FeedSeries {
    connected: IntGauge,
    signs: IntCounterVec,
    changes: IntCounter,
}

impl FeedSeries {
    pub(super) fn register(r: &Register<'_>) -> Result<Self, Error> {
        let series = Self {
            connected: r.gauge(
                "change_feeds_connected",
                "Buckets whose change feed is connected.",
            )?,
            signs: r.counters(
                "change_feed_events_total",
                "Events of change feeds, and feeds that were cut.",
                &["event"],
            )?,
            changes: r.counter(
                "change_feed_changes_total",
                "Changes of files that feeds have told.",
            )?,
        };
        for sign in FeedSign::ALL {
            series.signs.with_label_values(&[sign.name()]);
        }
        Ok(series)
    }
}

impl Metrics {
    /// Shows that so many feeds more are connected.
    pub fn change_feeds_connected(&self, more: i64) {
        self.0.feed.connected.add(more);
    }

    /// Counts something that a feed told, or that happened to it.
    pub fn change_feed_sign(&self, sign: FeedSign) {
        let signs = &self.0.feed.signs;
        signs.with_label_values(&[sign.name()]).inc();
    }

    /// Counts changes that a feed told.
    pub fn change_feed_changes(&self, count: usize) {
        self.0.feed.changes.inc_by(count as u64);
    }
}
