//! The change feed: what followers are told, in which order, and what after an interruption.

use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::harness::{BUCKET, Hub, STRANGER, add, delete};

const EMPTY: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A follower's answer, read event by event.
struct Feed {
    response: Response,
    read: String,
}

impl Feed {
    async fn open(hub: &Hub, query: &str) -> Self {
        let request = hub.request(Method::GET, &format!("{BUCKET}/events{query}"));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            response,
            read: String::new(),
        }
    }

    /// Returns the next block of lines; `None` at the end, an error where it was cut.
    async fn block(&mut self) -> Result<Option<String>, reqwest::Error> {
        loop {
            if let Some((block, rest)) = self.read.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.read = rest;
                return Ok(Some(block));
            }
            match self.response.chunk().await? {
                Some(bytes) => self.read.push_str(std::str::from_utf8(&bytes).unwrap()),
                None => return Ok(None),
            }
        }
    }

    async fn event(&mut self) -> (String, Value) {
        let block = self.block().await.unwrap().expect("there is more");
        let (event, data) = block.split_once('\n').unwrap();
        let event = event.strip_prefix("event: ").unwrap().to_owned();
        let data = data.strip_prefix("data: ").unwrap();
        (event, serde_json::from_str(data).unwrap())
    }
}

fn cursor(data: &Value) -> String {
    data["cursor"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_follower_is_told_every_change_with_a_cursor_to_go_on_from() {
    let hub = Hub::start().await;
    let mut feed = Feed::open(&hub, "").await;
    let (event, ready) = feed.event().await;
    assert_eq!(event, "ready");
    hub.batch(&[add("a", EMPTY), add("b", EMPTY)]).await;
    hub.batch(&[add("a", EMPTY), delete("b"), delete("missing")])
        .await;
    let (event, first) = feed.event().await;
    assert_eq!(event, "changes");
    let ops = |data: &Value| -> Vec<(String, String)> {
        let changes = data["changes"].as_array().unwrap().iter();
        changes
            .map(|change| {
                (
                    change["path"].as_str().unwrap().into(),
                    change["op"].as_str().unwrap().into(),
                )
            })
            .collect()
    };
    let pair = |path: &str, op: &str| (path.to_owned(), op.to_owned());
    assert_eq!(ops(&first), [pair("a", "add"), pair("b", "add")]);
    assert_eq!(first["changes"][0]["xetHash"], EMPTY);
    assert_eq!(first["changes"][0]["mtime"], "2026-02-06T17:37:57.005Z");
    assert!(first["changes"][0]["uploadedAt"].is_string());
    let (_, second) = feed.event().await;
    assert_eq!(ops(&second), [pair("a", "update"), pair("b", "delete")]);

    for (from, rest) in [(&ready, vec![&first, &second]), (&first, vec![&second])] {
        let mut late = Feed::open(&hub, &format!("?cursor={}", cursor(from))).await;
        assert_eq!(late.event().await.0, "ready");
        for expected in rest {
            assert_eq!(&late.event().await.1, expected);
        }
    }
    let since = first["changes"][0]["uploadedAt"].as_str().unwrap();
    let mut late = Feed::open(&hub, &format!("?since={since}")).await;
    assert_eq!(late.event().await.0, "ready");
    assert_eq!(late.event().await.1, first);
}

#[tokio::test]
async fn what_cannot_be_replayed_is_a_reset() {
    let hub = Hub::start().await;
    for query in [
        "?cursor=nonsense",
        "?cursor=00000000-3",
        "?since=2020-01-01T00:00:00Z",
    ] {
        let mut feed = Feed::open(&hub, query).await;
        assert_eq!(feed.event().await.0, "reset", "{query}");
        assert_eq!(feed.event().await.0, "ready", "{query}");
    }
    let mut feed = Feed::open(&hub, "").await;
    feed.event().await;
    hub.request(Method::DELETE, BUCKET).send().await.unwrap();
    assert_eq!(feed.event().await.0, "reset");
    assert_eq!(feed.block().await.unwrap(), None);
}

#[tokio::test]
async fn a_feed_pings_ends_in_time_and_can_be_cut() {
    let hub = Hub::start().await;
    hub.server.faults().turn(|knobs| {
        knobs.events_ping = Duration::from_millis(20);
        knobs.events_life = Duration::from_millis(100);
    });
    let mut feed = Feed::open(&hub, "").await;
    assert_eq!(feed.event().await.0, "ready");
    assert_eq!(feed.block().await.unwrap().unwrap(), ": ping");
    loop {
        let block = feed.block().await.unwrap().expect("a farewell comes first");
        if block != ": ping" {
            assert_eq!(block, "event: reconnect\ndata: {}");
            break;
        }
    }
    assert_eq!(feed.block().await.unwrap(), None);
    hub.server
        .faults()
        .turn(|knobs| knobs.events_life = Duration::from_secs(600));
    let mut feed = Feed::open(&hub, "").await;
    feed.event().await;
    hub.server.cut_feeds();
    let cut = loop {
        match feed.block().await {
            Ok(Some(_)) => {}
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(cut, "it was no orderly end");
}

#[tokio::test]
async fn strangers_follow_nothing_and_a_hub_without_feeds_has_no_such_route() {
    let hub = Hub::start().await;
    let path = format!("{BUCKET}/events");
    let by_stranger = hub.anonymous(Method::GET, &path).bearer_auth(STRANGER);
    let refused = by_stranger.send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::NOT_FOUND);
    assert_eq!(refused.headers()["x-error-code"], "RepoNotFound");
    hub.server
        .faults()
        .turn(|knobs| knobs.offers_events = false);
    let missing = hub.request(Method::GET, &path).send().await.unwrap();
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    assert!(missing.headers().get("x-error-code").is_none());
    let body: Value = missing.json().await.unwrap();
    assert_eq!(body, json!({ "error": "no such route" }));
}
