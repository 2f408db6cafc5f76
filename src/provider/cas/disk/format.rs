//! The format of a file: a sealed head that says what lies where and how it hashes, and then the chunks.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | magic |
//! | 32 | hash of the xorb |
//! | 4, 4 | index of the first chunk, count of chunks; little-endian, as all numbers |
//! | 36 a chunk | length, and hash as the protocol defines it |
//! | 32 | hash of all bytes above: the seal |
//! | the rest | the chunks, decoded, in order |
//!
//! Chunks lie decoded: their hashes are over decoded bytes, and a hit costs no second decompression.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use xet_core_structures::merklehash::{MerkleHash, compute_data_hash};

use crate::provider::cas::chunk::{Chunk, MAX_CHUNK_BYTES};
use crate::provider::cas::disk::extent::Extent;

const MAGIC: [u8; 8] = *b"hbxorb1\n";
const HASH_BYTES: usize = 32;
const FIXED_BYTES: usize = MAGIC.len() + HASH_BYTES + 8;
const ENTRY_BYTES: usize = 4 + HASH_BYTES;

/// What a file says of its chunks.
#[derive(Debug)]
pub(super) struct Head {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    at: u64,
    len_bytes: usize,
    hash: MerkleHash,
}

/// Returns the bytes of the head of a file of so many chunks.
pub(super) fn head_bytes(count: usize) -> u64 {
    (FIXED_BYTES + count * ENTRY_BYTES + HASH_BYTES) as u64
}

/// Writes a whole file.
pub(super) fn write(file: &mut File, extent: &Extent, chunks: &[Chunk]) -> io::Result<()> {
    file.write_all(&encode_head(extent, chunks))?;
    for piece in chunks.iter().flat_map(Chunk::pieces) {
        file.write_all(piece)?;
    }
    Ok(())
}

fn encode_head(extent: &Extent, chunks: &[Chunk]) -> Vec<u8> {
    let mut head = Vec::with_capacity(FIXED_BYTES + chunks.len() * ENTRY_BYTES + HASH_BYTES);
    let count = extent.end - extent.start;
    head.extend_from_slice(&MAGIC);
    head.extend_from_slice(extent.xorb.as_bytes());
    head.extend_from_slice(&extent.start.to_le_bytes());
    head.extend_from_slice(&count.to_le_bytes());
    let mut scratch = Vec::new();
    for chunk in chunks {
        let len_bytes = u32::try_from(chunk.len_bytes()).unwrap_or(u32::MAX);
        head.extend_from_slice(&len_bytes.to_le_bytes());
        head.extend_from_slice(chunk.hash(&mut scratch).as_bytes());
    }
    let seal = compute_data_hash(&head);
    head.extend_from_slice(seal.as_bytes());
    head
}

impl Head {
    /// Reads the head of a file that should hold the extent; `None` if it does not, or not wholly.
    pub(super) fn read(file: &File, extent: &Extent) -> io::Result<Option<Self>> {
        let file_bytes = file.metadata()?.len();
        let head_bytes = head_bytes(extent.count());
        if file_bytes < head_bytes {
            return Ok(None);
        }
        let mut head = vec![0; usize::try_from(head_bytes).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut head, 0)?;
        Ok(Self::parse(&head, extent, file_bytes))
    }

    fn parse(head: &[u8], extent: &Extent, file_bytes: u64) -> Option<Self> {
        let (sealed, seal) = head.split_last_chunk::<HASH_BYTES>()?;
        let (fixed, table) = sealed.split_at_checked(FIXED_BYTES)?;
        let count = extent.end - extent.start;
        let is_named = fixed.starts_with(&MAGIC)
            && fixed[MAGIC.len()..].starts_with(extent.xorb.as_bytes())
            && fixed[FIXED_BYTES - 8..FIXED_BYTES - 4] == extent.start.to_le_bytes()
            && fixed[FIXED_BYTES - 4..] == count.to_le_bytes();
        if !is_named || compute_data_hash(sealed) != MerkleHash::from(seal) {
            return None;
        }
        let mut at = head.len() as u64;
        let mut entries = Vec::with_capacity(extent.count());
        for entry in table.chunks_exact(ENTRY_BYTES) {
            let (len_bytes, hash) = entry.split_first_chunk::<4>()?;
            let len_bytes = u32::from_le_bytes(*len_bytes) as usize;
            if !(1..=MAX_CHUNK_BYTES).contains(&len_bytes) {
                return None;
            }
            let hash = MerkleHash::from_slice(hash).ok()?;
            entries.push(Entry {
                at,
                len_bytes,
                hash,
            });
            at += len_bytes as u64;
        }
        (at == file_bytes && entries.len() == extent.count()).then_some(Self { entries })
    }

