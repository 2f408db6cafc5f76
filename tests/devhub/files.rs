//! Batches, trees, and what survives a restart.

use hugbucket::devhub::{DevHub, Effect, Fault, Route};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{BUCKET, Hub, add, config, delete, header};

const EMPTY: &str = "0000000000000000000000000000000000000000000000000000000000000000";

#[tokio::test]
async fn every_line_has_its_own_verdict() {
    let hub = Hub::start().await;
    let (xorb, hash) = hub.upload(1, 3).await;
    let unknown = "ab".repeat(32);
    let mixed = hub
        .batch(&[
            add("good", &hash),
            add("bad", &unknown),
            add("empty", EMPTY),
        ])
        .await;
    assert_eq!(mixed.status(), StatusCode::OK);
    let body: Value = mixed.json().await.unwrap();
    assert_eq!(
        (&body["processed"], &body["succeeded"]),
        (&json!(3), &json!(2))
    );
    assert_eq!(body["failed"][0]["path"], "bad");
    assert_eq!(hub.paths().await, ["empty", "good"]);

    let info = hub
        .request(Method::POST, &format!("{BUCKET}/paths-info"))
        .json(&json!({ "paths": ["good", "bad", "empty"] }));
    let found: Vec<Value> = info.send().await.unwrap().json().await.unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0]["size"], xorb.plain.len());
    assert_eq!(found[0]["mtime"], "2026-02-06T17:37:57.005Z");
    assert_eq!(found[1]["size"], 0);
}

#[tokio::test]
async fn a_batch_in_which_nothing_succeeds_is_422() {
    let hub = Hub::start().await;
    let refused = hub.batch(&[add("bad", &"ab".repeat(32))]).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let body: Value = refused.json().await.unwrap();
    assert_eq!(body["failed"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_batch_with_a_forbidden_path_or_order_changes_nothing() {
    let hub = Hub::start().await;
    let path = hub.batch(&[add("a", EMPTY), add("b/", EMPTY)]).await;
    assert_eq!(path.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let body: Value = path.json().await.unwrap();
    assert!(body.get("failed").is_none());
    let order = hub.batch(&[delete("a"), add("b", EMPTY)]).await;
    assert_eq!(order.status(), StatusCode::BAD_REQUEST);
    assert!(hub.paths().await.is_empty());
}

#[tokio::test]
async fn deleting_a_missing_path_succeeds_and_copies_need_a_readable_source() {
    let hub = Hub::start().await;
    assert_eq!(hub.batch(&[delete("none")]).await.status(), StatusCode::OK);
    let copy = |source| {
        json!({ "type": "copyFile", "path": "copy", "xetHash": EMPTY,
                "sourceRepoType": "bucket", "sourceRepoId": source })
    };
    assert_eq!(hub.batch(&[copy("stranger/none")]).await.status(), 422);
    assert_eq!(hub.batch(&[copy("main/data")]).await.status(), 200);
}

#[tokio::test]
async fn injected_failures_meet_matching_lines_as_often_as_asked() {
    let hub = Hub::start().await;
    let effect = Effect::FailEntries {
        path: "two".into(),
        error: "try again".into(),
    };
    hub.server
        .faults()
        .inject(Fault::once(Route::Batch, effect));
    let lines = [add("one", EMPTY), add("two", EMPTY)];
    let first: Value = hub.batch(&lines).await.json().await.unwrap();
    assert_eq!(
        first["failed"],
        json!([{ "path": "two", "error": "try again" }])
    );
    let second: Value = hub.batch(&lines).await.json().await.unwrap();
    assert_eq!(second["failed"], json!([]));
}

#[tokio::test]
async fn a_tree_comes_in_the_pages_that_the_knobs_allow() {
    let hub = Hub::start().await;
    let names = ["a#1", "dir/x", "dir/y", "dir.txt", "z"];
    let lines: Vec<Value> = names.iter().map(|name| add(name, EMPTY)).collect();
    assert_eq!(hub.batch(&lines).await.status(), StatusCode::OK);
    hub.server.faults().turn(|knobs| knobs.tree_page_max = 2);
    let (mut seen, mut next) = (Vec::new(), Some(format!("{BUCKET}/tree?recursive=false")));
    while let Some(path) = next.take() {
        let page = hub.get(&path).await;
        next = page.headers().get("link").map(|link| {
            let link = link.to_str().unwrap();
            link.trim_start_matches('<')
                .split_once('>')
                .unwrap()
                .0
                .to_owned()
        });
        let entries: Vec<Value> = page.json().await.unwrap();
        assert!(entries.len() <= 2);
        seen.extend(
            entries
                .iter()
                .map(|entry| entry["path"].as_str().unwrap().to_owned()),
        );
    }
    assert_eq!(seen, ["a#1", "dir.txt", "dir", "z"]);
    hub.server.faults().turn(|knobs| knobs.tree_unsorted = true);
    let below: Vec<Value> = hub
        .get(&format!("{BUCKET}/tree/dir%2F"))
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(below[0]["path"], "dir/y");
}

#[tokio::test]
async fn updated_at_moves_on_every_change() {
    let hub = Hub::start().await;
    let updated = async || {
        let info: Value = hub.get(BUCKET).await.json().await.unwrap();
        info["updatedAt"].as_str().unwrap().to_owned()
    };
    let before = updated().await;
    hub.batch(&[add("a", EMPTY)]).await;
    let between = updated().await;
    hub.batch(&[delete("a")]).await;
    let after = updated().await;
    assert!(
        before < between && between < after,
        "{before} {between} {after}"
    );
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_an_abrupt_end() {
    let hub = Hub::start().await;
    let (xorb, hash) = hub.upload(2, 4).await;
    assert_eq!(
        hub.batch(&[add("kept", &hash)]).await.status(),
        StatusCode::OK
    );
    let Hub {
        server,
        client,
        dir,
    } = hub;
    drop(server);
    let server = DevHub::start(config(&dir)).await.unwrap();
    let hub = Hub {
        server,
        client,
        dir,
    };
    let redirect = hub.get("/buckets/main/data/resolve/kept").await;
    assert_eq!(redirect.status(), StatusCode::FOUND);
    let content = hub
        .client
        .get(header(&redirect, "location"))
        .send()
        .await
        .unwrap();
    assert_eq!(content.bytes().await.unwrap(), xorb.plain);
}

#[tokio::test]
async fn a_resolved_file_is_described_and_served_in_ranges() {
    let hub = Hub::start().await;
    let (xorb, hash) = hub.upload(3, 5).await;
    hub.batch(&[add("dir/file.bin", &hash)]).await;
    let path = "/buckets/main/data/resolve/dir%2Ffile.bin";
    let head = hub.request(Method::HEAD, path).send().await.unwrap();
    assert_eq!(header(&head, "x-xet-hash"), hash);
    assert_eq!(header(&head, "x-linked-size"), xorb.plain.len().to_string());
    assert!(header(&head, "link").contains("xet-read-token>; rel=\"xet-auth\""));
    let info = hub
        .request(Method::GET, path)
        .header("accept", "application/vnd.xet-fileinfo+json");
    let info: Value = info.send().await.unwrap().json().await.unwrap();
    assert_eq!(info["size"], xorb.plain.len());
    let cdn = header(&head, "location");
    let range = hub
        .client
        .get(cdn)
        .header("range", "bytes=9990-30009")
        .send()
        .await
        .unwrap();
    assert_eq!(range.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(range.bytes().await.unwrap(), xorb.plain[9990..30010]);
    let beyond = hub
        .client
        .get(cdn)
        .header("range", "bytes=50000-")
        .send()
        .await
        .unwrap();
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
}
