//! Which chunks of a source a slice keeps, and which bytes it needs anew. Pure bookkeeping, no I/O.

use xet_core_structures::merklehash::MerkleHash;

use crate::provider::cas::manifest::Manifest;
use crate::provider::cas::upload::MIN_CHUNK_BYTES;
use crate::provider::cas::upload::file::{FileBuilder, XorbRef};
use crate::storage::ResolvedRange;

/// Edges of a slice beyond which its bytes had better be moved: two are usual, more come from short chunks in the interior
/// of a file that somebody else has composed.
const MAX_EDGES: usize = 64;

/// Terms of a slice beyond which its bytes had better be moved: 5 GiB in runs of 80 KiB. Each term costs every reader a
/// request or a seek, and 200 bytes of a manifest.
const MAX_TERMS: usize = 64 << 10;

/// A chunk of the source, and where it lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlacedChunk {
    /// Its first byte in the source.
    pub(super) at: u64,
    pub(super) len_bytes: u32,
    pub(super) hash: MerkleHash,
    pub(super) xorb: MerkleHash,
    /// Its index in the xorb.
    pub(super) index: u32,
}

impl PlacedChunk {
    fn end(&self) -> u64 {
        self.at + u64::from(self.len_bytes)
    }
}

/// A piece of a slice; pieces follow one another.
#[derive(Debug)]
pub(super) enum Piece {
    /// Whole chunks, none of them short.
    Kept(Manifest),
    /// Bytes of the source to be chunked anew: not fewer than a chunk must have, unless the whole slice is shorter.
    Edge(ResolvedRange),
}

/// Takes the chunks of a source in order and cuts a slice out of them.
///
/// # Behaviour
/// - A chunk is kept if it lies wholly in the slice and is not short.
/// - Bytes that are too few for a chunk take in the chunk that follows, or at the end of the slice the one before.
#[derive(Debug)]
pub(super) struct Cutter {
    span: ResolvedRange,
    pieces: Vec<Piece>,
    edges: usize,
    terms: usize,
    kept: FileBuilder,
    /// The latest chunk to keep, as long as the bytes after it may have to take it in.
    held: Option<PlacedChunk>,
    /// Bytes to be chunked anew, directly after what is kept and held.
    edge: Option<ResolvedRange>,
}

impl Cutter {
    pub(super) fn new(span: ResolvedRange) -> Self {
        Self {
            span,
            pieces: Vec::new(),
            edges: 0,
            terms: 0,
            kept: FileBuilder::default(),
            held: None,
            edge: None,
        }
    }

    /// Returns the bytes of the source that are to be cut.
    pub(super) fn span(&self) -> ResolvedRange {
        self.span
    }

    /// Reports whether the slice so far has more pieces than are worth keeping.
    pub(super) fn is_fragmented(&self) -> bool {
        self.edges > MAX_EDGES || self.terms + self.kept.terms() > MAX_TERMS
    }

    /// Adds the next chunk of the source. What lies outside of the slice is left out.
    pub(super) fn push(&mut self, chunk: PlacedChunk) {
        let (start, end) = (
            chunk.at.max(self.span.start),
            chunk.end().min(self.span.end),
        );
        if start >= end {
            return;
        }
        let is_whole = (start, end) == (chunk.at, chunk.end());
        let stays = is_whole && chunk.len_bytes as usize >= MIN_CHUNK_BYTES;
        match self.edge {
            Some(edge) if stays && !is_short(edge) => {
                self.close_edge(edge);
                self.held = Some(chunk);
            }
            Some(edge) => {
                self.edge = Some(ResolvedRange {
                    start: edge.start,
                    end,
                });
            }
            None if stays => {
                self.keep_held();
                self.held = Some(chunk);
            }
            None => self.edge = Some(ResolvedRange { start, end }),
        }
    }

    /// Ends the slice. Returns its pieces in order.
    pub(super) fn finish(mut self) -> Vec<Piece> {
        if let Some(mut edge) = self.edge {
            if is_short(edge)
                && let Some(before) = self.held.take()
            {
                edge.start = before.at;
            }
            self.close_edge(edge);
        }
        self.close_kept();
        self.pieces
    }

    /// Ends what is kept before the edge, and then the edge.
    fn close_edge(&mut self, edge: ResolvedRange) {
        self.close_kept();
        self.pieces.push(Piece::Edge(edge));
        self.edges += 1;
        self.edge = None;
    }

    fn close_kept(&mut self) {
        self.keep_held();
        if self.kept.is_unplaced() {
            return;
        }
        let placed = std::mem::take(&mut self.kept).finish();
        let manifest = placed
            .resolve(|_| None)
            .expect("only chunks of known xorbs are placed");
        self.terms += manifest.terms.len();
        self.pieces.push(Piece::Kept(manifest));
    }

    fn keep_held(&mut self) {
        if let Some(chunk) = self.held.take() {
            self.kept.hash(chunk.hash, chunk.len_bytes);
            let xorb = XorbRef::Known(chunk.xorb);
            self.kept
                .place(xorb, chunk.index, chunk.hash, chunk.len_bytes);
        }
    }
}

