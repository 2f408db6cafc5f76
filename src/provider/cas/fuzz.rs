//! Properties of what the CAS and its storage answer, and of what we send them.

use std::collections::HashMap;
use std::io::Read as _;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use lz4_flex::frame::FrameDecoder;
use xet_core_structures::merklehash::{MerkleHash, compute_data_hash};
use xet_core_structures::metadata_shard::MDBShardFileHeader;
use xet_core_structures::metadata_shard::file_structs::MDBFileInfo;
use xet_core_structures::metadata_shard::xorb_structs::MDBXorbInfo;
use xet_core_structures::xorb_object::byte_grouping::bg4::bg4_regroup;

use super::chunk::{ChunkDecoder, ChunkError, MAX_CHUNK_BYTES};
use super::compose::Composition;
use super::compress::{Compressor, Stored};
use super::file_hash::FileHasher;
use super::manifest::{Manifest, Term};
use super::plan::Route;
use super::shard;
use super::wire::{ReconstructionV1, ReconstructionV2};
use super::xorb::{XorbBuilder, XorbRecord};
use crate::fuzzing::{Feed, frames};
use crate::provider::http::Destinations;

/// What a xorb decodes to: its chunks up to the first broken one, and whether it ends inside of one.
type Decoded = (Vec<Vec<u8>>, Result<bool, ChunkError>);

/// Any bytes for a serialised xorb, or one that is built of them.
pub(crate) fn xorb(input: &[u8]) {
    let mut feed = Feed::new(input);
    let (mode, seed) = (feed.byte(), feed.byte());
    if mode & 1 == 0 {
        let whole = decode(frames(feed.rest(), 0));
        assert_eq!(decode(frames(feed.rest(), seed)), whole);
        assert_eq!(reference(feed.rest()), whole);
    } else {
        built_is_read_back(feed.rest(), seed, mode & 2 != 0);
    }
}

fn decode(frames: Vec<Bytes>) -> Decoded {
    let mut decoder = ChunkDecoder::default();
    let mut chunks = Vec::new();
    for frame in frames {
        decoder.push(frame);
        loop {
            let packed = match decoder.next_chunk() {
                Ok(Some(packed)) => packed,
                Ok(None) => break,
                Err(error) => return (chunks, Err(error)),
            };
            let announced = packed.len_bytes();
            assert!((1..=MAX_CHUNK_BYTES).contains(&announced));
            let chunk = match packed.unpack() {
                Ok(chunk) => chunk,
                Err(error) => return (chunks, Err(error)),
            };
            let bytes = chunk.pieces().concat();
            assert_eq!((chunk.len_bytes(), bytes.len()), (announced, announced));
            assert_eq!(chunk.compacted().pieces().concat(), bytes);
            assert_eq!(chunk.hash(&mut Vec::new()), compute_data_hash(&bytes));
            chunks.push(bytes);
        }
    }
    (chunks, Ok(decoder.is_inside_chunk()))
}

/// Reads a xorb as one would by hand, from the layout of a chunk's header.
fn reference(mut xorb: &[u8]) -> Decoded {
    let mut chunks = Vec::new();
    let length = |bytes: &[u8]| {
        let bytes = bytes.iter().rev();
        bytes.fold(0, |length, byte| length << 8 | usize::from(*byte))
    };
    while let Some((header, rest)) = xorb.split_at_checked(8) {
        let (packed, scheme, unpacked) = (length(&header[1..4]), header[4], length(&header[5..8]));
        let is_possible = match scheme {
            0 => packed == unpacked,
            1 | 2 => packed > 0,
            _ => false,
        };
        // The format's own reader takes twice the length of a chunk for what is packed.
        let is_possible = is_possible && packed <= 2 * MAX_CHUNK_BYTES;
        if header[0] != 0 || !is_possible || !(1..=MAX_CHUNK_BYTES).contains(&unpacked) {
            return (chunks, Err(ChunkError::Header));
        }
        let Some((payload, rest)) = rest.split_at_checked(packed) else {
            return (chunks, Ok(true));
        };
        let mut bytes = Vec::new();
        let is_whole = match scheme {
            0 => {
                bytes.extend_from_slice(payload);
                true
            }
            _ => FrameDecoder::new(payload)
                .take(unpacked as u64 + 1)
                .read_to_end(&mut bytes)
                .is_ok(),
        };
        if !is_whole || bytes.len() != unpacked {
            return (chunks, Err(ChunkError::Payload));
        }
        chunks.push(if scheme == 2 {
            bg4_regroup(&bytes)
        } else {
            bytes
        });
        xorb = rest;
    }
    (chunks, Ok(!xorb.is_empty()))
}

