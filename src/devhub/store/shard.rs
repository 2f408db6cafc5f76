//! Checks shards against the stored xorbs, and writes the small shards that answer deduplication queries.

use std::io::{self, Cursor};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use xet_core_structures::merklehash::{MerkleHash, compute_data_hash, file_hash};
use xet_core_structures::metadata_shard::MDBShardFileHeader;
use xet_core_structures::metadata_shard::chunk_verification::range_hash_from_chunks;
use xet_core_structures::metadata_shard::file_structs::{
    FileDataSequenceEntry, FileDataSequenceHeader, MDBFileInfo, MDBFileInfoView,
};
use xet_core_structures::metadata_shard::streaming_shard::MDBMinimalShard;
use xet_core_structures::metadata_shard::xorb_structs::{
    MDBXorbInfo, MDBXorbInfoView, XorbChunkSequenceEntry, XorbChunkSequenceHeader,
};
use xet_core_structures::xorb_object::XorbObject;

use super::Xorbs;

/// Bytes of a serialized shard.
pub(crate) const MAX_SHARD_BYTES: usize = 64 << 20;
/// A chunk that is not the last of its file is at least this long (chunking specification).
const MIN_INTERIOR_CHUNK_BYTES: u64 = 8 << 10;
/// How long clients may keep an answer to a deduplication query.
const DEDUP_ANSWER_LIFE: Duration = Duration::from_secs(24 * 3600);

/// How strictly shards are checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShardRules {
    /// Refuse files with short chunks in their interior.
    pub(crate) refuses_short_chunks: bool,
}

/// Why a shard was not registered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShardRefused {
    /// The shard is malformed, or contradicts the stored xorbs.
    #[error("{0}")]
    Invalid(String),
    /// The disk failed.
    #[error("failed to register the shard: {0}")]
    Io(#[from] io::Error),
}

fn invalid<T>(text: impl Into<String>) -> Result<T, ShardRefused> {
    Err(ShardRefused::Invalid(text.into()))
}

/// A shard that agrees with the stored xorbs.
pub(super) struct CheckedShard {
    pub(super) hash: MerkleHash,
    pub(super) files: Vec<MDBFileInfo>,
    /// Chunks that are offered for deduplication, each with the xorb that holds it.
    pub(super) chunks: Vec<(MerkleHash, MerkleHash)>,
}

/// Parses `shard` and checks all its claims.
pub(super) fn check(
    xorbs: &Xorbs,
    shard: &[u8],
    rules: ShardRules,
) -> Result<CheckedShard, ShardRefused> {
    let parsed = MDBMinimalShard::from_reader(&mut Cursor::new(shard), true, true)
        .map_err(|error| ShardRefused::Invalid(format!("malformed shard: {error}")))?;
    let mut chunks = Vec::new();
    let eligible: std::collections::HashSet<MerkleHash> =
        parsed.global_dedup_eligible_chunks().into_iter().collect();
    for view in (0..parsed.num_xorb()).filter_map(|index| parsed.xorb(index)) {
        check_xorb(xorbs, view)?;
        chunks.extend(
            (0..view.num_entries())
                .map(|index| view.chunk(index).chunk_hash)
                .filter(|chunk| eligible.contains(chunk))
                .map(|chunk| (chunk, view.xorb_hash())),
        );
    }
    let files = (0..parsed.num_files())
        .filter_map(|index| parsed.file(index))
        .map(|view| check_file(xorbs, view, rules))
        .collect::<Result<_, _>>()?;
    Ok(CheckedShard {
        hash: compute_data_hash(shard),
        files,
        chunks,
    })
}

/// The description of a xorb must be that of the stored one.
fn check_xorb(xorbs: &Xorbs, view: &MDBXorbInfoView) -> Result<(), ShardRefused> {
    let hash = view.xorb_hash();
    let Some(stored) = xorbs.describe(&hash)? else {
        return invalid(format!("xorb {} is not uploaded", hash.hex()));
    };
    if view.num_entries() != stored.info.chunk_hashes.len() {
        return invalid(format!("xorb {} has another number of chunks", hash.hex()));
    }
    let mut start = 0;
    for (index, end) in stored.info.unpacked_chunk_offsets.iter().enumerate() {
        let chunk = view.chunk(index);
        if chunk.chunk_hash != stored.info.chunk_hashes[index]
            || chunk.chunk_byte_range_start != start
            || chunk.chunk_byte_range_start + chunk.unpacked_segment_bytes != *end
        {
            return invalid(format!(
                "chunk {index} of xorb {} is another one",
                hash.hex()
            ));
        }
        start = *end;
    }
    Ok(())
}

