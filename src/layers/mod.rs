//! The tower layers between the adapters and the provider: one concern a file, one layer a concern.
//!
//! Every layer is a service over [`StorageRequest`](crate::storage::StorageRequest); the order in which they are stacked,
//! and why, is in [`crate::stack`]. Layers decide; they speak neither S3 nor FTP, and know neither the Hub nor Xet.
//!
//! | file | decides |
//! |---|---|
//! | [`trace`] | what a span tells of an operation |
//! | [`metrics`] | what is counted of a request |
//! | [`admission`] | how many operations may be under way |
//! | [`deadline`] | how long an answer may take, and how long a transfer may stand still |
//! | [`auth`] | who is let in |
//! | [`share`], [`quota`] | how many operations one credential may have under way |
//! | [`rate`] | how fast one credential may send and receive |
//! | [`reach`] | which buckets and directories a principal sees |
//! | [`namespace`] | whose buckets a principal sees |
//! | [`public`] | which buckets callers without credentials see |
//! | [`proof`] | what callers with one Hub token see of what was learnt with another |
//! | [`cache`] | which look-ups need no upstream call |
//! | [`retry`] | which operations are tried again |
//! | [`provider_metrics`] | what is counted of an attempt |
//!
//! Body ends matter: permits, gauges, spans, and timers ride on the response body, and end with its last byte.

pub mod admission;
pub mod auth;
pub mod cache;
pub mod deadline;
pub mod metrics;
pub mod namespace;
pub mod proof;
pub mod provider_metrics;
pub mod public;
pub mod quota;
pub mod rate;
pub mod reach;
pub mod retry;
pub mod share;
pub mod trace;

mod outcome;
#[cfg(test)]
pub(crate) mod testing;
mod transfer;

pub use admission::AdmissionLayer;
pub use auth::AuthLayer;
pub use cache::{FileInfoCacheLayer, FileInfoLimits};
pub use deadline::{DeadlineLayer, Deadlines};
pub use metrics::RequestMetricsLayer;
pub use namespace::{AskOwner, NamespaceLayer, Scope, Tenancy};
pub use proof::ProofLayer;
pub use provider_metrics::ProviderMetricsLayer;
pub use public::PublicReadLayer;
pub use quota::{Holder, Quotas};
pub use rate::RateLayer;
pub use reach::ReachLayer;
pub use retry::{RetryLimits, RetryPolicy};
pub use share::ShareLayer;
pub use trace::TraceLayer;
