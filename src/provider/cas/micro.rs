//! The inner loops of uploads and downloads.

use bytes::Bytes;
use futures::FutureExt as _;
use http_body_util::BodyExt as _;
use xet_core_structures::xorb_object::Chunk;
use xet_data::deduplication::Chunker;

use crate::provider::cas::chunk::ChunkDecoder;
use crate::provider::cas::compress::Compressor;
use crate::provider::cas::xorb::XorbBuilder;

/// A serialised xorb as the network brings it.
pub type PackedXorb = Vec<Bytes>;

/// Frames of the network.
const FRAME_BYTES: usize = 64 << 10;

/// Cuts content into chunks and hashes them: what a PUT cannot do without. Returns how many there are.
pub fn cut_and_hash(content: &Bytes) -> usize {
    chunks(content).len()
}

/// Cuts, hashes, compresses, and packs content of at most one xorb.
///
/// # Panics
/// Panics if the content does not fit.
pub fn pack(content: &Bytes) -> PackedXorb {
    let mut compressor = Compressor::default();
    let mut builder = XorbBuilder::default();
    for chunk in chunks(content) {
        assert!(builder.fits(chunk.data.len()), "one xorb");
        let len_bytes = u32::try_from(chunk.data.len()).expect("a chunk is at most 128 KiB");
        let stored = compressor.store(&chunk.data).expect("it can be compressed");
        builder.push(chunk.hash, len_bytes, stored);
    }
    let xorb = builder.seal().expect("there is content");
    let whole = xorb.rope.body().collect().now_or_never();
    let Some(Ok(whole)) = whole else {
        unreachable!("all pieces are there");
    };
    let whole = whole.to_bytes();
    (0..whole.len())
        .step_by(FRAME_BYTES)
        .map(|start| whole.slice(start..whole.len().min(start + FRAME_BYTES)))
        .collect()
}

/// Decodes the chunks of a xorb and returns how many bytes they have, as a cold GET does.
///
/// # Panics
/// Panics if the xorb is none.
pub fn decode(xorb: &PackedXorb) -> usize {
    let mut decoder = ChunkDecoder::default();
    let mut bytes = 0;
    for frame in xorb {
        decoder.push(frame.clone());
        while let Some(chunk) = decoder.next_chunk().expect("a xorb") {
            bytes += chunk.unpack().expect("a chunk").len_bytes();
        }
    }
    bytes
}

fn chunks(content: &Bytes) -> Vec<Chunk> {
    let mut chunker = Chunker::default();
    chunker.next_block_bytes(content, true)
}
