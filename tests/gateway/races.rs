//! Writes that meet each other, or a failing Hub: who wins, and what the losers leave behind.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::presigning::PresigningConfig;
use futures::future::join_all;
use hugbucket::devhub::{Effect, Fault, Route};

use crate::conditions::{begin, failed, refused, text, verdict, write};
use crate::stand::{BUCKET, Stand, put};

const A_MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn exactly_one_of_64_creators_wins_in_each_of_100_rounds() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    // 6,400 requests: the SDK, which is not optimised in tests, would spend more on each than the gateway. A link is signed
    // once for all writers of a round.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for round in 0..100 {
        let key = format!("round/{round}");
        let link = s3.put_object().bucket(BUCKET).key(&key);
        let link = link.presigned(PresigningConfig::expires_in(A_MINUTE).unwrap());
        let link = link.await.unwrap().uri().to_owned();
        let writers = (0..64).map(|writer| {
            let request = client.put(&link).header("if-none-match", "*");
            let request = request.body(format!("{round} {writer}"));
            tokio::spawn(async move { request.send().await.unwrap().status().as_u16() })
        });
        let writers: Vec<_> = writers.collect();
        let early = text(&s3, &key).await;
        let statuses: Vec<u16> = join_all(writers)
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        let won: Vec<usize> = (0..64).filter(|n| statuses[*n] == 200).collect();
        assert_eq!(won.len(), 1, "{statuses:?}");
        let lost = statuses.iter().filter(|status| **status == 412);
        assert_eq!(lost.count(), 63, "{statuses:?}");
        let winner = format!("{round} {}", won[0]);
        assert_eq!(text(&s3, &key).await.as_deref(), Some(winner.as_str()));
        assert!(
            early.is_none_or(|seen| seen == winner),
            "a loser's bytes were seen"
        );
    }
    assert!(
        stand.hub.calls().count(Route::Batch) <= 101,
        "no loser's line ever leaves: {}",
        stand.hub.calls().count(Route::Batch)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_counter_of_16_tasks_with_compare_and_swap_ends_exact() {
    const TASKS: usize = 16;
    const STEPS: usize = 3;
    let stand = Stand::start().await;
    put(&stand.s3(), "counter", "0").await;
    let tasks = (0..TASKS).map(|_| {
        let s3 = stand.s3();
        tokio::spawn(async move {
            let mut steps = 0;
            while steps < STEPS {
                let read = s3
                    .get_object()
                    .bucket(BUCKET)
                    .key("counter")
                    .send()
                    .await
                    .unwrap();
                let tag = read.e_tag().unwrap().to_owned();
                let count = read.body.collect().await.unwrap().to_vec();
                let count: usize = String::from_utf8(count).unwrap().parse().unwrap();
                let next = write(&s3, "counter", &(count + 1).to_string()).if_match(tag);
                match verdict(next.send().await) {
                    Ok(()) => steps += 1,
                    lost => assert_eq!(lost, failed()),
                }
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    let total = (TASKS * STEPS).to_string();
    assert_eq!(text(&stand.s3(), "counter").await, Some(total));
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_one_of_many_completions_creates_the_object() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    let uploads = join_all((0..8).map(|n| {
        let s3 = s3.clone();
        async move { begin(&s3, "k", &n.to_string()).await }
    }));
    let completions = uploads.await.into_iter().map(|(upload, parts)| {
        let request = s3.complete_multipart_upload().bucket(BUCKET).key("k");
        let request = request
            .upload_id(upload)
            .multipart_upload(parts)
            .if_none_match("*");
        async move { verdict(request.send().await) }
    });
    let verdicts = join_all(completions).await;
    let won: Vec<usize> = (0..8).filter(|n| verdicts[*n].is_ok()).collect();
    assert_eq!(won.len(), 1, "{verdicts:?}");
    assert_eq!(text(&s3, "k").await, Some(won[0].to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_whose_answer_was_lost_still_has_one_winner() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    stand
        .hub
        .faults()
        .inject(Fault::once(Route::Batch, Effect::ResetAfter));
    let writers = (0..8).map(|n| {
        let request = write(&s3, "k", &n.to_string()).if_none_match("*");
        async move { verdict(request.send().await) }
    });
    let verdicts = join_all(writers).await;
    let won: Vec<usize> = (0..8).filter(|n| verdicts[*n].is_ok()).collect();
    assert_eq!(won.len(), 1, "{verdicts:?}");
    assert_eq!(text(&s3, "k").await, Some(won[0].to_string()));
    assert!(stand.hub.faults().remaining().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_survives_a_write_of_which_only_the_sidecar_landed() {
    let mut stand = Stand::start().await;
    let described = |s3: &Client, bytes, value| write(s3, "obj", bytes).metadata("state", value);
    described(&stand.s3(), "old", "kept").send().await.unwrap();
    // A fresh process knows of the sidecar only what it reads.
    stand.restart_gateway().await;
    let s3 = stand.s3();
    let state = async || {
        let head = s3
            .head_object()
            .bucket(BUCKET)
            .key("obj")
            .send()
            .await
            .unwrap();
        head.metadata()
            .and_then(|metadata| metadata.get("state").cloned())
    };
    assert_eq!(state().await.as_deref(), Some("kept"));
    let effect = Effect::FailEntries {
        path: "obj".into(),
        error: "busy".into(),
    };
    stand
        .hub
        .faults()
        .inject(Fault::times(Route::Batch, 3, effect));
    let retries_nothing = s3.config().to_builder();
    let retries_nothing = retries_nothing
        .retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled())
        .build();
    let impatient = Client::from_conf(retries_nothing);
    let answer = verdict(described(&impatient, "new", "lost").send().await);
    assert_eq!(answer, refused(503, "ServiceUnavailable"));
    assert_eq!(text(&s3, "obj").await.as_deref(), Some("old"));
    assert_eq!(state().await.as_deref(), Some("kept"));
}
