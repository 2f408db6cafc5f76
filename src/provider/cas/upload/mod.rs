//! Writing to the CAS.
//!
//! ```text
//!  body ─► feed ══bounded══► drain ─► lane (chunks ─► assembler ─► xorbs) ─► send ─► CAS      … register: one shard
//!          │                 │        inline, or on a blocking thread
//!          the digests       starts sends, several in flight
//! ```
//! *Feed* polls the body, which computes whatever digests the request asked for, and pays for each frame from the ingest
//! budget. *Drain* hands batches to the lane, which cuts and hashes chunks, drops those that are known, and packs the others
//! into xorbs; these leave while the body still arrives. Nothing is visible until [`CasClient::register`] names the file, so
//! a body that fails leaves only unreferenced xorbs behind.
//!
//! [`CasClient::register`]: crate::provider::cas::CasClient::register

mod assemble;
mod attempts;
mod drain;
#[cfg(test)]
mod fake;
mod feed;
pub(super) mod file;
mod grant;
mod lane;
mod register;
mod run;
mod send;
mod shard_events;
mod shared_shard;
mod shared_xorb;
mod staged;
#[cfg(test)]
mod tests;

pub(super) use lane::MIN_CHUNK_BYTES;
pub use register::RegisterError;
pub use staged::{Companion, StagedFile, UploadOptions};

use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use futures::try_join;
use tokio::sync::mpsc;

use super::access::AccessSource;
use super::client::CasClient;
use tracing::Instrument;

use crate::storage::{BucketId, ByteStream, StorageError};
use assemble::Assembler;
use drain::Drain;
use lane::Lane;

/// Uploads of the same bucket and token that leave together.
#[derive(Debug)]
pub(super) struct Company {
    xorbs: shared_xorb::XorbGatherer,
    shards: shared_shard::ShardGatherer,
}

/// Calls of one kind, bucket, and token that are under way before others wait for company. With fewer, a distant CAS would
/// keep small uploads waiting; with many more, hardly any two would ever meet.
const CALLS_AT_ONCE: usize = 4;

impl Default for Company {
    fn default() -> Self {
        Self {
            xorbs: shared_xorb::XorbGatherer::new(CALLS_AT_ONCE),
            shards: shared_shard::ShardGatherer::new(CALLS_AT_ONCE),
        }
    }
}

/// What this CAS turned out not to offer; asked once.
#[derive(Debug, Default)]
pub(super) struct Offered {
    /// It grants no uploads to its storage.
    lacks_grants: AtomicBool,
    /// It has no shard endpoint that tells of its progress.
    lacks_shards_v2: AtomicBool,
}

impl CasClient {
    /// Uploads a body, and returns it as a file whose xorbs are durable but that no shard names yet.
    ///
    /// # Behaviour
    /// - The body is taken as fast as the ingest budget and the CAS allow; memory is bounded however long it is.
    /// - Nothing is registered. If the body ends with an error, that error is returned, and what was sent is unreferenced.
    /// - A body below 16 MiB takes one xorb, or none if all its chunks are known. Xorbs of longer ones leave as they fill, and
    ///   grow from 16 to 63 MiB. Bodies up to 64 KiB share a xorb with others of the same bucket that come at the same time.
    /// - Dropping the future stops everything but a call that is shared with others.
    ///
    /// Errors: the body's own; [`StorageError::Unavailable`], [`StorageError::RateLimited`], or
    /// [`StorageError::QuotaExceeded`] as the CAS answers.
    pub async fn upload(
        &self,
        access: &AccessSource,
        bucket: &BucketId,
        body: ByteStream,
        options: UploadOptions,
    ) -> Result<StagedFile, StorageError> {
        let _active = self.0.ingest.enter();
        let assembler = Assembler::new(self.0.ingest.clone(), self.0.dedup.clone(), bucket.clone());
        let lane = Lane::new(assembler, options.is_part);
        // One batch waits while one is worked on and one is collected.
        let (batches, inbox) = mpsc::channel(1);
        let drain = Drain::new(self.clone(), access.clone(), bucket.clone());
        let (staged, ()) = async {
            try_join!(
                drain.run(lane, inbox, options.companion),
                feed::feed(&self.0.ingest, body, batches),
            )
        }
        .instrument(tracing::info_span!("body"))
        .await?;
        self.0.metrics.dedup_saved(staged.saved_bytes());
        Ok(staged)
    }

    /// Uploads a small file that is in memory already.
    ///
    /// Errors: as [`CasClient::upload`].
    pub async fn upload_bytes(
        &self,
        access: &AccessSource,
        bucket: &BucketId,
        bytes: Bytes,
    ) -> Result<StagedFile, StorageError> {
        let body = ByteStream::from_bytes(bytes);
        self.upload(access, bucket, body, UploadOptions::default())
            .await
    }

    /// Forgets which chunks the bucket holds: it was created or deleted.
    pub fn forget_bucket(&self, bucket: &BucketId) {
        self.0.dedup.forget(bucket);
    }
}
