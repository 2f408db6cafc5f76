//! `POST /v1/shards` and `/v2/shards`: registers files and chunks.

use std::io;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use xet_client::cas_types::{
    CommitStage, ShardUploadEvent, UploadShardResponse, UploadShardResponseType,
};
use xet_core_structures::merklehash::MerkleHash;

use super::access::Writer;
use crate::devhub::faults::Effect;
use crate::devhub::refusal::Refusal;
use crate::devhub::route::Route;
use crate::devhub::state::{Shared, blocking};
use crate::devhub::store::{MAX_SHARD_BYTES, ShardRefused, ShardRules};

pub(super) async fn v1(
    State(state): State<Shared>,
    _: Writer,
    body: Body,
) -> Result<Json<UploadShardResponse>, Refusal> {
    let hash = register(&state, body).await??;
    Ok(Json(UploadShardResponse {
        result: UploadShardResponseType::SyncPerformed,
        shard_hash: Some(hash.into()),
    }))
}

/// Once the stream has begun the status is 200; a refusal is then the last event.
pub(super) async fn v2(
    State(state): State<Shared>,
    _: Writer,
    body: Body,
) -> Result<Response, Refusal> {
    if !state.faults.knobs().offers_v2 {
        return Err(Refusal::not_found("not offered"));
    }
    let injected = state.faults.take_if(Route::Shard, |effect| {
        matches!(effect, Effect::ShardError { .. })
    });
    let last = match injected {
        Some(Effect::ShardError { retryable }) => ShardUploadEvent::Error {
            message: "injected fault".into(),
            retryable,
        },
        _ => match register(&state, body).await? {
            Ok(_) => ShardUploadEvent::Result,
            Err(refused) => ShardUploadEvent::Error {
                retryable: matches!(refused, ShardRefused::Io(_)),
                message: refused.to_string(),
            },
        },
    };
    events(last).map_err(Refusal::from)
}

async fn register(state: &Shared, body: Body) -> Result<Result<MerkleHash, ShardRefused>, Refusal> {
    let shard = to_bytes(body, MAX_SHARD_BYTES)
        .await
        .map_err(|error| Refusal::bad_request(format!("shard did not arrive: {error}")))?;
    let rules = ShardRules {
        refuses_short_chunks: state.faults.knobs().refuses_short_chunks,
    };
    let store = state.store.clone();
    Ok(blocking(move || store.register_shard(&shard, rules)).await?)
}

fn events(last: ShardUploadEvent) -> io::Result<Response> {
    let mut events = vec![
        ShardUploadEvent::Validating {
            verified: 0,
            total: 1,
        },
        ShardUploadEvent::Validating {
            verified: 1,
            total: 1,
        },
    ];
    if last == ShardUploadEvent::Result {
        for stage in [CommitStage::Uploading, CommitStage::Syncing] {
            events.push(ShardUploadEvent::Committing { stage });
        }
    }
    events.push(last);
    let mut lines = Vec::new();
    for event in events {
        serde_json::to_writer(&mut lines, &event)?;
        lines.push(b'\n');
    }
    Ok(([("content-type", "application/x-ndjson")], lines).into_response())
}
