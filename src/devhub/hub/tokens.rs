//! `GET …/xet-read-token` and `…/xet-write-token`: access to the CAS for one bucket.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::devhub::clock::now_secs;
use crate::devhub::identity::Caller;
use crate::devhub::refusal::Refusal;
use crate::devhub::registry::BucketKey;
use crate::devhub::state::{Shared, State as Hub, whole_secs};

pub(super) async fn read(
    State(state): State<Shared>,
    caller: Caller,
    Path((namespace, name)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let key = caller.key(&namespace, &name)?;
    answer(&state, &caller, &key, false)
}

pub(super) async fn write(
    State(state): State<Shared>,
    caller: Caller,
    Path((namespace, name)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let key = caller.key(&namespace, &name)?;
    caller.write(&state, &key)?;
    answer(&state, &caller, &key, true)
}

fn answer(
    state: &Hub,
    caller: &Caller,
    key: &BucketKey,
    writes: bool,
) -> Result<Response, Refusal> {
    let bucket = caller.read(state, key, |bucket| bucket.id.clone())?;
    let expires = now_secs() + whole_secs(state.faults.knobs().token_life);
    let token = state.signer.token(bucket, writes, expires);
    let url = state.storage_address("");
    let headers = [
        ("x-xet-cas-url", url.clone()),
        ("x-xet-token-expiration", expires.to_string()),
        ("x-xet-access-token", token.clone()),
    ];
    let body = json!({ "casUrl": url, "exp": expires, "accessToken": token });
    Ok((headers, Json(body)).into_response())
}
