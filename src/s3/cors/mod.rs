//! Cross-origin requests: which web pages may read answers, and the preflights that ask.
//!
//! | file | holds |
//! |---|---|
//! | `rules` | what is allowed, bucket by bucket |

mod rules;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{Method, StatusCode};

use crate::s3::access_log::Note;
use crate::s3::adapter::Adapter;
use crate::s3::exchange;
use crate::s3::fault::Fault;
use crate::s3::header::text;
use crate::s3::target::Target;
pub use rules::{CorsRule, CorsRules};

/// Answers preflights, and marks the answers that pages may read, refusals included.
pub(super) async fn cors(State(adapter): State<Adapter>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let host = exchange::host(&head);
    // What cannot be located is refused later, and by then has no bucket.
    let target = Target::locate(host, head.uri.path(), &adapter.config.domains).ok();
    let bucket = target.as_ref().and_then(Target::bucket);
    let rules = adapter.config.cors.of(bucket);
    if head.method == Method::OPTIONS {
        let kind = target.as_ref().map_or("SERVICE", Target::kind);
        let mut note = Note::default();
        note.operation = "CorsPreflight";
        if let Some(target) = &target {
            note.target(target);
        }
        let granted = preflight(&head, rules, kind);
        let mut response = granted.unwrap_or_else(IntoResponse::into_response);
        response.extensions_mut().insert(note);
        return response;
    }
    let origin = text(&head.headers, "origin").map(str::to_owned);
    let rule = origin.and_then(|origin| {
        let mut rules = rules.iter();
        let rule = rules.find(|rule| rule.fits(&origin, head.method.as_str()))?;
        Some((rule, origin))
    });
    let mut response = next.run(Request::from_parts(head, body)).await;
    if let Some((rule, origin)) = rule {
        rule.mark(&origin, response.headers_mut());
    }
    if !rules.is_empty() {
        rules::vary(response.headers_mut());
    }
    response
}

