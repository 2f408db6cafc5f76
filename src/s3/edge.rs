//! What every request and every answer gets, whatever happens in between: an id, the standing headers, a rendered refusal,
//! and its line in the access log.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Extensions, Method, StatusCode};
use tower_http::request_id::{MakeRequestId, RequestId};
use tracing::Instrument;

use crate::s3::access_log::{Line, Note};
use crate::s3::adapter::Adapter;
use crate::s3::config::{S3Config, TrustedProxies};
use crate::s3::exchange::connected_peer;
use crate::s3::fault::Fault;
use crate::s3::header::{self as s3_header, text};
use crate::storage::{Protocol, RequestContext};
use crate::telemetry::metrics::Status;
use crate::telemetry::tracing as traces;

/// Makes ids for requests that come without one.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewRequestId;

impl MakeRequestId for NewRequestId {
    fn make_request_id<B>(&mut self, _request: &http::Request<B>) -> Option<RequestId> {
        let id = RequestContext::new(Protocol::S3, None).request_id;
        HeaderValue::from_str(&id).ok().map(RequestId::new)
    }
}

/// Surrounds the handlers.
pub(super) async fn edge(
    State(adapter): State<Adapter>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let mut context = context(
        request.headers(),
        request.extensions(),
        &adapter.config.trusted_proxies,
    );
    let parent = context.trace_parent.as_deref();
    let span = traces::request_span(Protocol::S3.name(), &context.request_id, parent);
    span.record("http.request.method", request.method().as_str());
    context.span = span.clone();
    request.extensions_mut().insert(context.clone());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();

    let mut response = next.run(request).instrument(span.clone()).await;
    let note = response
        .extensions_mut()
        .remove::<Note>()
        .unwrap_or_default();
    let mut code = "";
    if let Some(fault) = response.extensions_mut().remove::<Fault>() {
        code = fault.code;
        if !fault.is_from_stack {
            count(&adapter, note.operation, &fault);
            traces::name_request(&span, format!("S3.{}", note.operation));
            span.record("error.type", fault.code);
        }
        response = rendered(fault, &response, &method, &path, &context.request_id);
    }
    stamp(response.headers_mut(), &context.request_id);
    span.record("http.route", note.route);
    // Signed, because only such numbers are exported as numbers.
    span.record(
        "http.response.status_code",
        i64::from(response.status().as_u16()),
    );
    let line = Line::new(&method, note, response.status(), code, &context, started);
    let announced = announced_bytes(response.headers());
    response.map(|body| line.follow(body, announced))
}

/// Builds the context of a request. An id that a proxy gave counts if it looks like ours (nginx's `$request_id` does).
fn context(
    headers: &HeaderMap,
    extensions: &Extensions,
    trusted: &TrustedProxies,
) -> RequestContext {
    let direct = connected_peer(extensions);
    let peer = if trusted.include(direct) {
        forwarded_for(headers).or(direct)
    } else {
        direct
    };
    let mut context = RequestContext::new(Protocol::S3, peer);
    let given = extensions
        .get::<RequestId>()
        .and_then(|id| id.header_value().to_str().ok());
    if let Some(id) = given.filter(|id| is_well_formed(id)) {
        context.request_id = id.into();
    }
    context.trace_parent = text(headers, "traceparent").map(Arc::from);
    context
}

/// Returns the length that an answer announces.
fn announced_bytes(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

fn is_well_formed(id: &str) -> bool {
    id.len() == 32
        && id
            .bytes()
            .all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit))
}

/// Returns the address that the nearest proxy saw: the last one, since clients can write what they like before it.
fn forwarded_for(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?;
    last.to_str().ok()?.rsplit(',').next()?.trim().parse().ok()
}

/// Renders a refusal; headers that were added on the way (CORS, `Connection: close`) stay.
fn rendered(
    fault: Fault,
    bare: &Response,
    method: &Method,
    path: &str,
    request_id: &str,
) -> Response {
    let mut response = fault.render(*method == Method::HEAD, path, request_id);
    for (name, value) in bare.headers() {
        if name != header::CONTENT_LENGTH {
            response.headers_mut().append(name, value.clone());
        }
    }
    response
}

/// Writes the headers that every answer has. hyper adds `Date`, which SDKs correct their clocks by.
fn stamp(headers: &mut HeaderMap, request_id: &str) {
    headers.insert(s3_header::REQUEST_ID, s3_header::value(request_id));
    headers.insert(
        s3_header::ID_2,
        HeaderValue::from_static(s3_header::HOST_ID),
    );
    headers.insert(header::SERVER, HeaderValue::from_static("hugbucket"));
}

/// Counts a refusal that never reached the stack, which counts all others.
fn count(adapter: &Adapter, operation: &'static str, fault: &Fault) {
    let status = if fault.status.is_server_error() && fault.status != StatusCode::NOT_IMPLEMENTED {
        Status::ServerError
    } else {
        Status::ClientError
    };
    adapter
        .metrics
        .request_refused(Protocol::S3.name(), operation, status, fault.code);
}

/// Refuses a header section that is too long, or has too many headers.
///
/// Errors: RequestHeaderSectionTooLarge.
pub(super) fn check_headers(headers: &HeaderMap, limits: &S3Config) -> Result<(), Fault> {
    if headers.len() > limits.max_headers {
        return Err(Fault::too_many_headers(limits.max_headers));
    }
    let limit_bytes = limits.max_header_bytes;
    let size: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if size > limit_bytes {
        return Err(Fault::headers_too_large(limit_bytes));
    }
    Ok(())
}

/// Refuses a request with two hosts: which of them was signed, and which names the bucket, would be a guess (RFC 9112 §3.2).
///
/// Errors: InvalidRequest.
pub(super) fn check_host(headers: &HeaderMap) -> Result<(), Fault> {
    if headers.get_all(header::HOST).iter().nth(1).is_some() {
        return Err(Fault::invalid_request(
            "The request has more than one Host header.",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::extract::ConnectInfo;

    use super::*;

    fn context_of(id: &'static str, forwarded: &str, trusted: &TrustedProxies) -> RequestContext {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", forwarded.parse().unwrap());
        let mut extensions = Extensions::new();
        extensions.insert(RequestId::new(HeaderValue::from_static(id)));
        let address: SocketAddr = "10.0.0.1:5".parse().unwrap();
        extensions.insert(ConnectInfo(address));
        context(&headers, &extensions, trusted)
    }

    #[test]
    fn a_well_formed_id_is_kept_and_any_other_replaced() {
        let good = "0123456789abcdef0123456789abcdef";
        let nobody = TrustedProxies::none();
        assert_eq!(&*context_of(good, "", &nobody).request_id, good);
        let replaced = context_of("<script>", "", &nobody).request_id;
        assert!(is_well_formed(&replaced));
    }

    #[test]
    fn only_trusted_proxies_name_the_peer() {
        let peer = |trusted: &TrustedProxies| {
            context_of("", "6.6.6.6, 192.0.2.7", trusted)
                .peer
                .map(|peer| peer.to_string())
        };
        assert_eq!(peer(&TrustedProxies::none()).as_deref(), Some("10.0.0.1"));
        let trusted = TrustedProxies::new(|peer| peer.to_string() == "10.0.0.1");
        assert_eq!(peer(&trusted).as_deref(), Some("192.0.2.7"));
    }
}
