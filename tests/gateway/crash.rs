//! What a killed gateway leaves behind.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::presigning::PresigningConfig;
use hugbucket::devhub::{Effect, Fault, Route};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::conditions::begin;
use crate::stand::{BUCKET, Stand, get, put, random_bytes};

/// Begins a PUT of `size` bytes, sends only the given beginning of its body, and returns the open connection.
async fn begin_put(stand: &Stand, key: &str, size: usize, beginning: &[u8]) -> TcpStream {
    let expiry = PresigningConfig::expires_in(Duration::from_secs(600)).unwrap();
    let signed = stand
        .s3()
        .put_object()
        .bucket(BUCKET)
        .key(key)
        .presigned(expiry)
        .await
        .unwrap();
    let address = stand
        .gateway
        .endpoint
        .strip_prefix("http://")
        .unwrap()
        .to_owned();
    let target = signed
        .uri()
        .strip_prefix(&stand.gateway.endpoint)
        .unwrap()
        .to_owned();
    let mut connection = TcpStream::connect(&address).await.unwrap();
    let head =
        format!("PUT {target} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {size}\r\n\r\n");
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(beginning).await.unwrap();
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_of_a_put_leaves_the_old_object() {
    let mut stand = Stand::start().await;
    put(&stand.s3(), "k", "old").await;
    let bytes = random_bytes(1, 40 << 20);
    let connection = begin_put(&stand, "k", bytes.len() + 1, &bytes).await;
    stand.gateway.kill();
    drop(connection);
    stand.restart_gateway().await;
    assert_eq!(get(&stand.s3(), "k").await.as_deref(), Some(&b"old"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_in_the_middle_of_a_put_leaves_the_old_object() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    put(&s3, "k", "old").await;
    let bytes = random_bytes(1, 4 << 20);
    drop(begin_put(&stand, "k", bytes.len() + 1, &bytes).await);
    // A write of another key that ends after the cut: by then the gateway has seen it.
    put(&s3, "other", "x").await;
    assert_eq!(get(&s3, "k").await.as_deref(), Some(&b"old"[..]));
    let listed = s3.list_objects_v2().bucket(BUCKET).send().await.unwrap();
    assert_eq!(listed.contents().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_kill() {
    let mut stand = Stand::start().await;
    let bytes = random_bytes(1, 3 << 20);
    put(&stand.s3(), "k", bytes.clone()).await;
    stand.gateway.kill();
    stand.restart_gateway().await;
    assert!(get(&stand.s3(), "k").await.unwrap() == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_whose_object_never_landed_is_not_taken_for_done() {
    let mut stand = Stand::start().await;
    let s3 = stand.s3();
    let (upload, parts) = begin(&s3, "big-object", "bytes").await;
    let complete = |s3: &Client| {
        let request = s3
            .complete_multipart_upload()
            .bucket(BUCKET)
            .key("big-object");
        request
            .upload_id(&upload)
            .multipart_upload(parts.clone())
            .send()
    };
    // The object's line fails, that of everything beside it succeeds, and the gateway dies before it can settle that.
    let effect = Effect::FailEntries {
        path: "big-object".into(),
        error: "busy".into(),
    };
    let faults = stand.hub.faults();
    faults.inject(Fault::times(Route::Batch, 1000, effect));
    stand.hub.calls().reset();
    let dying = tokio::spawn(complete(&s3));
    let mut look = tokio::time::interval(Duration::from_millis(2));
    while stand.hub.calls().count(Route::Batch) == 0 {
        look.tick().await;
    }
    let looked_up = stand.hub.calls().count(Route::PathsInfo);
    while stand.hub.calls().count(Route::PathsInfo) == looked_up {
        look.tick().await;
    }
    stand.gateway.kill();
    dying.await.unwrap().unwrap_err();
    faults.clear();
    stand.restart_gateway().await;
    let s3 = stand.s3();
    assert_eq!(get(&s3, "big-object").await, None);
    complete(&s3).await.unwrap();
    assert_eq!(get(&s3, "big-object").await.as_deref(), Some(&b"bytes"[..]));
}
