//! The client of the CAS: what all its calls share.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};

use super::dedup::DedupIndex;
use super::ingest::IngestBudget;
use super::upload::Offered;
use crate::storage::StorageError;
use crate::telemetry::Metrics;

/// Limits of the data path.
#[derive(Debug, Clone)]
pub struct CasConfig {
    /// Bytes of decoded chunks that the xorb cache holds; 0 turns it off.
    pub xorb_cache_max_bytes: u64,
    /// Entries of the reconstruction cache; 0 turns it off.
    pub recon_cache_max_entries: usize,
    /// Life of a reconstruction plan; 0 turns the cache off.
    pub recon_cache_ttl: Duration,
    /// Bytes of all uploads together that may be in memory.
    pub ingest_max_bytes: u64,
    /// Bytes of all downloads together that may be read ahead.
    pub lookahead_max_bytes: u64,
    /// Whether whole-object reads recompute the file hash and cut the connection on a mismatch.
    pub verifies_whole_objects: bool,
}

impl Default for CasConfig {
    fn default() -> Self {
        Self {
            xorb_cache_max_bytes: 512 << 20,
            recon_cache_max_entries: 1024,
            recon_cache_ttl: Duration::from_secs(300),
            ingest_max_bytes: 256 << 20,
            lookahead_max_bytes: 256 << 20,
            verifies_whole_objects: true,
        }
    }
}

/// Reads from and writes to the CAS. Clones share connections, caches, and budgets.
#[derive(Debug, Clone)]
pub struct CasClient(pub(super) Arc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: CasConfig,
    pub(super) metrics: Metrics,
    pub(super) http: Chains,
    pub(super) ingest: Arc<IngestBudget>,
    pub(super) dedup: Arc<DedupIndex>,
    pub(super) uploads: Offered,
}

/// The HTTP chains over one pool of connections.
pub(super) struct Chains {
    /// Calls to the CAS API that may be sent again: bodiless ones, and those whose body is in memory.
    pub(super) api: ClientWithMiddleware,
    /// Calls to the CAS API whose body streams: the caller rebuilds and repeats them.
    pub(super) api_once: ClientWithMiddleware,
    /// Reads from the storage behind signed URLs.
    pub(super) storage: ClientWithMiddleware,
    /// Writes to the storage behind signed URLs: the caller rebuilds and repeats them.
    pub(super) storage_once: ClientWithMiddleware,
}

impl fmt::Debug for Chains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chains")
    }
}

impl CasClient {
    /// Creates a client with empty caches.
    ///
    /// Errors: [`StorageError::Internal`] if the TLS stack cannot be set up.
    pub fn new(config: CasConfig, metrics: Metrics) -> Result<Self, StorageError> {
        Ok(Self(Arc::new(Shared {
            http: Chains::new()?,
            ingest: IngestBudget::new(config.ingest_max_bytes, metrics.clone()),
            dedup: Arc::default(),
            uploads: Offered::default(),
            config,
            metrics,
        })))
    }
}

impl Chains {
    fn new() -> Result<Self, StorageError> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let base = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| StorageError::internal(format!("HTTP client: {error}")))?;
        let chain = || ClientBuilder::new(base.clone()).build();
        Ok(Self {
            api: chain(),
            api_once: chain(),
            storage: chain(),
            storage_once: chain(),
        })
    }
}
