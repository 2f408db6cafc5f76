//! Shards: how files and xorbs are described to the CAS.

use std::sync::Arc;

use bytes::Bytes;
use xet_core_structures::merklehash::MerkleHash;
use xet_core_structures::metadata_shard::MDBShardFileHeader;
use xet_core_structures::metadata_shard::file_structs::{
    FileDataSequenceEntry, FileDataSequenceHeader, FileVerificationEntry, MDBFileInfo,
};
use xet_core_structures::metadata_shard::xorb_structs::{
    MDBXorbInfo, XorbChunkSequenceEntry, XorbChunkSequenceHeader,
};

use super::manifest::Manifest;
use super::xorb::XorbRecord;
use crate::storage::StorageError;

/// Longest shard, by the protocol.
const MAX_SHARD_BYTES: usize = 64 << 20;

/// Every entry of a shard, headers and bookends included, is 48 bytes long; so is the shard's own header.
const ENTRY_BYTES: usize = 48;

/// The header and the two bookends that every shard has.
const FRAME_BYTES: usize = 3 * ENTRY_BYTES;

/// Encodes the shards that name these files and these new xorbs: one, unless the protocol's limit asks for more.
///
/// Where several are needed, those that describe xorbs only come first: the file appears with the last one or not at all.
/// Files and xorbs that come twice are named once.
///
/// Errors: [`StorageError::EntityTooLarge`] if the files' terms alone exceed a shard, at about 43 TiB.
pub(super) fn encode(
    files: &[&Manifest],
    xorbs: &[Arc<XorbRecord>],
) -> Result<Vec<Bytes>, StorageError> {
    let mut files: Vec<_> = files.to_vec();
    files.sort_by_key(|file| file.hash);
    files.dedup_by_key(|file| file.hash);
    let mut xorbs: Vec<_> = xorbs.iter().map(AsRef::as_ref).collect();
    xorbs.sort_by_key(|xorb| xorb.hash);
    xorbs.dedup_by_key(|xorb| xorb.hash);

    let files_bytes: usize = files.iter().map(|file| file_bytes(file)).sum();
    if FRAME_BYTES + files_bytes > MAX_SHARD_BYTES {
        return Err(StorageError::EntityTooLarge {
            limit_bytes: MAX_SHARD_BYTES as u64,
        });
    }
    let mut shards = Vec::new();
    let mut batch: Vec<&XorbRecord> = Vec::new();
    let mut batch_bytes = FRAME_BYTES + files_bytes;
    for xorb in xorbs {
        if batch_bytes + xorb_bytes(xorb) > MAX_SHARD_BYTES {
            shards.push(write(&[], &batch)?);
            batch.clear();
            batch_bytes = FRAME_BYTES + files_bytes;
        }
        batch_bytes += xorb_bytes(xorb);
        batch.push(xorb);
    }
    shards.push(write(&files, &batch)?);
    Ok(shards)
}

fn file_bytes(file: &Manifest) -> usize {
    ENTRY_BYTES * (1 + 2 * file.terms.len())
}

fn xorb_bytes(xorb: &XorbRecord) -> usize {
    ENTRY_BYTES * (1 + xorb.chunks.len())
}

fn write(files: &[&Manifest], xorbs: &[&XorbRecord]) -> Result<Bytes, StorageError> {
    serialize(files, xorbs)
        .map(Bytes::from)
        .map_err(|error| StorageError::internal(format!("shard: {error}")))
}

fn serialize(
    files: &[&Manifest],
    xorbs: &[&XorbRecord],
) -> Result<Vec<u8>, xet_core_structures::CoreError> {
    let mut shard = Vec::new();
    // An upload carries no footer: the server builds its own look-up tables.
    let header = MDBShardFileHeader {
        footer_size: 0,
        ..Default::default()
    };
    header.serialize(&mut shard)?;
    for file in files {
        file_info(file).serialize(&mut shard)?;
    }
    FileDataSequenceHeader::bookend().serialize(&mut shard)?;
    for xorb in xorbs {
        xorb_info(xorb).serialize(&mut shard)?;
    }
    XorbChunkSequenceHeader::bookend().serialize(&mut shard)?;
    Ok(shard)
}

fn file_info(file: &Manifest) -> MDBFileInfo {
    let segment = |xorb: MerkleHash, bytes: u32, start: u32, end: u32| {
        FileDataSequenceEntry::new(xorb, bytes, start, end)
    };
    MDBFileInfo {
        metadata: FileDataSequenceHeader::new(file.hash, file.terms.len(), true, false),
        segments: file
            .terms
            .iter()
            .map(|term| segment(term.xorb, term.bytes, term.start, term.end))
            .collect(),
        verification: file
            .terms
            .iter()
            .map(|term| FileVerificationEntry::new(term.range_hash))
            .collect(),
        metadata_ext: None,
    }
}

