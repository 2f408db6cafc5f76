use std::time::Duration;

use futures::future::join_all;
use tokio::task::{JoinHandle, yield_now};

use super::*;
use crate::layers::testing::{
    Script, bucket, copy, delete, delete_all, get, head, key, put, request, tenant,
};
use crate::storage::{
    BucketId, CompleteUpload, ContentHash, CreateBucket, DeleteBucket, EtagMatch, NamedPart,
    Notice, ObjectClaims, ObjectVersion, PartNumber, UploadId, WriteConditions,
};

const LIMITS: FileInfoLimits = FileInfoLimits {
    max_entries: 8,
    ttl: Duration::from_secs(30),
    needs_feed: false,
};

type Cached = FileInfoCache<Script>;

fn cached(script: &Script) -> Cached {
    FileInfoCacheLayer::new(LIMITS, &Metrics::new()).layer(script.clone())
}

async fn call(service: &Cached, operation: impl Into<AnyOperation>) -> Answer {
    let request = request(tenant("org"), operation);
    service.clone().oneshot(request).await
}

/// Starts a call and lets it run as far as it comes.
async fn start(service: &Cached, operation: impl Into<AnyOperation>) -> JoinHandle<Answer> {
    let request = request(tenant("org"), operation);
    let running = tokio::spawn(service.clone().oneshot(request));
    for _ in 0..10 {
        yield_now().await;
    }
    running
}

/// Returns the version of the object as HEAD tells it; see [`Script`].
async fn version(service: &Cached, name: &str) -> u64 {
    version_of(call(service, head(name)).await)
}

fn version_of(answer: Answer) -> u64 {
    match answer.unwrap() {
        AnyOutput::HeadObject(found) => found.info.size,
        other => panic!("{}", other.name()),
    }
}

