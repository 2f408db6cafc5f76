//! Content of the development CAS on disk: xorbs, and what shards registered about files and chunks.
//!
//! Everything in here is synchronous and is called on blocking threads. Nothing is flushed to the medium: data survives
//! the death of the process, not the death of the machine, which is what a development server owes.

mod plan;
mod ranges;
mod receiver;
mod shard;
mod shard_log;
mod xorbs;

use std::path::Path;
use std::sync::Arc;

use xet_core_structures::merklehash::MerkleHash;

pub(crate) use plan::{FetchRange, Plan, Term};
pub(crate) use ranges::{ByteSpan, RangeHeader};
pub(crate) use receiver::{XorbReceiver, XorbRefused};
pub(crate) use shard::{MAX_SHARD_BYTES, ShardRefused, ShardRules};
pub(crate) use shard_log::RegisteredFile;
pub(crate) use xorbs::Xorbs;

use super::config::DevHubError;
use shard_log::ShardLog;

/// The hash that stands for an empty file; it needs no registration.
pub(crate) const EMPTY_FILE: [u64; 4] = [0; 4];

/// The whole CAS: xorbs by hash, files by hash, and the xorbs that hold known chunks.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) xorbs: Xorbs,
    log: ShardLog,
}

impl Store {
    /// Opens the store under `dir`, creating what is missing.
    pub(crate) fn open(dir: &Path) -> Result<Self, DevHubError> {
        Ok(Self {
            xorbs: Xorbs::open(dir)?,
            log: ShardLog::open(&dir.join("shards.log"))?,
        })
    }

    /// Returns the registered file, or none when no shard named it. The empty file is always registered.
    pub(crate) fn file(&self, hash: &MerkleHash) -> Option<Arc<RegisteredFile>> {
        if *hash == MerkleHash::from(EMPTY_FILE) {
            return Some(Arc::default());
        }
        self.log.file(hash)
    }

    /// Checks a shard against the stored xorbs and registers its files and chunks.
    pub(crate) fn register_shard(
        &self,
        shard: &[u8],
        rules: ShardRules,
    ) -> Result<MerkleHash, ShardRefused> {
        let checked = shard::check(&self.xorbs, shard, rules)?;
        self.log.append(&checked.files, &checked.chunks)?;
        Ok(checked.hash)
    }

    /// Returns a shard that describes the xorb which holds `chunk`, or none when the chunk is not offered for
    /// deduplication.
    pub(crate) fn dedup_shard(&self, chunk: &MerkleHash) -> std::io::Result<Option<Vec<u8>>> {
        let Some(xorb) = self.log.xorb_of_chunk(chunk) else {
            return Ok(None);
        };
        let Some(xorb) = self.xorbs.describe(&xorb)? else {
            return Ok(None);
        };
        shard::describe_xorb(&xorb).map(Some)
    }

    /// Plans the reconstruction of `file`, or of the part that `range` selects.
    pub(crate) fn plan(&self, file: &RegisteredFile, range: ByteSpan) -> std::io::Result<Plan> {
        plan::plan(&self.xorbs, file, range)
    }
}
