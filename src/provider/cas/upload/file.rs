//! A file under construction: its terms, and the fold of its chunk hashes.

use xet_core_structures::merklehash::MerkleHash;
use xet_core_structures::metadata_shard::chunk_verification::range_hash_from_chunks;

use crate::provider::cas::file_hash::{FileHasher, content_hash, file_hash};
use crate::provider::cas::hash_fold::HashFold;
use crate::provider::cas::manifest::{Manifest, Term};
use crate::storage::{ContentHash, StorageError};

/// The xorb of a term, which may have no hash yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::provider::cas) enum XorbRef {
    /// The n-th xorb of this upload, sealed or not.
    Own(usize),
    /// A xorb that the CAS had before.
    Known(MerkleHash),
}

/// Where chunks of this upload came to lie.
#[derive(Debug, Clone, Copy)]
pub(in crate::provider::cas) struct Berth {
    pub(in crate::provider::cas) xorb: MerkleHash,
    /// Index in the xorb of what this upload counts as chunk 0.
    pub(in crate::provider::cas) first: u32,
}

/// A range of chunks of one xorb, end exclusive.
#[derive(Debug)]
struct Range {
    xorb: XorbRef,
    start: u32,
    bytes: u32,
    chunks: Vec<MerkleHash>,
}

impl Range {
    fn end(&self) -> u32 {
        self.start + u32::try_from(self.chunks.len()).expect("a xorb has at most 8,192 chunks")
    }
}

/// Collects a file's chunks in order, and where each of them lies.
#[derive(Debug, Default)]
pub(in crate::provider::cas) struct FileBuilder {
    hasher: FileHasher,
    closed: Vec<(XorbRef, Term)>,
    open: Option<Range>,
}

impl FileBuilder {
    /// Adds the next chunk's hash. Where the chunk lies is said later, in the same order.
    pub(in crate::provider::cas) fn hash(&mut self, hash: MerkleHash, len_bytes: u32) {
        self.hasher.push((hash, u64::from(len_bytes)));
    }

    /// Reports whether no chunk has been placed yet.
    pub(in crate::provider::cas) fn is_unplaced(&self) -> bool {
        self.closed.is_empty() && self.open.is_none()
    }

    /// Returns how many terms the chunks that were placed make up.
    pub(in crate::provider::cas) fn terms(&self) -> usize {
        self.closed.len() + usize::from(self.open.is_some())
    }

    /// Places the next chunk.
    pub(in crate::provider::cas) fn place(
        &mut self,
        xorb: XorbRef,
        index: u32,
        hash: MerkleHash,
        len_bytes: u32,
    ) {
        let follows = |range: &Range| range.xorb == xorb && range.end() == index;
        match &mut self.open {
            Some(range) if follows(range) => {
                range.bytes += len_bytes;
                range.chunks.push(hash);
            }
            _ => {
                self.close();
                self.open = Some(Range {
                    xorb,
                    start: index,
                    bytes: len_bytes,
                    chunks: vec![hash],
                });
            }
        }
    }

    /// Ends the file: all its chunks are placed, though maybe in a xorb without a hash.
    pub(in crate::provider::cas) fn finish(mut self) -> PlacedFile {
        self.close();
        let size = self.hasher.size();
        let chunks = self.hasher.finish();
        PlacedFile {
            hash: content_hash(file_hash(&chunks)),
            size,
            chunks,
            terms: self.closed,
        }
    }

    fn close(&mut self) {
        let Some(range) = self.open.take() else {
            return;
        };
        let term = Term {
            // Filled in once the xorb has a hash.
            xorb: MerkleHash::default(),
            start: range.start,
            end: range.end(),
            bytes: range.bytes,
            range_hash: range_hash_from_chunks(&range.chunks),
        };
        self.closed.push((range.xorb, term));
    }
}

/// A file whose chunks are placed.
#[derive(Debug)]
pub(in crate::provider::cas) struct PlacedFile {
    pub(super) hash: ContentHash,
    pub(super) size: u64,
    chunks: HashFold,
    terms: Vec<(XorbRef, Term)>,
}

impl PlacedFile {
    /// Names the xorbs; `own` tells where the n-th xorb of this upload came to lie.
    pub(in crate::provider::cas) fn resolve(
        self,
        own: impl Fn(usize) -> Option<Berth>,
    ) -> Result<Manifest, StorageError> {
        let terms = self.terms.into_iter().map(|(xorb, term)| {
            let berth = match xorb {
                XorbRef::Known(xorb) => Some(Berth { xorb, first: 0 }),
                XorbRef::Own(ordinal) => own(ordinal),
            };
            let Berth { xorb, first } =
                berth.ok_or_else(|| StorageError::internal("a term names an unsealed xorb"))?;
            Ok(Term {
                xorb,
                start: term.start + first,
                end: term.end + first,
                ..term
            })
        });
        Ok(Manifest::new(
            terms.collect::<Result<_, StorageError>>()?,
            self.chunks,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(n: u8) -> MerkleHash {
        MerkleHash::from([n; 32])
    }

    /// Appendix C.4 of draft-denis-xet: the verification hash of a term of two chunks.
    #[test]
    fn known_answer_of_a_range_hash() {
        let raw = |text: &str| MerkleHash::from_slice(&hex::decode(text).unwrap()).unwrap();
        let one = raw("aad4607a38588fc2777f7cda1c310c209e86f564486186f6694aa1d065f7ebad");
        let two = raw("2cce73e063324e6e271e360c77cc780e65ab984b053bdb78220fa74f08fc77e2");
        let mut file = FileBuilder::default();
        file.place(XorbRef::Own(0), 4, one, 100);
        file.place(XorbRef::Own(0), 5, two, 200);
        let placed = file.finish();
        let (_, term) = &placed.terms[0];
        assert_eq!((term.start, term.end, term.bytes), (4, 6, 300));
        assert_eq!(
            term.range_hash.hex(),
            "eb06a8ad81d588ac05d1d9a079232d9c1e7d0b07232fa58091caa7bf333a2768"
        );
    }

    #[test]
    fn neighbours_in_one_xorb_are_one_term() {
        let mut file = FileBuilder::default();
        assert!(file.is_unplaced());
        for (xorb, index) in [
            (XorbRef::Own(0), 0),
            (XorbRef::Own(0), 1),
            (XorbRef::Own(0), 3),
            (XorbRef::Own(1), 4),
            (XorbRef::Known(chunk(9)), 5),
            (XorbRef::Known(chunk(9)), 6),
        ] {
            file.hash(chunk(1), 10);
            file.place(xorb, index, chunk(1), 10);
        }
        let manifest = file
            .finish()
            .resolve(|n| {
                let xorb = chunk(u8::try_from(n).unwrap());
                let first = if n == 1 { 100 } else { 0 };
                Some(Berth { xorb, first })
            })
            .unwrap();
        let terms: Vec<_> = manifest
            .terms
            .iter()
            .map(|term| (term.xorb, term.start, term.end))
            .collect();
        assert_eq!(
            terms,
            [
                (chunk(0), 0, 2),
                (chunk(0), 3, 4),
                (chunk(1), 104, 105),
                (chunk(9), 5, 7)
            ]
        );
        assert_eq!(manifest.size(), 60);
    }

    #[test]
    fn a_term_without_a_xorb_is_an_error() {
        let mut file = FileBuilder::default();
        file.hash(chunk(1), 10);
        file.place(XorbRef::Own(3), 0, chunk(1), 10);
        assert!(file.finish().resolve(|_| None).is_err());
    }
}
