//! The client of the CAS: what all its calls share.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest_middleware::ClientWithMiddleware;

use crate::provider::cas::dedup::DedupIndex;
use crate::provider::cas::disk::{DiskConfig, DiskTier};
use crate::provider::cas::download::DownloadState;
use crate::provider::cas::ingest::IngestBudget;
use crate::provider::cas::planner::Planner;
use crate::provider::cas::slice::ChunkLists;
use crate::provider::cas::upload::{Company, Offered};
use crate::provider::cas::xorb_cache::XorbCache;
use crate::provider::http::{self, HttpConfig};
use crate::storage::StorageError;
use crate::telemetry::{Metrics, Upstream};

/// Limits of the data path.
#[derive(Debug, Clone)]
pub struct CasConfig {
    /// Bytes of decoded chunks that the xorb cache holds; 0 turns it off.
    pub xorb_cache_max_bytes: u64,
    /// Where decoded chunks are kept on disk, if they are.
    pub disk_cache: Option<DiskConfig>,
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
    /// Connections, timeouts, and retry.
    pub http: HttpConfig,
}

/// Longest time that reading one range of a xorb (64 MiB at most) may take, however slow the client is. Not a deadline of
/// the object: a range that takes longer is resumed.
const LONGEST_TRANSFER: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for CasConfig {
    fn default() -> Self {
        Self {
            xorb_cache_max_bytes: 512 << 20,
            disk_cache: None,
            recon_cache_max_entries: 1024,
            recon_cache_ttl: Duration::from_secs(300),
            ingest_max_bytes: 256 << 20,
            lookahead_max_bytes: 256 << 20,
            verifies_whole_objects: true,
            http: HttpConfig::default(),
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
    pub(super) chunk_lists: ChunkLists,
    pub(super) uploads: Offered,
    pub(super) company: Company,
    pub(super) planner: Planner,
    pub(super) xorb_cache: XorbCache,
    pub(super) disk: DiskTier,
    pub(super) download: DownloadState,
}

/// The HTTP chains of all calls.
pub(super) struct Chains {
    /// Calls to the CAS API that may be sent again: bodiless ones, and those whose small body is in memory.
    pub(super) api: ClientWithMiddleware,
    /// Large uploads to the CAS API: the caller rebuilds and repeats them.
    pub(super) api_once: ClientWithMiddleware,
    /// Reads from the storage behind signed URLs.
    pub(super) storage: ClientWithMiddleware,
    /// Large uploads to the storage behind signed URLs: the caller rebuilds and repeats them.
    pub(super) storage_once: ClientWithMiddleware,
}

// === impl CasClient ===

impl CasClient {
    /// Creates a client with empty caches.
    ///
    /// Errors: [`StorageError::Internal`] if the TLS stack cannot be set up.
    pub fn new(config: CasConfig, metrics: Metrics) -> Result<Self, StorageError> {
        let http = Chains::new(&config.http, &metrics)?;
        Ok(Self(Arc::new(Shared {
            planner: Planner::new(&config, http.api.clone(), metrics.clone()),
            xorb_cache: XorbCache::new(config.xorb_cache_max_bytes, &metrics),
            disk: DiskTier::new(config.disk_cache.clone(), &metrics),
            download: DownloadState::new(config.lookahead_max_bytes),
            ingest: IngestBudget::new(config.ingest_max_bytes, metrics.clone()),
            dedup: Arc::default(),
            chunk_lists: ChunkLists::default(),
            uploads: Offered::default(),
            company: Company::default(),
            config,
            metrics,
            http,
        })))
    }

    /// Waits until everything that reads have brought so far is on disk, as far as it goes there, and what was there before
    /// is known.
    pub async fn flush_disk_cache(&self) {
        self.0.disk.flush().await;
    }
}

// === impl Chains ===

/// Calls of the CAS's API, as metrics name them.
const API_CALLS: [&str; 5] = [
    "reconstruction",
    "xorb_upload",
    "xorb_grant",
    "xorb_commit",
    "shard",
];

/// Calls of the storage behind signed URLs, as metrics name them.
const STORAGE_CALLS: [&str; 2] = ["xorb", "xorb_put"];

impl Chains {
    fn new(config: &HttpConfig, metrics: &Metrics) -> Result<Self, StorageError> {
        metrics.upstream_calls(Upstream::Cas, &API_CALLS);
        metrics.upstream_calls(Upstream::Xorb, &STORAGE_CALLS);
        // A large upload may be silent for longer than any answer should take.
        let patient = http::base_client(&HttpConfig {
            idle_timeout: None,
            ..config.clone()
        })?;
        // Reads go at the pace of our clients, each on a connection of its own. They have no total deadline; silence ends
        // them, by the idle time of the pool.
        let transfers = HttpConfig {
            allows_http2: false,
            attempt_timeout: LONGEST_TRANSFER,
            ..config.clone()
        };
        let retrying = |target, config| {
            http::base_client(config)
                .map(|base| http::retrying(base, target, metrics.clone(), config))
        };
        let once = |target| http::attempting(patient.clone(), target, metrics.clone());
        Ok(Self {
            api: retrying(Upstream::Cas, config)?,
            api_once: once(Upstream::Cas),
            storage: retrying(Upstream::Xorb, &transfers)?,
            storage_once: once(Upstream::Xorb),
        })
    }
}

impl fmt::Debug for Chains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chains")
    }
}
