//! `GET /v2/file-chunk-hashes/{file}`: what is needed to change ranges of a file without reading the rest.

use std::io;

use axum::Json;
use axum::extract::{Path, State};
use http::HeaderMap;
use xet_client::cas_client::chunk_window_builder::build_file_chunk_hashes_response;
use xet_client::cas_types::{FileChunkHashesResponse, FileRange, X_RANGE_DIRTY_HEADER};
use xet_core_structures::merklehash::MerkleHash;

use super::access::{Reader, hash};
use crate::devhub::refusal::Refusal;
use crate::devhub::state::{Shared, blocking};
use crate::devhub::store::{RangeHeader, RegisteredFile, Store};

pub(super) async fn file_chunk_hashes(
    State(state): State<Shared>,
    _: Reader,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Result<Json<FileChunkHashesResponse>, Refusal> {
    if !state.faults.knobs().offers_v2 {
        return Err(Refusal::not_found("not offered"));
    }
    let hash = hash(&file)?;
    let file = (state.store.file(&hash)).ok_or_else(|| Refusal::not_found("File not found"))?;
    let dirty = headers
        .get(X_RANGE_DIRTY_HEADER)
        .and_then(|ranges| RangeHeader::parse_all(ranges.to_str().ok()?))
        .ok_or_else(|| Refusal::bad_request("X-Range-Dirty is missing or malformed"))?;
    let mut dirty: Vec<FileRange> = (dirty.into_iter())
        .map(|range| range.resolve(file.size).ok_or_else(Refusal::range))
        .map(|span| span.map(|span| FileRange::new(span.start, span.end)))
        .collect::<Result<_, _>>()?;
    dirty.sort_unstable();
    if dirty.windows(2).any(|pair| pair[0].end > pair[1].start) {
        return Err(Refusal::bad_request("dirty ranges overlap"));
    }
    let store = state.store.clone();
    let chunks: io::Result<Vec<(MerkleHash, u64)>> = {
        let file = file.clone();
        blocking(move || chunks(&store, &file)).await?
    };
    build_file_chunk_hashes_response(&file.info, dirty, chunks?)
        .map(Json)
        .map_err(|error| Refusal::bad_request(error.to_string()))
}

fn chunks(store: &Store, file: &RegisteredFile) -> io::Result<Vec<(MerkleHash, u64)>> {
    let mut chunks = Vec::new();
    for term in &file.info.segments {
        let xorb = (store.xorbs.describe(&term.xorb_hash)?)
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let run = xorb.chunk_hash_sizes(term.chunk_index_start, term.chunk_index_end);
        chunks.extend(run.map_err(io::Error::other)?);
    }
    Ok(chunks)
}
