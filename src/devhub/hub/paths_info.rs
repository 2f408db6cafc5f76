//! `POST …/paths-info`: what is known of some files. Missing ones are left out.

use axum::Json;
use axum::extract::{Path, State};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::buckets::parse;
use super::file_json::file_json;
use crate::devhub::identity::Caller;
use crate::devhub::refusal::Refusal;
use crate::devhub::state::{Shared, blocking};

const MAX_PATHS: usize = 2000;

#[derive(Debug, Deserialize)]
struct Asked {
    paths: Vec<String>,
}

pub(super) async fn paths_info(
    State(state): State<Shared>,
    caller: Caller,
    Path((namespace, name)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<Vec<Value>>, Refusal> {
    let key = caller.key(&namespace, &name)?;
    let Asked { paths } = parse(&body)?;
    if paths.len() > MAX_PATHS {
        return Err(Refusal::bad_request(format!("at most {MAX_PATHS} paths")));
    }
    blocking(move || {
        caller.read(&state, &key, |bucket| {
            let found = paths.iter().filter_map(|path| {
                let file = bucket.files.get(path)?;
                Some(file_json(path, file))
            });
            Json(found.collect())
        })
    })
    .await?
}
