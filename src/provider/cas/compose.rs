//! Files made of files: no byte is read, sent, or even known.

use super::client::CasClient;
use super::hash_fold::HashFold;
use super::manifest::Manifest;
use super::upload::StagedFile;
use crate::storage::StorageError;

impl CasClient {
    /// Returns the file that holds the parts one after another, ready to be registered. Does no I/O and creates no xorb.
    ///
    /// # Behaviour
    /// - No parts, or empty ones only, make the empty file.
    /// - The hash differs from that of the same bytes uploaded at once, because the parts' borders stay chunk borders.
    ///
    /// Errors: [`StorageError::EntityTooLarge`] if the parts have more bytes than can be counted.
    pub fn compose(&self, parts: &[Manifest]) -> Result<StagedFile, StorageError> {
        let chunks = parts
            .iter()
            .map(|part| part.chunks.clone())
            .fold(HashFold::default(), HashFold::joined);
        let terms = parts
            .iter()
            .flat_map(|part| part.terms.iter().cloned())
            .collect();
        let mut sizes = parts.iter().map(Manifest::size);
        if sizes.try_fold(0_u64, u64::checked_add).is_none() {
            return Err(StorageError::EntityTooLarge {
                limit_bytes: u64::MAX,
            });
        }
        Ok(StagedFile::of_known_xorbs(Manifest::new(terms, chunks)))
    }
}
