//! What goes wrong by chance, and what goes wrong without looking so.

use hugbucket::devhub::{Aim, Chance, Effect, Fault, Route, RouteClass, Weather};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{BUCKET, Hub, add, delete, header};

fn always(aim: Aim, effect: Effect) -> Weather {
    let chances = vec![Chance {
        aim,
        per_mille: 1000,
        effect,
    }];
    Weather { seed: 1, chances }
}

/// Returns the hash of every file by its path.
async fn hashes(hub: &Hub) -> Vec<(String, String)> {
    let tree = hub.get(&format!("{BUCKET}/tree?recursive=true")).await;
    let entries: Vec<Value> = tree.json().await.unwrap();
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap().to_owned();
    let file = |entry: &Value| (text(entry, "path"), text(entry, "xetHash"));
    entries.iter().map(file).collect()
}

#[tokio::test]
async fn weather_meets_a_class_of_calls_until_it_clears() {
    let hub = Hub::start().await;
    let faults = hub.server.faults();
    faults.set_weather(always(Aim::Class(RouteClass::Api), Effect::status(502)));
    for _ in 0..3 {
        assert_eq!(hub.get(BUCKET).await.status(), StatusCode::BAD_GATEWAY);
    }
    let resolved = hub.get("/buckets/main/data/resolve/none").await;
    assert_eq!(resolved.status(), StatusCode::NOT_FOUND, "another class");
    faults.clear();
    assert_eq!(hub.get(BUCKET).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_same_seed_makes_the_same_weather_over_http_too() {
    let hub = Hub::start().await;
    let chance = json!({ "aim": { "route": "whoami" }, "per_mille": 300,
        "effect": { "kind": "status", "status": 500 } });
    let mut runs = Vec::new();
    for seed in [5, 5, 6] {
        let command = json!({ "weather": { "seed": seed, "chances": [chance] } });
        let set = hub.request(Method::POST, "/devhub/faults").json(&command);
        assert_eq!(set.send().await.unwrap().status(), StatusCode::OK);
        let mut statuses = Vec::new();
        for _ in 0..40 {
            statuses.push(hub.get("/api/whoami-v2").await.status().as_u16());
        }
        runs.push(statuses);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
    assert!(runs[0].contains(&500) && runs[0].contains(&200));
}

#[tokio::test]
async fn a_length_that_promises_too_much_is_a_cut_and_one_that_promises_too_little_looks_whole() {
    let hub = Hub::start().await;
    let right = hub.get(BUCKET).await.text().await.unwrap();
    let faults = hub.server.faults();
    let lie = |difference| Fault::once(Route::BucketInfo, Effect::Length { difference });
    faults.inject(lie(10));
    let long = hub.get(BUCKET).await;
    assert_eq!(long.content_length(), Some(right.len() as u64 + 10));
    assert!(long.text().await.is_err(), "the rest never comes");
    faults.inject(lie(-10));
    let short = hub.get(BUCKET).await.text().await.unwrap();
    assert_eq!(short, right[..right.len() - 10]);
    assert_eq!(hub.get(BUCKET).await.text().await.unwrap(), right);
}

#[tokio::test]
async fn tokens_and_addresses_expire_under_a_call() {
    let hub = Hub::start().await;
    let (_, file) = hub.upload(1, 2).await;
    hub.batch(&[add("file", &file)]).await;
    let token = hub.cas_token("read").await;
    let faults = hub.server.faults();
    faults.inject(Fault::once(Route::Reconstruction, Effect::ExpireTokens));
    let path = format!("/v2/reconstructions/{file}");
    let plan = hub.cas(Method::GET, &path, &token).send().await.unwrap();
    assert_eq!(plan.status(), StatusCode::UNAUTHORIZED);
    let fresh = hub.cas_token("read").await;
    let plan = hub.cas(Method::GET, &path, &fresh).send().await.unwrap();
    assert_eq!(plan.status(), StatusCode::OK);

    let redirect = hub.get("/buckets/main/data/resolve/file").await;
    let url = header(&redirect, "location").to_owned();
    faults.inject(Fault::once(Route::FileGet, Effect::ExpireUrls));
    let refused = hub.client.get(&url).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let redirect = hub.get("/buckets/main/data/resolve/file").await;
    let fresh = hub.client.get(header(&redirect, "location"));
    assert_eq!(fresh.send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_page_can_come_in_reverse_and_with_an_entry_twice() {
    let hub = Hub::start().await;
    let (_, file) = hub.upload(1, 1).await;
    hub.batch(&["a", "b", "c"].map(|path| add(path, &file)))
        .await;
    let faults = hub.server.faults();
    faults.inject(Fault::once(Route::Tree, Effect::Unsorted));
    assert_eq!(hub.paths().await, ["c", "b", "a"]);
    faults.inject(Fault::once(Route::Tree, Effect::Repeated));
    assert_eq!(hub.paths().await, ["a", "b", "c", "a"]);
    assert_eq!(hub.paths().await, ["a", "b", "c"]);
}

#[tokio::test]
async fn some_lines_of_a_batch_fail_and_the_others_do_not() {
    let hub = Hub::start().await;
    let (_, file) = hub.upload(1, 1).await;
    let effect = Effect::FailEntries {
        path: "bad".into(),
        error: "busy".into(),
    };
    let aim = Aim::Route(Route::Batch);
    hub.server.faults().set_weather(always(aim, effect));
    let lines = ["bad", "good"].map(|path| add(path, &file));
    let answer = hub.batch(&lines).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(
        answer["failed"],
        json!([{ "path": "bad", "error": "busy" }])
    );
    assert_eq!(hub.paths().await, ["good"]);
}

#[tokio::test]
async fn a_lost_line_is_answered_as_done_and_a_swapped_one_has_the_content_of_another_file() {
    let hub = Hub::start().await;
    let (_, one) = hub.upload(1, 1).await;
    let (_, other) = hub.upload(2, 1).await;
    hub.batch(&[add("one", &one)]).await;
    let faults = hub.server.faults();
    let path = String::new;
    faults.inject(Fault::times(
        Route::Batch,
        2,
        Effect::LoseEntries { path: path() },
    ));
    let lost = hub.batch(&[add("two", &other), delete("one")]).await;
    let lost: Value = lost.json().await.unwrap();
    assert_eq!(
        (&lost["success"], &lost["succeeded"]),
        (&json!(true), &json!(2))
    );
    assert_eq!(hashes(&hub).await, [("one".into(), one.clone())]);

    faults.inject(Fault::once(
        Route::Batch,
        Effect::SwapEntries { path: path() },
    ));
    let swapped = hub.batch(&[add("two", &other)]).await;
    assert_eq!(swapped.status(), StatusCode::OK);
    assert_eq!(
        hashes(&hub).await,
        [("one".into(), one.clone()), ("two".into(), one)]
    );
}
