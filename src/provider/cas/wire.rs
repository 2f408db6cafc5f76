//! Reconstruction answers as the CAS writes them, in both versions of the call.

use std::collections::HashMap;

use serde::Deserialize;
use xet_core_structures::merklehash::{MerkleHash, data_hash};

/// `GET /v2/reconstructions/{file}`: one address may serve several ranges of a xorb.
#[derive(Debug, Deserialize)]
pub(super) struct ReconstructionV2 {
    /// Bytes of the first term that lie before the range asked for.
    #[serde(default)]
    pub(super) offset_into_first_range: u64,
    /// The file's content in order.
    pub(super) terms: Vec<Term>,
    /// Where to fetch, by xorb hash in hex.
    pub(super) xorbs: HashMap<String, Vec<FetchV2>>,
}

/// `GET /v1/reconstructions/{file}`: one address a range.
#[derive(Debug, Deserialize)]
pub(super) struct ReconstructionV1 {
    #[serde(default)]
    offset_into_first_range: u64,
    terms: Vec<Term>,
    fetch_info: HashMap<String, Vec<FetchV1>>,
}

/// A run of chunks of one xorb.
#[derive(Debug, Deserialize)]
pub(super) struct Term {
    /// The xorb.
    #[serde(with = "data_hash::hex::serde")]
    pub(super) hash: MerkleHash,
    /// Length of the run in bytes, unpacked.
    pub(super) unpacked_length: u64,
    /// Chunk indices in the xorb.
    pub(super) range: Chunks,
}

/// Chunk indices, `end` exclusive.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Chunks {
    pub(super) start: u32,
    pub(super) end: u32,
}

/// Bytes of a serialized xorb, `end` inclusive, as in a Range header.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Bytes {
    pub(super) start: u64,
    pub(super) end: u64,
}

/// A signed address and the ranges that it authorises.
#[derive(Debug, Deserialize)]
pub(super) struct FetchV2 {
    pub(super) url: String,
    pub(super) ranges: Vec<RangeV2>,
}

/// A run of chunks and the bytes that hold it.
#[derive(Debug, Deserialize)]
pub(super) struct RangeV2 {
    pub(super) chunks: Chunks,
    pub(super) bytes: Bytes,
}

#[derive(Debug, Deserialize)]
struct FetchV1 {
    range: Chunks,
    url: String,
    url_range: Bytes,
}

impl From<ReconstructionV1> for ReconstructionV2 {
    fn from(v1: ReconstructionV1) -> Self {
        let fetch = |v1: FetchV1| FetchV2 {
            url: v1.url,
            ranges: vec![RangeV2 {
                chunks: v1.range,
                bytes: v1.url_range,
            }],
        };
        let xorbs = v1.fetch_info.into_iter();
        Self {
            offset_into_first_range: v1.offset_into_first_range,
            terms: v1.terms,
            xorbs: xorbs
                .map(|(hash, fetches)| (hash, fetches.into_iter().map(fetch).collect()))
                .collect(),
        }
    }
}