/// Terms must exist, their lengths and verification hashes must be right, and the chunks must hash to the file hash.
fn check_file(
    xorbs: &Xorbs,
    view: &MDBFileInfoView,
    rules: ShardRules,
) -> Result<MDBFileInfo, ShardRefused> {
    let name = view.file_hash().hex();
    if view.num_entries() > 0 && !view.contains_verification() {
        return invalid(format!("file {name} carries no verification hashes"));
    }
    let mut chunks: Vec<(MerkleHash, u64)> = Vec::new();
    for index in 0..view.num_entries() {
        let term = view.entry(index);
        let term_chunks = chunks_of(xorbs, &term)?;
        let hashes: Vec<MerkleHash> = term_chunks.iter().map(|(hash, _)| *hash).collect();
        if range_hash_from_chunks(&hashes) != view.verification(index).range_hash {
            return invalid(format!(
                "term {index} of file {name} has a wrong verification hash"
            ));
        }
        chunks.extend(term_chunks);
    }
    if file_hash(&chunks) != view.file_hash() {
        return invalid(format!("the chunks of file {name} have another hash"));
    }
    let interior = chunks.len().saturating_sub(1);
    if rules.refuses_short_chunks
        && (chunks[..interior].iter()).any(|(_, len)| *len < MIN_INTERIOR_CHUNK_BYTES)
    {
        return invalid(format!(
            "file {name} has a chunk below 8 KiB in its interior"
        ));
    }
    file_info(view).map_err(ShardRefused::Io)
}

fn chunks_of(
    xorbs: &Xorbs,
    term: &FileDataSequenceEntry,
) -> Result<Vec<(MerkleHash, u64)>, ShardRefused> {
    let name = term.xorb_hash.hex();
    let Some(stored) = xorbs.describe(&term.xorb_hash)? else {
        return invalid(format!("xorb {name} is not uploaded"));
    };
    if term.chunk_index_start >= term.chunk_index_end {
        return invalid(format!("a term of xorb {name} is empty"));
    }
    let chunks = stored
        .chunk_hash_sizes(term.chunk_index_start, term.chunk_index_end)
        .map_err(|_| ShardRefused::Invalid(format!("a term lies outside xorb {name}")))?;
    let unpacked: u64 = chunks.iter().map(|(_, len)| len).sum();
    if unpacked != u64::from(term.unpacked_segment_bytes) {
        return invalid(format!("a term of xorb {name} claims another length"));
    }
    Ok(chunks)
}

fn file_info(view: &MDBFileInfoView) -> io::Result<MDBFileInfo> {
    let mut bytes = Vec::with_capacity(view.byte_size(true));
    view.serialize(&mut bytes, true)?;
    MDBFileInfo::deserialize(&mut Cursor::new(bytes))?
        .ok_or_else(|| io::Error::other("file entry is a bookend"))
}

/// Writes a shard without files that describes one xorb.
pub(super) fn describe_xorb(xorb: &XorbObject) -> io::Result<Vec<u8>> {
    let count = |len: usize| u32::try_from(len).map_err(io::Error::other);
    let mut start = 0;
    let chunks = (xorb.info.chunk_hashes.iter())
        .zip(&xorb.info.unpacked_chunk_offsets)
        .map(|(hash, end)| {
            let entry = XorbChunkSequenceEntry {
                chunk_hash: *hash,
                chunk_byte_range_start: start,
                unpacked_segment_bytes: end - start,
                ..Default::default()
            };
            start = *end;
            entry
        })
        .collect::<Vec<_>>();
    let info = MDBXorbInfo {
        metadata: XorbChunkSequenceHeader {
            xorb_hash: xorb.info.xorb_hash,
            xorb_flags: 0,
            num_entries: count(chunks.len())?,
            num_bytes_in_xorb: start,
            num_bytes_on_disk: xorb.get_contents_length().map_err(io::Error::other)?,
        },
        chunks,
    };
    let mut draft = Vec::new();
    MDBShardFileHeader::default()
        .serialize(&mut draft)
        .map_err(io::Error::other)?;
    FileDataSequenceHeader::bookend().serialize(&mut draft)?;
    info.serialize(&mut draft)?;
    XorbChunkSequenceHeader::bookend().serialize(&mut draft)?;
    with_footer(&draft)
}

fn with_footer(draft: &[u8]) -> io::Result<Vec<u8>> {
    let now = SystemTime::now();
    let created = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let shard = MDBMinimalShard::from_reader(&mut Cursor::new(draft), true, true)
        .map_err(io::Error::other)?;
    let mut bytes = Vec::new();
    shard
        .serialize_xorb_subset_with_expiry(
            &mut bytes,
            Some(now + DEDUP_ANSWER_LIFE),
            Some(created),
            |_| true,
        )
        .map_err(io::Error::other)?;
    Ok(bytes)
}
