//! Xorbs and shards, made by hand from the official structures.

use std::io::Cursor;

use xet_core_structures::merklehash::{MerkleHash, compute_data_hash, file_hash, xorb_hash};
use xet_core_structures::metadata_shard::MDBShardFileHeader;
use xet_core_structures::metadata_shard::chunk_verification::range_hash_from_chunks;
use xet_core_structures::metadata_shard::file_structs::{
    FileDataSequenceEntry, FileDataSequenceHeader, FileVerificationEntry, MDBFileInfo,
};
use xet_core_structures::metadata_shard::xorb_structs::{
    MDBXorbInfo, XorbChunkSequenceEntry, XorbChunkSequenceHeader,
};
use xet_core_structures::xorb_object::{CompressionScheme, deserialize_chunks, serialize_chunk};

/// A xorb with its serialized form.
pub(crate) struct Xorb {
    pub(crate) hash: MerkleHash,
    pub(crate) bytes: Vec<u8>,
    pub(crate) chunks: Vec<(MerkleHash, u64)>,
    pub(crate) plain: Vec<u8>,
}

/// Makes a xorb of `count` compressible chunks of 10,000 bytes; `seed` tells xorbs apart.
pub(crate) fn xorb(seed: u8, count: u8) -> Xorb {
    let (mut bytes, mut chunks, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..count {
        let chunk: Vec<u8> = (0..10_000u32)
            .map(|i| (i / 7 % 100) as u8 ^ seed.wrapping_mul(31).wrapping_add(index))
            .collect();
        // Both forms occur in one xorb.
        let scheme = match index % 2 {
            0 => CompressionScheme::LZ4,
            _ => CompressionScheme::None,
        };
        serialize_chunk(&chunk, &mut bytes, scheme).unwrap();
        chunks.push((compute_data_hash(&chunk), chunk.len() as u64));
        plain.extend_from_slice(&chunk);
    }
    Xorb {
        hash: xorb_hash(&chunks),
        bytes,
        chunks,
        plain,
    }
}

/// Describes a file that consists of all chunks of `xorb`.
pub(crate) fn file_of(xorb: &Xorb) -> MDBFileInfo {
    let hashes: Vec<MerkleHash> = xorb.chunks.iter().map(|(hash, _)| *hash).collect();
    MDBFileInfo {
        metadata: FileDataSequenceHeader::new(file_hash(&xorb.chunks), 1, true, false),
        segments: vec![FileDataSequenceEntry::new(
            xorb.hash,
            xorb.plain.len(),
            0,
            hashes.len(),
        )],
        verification: vec![FileVerificationEntry::new(range_hash_from_chunks(&hashes))],
        metadata_ext: None,
    }
}

/// Serializes a shard as clients upload it: without a footer.
pub(crate) fn shard(files: &[&MDBFileInfo], xorbs: &[&Xorb]) -> Vec<u8> {
    let mut bytes = Vec::new();
    MDBShardFileHeader::default().serialize(&mut bytes).unwrap();
    for file in files {
        file.serialize(&mut bytes).unwrap();
    }
    FileDataSequenceHeader::bookend()
        .serialize(&mut bytes)
        .unwrap();
    for xorb in xorbs {
        let mut start = 0;
        let chunks = xorb
            .chunks
            .iter()
            .map(|(hash, len)| {
                let entry = XorbChunkSequenceEntry::new(*hash, *len, start);
                start += *len;
                entry
            })
            .collect::<Vec<_>>();
        let metadata = XorbChunkSequenceHeader::new(xorb.hash, chunks.len(), xorb.plain.len());
        MDBXorbInfo { metadata, chunks }
            .serialize(&mut bytes)
            .unwrap();
    }
    XorbChunkSequenceHeader::bookend()
        .serialize(&mut bytes)
        .unwrap();
    bytes
}

/// Unpacks stored chunks.
pub(crate) fn unpack(stored: &[u8]) -> Vec<u8> {
    deserialize_chunks(&mut Cursor::new(stored)).unwrap().0
}
