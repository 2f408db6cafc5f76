//! The client of the CAS: what all its calls share.

use std::sync::Arc;
use std::time::Duration;

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
pub struct CasClient(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    #[expect(dead_code, reason = "the data path reads it")]
    config: CasConfig,
    #[expect(dead_code, reason = "the data path reads it")]
    metrics: Metrics,
}

impl CasClient {
    /// Creates a client with empty caches.
    pub fn new(config: CasConfig, metrics: Metrics) -> Self {
        Self(Arc::new(Shared { config, metrics }))
    }
}