fn built_is_read_back(matter: &[u8], seed: u8, is_compressed: bool) {
    let mut builder = XorbBuilder::default();
    let mut compressor = Compressor::default();
    let pieces: Vec<&[u8]> = matter.chunks(1 + usize::from(seed) * 64).collect();
    for piece in &pieces {
        let bytes = Bytes::copy_from_slice(piece);
        let stored = if is_compressed {
            compressor.store(&bytes).expect("memory is there")
        } else {
            Stored::raw(bytes)
        };
        let len = u32::try_from(piece.len()).expect("a piece is short");
        if builder.fits(piece.len()) {
            builder.push(compute_data_hash(piece), len, stored);
        }
    }
    let count = builder.chunks().len();
    let Some(xorb) = builder.seal() else {
        return;
    };
    let collected = futures::executor::block_on(xorb.rope.body().collect());
    let bytes = collected.unwrap_or_else(|never| match never {}).to_bytes();
    assert_eq!(bytes.len(), xorb.rope.len_bytes());
    let (chunks, end) = decode(frames(&bytes, seed));
    assert_eq!(end, Ok(false));
    assert!(chunks.iter().eq(pieces.iter().take(count)));
}

/// A reconstruction in JSON, then the length of the span, a byte for the version, and one for the scheme of the CAS.
pub(crate) fn plan(input: &[u8]) {
    let mut feed = Feed::new(input);
    let (is_plain_http, version) = (feed.byte() & 1 != 0, feed.byte());
    let len_bytes = feed.number();
    let answer: Option<ReconstructionV2> = if version & 1 == 0 {
        serde_json::from_slice(feed.rest()).ok()
    } else {
        let answer: Option<ReconstructionV1> = serde_json::from_slice(feed.rest()).ok();
        answer.map(Into::into)
    };
    let Some(answer) = answer else {
        return;
    };
    let destinations = if is_plain_http {
        Destinations::ANY
    } else {
        Destinations::PUBLIC
    };
    let Ok(route) = Route::from_wire(&answer, len_bytes, destinations) else {
        return;
    };
    let plan = &route.plan;
    assert_eq!(route.urls.len(), plan.segments.len());
    assert!(!plan.terms.is_empty() && plan.terms.len() <= answer.terms.len());
    let mut covered = 0_u64;
    for term in &plan.terms {
        let segment = &plan.segments[term.segment];
        assert!(segment.chunks.start <= term.chunks.start && term.chunks.end <= segment.chunks.end);
        assert!(term.chunks.start < term.chunks.end && term.chunks.end <= 8192);
        assert!((1..=term.chunks.len() as u64 * MAX_CHUNK_BYTES as u64).contains(&term.len_bytes));
        assert!(segment.bytes.start < segment.bytes.end && segment.bytes.end <= 65 << 20);
        covered = covered
            .checked_add(term.len_bytes)
            .expect("spans are short");
    }
    assert!(
        plan.skip_bytes
            .checked_add(len_bytes)
            .is_some_and(|end| end <= covered)
    );
    for url in &route.urls {
        assert!(url.scheme() == "https" || (is_plain_http && url.scheme() == "http"));
        assert!(url.host().is_some() && url.username().is_empty() && url.password().is_none());
    }
    let _ = route.usable_for(SystemTime::now());
}

/// A manifest as it lies beside a part.
pub(crate) fn manifest(input: &[u8]) {
    let Ok(manifest) = Manifest::from_bytes(input) else {
        return;
    };
    let written = manifest.to_bytes().expect("what was read can be written");
    assert_eq!(
        Manifest::from_bytes(&written).ok().as_ref(),
        Some(&manifest)
    );
    // Nothing that is small grows large by being read.
    assert!(manifest.memory_bytes() <= 1024 + input.len() * 4);
    let mut twice = Composition::default();
    for _ in 0..2 {
        if twice.push(&manifest).is_err() {
            return;
        }
    }
    let twice = twice.finish();
    let whole = twice.manifest_ref();
    assert_eq!(whole.size(), manifest.size() * 2);
    assert_eq!(whole.terms.len(), manifest.terms.len() * 2);
}

