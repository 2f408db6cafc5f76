//! The metrics registry: every series of hugbucket, with closed label sets.
//!
//! Series exist at zero from the start, except those that carry an error's name, which appear on first use. One file a
//! subject; [`Metrics`] has the methods of all of them, so that whoever counts needs to know only this type.
//!
//! | file | series |
//! |---|---|
//! | `requests` | `requests_*`, `request_*`, bytes, object sizes, rejections, auth failures, `provider_*` |
//! | `upstream` | `upstream_*`, `hub_budget_*`, commits, deduplication, ingest memory |
//! | `listing` | `ftp_names_left_out_total` |
//! | `cache` | `cache_*` |
//! | `connections` | `s3_connections_*`, `throttled_seconds_total` |
//! | `disk` | `disk_cache_*` |
//! | `feed` | `change_feed*` |
//! | `ftp` | `ftp_*` |
//! | `multipart` | `multipart_*` |
//! | `undo` | `undo_copies_total` |
//! | `process` | `build_info`, `ready`, `shutting_down`, panics, configuration, `tokio_*`, and the usual `process_*` |

mod cache;
mod connections;
mod disk;
mod feed;
mod ftp;
mod labels;
mod listing;
mod multipart;
mod process;
mod register;
mod requests;
mod undo;
mod upstream;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{Error, Registry, TextEncoder};

pub use disk::DiskCacheTotals;
pub use ftp::SessionStart;
pub use labels::{
    AuthFailure, CacheName, CacheResult, ConnectionRefused, Direction, DiskFailure, FeedSign,
    PartSource, RefusedBy, Status, UndoEvent, UploadEvent, Upstream,
};
pub use requests::{ProviderSeries, RequestSeries};
pub use upstream::InFlight;

use cache::CacheSeries;
use connections::ConnectionSeries;
use disk::DiskSeries;
use feed::FeedSeries;
use ftp::FtpSeries;
use listing::ListingSeries;
use multipart::MultipartSeries;
pub use process::ConfigPart;
use process::ProcessSeries;
use register::Register;
use requests::RequestSeriesSet;
use undo::UndoSeries;
use upstream::UpstreamSeries;

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit of this build, where the build was told: the variable `HUGBUCKET_REVISION` at compile time.
pub const REVISION: &str = match option_env!("HUGBUCKET_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// All metrics of the process; clones share them.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Series>);

#[derive(Debug)]
struct Series {
    registry: Registry,
    process_registry: Registry,
    requests: RequestSeriesSet,
    upstream: UpstreamSeries,
    cache: CacheSeries,
    connections: ConnectionSeries,
    disk: DiskSeries,
    feed: FeedSeries,
    listing: ListingSeries,
    ftp: FtpSeries,
    multipart: MultipartSeries,
    undo: UndoSeries,
    process: ProcessSeries,
    readings: Readings,
}

/// What is read only when somebody asks, since it changes too often to be shown each time.
#[derive(Default)]
struct Readings(Mutex<Vec<Reading>>);

type Reading = Box<dyn Fn(&Metrics) + Send + Sync>;

impl fmt::Debug for Readings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Readings(…)")
    }
}

impl Metrics {
    /// Creates a registry of its own, with every closed series at zero.
    ///
    /// # Panics
    /// Never in practice: names are constants that the tests register.
    pub fn new() -> Self {
        Self::register().unwrap_or_else(|error| {
            unreachable!("constant metric names register: {error}");
        })
    }

    fn register() -> Result<Self, Error> {
        let registry = Registry::new_custom(Some("hugbucket".into()), None)?;
        let register = Register(&registry);
        Ok(Self(Arc::new(Series {
            requests: RequestSeriesSet::register(&register)?,
            upstream: UpstreamSeries::register(&register)?,
            cache: CacheSeries::register(&register)?,
            connections: ConnectionSeries::register(&register)?,
            disk: DiskSeries::register(&register)?,
            feed: FeedSeries::register(&register)?,
            listing: ListingSeries::register(&register)?,
            ftp: FtpSeries::register(&register)?,
            multipart: MultipartSeries::register(&register)?,
            undo: UndoSeries::register(&register)?,
            process: ProcessSeries::register(&register)?,
            process_registry: process::registry()?,
            readings: Readings::default(),
            registry,
        })))
    }

