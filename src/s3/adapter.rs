//! The router: every request goes through one handler, which finds its operation by itself.
//!
//! Axum's own routing is not used on purpose: path extractors decode and normalise, and a normalised path breaks both keys
//! and signatures.

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;

use crate::s3::access_log::Note;
use crate::s3::body::LentBody;
use crate::s3::config::S3Config;
use crate::s3::exchange::{self, Caller, Exchange};
use crate::s3::fault::Fault;
use crate::s3::params::Params;
use crate::s3::route::{BucketAction, ObjectAction, Route};
use crate::s3::target::Target;
use crate::s3::{
    attributes, bucket, copy, cors, delete, edge, form, list, multipart, part_copy, read, sts,
    tagging, uploads, versions, write,
};
use crate::sigv4::Service;
use crate::storage::{Gateway, StorageError};
use crate::telemetry::Metrics;

/// Everything that all requests share.
#[derive(Debug, Clone)]
pub(super) struct Adapter {
    gateway: Gateway,
    pub(super) config: Arc<S3Config>,
    pub(super) metrics: Metrics,
}

/// Returns the S3 adapter over a stack, ready to be served.
///
/// # Behaviour
/// - Paths reach the operations exactly as they were sent.
/// - Every answer carries `x-amz-request-id`, errors name the same id in their document.
/// - What the adapter refuses by itself reaches no service.
pub fn router(gateway: Gateway, config: S3Config, metrics: Metrics) -> Router {
    let adapter = Adapter {
        gateway,
        config: Arc::new(config),
        metrics,
    };
    Router::new()
        .fallback(answer)
        .with_state(adapter.clone())
        // Innermost, so that a panic becomes an answer like any other.
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(adapter.clone(), cors::cors))
        // Outside of CORS, so that preflights carry an id and are logged too.
        .layer(from_fn_with_state(adapter, edge::edge))
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(SetRequestIdLayer::x_request_id(edge::NewRequestId))
        // Outermost: from here on, nothing that prints headers shows these.
        .layer(SetSensitiveRequestHeadersLayer::new(SECRET_HEADERS))
}

/// Headers whose values must never be printed.
const SECRET_HEADERS: [HeaderName; 4] = [
    header::AUTHORIZATION,
    header::COOKIE,
    HeaderName::from_static("x-amz-security-token"),
    HeaderName::from_static("x-amz-server-side-encryption-customer-key"),
];

// A panic hook logs and counts panics where they happen; here only the answer is made.
fn panicked(_panic: Box<dyn Any + Send + 'static>) -> Response {
    Fault::internal().into_response()
}