#[tokio::test]
async fn sixty_four_concurrent_heads_make_one_inner_call() {
    let script = Script::new();
    let service = cached(&script);
    let heads = join_all((0..64).map(|_| version(&service, "k"))).await;
    assert_eq!(heads, [1; 64]);
    assert_eq!(script.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn other_writers_are_seen_after_the_entrys_life() {
    let script = Script::new();
    let service = cached(&script);
    assert_eq!(version(&service, "k").await, 1);
    script.change_behind_the_stack();
    tokio::time::advance(Duration::from_secs(29)).await;
    assert_eq!((version(&service, "k").await, script.calls()), (1, 1));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!((version(&service, "k").await, script.calls()), (2, 2));
}

#[tokio::test]
async fn conditions_are_judged_after_the_lookup_and_spoil_nothing() {
    let script = Script::new();
    let service = cached(&script);
    let mut conditional = head("k");
    conditional.conditions.if_none_match = Some(EtagMatch::Any);
    let first = call(&service, conditional.clone()).await;
    assert!(matches!(first, Err(StorageError::NotModified { .. })));
    assert_eq!(version(&service, "k").await, 1);
    assert!(call(&service, conditional).await.is_err());
    assert_eq!(script.calls(), 1);
}

#[tokio::test]
async fn a_get_is_handed_what_is_known() {
    let script = Script::new().body("x");
    let service = cached(&script);
    call(&service, get("k")).await.unwrap();
    call(&service, get("k")).await.unwrap();
    assert_eq!(
        script.log(),
        ["HeadObject k", "GetObject k@1", "GetObject k@1"]
    );
}

#[tokio::test]
async fn an_object_that_is_gone_upstream_is_looked_up_again_once() {
    let script = Script::new().body("x");
    let service = cached(&script);
    assert_eq!(version(&service, "k").await, 1);
    script.change_behind_the_stack();
    let gone = || StorageError::NoSuchKey { key: "k".into() };
    script.fail_next([gone()]);
    call(&service, get("k")).await.unwrap();
    assert_eq!(
        script.log(),
        [
            "HeadObject k",
            "GetObject k@1",
            "HeadObject k",
            "GetObject k@2"
        ]
    );
    // A fresh lookup is not doubted.
    call(&service, put("k", "")).await.unwrap();
    let calls = script.calls();
    script.fail_next([gone()]);
    assert!(call(&service, get("k")).await.is_err());
    assert_eq!(script.calls(), calls + 1);
}

#[tokio::test]
async fn errors_are_shared_but_never_kept() {
    let script = Script::new();
    let service = cached(&script);
    script.fail_next([StorageError::NoSuchKey { key: "k".into() }]);
    let (first, second) = tokio::join!(call(&service, head("k")), call(&service, head("k")));
    assert!(first.is_err() && second.is_err());
    assert_eq!(script.calls(), 1);
    assert_eq!(version(&service, "k").await, 1);
}

#[tokio::test]
async fn a_lookup_that_began_before_a_commit_never_hides_it_afterwards() {
    let script = Script::new();
    let service = cached(&script);
    script.hold_reads();
    let early = start(&service, head("k")).await;
    // The commit overtakes the lookup, which is on its way back with version 1.
    call(&service, put("k", "x")).await.unwrap();
    let late = start(&service, head("k")).await;
    assert_eq!(script.calls(), 3, "the late lookup joined the early one");
    script.release_reads();
    assert_eq!(version_of(early.await.unwrap()), 1);
    assert_eq!(version_of(late.await.unwrap()), 2);
    assert_eq!(version(&service, "k").await, 2);
}

#[tokio::test]
async fn an_early_lookup_that_returns_last_does_not_fill_the_cache() {
    let script = Script::new();
    let service = cached(&script);
    script.hold_reads();
    let early = start(&service, head("k")).await;
    call(&service, put("k", "x")).await.unwrap();
    script.release_reads();
    assert_eq!(version_of(early.await.unwrap()), 1);
    assert_eq!(version(&service, "k").await, 2);
}

#[tokio::test]
async fn a_commit_that_lands_after_its_caller_left_is_seen() {
    let script = Script::new();
    let service = cached(&script);
    script.hold_writes();
    let write = start(&service, put("k", "x")).await;
    write.abort();
    assert!(write.await.unwrap_err().is_cancelled());
    // Nothing has landed yet, so the old version is known, and rightly so.
    assert_eq!(version(&service, "k").await, 1);
    script.release_writes();
    for _ in 0..10 {
        yield_now().await;
    }
    assert_eq!(version(&service, "k").await, 2);
}

#[tokio::test]
async fn a_hit_is_never_served_to_a_stranger() {
    let script = Script::new();
    let service = cached(&script);
    for namespace in ["org", "other"] {
        let request = request(tenant(namespace), head("k"));
        service.clone().oneshot(request).await.unwrap();
    }
    assert_eq!(script.calls(), 2);
}

#[tokio::test]
async fn every_write_evicts_what_it_changes_and_nothing_else() {
    let complete = CompleteUpload {
        bucket: bucket(),
        key: key("k"),
        upload_id: UploadId::random(),
        conditions: WriteConditions::default(),
        parts: vec![NamedPart {
            part_number: PartNumber::new(1).unwrap(),
            etag: "x".into(),
            checksums: Vec::new(),
        }],
        claims: ObjectClaims::default(),
    };
    let create = CreateBucket {
        bucket: bucket(),
        visibility: None,
    };
    let drop_bucket = DeleteBucket { bucket: bucket() };
    let writes: [(AnyOperation, bool); 7] = [
        (put("k", "x").into(), false),
        (copy("other", "k").into(), false),
        (delete("k").into(), false),
        (delete_all(&["j", "k"]).into(), false),
        (complete.into(), false),
        (create.into(), true),
        (drop_bucket.into(), true),
    ];
    for (write, is_whole_bucket) in writes {
        let script = Script::new();
        let service = cached(&script);
        version(&service, "k").await;
        version(&service, "other").await;
        let name = write.name();
        call(&service, write).await.unwrap();
        let before = script.calls();
        assert_eq!(version(&service, "k").await, 2, "{name}");
        version(&service, "other").await;
        let looked_up = if is_whole_bucket { 2 } else { 1 };
        assert_eq!(script.calls() - before, looked_up, "{name}");
    }
}

#[tokio::test]
async fn a_write_that_failed_evicts_too() {
    let script = Script::new();
    let service = cached(&script);
    version(&service, "k").await;
    script.change_behind_the_stack();
    script.fail_next([StorageError::internal("a lost answer")]);
    call(&service, put("k", "x")).await.unwrap_err();
    assert_eq!(version(&service, "k").await, 2);
}

#[tokio::test]
async fn a_life_of_zero_asks_the_provider_each_time() {
    let limits = FileInfoLimits {
        ttl: Duration::ZERO,
        ..LIMITS
    };
    let (script, metrics) = (Script::new().body("x"), Metrics::new());
    let service = FileInfoCacheLayer::new(limits, &metrics).layer(script.clone());
    version(&service, "k").await;
    version(&service, "k").await;
    call(&service, get("k")).await.unwrap();
    assert_eq!(
        script.log(),
        ["HeadObject k", "HeadObject k", "GetObject k"]
    );
    assert!(
        metrics
            .render()
            .contains("cache=\"file_info\",result=\"bypass\"} 3")
    );
}

/// A cache that is told of changes, and where they are told.
fn listening(script: &Script, needs_feed: bool) -> (Cached, Changes) {
    let (limits, changes) = (
        FileInfoLimits {
            needs_feed,
            ..LIMITS
        },
        Changes::default(),
    );
    let layer = FileInfoCacheLayer::new(limits, &Metrics::new()).listening_to(&changes);
    (layer.layer(script.clone()), changes)
}

fn here() -> BucketId {
    tenant("org").bucket(&bucket())
}

fn changed(name: &str, now: Option<ObjectVersion>) -> Notice {
    Notice::Object {
        bucket: here(),
        key: key(name),
        now,
    }
}

#[tokio::test]
async fn what_is_told_of_others_is_seen_at_once_and_nothing_else_is_forgotten() {
    let script = Script::new();
    let (service, changes) = listening(&script, false);
    for name in ["k", "other"] {
        assert_eq!(version(&service, name).await, 1);
    }
    script.change_behind_the_stack();
    changes.publish(&changed("k", None));
    assert_eq!((version(&service, "k").await, script.calls()), (2, 3));
    assert_eq!((version(&service, "other").await, script.calls()), (1, 3));
    let are = Arc::new(|key: &crate::storage::ObjectKey| key.as_str() == "other");
    changes.publish(&Notice::Objects {
        bucket: here(),
        are,
    });
    assert_eq!((version(&service, "k").await, script.calls()), (2, 3));
    assert_eq!((version(&service, "other").await, script.calls()), (2, 4));
    changes.publish(&Notice::Anything(here()));
    version(&service, "k").await;
    version(&service, "other").await;
    assert_eq!(script.calls(), 6);
}

#[tokio::test]
async fn a_lookup_that_began_before_a_change_was_told_is_not_kept() {
    let script = Script::new();
    let (service, changes) = listening(&script, false);
    for notice in [changed("k", None), Notice::Anything(here())] {
        script.hold_reads();
        let early = start(&service, head("k")).await;
        script.change_behind_the_stack();
        changes.publish(&notice);
        let late = start(&service, head("k")).await;
        script.release_reads();
        let (early, late) = (early.await.unwrap(), late.await.unwrap());
        assert_eq!(version_of(early) + 1, version_of(late));
        let calls = script.calls();
        assert_eq!(version(&service, "k").await, script_version(calls));
        changes.publish(&Notice::Anything(here()));
    }
}

/// The version after so many look-ups of the test above: each round makes two of them and one change.
fn script_version(calls: usize) -> u64 {
    calls as u64 / 2 + 1
}

#[tokio::test]
async fn what_is_known_already_is_not_forgotten() {
    let script = Script::new();
    let (service, changes) = listening(&script, false);
    let AnyOutput::HeadObject(found) = call(&service, head("k")).await.unwrap() else {
        panic!("another answer");
    };
    let known = ObjectVersion {
        hash: found.info.hash,
        uploaded_at: found.info.last_modified,
    };
    changes.publish(&changed("k", Some(known)));
    version(&service, "k").await;
    assert_eq!(script.calls(), 1);
    let other = ObjectVersion {
        hash: ContentHash::EMPTY,
        uploaded_at: known.uploaded_at + Duration::from_secs(1),
    };
    changes.publish(&changed("k", Some(other)));
    version(&service, "k").await;
    assert_eq!(script.calls(), 2);
}

#[tokio::test]
async fn where_changes_must_be_told_nothing_is_kept_without() {
    let script = Script::new();
    let (service, changes) = listening(&script, true);
    let connected = || changes.publish(&Notice::Connected(here()));
    let cut = || changes.publish(&Notice::Disconnected(here()));
    version(&service, "k").await;
    version(&service, "k").await;
    assert_eq!(script.calls(), 2, "not connected yet");
    connected();
    version(&service, "k").await;
    version(&service, "k").await;
    assert_eq!(script.calls(), 3, "connected");
    script.change_behind_the_stack();
    cut();
    assert_eq!(version(&service, "k").await, 2);
    // A look-up that was under way when the feed was cut is not there afterwards.
    connected();
    script.hold_reads();
    let early = start(&service, head("k")).await;
    cut();
    script.change_behind_the_stack();
    connected();
    script.release_reads();
    assert_eq!(version_of(early.await.unwrap()), 2);
    assert_eq!(version(&service, "k").await, 3);
}

#[tokio::test]
async fn without_that_demand_a_cut_feed_leaves_what_is_known_to_its_life() {
    let script = Script::new();
    let (service, changes) = listening(&script, false);
    version(&service, "k").await;
    changes.publish(&Notice::Disconnected(here()));
    version(&service, "k").await;
    assert_eq!(script.calls(), 1);
}
