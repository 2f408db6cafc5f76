//! How the development Hub behaves while nothing is wrong: latency, page sizes, lifetimes, and what it offers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Settings that may change while the server runs. In JSON, durations are whole milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Knobs {
    /// Added to every call of the Hub. Default 0.
    #[serde(with = "millis")]
    pub hub_latency: Duration,
    /// Added to every call of the CAS and of storage. Default 0.
    #[serde(with = "millis")]
    pub cas_latency: Duration,
    /// Entries of a page of `tree` at most, whatever the client asks for. Default 5000.
    pub tree_page_max: usize,
    /// Whether the entries within each page of `tree` come in reverse. Default false.
    pub tree_unsorted: bool,
    /// How far the `Date` of its answers is ahead of the times that files get: as if they had been uploaded long ago.
    /// Default 0.
    #[serde(with = "millis")]
    pub clock_ahead: Duration,
    /// How long a new file is missing in pages of `tree` that are not recursive. Default 0.
    #[serde(with = "millis")]
    pub folded_lag: Duration,
    /// Whether change feeds are offered; otherwise 404. Default true.
    pub offers_events: bool,
    /// Time between two signs of life of a change feed. Default 30 s.
    #[serde(with = "millis")]
    pub events_ping: Duration,
    /// Life of one answer of a change feed. Default 20 min.
    #[serde(with = "millis")]
    pub events_life: Duration,
    /// Whether uploads through grants are offered; otherwise 404. Default true.
    pub offers_grants: bool,
    /// Whether version 2 of reconstructions and shards is offered; otherwise 404. Default true.
    pub offers_v2: bool,
    /// Whether shards with files that have chunks below 8 KiB in their interior are refused. Default true.
    pub refuses_short_chunks: bool,
    /// Life of a CAS token. Default 1 h.
    #[serde(with = "millis")]
    pub token_life: Duration,
    /// Life of a signed address. Default 1 h.
    #[serde(with = "millis")]
    pub url_life: Duration,
    /// Length of the windows that calls are counted in; whole seconds. Default 5 min.
    #[serde(with = "millis")]
    pub budget_window: Duration,
    /// API calls allowed in a window. Default 1,000,000.
    pub api_quota: u64,
    /// Resolver calls allowed in a window. Default 5,000,000.
    pub resolver_quota: u64,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            hub_latency: Duration::ZERO,
            cas_latency: Duration::ZERO,
            tree_page_max: 5000,
            tree_unsorted: false,
            clock_ahead: Duration::ZERO,
            folded_lag: Duration::ZERO,
            offers_events: true,
            events_ping: Duration::from_secs(30),
            events_life: Duration::from_secs(20 * 60),
            offers_grants: true,
            offers_v2: true,
            refuses_short_chunks: true,
            token_life: Duration::from_secs(3600),
            url_life: Duration::from_secs(3600),
            budget_window: Duration::from_secs(300),
            api_quota: 1_000_000,
            resolver_quota: 5_000_000,
        }
    }
}

mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}