fn xorb_info(xorb: &XorbRecord) -> MDBXorbInfo {
    let mut offset = 0_u32;
    let chunks = xorb.chunks.iter().map(|(hash, len)| {
        let entry = XorbChunkSequenceEntry::new(*hash, *len, offset);
        offset += len;
        entry
    });
    let chunks = chunks.collect();
    let mut metadata = XorbChunkSequenceHeader::new(xorb.hash, xorb.chunks.len(), xorb.raw_bytes);
    metadata.num_bytes_on_disk = xorb.stored_bytes;
    MDBXorbInfo { metadata, chunks }
}

#[cfg(test)]
mod tests {
    use xet_core_structures::merklehash::compute_data_hash;

    use super::super::file_hash::FileHasher;
    use super::super::hash_fold::HashFold;
    use super::super::manifest::Term;
    use super::*;

    fn record(seed: u32, chunks: u32) -> Arc<XorbRecord> {
        let mark =
            |n: u32| compute_data_hash(&(u64::from(seed) << 32 | u64::from(n)).to_le_bytes());
        Arc::new(XorbRecord {
            hash: mark(u32::MAX),
            chunks: (0..chunks).map(|n| (mark(n), 1000)).collect(),
            raw_bytes: chunks * 1000,
            stored_bytes: chunks * 1008,
        })
    }

    fn file_of(xorb: &XorbRecord) -> Manifest {
        let mut hasher = FileHasher::default();
        for (hash, len) in xorb.chunks.iter() {
            hasher.push((*hash, u64::from(*len)));
        }
        let term = Term {
            xorb: xorb.hash,
            start: 0,
            end: u32::try_from(xorb.chunks.len()).unwrap(),
            bytes: xorb.raw_bytes,
            range_hash: compute_data_hash(b"range"),
        };
        Manifest::new(vec![term], hasher.finish())
    }

    fn read(mut shard: &[u8]) -> (Vec<MDBFileInfo>, Vec<MDBXorbInfo>) {
        let header = MDBShardFileHeader::deserialize(&mut shard).unwrap();
        assert_eq!((header.version, header.footer_size), (2, 0));
        let (mut files, mut xorbs) = (Vec::new(), Vec::new());
        while let Some(file) = MDBFileInfo::deserialize(&mut shard).unwrap() {
            files.push(file);
        }
        while let Some(xorb) = MDBXorbInfo::deserialize(&mut shard).unwrap() {
            xorbs.push(xorb);
        }
        assert!(shard.is_empty());
        (files, xorbs)
    }

    #[test]
    fn the_official_reader_finds_what_was_written() {
        let (one, two) = (record(1, 3), record(2, 5));
        let (a, b) = (file_of(&one), file_of(&two));
        let shards = encode(&[&a, &b, &a], &[one.clone(), two.clone(), one.clone()]).unwrap();
        assert_eq!(shards.len(), 1);
        assert_eq!(shards[0].len(), FRAME_BYTES + 48 * (2 * 3 + 4 + 6));
        let (files, xorbs) = read(&shards[0]);
        assert_eq!((files.len(), xorbs.len()), (2, 2));
        let found = files
            .iter()
            .find(|file| file.metadata.file_hash == b.hash)
            .unwrap();
        assert!(found.contains_verification());
        assert_eq!(found.verification[0].range_hash, b.terms[0].range_hash);
        assert_eq!(
            (found.segments[0].xorb_hash, found.file_size()),
            (two.hash, 5000)
        );
        let found = xorbs
            .iter()
            .find(|xorb| xorb.metadata.xorb_hash == two.hash)
            .unwrap();
        assert_eq!(found.metadata.num_bytes_on_disk, 5040);
        assert_eq!(found.chunks[4].chunk_byte_range_start, 4000);
    }

    /// The layout of docs/xet/shard.md; the reference client sends these 192 bytes for an empty file.
    #[test]
    fn known_answer_of_the_empty_file() {
        let empty = Manifest::new(Vec::new(), HashFold::default());
        let shard = &encode(&[&empty], &[]).unwrap()[0];
        let mut expected = vec![0; 192];
        expected[..15].copy_from_slice(b"HFRepoMetaData\0");
        expected[15..32].copy_from_slice(&[
            0x55, 0x69, 0x67, 0x45, 0x6a, 0x7b, 0x81, 0x57, 0x83, 0xa5, 0xbd, 0xd9, 0x5c, 0xcd,
            0xd1, 0x4a, 0xa9,
        ]);
        expected[32] = 2; // version
        expected[48 + 35] = 0x80; // with verification
        expected[96..128].fill(0xff); // end of files
        expected[144..176].fill(0xff); // end of xorbs
        assert_eq!(shard[..], expected);
    }

    #[test]
    fn the_file_comes_with_the_last_of_several_shards() {
        let xorbs: Vec<_> = (0..200).map(|seed| record(seed, 8192)).collect();
        let file = file_of(&xorbs[0]);
        let shards = encode(&[&file], &xorbs).unwrap();
        assert_eq!(shards.len(), 2);
        let described: Vec<_> = shards.iter().map(|shard| read(shard)).collect();
        assert_eq!((described[0].0.len(), described[1].0.len()), (0, 1));
        assert_eq!(described[0].1.len() + described[1].1.len(), 200);
        assert!(shards.iter().all(|shard| shard.len() <= MAX_SHARD_BYTES));
    }
}