    /// Returns the registry, for collectors that live elsewhere.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// Has `reading` called before each rendering, to show what is then the case. It must be quick, and must hold no
    /// [`Metrics`]: it is given them.
    pub fn read_when_asked(&self, reading: impl Fn(&Self) + Send + Sync + 'static) {
        let readings = self.0.readings.0.lock();
        let mut readings = readings.unwrap_or_else(PoisonError::into_inner);
        readings.push(Box::new(reading));
    }

    /// Returns all series in Prometheus' text format.
    pub fn render(&self) -> String {
        let readings = self.0.readings.0.lock();
        for reading in readings.unwrap_or_else(PoisonError::into_inner).iter() {
            reading(self);
        }
        self.0.process.read_runtime();
        let mut families = self.0.registry.gather();
        families.extend(self.0.process_registry.gather());
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&families, &mut text) {
            tracing::error!(%error, "failed to render metrics");
        }
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::SeqCst;
    use std::time::Duration;

    use super::*;

    #[test]
    fn closed_series_exist_at_zero_from_the_start() {
        let text = Metrics::new().render();
        for line in [
            "hugbucket_requests_in_flight{protocol=\"s3\"} 0",
            "hugbucket_auth_failures_total{protocol=\"ftp\",reason=\"bad_password\"} 0",
            "hugbucket_cache_requests_total{cache=\"file_info\",result=\"hit\"} 0",
            "hugbucket_cache_size_bytes{cache=\"disk\"} 0",
            "hugbucket_disk_cache_failures_total{reason=\"damaged\"} 0",
            "hugbucket_disk_cache_skipped_bytes_total 0",
            "hugbucket_change_feeds_connected 0",
            "hugbucket_change_feed_events_total{event=\"cut\"} 0",
            "hugbucket_requests_rejected_total{layer=\"admission\",protocol=\"ftp\"} 0",
            "hugbucket_commits_total{result=\"failed\"} 0",
            "hugbucket_multipart_uploads_total{result=\"expired\"} 0",
            "hugbucket_multipart_parts_total{source=\"copy\"} 0",
            "hugbucket_upstream_in_flight{target=\"cas\"} 0",
            "hugbucket_panics_total 0",
            "hugbucket_ready 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(text.contains("hugbucket_build_info{"));
    }

    #[test]
    fn what_is_read_when_asked_is_as_fresh_as_the_answer() {
        let metrics = Metrics::new();
        let uploads = Arc::new(std::sync::atomic::AtomicUsize::new(1));
        let now = uploads.clone();
        metrics.read_when_asked(move |metrics| metrics.multipart_active(now.load(SeqCst)));
        let shows = |line: &str| metrics.render().lines().any(|found| found == line);
        assert!(shows("hugbucket_multipart_uploads_active 1"));
        uploads.store(7, SeqCst);
        assert!(shows("hugbucket_multipart_uploads_active 7"));
    }

    #[test]
    fn names_and_labels_are_bounded() {
        let metrics = Metrics::new();
        metrics.upstream_calls(Upstream::Hub, &["batch"]);
        let text = metrics.render();
        let known = "hugbucket_upstream_requests_total{operation=\"batch\",outcome=\"200\",target=\"hub\"} 0";
        assert!(text.lines().any(|line| line == known), "{text}");
        for line in text.lines().filter(|line| line.starts_with("# HELP ")) {
            assert!(line.ends_with('.'), "{line}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn process_series_carry_the_names_that_dashboards_know() {
        let text = Metrics::new().render();
        assert!(text.contains("\nprocess_resident_memory_bytes "));
        assert!(!text.contains("hugbucket_process_"));
    }

    #[test]
    fn a_request_counts_once_and_errors_by_name() {
        let metrics = Metrics::new();
        let series = metrics.requests("s3", "GetObject");
        let entered = series.enter();
        assert!(
            metrics
                .render()
                .contains("requests_in_flight{protocol=\"s3\"} 1")
        );
        drop(entered);
        series.ended(Status::Ok, "", Duration::from_millis(7));
        series.ended(Status::ClientError, "no_such_key", Duration::from_millis(7));
        let text = metrics.render();
        for line in [
            "hugbucket_requests_in_flight{protocol=\"s3\"} 0",
            "hugbucket_requests_total{error=\"\",operation=\"GetObject\",protocol=\"s3\",status=\"ok\"} 1",
            "hugbucket_requests_total{error=\"no_such_key\",operation=\"GetObject\",protocol=\"s3\",status=\"client_error\"} 1",
            "hugbucket_request_duration_seconds_count{operation=\"GetObject\",protocol=\"s3\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
