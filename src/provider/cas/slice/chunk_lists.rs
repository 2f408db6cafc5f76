//! What chunks known xorbs are made of: enough to refer to any run of them without reading it.

use std::ops::Range;
use std::sync::Arc;

use moka::sync::Cache;
use xet_core_structures::merklehash::MerkleHash;

use crate::provider::cas::xorb::XorbRecord;

/// Chunks that are remembered in all: about 16 GiB of content in about 10 MiB of memory.
const MAX_CHUNKS: u64 = 256 << 10;

/// What an entry costs beside its chunks, in chunks.
const ENTRY_OVERHEAD: usize = 4;

/// Hash and unpacked length of a chunk.
pub(in crate::provider::cas) type ChunkEntry = (MerkleHash, u32);

/// Neighbouring chunks of a xorb. Clones share them.
#[derive(Debug, Clone)]
pub(in crate::provider::cas) struct ChunkRun {
    start: u32,
    chunks: Arc<[ChunkEntry]>,
}

impl ChunkRun {
    pub(super) fn new(start: u32, chunks: Arc<[ChunkEntry]>) -> Self {
        Self { start, chunks }
    }

    /// Returns the chunks in the range of indices, if all of them are known.
    pub(super) fn get(&self, range: &Range<u32>) -> Option<&[ChunkEntry]> {
        let from = range.start.checked_sub(self.start)? as usize;
        let to = range.end.checked_sub(self.start)? as usize;
        self.chunks.get(from..to)
    }

    fn end(&self) -> u32 {
        self.start + u32::try_from(self.chunks.len()).expect("a xorb has at most 8,192 chunks")
    }

    /// Returns both as one run, if they touch.
    fn joined(&self, other: &Self) -> Option<Self> {
        let (first, second) = if self.start <= other.start {
            (self, other)
        } else {
            (other, self)
        };
        let overlap = first.end().checked_sub(second.start)? as usize;
        let more = second.chunks.get(overlap..).unwrap_or_default();
        Some(Self {
            start: first.start,
            chunks: first.chunks.iter().chain(more).copied().collect(),
        })
    }
}

/// Chunk lists of xorbs, in memory.
///
/// # Behaviour
/// - It knows one run of each xorb. A run that touches it extends it, another one replaces it.
/// - Xorbs are content-addressed, so a list is never stale; whoever asks for one was given the xorb's name by the CAS.
#[derive(Debug)]
pub(in crate::provider::cas) struct ChunkLists(Cache<MerkleHash, ChunkRun>);

impl Default for ChunkLists {
    fn default() -> Self {
        Self::with_max_chunks(MAX_CHUNKS)
    }
}

impl ChunkLists {
    fn with_max_chunks(max_chunks: u64) -> Self {
        let weigh = |run: &ChunkRun| run.chunks.len() + ENTRY_OVERHEAD;
        let lists = Cache::builder()
            .max_capacity(max_chunks)
            .weigher(move |_, run| u32::try_from(weigh(run)).unwrap_or(u32::MAX));
        Self(lists.build())
    }

    /// Returns a run that holds the chunks, if all of them are known.
    pub(super) fn find(&self, xorb: &MerkleHash, range: &Range<u32>) -> Option<ChunkRun> {
        let known = self.0.get(xorb)?;
        known.get(range).is_some().then_some(known)
    }

    /// Adds a run that was read.
    pub(super) fn learn(&self, xorb: MerkleHash, run: ChunkRun) {
        let known = self.0.get(&xorb);
        let joined = known.and_then(|known| known.joined(&run));
        self.0.insert(xorb, joined.unwrap_or(run));
    }

    /// Adds a xorb that this process has written.
    pub(in crate::provider::cas) fn learn_xorb(&self, xorb: &XorbRecord) {
        self.0
            .insert(xorb.hash, ChunkRun::new(0, xorb.chunks.clone()));
    }

    /// Forgets everything: the CAS has contradicted it.
    pub(in crate::provider::cas) fn clear(&self) {
        self.0.invalidate_all();
    }
}

#[cfg(test)]
mod tests {
    use xet_core_structures::merklehash::compute_data_hash;

    use super::*;

    fn entry(n: u32) -> ChunkEntry {
        (compute_data_hash(&n.to_le_bytes()), n)
    }

    fn run(range: Range<u32>) -> ChunkRun {
        ChunkRun::new(range.start, range.map(entry).collect())
    }

    fn lens(lists: &ChunkLists, range: Range<u32>) -> Option<Vec<u32>> {
        let found = lists.find(&MerkleHash::default(), &range)?;
        let chunks = found.get(&range).unwrap();
        Some(chunks.iter().map(|(_, len)| *len).collect())
    }

    #[test]
    fn runs_that_touch_become_one() {
        let lists = ChunkLists::default();
        lists.learn(MerkleHash::default(), run(10..20));
        assert_eq!(lens(&lists, 12..14), Some(vec![12, 13]));
        assert_eq!(lens(&lists, 9..11), None);
        assert_eq!(lens(&lists, 19..21), None);
        for more in [20..25, 5..12, 11..13, 0..5] {
            lists.learn(MerkleHash::default(), run(more));
        }
        assert_eq!(lens(&lists, 0..25), Some((0..25).collect()));
        lists.learn(MerkleHash::default(), run(30..40));
        assert_eq!(lens(&lists, 30..40), Some((30..40).collect()));
        assert_eq!(lens(&lists, 0..1), None, "only one run is kept");
    }

    #[test]
    fn what_was_written_is_known_as_a_whole() {
        let lists = ChunkLists::default();
        let chunks: Arc<[ChunkEntry]> = (0..4).map(entry).collect();
        let record = XorbRecord {
            hash: MerkleHash::default(),
            chunks: chunks.clone(),
            raw_bytes: 0,
            stored_bytes: 0,
        };
        lists.learn_xorb(&record);
        assert_eq!(lens(&lists, 0..4), Some(vec![0, 1, 2, 3]));
        lists.clear();
        assert_eq!(lens(&lists, 0..4), None);
    }

    #[test]
    fn the_number_of_chunks_is_bounded() {
        let lists = ChunkLists::with_max_chunks(100);
        for n in 0..50 {
            lists.learn(compute_data_hash(&[n]), run(0..10));
        }
        lists.0.run_pending_tasks();
        assert!(lists.0.weighted_size() <= 100);
        assert!(lists.0.entry_count() > 0);
    }
}
