//! A run of chunks that a xorb holds already, in the same order.

use std::sync::Arc;

use xet_core_structures::merklehash::MerkleHash;
use xet_core_structures::xorb_object::Chunk;

use super::file::XorbRef;
use crate::provider::cas::xorb::XorbRecord;

/// Shortest run that is taken from an existing xorb wherever it stands.
///
/// A term of its own costs every reader of the file a request or a seek; below half a MiB that is dearer than storing the
/// chunks again next to their neighbours.
const SHORTEST: usize = 8;

/// Where the run's chunks are.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// In the n-th xorb of this upload.
    Own(usize),
    /// In a xorb that the CAS had before.
    Known(Arc<XorbRecord>),
}

impl Source {
    pub(super) fn xorb(&self) -> XorbRef {
        match self {
            Self::Own(ordinal) => XorbRef::Own(*ordinal),
            Self::Known(record) => XorbRef::Known(record.hash),
        }
    }
}

/// Chunks that match a xorb so far. Their bytes are kept until the run is long enough to be taken.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) source: Source,
    start: u32,
    /// Chunks that matched, kept or not.
    matched: u32,
    kept: Vec<Chunk>,
    is_taken: bool,
}

impl Run {
    /// Begins a run at a chunk that the source holds at `start`.
    pub(super) fn new(source: Source, start: u32, first: Chunk) -> Self {
        Self {
            source,
            start,
            matched: 1,
            kept: vec![first],
            is_taken: false,
        }
    }

    /// Returns the index that the next chunk must have in the source.
    pub(super) fn next_index(&self) -> u32 {
        self.start + self.matched
    }

    /// Reports whether it was long enough to be taken.
    pub(super) fn is_taken(&self) -> bool {
        self.is_taken
    }

    /// Adds a chunk that matches. Returns the chunks whose bytes are not needed any more, and where they lie.
    pub(super) fn extend(&mut self, chunk: Chunk) -> Spared {
        self.matched += 1;
        self.kept.push(chunk);
        if self.is_taken || self.kept.len() >= SHORTEST {
            return self.take();
        }
        Spared::default()
    }

    /// Takes the run whatever its length. Returns the chunks whose bytes are not needed any more, and where they lie.
    pub(super) fn take(&mut self) -> Spared {
        self.is_taken = true;
        let chunks = std::mem::take(&mut self.kept);
        let kept = u32::try_from(chunks.len()).expect("fewer chunks than the xorb has are kept");
        Spared {
            first: self.next_index() - kept,
            chunks,
        }
    }

    /// Returns the chunks that have to be stored after all, if it ends here: none if it was taken.
    pub(super) fn take_kept(&mut self) -> Vec<Chunk> {
        std::mem::take(&mut self.kept)
    }
}

/// Neighbouring chunks that need no upload.
#[derive(Debug, Default)]
pub(super) struct Spared {
    /// Index of the first one in the run's source.
    pub(super) first: u32,
    pub(super) chunks: Vec<Chunk>,
}

/// Returns the hash of a chunk in a list, if it is there.
pub(super) fn hash_at(chunks: &[(MerkleHash, u32)], index: u32) -> Option<MerkleHash> {
    chunks.get(index as usize).map(|(hash, _)| *hash)
}
