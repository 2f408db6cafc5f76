//! Recomputes the hash of a file that is read as a whole, in memory that does not grow with its size.

use crate::provider::cas::download::delivery::Marks;
use crate::provider::cas::file_hash::{ChunkMark, FileHasher, content_hash, file_hash};
use crate::storage::{ContentHash, StorageError};

/// Takes the chunks of a file in order and compares their hash with the one expected.
#[derive(Debug)]
pub(super) struct Verifier {
    expected: ContentHash,
    read: FileHasher,
    last: Option<ChunkMark>,
    /// Whether two windows got different bytes of a chunk that they share.
    is_torn: bool,
}

impl Verifier {
    pub(super) fn new(expected: ContentHash) -> Self {
        Self {
            expected,
            read: FileHasher::default(),
            last: None,
            is_torn: false,
        }
    }

    /// Adds what the next window has hashed.
    pub(super) fn add(&mut self, window: &Marks) {
        self.is_torn |= window.lead.is_some() && window.lead != self.last;
        self.last = window.chunks.last().copied().or(self.last);
        window
            .chunks
            .iter()
            .for_each(|chunk| self.read.push(*chunk));
    }

    /// Compares the hash of everything added with the one expected.
    ///
    /// Errors: [`StorageError::Internal`] if they differ: the upstream served other content than was asked for.
    pub(super) fn finish(self) -> Result<(), StorageError> {
        if !self.is_torn && content_hash(file_hash(&self.read.finish())) == self.expected {
            Ok(())
        } else {
            Err(StorageError::internal(
                "content read does not match its hash",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use xet_core_structures::merklehash::{compute_data_hash, file_hash as hash_of_list};

    use super::*;

    fn chunks(count: u64) -> Vec<ChunkMark> {
        let hash = |n: u64| compute_data_hash(&n.to_le_bytes());
        (0..count).map(|n| (hash(n), 1000 + n)).collect()
    }

    fn marks(lead: Option<ChunkMark>, chunks: &[ChunkMark]) -> Marks {
        let chunks = chunks.to_vec();
        Marks { lead, chunks }
    }

    fn verdict(chunks: &[ChunkMark], window: usize, expected: &str) -> bool {
        let mut verifier = Verifier::new(expected.parse().unwrap());
        for window in chunks.chunks(window) {
            verifier.add(&marks(None, window));
        }
        verifier.add(&Marks::default());
        verifier.finish().is_ok()
    }

    #[test]
    fn windows_fold_into_the_hash_of_the_file() {
        for count in [1, 2, 5, 130, 700] {
            let chunks = chunks(count);
            let expected = hash_of_list(&chunks).hex();
            for window in [1, 7, 128] {
                assert!(verdict(&chunks, window, &expected), "{count} by {window}");
            }
        }
    }

    #[test]
    fn a_missing_an_added_and_a_changed_chunk_are_found() {
        let good = chunks(130);
        let expected = hash_of_list(&good).hex();
        let mut changed = good.clone();
        changed[64].0 = compute_data_hash(b"other");
        assert!(!verdict(&good[..129], 50, &expected));
        assert!(!verdict(&chunks(131), 50, &expected));
        assert!(!verdict(&changed, 50, &expected));
    }

    #[test]
    fn a_chunk_that_two_windows_share_must_be_the_same_in_both() {
        let chunks = chunks(4);
        let expected = hash_of_list(&chunks).hex();
        for (lead, is_sound) in [(chunks[1], true), (chunks[2], false)] {
            let mut verifier = Verifier::new(expected.parse().unwrap());
            verifier.add(&marks(None, &chunks[..2]));
            verifier.add(&marks(Some(lead), &chunks[2..]));
            assert_eq!(verifier.finish().is_ok(), is_sound);
        }
    }
}
