//! What lies on disk, as far as this process knows: some 100 bytes of memory a file.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use xet_core_structures::merklehash::MerkleHash;

use crate::provider::cas::disk::extent::{Extent, prefix};

/// Readings within this time do not move a file's own time again.
const STAMP_EVERY_MS: u64 = 10 * 60 * 1000;

/// Knows the files. Least recently used ones are found by sorting, when room is made for many at once.
#[derive(Debug, Default)]
pub(super) struct Index(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    /// The files of each xorb by their first chunk. They may overlap.
    xorbs: HashMap<MerkleHash, Vec<Held>>,
    len_bytes: u64,
    files: usize,
}

/// A file.
#[derive(Debug, Clone, Copy)]
struct Held {
    start: u32,
    end: u32,
    len_bytes: u64,
    used_at_ms: u64,
    /// The file's own time.
    stamped_at_ms: u64,
}

/// A file that a scan has found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) extent: Extent,
    pub(super) len_bytes: u64,
    /// The file's own time.
    pub(super) stamped_at_ms: u64,
}

/// Chunks that one file has of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) extent: Extent,
    pub(super) chunks: Range<u32>,
}

impl Index {
    /// Returns the files that together hold the run, in order, or `None` if a chunk is missing.
    pub(super) fn cover(&self, xorb: MerkleHash, chunks: &Range<u32>) -> Option<Vec<Piece>> {
        let table = self.lock();
        let held = table.xorbs.get(&xorb)?;
        let (mut pieces, mut at) = (Vec::new(), chunks.start);
        while at < chunks.end {
            let reaching = held.iter().filter(|held| held.start <= at && at < held.end);
            let longest = reaching.max_by_key(|held| held.end)?;
            let end = longest.end.min(chunks.end);
            pieces.push(Piece {
                extent: longest.extent(xorb),
                chunks: at..end,
            });
            at = end;
        }
        Some(pieces)
    }

    /// Reports whether a file holds the chunk.
    pub(super) fn holds(&self, xorb: &MerkleHash, index: u32) -> bool {
        let table = self.lock();
        let held = table.xorbs.get(xorb);
        held.is_some_and(|held| {
            held.iter()
                .any(|held| (held.start..held.end).contains(&index))
        })
    }

    /// Adds a file, or replaces what was known of it.
    pub(super) fn insert(&self, found: Found) {
        self.lock().insert(found);
    }

    /// Forgets a file.
    pub(super) fn remove(&self, extent: &Extent) {
        self.lock().remove(extent);
    }

    /// Returns the files that hold a chunk of the run.
    pub(super) fn overlapping(&self, xorb: MerkleHash, chunks: &Range<u32>) -> Vec<Extent> {
        let table = self.lock();
        let held = table.xorbs.get(&xorb).into_iter().flatten();
        held.filter(|held| held.start < chunks.end && chunks.start < held.end)
            .map(|held| held.extent(xorb))
            .collect()
    }

    /// Notes that a file was read, and reports whether its own time should be moved.
    pub(super) fn touch(&self, extent: &Extent, now_ms: u64) -> bool {
        let mut table = self.lock();
        let Some(held) = table.held(extent) else {
            return false;
        };
        held.used_at_ms = now_ms;
        let is_due = now_ms.saturating_sub(held.stamped_at_ms) > STAMP_EVERY_MS;
        if is_due {
            held.stamped_at_ms = now_ms;
        }
        is_due
    }

    /// Returns the bytes and the count of all files.
    pub(super) fn totals(&self) -> (u64, usize) {
        let table = self.lock();
        (table.len_bytes, table.files)
    }

    /// Takes the least recently used files out, until no more than this is left, and returns them.
    pub(super) fn shrink(&self, max_bytes: u64, max_files: usize) -> Vec<Extent> {
        let mut table = self.lock();
        let mut by_use: Vec<(u64, Extent)> = Vec::with_capacity(table.files);
        for (xorb, held) in &table.xorbs {
            by_use.extend(
                held.iter()
                    .map(|held| (held.used_at_ms, held.extent(*xorb))),
            );
        }
        by_use.sort_unstable_by_key(|(used_at, extent)| (*used_at, extent.start));
        let mut taken = Vec::new();
        for (_, extent) in by_use {
            if table.len_bytes <= max_bytes && table.files <= max_files {
                break;
            }
            table.remove(&extent);
            taken.push(extent);
        }
        taken
    }

