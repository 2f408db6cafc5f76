//! Files made of files: no byte is read, sent, or even known.

use std::sync::Arc;

use super::hash_fold::FoldQueue;
use super::manifest::{Manifest, Term};
use super::upload::StagedFile;
use super::xorb::XorbRecord;
use crate::storage::StorageError;

/// A file that holds parts one after another. Does no I/O and creates no xorb.
///
/// # Behaviour
/// - No parts, or empty ones only, make the empty file.
/// - The hash differs from that of the same bytes uploaded at once, because the parts' borders stay chunk borders.
/// - It takes parts one by one and keeps their terms alone, 72 bytes each, so that parts need not be in memory together.
#[derive(Debug, Default)]
pub struct Composition {
    chunks: FoldQueue,
    terms: Vec<Term>,
    /// The xorbs that were created for the parts and that no shard names yet.
    xorbs: Vec<Arc<XorbRecord>>,
    saved_bytes: u64,
    size: u64,
}

impl Composition {
    /// Adds the next part.
    ///
    /// Errors: [`StorageError::EntityTooLarge`] if the parts have more bytes than can be counted.
    pub fn push(&mut self, part: &Manifest) -> Result<(), StorageError> {
        let size = self.size.checked_add(part.size());
        self.size = size.ok_or(StorageError::EntityTooLarge {
            limit_bytes: u64::MAX,
        })?;
        self.chunks.push(part.chunks.clone());
        self.terms.extend_from_slice(&part.terms);
        Ok(())
    }

    /// Adds the next part, which need not have been registered: that happens together with the whole.
    ///
    /// Errors: as [`Composition::push`].
    pub fn push_staged(&mut self, part: &StagedFile) -> Result<(), StorageError> {
        self.push(part.manifest_ref())?;
        self.xorbs.extend_from_slice(part.xorbs());
        self.saved_bytes += part.saved_bytes();
        Ok(())
    }

    /// Returns the whole, ready to be registered.
    pub fn finish(self) -> StagedFile {
        let whole = Manifest::new(self.terms, self.chunks.finish());
        StagedFile::of_new_xorbs(whole, self.xorbs.into(), self.saved_bytes)
    }
}
