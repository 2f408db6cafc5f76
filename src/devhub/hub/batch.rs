//! `POST …/batch`: adds, copies, and deletes files. Each line has its own verdict.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use serde_json::json;
use xet_core_structures::merklehash::MerkleHash;

use super::batch_line::{Line, parse};
use crate::devhub::clock::now_millis;
use crate::devhub::faults::Effect;
use crate::devhub::identity::Caller;
use crate::devhub::refusal::Refusal;
use crate::devhub::registry::{BucketKey, Change, FileEntry};
use crate::devhub::route::Route;
use crate::devhub::state::{Shared, State as Hub, blocking};

pub(super) async fn batch(
    State(state): State<Shared>,
    caller: Caller,
    Path((namespace, name)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let key = caller.key(&namespace, &name)?;
    caller.write(&state, &key)?;
    blocking(move || apply(&state, &caller, &key, &body)).await?
}

fn apply(state: &Hub, caller: &Caller, key: &BucketKey, body: &[u8]) -> Result<Response, Refusal> {
    let lines = parse(body)?;
    let processed = lines.len();
    let mut changes = Vec::with_capacity(processed);
    let mut failed = Vec::new();
    for line in lines {
        let path = line.path().to_owned();
        match judge(state, caller, key, line) {
            Ok(change) => changes.extend(change),
            Err(error) => failed.push(json!({ "path": path, "error": error })),
        }
    }
    let succeeded = processed - failed.len();
    if !state.registry.commit(key, changes)? {
        return Err(Refusal::no_bucket());
    }
    let status = match succeeded {
        0 => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::OK,
    };
    let answer = json!({
        "success": failed.is_empty(),
        "processed": processed,
        "succeeded": succeeded,
        "failed": failed,
    });
    Ok((status, Json(answer)).into_response())
}

/// Turns a line into a change, or says why it fails. Nothing comes of a line that is answered as done and is lost.
fn judge(
    state: &Hub,
    caller: &Caller,
    key: &BucketKey,
    line: Line,
) -> Result<Option<Change>, String> {
    let meets = |effect: &Effect| {
        let path = effect.line_path();
        path.is_some_and(|path| line.path().contains(path))
    };
    let injected = state.faults.take_if(Route::Batch, meets);
    match injected {
        Some(Effect::FailEntries { error, .. }) => return Err(error),
        Some(Effect::LoseEntries { .. }) => return Ok(None),
        _ => {}
    }
    let change = match line {
        Line::Delete { path } => Change::Delete { path },
        Line::Add {
            path,
            xet_hash,
            mtime,
            content_type,
        } => {
            let hash = match injected {
                Some(Effect::SwapEntries { .. }) => another(state, caller, key, &xet_hash)?,
                _ => xet_hash,
            };
            put(state, path, &hash, mtime, content_type)?
        }
        Line::Copy {
            path,
            xet_hash,
            mtime,
            source_repo_type,
            source_repo_id,
        } => {
            check_source(state, caller, &source_repo_type, &source_repo_id)?;
            put(state, path, &xet_hash, mtime, None)?
        }
    };
    Ok(Some(change))
}

/// Returns the hash of a file in the bucket that has other content; the same one if there is none.
fn another(state: &Hub, caller: &Caller, key: &BucketKey, hash: &str) -> Result<String, String> {
    let found = caller.read(state, key, |bucket| {
        let mut others = bucket.files.values().filter(|file| file.hash != hash);
        others.next().map(|file| file.hash.clone())
    });
    let found = found.map_err(|_| "bucket not found".to_owned())?;
    Ok(found.unwrap_or_else(|| hash.to_owned()))
}

fn put(
    state: &Hub,
    path: String,
    hash: &str,
    mtime: Option<i64>,
    content_type: Option<String>,
) -> Result<Change, String> {
    let hash = MerkleHash::from_hex(hash).map_err(|_| "invalid xetHash".to_owned())?;
    let registered = (state.store.file(&hash))
        .ok_or_else(|| format!("xetHash {} is not registered", hash.hex()))?;
    let file = FileEntry {
        hash: hash.hex(),
        size: registered.size,
        mtime,
        uploaded_at: now_millis(),
        content_type,
    };
    Ok(Change::Put { path, file })
}

fn check_source(state: &Hub, caller: &Caller, kind: &str, id: &str) -> Result<(), String> {
    let missing = || format!("source {kind} {id} not found");
    let (namespace, name) = id.split_once('/').ok_or_else(missing)?;
    if kind != "bucket" {
        return Err(missing());
    }
    let key = BucketKey::new(namespace, name);
    caller.read(state, &key, |_| ()).map_err(|_| missing())
}
