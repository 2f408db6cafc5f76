//! An upstream that fails: the client sees success after retry, or a clean error, and never a false 200.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::MetadataDirective;
use hugbucket::devhub::{Effect, Fault, Route};

use crate::operate::text;
use crate::stand::{BUCKET, Stand, get, put, random_bytes};

/// A client that does not hide errors by trying again itself.
fn impatient(stand: &Stand) -> Client {
    let config = stand
        .s3()
        .config()
        .to_builder()
        .retry_config(RetryConfig::disabled())
        .build();
    Client::from_conf(config)
}

async fn try_put(s3: &Client, key: &str, bytes: &[u8]) -> Result<(), u16> {
    let body = ByteStream::from(bytes.to_vec());
    match s3
        .put_object()
        .bucket(BUCKET)
        .key(key)
        .body(body)
        .send()
        .await
    {
        Ok(_) => Ok(()),
        Err(error) => Err(error
            .raw_response()
            .map_or(0, |response| response.status().as_u16())),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passing_failures_of_any_call_are_retried() {
    let mut stand = Stand::start().await;
    let bytes = random_bytes(1, 300_000);
    let passing = [
        Effect::status(500),
        Effect::status(503),
        Effect::Status {
            status: 429,
            retry_after: Some(1),
            rate_limit_reset: None,
        },
        Effect::ResetBefore,
    ];
    let writes = [
        Route::WriteToken,
        Route::XorbPost,
        Route::Shard,
        Route::Batch,
    ];
    let reads = [
        Route::PathsInfo,
        Route::ReadToken,
        Route::Reconstruction,
        Route::XorbGet,
    ];
    for (n, effect) in passing.into_iter().enumerate() {
        let (key, bytes) = (format!("k{n}"), random_bytes(n as u64, bytes.len()));
        stand.restart_gateway().await;
        for route in writes {
            stand
                .hub
                .faults()
                .inject(Fault::once(route, effect.clone()));
        }
        assert_eq!(
            try_put(&impatient(&stand), &key, &bytes).await,
            Ok(()),
            "{effect:?}"
        );
        stand.restart_gateway().await;
        for route in reads {
            stand
                .hub
                .faults()
                .inject(Fault::once(route, effect.clone()));
        }
        assert!(
            get(&impatient(&stand), &key).await.unwrap() == bytes,
            "{effect:?}"
        );
        assert!(
            stand.hub.faults().remaining().is_empty(),
            "{:?}",
            stand.hub.faults().remaining()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answers_were_lost_is_stored_once_and_acknowledged() {
    let stand = Stand::start().await;
    for route in [Route::XorbPost, Route::Shard, Route::Batch] {
        stand
            .hub
            .faults()
            .inject(Fault::once(route, Effect::ResetAfter));
    }
    assert_eq!(try_put(&impatient(&stand), "k", b"bytes").await, Ok(()));
    assert_eq!(get(&stand.s3(), "k").await.as_deref(), Some(&b"bytes"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_batch_entries_are_sent_again_and_never_answered_with_200() {
    let stand = Stand::start().await;
    let s3 = impatient(&stand);
    let entry = |times| {
        Fault::times(
            Route::Batch,
            times,
            Effect::FailEntries {
                path: "k".into(),
                error: "busy".into(),
            },
        )
    };
    stand.hub.faults().inject(entry(1));
    assert_eq!(
        try_put(&s3, "k", b"first").await,
        Ok(()),
        "the second attempt succeeds"
    );
    stand.hub.faults().inject(entry(1000));
    assert_eq!(try_put(&s3, "k", b"second").await, Err(503));
    stand.hub.faults().clear();
    assert_eq!(get(&stand.s3(), "k").await.as_deref(), Some(&b"first"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_keeps_failing_is_a_clean_error() {
    let stand = Stand::start().await;
    let s3 = impatient(&stand);
    put(&stand.s3(), "k", "old").await;
    for route in [Route::XorbPost, Route::Shard, Route::Batch] {
        stand
            .hub
            .faults()
            .inject(Fault::times(route, 1000, Effect::status(500)));
        assert_eq!(try_put(&s3, "k", b"new").await, Err(503), "{route:?}");
        stand.hub.faults().clear();
    }
    assert_eq!(get(&stand.s3(), "k").await.as_deref(), Some(&b"old"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_up_budget_is_slow_down_with_a_time() {
    let stand = Stand::start().await;
    let s3 = impatient(&stand);
    stand.hub.faults().inject(Fault::times(
        Route::PathsInfo,
        1000,
        Effect::rate_limited(240),
    ));
    let refused = s3
        .head_object()
        .bucket(BUCKET)
        .key("k")
        .send()
        .await
        .unwrap_err();
    let response = refused.raw_response().unwrap();
    assert_eq!(response.status().as_u16(), 503);
    assert!(response.headers().get("retry-after").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_and_corrupted_reads_are_resumed_or_cut_but_never_wrong() {
    let mut stand = Stand::start().await;
    let bytes = random_bytes(1, 20 << 20);
    put(&stand.s3(), "k", bytes.clone()).await;
    for at in [0, 100_000, 9_000_000] {
        stand.restart_gateway().await;
        stand.hub.faults().inject(Fault::once(
            Route::XorbGet,
            Effect::Truncate { after_bytes: at },
        ));
        assert!(get(&stand.s3(), "k").await.unwrap() == bytes, "cut at {at}");
        stand.hub.faults().clear();
    }
    stand.restart_gateway().await;
    stand.hub.faults().inject(Fault::once(
        Route::XorbGet,
        Effect::Corrupt { at_byte: 70_000 },
    ));
    let object = impatient(&stand)
        .get_object()
        .bucket(BUCKET)
        .key("k")
        .send()
        .await;
    if let Ok(object) = object {
        // Either noticed and fetched again, or the connection is cut: wrong bytes never arrive as a whole object.
        match object.body.collect().await {
            Ok(read) => assert!(read.to_vec() == bytes),
            Err(_cut) => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_tokens_and_addresses_are_renewed() {
    let stand = Stand::start().await;
    let s3 = impatient(&stand);
    let bytes = random_bytes(1, 3 << 20);
    assert_eq!(try_put(&s3, "k", &bytes).await, Ok(()));
    stand.hub.faults().expire_tokens();
    assert_eq!(try_put(&s3, "l", b"x").await, Ok(()));
    stand.hub.faults().expire_tokens();
    stand.hub.faults().expire_urls();
    assert!(get(&s3, "k").await.unwrap() == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn older_upstreams_without_grants_and_second_versions_work() {
    let mut stand = Stand::start().await;
    stand.hub.faults().turn(|knobs| {
        knobs.offers_grants = false;
        knobs.offers_v2 = false;
    });
    stand.restart_gateway().await;
    let bytes = random_bytes(1, 70 << 20);
    put(&stand.s3(), "k", bytes.clone()).await;
    assert!(get(&stand.s3(), "k").await.unwrap() == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_are_unsorted_still_list_in_order() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    for key in ["a", "b", "c", "d/e", "d/f", "g"] {
        put(&s3, key, "x").await;
    }
    stand.hub.faults().turn(|knobs| {
        knobs.tree_page_max = 4;
        knobs.tree_unsorted = true;
    });
    let listed = s3.list_objects_v2().bucket(BUCKET).send().await.unwrap();
    let found: Vec<&str> = listed
        .contents()
        .iter()
        .filter_map(|object| object.key())
        .collect();
    assert_eq!(found, ["a", "b", "c", "d/e", "d/f", "g"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_failed_for_its_time_does_not_come_after_the_next_one() {
    let stand = Stand::start_with(&[("HUGBUCKET_HEAD_TIMEOUT", "1 s")]).await;
    let s3 = impatient(&stand);
    put(&stand.s3(), "source", "bytes").await;
    // The copy has metadata of its own to upload, which takes longer than it may; it is over long before its commit.
    stand
        .hub
        .faults()
        .inject(Fault::once(Route::Shard, Effect::Delay { millis: 3000 }));
    let copy = s3
        .copy_object()
        .copy_source(format!("{BUCKET}/source"))
        .bucket(BUCKET)
        .key("k")
        .metadata_directive(MetadataDirective::Replace)
        .metadata("a", "b");
    let late = copy.send().await.unwrap_err();
    assert_eq!(late.raw_response().unwrap().status().as_u16(), 503);
    let deletion = s3.delete_object().bucket(BUCKET).key("k");
    deletion.send().await.unwrap();

    let refused = "hugbucket_commits_total{result=\"refused\"} 1";
    let mut look = tokio::time::interval(Duration::from_millis(5));
    while !(text(format!("{}/metrics", stand.gateway.admin)).await.1).contains(refused) {
        look.tick().await;
        assert_eq!(get(&s3, "k").await, None);
    }
    assert_eq!(get(&s3, "k").await, None);
}