    /// Makes what is known of one directory what a scan has found there.
    pub(super) fn replace_prefix(&self, of: u16, found: Vec<Found>) {
        let mut table = self.lock();
        let mut known = HashMap::new();
        table.xorbs.retain(|xorb, held| {
            let is_other = prefix(xorb) != of;
            if !is_other {
                known.extend(held.iter().map(|held| (held.extent(*xorb), *held)));
            }
            is_other
        });
        table.files -= known.len();
        table.len_bytes -= known.values().map(|held| held.len_bytes).sum::<u64>();
        for found in found {
            table.insert(found);
            if let (Some(before), Some(held)) =
                (known.get(&found.extent), table.held(&found.extent))
            {
                // Read here since the file's own time was moved.
                held.used_at_ms = held.used_at_ms.max(before.used_at_ms);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn insert(&mut self, found: Found) {
        self.remove(&found.extent);
        let held = self.xorbs.entry(found.extent.xorb).or_default();
        held.push(Held {
            start: found.extent.start,
            end: found.extent.end,
            len_bytes: found.len_bytes,
            used_at_ms: found.stamped_at_ms,
            stamped_at_ms: found.stamped_at_ms,
        });
        self.len_bytes += found.len_bytes;
        self.files += 1;
    }

    fn remove(&mut self, extent: &Extent) {
        let Some(held) = self.xorbs.get_mut(&extent.xorb) else {
            return;
        };
        if let Some(place) = held.iter().position(|held| held.is(extent)) {
            self.len_bytes -= held.swap_remove(place).len_bytes;
            self.files -= 1;
        }
        if held.is_empty() {
            self.xorbs.remove(&extent.xorb);
        }
    }

    fn held(&mut self, extent: &Extent) -> Option<&mut Held> {
        let held = self.xorbs.get_mut(&extent.xorb)?;
        held.iter_mut().find(|held| held.is(extent))
    }
}

impl Held {
    fn extent(&self, xorb: MerkleHash) -> Extent {
        Extent {
            xorb,
            start: self.start,
            end: self.end,
        }
    }

    fn is(&self, extent: &Extent) -> bool {
        (self.start, self.end) == (extent.start, extent.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(xorb: u64, start: u32, end: u32) -> Extent {
        Extent {
            xorb: MerkleHash::from([xorb, 0, 0, 0]),
            start,
            end,
        }
    }

    fn found(extent: Extent, len_bytes: u64, stamped_at_ms: u64) -> Found {
        Found {
            extent,
            len_bytes,
            stamped_at_ms,
        }
    }

    #[test]
    fn a_run_is_covered_by_files_that_may_overlap() {
        let index = Index::default();
        for (start, end) in [(0, 4), (2, 6), (3, 5), (8, 9)] {
            index.insert(found(extent(1, start, end), 10, 0));
        }
        let xorb = extent(1, 0, 1).xorb;
        let pieces = index.cover(xorb, &(1..6)).unwrap();
        let runs: Vec<_> = pieces.iter().map(|piece| piece.chunks.clone()).collect();
        assert_eq!(runs, [1..4, 4..6]);
        assert_eq!(pieces[1].extent, extent(1, 2, 6));
        assert_eq!(index.cover(xorb, &(5..9)), None);
        assert_eq!(index.cover(extent(2, 0, 1).xorb, &(0..1)), None);
        assert!(index.holds(&xorb, 8) && !index.holds(&xorb, 7));
        assert_eq!(index.overlapping(xorb, &(5..8)), [extent(1, 2, 6)]);
    }

    #[test]
    fn the_least_recently_used_go_first_and_totals_are_true() {
        let index = Index::default();
        for n in 0..10 {
            index.insert(found(extent(n, 0, 1), 10, 100 + n));
        }
        index.insert(found(extent(9, 0, 1), 20, 109));
        assert_eq!(index.totals(), (110, 10));
        index.touch(&extent(0, 0, 1), 1000);
        assert_eq!(
            index.shrink(80, 10),
            [extent(1, 0, 1), extent(2, 0, 1), extent(3, 0, 1)]
        );
        assert_eq!(
            index.shrink(u64::MAX, 5),
            [extent(4, 0, 1), extent(5, 0, 1)]
        );
        assert_eq!(index.totals(), (60, 5));
        assert!(index.holds(&extent(0, 0, 1).xorb, 0));
    }

    #[test]
    fn a_files_own_time_is_moved_rarely() {
        let index = Index::default();
        index.insert(found(extent(1, 0, 1), 10, 1));
        assert!(!index.touch(&extent(1, 0, 1), STAMP_EVERY_MS));
        assert!(index.touch(&extent(1, 0, 1), STAMP_EVERY_MS + 2));
        assert!(!index.touch(&extent(1, 0, 1), STAMP_EVERY_MS + 3));
        assert!(!index.touch(&extent(2, 0, 1), u64::MAX));
    }

    #[test]
    fn a_scan_adds_what_others_wrote_and_drops_what_they_removed() {
        let index = Index::default();
        let other_prefix = extent(1 << 56, 0, 1);
        index.insert(found(other_prefix, 10, 1));
        index.insert(found(extent(1, 0, 1), 10, 1));
        index.insert(found(extent(2, 0, 1), 10, 1));
        index.touch(&extent(2, 0, 1), 500);
        let now = vec![found(extent(2, 0, 1), 10, 1), found(extent(3, 0, 1), 7, 5)];
        index.replace_prefix(0, now);
        assert_eq!(index.totals(), (27, 3));
        assert!(!index.holds(&extent(1, 0, 1).xorb, 0));
        assert_eq!(index.shrink(20, 9), [other_prefix]);
        assert_eq!(index.shrink(0, 1), [extent(3, 0, 1), extent(2, 0, 1)]);
    }
}