async fn answer(State(adapter): State<Adapter>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let (body, reclaim) = exchange::lend_body(&head, body);
    let mut note = Note::default();
    let outcome = adapter.answer(&head, body, &mut note).await;
    let mut response = match outcome {
        Ok(response) => response,
        Err(fault) => {
            let mut response = fault.into_response();
            if reclaim.settle(adapter.config.max_drained_bytes) {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            response
        }
    };
    response.extensions_mut().insert(note);
    response
}

impl Adapter {
    /// Finds the operation, and answers it. `note` gets what is found, whatever the outcome.
    async fn answer(
        &self,
        head: &Parts,
        body: LentBody,
        note: &mut Note,
    ) -> Result<Response, Fault> {
        edge::check_headers(&head.headers, &self.config)?;
        edge::check_host(&head.headers)?;
        let params = Params::parse(head.uri.query())?;
        let target = Target::locate(exchange::host(head), head.uri.path(), &self.config.domains)?;
        note.target(&target);
        let headers = exchange::all_headers(&head.headers, &params);
        let route = Route::choose(&head.method, target, &params, &headers)?;
        note.operation = route.name();
        let gateway = self.gateway.clone();
        let config = Arc::clone(&self.config);
        if route == Route::Sts {
            let caller = |head: &Parts, body_sha256: &str| {
                let service = Service::Sts { body_sha256 };
                Caller::read(head, gateway.clone(), &config, service)
            };
            let surroundings = sts::Surroundings {
                caller: &caller,
                patience: config.document_timeout,
            };
            return sts::answer(surroundings, head, body, note).await;
        }
        let exchange = Exchange::read(head, headers, body, params, gateway, config)?;
        if self.config.lets_strangers_read && route.asks_for_settings() && !exchange.is_signed() {
            return Err(StorageError::denied("Access Denied").into());
        }
        dispatch(route, exchange).await
    }
}

async fn dispatch(route: Route, exchange: Exchange) -> Result<Response, Fault> {
    match route {
        Route::ListBuckets => bucket::list(exchange).await,
        // Its claim cannot be read before its body, so it is answered before there is an exchange.
        Route::Sts => Err(Fault::internal()),
        Route::Bucket(action, name) => match action {
            BucketAction::Create => bucket::create(exchange, name).await,
            BucketAction::Head => bucket::head(exchange, name).await,
            BucketAction::Delete => bucket::delete(exchange, name).await,
            BucketAction::Location => bucket::location(exchange, name).await,
            BucketAction::ListObjects => list::v1(exchange, name).await,
            BucketAction::ListObjectsV2 => list::v2(exchange, name).await,
            BucketAction::ListVersions => versions::list(exchange, name).await,
            BucketAction::ListUploads => uploads::list(exchange, name).await,
            BucketAction::DeleteObjects => delete::delete_objects(exchange, name).await,
            BucketAction::PostForm => form::post(exchange, name).await,
            BucketAction::Stub(stub) => bucket::stub(exchange, name, stub).await,
        },
        Route::Object(action, name, key) => match action {
            ObjectAction::Get => read::get(exchange, name, key).await,
            ObjectAction::Head => read::head(exchange, name, key).await,
            ObjectAction::Put => write::put(exchange, name, key).await,
            ObjectAction::Copy => copy::copy(exchange, name, key).await,
            ObjectAction::Delete => write::delete(exchange, name, key).await,
            ObjectAction::CreateUpload => multipart::create(exchange, name, key).await,
            ObjectAction::UploadPart => multipart::upload_part(exchange, name, key).await,
            ObjectAction::UploadPartCopy => part_copy::copy(exchange, name, key).await,
            ObjectAction::CompleteUpload => multipart::complete(exchange, name, key).await,
            ObjectAction::AbortUpload => multipart::abort(exchange, name, key).await,
            ObjectAction::ListParts => uploads::list_parts(exchange, name, key).await,
            ObjectAction::Attributes => attributes::get(exchange, name, key).await,
            ObjectAction::GetTagging => tagging::get(exchange, name, key).await,
            ObjectAction::PutTagging => tagging::put(exchange, name, key).await,
            ObjectAction::DeleteTagging => tagging::delete(exchange, name, key).await,
            ObjectAction::Stub(stub) => bucket::object_stub(exchange, name, key, stub).await,
        },
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::s3::testing::{Stage, ordinary};
    use crate::storage::{BucketName, Credentials, ObjectKey};

    #[tokio::test]
    async fn every_answer_carries_its_id_and_errors_name_it() {
        let stage = Stage::failing(StorageError::NoSuchBucket { bucket: "b".into() });
        let answer = stage.ask("GET /b/a%20b?versionId=null", &[]).await;
        let id = answer.header("x-amz-request-id");
        assert_eq!(answer.verdict(), (404, "NoSuchBucket"));
        assert_eq!((id.len(), answer.element("RequestId")), (32, id));
        assert_eq!(
            (answer.element("Resource"), answer.element("BucketName")),
            ("/b/a%20b", "b")
        );
        assert_eq!(
            (answer.header("x-amz-id-2"), answer.element("HostId")),
            ("hugbucket", "hugbucket")
        );
        assert_eq!(answer.header("content-type"), "application/xml");
        let given = "0123456789abcdef0123456789abcdef";
        let answer = stage.ask("GET /b", &[("x-request-id", given)]).await;
        assert_eq!(answer.header("x-amz-request-id"), given);
    }

    #[tokio::test]
    async fn a_panic_becomes_an_internal_error() {
        let stage = Stage::answering(|_| panic!("a defect"));
        let answer = stage.ask("GET /b", &[]).await;
        assert_eq!(answer.verdict(), (500, "InternalError"));
        assert_eq!(
            answer.element("RequestId"),
            answer.header("x-amz-request-id")
        );
        assert!(!answer.text().contains("a defect"));
    }

    #[tokio::test]
    async fn a_claim_goes_along_and_a_malformed_one_goes_nowhere() {
        let stage = Stage::new();
        let authorization = "AWS4-HMAC-SHA256 Credential=AK/20260102/us-east-1/s3/aws4_request, \
                             SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=";
        let signed = format!("{authorization}{}", "a".repeat(64));
        let headers = [
            ("x-amz-date", "20260102T030405Z"),
            ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
            ("authorization", signed.as_str()),
        ];
        assert_eq!(
            stage
                .ask("GET /b/k?response-content-type=a/b", &headers)
                .await
                .header("content-type"),
            "a/b"
        );
        let Credentials::SigV4(evidence) = stage.only_call().caller else {
            panic!()
        };
        assert_eq!(evidence.access_key_id, "AK");

        let answer = stage
            .ask("GET /b/k", &[("authorization", "AWS AK:signature")])
            .await;
        assert_eq!(answer.verdict(), (400, "InvalidRequest"));
        assert_eq!(stage.call_count(), 0);
    }

    #[tokio::test]
    async fn long_header_sections_are_refused() {
        let stage = Stage::new();
        let long = "x".repeat(40 << 10);
        let answer = stage.ask("GET /b/k", &[("x-long", &long)]).await;
        assert_eq!(answer.verdict(), (400, "RequestHeaderSectionTooLarge"));
        let names: Vec<String> = (0..101).map(|n| format!("x-{n}")).collect();
        let many: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
        let answer = stage.ask("GET /b/k", &many).await;
        assert_eq!(answer.verdict(), (400, "RequestHeaderSectionTooLarge"));
        assert_eq!(stage.call_count(), 0);
    }

    #[tokio::test]
    async fn unknown_methods_are_named() {
        let answer = Stage::new().ask("PATCH /b/k", &[]).await;
        assert_eq!(answer.verdict(), (405, "MethodNotAllowed"));
        assert_eq!(answer.element("Method"), Method::PATCH.as_str());
        assert!(answer.header("allow").contains("PUT"));
    }

    #[tokio::test]
    async fn hosts_may_name_the_bucket() {
        let config = S3Config {
            domains: vec!["test".into()],
            ..S3Config::default()
        };
        let stage = Stage::configured(config, |operation| Ok(ordinary(operation)));
        stage.ask("GET /b/k", &[]).await;
        let call = stage.only_call();
        assert_eq!(call.operation.bucket().map(BucketName::as_str), Some("s3"));
        assert_eq!(call.operation.key().map(ObjectKey::as_str), Some("b/k"));
    }

    #[tokio::test]
    async fn a_copy_source_in_the_query_makes_a_copy() {
        let stage = Stage::new();
        let answer = stage
            .ask("PUT /b/k?x-amz-copy-source=%2Fb%2Fother", &[])
            .await;
        assert_eq!(answer.status, 200);
        assert_eq!(stage.only_call().operation.name(), "CopyObject");
    }
}
