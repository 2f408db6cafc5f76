//! `GET /v1/chunks/{prefix}/{hash}`: a shard that says which xorb holds a chunk.

use axum::extract::{Path, State};

use super::access::{Reader, key};
use crate::devhub::refusal::Refusal;
use crate::devhub::state::{Shared, blocking};

pub(super) async fn query(
    State(state): State<Shared>,
    _: Reader,
    Path((prefix, hash)): Path<(String, String)>,
) -> Result<Vec<u8>, Refusal> {
    let chunk = key(&prefix, &hash)?;
    let store = state.store.clone();
    blocking(move || store.dedup_shard(&chunk))
        .await??
        .ok_or_else(|| Refusal::not_found("Chunk is not known"))
}