/// Asks the rules in a page's name. Nobody else is asked: a preflight carries no signature.
///
/// Errors: BadRequest for a preflight that asks nothing, AccessForbidden where no rule fits, with AWS's own texts.
fn preflight(head: &Parts, rules: &[CorsRule], kind: &'static str) -> Result<Response, Fault> {
    let insufficient = |message: &str| Fault::new(StatusCode::BAD_REQUEST, "BadRequest", message);
    let origin = text(&head.headers, "origin")
        .ok_or_else(|| insufficient("Insufficient information. Origin request header needed."))?;
    let method = text(&head.headers, "access-control-request-method")
        .ok_or_else(|| insufficient("Invalid Access-Control-Request-Method: null"))?;
    let asked_headers = text(&head.headers, "access-control-request-headers").unwrap_or_default();
    let rule = rules
        .iter()
        .find(|rule| rule.fits(origin, method) && rule.allows_headers(asked_headers));
    let Some(rule) = rule else {
        let message = if rules.is_empty() {
            "CORSResponse: CORS is not enabled for this bucket."
        } else {
            // AWS's own spelling.
            "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request \
             method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the \
             resource's CORS spec."
        };
        return Err(
            Fault::new(StatusCode::FORBIDDEN, "AccessForbidden", message)
                .with("Method", method)
                .with("ResourceType", kind),
        );
    };
    let mut response = StatusCode::OK.into_response();
    rule.mark(origin, response.headers_mut());
    rule.grant(asked_headers, response.headers_mut());
    rules::vary(response.headers_mut());
    Ok(response)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::s3::S3Config;
    use crate::s3::testing::{Answer, Stage, ordinary};
    use crate::storage::{BucketName, StorageError};

    const PAGE: (&str, &str) = ("origin", "https://app.example");
    const ASKS_PUT: (&str, &str) = ("access-control-request-method", "PUT");

    fn stage(cors: CorsRules) -> Stage {
        let config = S3Config {
            cors,
            ..S3Config::default()
        };
        Stage::configured(config, |operation| Ok(ordinary(operation)))
    }

    /// Every page may read everything, but of `own` only one may, and only read.
    fn with_own_rule() -> Stage {
        let mut rules = CorsRules::open_to(["*".to_owned()]);
        let own = CorsRule {
            origins: vec!["https://*.example".into()],
            methods: vec!["GET".into(), "PUT".into()],
            headers: vec!["x-amz-*".into()],
            exposed: vec!["ETag".into()],
            max_age: Some(Duration::from_secs(60)),
        };
        rules
            .of_bucket
            .insert(BucketName::new("own").unwrap(), vec![own]);
        stage(rules)
    }

    fn allowed(answer: &Answer) -> &str {
        answer.header("access-control-allow-origin")
    }

    #[tokio::test]
    async fn preflights_are_answered_without_asking_anyone() {
        let stage = Stage::new();
        let headers = [
            PAGE,
            ASKS_PUT,
            ("access-control-request-headers", "authorization,x-amz-date"),
        ];
        let answer = stage.ask("OPTIONS /b/k", &headers).await;
        assert_eq!((answer.status.as_u16(), stage.call_count()), (200, 0));
        assert_eq!(allowed(&answer), "*");
        for (name, value) in [
            ("access-control-allow-headers", "authorization,x-amz-date"),
            ("access-control-allow-methods", "GET,HEAD,PUT,POST,DELETE"),
            ("access-control-max-age", "3600"),
            ("access-control-allow-credentials", ""),
        ] {
            assert_eq!(answer.header(name), value, "{name}");
        }
        assert_eq!(answer.header("x-amz-request-id").len(), 32);
    }

    #[tokio::test]
    async fn answers_and_errors_may_be_read_by_every_page() {
        for stage in [Stage::new(), Stage::failing(StorageError::Overloaded)] {
            let answer = stage.ask("GET /b/k", &[PAGE]).await;
            assert_eq!(allowed(&answer), "*");
            let exposed = answer.header("access-control-expose-headers");
            assert!(exposed.contains("etag"), "{exposed}");
            let plain = stage.ask("GET /b/k", &[]).await;
            assert_eq!(allowed(&plain), "");
            assert!(plain.header("vary").contains("origin"));
        }
    }

    #[tokio::test]
    async fn a_bucket_may_have_rules_of_its_own() {
        let stage = with_own_rule();
        let own = stage.ask("GET /own/k", &[PAGE]).await;
        assert_eq!(allowed(&own), PAGE.1);
        assert_eq!(own.header("access-control-expose-headers"), "ETag");
        assert_eq!(allowed(&stage.ask("DELETE /own/k", &[PAGE]).await), "");
        let stranger = ("origin", "https://app.other");
        assert_eq!(allowed(&stage.ask("GET /own/k", &[stranger]).await), "");
        assert_eq!(allowed(&stage.ask("GET /b/k", &[stranger]).await), "*");
        let granted = stage
            .ask(
                "OPTIONS /own/k",
                &[
                    PAGE,
                    ASKS_PUT,
                    ("access-control-request-headers", "X-Amz-Date"),
                ],
            )
            .await;
        assert_eq!(granted.header("access-control-max-age"), "60");
        assert_eq!(granted.header("access-control-allow-methods"), "GET,PUT");
    }

    #[tokio::test]
    async fn preflights_that_no_rule_allows_are_forbidden() {
        let stage = with_own_rule();
        let asks_delete = ("access-control-request-method", "DELETE");
        let asks_header = ("access-control-request-headers", "authorization");
        let stranger = ("origin", "https://app.other");
        for headers in [
            &[stranger, ASKS_PUT][..],
            &[PAGE, asks_delete],
            &[PAGE, ASKS_PUT, asks_header],
        ] {
            let answer = stage.ask("OPTIONS /own/k", headers).await;
            assert_eq!(answer.verdict(), (403, "AccessForbidden"), "{headers:?}");
            let message = answer.element("Message");
            assert!(
                message.starts_with("CORSResponse: This CORS request"),
                "{message}"
            );
            assert_eq!(answer.element("ResourceType"), "OBJECT");
            assert_eq!(allowed(&answer), "");
        }
        let off = self::stage(CorsRules::off());
        let answer = off.ask("OPTIONS /b/k", &[PAGE, ASKS_PUT]).await;
        assert_eq!(answer.verdict(), (403, "AccessForbidden"));
        assert_eq!(
            answer.element("Message"),
            "CORSResponse: CORS is not enabled for this bucket."
        );
        assert_eq!(allowed(&off.ask("GET /b/k", &[PAGE]).await), "");
        for headers in [&[ASKS_PUT][..], &[PAGE]] {
            let answer = stage.ask("OPTIONS /b/k", headers).await;
            assert_eq!(answer.verdict(), (400, "BadRequest"), "{headers:?}");
        }
    }

    #[tokio::test]
    async fn the_configuration_of_a_bucket_is_its_own_rules() {
        let stage = with_own_rule();
        let answer = stage.ask("GET /own?cors", &[]).await;
        assert_eq!(
            (answer.status.as_u16(), answer.element("AllowedOrigin")),
            (200, "https://*.example")
        );
        let answer = stage.ask("GET /b?cors", &[]).await;
        assert_eq!(answer.verdict(), (404, "NoSuchCORSConfiguration"));
        let answer = stage
            .send("PUT /own?cors", &[], "<CORSConfiguration/>")
            .await;
        assert_eq!(answer.verdict(), (501, "NotImplemented"));
    }
}
