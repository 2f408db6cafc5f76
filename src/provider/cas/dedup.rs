//! Chunks that the CAS is known to hold, by bucket.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use xet_core_structures::merklehash::MerkleHash;

use super::xorb::XorbRecord;
use crate::storage::BucketId;

/// How long a chunk is believed to be there. Nobody knows when the CAS collects xorbs that no file names any more.
const LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// Chunks that are remembered in all: about 8 GiB of content in about 16 MiB of memory.
const MAX_ENTRIES: usize = 128 << 10;

/// Xorbs that are remembered for one chunk: some chunks, like one of zeros, are in almost every xorb.
const MAX_HOLDERS: usize = 4;

/// An index of chunks, for deduplication within this process.
///
/// # Behaviour
/// - It holds only chunks of xorbs that an accepted shard has named: only those are known to be there.
/// - A chunk of one bucket is never used for another: nothing may tell a tenant what somebody else has stored.
/// - Of several xorbs that hold a chunk, the one with the most chunks counts, and of equals the oldest. So contents that repeat
///   refer to the same xorbs in long runs. Were it the youngest, every stretch that was stored again, because its run was too
///   short, would draw the next content to itself and cut its runs, and repetitions would fragment more and more.
/// - Whole xorbs are forgotten, the oldest first, after 24 hours or when there are too many.
#[derive(Debug)]
pub(super) struct DedupIndex {
    state: Mutex<State>,
    max_entries: usize,
}

#[derive(Debug, Default)]
struct State {
    buckets: HashMap<BucketId, HashMap<MerkleHash, Holders>>,
    /// Oldest first.
    xorbs: VecDeque<(Instant, BucketId, Arc<XorbRecord>)>,
    entries: usize,
}

/// A chunk's place: a xorb, and the index in it.
type Place = (Arc<XorbRecord>, u32);

/// The xorbs that hold a chunk. Almost always there is one, and a list without entries takes no memory of its own.
#[derive(Debug)]
struct Holders {
    first: Place,
    others: Vec<Place>,
}

impl Holders {
    fn of(place: Place) -> Self {
        Self {
            first: place,
            others: Vec::new(),
        }
    }

    /// Adds a xorb that is younger than all. If there are too many, the one that counts least is forgotten.
    fn add(&mut self, place: Place) {
        let youngest = self.others.last().unwrap_or(&self.first);
        // A chunk may come many times in one xorb; its first place is enough.
        if Arc::ptr_eq(&youngest.0, &place.0) {
            return;
        }
        self.others.push(place);
        if self.others.len() >= MAX_HOLDERS
            && let Some(least) = (0..self.others.len())
                .rev()
                .min_by_key(|at| self.chunks_at(*at))
        {
            self.others.remove(least);
        }
    }

    fn chunks_at(&self, other: usize) -> usize {
        self.others[other].0.chunks.len()
    }

    fn best(&self) -> &Place {
        let younger = self.others.iter();
        younger.fold(&self.first, |best, place| {
            if place.0.chunks.len() > best.0.chunks.len() {
                place
            } else {
                best
            }
        })
    }

    fn contain(&self, xorb: &Arc<XorbRecord>) -> bool {
        let mut all = std::iter::once(&self.first).chain(&self.others);
        all.any(|(holder, _)| Arc::ptr_eq(holder, xorb))
    }

    /// Takes a xorb out that is older than all others. Returns whether none is left.
    fn drop_oldest(&mut self, xorb: &Arc<XorbRecord>) -> bool {
        if !Arc::ptr_eq(&self.first.0, xorb) {
            return false;
        }
        if self.others.is_empty() {
            return true;
        }
        self.first = self.others.remove(0);
        false
    }
}

impl Default for DedupIndex {
    fn default() -> Self {
        Self::with_max_entries(MAX_ENTRIES)
    }
}

impl DedupIndex {
    fn with_max_entries(max_entries: usize) -> Self {
        Self {
            state: Mutex::default(),
            max_entries,
        }
    }