    /// Returns how many of these chunks, from the first on, are no more than `max_bytes` together; at least one.
    pub(super) fn fitting(&self, chunks: Range<usize>, max_bytes: usize) -> usize {
        let mut len_bytes = 0;
        let fits = self.entries[chunks].iter().take_while(|entry| {
            len_bytes += entry.len_bytes;
            len_bytes <= max_bytes
        });
        fits.count().max(1)
    }

    /// Reads chunks by their place in the file, in one go; `None` if one of them is not what it should be.
    pub(super) fn read_chunks(
        &self,
        file: &File,
        chunks: Range<usize>,
    ) -> io::Result<Option<Vec<Chunk>>> {
        let entries = &self.entries[chunks];
        let Some(first) = entries.first() else {
            return Ok(Some(Vec::new()));
        };
        let mut bytes = vec![0; entries.iter().map(|entry| entry.len_bytes).sum()];
        file.read_exact_at(&mut bytes, first.at)?;
        let mut bytes = Bytes::from(bytes);
        let verified = entries.iter().map(|entry| {
            let chunk = bytes.split_to(entry.len_bytes);
            Chunk::verified(chunk, entry.hash)
        });
        Ok(verified.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> (File, Extent, Vec<u8>) {
        let chunks: Vec<Chunk> = [&b"first"[..], b"the second", b"3"]
            .into_iter()
            .map(|text| Chunk::from_compact(Bytes::from_static(text)))
            .collect();
        let extent = Extent {
            xorb: MerkleHash::from([1, 2, 3, 4]),
            start: 5,
            end: 8,
        };
        let mut file = tempfile::tempfile().unwrap();
        write(&mut file, &extent, &chunks).unwrap();
        let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        (file, extent, bytes)
    }

    fn texts(file: &File, extent: &Extent, chunks: Range<usize>) -> Option<Vec<Bytes>> {
        let head = Head::read(file, extent).unwrap()?;
        let chunks = head.read_chunks(file, chunks).unwrap()?;
        let piece = |chunk: &Chunk| chunk.pieces()[0].clone();
        Some(chunks.iter().map(piece).collect())
    }

    #[test]
    fn chunks_come_back_and_the_layout_is_the_documented_one() {
        let (file, extent, bytes) = stored();
        assert_eq!(bytes.len(), 48 + 3 * 36 + 32 + 16);
        assert_eq!(&bytes[..8], b"hbxorb1\n");
        assert_eq!(&bytes[40..48], [5, 0, 0, 0, 3, 0, 0, 0]);
        assert!(bytes.ends_with(b"firstthe second3"));
        assert_eq!(
            texts(&file, &extent, 0..3).unwrap(),
            ["first", "the second", "3"]
        );
        assert_eq!(texts(&file, &extent, 1..2).unwrap(), ["the second"]);
        let head = Head::read(&file, &extent).unwrap().unwrap();
        assert_eq!(head.fitting(0..3, 15), 2);
        assert_eq!(head.fitting(0..3, 1), 1);
        assert_eq!(head.fitting(2..3, 100), 1);
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let (_, extent, bytes) = stored();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&damaged).unwrap();
            assert_eq!(texts(&file, &extent, 0..3), None, "byte {at}");
        }
    }

    #[test]
    fn what_is_shorter_longer_or_of_another_extent_is_refused() {
        let (file, extent, bytes) = stored();
        for other in [
            Extent {
                start: 4,
                end: 7,
                ..extent
            },
            Extent { end: 7, ..extent },
            Extent { end: 9, ..extent },
            Extent {
                xorb: MerkleHash::from([1, 2, 3, 5]),
                ..extent
            },
        ] {
            assert_eq!(texts(&file, &other, 0..1), None, "{other:?}");
        }
        for len in 0..bytes.len() {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes[..len]).unwrap();
            assert_eq!(texts(&file, &extent, 0..3), None, "{len} bytes");
        }
        let mut longer = tempfile::tempfile().unwrap();
        longer.write_all(&bytes).unwrap();
        longer.write_all(b"x").unwrap();
        assert_eq!(texts(&longer, &extent, 0..3), None);
    }
}
