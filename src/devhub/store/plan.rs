//! Which chunks of which xorbs make up a part of a file.

use std::collections::HashMap;
use std::io;
use std::ops::Range;

use xet_core_structures::merklehash::MerkleHash;
use xet_core_structures::metadata_shard::file_structs::FileDataSequenceEntry;
use xet_core_structures::xorb_object::XorbObject;

use super::{ByteSpan, RegisteredFile, Xorbs};

/// A run of chunks of one xorb, in file order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Term {
    pub(crate) xorb: MerkleHash,
    pub(crate) chunks: Range<u32>,
    pub(crate) unpacked_len: u32,
}

/// Chunks of a xorb that lie side by side, and where they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FetchRange {
    pub(crate) chunks: Range<u32>,
    pub(crate) bytes: ByteSpan,
}

/// How to put a part of a file together.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Unpacked bytes of the first term that lie before the asked range.
    pub(crate) skip: u64,
    /// In file order. Empty for an empty file.
    pub(crate) terms: Vec<Term>,
    /// By xorb; ordered by chunk, and no two touch.
    pub(crate) fetches: HashMap<MerkleHash, Vec<FetchRange>>,
}

/// Plans the bytes in `span`, which must lie within the file.
pub(super) fn plan(xorbs: &Xorbs, file: &RegisteredFile, span: ByteSpan) -> io::Result<Plan> {
    let mut plan = Plan::default();
    let mut position = 0;
    for segment in &file.info.segments {
        let segment_span = ByteSpan {
            start: position,
            end: position + u64::from(segment.unpacked_segment_bytes),
        };
        position = segment_span.end;
        if segment_span.end <= span.start || segment_span.start >= span.end {
            continue;
        }
        let xorb = xorbs.describe(&segment.xorb_hash)?.ok_or_else(|| {
            io::Error::other(format!("xorb {} has disappeared", segment.xorb_hash.hex()))
        })?;
        let (term, skipped, bytes) = cut(segment, segment_span, span, &xorb)?;
        if plan.terms.is_empty() {
            plan.skip = span.start.saturating_sub(segment_span.start + skipped);
        }
        let fetch = FetchRange {
            chunks: term.chunks.clone(),
            bytes,
        };
        plan.fetches.entry(term.xorb).or_default().push(fetch);
        plan.terms.push(term);
    }
    for ranges in plan.fetches.values_mut() {
        *ranges = merge(std::mem::take(ranges));
    }
    Ok(plan)
}

/// Drops the chunks of `segment` that `span` does not touch. Returns the term, the bytes dropped before it, and its
/// place in the xorb.
fn cut(
    segment: &FileDataSequenceEntry,
    segment_span: ByteSpan,
    span: ByteSpan,
    xorb: &XorbObject,
) -> io::Result<(Term, u64, ByteSpan)> {
    let (start, end) = (segment.chunk_index_start, segment.chunk_index_end);
    let ends = xorb
        .info
        .unpacked_chunk_offsets
        .get(start as usize..end as usize)
        .ok_or_else(|| io::Error::other("term lies outside its xorb"))?;
    let unpacked_start = match start {
        0 => 0,
        _ => xorb.info.unpacked_chunk_offsets[start as usize - 1],
    };
    let place = |end: &u32| segment_span.start + u64::from(end - unpacked_start);
    let first = ends.partition_point(|end| place(end) <= span.start);
    let last = ends
        .partition_point(|end| place(end) < span.end)
        .min(ends.len() - 1);
    let skipped = match first {
        0 => 0,
        _ => ends[first - 1] - unpacked_start,
    };
    let index = |offset: usize| u32::try_from(offset).map_err(io::Error::other);
    let chunks = start + index(first)?..start + index(last)? + 1;
    let bytes = place_of(xorb, &chunks)?;
    let term = Term {
        xorb: segment.xorb_hash,
        unpacked_len: ends[last] - unpacked_start - skipped,
        chunks,
    };
    Ok((term, skipped.into(), bytes))
}

/// Returns where the chunks are stored within the xorb.
fn place_of(xorb: &XorbObject, chunks: &Range<u32>) -> io::Result<ByteSpan> {
    let (start, end) = xorb
        .get_byte_offset(chunks.start, chunks.end)
        .map_err(io::Error::other)?;
    Ok(ByteSpan {
        start: start.into(),
        end: end.into(),
    })
}

/// Joins ranges that overlap or touch.
fn merge(mut ranges: Vec<FetchRange>) -> Vec<FetchRange> {
    ranges.sort_by_key(|range| range.chunks.start);
    let mut merged: Vec<FetchRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.chunks.start <= last.chunks.end => {
                last.chunks.end = last.chunks.end.max(range.chunks.end);
                last.bytes.end = last.bytes.end.max(range.bytes.end);
            }
            _ => merged.push(range),
        }
    }
    merged
}
