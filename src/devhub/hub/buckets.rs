//! Buckets themselves: create, look at, list, change, rename, delete.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::devhub::clock::iso;
use crate::devhub::identity::Caller;
use crate::devhub::refusal::Refusal;
use crate::devhub::registry::{Bucket, BucketKey, Creation, Rename};
use crate::devhub::state::{Shared, State as Hub, blocking};

/// Buckets in a page of the list.
const LIST_PAGE: usize = 100;
/// Characters of a bucket's name.
const MAX_NAME: usize = 96;

/// What a bucket is created with; everything may be left out.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Creating {
    private: Option<bool>,
    visibility: Option<String>,
    region: Option<String>,
}

impl Creating {
    /// Newer clients send `visibility`, older ones `private`; without either the bucket is public.
    fn is_private(&self) -> Result<bool, Refusal> {
        if let Some(region) = self.region.as_deref().filter(|region| *region != "us") {
            let message = format!("Region not available: {region}");
            return Err(Refusal::bad_request(message));
        }
        match self.visibility.as_deref() {
            Some("private") => Ok(true),
            Some("public") => Ok(false),
            Some(other) => Err(Refusal::bad_request(format!("Invalid visibility: {other}"))),
            None => Ok(self.private.unwrap_or(false)),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Settings {
    private: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Renaming {
    from_repo: String,
    to_repo: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct ListQuery {
    #[serde(default)]
    search: String,
    #[serde(default)]
    cursor: String,
}

pub(super) async fn create(
    State(state): State<Shared>,
    caller: Caller,
    Path((namespace, name)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let key = caller.key(&namespace, &name)?;
    caller.write_namespace(&key.namespace)?;
    if !is_bucket_name(&key.name) {
        return Err(Refusal::bad_request(format!(
            "Invalid bucket name: {}",
            key.name
        )));
    }
    let private = match body.is_empty() {
        true => false,
        false => parse::<Creating>(&body)?.is_private()?,
    };
    let url = state.hub_address(&format!("/buckets/{key}"));
    let registry = state.registry.clone();
    let wanted = key.clone();
    let creation = blocking(move || registry.create(&wanted, private)).await??;
    Ok(match creation {
        Creation::Created(id) => {
            Json(json!({ "url": url, "name": key.to_string(), "id": id })).into_response()
        }
        Creation::Exists(id) => {
            let error = "You already created this bucket";
            let body = Json(json!({ "error": error, "url": url, "id": id }));
            (StatusCode::CONFLICT, [("x-error-message", error)], body).into_response()
        }
    })
}

pub(super) async fn info(
    State(state): State<Shared>,
    caller: Caller,
    Path((namespace, name)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    let key = caller.key(&namespace, &name)?;
    caller.read(&state, &key, |bucket| Json(bucket_json(&key, bucket)))
}

pub(super) async fn list(
    State(state): State<Shared>,
    caller: Caller,
    Path(namespace): Path<String>,
    Query(query): Query<ListQuery>,
) -> Result<Response, Refusal> {
    let namespace = caller.key(&namespace, "")?.namespace;
    let is_known = state
        .users
        .iter()
        .any(|user| user.name == namespace || user.organizations.contains(&namespace));
    if !is_known {
        return Err(Refusal::not_found(format!(
            "Namespace not found: {namespace}"
        )));
    }
    let mut visible = visible(&state, &caller, &namespace, &query);
    let has_more = visible.len() > LIST_PAGE;
    visible.truncate(LIST_PAGE);
    let last = visible.last().map(|(name, _)| name.clone());
    let page: Vec<Value> = visible.into_iter().map(|(_, json)| json).collect();
    let mut response = Json(page).into_response();
    if let Some(last) = last.filter(|_| has_more) {
        let search = utf8_percent_encode(&query.search, NON_ALPHANUMERIC);
        let next = format!("/api/buckets/{namespace}?search={search}&cursor={last}");
        let link = next_link(&state.hub_address(&next));
        response.headers_mut().insert("link", link);
    }
    Ok(response)
}

/// Returns the buckets after the cursor that match and may be seen, by name.
fn visible(
    state: &Hub,
    caller: &Caller,
    namespace: &str,
    query: &ListQuery,
) -> Vec<(String, Value)> {
    let is_member = caller.is_member(namespace);
    (state.registry)
        .map_namespace(namespace, |key, bucket| {
            let is_wanted = key.name.contains(&query.search) && key.name > query.cursor;
            ((is_member || !bucket.private) && is_wanted)
                .then(|| (key.name.clone(), bucket_json(key, bucket)))
        })
        .into_iter()
        .flatten()
        .collect()
}

pub(super) async fn settings(
    State(state): State<Shared>,
    caller: Caller,
    Path((namespace, name)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let key = caller.key(&namespace, &name)?;
    caller.write(&state, &key)?;
    let Settings { private } = parse(&body)?;
    let registry = state.registry.clone();
    match blocking(move || registry.set_private(&key, private)).await?? {
        true => Ok(Json(json!({ "private": private }))),
        false => Err(Refusal::no_bucket()),
    }
}

pub(super) async fn rename(
    State(state): State<Shared>,
    caller: Caller,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let asked: Renaming = parse(&body)?;
    if asked.kind != "bucket" {
        return Err(Refusal::bad_request("only buckets can be moved here"));
    }
    let key = |id: &str| {
        let (namespace, name) = id
            .split_once('/')
            .ok_or_else(|| Refusal::bad_request(format!("Invalid bucket id: {id}")))?;
        caller.key(namespace, name)
    };
    let (from, to) = (key(&asked.from_repo)?, key(&asked.to_repo)?);
    caller.write(&state, &from)?;
    caller.write_namespace(&to.namespace)?;
    if !is_bucket_name(&to.name) {
        return Err(Refusal::bad_request(format!(
            "Invalid bucket name: {}",
            to.name
        )));
    }
    let registry = state.registry.clone();
    match blocking(move || registry.rename(&from, &to)).await?? {
        Rename::Done => Ok(Json(json!({ "success": true }))),
        Rename::NoSuchBucket => Err(Refusal::no_bucket()),
        Rename::TargetExists => Err(Refusal::new(StatusCode::CONFLICT, "Target exists already")),
    }
}

pub(super) async fn delete(
    State(state): State<Shared>,
    caller: Caller,
    Path((namespace, name)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    let key = caller.key(&namespace, &name)?;
    caller.write(&state, &key)?;
    let registry = state.registry.clone();
    match blocking(move || registry.delete(&key)).await?? {
        true => Ok(Json(json!({ "success": true }))),
        false => Err(Refusal::no_bucket()),
    }
}

/// Returns the value of a `Link` header that leads to the next page.
pub(super) fn next_link(url: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("<{url}>; rel=\"next\"")).expect("addresses are percent-encoded")
}

/// Parses a JSON body, whatever its Content-Type says.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::bad_request(error.to_string()))
}

fn bucket_json(key: &BucketKey, bucket: &Bucket) -> Value {
    json!({
        "_id": bucket.id,
        "id": key.to_string(),
        "author": key.namespace,
        "private": bucket.private,
        "createdAt": iso(bucket.created_at),
        "updatedAt": iso(bucket.updated_at),
        "size": bucket.size,
        "totalFiles": bucket.files.len(),
        "repoType": "bucket",
    })
}

/// Letters, digits, `-`, `_`, and `.`; neither doubled nor at an end where they are not alphanumeric.
fn is_bucket_name(name: &str) -> bool {
    let is_edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    (1..=MAX_NAME).contains(&name.len())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && is_edge(name.chars().next())
        && is_edge(name.chars().last())
        && !name.contains("--")
        && !name.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_are_those_of_repositories() {
        for name in ["a", "Data_2", "my.bucket-1"] {
            assert!(is_bucket_name(name), "{name}");
        }
        for name in ["", "-a", "a.", "a..b", "a--b", "a/b", "ä", &"a".repeat(97)] {
            assert!(!is_bucket_name(name), "{name}");
        }
    }
}
