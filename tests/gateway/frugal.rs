//! How many upstream calls a request costs: the Hub's budget of calls is the scarce resource.

use std::collections::BTreeMap;

use hugbucket::devhub::{DevHub, Route};

use crate::stand::{Stand, get, put, random_bytes};

fn calls(hub: &DevHub) -> BTreeMap<&'static str, u64> {
    hub.calls()
        .snapshot()
        .into_iter()
        .map(|(route, calls)| (route, calls.calls))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_write_is_three_calls_once_the_token_is_there() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    put(&s3, "first", "1").await;
    stand.hub.calls().reset();
    put(&s3, "second", "2").await;
    assert_eq!(
        calls(&stand.hub),
        [("batch", 1), ("shard", 1), ("xorb-post", 1)].into()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conditional_write_costs_two_lookups_more_and_a_hopeless_one_nothing_else() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    put(&s3, "first", "1").await;
    let create = async || {
        stand.hub.calls().reset();
        let request = s3.put_object().bucket(crate::stand::BUCKET).key("k");
        let body = aws_sdk_s3::primitives::ByteStream::from_static(b"2");
        let is_created = request.if_none_match("*").body(body).send().await.is_ok();
        (is_created, calls(&stand.hub))
    };
    let won = [
        ("batch", 1),
        ("paths-info", 2),
        ("shard", 1),
        ("xorb-post", 1),
    ];
    assert_eq!(create().await, (true, won.into()));
    assert_eq!(create().await, (false, [("paths-info", 1)].into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_small_read_is_three_calls_and_a_warm_one_none() {
    let mut stand = Stand::start().await;
    put(&stand.s3(), "k", random_bytes(1, 1024)).await;
    stand.restart_gateway().await;
    let s3 = stand.s3();
    stand.hub.calls().reset();
    get(&s3, "k").await.unwrap();
    let cold = [
        ("paths-info", 1),
        ("read-token", 1),
        ("reconstruction", 1),
        ("xorb-get", 1),
    ];
    assert_eq!(calls(&stand.hub), cold.into());
    stand.hub.calls().reset();
    get(&s3, "k").await.unwrap();
    assert_eq!(calls(&stand.hub), BTreeMap::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_range_fetches_its_chunks_and_not_the_xorb() {
    let mut stand = Stand::start().await;
    let bytes = random_bytes(1, 64 << 20);
    put(&stand.s3(), "k", bytes.clone()).await;
    for first in [4321_usize, 33 << 20, (64 << 20) - 1024] {
        stand.restart_gateway().await;
        let s3 = stand.s3();
        stand.hub.calls().reset();
        let range = format!("bytes={first}-{}", first + 1023);
        let part = s3
            .get_object()
            .bucket(crate::stand::BUCKET)
            .key("k")
            .range(range)
            .send()
            .await
            .unwrap();
        assert_eq!(
            part.body.collect().await.unwrap().to_vec(),
            bytes[first..first + 1024]
        );
        let served: u64 = stand
            .hub
            .calls()
            .snapshot()
            .values()
            .map(|calls| calls.served_bytes)
            .sum();
        assert!(served < 256 << 10, "{served} bytes for 1 KiB");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_one_cold_object_share_its_bytes() {
    let mut stand = Stand::start().await;
    let bytes = random_bytes(1, 200_000);
    put(&stand.s3(), "k", bytes.clone()).await;
    stand.restart_gateway().await;
    stand.hub.calls().reset();
    let readers = (0..64).map(|_| {
        let s3 = stand.s3();
        async move { get(&s3, "k").await.unwrap() }
    });
    for read in futures::future::join_all(readers).await {
        assert!(read == bytes);
    }
    let served = stand.hub.calls().of(Route::XorbGet).served_bytes;
    assert!(served < 2 * bytes.len() as u64, "{served} bytes served");
    assert_eq!(stand.hub.calls().count(Route::PathsInfo), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_fetches_each_page_of_the_hub_once() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    for n in 0..60 {
        put(&s3, &format!("k{n:03}"), "x").await;
    }
    stand.hub.faults().turn(|knobs| knobs.tree_page_max = 20);
    stand.hub.calls().reset();
    let mut pages = s3
        .list_objects_v2()
        .bucket(crate::stand::BUCKET)
        .max_keys(20)
        .into_paginator()
        .send();
    let mut count = 0;
    while let Some(page) = pages.next().await {
        count += page.unwrap().contents().len();
    }
    assert_eq!(count, 60);
    assert!(
        stand.hub.calls().count(Route::Tree) <= 4,
        "{}",
        stand.hub.calls().count(Route::Tree)
    );
}