/// Files and xorbs that the bytes describe, encoded and read by the official reader.
pub(crate) fn shard(input: &[u8]) {
    let mut feed = Feed::new(input);
    let xorbs: Vec<Arc<XorbRecord>> = (0..feed.byte() % 4).map(|_| record(&mut feed)).collect();
    let files: Vec<Manifest> = (0..feed.byte() % 4)
        .map(|_| file(&mut feed, &xorbs))
        .collect();
    let shards = shard::encode(&files.iter().collect::<Vec<_>>(), &xorbs).expect("they are few");
    assert_eq!(shards.len(), 1);
    let mut rest = &shards[0][..];
    let header = MDBShardFileHeader::deserialize(&mut rest).expect("a header");
    assert_eq!(header.footer_size, 0);
    // Of files with one hash the first is written, though others may have it by other terms.
    let mut wanted: HashMap<MerkleHash, &Manifest> = HashMap::new();
    for file in &files {
        wanted.entry(file.hash).or_insert(file);
    }
    while let Some(found) = MDBFileInfo::deserialize(&mut rest).expect("a file") {
        let file = wanted
            .remove(&found.metadata.file_hash)
            .expect("it was written");
        assert_eq!(found.file_size(), file.size);
        let terms = found.segments.iter().map(|segment| {
            let range = segment.chunk_index_start..segment.chunk_index_end;
            (segment.xorb_hash, range, segment.unpacked_segment_bytes)
        });
        let expected = file.terms.iter();
        assert!(terms.eq(expected.map(|term| (term.xorb, term.start..term.end, term.bytes))));
    }
    assert!(wanted.is_empty());
    let mut wanted: HashMap<MerkleHash, &Arc<XorbRecord>> =
        xorbs.iter().map(|xorb| (xorb.hash, xorb)).collect();
    while let Some(found) = MDBXorbInfo::deserialize(&mut rest).expect("a xorb") {
        let xorb = wanted
            .remove(&found.metadata.xorb_hash)
            .expect("it was written");
        let chunks = found.chunks.iter();
        let chunks = chunks.map(|chunk| (chunk.chunk_hash, chunk.unpacked_segment_bytes));
        assert!(chunks.eq(xorb.chunks.iter().copied()));
    }
    assert!(wanted.is_empty() && rest.is_empty());
}

fn record(feed: &mut Feed<'_>) -> Arc<XorbRecord> {
    let mut builder = XorbBuilder::default();
    for _ in 0..=feed.byte() % 16 {
        let chunk = vec![feed.byte(); 1 + usize::from(feed.byte())];
        let len = u32::try_from(chunk.len()).expect("at most 256");
        builder.push(compute_data_hash(&chunk), len, Stored::raw(chunk.into()));
    }
    builder.seal().expect("there is a chunk").record
}

/// A file of some runs of chunks of these xorbs.
fn file(feed: &mut Feed<'_>, xorbs: &[Arc<XorbRecord>]) -> Manifest {
    let (mut terms, mut hasher) = (Vec::new(), FileHasher::default());
    for _ in 0..feed.byte() % 4 {
        let Some(xorb) = xorbs.get(usize::from(feed.byte() % 4)) else {
            continue;
        };
        let start = usize::from(feed.byte()) % xorb.chunks.len();
        let run = &xorb.chunks[start..];
        let run = &run[..1 + usize::from(feed.byte()) % run.len()];
        run.iter()
            .for_each(|(hash, len)| hasher.push((*hash, u64::from(*len))));
        let index = |at: usize| u32::try_from(at).expect("a xorb has few chunks");
        terms.push(Term {
            xorb: xorb.hash,
            start: index(start),
            end: index(start + run.len()),
            bytes: run.iter().map(|(_, len)| len).sum(),
            range_hash: MerkleHash::default(),
        });
    }
    Manifest::new(terms, hasher.finish())
}
