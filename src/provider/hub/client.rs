//! The client itself: where the Hub is, and what its calls share.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest_middleware::ClientWithMiddleware;
use url::Url;

use crate::provider::http::{HttpConfig, attempting, base_client, retrying};
use crate::provider::hub::budget::Budget;
use crate::provider::hub::clock::Clock;
use crate::provider::hub::events;
use crate::provider::hub::gather::LookupGatherer;
use crate::provider::hub::token::TokenCache;
use crate::storage::StorageError;
use crate::telemetry::{Metrics, Upstream};

/// Where the Hub is and how it is called.
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// Base address, `https://huggingface.co` or what `HF_ENDPOINT` says.
    pub endpoint: Url,
    /// Connections and retry.
    pub http: HttpConfig,
}

/// Calls the Hub. Clones share connections, budgets, and tokens.
///
/// Every call takes the Hub token to send; an empty one sends none. Errors are those of one table: `NoSuchBucket`,
/// `AccessDenied` (the token may not), `RateLimited`, `QuotaExceeded`, `InvalidRequest`, and `Unavailable`, which is
/// never safe to retry once the client's own attempts are used up. A token that the Hub refuses is `Unavailable`.
#[derive(Debug, Clone)]
pub struct HubClient {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) endpoint: Url,
    pub(super) http: ClientWithMiddleware,
    /// For answers that do not end.
    pub(super) feeds: ClientWithMiddleware,
    pub(super) metrics: Metrics,
    pub(super) budget: Budget,
    pub(super) clock: Clock,
    pub(super) tokens: TokenCache,
    pub(super) gatherer: LookupGatherer,
}

/// The calls, as metrics name them; those of tokens are xet's.
const CALLS: [&str; 11] = [
    "whoami",
    "list_buckets",
    "head_bucket",
    "create_bucket",
    "delete_bucket",
    "batch",
    "paths_info",
    "tree",
    "xet_read_token",
    "xet_write_token",
    events::CALL,
];

/// Silence after which a change feed is taken for dead: the Hub sends a sign every 30 s.
const FEED_SILENCE: Duration = Duration::from_secs(75);

impl HubClient {
    /// Creates a client with connections of its own and an empty token cache.
    ///
    /// Errors: `InvalidArgument` for an endpoint that is not http or https; `Internal` if TLS cannot be set up.
    pub fn new(config: HubConfig, metrics: Metrics) -> Result<Self, StorageError> {
        let HubConfig { endpoint, http } = config;
        if !matches!(endpoint.scheme(), "http" | "https") {
            return Err(StorageError::InvalidArgument {
                name: "endpoint",
                reason: format!("`{endpoint}` is neither http nor https"),
            });
        }
        metrics.upstream_calls(Upstream::Hub, &CALLS);
        let patient = HttpConfig {
            idle_timeout: Some(FEED_SILENCE),
            ..http.clone()
        };
        let feeds = attempting(base_client(&patient)?, Upstream::Hub, metrics.clone());
        let chain = retrying(base_client(&http)?, Upstream::Hub, metrics.clone(), &http);
        Ok(Self {
            shared: Arc::new(Shared {
                endpoint,
                http: chain,
                feeds,
                budget: Budget::new(metrics.clone(), http.max_pause),
                clock: Clock::default(),
                tokens: TokenCache::new(metrics.clone()),
                gatherer: LookupGatherer::new(1),
                metrics,
            }),
        })
    }

    /// Returns where its calls are counted.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("endpoint", &self.endpoint.as_str())
            .finish_non_exhaustive()
    }
}
