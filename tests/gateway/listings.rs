//! Listings at scale, and where the Hub's own listings are late or out of order.

use aws_sdk_s3::Client;
use hugbucket::devhub::DevHub;
use reqwest::header::CONTENT_TYPE;
use std::time::Duration;

use crate::stand::{BUCKET, HUB_TOKEN, NAMESPACE, Stand, put};

fn http() -> reqwest::Client {
    // Whoever comes first installs it; the client is built without a provider of its own.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// Registers paths with a content that the bucket knows, past the gateway, a thousand a call.
async fn seed(hub: &DevHub, hash: &str, paths: &[String]) {
    let http = http();
    let batch = hub
        .url()
        .join(&format!("/api/buckets/{NAMESPACE}/{BUCKET}/batch"))
        .unwrap();
    for some in paths.chunks(1000) {
        let lines: Vec<String> = some
            .iter()
            .map(|path| {
                serde_json::json!({"type": "addFile", "path": path, "xetHash": hash}).to_string()
            })
            .collect();
        let request = http
            .post(batch.clone())
            .bearer_auth(HUB_TOKEN)
            .header(CONTENT_TYPE, "application/x-ndjson");
        let answer = request.body(lines.join("\n")).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
}

/// Stores an object, and returns its content's hash.
async fn content_hash(stand: &Stand, key: &str) -> String {
    put(&stand.s3(), key, "content").await;
    let url = format!(
        "{}api/buckets/{NAMESPACE}/{BUCKET}/paths-info",
        stand.hub.url()
    );
    let answer = http()
        .post(url)
        .bearer_auth(HUB_TOKEN)
        .json(&serde_json::json!({"paths": [key]}))
        .send()
        .await
        .unwrap();
    let found: serde_json::Value = answer.json().await.unwrap();
    found[0]["xetHash"].as_str().unwrap().to_owned()
}

/// Lists all keys and common prefixes, page by page.
async fn list(s3: &Client, prefix: &str, delimiter: Option<&str>, page_size: i32) -> Vec<String> {
    let mut pages = s3
        .list_objects_v2()
        .bucket(BUCKET)
        .prefix(prefix)
        .set_delimiter(delimiter.map(str::to_owned))
        .max_keys(page_size)
        .into_paginator()
        .send();
    let mut names = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        let keys = page.contents().iter().map(|object| object.key().unwrap());
        let prefixes = page
            .common_prefixes()
            .iter()
            .map(|common| common.prefix().unwrap());
        names.extend(keys.chain(prefixes).map(str::to_owned));
    }
    names
}

/// Resident memory of a process, MiB.
fn resident_mib(pid: u32, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|text| text.starts_with(line)).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_keys_cost_few_calls_and_no_memory() {
    let mut stand = Stand::start().await;
    let hash = content_hash(&stand, "000/000").await;
    let paths: Vec<String> = (0..100_000)
        .map(|n| format!("{:03}/{:03}", n / 1000, n % 1000))
        .collect();
    seed(&stand.hub, &hash, &paths).await;
    stand.restart_gateway().await;
    let s3 = stand.s3();

    stand.hub.calls().reset();
    let folders = list(&s3, "", Some("/"), 1000).await;
    assert_eq!(folders.len(), 100);
    let calls = stand.hub.calls().total();
    assert!(calls <= 3, "{calls} calls for the top of the bucket");

    let before = resident_mib(stand.gateway.pid(), "VmRSS:");
    stand.hub.calls().reset();
    let listed = list(&s3, "", None, 1000).await;
    assert!(listed == paths);
    let calls = stand.hub.calls().total();
    assert!(calls <= 25, "{calls} calls for 100,000 keys");
    let peak = resident_mib(stand.gateway.pid(), "VmHWM:");
    assert!(
        peak < before + 48,
        "{before} MiB before, {peak} MiB at the most"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn names_come_in_byte_order_whatever_the_order_of_the_hub() {
    let stand = Stand::start().await;
    let hash = content_hash(&stand, "a").await;
    let mut paths: Vec<String> = (0..150).map(|n| format!("k{n:03}")).collect();
    let odd = [
        "a",
        "a-b",
        "a/1",
        "a/2",
        "a.txt",
        "a0",
        "ü",
        "\u{10000}",
        "\u{fffd}x",
        "~",
    ];
    paths.extend(odd.map(str::to_owned));
    seed(&stand.hub, &hash, &paths).await;
    paths.sort();
    let mut folded: Vec<String> = paths
        .iter()
        .filter(|path| !path.contains('/'))
        .cloned()
        .collect();
    folded.push("a/".into());
    folded.sort();
    let s3 = stand.s3();
    for is_unsorted in [false, true] {
        stand.hub.faults().turn(|knobs| {
            knobs.tree_unsorted = is_unsorted;
            knobs.tree_page_max = 40;
        });
        for page_size in [7, 100, 1000] {
            assert_eq!(list(&s3, "", None, page_size).await, paths);
            let mut names = list(&s3, "", Some("/"), page_size).await;
            names.sort();
            assert_eq!(names, folded);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn own_writes_show_at_once_although_the_hub_lags_behind() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    stand
        .hub
        .faults()
        .turn(|knobs| knobs.folded_lag = Duration::from_secs(3600));
    for key in ["a", "dir/1", "dir/2", "m", "marked/"] {
        put(&s3, key, "x").await;
    }
    let names = ["a", "m", "dir/", "marked/"];
    assert_eq!(list(&s3, "", Some("/"), 1000).await, names);
    assert_eq!(list(&s3, "dir/", Some("/"), 1000).await, ["dir/1", "dir/2"]);
    let mut paged = list(&s3, "", Some("/"), 1).await;
    paged.sort();
    assert_eq!(paged, ["a", "dir/", "m", "marked/"]);
    for key in ["a", "dir/1", "dir/2"] {
        let delete = s3.delete_object().bucket(BUCKET).key(key);
        delete.send().await.unwrap();
    }
    assert_eq!(list(&s3, "", Some("/"), 1000).await, ["m", "marked/"]);
    // Another process knows nothing of them, which is what the Hub promises.
    let other = stand.another_gateway(&[]).await;
    assert!(list(&other.s3(), "", Some("/"), 1000).await.is_empty());
    assert_eq!(list(&other.s3(), "", None, 1000).await, ["m", "marked/"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_written_while_a_listing_is_under_way_shows_in_its_further_pages() {
    let stand = Stand::start().await;
    let hash = content_hash(&stand, "k0000").await;
    let paths: Vec<String> = (0..600).map(|n| format!("k{n:04}")).collect();
    seed(&stand.hub, &hash, &paths).await;
    let s3 = stand.s3();
    let page = |token: Option<String>| {
        let list = s3.list_objects_v2().bucket(BUCKET).max_keys(100);
        list.set_continuation_token(token).send()
    };
    let mut token = None;
    let mut seen = Vec::new();
    for n in 0.. {
        let answer = page(token).await.unwrap();
        seen.extend(
            answer
                .contents()
                .iter()
                .map(|object| object.key().unwrap().to_owned()),
        );
        token = answer.next_continuation_token().map(str::to_owned);
        if token.is_none() {
            break;
        }
        if n == 2 {
            put(&s3, "k0450-new", "x").await;
            let delete = s3.delete_object().bucket(BUCKET).key("k0500");
            delete.send().await.unwrap();
        }
    }
    let mut expected = paths;
    expected.retain(|path| path != "k0500");
    expected.insert(451, "k0450-new".into());
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_page_like_keys() {
    let stand = Stand::start().await;
    let hash = content_hash(&stand, "a").await;
    let paths: Vec<String> = ["a", "b/1", "b/2", "c", "d"].map(str::to_owned).to_vec();
    seed(&stand.hub, &hash, &paths).await;
    let s3 = stand.s3();
    for (delimiter, expected) in [
        (None, &["a", "b/1", "b/2", "c", "d"][..]),
        (Some("/"), &["a", "b/", "c", "d"]),
    ] {
        let mut seen = Vec::new();
        let (mut key, mut version) = (None, None);
        loop {
            let list = s3
                .list_object_versions()
                .bucket(BUCKET)
                .set_delimiter(delimiter.map(str::to_owned))
                .set_key_marker(key)
                .set_version_id_marker(version)
                .max_keys(1);
            let page = list.send().await.unwrap();
            for found in page.versions() {
                assert_eq!(
                    (found.version_id(), found.is_latest()),
                    (Some("null"), Some(true))
                );
                seen.push(found.key().unwrap().to_owned());
            }
            let prefixes = page.common_prefixes().iter();
            seen.extend(prefixes.map(|common| common.prefix().unwrap().to_owned()));
            if page.is_truncated() != Some(true) {
                break;
            }
            key = page.next_key_marker().map(str::to_owned);
            version = page.next_version_id_marker().map(str::to_owned);
        }
        assert_eq!(seen, expected);
    }
    let read = s3.get_object().bucket(BUCKET).key("a").version_id("null");
    assert!(read.send().await.is_ok());
    let read = s3.get_object().bucket(BUCKET).key("a").version_id("other");
    let refused = read.send().await.unwrap_err();
    assert_eq!(refused.raw_response().unwrap().status().as_u16(), 404);
    let delete = s3
        .delete_object()
        .bucket(BUCKET)
        .key("a")
        .version_id("null");
    delete.send().await.unwrap();
    assert_eq!(list(&s3, "", None, 1000).await, ["b/1", "b/2", "c", "d"]);
}
