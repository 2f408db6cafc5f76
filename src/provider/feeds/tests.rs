//! Followers against a scripted Hub over real HTTP.

use std::collections::VecDeque;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::{StreamExt, stream};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use tokio::sync::mpsc;

use super::*;
use crate::provider::http::HttpConfig;
use crate::provider::hub::HubConfig;
use crate::storage::{BucketName, Namespace, Notice};
use crate::telemetry::Metrics;

/// What the Hub does when a feed is opened.
enum Turn {
    /// It tells this, and ends in order.
    Tell(&'static str),
    /// It tells this, and breaks off.
    Cut(&'static str),
    /// It tells this, and then nothing.
    Hold(&'static str),
    Refuse(StatusCode),
}

#[derive(Clone, Default)]
struct Script {
    turns: Arc<Mutex<VecDeque<Turn>>>,
    /// The cursors that feeds were opened with.
    asked: Arc<Mutex<Vec<String>>>,
}

const READY: &str = "event: ready\ndata: {\"cursor\":\"c1\"}\n\n";
const CHANGE: &str = "event: ready\ndata: {\"cursor\":\"c1\"}\n\n\
    event: changes\ndata: {\"cursor\":\"c2\",\"changes\":[{\"path\":\"k\",\"op\":\"delete\"}]}\n\n";
const NONSENSE: &str = "event: ready\ndata: {\"cursor\":\"c1\"}\n\nevent: changes\ndata: ?\n\n";
const RESET: &str = "event: ready\ndata: {\"cursor\":\"c1\"}\n\nevent: reset\ndata: {}\n\n";

async fn answer(
    State(script): State<Script>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let cursor = query.get("cursor").cloned().unwrap_or_default();
    script.asked.lock().unwrap().push(cursor);
    let turn = script.turns.lock().unwrap().pop_front();
    let text = |text: &'static str| stream::iter([Ok::<_, std::io::Error>(text)]);
    let body = match turn.unwrap_or(Turn::Hold("")) {
        Turn::Refuse(status) => return status.into_response(),
        Turn::Tell(told) => Body::from_stream(text(told)),
        Turn::Cut(told) => {
            // What was told must arrive before the cut does.
            let pause = stream::once(async { tokio::task::yield_now().await })
                .filter_map(|()| async { None });
            let cut = stream::iter([Err(std::io::Error::other("cut"))]);
            Body::from_stream(text(told).chain(pause).chain(cut))
        }
        Turn::Hold(told) => Body::from_stream(text(told).chain(stream::pending())),
    };
    ([(CONTENT_TYPE, "text/event-stream; charset=utf-8")], body).into_response()
}

struct Fixture {
    script: Script,
    feeds: Feeds,
    notices: mpsc::UnboundedReceiver<String>,
    metrics: Metrics,
}

impl Fixture {
    async fn start(turns: impl IntoIterator<Item = Turn>) -> Self {
        let script = Script::default();
        script.turns.lock().unwrap().extend(turns);
        let router = Router::new()
            .route("/api/buckets/{ns}/{name}/events", get(answer))
            .with_state(script.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let metrics = Metrics::new();
        let config = HubConfig {
            endpoint: endpoint.parse().unwrap(),
            http: HttpConfig {
                uses_env_proxy: false,
                ..HttpConfig::default()
            },
        };
        let hub = HubClient::new(config, metrics.clone()).unwrap();
        let (changes, (told, notices)) = (Changes::default(), mpsc::unbounded_channel());
        changes.listen(move |notice| {
            let text = match notice {
                Notice::Object { key, .. } => key.as_str().to_owned(),
                Notice::Connected(_) => "connected".into(),
                Notice::Disconnected(_) => "disconnected".into(),
                Notice::Anything(_) => "anything".into(),
                Notice::Objects { .. } => "objects".into(),
            };
            let _ = told.send(text);
        });
        let feeds = Feeds::new(hub, Some(changes));
        feeds.follow(&bucket(), &token());
        Self {
            script,
            feeds,
            notices,
            metrics,
        }
    }

    /// Waits for these notices, and nothing else in between.
    async fn tells(&mut self, expected: &[&str]) {
        for text in expected {
            let told = self.notices.recv().await.unwrap();
            assert_eq!(told, *text, "of {expected:?}");
        }
    }

    fn asked(&self) -> Vec<String> {
        self.script.asked.lock().unwrap().clone()
    }

    fn shows(&self, line: &str) -> bool {
        self.metrics.render().lines().any(|found| found == line)
    }
}

fn bucket() -> BucketId {
    BucketId {
        namespace: Namespace::new("me").unwrap(),
        name: BucketName::new("data").unwrap(),
    }
}

fn token() -> Secret {
    Secret::new("hf_x")
}

#[tokio::test]
async fn changes_are_told_and_after_an_orderly_end_the_feed_goes_on_at_its_cursor() {
    let mut fixture = Fixture::start([Turn::Tell(CHANGE), Turn::Hold(READY)]).await;
    fixture
        .tells(&["connected", "anything", "k", "disconnected", "connected"])
        .await;
    assert_eq!(fixture.asked(), ["", "c2"]);
    assert!(fixture.shows("hugbucket_change_feeds_connected 1"));
    assert!(fixture.shows("hugbucket_change_feed_changes_total 1"));
    assert!(fixture.shows("hugbucket_change_feed_events_total{event=\"ready\"} 2"));
    fixture.feeds.stop();
    fixture.tells(&["disconnected"]).await;
    assert!(fixture.shows("hugbucket_change_feeds_connected 0"));
}

#[tokio::test]
async fn a_feed_that_is_cut_is_told_at_once_and_goes_on_without_a_gap() {
    let mut fixture = Fixture::start([Turn::Cut(CHANGE), Turn::Hold(READY)]).await;
    fixture
        .tells(&["connected", "anything", "k", "disconnected", "connected"])
        .await;
    assert_eq!(fixture.asked(), ["", "c2"]);
    assert!(fixture.shows("hugbucket_change_feed_events_total{event=\"cut\"} 1"));
}

#[tokio::test]
async fn after_a_reset_anything_may_have_changed() {
    let mut fixture = Fixture::start([Turn::Tell(RESET), Turn::Hold(READY)]).await;
    let first = ["connected", "anything", "anything", "disconnected"];
    fixture.tells(&first).await;
    fixture.tells(&["connected", "anything"]).await;
    assert_eq!(fixture.asked(), ["", ""]);
}

#[tokio::test]
async fn nonsense_that_comes_again_is_not_asked_for_for_ever() {
    let turns = [
        Turn::Tell(NONSENSE),
        Turn::Tell(NONSENSE),
        Turn::Hold(READY),
    ];
    let mut fixture = Fixture::start(turns).await;
    fixture
        .tells(&["connected", "anything", "disconnected"])
        .await;
    fixture.tells(&["connected", "disconnected"]).await;
    fixture.tells(&["connected", "anything"]).await;
    assert_eq!(fixture.asked(), ["", "c1", ""]);
}

#[tokio::test]
async fn a_hub_that_is_in_trouble_is_asked_again() {
    let turns = [
        Turn::Refuse(StatusCode::SERVICE_UNAVAILABLE),
        Turn::Hold(READY),
    ];
    let mut fixture = Fixture::start(turns).await;
    fixture.tells(&["connected", "anything"]).await;
    assert_eq!(fixture.asked().len(), 2);
}

#[tokio::test]
async fn a_hub_without_feeds_is_asked_once_for_all_buckets() {
    for status in [
        StatusCode::NOT_FOUND,
        StatusCode::NOT_IMPLEMENTED,
        // A page that says something else than a feed would.
        StatusCode::OK,
    ] {
        let mut fixture = Fixture::start([Turn::Refuse(status)]).await;
        while fixture.asked().is_empty() {
            tokio::task::yield_now().await;
        }
        let seen = format!(
            "hugbucket_upstream_requests_total{{operation=\"events\",outcome=\"{}\",target=\"hub\"}} 1",
            status.as_u16()
        );
        while !fixture.shows(&seen) {
            tokio::task::yield_now().await;
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let other = BucketId {
            name: BucketName::new("other").unwrap(),
            ..bucket()
        };
        fixture.feeds.follow(&other, &token());
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(fixture.asked().len(), 1, "{status}");
        assert!(fixture.notices.try_recv().is_err());
    }
}

#[tokio::test]
async fn one_bucket_has_one_feed_and_a_new_token_replaces_one_that_does_not_work() {
    let turns = [Turn::Refuse(StatusCode::FORBIDDEN), Turn::Hold(READY)];
    let mut fixture = Fixture::start(turns).await;
    while fixture.asked().is_empty() {
        tokio::task::yield_now().await;
    }
    for _ in 0..3 {
        fixture.feeds.follow(&bucket(), &token());
    }
    fixture.feeds.follow(&bucket(), &Secret::new("hf_better"));
    fixture.tells(&["connected", "anything"]).await;
    assert_eq!(fixture.asked().len(), 2);
    // What works is not replaced.
    fixture.feeds.follow(&bucket(), &token());
    assert!(fixture.shows("hugbucket_change_feeds_connected 1"));
}

#[tokio::test]
async fn no_more_buckets_are_followed_than_there_is_place_for() {
    let fixture = Fixture::start([]).await;
    for n in 0..2 * MAX_FEEDS {
        let other = BucketId {
            name: BucketName::new(&format!("bucket-{n}")).unwrap(),
            ..bucket()
        };
        fixture.feeds.follow(&other, &token());
    }
    let table = fixture.feeds.0.as_ref().unwrap();
    assert_eq!(table.lock().len(), MAX_FEEDS);
    let much_later = Instant::now() + BUSY * 2;
    assert!(give_place(&mut table.lock(), much_later));
    assert_eq!(table.lock().len(), MAX_FEEDS - 1);
}
