//! `GET …/tree[/{prefix}]`: the files of a bucket, in pages.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::buckets::next_link;
use super::file_json::file_json;
use crate::devhub::clock::{iso, now_millis};
use crate::devhub::faults::Effect;
use crate::devhub::identity::Caller;
use crate::devhub::refusal::Refusal;
use crate::devhub::registry::{BucketKey, Cursor, Entry, FileEntry, Listing};
use crate::devhub::route::Route;
use crate::devhub::state::{Shared, State as Hub, blocking};

const DEFAULT_LIMIT: usize = 1000;
const MAX_LIMIT: usize = 5000;

#[derive(Debug, Deserialize)]
pub(super) struct TreeQuery {
    #[serde(default = "yes")]
    recursive: bool,
    limit: Option<usize>,
    cursor: Option<String>,
}

fn yes() -> bool {
    true
}

pub(super) async fn whole(
    State(state): State<Shared>,
    caller: Caller,
    Path((namespace, name)): Path<(String, String)>,
    Query(query): Query<TreeQuery>,
) -> Result<Response, Refusal> {
    let key = caller.key(&namespace, &name)?;
    blocking(move || page(&state, &caller, &key, "", &query)).await?
}

pub(super) async fn below(
    State(state): State<Shared>,
    caller: Caller,
    Path((namespace, name, prefix)): Path<(String, String, String)>,
    Query(query): Query<TreeQuery>,
) -> Result<Response, Refusal> {
    let key = caller.key(&namespace, &name)?;
    blocking(move || page(&state, &caller, &key, &prefix, &query)).await?
}

fn page(
    state: &Hub,
    caller: &Caller,
    key: &BucketKey,
    prefix: &str,
    query: &TreeQuery,
) -> Result<Response, Refusal> {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Refusal::bad_request(format!(
            "limit must be between 1 and {MAX_LIMIT}"
        )));
    }
    let knobs = state.faults.knobs();
    let listing = Listing {
        prefix,
        recursive: query.recursive,
        limit: limit.min(knobs.tree_page_max.max(1)),
    };
    let decode = |text| Cursor::decode(text).ok_or_else(|| Refusal::bad_request("Invalid cursor"));
    let from = query.cursor.as_deref().map(decode).transpose()?;
    let lag = i64::try_from(knobs.folded_lag.as_millis()).unwrap_or(i64::MAX);
    let (mut entries, next) = caller.read(state, key, |bucket| {
        let shown = match lag {
            0 => Cow::Borrowed(&bucket.files),
            _ if query.recursive => Cow::Borrowed(&bucket.files),
            lag => Cow::Owned(older_than(&bucket.files, now_millis().saturating_sub(lag))),
        };
        let page = listing.page(&shown, from.as_ref());
        let entries: Vec<Value> = page.entries.iter().map(entry_json).collect();
        (entries, page.next)
    })?;
    let takes = |wanted: Effect| (state.faults).take_if(Route::Tree, |effect| *effect == wanted);
    if knobs.tree_unsorted || takes(Effect::Unsorted).is_some() {
        entries.reverse();
    }
    if takes(Effect::Repeated).is_some() {
        entries.extend(entries.first().cloned());
    }
    let mut response = Json(entries).into_response();
    if let Some(next) = next {
        let path = next_path(key, prefix, query.recursive, limit, &next);
        let link = next_link(&state.hub_address(&path));
        response.headers_mut().insert("link", link);
    }
    Ok(response)
}

/// Returns the files that a listing which lags behind knows.
fn older_than(files: &BTreeMap<String, FileEntry>, millis: i64) -> BTreeMap<String, FileEntry> {
    let old = files.iter().filter(|(_, file)| file.uploaded_at <= millis);
    old.map(|(path, file)| (path.clone(), file.clone()))
        .collect()
}

fn next_path(
    key: &BucketKey,
    prefix: &str,
    recursive: bool,
    limit: usize,
    next: &Cursor,
) -> String {
    let prefix = match prefix {
        "" => String::new(),
        prefix => format!("/{}", utf8_percent_encode(prefix, NON_ALPHANUMERIC)),
    };
    let cursor = next.encode();
    format!("/api/buckets/{key}/tree{prefix}?recursive={recursive}&limit={limit}&cursor={cursor}")
}

fn entry_json(entry: &Entry<'_>) -> Value {
    match entry {
        Entry::File(path, file) => file_json(path, file),
        Entry::Directory(path, newest) => json!({
            "type": "directory",
            "path": path,
            "uploadedAt": iso(newest.uploaded_at),
        }),
    }
}
