//! Gateways beside other writers, with the Hub's change feed between them.

use std::time::{Duration, Instant};

use aws_sdk_s3::types::{Tag, Tagging};
use hugbucket::devhub::Route;

use crate::beside::Beside;
use crate::disk_cache::{metric, reaches};
use crate::stand::{BUCKET, Gateway, Stand, get, put};

/// Long enough that only the feed can make anybody forget.
const FOR_EVER: (&str, &str) = ("HUGBUCKET_FILE_INFO_CACHE_TTL", "1 h");
const REQUIRED: (&str, &str) = ("HUGBUCKET_CHANGE_FEED", "required");
const AUTO: (&str, &str) = ("HUGBUCKET_CHANGE_FEED", "auto");
const OFF: (&str, &str) = ("HUGBUCKET_CHANGE_FEED", "off");

const CONNECTED: &str = "hugbucket_change_feeds_connected";
const CHANGES: &str = "hugbucket_change_feed_changes_total";
const RESETS: &str = "hugbucket_change_feed_events_total{event=\"reset\"}";
const CUTS: &str = "hugbucket_change_feed_events_total{event=\"cut\"}";
const HITS: &str = "hugbucket_cache_requests_total{cache=\"file_info\",result=\"hit\"}";

async fn read(gateway: &Gateway, key: &str) -> Option<String> {
    let bytes = get(&gateway.s3(), key).await?;
    Some(String::from_utf8(bytes).unwrap())
}

/// Stores two contents whose files another writer can refer to, and has both gateways follow the bucket and remember `k`.
async fn two(settings: &[(&str, &str)]) -> (Stand, Gateway, Beside) {
    let stand = Stand::start_with(settings).await;
    let other = stand.another_gateway(settings).await;
    for (key, text) in [("old", "old"), ("new", "new"), ("k", "old")] {
        put(&stand.s3(), key, text).await;
    }
    for gateway in [&stand.gateway, &other] {
        assert_eq!(read(gateway, "k").await.unwrap(), "old");
        reaches(gateway, CONNECTED, 1).await;
        // Connecting made it forget: now it is remembered.
        assert_eq!(read(gateway, "k").await.unwrap(), "old");
        let hits = metric(gateway, HITS).await;
        assert_eq!(read(gateway, "k").await.unwrap(), "old");
        assert!(metric(gateway, HITS).await > hits, "it is remembered");
    }
    let beside = Beside::of(&stand);
    (stand, other, beside)
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_and_another_writer_agree_within_a_second() {
    let (stand, other, beside) = two(&[FOR_EVER, AUTO]).await;
    let contents = [
        beside.file("new").await.unwrap(),
        beside.file("old").await.unwrap(),
    ];
    for (round, content) in contents.iter().cycle().take(20).enumerate() {
        let expected = ["new", "old"][round % 2];
        let told = [
            metric(&stand.gateway, CHANGES).await,
            metric(&other, CHANGES).await,
        ];
        let written_at = Instant::now();
        beside.overwrite("k", content).await;
        for (gateway, told) in [&stand.gateway, &other].into_iter().zip(told) {
            reaches(gateway, CHANGES, told + 1).await;
            assert!(written_at.elapsed() < Duration::from_secs(1));
            // From here on, nobody sees the old one again.
            for _ in 0..5 {
                assert_eq!(read(gateway, "k").await.unwrap(), expected);
            }
        }
    }
    beside.delete("k").await;
    let written_at = Instant::now();
    for gateway in [&stand.gateway, &other] {
        while read(gateway, "k").await.is_some() {
            assert!(written_at.elapsed() < Duration::from_secs(1));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_gateway_writes_the_other_sees_and_tags_too() {
    let (stand, other, _) = two(&[FOR_EVER, AUTO]).await;
    for n in 0..10 {
        let text = format!("version {n}");
        put(&stand.s3(), "k", text.as_bytes()).await;
        assert_eq!(read(&stand.gateway, "k").await.unwrap(), text);
        let written_at = Instant::now();
        while read(&other, "k").await.unwrap() != text {
            assert!(written_at.elapsed() < Duration::from_secs(1));
        }
    }
    // Tags are kept beside the object, which stays as it is.
    let tag = Tag::builder().key("a").value("b").build().unwrap();
    let tags = Tagging::builder().tag_set(tag).build().unwrap();
    let put = stand.s3().put_object_tagging().bucket(BUCKET).key("k");
    put.tagging(tags).send().await.unwrap();
    let written_at = Instant::now();
    loop {
        let found = other.s3().get_object().bucket(BUCKET).key("k").send();
        if found.await.unwrap().tag_count() == Some(1) {
            break;
        }
        assert!(written_at.elapsed() < Duration::from_secs(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_feed_the_old_object_is_seen_for_its_life() {
    let stand = Stand::start_with(&[FOR_EVER, OFF]).await;
    for (key, text) in [("new", "new"), ("k", "old")] {
        put(&stand.s3(), key, text).await;
    }
    assert_eq!(read(&stand.gateway, "k").await.unwrap(), "old");
    let beside = Beside::of(&stand);
    let new = beside.file("new").await.unwrap();
    beside.overwrite("k", &new).await;
    assert_eq!(read(&stand.gateway, "k").await.unwrap(), "old");
    assert_eq!(stand.hub.calls().count(Route::Events), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_feed_is_made_up_for_and_its_caches_are_not_trusted_meanwhile() {
    let (stand, other, beside) = two(&[FOR_EVER, REQUIRED]).await;
    let new = beside.file("new").await.unwrap();
    // It cannot be opened again.
    stand.hub.faults().turn(|knobs| knobs.offers_events = false);
    stand.hub.cut_feeds();
    for gateway in [&stand.gateway, &other] {
        reaches(gateway, CUTS, 1).await;
        assert_eq!(metric(gateway, CONNECTED).await, 0);
    }
    beside.overwrite("k", &new).await;
    for gateway in [&stand.gateway, &other] {
        let hits = metric(gateway, HITS).await;
        for _ in 0..3 {
            assert_eq!(read(gateway, "k").await.unwrap(), "new");
        }
        assert_eq!(metric(gateway, HITS).await, hits, "nothing is remembered");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_while_the_feed_was_cut_is_told_afterwards() {
    let (stand, other, beside) = two(&[FOR_EVER, AUTO]).await;
    let new = beside.file("new").await.unwrap();
    let told = [
        metric(&stand.gateway, CHANGES).await,
        metric(&other, CHANGES).await,
    ];
    stand.hub.cut_feeds();
    beside.overwrite("k", &new).await;
    for (gateway, told) in [&stand.gateway, &other].into_iter().zip(told) {
        reaches(gateway, CHANGES, told + 1).await;
        assert_eq!(read(gateway, "k").await.unwrap(), "new");
        assert_eq!(metric(gateway, RESETS).await, 0, "there was no gap");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_without_feeds_costs_one_question() {
    let stand = Stand::start_with(&[AUTO]).await;
    stand.hub.faults().turn(|knobs| knobs.offers_events = false);
    for n in 0..5 {
        put(&stand.s3(), "k", n.to_string()).await;
        assert_eq!(read(&stand.gateway, "k").await.unwrap(), n.to_string());
    }
    let outcome =
        "hugbucket_upstream_requests_total{operation=\"events\",outcome=\"404\",target=\"hub\"}";
    reaches(&stand.gateway, outcome, 1).await;
    read(&stand.gateway, "k").await.unwrap();
    assert_eq!(stand.hub.calls().count(Route::Events), 1);
    assert_eq!(metric(&stand.gateway, CONNECTED).await, 0);
}
