//! What the process tells about itself: metrics, logs, traces, and the admin listener.

pub mod metrics;
pub mod tracing;

pub use metrics::{AuthFailure, CacheName, CacheResult, Metrics, Status, Upstream};
