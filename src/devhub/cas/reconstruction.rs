//! `GET /v1|v2/reconstructions/{file}`: which chunks make up a file, and addresses that open exactly those.

use std::io;

use axum::Json;
use axum::extract::{Path, State};
use http::HeaderMap;
use http::header::RANGE;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use xet_client::cas_types::{
    ChunkRange, HttpRange, QueryReconstructionResponse, QueryReconstructionResponseV2,
    XorbMultiRangeFetch, XorbRangeDescriptor, XorbReconstructionFetchInfo, XorbReconstructionTerm,
};
use xet_core_structures::merklehash::MerkleHash;

use super::access::{Reader, hash};
use crate::devhub::refusal::Refusal;
use crate::devhub::state::{Shared, State as Hub, blocking};
use crate::devhub::store::{ByteSpan, FetchRange, Plan, RangeHeader};

/// Ranges in one signed address at most, so that it stays below 8 KiB.
const RANGES_PER_ADDRESS: usize = 250;

pub(super) async fn v1(
    State(state): State<Shared>,
    _: Reader,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Result<Json<QueryReconstructionResponse>, Refusal> {
    let plan = plan(&state, &file, &headers).await?;
    let fetch_info = plan.fetches.iter().map(|(xorb, ranges)| {
        let infos = ranges.iter().map(|range| XorbReconstructionFetchInfo {
            range: chunk_range(range),
            url: sign(&state, xorb, std::slice::from_ref(range)),
            url_range: http_range(range.bytes),
        });
        ((*xorb).into(), infos.collect())
    });
    Ok(Json(QueryReconstructionResponse {
        offset_into_first_range: plan.skip,
        fetch_info: fetch_info.collect(),
        terms: terms(&plan),
    }))
}

pub(super) async fn v2(
    State(state): State<Shared>,
    _: Reader,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Result<Json<QueryReconstructionResponseV2>, Refusal> {
    if !state.faults.knobs().offers_v2 {
        return Err(Refusal::not_found("not offered"));
    }
    let plan = plan(&state, &file, &headers).await?;
    let xorbs = plan.fetches.iter().map(|(xorb, ranges)| {
        let fetches = ranges
            .chunks(RANGES_PER_ADDRESS)
            .map(|ranges| XorbMultiRangeFetch {
                url: sign(&state, xorb, ranges),
                ranges: (ranges.iter())
                    .map(|range| XorbRangeDescriptor {
                        chunks: chunk_range(range),
                        bytes: http_range(range.bytes),
                    })
                    .collect(),
            });
        ((*xorb).into(), fetches.collect())
    });
    Ok(Json(QueryReconstructionResponseV2 {
        offset_into_first_range: plan.skip,
        xorbs: xorbs.collect(),
        terms: terms(&plan),
    }))
}

async fn plan(state: &Hub, file: &str, headers: &HeaderMap) -> Result<Plan, Refusal> {
    let hash = hash(file)?;
    let file = (state.store.file(&hash)).ok_or_else(|| Refusal::not_found("File not found"))?;
    let span = match headers.get(RANGE) {
        None => ByteSpan {
            start: 0,
            end: file.size,
        },
        Some(range) => range
            .to_str()
            .ok()
            .and_then(RangeHeader::parse_one)
            .ok_or_else(|| Refusal::bad_request("Invalid range"))?
            .resolve(file.size)
            .ok_or_else(Refusal::range)?,
    };
    let store = state.store.clone();
    let plan: io::Result<Plan> = blocking(move || store.plan(&file, span)).await?;
    Ok(plan?)
}

fn terms(plan: &Plan) -> Vec<XorbReconstructionTerm> {
    (plan.terms.iter())
        .map(|term| XorbReconstructionTerm {
            hash: term.xorb.into(),
            unpacked_length: term.unpacked_len,
            range: ChunkRange::new(term.chunks.start, term.chunks.end),
        })
        .collect()
}

fn chunk_range(range: &FetchRange) -> ChunkRange {
    ChunkRange::new(range.chunks.start, range.chunks.end)
}

fn http_range(span: ByteSpan) -> HttpRange {
    HttpRange::new(span.start, span.end - 1)
}

/// Returns an address that opens these ranges of a xorb and nothing else.
fn sign(state: &Hub, xorb: &MerkleHash, ranges: &[FetchRange]) -> String {
    let ranges: Vec<String> = (ranges.iter())
        .map(|range| http_range(range.bytes).to_string())
        .collect();
    let ranges = format!("bytes={}", ranges.join(","));
    let ranges = utf8_percent_encode(&ranges, NON_ALPHANUMERIC);
    state.signed_address(&format!(
        "/xorbs/{}?X-Xet-Signed-Range={ranges}",
        xorb.hex()
    ))
}