    /// Returns a xorb of this bucket that holds the chunk, and the chunk's index in it.
    pub(super) fn find(&self, bucket: &BucketId, chunk: &MerkleHash) -> Option<Place> {
        let mut state = self.lock();
        state.drop_ended();
        let holders = state.buckets.get(bucket)?.get(chunk)?;
        Some(holders.best().clone())
    }

    /// Adds xorbs that an accepted shard has named.
    pub(super) fn insert(&self, bucket: &BucketId, xorbs: &[Arc<XorbRecord>]) {
        let mut state = self.lock();
        for xorb in xorbs
            .iter()
            .filter(|xorb| xorb.chunks.len() <= self.max_entries)
        {
            // Files that share a xorb each bring it.
            if state.holds(bucket, xorb) {
                continue;
            }
            while state.entries + xorb.chunks.len() > self.max_entries {
                state.drop_oldest();
            }
            state.add(bucket, xorb);
        }
    }

    /// Forgets everything about a bucket.
    pub(super) fn forget(&self, bucket: &BucketId) {
        let mut state = self.lock();
        state.buckets.remove(bucket);
        state.xorbs.retain(|(_, of, _)| of != bucket);
        state.entries = state
            .xorbs
            .iter()
            .map(|(_, _, xorb)| xorb.chunks.len())
            .sum();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn holds(&self, bucket: &BucketId, xorb: &Arc<XorbRecord>) -> bool {
        let first = xorb.chunks.first().map(|(hash, _)| hash);
        let holders = first.and_then(|hash| self.buckets.get(bucket)?.get(hash));
        holders.is_some_and(|holders| holders.contain(xorb))
    }

    fn add(&mut self, bucket: &BucketId, xorb: &Arc<XorbRecord>) {
        let chunks = self.buckets.entry(bucket.clone()).or_default();
        for (index, (hash, _)) in (0..).zip(xorb.chunks.iter()) {
            let place = (xorb.clone(), index);
            match chunks.entry(*hash) {
                Entry::Occupied(mut known) => known.get_mut().add(place),
                Entry::Vacant(free) => {
                    free.insert(Holders::of(place));
                }
            }
        }
        self.entries += xorb.chunks.len();
        self.xorbs
            .push_back((Instant::now(), bucket.clone(), xorb.clone()));
    }

    fn drop_ended(&mut self) {
        while self
            .xorbs
            .front()
            .is_some_and(|(since, ..)| since.elapsed() >= LIFE)
        {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some((_, bucket, xorb)) = self.xorbs.pop_front() else {
            return;
        };
        self.entries -= xorb.chunks.len();
        let Some(chunks) = self.buckets.get_mut(&bucket) else {
            return;
        };
        for (hash, _) in xorb.chunks.iter() {
            // The xorb is the oldest of all, so it comes first wherever it is still remembered.
            if chunks
                .get_mut(hash)
                .is_some_and(|holders| holders.drop_oldest(&xorb))
            {
                chunks.remove(hash);
            }
        }
        if chunks.is_empty() {
            self.buckets.remove(&bucket);
        }
    }
}

#[cfg(test)]
mod tests {
    use xet_core_structures::merklehash::compute_data_hash;

    use super::*;
    use crate::storage::{BucketName, Namespace};

    fn bucket(name: &str) -> BucketId {
        BucketId {
            namespace: Namespace::new("acme").unwrap(),
            name: BucketName::new(name).unwrap(),
        }
    }

    fn chunk(n: u64) -> MerkleHash {
        compute_data_hash(&n.to_le_bytes())
    }

    fn xorb(chunks: std::ops::Range<u64>) -> Arc<XorbRecord> {
        Arc::new(XorbRecord {
            hash: chunk(1000 + chunks.start),
            chunks: chunks.map(|n| (chunk(n), 1)).collect(),
            raw_bytes: 0,
            stored_bytes: 0,
        })
    }

    #[tokio::test]
    async fn a_chunk_is_found_only_in_its_own_bucket() {
        let index = DedupIndex::default();
        index.insert(&bucket("one"), &[xorb(0..4)]);
        let (found, at) = index.find(&bucket("one"), &chunk(2)).unwrap();
        assert_eq!((found.hash, at), (chunk(1000), 2));
        assert!(index.find(&bucket("two"), &chunk(2)).is_none());
        assert!(index.find(&bucket("one"), &chunk(4)).is_none());
    }

    #[tokio::test]
    async fn of_several_xorbs_with_a_chunk_the_largest_counts_and_then_the_oldest() {
        let index = DedupIndex::with_max_entries(16);
        let (old, equal, small, large) = (xorb(0..4), xorb(2..6), xorb(1..3), xorb(3..8));
        let holder = |n| {
            let found = index.find(&bucket("one"), &chunk(n));
            found.map(|(xorb, at)| (xorb.hash, at))
        };
        index.insert(&bucket("one"), &[old.clone(), equal.clone(), small]);
        assert_eq!(holder(2), Some((old.hash, 2)));
        assert_eq!(holder(5), Some((equal.hash, 3)));
        index.insert(&bucket("one"), std::slice::from_ref(&large));
        assert_eq!(holder(2), Some((old.hash, 2)));
        assert_eq!(holder(3), Some((large.hash, 0)));
        // The oldest makes room, and the next counts.
        index.insert(&bucket("one"), &[xorb(100..103)]);
        assert_eq!(holder(0), None);
        assert_eq!(holder(2), Some((equal.hash, 0)));
    }

    #[tokio::test]
    async fn a_chunk_in_every_xorb_has_few_holders_and_is_found_to_the_end() {
        let index = DedupIndex::with_max_entries(80);
        let zeros = |n: u64| {
            Arc::new(XorbRecord {
                hash: chunk(n),
                chunks: vec![(chunk(0), 1); 4].into(),
                raw_bytes: 0,
                stored_bytes: 0,
            })
        };
        for n in 1..=100 {
            index.insert(&bucket("one"), &[zeros(n)]);
            let (_, at) = index.find(&bucket("one"), &chunk(0)).unwrap();
            assert_eq!(at, 0);
            let state = index.lock();
            let holders = &state.buckets[&bucket("one")][&chunk(0)];
            assert!(holders.others.len() < MAX_HOLDERS, "{holders:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_believed_for_more_than_a_day() {
        let index = DedupIndex::default();
        index.insert(&bucket("one"), &[xorb(0..4)]);
        tokio::time::advance(LIFE / 2).await;
        index.insert(&bucket("one"), &[xorb(2..6)]);
        tokio::time::advance(LIFE / 2).await;
        assert!(index.find(&bucket("one"), &chunk(1)).is_none());
        // The younger xorb also holds this chunk.
        assert!(index.find(&bucket("one"), &chunk(3)).is_some());
    }

    #[tokio::test]
    async fn the_oldest_xorbs_make_room() {
        let index = DedupIndex::with_max_entries(10);
        for start in [0, 4, 8] {
            index.insert(&bucket("one"), &[xorb(start..start + 4)]);
        }
        index.insert(&bucket("one"), &[xorb(100..120)]);
        assert!(index.find(&bucket("one"), &chunk(0)).is_none());
        assert!(index.find(&bucket("one"), &chunk(4)).is_some());
        assert!(index.find(&bucket("one"), &chunk(11)).is_some());
        assert!(index.find(&bucket("one"), &chunk(100)).is_none());
    }

    #[tokio::test]
    async fn a_xorb_that_comes_again_takes_no_more_room() {
        let index = DedupIndex::with_max_entries(10);
        let shared = xorb(0..4);
        index.insert(&bucket("one"), &[shared.clone(), xorb(4..8)]);
        index.insert(&bucket("one"), &[shared]);
        assert_eq!(index.lock().entries, 8);
        assert!(index.find(&bucket("one"), &chunk(7)).is_some());
    }

    #[tokio::test]
    async fn a_bucket_is_forgotten_alone() {
        let index = DedupIndex::default();
        index.insert(&bucket("one"), &[xorb(0..4)]);
        index.insert(&bucket("two"), &[xorb(0..4)]);
        index.forget(&bucket("one"));
        assert!(index.find(&bucket("one"), &chunk(0)).is_none());
        assert!(index.find(&bucket("two"), &chunk(0)).is_some());
        assert_eq!(index.lock().entries, 4);
    }
}
