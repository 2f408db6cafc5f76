//! `HEAD` and `GET /buckets/…/resolve/{path}`: where the content of a file is.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header::ACCEPT;
use http::{HeaderMap, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use crate::devhub::identity::Caller;
use crate::devhub::refusal::Refusal;
use crate::devhub::registry::{BucketKey, FileEntry};
use crate::devhub::state::{Shared, State as Hub};

/// Asks for a description of the file instead of its content.
const FILE_INFO: &str = "application/vnd.xet-fileinfo+json";

pub(super) async fn resolve(
    State(state): State<Shared>,
    caller: Caller,
    Path((namespace, name, path)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let key = caller.key(&namespace, &name)?;
    let file = caller
        .read(&state, &key, |bucket| bucket.files.get(&path).cloned())?
        .ok_or_else(Refusal::no_entry)?;
    let accepts = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    Ok(match accepts {
        Some(accept) if accept.contains(FILE_INFO) => describe(&state, &key, &file),
        _ => redirect(&state, &key, &path, &file),
    })
}

fn describe(state: &Hub, key: &BucketKey, file: &FileEntry) -> Response {
    let mut info = json!({
        "hash": file.hash,
        "refreshUrl": refresh_url(state, key),
        "reconstructionUrl": reconstruction_url(state, file),
        "etag": etag(file),
        "size": file.size,
    });
    if let Some(content_type) = &file.content_type {
        info["contentType"] = content_type.as_str().into();
    }
    ([("content-type", FILE_INFO)], Json(info)).into_response()
}

fn redirect(state: &Hub, key: &BucketKey, path: &str, file: &FileEntry) -> Response {
    let name = path.rsplit('/').next().unwrap_or(path);
    let target = format!(
        "/files/{}?name={}&type={}",
        file.hash,
        utf8_percent_encode(name, NON_ALPHANUMERIC),
        utf8_percent_encode(
            file.content_type.as_deref().unwrap_or_default(),
            NON_ALPHANUMERIC
        ),
    );
    let link = format!(
        "<{}>; rel=\"xet-auth\", <{}>; rel=\"xet-reconstruction-info\"",
        refresh_url(state, key),
        reconstruction_url(state, file),
    );
    let headers = [
        ("location", state.signed_address(&target)),
        ("x-xet-hash", file.hash.clone()),
        ("x-linked-size", file.size.to_string()),
        ("x-linked-etag", etag(file)),
        ("etag", etag(file)),
        ("accept-ranges", "bytes".to_owned()),
        ("link", link),
    ];
    (StatusCode::FOUND, headers).into_response()
}

fn refresh_url(state: &Hub, key: &BucketKey) -> String {
    state.hub_address(&format!("/api/buckets/{key}/xet-read-token"))
}

fn reconstruction_url(state: &Hub, file: &FileEntry) -> String {
    state.storage_address(&format!("/v1/reconstructions/{}", file.hash))
}

fn etag(file: &FileEntry) -> String {
    format!("\"{}\"", file.hash)
}
