//! The admin listener: `/livez`, `/readyz`, `/metrics`, `/version`.
//!
//! It belongs on a port of its own that no client can reach; nothing here asks for credentials.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use crate::telemetry::metrics::{REVISION, VERSION};
use crate::telemetry::readiness::Report;
use crate::telemetry::{Metrics, Readiness};

/// The media type of Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the admin listener tells.
#[derive(Debug, Clone)]
pub struct Admin {
    /// All series.
    pub metrics: Metrics,
    /// Whether clients may be sent here.
    pub readiness: Readiness,
    /// Whether the embedded development Hub stands in for the real one.
    pub is_development: bool,
}

/// Returns the routes.
pub fn router(admin: Admin) -> Router {
    Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/version", get(version))
        .with_state(admin)
}

/// The process runs. It never asks the Hub: a restart would not help where the Hub is down.
async fn live() -> &'static str {
    "ok\n"
}

#[derive(Serialize)]
struct Ready {
    #[serde(flatten)]
    report: Report,
    hub: &'static str,
}

async fn ready(State(admin): State<Admin>) -> Response {
    let report = admin.readiness.report();
    let status = if report.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let hub = if admin.is_development {
        "development"
    } else {
        "huggingface"
    };
    (status, Json(Ready { report, hub })).into_response()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let headers = [(header::CONTENT_TYPE, METRICS_TYPE)];
    (headers, admin.metrics.render()).into_response()
}

#[derive(Serialize)]
struct Version {
    name: &'static str,
    version: &'static str,
    revision: &'static str,
}

async fn version() -> Json<Version> {
    Json(Version {
        name: "hugbucket",
        version: VERSION,
        revision: REVISION,
    })
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use serde_json::{Value, json};
    use tower::ServiceExt;

    use super::*;

    fn admin(is_development: bool) -> Admin {
        let metrics = Metrics::new();
        Admin {
            readiness: Readiness::new(metrics.clone()),
            metrics,
            is_development,
        }
    }

    async fn ask(admin: &Admin, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router(admin.clone()).oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readyz_says_why_not_and_which_hub() {
        let admin = admin(true);
        let (status, body) = ask(&admin, "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["reasons"].as_array().unwrap().len(), 2);
        admin.readiness.listeners_bound();
        admin.readiness.namespace_resolved();
        let (status, body) = ask(&admin, "/readyz").await;
        assert_eq!(status, StatusCode::OK);
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            body,
            json!({"ready": true, "reasons": [], "hub": "development"})
        );
    }

    #[tokio::test]
    async fn livez_holds_whether_ready_or_not() {
        let admin = admin(false);
        admin.readiness.draining();
        assert_eq!(ask(&admin, "/livez").await.0, StatusCode::OK);
        assert_eq!(
            ask(&admin, "/readyz").await.0,
            StatusCode::SERVICE_UNAVAILABLE
        );
    }

    #[tokio::test]
    async fn metrics_and_version_are_told_and_nothing_else() {
        let admin = admin(false);
        let (status, body) = ask(&admin, "/metrics").await;
        assert_eq!(status, StatusCode::OK);
        assert!(body.contains("# TYPE hugbucket_ready gauge"));
        let (_, body) = ask(&admin, "/version").await;
        assert!(body.contains(VERSION));
        assert_eq!(ask(&admin, "/").await.0, StatusCode::NOT_FOUND);
    }
}
