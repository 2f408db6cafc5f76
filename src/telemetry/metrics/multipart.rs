//! Series of multipart uploads.

use prometheus::{Error, IntCounterVec, IntGauge};

use super::Metrics;
use super::labels::{PartSource, UploadEvent};
use super::register::Register;

#[derive(Debug)]
pub(super) struct MultipartSeries {
    active: IntGauge,
    uploads: IntCounterVec,
    parts: IntCounterVec,
}

impl MultipartSeries {
    pub(super) fn register(r: &Register<'_>) -> Result<Self, Error> {
        let series = Self {
            active: r.gauge(
                "multipart_uploads_active",
                "Multipart uploads that this process served within the last ten minutes and that are not over.",
            )?,
            uploads: r.counters(
                "multipart_uploads_total",
                "Multipart uploads, by what became of them.",
                &["result"],
            )?,
            parts: r.counters(
                "multipart_parts_total",
                "Parts that were taken, by where they came from.",
                &["source"],
            )?,
        };
        for event in UploadEvent::ALL {
            series.uploads.with_label_values(&[event.name()]);
        }
        for source in PartSource::ALL {
            series.parts.with_label_values(&[source.name()]);
        }
        Ok(series)
    }
}

impl Metrics {
    /// Counts what became of an upload.
    pub fn multipart_upload(&self, event: UploadEvent) {
        let uploads = &self.0.multipart.uploads;
        uploads.with_label_values(&[event.name()]).inc();
    }

    /// Counts a part that was taken.
    pub fn multipart_part(&self, source: PartSource) {
        let parts = &self.0.multipart.parts;
        parts.with_label_values(&[source.name()]).inc();
    }

    /// Shows the uploads under way.
    pub fn multipart_active(&self, uploads: usize) {
        let uploads = i64::try_from(uploads).unwrap_or(i64::MAX);
        self.0.multipart.active.set(uploads);
    }
}
