//! Series of undo.

use prometheus::{Error, IntCounterVec};

use super::Metrics;
use super::labels::UndoEvent;
use super::register::Register;

#[derive(Debug)]
pub(super) struct UndoSeries {
    copies: IntCounterVec,
}

impl UndoSeries {
    pub(super) fn register(r: &Register<'_>) -> Result<Self, Error> {
        let series = Self {
            copies: r.counters(
                "undo_copies_total",
                "Copies of overwritten and deleted objects, by what became of them.",
                &["result"],
            )?,
        };
        for event in UndoEvent::ALL {
            series.copies.with_label_values(&[event.name()]);
        }
        Ok(series)
    }
}

impl Metrics {
    /// Counts what became of so many copies of replaced objects.
    pub fn undo(&self, event: UndoEvent, copies: usize) {
        let series = self.0.undo.copies.with_label_values(&[event.name()]);
        series.inc_by(u64::try_from(copies).unwrap_or(u64::MAX));
    }
}
