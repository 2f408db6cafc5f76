//! Failures on demand, as a client meets them.

use hugbucket::devhub::{Effect, Fault, Route};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::content::xorb;
use crate::harness::{BUCKET, Hub, add, header};

const EMPTY: &str = "0000000000000000000000000000000000000000000000000000000000000000";

async fn batch(hub: &Hub, path: &str) -> reqwest::Result<StatusCode> {
    let call = hub.request(Method::POST, &format!("{BUCKET}/batch"));
    let answer = call.body(add(path, EMPTY).to_string()).send().await?;
    Ok(answer.status())
}

#[tokio::test]
async fn a_reset_before_the_work_changes_nothing_and_one_after_it_everything() {
    let hub = Hub::start().await;
    let faults = hub.server.faults();
    faults.inject(Fault::once(Route::Batch, Effect::ResetBefore));
    assert!(batch(&hub, "before").await.is_err());
    assert!(hub.paths().await.is_empty());
    faults.inject(Fault::once(Route::Batch, Effect::ResetAfter));
    assert!(batch(&hub, "after").await.is_err());
    assert_eq!(hub.paths().await, ["after"]);
    assert_eq!(batch(&hub, "then").await.unwrap(), StatusCode::OK);
}

#[tokio::test]
async fn a_rate_limit_names_its_window_and_a_status_its_delay() {
    let hub = Hub::start().await;
    let faults = hub.server.faults();
    faults.inject(Fault::once(Route::Whoami, Effect::rate_limited(17)));
    let limited = hub.get("/api/whoami-v2").await;
    assert_eq!(limited.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(header(&limited, "ratelimit"), "\"api\";r=0;t=17");
    let effect = Effect::Status {
        status: 503,
        retry_after: Some(3),
        rate_limit_reset: None,
    };
    faults.inject(Fault::once(Route::Whoami, effect));
    let busy = hub.get("/api/whoami-v2").await;
    assert_eq!(
        (busy.status().as_u16(), header(&busy, "retry-after")),
        (503, "3")
    );
    assert_eq!(hub.get("/api/whoami-v2").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_spent_budget_is_429_until_it_is_raised() {
    let hub = Hub::start().await;
    hub.server.faults().turn(|knobs| knobs.api_quota = 2);
    assert_eq!(hub.get(BUCKET).await.status(), StatusCode::OK);
    let refused = hub.get(BUCKET).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(header(&refused, "ratelimit").starts_with("\"api\";r=0;t="));
}

#[tokio::test]
async fn an_upload_that_is_refused_at_once_still_gets_its_answer() {
    let hub = Hub::start().await;
    hub.server
        .faults()
        .inject(Fault::once(Route::XorbPost, Effect::status(503)));
    let xorb = xorb(1, 1);
    let answer = hub.post_xorb(&xorb, vec![0; 8 << 20]).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let garbage = hub.post_xorb(&xorb, vec![0xff; 8 << 20]).await;
    assert_eq!(garbage.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn bodies_are_cut_and_corrupted_where_asked() {
    let hub = Hub::start().await;
    let (xorb, hash) = hub.upload(2, 20).await;
    hub.batch(&[add("file", &hash)]).await;
    let redirect = hub.get("/buckets/main/data/resolve/file").await;
    let url = header(&redirect, "location");
    let faults = hub.server.faults();
    let corrupt = Effect::Corrupt { at_byte: 100_000 };
    faults.inject(Fault::once(Route::FileGet, corrupt));
    let body = hub
        .client
        .get(url)
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    let differing: Vec<usize> = (0..body.len())
        .filter(|i| body[*i] != xorb.plain[*i])
        .collect();
    assert_eq!(differing, [100_000]);

    let cut = Effect::Truncate {
        after_bytes: 150_000,
    };
    faults.inject(Fault::once(Route::FileGet, cut));
    let mut answer = hub.client.get(url).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let mut arrived = 0;
    let ended = loop {
        match answer.chunk().await {
            Ok(Some(piece)) => arrived += piece.len(),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    assert!(ended.is_err(), "a cut body must not look complete");
    assert_eq!(arrived, 150_000);
}

#[tokio::test]
async fn a_shard_upload_can_end_with_an_error_event() {
    let hub = Hub::start().await;
    let effect = Effect::ShardError { retryable: true };
    hub.server
        .faults()
        .inject(Fault::once(Route::Shard, effect));
    let token = hub.cas_token("write").await;
    let call = hub.cas(Method::POST, "/v2/shards", &token).body("whatever");
    let text = call.send().await.unwrap().text().await.unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["type"], &last["retryable"]),
        (&json!("error"), &json!(true))
    );
}

#[tokio::test]
async fn faults_and_knobs_are_set_over_http_too() {
    let hub = Hub::start().await;
    let command = json!({
        "inject": [{ "route": "tree", "times": 2, "effect": { "kind": "status", "status": 504 } }],
        "knobs": { "tree_page_max": 7 },
    });
    let set = hub.request(Method::POST, "/devhub/faults").json(&command);
    assert_eq!(set.send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(hub.server.faults().knobs().tree_page_max, 7);
    let tree = format!("{BUCKET}/tree");
    for expected in [504, 504, 200] {
        assert_eq!(hub.get(&tree).await.status().as_u16(), expected);
    }
    let calls: Value = hub.get("/devhub/calls").await.json().await.unwrap();
    assert_eq!(calls["tree"]["calls"], 3);
}