fn is_short(edge: ResolvedRange) -> bool {
    edge.len_bytes() < MIN_CHUNK_BYTES as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use xet_core_structures::merklehash::compute_data_hash;

    use super::*;
    use crate::provider::cas::file_hash::FileHasher;

    const MIN: u64 = MIN_CHUNK_BYTES as u64;
    const MAX: u64 = 128 << 10;

    fn hash(n: u32) -> MerkleHash {
        compute_data_hash(&n.to_le_bytes())
    }

    /// Lays chunks of these lengths out one after another in a xorb.
    fn source(lens: &[u32]) -> Vec<PlacedChunk> {
        let mut at = 0;
        let place = |(index, &len_bytes): (u32, &u32)| {
            let chunk = PlacedChunk {
                at,
                len_bytes,
                hash: hash(index),
                xorb: hash(u32::MAX),
                index,
            };
            at = chunk.end();
            chunk
        };
        (0..).zip(lens).map(place).collect()
    }

    fn cut(lens: &[u32], start: u64, end: u64) -> Vec<Piece> {
        let mut cutter = Cutter::new(ResolvedRange { start, end });
        source(lens)
            .into_iter()
            .for_each(|chunk| cutter.push(chunk));
        cutter.finish()
    }

    /// Writes pieces as people do: kept chunks by their indices, edges by their bytes.
    fn shown(pieces: &[Piece]) -> Vec<String> {
        let show = |piece: &Piece| match piece {
            Piece::Kept(manifest) => {
                let terms = manifest.terms.iter();
                let runs: Vec<_> = terms.map(|t| format!("{}..{}", t.start, t.end)).collect();
                runs.join("+")
            }
            Piece::Edge(edge) => format!("{}-{}", edge.start, edge.end),
        };
        pieces.iter().map(show).collect()
    }

    #[test]
    fn a_range_along_borders_has_no_edge() {
        let lens = [20_000, 30_000, 40_000];
        assert_eq!(shown(&cut(&lens, 0, 90_000)), ["0..3"]);
        assert_eq!(shown(&cut(&lens, 20_000, 50_000)), ["1..2"]);
    }

    #[test]
    fn chunks_that_are_cut_become_edges() {
        let lens = [20_000, 30_000, 40_000];
        assert_eq!(
            shown(&cut(&lens, 1000, 60_000)),
            ["1000-20000", "1..2", "50000-60000"]
        );
        assert_eq!(shown(&cut(&lens, 21_000, 22_000)), ["21000-22000"]);
        assert_eq!(shown(&cut(&lens, 19_999, 50_001)), ["19999-50001"]);
    }

    #[test]
    fn short_edges_take_in_a_neighbour() {
        let lens = [20_000, 30_000, 40_000, 50_000];
        assert_eq!(
            shown(&cut(&lens, 19_000, 90_001)),
            ["19000-50000", "50000-90001"]
        );
        // The last chunk of a file may be short, but not once it lies inside another one.
        assert_eq!(
            shown(&cut(&[20_000, 30_000, 5], 0, 50_005)),
            ["0..1", "20000-50005"]
        );
        assert_eq!(
            shown(&cut(&[20_000, 100, 30_000, 9000], 0, 59_100)),
            ["0..1", "20000-50100", "3..4"]
        );
    }

    #[test]
    fn many_short_chunks_are_not_worth_a_reference() {
        let lens: Vec<u32> = (0..400)
            .map(|n| if n % 3 == 0 { 10 } else { 20_000 })
            .collect();
        let size = lens.iter().map(|len| u64::from(*len)).sum();
        let mut cutter = Cutter::new(ResolvedRange {
            start: 0,
            end: size,
        });
        source(&lens)
            .into_iter()
            .for_each(|chunk| cutter.push(chunk));
        assert!(cutter.is_fragmented());
    }

    proptest! {
        #[test]
        fn pieces_are_the_slice_and_hold_no_short_chunk(
            lens in prop::collection::vec(prop_oneof![1 => 1_u32..8192, 9 => 8192_u32..=131_072], 1..60),
            ends in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        ) {
            let size: u64 = lens.iter().map(|len| u64::from(*len)).sum();
            let bound = usize::try_from(size).unwrap();
            let (one, other) = (ends.0.index(bound) as u64, ends.1.index(bound) as u64);
            let (start, end) = (one.min(other), one.max(other) + 1);
            let chunks = source(&lens);
            let pieces = cut(&lens, start, end);
            let mut at = start;
            for piece in &pieces {
                match piece {
                    Piece::Edge(edge) => {
                        prop_assert_eq!(edge.start, at);
                        prop_assert!(edge.len_bytes() >= MIN || pieces.len() == 1);
                        at = edge.end;
                    }
                    Piece::Kept(manifest) => {
                        let mut hasher = FileHasher::default();
                        for index in manifest.terms.iter().flat_map(|term| term.start..term.end) {
                            let chunk = chunks[index as usize];
                            prop_assert_eq!(chunk.at, at);
                            prop_assert!(u64::from(chunk.len_bytes) >= MIN);
                            hasher.push((chunk.hash, chunk.len_bytes.into()));
                            at = chunk.end();
                        }
                        prop_assert_eq!(&manifest.chunks, &hasher.finish());
                    }
                }
            }
            prop_assert_eq!(at, end);
            if lens.iter().all(|len| u64::from(*len) >= MIN) {
                let edges = pieces.iter().filter_map(|piece| match piece {
                    Piece::Edge(edge) => Some(edge.len_bytes()),
                    Piece::Kept(_) => None,
                });
                prop_assert!(edges.clone().count() <= 2);
                prop_assert!(edges.sum::<u64>() <= 4 * MAX);
            }
        }
    }
}
