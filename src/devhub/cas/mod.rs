//! The CAS, storage, and the CDN, on one origin of their own.
//!
//! CAS calls carry a token of the Hub; storage and CDN calls carry their permission in the address and no credentials.

mod access;
mod chunks;
mod file_chunk_hashes;
mod file_get;
mod read_ahead;
mod reconstruction;
mod shards;
mod uploads;
mod xorb_get;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, head, post, put};
use http::StatusCode;

use super::observed;
use super::route::Route;
use super::state::Shared;

/// Returns the routes of the storage origin.
pub(super) fn router(state: &Shared) -> Router<Shared> {
    let on = |route, handler| observed(state, route, handler);
    let xorb = on(Route::XorbHead, head(uploads::exists))
        .merge(on(Route::XorbPost, post(uploads::upload)));
    Router::new()
        .route(
            "/v1/reconstructions/{file}",
            on(Route::Reconstruction, get(reconstruction::v1)),
        )
        .route(
            "/v2/reconstructions/{file}",
            on(Route::Reconstruction, get(reconstruction::v2)),
        )
        .route(
            "/v2/file-chunk-hashes/{file}",
            on(
                Route::FileChunkHashes,
                get(file_chunk_hashes::file_chunk_hashes),
            ),
        )
        .route(
            "/v1/chunks/{prefix}/{hash}",
            on(Route::Chunk, get(chunks::query)),
        )
        .route("/v1/xorbs/{prefix}/{hash}", xorb)
        .route(
            "/v1/xorb-grants/{prefix}/{hash}",
            on(Route::Grant, post(uploads::grant)),
        )
        .route(
            "/v1/xorb-commits/{prefix}/{hash}/grant/{id}",
            on(Route::GrantCommit, post(uploads::commit)),
        )
        .route("/v1/shards", on(Route::Shard, post(shards::v1)))
        .route("/v2/shards", on(Route::Shard, post(shards::v2)))
        .route(
            "/v1/telemetry",
            on(Route::Telemetry, post(async || StatusCode::OK)),
        )
        .route(
            "/uploads/{id}",
            on(Route::GrantPut, put(uploads::put_granted)),
        )
        .route("/xorbs/{hash}", on(Route::XorbGet, get(xorb_get::xorb_get)))
        .route("/files/{hash}", on(Route::FileGet, get(file_get::file_get)))
        .layer(DefaultBodyLimit::disable())
}
