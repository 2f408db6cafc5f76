//! A Hub for unit tests: gives scripted answers in their order and remembers what it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};

use crate::provider::http::HttpConfig;
use crate::provider::hub::{BatchLine, HubClient, HubConfig};
use crate::storage::{BucketId, BucketName, ContentHash, Namespace, Secret};
use crate::telemetry::Metrics;

/// A scripted answer.
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Reply {
    pub(crate) fn json(status: u16, body: &serde_json::Value) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.to_string(),
        }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: String::new(),
        }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// `POST /api/x?y=z`
    pub(crate) line: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

#[derive(Clone, Default)]
pub(crate) struct FakeHub {
    replies: Arc<Mutex<VecDeque<Reply>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl FakeHub {
    /// Serves the replies in their order; whatever comes after them is answered with 599.
    pub(crate) async fn start(replies: Vec<Reply>) -> (HubClient, Self) {
        let fake = Self {
            replies: Arc::new(Mutex::new(replies.into())),
            asked: Arc::default(),
        };
        let router = Router::new().fallback(answer).with_state(fake.clone());
        (client_of(router).await, fake)
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }
}

/// Serves a Hub, and returns a client of it that does not wait long.
pub(crate) async fn client_of(router: Router) -> HubClient {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let config = HubConfig {
        endpoint: endpoint.parse().unwrap(),
        http: HttpConfig {
            min_backoff: Duration::from_millis(1),
            max_backoff: Duration::from_millis(2),
            uses_env_proxy: false,
            ..HttpConfig::default()
        },
    };
    HubClient::new(config, Metrics::new()).unwrap()
}

async fn answer(
    State(fake): State<FakeHub>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, HeaderMap, String) {
    fake.asked.lock().unwrap().push(Asked {
        line: format!("{method} {uri}"),
        headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    });
    let reply = fake.replies.lock().unwrap().pop_front();
    let reply = reply.unwrap_or_else(|| Reply::empty(599));
    let headers = reply
        .headers
        .into_iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    (
        StatusCode::from_u16(reply.status).unwrap(),
        headers.collect(),
        reply.body,
    )
}

/// Adds an empty file.
pub(crate) fn add_line(path: &str) -> BatchLine {
    BatchLine::AddFile {
        path: path.into(),
        hash: ContentHash::EMPTY,
        mtime: None,
        content_type: None,
    }
}

pub(crate) fn delete_line(path: &str) -> BatchLine {
    BatchLine::DeleteFile { path: path.into() }
}

pub(crate) fn token() -> Secret {
    Secret::new("hf_test")
}

pub(crate) fn bucket_id() -> BucketId {
    BucketId {
        namespace: Namespace::new("me").unwrap(),
        name: BucketName::new("data").unwrap(),
    }
}
