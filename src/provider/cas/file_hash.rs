//! The hash of a file, computed over its chunks as they come.

use xet_core_structures::merklehash::MerkleHash;

use super::hash_fold::{FoldQueue, HashFold, Node};
use crate::storage::ContentHash;

/// A chunk as hashes see it: its hash and its length in bytes.
pub(super) type ChunkMark = (MerkleHash, u64);

/// Chunks that are kept before they are folded: folding fewer costs more, keeping more needs more memory.
const FOLD_EVERY: usize = 1024;

/// Folds chunks in file order, so that memory stays bounded however long the file is.
#[derive(Debug, Default)]
pub(super) struct FileHasher {
    folded: FoldQueue,
    recent: Vec<Node>,
    size: u64,
}

impl FileHasher {
    /// Adds the next chunk.
    pub(super) fn push(&mut self, (hash, len_bytes): ChunkMark) {
        self.size += len_bytes;
        self.recent.push(Node(hash, len_bytes));
        if self.recent.len() >= FOLD_EVERY {
            self.fold();
        }
    }

    /// Returns the bytes of all chunks so far.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Returns the fold of all chunks.
    pub(super) fn finish(mut self) -> HashFold {
        self.fold();
        self.folded.finish()
    }

    fn fold(&mut self) {
        self.folded
            .push(HashFold::of(std::mem::take(&mut self.recent)));
    }
}

/// Returns the hash of the file that has exactly these chunks: the root, keyed with zeros; zeros if there are none.
pub(super) fn file_hash(chunks: &HashFold) -> MerkleHash {
    chunks
        .root()
        .map_or_else(MerkleHash::default, |root| root.hmac(MerkleHash::default()))
}

/// Returns the hash in the form that the Hub and the rest of hugbucket use.
pub(super) fn content_hash(hash: MerkleHash) -> ContentHash {
    hash.hex()
        .parse()
        .expect("a Merkle hash is written as 64 lower-case hex digits")
}

#[cfg(test)]
mod tests {
    use xet_core_structures::merklehash::{compute_data_hash, file_hash as hash_of_list};

    use super::*;

    fn hashed(chunks: &[ChunkMark]) -> MerkleHash {
        let mut hasher = FileHasher::default();
        chunks.iter().for_each(|chunk| hasher.push(*chunk));
        file_hash(&hasher.finish())
    }

    /// The reference list of xet-core's aggregated hashes.
    #[test]
    fn known_answers() {
        let chunks = [
            (
                "cfc5d07f6f03c29bbf424132963fe08d19a37d5757aaf520bf08119f05cd56d6",
                100,
            ),
            (
                "c3e67584b5c4fc2a89837ec39e40f2c8a6bb0b2987ac94cd4b31e5fbdd210a72",
                200,
            ),
            (
                "0d2beb91b9196929a5ddec9f6e306924ddf4a24268e3e59fd8464738d525af37",
                300,
            ),
        ]
        .map(|(hex, len)| (MerkleHash::from_hex(hex).unwrap(), len));
        assert_eq!(
            hashed(&chunks[..1]).hex(),
            "8e16257caa3fe079d484d872a8975264b2ff683b0d6db9028cc7c0f968a45661"
        );
        assert_eq!(
            hashed(&chunks).hex(),
            "54e55dccc6653c612bdb5576c5d3cb34bb31bc4e100248abccf4c908b3ef7715"
        );
        assert_eq!(content_hash(hashed(&[])), ContentHash::EMPTY);
    }

    #[test]
    fn a_long_file_has_the_hash_of_its_list() {
        let mark = |n: u64| (compute_data_hash(&n.to_le_bytes()), 8192 + n % 4096);
        for len in [1, 2, 1023, 1024, 1025, 20_000] {
            let chunks: Vec<ChunkMark> = (0..len).map(mark).collect();
            assert_eq!(hashed(&chunks), hash_of_list(&chunks), "{len} chunks");
        }
    }
}
