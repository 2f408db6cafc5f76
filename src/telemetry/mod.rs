//! What the process tells about itself: metrics, logs, traces, and the admin listener.
//!
//! | file | tells |
//! |---|---|
//! | [`metrics`] | Prometheus series with closed label sets |
//! | [`logging`] | lines on standard error |
//! | [`tracing`] | spans over OTLP |
//! | [`tally`] | what is found out about a request below its adapter |
//! | [`readiness`] | whether clients may be sent here |
//! | [`admin`] | all of it, over HTTP, on a listener of its own |

pub mod admin;
pub mod logging;
pub mod metrics;
pub mod readiness;
pub mod tally;
pub mod tracing;

pub use admin::Admin;
pub use logging::{LogFilter, LogFormat, LogSettings, Telemetry};
pub use metrics::{
    AuthFailure, CacheName, CacheResult, ConfigPart, ConnectionRefused, Direction, DiskCacheTotals,
    DiskFailure, FeedSign, InFlight, Metrics, PartSource, RefusedBy, SessionStart, Status,
    UndoEvent, UploadEvent, Upstream,
};
pub use readiness::Readiness;
pub use tally::Tally;
pub use tracing::{TraceSettings, Traces};
