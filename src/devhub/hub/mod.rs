//! The Hub's REST API, as far as buckets need it.

mod batch;
mod batch_line;
mod buckets;
mod events;
mod file_json;
mod paths_info;
mod resolve;
mod tokens;
mod tree;
mod whoami;

use axum::Router;
use axum::routing::{delete, get, post, put};

use super::observed;
use super::route::Route;
use super::state::Shared;

/// Returns the routes of the Hub's origin.
pub(super) fn router(state: &Shared) -> Router<Shared> {
    let on = |route, handler| observed(state, route, handler);
    let bucket = on(Route::BucketInfo, get(buckets::info))
        .merge(on(Route::BucketCreate, post(buckets::create)))
        .merge(on(Route::BucketDelete, delete(buckets::delete)));
    Router::new()
        .route("/api/whoami-v2", on(Route::Whoami, get(whoami::whoami)))
        .route(
            "/api/repos/move",
            on(Route::BucketMove, post(buckets::rename)),
        )
        .route(
            "/api/buckets/{ns}",
            on(Route::BucketList, get(buckets::list)),
        )
        .route("/api/buckets/{ns}/{name}", bucket)
        .route(
            "/api/buckets/{ns}/{name}/settings",
            on(Route::BucketSettings, put(buckets::settings)),
        )
        .route(
            "/api/buckets/{ns}/{name}/tree",
            on(Route::Tree, get(tree::whole)),
        )
        .route(
            "/api/buckets/{ns}/{name}/tree/",
            on(Route::Tree, get(tree::whole)),
        )
        .route(
            "/api/buckets/{ns}/{name}/tree/{*prefix}",
            on(Route::Tree, get(tree::below)),
        )
        .route(
            "/api/buckets/{ns}/{name}/paths-info",
            on(Route::PathsInfo, post(paths_info::paths_info)),
        )
        .route(
            "/api/buckets/{ns}/{name}/batch",
            on(Route::Batch, post(batch::batch)),
        )
        .route(
            "/api/buckets/{ns}/{name}/events",
            on(Route::Events, get(events::events)),
        )
        .route(
            "/api/buckets/{ns}/{name}/xet-read-token",
            on(Route::ReadToken, get(tokens::read)),
        )
        .route(
            "/api/buckets/{ns}/{name}/xet-write-token",
            on(Route::WriteToken, get(tokens::write)),
        )
        .route(
            "/buckets/{ns}/{name}/resolve/{*path}",
            on(Route::Resolve, get(resolve::resolve)),
        )
}
