//! Cross-origin requests: which web pages may read answers, and the preflights that ask.

use http::header::HeaderName;
use http::{Method, header};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer, ExposeHeaders};

use crate::s3::config::CorsPolicy;
use crate::s3::header as s3_header;

/// How long browsers remember a preflight.
const MAX_AGE: std::time::Duration = std::time::Duration::from_secs(3600);

/// Returns the layer that answers preflights and marks answers; `None` when CORS is off.
///
/// No credentials in the browser's sense (cookies) are ever allowed: a signature is a header or a query like any other.
pub(super) fn layer(policy: &CorsPolicy) -> Option<CorsLayer> {
    let origins = match policy {
        CorsPolicy::Off => return None,
        CorsPolicy::AnyOrigin => AllowOrigin::any(),
        CorsPolicy::Origins(origins) => AllowOrigin::list(origins.iter().cloned()),
    };
    let layer = CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([
            Method::GET,
            Method::HEAD,
            Method::PUT,
            Method::POST,
            Method::DELETE,
        ])
        // Mirrored rather than `*`, which does not cover Authorization.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(exposed())
        .max_age(MAX_AGE);
    Some(layer)
}

/// What scripts may read of an answer. Uploads in parts need the ETag; `*` covers user metadata, whose names are not known.
fn exposed() -> ExposeHeaders {
    ExposeHeaders::list([
        header::ETAG,
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        header::ACCEPT_RANGES,
        s3_header::REQUEST_ID,
        s3_header::XET_HASH,
        HeaderName::from_static("*"),
    ])
}
