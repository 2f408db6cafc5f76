//! The xorb cache: decoded chunks, bounded by their bytes, named by xorb and index. Content-addressed, so never stale.
//! This is its tier in memory; that on disk is in [`disk`](super::disk).

use std::ops::Range;
use std::time::Duration;

use moka::notification::RemovalCause;
use moka::sync::Cache;
use xet_core_structures::merklehash::MerkleHash;

use crate::cache::ExpiringMap;
use crate::provider::cas::chunk::Chunk;
use crate::storage::ContentHash;
use crate::telemetry::{CacheName, Metrics};

/// Bytes of memory that an entry costs beside its chunk: key, hash, list links, and frequency counters.
const ENTRY_OVERHEAD_BYTES: usize = 256;
/// A read of more than this part of the cache passes it by: it would push out everything else and come back to nothing.
const LARGEST_PART: u64 = 8;

/// A read of no more than this is kept at once: heads, indices, and small objects are asked for again and again, and cost
/// little. What is larger is kept when it is asked for a second time: most large objects are read once in a long while, and
/// filling memory that nobody comes back to costs a read more than everything else that is done with its bytes.
const KEPT_AT_ONCE_BYTES: u64 = 8 << 20;

/// Large files that are remembered to have been read, and for how long.
const MAX_SEEN: usize = 8192;
const SEEN_TTL: Duration = Duration::from_secs(3600);

/// What a read has to do with the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CacheUse {
    /// It passes the cache by.
    Bypass,
    /// It takes what is there, and leaves nothing.
    LookUp,
    /// It takes what is there, and leaves what it brings.
    Fill,
}

/// Chunks in memory, least valuable first out (recency weighed with frequency, so that one scan does not push out what
/// is read again and again).
#[derive(Debug)]
pub(super) struct XorbCache {
    chunks: Option<Cache<(MerkleHash, u32), Chunk>>,
    max_bytes: u64,
    /// Large files that were read lately.
    seen: ExpiringMap<ContentHash, ()>,
}

impl CacheUse {
    /// Reports whether chunks are looked up.
    pub(super) fn looks_up(self) -> bool {
        self != Self::Bypass
    }

    /// Reports whether chunks are kept.
    pub(super) fn fills(self) -> bool {
        self == Self::Fill
    }
}

impl XorbCache {
    /// Creates a cache of at most `max_bytes`; zero turns it off.
    pub(super) fn new(max_bytes: u64, metrics: &Metrics) -> Self {
        let on_eviction = metrics.clone();
        let chunks = (max_bytes > 0).then(|| {
            Cache::builder()
                .max_capacity(max_bytes)
                .weigher(|_, chunk: &Chunk| {
                    u32::try_from(chunk.len_bytes() + ENTRY_OVERHEAD_BYTES).unwrap_or(u32::MAX)
                })
                .eviction_listener(move |_, _, cause| {
                    if cause == RemovalCause::Size {
                        on_eviction.cache_evicted(CacheName::Xorb, 1);
                    }
                })
                .build()
        });
        if let Some(cache) = chunks.clone() {
            metrics.read_when_asked(move |metrics: &Metrics| {
                // What was inserted lately counts only after this.
                cache.run_pending_tasks();
                metrics.cache_holds(CacheName::Xorb, cache.weighted_size(), cache.entry_count());
            });
        }
        Self {
            chunks,
            max_bytes,
            seen: ExpiringMap::new(MAX_SEEN, SEEN_TTL),
        }
    }

    /// Returns what a read of `len_bytes` in all of this file has to do with the cache.
    pub(super) fn admit(&self, file: &ContentHash, len_bytes: u64) -> CacheUse {
        if self.chunks.is_none() || len_bytes > self.max_bytes / LARGEST_PART {
            return CacheUse::Bypass;
        }
        if len_bytes <= KEPT_AT_ONCE_BYTES || self.seen.get(file).is_some() {
            return CacheUse::Fill;
        }
        self.seen.insert(*file, ());
        CacheUse::LookUp
    }

    /// Returns the chunks of the run in order, or `None` unless all of them are there.
    pub(super) fn run(&self, xorb: MerkleHash, chunks: &Range<u32>) -> Option<Vec<Chunk>> {
        let cache = self.chunks.as_ref()?;
        chunks
            .clone()
            .map(|index| cache.get(&(xorb, index)))
            .collect()
    }

