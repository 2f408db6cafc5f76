//! Slices: a byte range of a file as a file of its own, by reference.
//!
//! ```text
//! slice ─► survey ─► Planner                which chunks the range lies in
//!            │  ├───► ChunkLists             their hashes, as far as they are known …
//!            │  └───► Reader                 … or from reading the rest once; the bytes are dropped
//!            ▼
//!          Cutter ─► kept runs of chunks     terms over xorbs that are there already
//!             └────► edges                   bytes that begin or end within a chunk: read, chunked anew, and uploaded
//! ```
//! A slice has no chunk below 8 KiB unless it is itself shorter, so that slices, parts, and appended bytes may be composed
//! in any order: the protocol allows short chunks only at the end of a file.

mod chunk_lists;
mod cut;
mod survey;

pub(super) use chunk_lists::ChunkLists;

use futures::{StreamExt, TryStreamExt, stream};

use super::access::AccessSource;
use super::client::CasClient;
use super::compose::Composition;
use super::download::FileRef;
use super::upload::{StagedFile, UploadOptions};
use crate::storage::{BucketId, ResolvedRange, StorageError};
use cut::{Cutter, Piece};

/// Edges of one slice that are read and uploaded at the same time: there are seldom more.
const EDGES_AT_ONCE: usize = 2;

/// A byte range of a file that the tenant may read.
#[derive(Debug)]
pub struct SliceSource<'a> {
    /// Opens the bucket that the file is in.
    pub access: &'a AccessSource,
    /// The file.
    pub file: FileRef,
    /// The bytes of it; never empty, and within the file.
    pub span: ResolvedRange,
}

impl CasClient {
    /// Returns the range as a file for another bucket, or for the same: staged, and ready to be composed with others as a
    /// part is. `None` if the source is so fragmented that a copy of its bytes serves every later reader better.
    ///
    /// # Behaviour
    /// - Whole chunks are kept by reference. Only those in which the range begins or ends are uploaded anew, and short ones
    ///   together with a neighbour: no chunk below 8 KiB is left unless the range is shorter.
    /// - Chunks that this process has written or surveyed before are not read. Others are read once, in bounded memory.
    /// - Nothing is registered. Whether the CAS lets the bucket refer to another bucket's xorbs shows when it is.
    /// - Dropping the future stops everything.
    ///
    /// Errors: [`StorageError::InvalidRange`] unless the range lies within the file; as [`CasClient::open`] and
    /// [`CasClient::upload`].
    pub async fn slice(
        &self,
        source: &SliceSource<'_>,
        access: &AccessSource,
        bucket: &BucketId,
    ) -> Result<Option<StagedFile>, StorageError> {
        let SliceSource { file, span, .. } = source;
        if span.start >= span.end || span.end > file.size {
            return Err(StorageError::InvalidRange { size: file.size });
        }
        let mut cutter = Cutter::new(*span);
        self.survey(source, &mut cutter).await?;
        if cutter.is_fragmented() {
            return Ok(None);
        }
        let pieces = cutter.finish();
        let staged = stream::iter(pieces).map(|piece| async move {
            match piece {
                Piece::Kept(manifest) => Ok(StagedFile::of_known_xorbs(manifest)),
                Piece::Edge(edge) => self.rewrite(source, edge, access, bucket).await,
            }
        });
        let staged: Vec<StagedFile> = staged.buffered(EDGES_AT_ONCE).try_collect().await?;
        let mut composition = Composition::default();
        for piece in &staged {
            composition.push_staged(piece)?;
        }
        Ok(Some(composition.finish()))
    }

    /// Uploads bytes of the source anew.
    async fn rewrite(
        &self,
        source: &SliceSource<'_>,
        edge: ResolvedRange,
        access: &AccessSource,
        bucket: &BucketId,
    ) -> Result<StagedFile, StorageError> {
        let body = self.open(source.access, source.file, Some(edge)).await?;
        let options = UploadOptions {
            is_part: true,
            ..UploadOptions::default()
        };
        self.upload(access, bucket, body, options).await
    }
}
