//! Who may do what, and how refusals look.

use std::net::SocketAddr;

use hugbucket::devhub::{DevHub, DevHubError};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{BUCKET, Hub, READ_ONLY, STRANGER, config, header};

#[tokio::test]
async fn an_unknown_token_is_401_and_says_so() {
    let hub = Hub::start().await;
    let call = hub
        .anonymous(Method::GET, "/api/whoami-v2")
        .bearer_auth("hf_nobody");
    let answer = call.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(
        header(&answer, "x-error-message"),
        "Invalid credentials in Authorization header"
    );
    assert!(answer.headers().contains_key("x-request-id"));
}

#[tokio::test]
async fn a_private_bucket_looks_missing_to_strangers_and_401_to_the_anonymous() {
    let hub = Hub::start().await;
    let stranger = hub.anonymous(Method::GET, BUCKET).bearer_auth(STRANGER);
    let answer = stranger.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    assert_eq!(header(&answer, "x-error-code"), "RepoNotFound");
    let anonymous = hub.anonymous(Method::GET, BUCKET).send().await.unwrap();
    assert_eq!(anonymous.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_public_bucket_is_read_by_everybody_and_written_by_members_only() {
    let hub = Hub::start().await;
    let settings = hub.request(Method::PUT, &format!("{BUCKET}/settings"));
    let public = settings.json(&json!({ "private": false })).send().await;
    assert_eq!(public.unwrap().status(), StatusCode::OK);
    let read = hub.anonymous(Method::GET, BUCKET).send().await.unwrap();
    assert_eq!(read.status(), StatusCode::OK);
    let token = format!("{BUCKET}/xet-write-token");
    for bearer in [STRANGER, READ_ONLY] {
        let write = hub.anonymous(Method::GET, &token).bearer_auth(bearer);
        assert_eq!(write.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn a_foreign_namespace_takes_no_buckets_and_an_organisation_of_the_user_does() {
    let hub = Hub::start().await;
    let create = async |path| {
        hub.request(Method::POST, path)
            .send()
            .await
            .unwrap()
            .status()
    };
    assert_eq!(create("/api/buckets/stranger/x").await, 403);
    assert_eq!(create("/api/buckets/main-org/x").await, 200);
    assert_eq!(create("/api/buckets/me/y").await, 200);
    assert_eq!(create("/api/buckets/me/bad..name").await, 400);
}

#[tokio::test]
async fn creating_twice_is_a_conflict_that_names_the_bucket() {
    let hub = Hub::start().await;
    let again = hub.request(Method::POST, BUCKET).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::CONFLICT);
    let body: Value = again.json().await.unwrap();
    assert!(
        body["url"]
            .as_str()
            .unwrap()
            .ends_with("/buckets/main/data")
    );
}

#[tokio::test]
async fn one_directory_serves_one_process_and_only_on_loopback() {
    let hub = Hub::start().await;
    let second = DevHub::start(config(&hub.dir)).await;
    assert!(matches!(second, Err(DevHubError::InUse(_))), "{second:?}");
    let mut open = config(&tempfile::tempdir().unwrap());
    open.listen = SocketAddr::from(([0, 0, 0, 0], 0));
    let refused = DevHub::start(open).await;
    assert!(matches!(refused, Err(DevHubError::NotLoopback(_))));
}

#[tokio::test]
async fn counters_and_faults_are_open_to_the_main_user_only() {
    let hub = Hub::start().await;
    for path in ["/devhub/calls", "/devhub/faults"] {
        assert_eq!(hub.get(path).await.status(), StatusCode::OK);
        let stranger = hub.anonymous(Method::GET, path).bearer_auth(STRANGER);
        assert_eq!(
            stranger.send().await.unwrap().status(),
            StatusCode::FORBIDDEN
        );
    }
}

#[tokio::test]
async fn lists_come_in_pages() {
    let hub = Hub::start().await;
    for number in 0..101 {
        let path = format!("/api/buckets/main/b{number:03}");
        assert_eq!(
            hub.request(Method::POST, &path)
                .send()
                .await
                .unwrap()
                .status(),
            200
        );
    }
    let first = hub.get("/api/buckets/main?search=b").await;
    let link = header(&first, "link").to_owned();
    let page: Vec<Value> = first.json().await.unwrap();
    assert_eq!(page.len(), 100);
    let next = link.trim_start_matches('<').split_once('>').unwrap().0;
    let second = hub.get(next).await;
    assert!(!second.headers().contains_key("link"));
    let page: Vec<Value> = second.json().await.unwrap();
    assert_eq!(page[0]["id"], "main/b100");
}
