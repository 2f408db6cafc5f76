//! What stood beside an object, so that it can be put back.
//!
//! An object and its sidecar ride in one batch, and a batch is no transaction: the object's line may fail for good after
//! the sidecar's has replaced what described the object that still stands. Looking every sidecar up beforehand would double
//! the calls of such writes for a failure that hardly ever comes, so what is known anyway is remembered here: from reads,
//! from the look-ups of conditional writes, and from this process's own commits. Where nothing is remembered, what was
//! written beside the object is taken away again: it is bound to content that never came, and would never be shown.

use std::time::Duration;

use time::OffsetDateTime;

use crate::cache::ExpiringMap;
use crate::provider::commit::Change;
use crate::provider::hub::{BatchLine, FileRecord};
use crate::storage::{BucketId, ContentHash};

/// Some 300 bytes each, so little more than 1 MiB in all.
const MAX_REMEMBERED: usize = 4096;

/// A wrong memory does no harm, for a sidecar is bound to its object; it only gets less useful with time.
const MEMORY_TTL: Duration = Duration::from_secs(3600);

/// The last known companions, by path.
#[derive(Debug)]
pub(super) struct Companions(ExpiringMap<(BucketId, String), Companion>);

#[derive(Debug, Clone)]
struct Companion {
    hash: ContentHash,
    mtime: Option<OffsetDateTime>,
    content_type: Option<String>,
}

impl Default for Companions {
    fn default() -> Self {
        Self(ExpiringMap::new(MAX_REMEMBERED, MEMORY_TTL))
    }
}

impl Companions {
    /// Remembers what a look-up of a path has found.
    pub(super) fn note_found(&self, bucket: &BucketId, path: &str, found: Option<&FileRecord>) {
        let slot = (bucket.clone(), path.to_owned());
        let Some(record) = found else {
            self.0.remove(&slot);
            return;
        };
        let companion = Companion {
            hash: record.hash,
            mtime: record.mtime,
            content_type: record.content_type.clone(),
        };
        self.0.insert(slot, companion);
    }

    /// Remembers what a change that took effect has left beside its object.
    pub(super) fn note_done(&self, bucket: &BucketId, change: &Change) {
        for line in change.companions() {
            let slot = (bucket.clone(), line.path().to_owned());
            let (hash, mtime, content_type) = match line {
                BatchLine::AddFile {
                    hash,
                    mtime,
                    content_type,
                    ..
                } => (*hash, *mtime, content_type.clone()),
                BatchLine::CopyFile { hash, mtime, .. } => (*hash, *mtime, None),
                BatchLine::DeleteFile { .. } => {
                    self.0.remove(&slot);
                    continue;
                }
            };
            let companion = Companion {
                hash,
                mtime,
                content_type,
            };
            self.0.insert(slot, companion);
        }
    }

    /// Returns the lines that put back what stood beside an object whose own line has failed; none for any other change.
    pub(super) fn undo(
        &self,
        bucket: &BucketId,
        change: &Change,
        failed: &[BatchLine],
    ) -> Vec<BatchLine> {
        if !change.has_object_in(failed) {
            return Vec::new();
        }
        let is_done = |line: &&BatchLine| !failed.iter().any(|one| one.path() == line.path());
        let undo = |line: &BatchLine| {
            let path = line.path().to_owned();
            match self.0.get(&(bucket.clone(), path.clone())) {
                Some(Companion {
                    hash,
                    mtime,
                    content_type,
                }) => Some(BatchLine::AddFile {
                    path,
                    hash,
                    mtime,
                    content_type,
                }),
                None if matches!(line, BatchLine::DeleteFile { .. }) => None,
                None => Some(BatchLine::DeleteFile { path }),
            }
        };
        change
            .companions()
            .filter(is_done)
            .filter_map(undo)
            .collect()
    }
}