    /// Keeps a copy of the chunk that pins no network frame, and returns the copy.
    pub(super) fn keep(&self, xorb: MerkleHash, index: u32, chunk: &Chunk) -> Chunk {
        let compact = chunk.compacted();
        if let Some(cache) = &self.chunks {
            cache.insert((xorb, index), compact.clone());
        }
        compact
    }

    /// Forgets everything.
    #[cfg(test)]
    pub(super) fn clear(&self) {
        self.chunks.iter().for_each(Cache::invalidate_all);
    }

    /// Forgets a run that turned out to be wrong.
    pub(super) fn forget(&self, xorb: MerkleHash, chunks: &Range<u32>) {
        if let Some(cache) = &self.chunks {
            for index in chunks.clone() {
                cache.invalidate(&(xorb, index));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::provider::cas::chunk::ChunkDecoder;

    fn xorb(n: u64) -> MerkleHash {
        MerkleHash::from([n, 0, 0, 0])
    }

    fn chunk(len: usize) -> Chunk {
        Chunk::from_compact(Bytes::from(vec![7; len]))
    }

    #[test]
    fn a_run_is_there_only_as_a_whole() {
        let cache = XorbCache::new(1 << 20, &Metrics::new());
        for index in [2, 3, 5] {
            cache.keep(xorb(1), index, &chunk(100));
        }
        assert_eq!(cache.run(xorb(1), &(2..4)).map(|run| run.len()), Some(2));
        assert!(cache.run(xorb(1), &(2..6)).is_none());
        assert!(cache.run(xorb(2), &(2..4)).is_none());
        cache.forget(xorb(1), &(2..3));
        assert!(cache.run(xorb(1), &(2..4)).is_none());
    }

    #[test]
    fn bytes_stay_below_the_limit() {
        let metrics = Metrics::new();
        let cache = XorbCache::new(64 << 10, &metrics);
        for index in 0..100 {
            cache.keep(xorb(1), index, &chunk(8 << 10));
        }
        let held = cache.chunks.as_ref().unwrap();
        held.run_pending_tasks();
        assert!(held.weighted_size() <= 64 << 10);
        assert!(held.entry_count() > 0);
        assert!(
            metrics
                .render()
                .contains(r#"hugbucket_cache_evictions_total{cache="xorb"}"#)
        );
    }

    #[test]
    fn kept_chunks_pin_no_frame() {
        let cache = XorbCache::new(1 << 20, &Metrics::new());
        let frame = Bytes::from_static(&[0, 4, 0, 0, 0, 4, 0, 0, 1, 2, 3, 4]);
        let mut decoder = ChunkDecoder::default();
        decoder.push(frame.clone());
        let chunk = decoder.next_chunk().unwrap().unwrap().unpack().unwrap();
        let kept = cache.keep(xorb(1), 0, &chunk);
        assert_ne!(kept.pieces()[0].as_ptr(), frame[8..].as_ptr());
        let found = cache.run(xorb(1), &(0..1)).unwrap();
        assert_eq!(found[0].pieces()[0].as_ptr(), kept.pieces()[0].as_ptr());
    }

    #[test]
    fn a_large_file_is_kept_when_it_is_read_again() {
        let cache = XorbCache::new(512 << 20, &Metrics::new());
        let (file, other) = (ContentHash::EMPTY, "1".repeat(64).parse().unwrap());
        assert_eq!(cache.admit(&file, 64 << 20), CacheUse::LookUp);
        assert_eq!(cache.admit(&other, 64 << 20), CacheUse::LookUp);
        assert_eq!(cache.admit(&file, 64 << 20), CacheUse::Fill);
        assert_eq!(cache.admit(&file, 64 << 20), CacheUse::Fill);
    }

    #[test]
    fn large_reads_and_a_cache_of_zero_bytes_pass_by() {
        let file = ContentHash::EMPTY;
        let cache = XorbCache::new(8 << 20, &Metrics::new());
        assert_eq!(cache.admit(&file, 1 << 20), CacheUse::Fill);
        assert_eq!(cache.admit(&file, (1 << 20) + 1), CacheUse::Bypass);
        let off = XorbCache::new(0, &Metrics::new());
        assert_eq!(off.admit(&file, 1), CacheUse::Bypass);
        off.keep(xorb(1), 0, &chunk(10));
        assert!(off.run(xorb(1), &(0..1)).is_none());
    }
}
