use serde_json::json;

use super::*;
use crate::provider::hub::fake::{
    FakeHub, Reply, add_line, bucket_id as bucket, delete_line, token,
};
use crate::provider::undo::UndoConfig;
use crate::storage::{ContentHash, EtagMatch, ObjectKey, WriteConditions};

fn add(path: &str) -> Change {
    Change::new(vec![add_line(path)])
}

fn delete(path: &str) -> Change {
    Change::new(vec![delete_line(path)])
}

pub(super) fn all_done(count: usize) -> Reply {
    Reply::json(
        200,
        &json!({"success": true, "processed": count, "succeeded": count, "failed": []}),
    )
}

fn one_failed(count: usize, path: &str) -> Reply {
    let failed = json!([{"path": path, "error": "try again"}]);
    Reply::json(
        200,
        &json!({"success": false, "processed": count, "succeeded": count - 1, "failed": failed}),
    )
}

pub(super) fn present(path: &str) -> Reply {
    let file = json!({"type": "file", "path": path, "size": 0, "xetHash": ContentHash::EMPTY.as_str(),
        "uploadedAt": "2026-01-02T03:04:05.678Z"});
    Reply::json(200, &json!([file]))
}

pub(super) fn nothing_there() -> Reply {
    Reply::json(200, &json!([]))
}

async fn committer(replies: Vec<Reply>) -> (Committer, FakeHub) {
    let (hub, fake) = FakeHub::start(replies).await;
    (impatient(hub), fake)
}

/// A committer that sends failed lines again almost at once.
pub(super) fn impatient(hub: HubClient) -> Committer {
    impatient_with(hub, UndoConfig::default())
}

/// The same, where undo is on.
pub(super) fn impatient_with(hub: HubClient, undo: UndoConfig) -> Committer {
    let mut committer = Committer::new(
        hub,
        Metrics::new(),
        TaskTracker::new(),
        RecentWrites::default(),
        Undo::new(undo, &Metrics::new()),
    );
    let shared = Arc::get_mut(&mut committer.0).unwrap();
    shared.resend_after = vec![Duration::from_millis(1), Duration::from_millis(1)];
    committer
}

pub(super) fn batches(fake: &FakeHub) -> Vec<usize> {
    let batches = fake
        .asked()
        .into_iter()
        .filter(|asked| asked.line.ends_with("/batch"));
    batches.map(|asked| asked.body.lines().count()).collect()
}

#[tokio::test]
async fn changes_that_come_while_a_batch_is_in_flight_leave_together() {
    let (committer, fake) = committer(vec![all_done(1), all_done(3)]).await;
    let (token, bucket) = (token(), bucket());
    let commits = ["a", "b", "c", "d"].map(|path| committer.commit(&token, &bucket, add(path)));
    assert!(
        futures::future::join_all(commits)
            .await
            .iter()
            .all(Result::is_ok)
    );
    assert_eq!(batches(&fake), [1, 3]);
    assert!(
        committer.buckets().is_empty(),
        "an idle bucket is forgotten"
    );
}

#[tokio::test]
async fn a_batch_waits_for_writes_that_are_announced() {
    let (committer, fake) = committer(vec![all_done(2), all_done(1)]).await;
    committer.0.latency.note(Duration::from_secs(60));
    let (token, bucket) = (token(), bucket());
    let late = committer.announce(&bucket);
    let failing = committer.announce(&bucket);
    let (early, late) = tokio::join!(committer.commit(&token, &bucket, add("a")), async {
        tokio::task::yield_now().await;
        assert_eq!(batches(&fake), [0; 0]);
        drop(failing);
        committer
            .commit_announced(
                &token,
                &bucket,
                add("b"),
                Some(late),
                &Withdrawal::default(),
            )
            .await
    });
    assert!(early.is_ok() && late.is_ok());
    committer.commit(&token, &bucket, add("c")).await.unwrap();
    assert_eq!(batches(&fake), [2, 1]);
    assert!(committer.buckets().is_empty());
}

#[tokio::test]
async fn an_announced_write_that_never_comes_leaves_nothing() {
    let (committer, fake) = committer(Vec::new()).await;
    let (one, other) = (committer.announce(&bucket()), committer.announce(&bucket()));
    drop(one);
    assert_eq!(committer.buckets().len(), 1, "another one is still to come");
    drop(other);
    assert!(committer.buckets().is_empty());
    assert_eq!(batches(&fake), [0; 0]);
}

#[tokio::test]
async fn a_withdrawn_change_never_leaves_unless_it_is_in_line_already() {
    let (committer, fake) = committer(vec![all_done(1), all_done(1)]).await;
    let (token, bucket) = (token(), bucket());
    let given_up = Withdrawal::default();
    given_up.withdraw();
    let late = committer.commit_unless(&token, &bucket, add("a"), &given_up);
    assert!(matches!(late.await, Err(StorageError::Unavailable { .. })));
    assert!(committer.buckets().is_empty() && batches(&fake).is_empty());

    let in_line = Withdrawal::default();
    let earlier = committer.commit_unless(&token, &bucket, add("a"), &in_line);
    let later = async {
        in_line.withdraw();
        committer.commit(&token, &bucket, add("a")).await
    };
    let (earlier, later) = tokio::join!(earlier, later);
    assert!(earlier.is_ok() && later.is_ok());
    assert_eq!(batches(&fake), [1, 1], "one after the other");
}

#[tokio::test]
async fn a_caller_that_leaves_takes_no_change_back_and_leaves_nothing() {
    let (committer, fake) = committer(vec![all_done(1), all_done(1)]).await;
    let (token, bucket) = (token(), bucket());
    let mut gone = Box::pin(committer.commit(&token, &bucket, add("a")));
    assert!(futures::poll!(&mut gone).is_pending());
    while batches(&fake).is_empty() || !committer.buckets()[&bucket].queue().is_idle() {
        tokio::task::yield_now().await;
    }
    drop(gone);
    assert!(committer.buckets().is_empty());
    committer.commit(&token, &bucket, add("b")).await.unwrap();
    assert_eq!(batches(&fake), [1, 1]);
}

#[tokio::test]
async fn a_failed_line_is_sent_again_alone_and_the_others_are_answered() {
    let replies = vec![
        all_done(1),
        one_failed(2, "b"),
        nothing_there(),
        all_done(1),
    ];
    let (committer, fake) = committer(replies).await;
    let (token, bucket) = (token(), bucket());
    let commits = ["a", "b", "c"].map(|path| committer.commit(&token, &bucket, add(path)));
    assert!(
        futures::future::join_all(commits)
            .await
            .iter()
            .all(Result::is_ok)
    );
    assert_eq!(batches(&fake), [1, 2, 1]);
}

#[tokio::test]
async fn a_line_that_keeps_failing_fails_only_its_own_write() {
    let replies = vec![
        one_failed(1, "a"),
        nothing_there(),
        one_failed(1, "a"),
        nothing_there(),
        one_failed(1, "a"),
        nothing_there(),
    ];
    let (committer, fake) = committer(replies).await;
    let error = committer
        .commit(&token(), &bucket(), add("a"))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, StorageError::Unavailable { reason, .. } if reason.contains("try again")),
        "{error}"
    );
    assert_eq!(batches(&fake), [1, 1, 1]);
}

#[tokio::test]
async fn deleting_what_is_not_there_succeeds() {
    let (committer, fake) = committer(vec![one_failed(1, "a"), nothing_there()]).await;
    committer
        .commit(&token(), &bucket(), delete("a"))
        .await
        .unwrap();
    assert_eq!(batches(&fake), [1]);
}

#[tokio::test]
async fn a_lost_answer_is_settled_by_looking_before_sending_again() {
    let torn = || Reply::json(200, &json!({"success": true}));
    let (committer, fake) = committer(vec![torn(), present("a")]).await;
    committer
        .commit(&token(), &bucket(), add("a"))
        .await
        .unwrap();
    assert_eq!(
        batches(&fake),
        [1],
        "it had taken effect, so it was not sent again"
    );
}

#[tokio::test]
async fn a_refused_batch_is_split_until_the_culprit_is_alone() {
    let refused = || Reply::json(400, &json!({"error": "bad path"}));
    // a alone; b, c, d refused; then b alone; c, d refused; then c, then d refused.
    let replies = vec![
        all_done(1),
        refused(),
        all_done(1),
        refused(),
        all_done(1),
        refused(),
    ];
    let (committer, fake) = committer(replies).await;
    let (token, bucket) = (token(), bucket());
    let commits = ["a", "b", "c", "d"].map(|path| committer.commit(&token, &bucket, add(path)));
    let verdicts = futures::future::join_all(commits).await;
    assert_eq!(
        verdicts.iter().map(Result::is_ok).collect::<Vec<_>>(),
        [true, true, true, false]
    );
    assert_eq!(batches(&fake), [1, 3, 1, 2, 1, 1]);
}

#[tokio::test]
async fn changes_of_one_path_take_effect_in_their_order() {
    let (committer, fake) = committer(vec![all_done(1), all_done(1), all_done(1)]).await;
    let (token, bucket) = (token(), bucket());
    let changes = [add("a"), delete("a"), add("a")];
    let commits = changes.map(|change| committer.commit(&token, &bucket, change));
    assert!(
        futures::future::join_all(commits)
            .await
            .iter()
            .all(Result::is_ok)
    );
    let bodies: Vec<String> = fake.asked().into_iter().map(|asked| asked.body).collect();
    assert_eq!(bodies.len(), 3);
    assert!(bodies[1].contains("deleteFile"), "{bodies:?}");
}

#[tokio::test]
async fn a_barrier_waits_for_commits_and_keeps_new_ones_out() {
    let (committer, fake) = committer(vec![all_done(1), all_done(1)]).await;
    let (token, bucket) = (token(), bucket());
    committer.commit(&token, &bucket, add("a")).await.unwrap();
    let barrier = committer.barrier(&bucket).await;
    let later = committer.commit(&token, &bucket, add("b"));
    futures::pin_mut!(later);
    assert!(futures::poll!(&mut later).is_pending());
    assert_eq!(batches(&fake), [1]);
    drop(barrier);
    later.await.unwrap();
    assert_eq!(batches(&fake), [1, 1]);
    drop(committer.barrier(&bucket).await);
    assert!(committer.buckets().is_empty());
}

// === companions ===

/// A file as `present` tells of it.
fn as_found(path: &str) -> FileRecord {
    FileRecord {
        path: path.into(),
        size: 0,
        hash: ContentHash::EMPTY,
        mtime: None,
        uploaded_at: time::macros::datetime!(2026-01-02 03:04:05.678 UTC),
        content_type: None,
    }
}

/// Puts `.side` beside `obj`, where nothing was beside it.
fn beside_obj() -> Change {
    let found = Beside {
        object: as_found("obj"),
        companion: None,
    };
    let line = line(".side", content('7'));
    Change::of_companion(&ObjectKey::new("obj").unwrap(), found, line)
}

#[tokio::test]
async fn a_companion_leaves_alone_while_its_object_is_what_was_found() {
    let (committer, fake) = committer(vec![present("obj"), all_done(1)]).await;
    let committed = committer.commit(&token(), &bucket(), beside_obj()).await;
    committed.unwrap();
    assert_eq!(batches(&fake), [1]);
    assert!(fake.asked()[0].body.contains("obj"), "it is looked up");
    assert!(fake.asked()[1].body.contains(".side"));
    assert!(!fake.asked()[1].body.contains("obj"), "it is not written");
}

#[tokio::test]
async fn a_companion_never_leaves_once_something_has_changed() {
    let other = json!([{"type": "file", "path": "obj", "size": 0, "xetHash": content('1').as_str(),
        "uploadedAt": "2026-01-02T03:04:05.678Z"}]);
    let both = json!([
        {"type": "file", "path": "obj", "size": 0, "xetHash": ContentHash::EMPTY.as_str(),
            "uploadedAt": "2026-01-02T03:04:05.678Z"},
        {"type": "file", "path": ".side", "size": 0, "xetHash": content('2').as_str(),
            "uploadedAt": "2026-01-02T03:04:05.678Z"},
    ]);
    for reply in [
        Reply::json(200, &other),
        Reply::json(200, &both),
        nothing_there(),
    ] {
        let (committer, fake) = committer(vec![reply]).await;
        let refused = committer.commit(&token(), &bucket(), beside_obj()).await;
        assert!(
            matches!(refused, Err(StorageError::ConditionalRequestConflict)),
            "{refused:?}"
        );
        assert_eq!(batches(&fake), Vec::<usize>::new());
    }
}

#[tokio::test]
async fn a_companion_takes_its_turn_among_the_writes_of_its_object() {
    // A write of another object is under way; that of `obj` comes next, and `.side` only behind it.
    let replies = vec![all_done(1), all_done(1), present("obj"), all_done(1)];
    let (committer, fake) = committer(replies).await;
    let (token, bucket) = (token(), bucket());
    let changes = [add("other"), add("obj"), beside_obj()];
    let commits = changes.map(|change| committer.commit(&token, &bucket, change));
    assert!(
        futures::future::join_all(commits)
            .await
            .iter()
            .all(Result::is_ok)
    );
    assert_eq!(batches(&fake), [1, 1, 1]);
    assert!(fake.asked()[3].body.contains(".side"));
}

#[tokio::test]
async fn a_companion_whose_answer_was_lost_is_sent_again_only_while_nothing_has_changed() {
    let torn = || Reply::json(200, &json!({"success": true}));
    let replies = vec![present("obj"), torn(), present("obj"), all_done(1)];
    let (settled, fake) = committer(replies).await;
    let committed = settled.commit(&token(), &bucket(), beside_obj()).await;
    committed.unwrap();
    assert_eq!(batches(&fake), [1, 1]);
    let replies = vec![present("obj"), torn(), nothing_there()];
    let (settled, fake) = committer(replies).await;
    let unknown = settled.commit(&token(), &bucket(), beside_obj()).await;
    assert!(
        matches!(&unknown, Err(StorageError::Unavailable { reason, .. }) if reason.contains("lost")),
        "{unknown:?}"
    );
    assert_eq!(batches(&fake), [1]);
}

// === conditions ===

/// Distinct content for each digit.
pub(super) fn content(digit: char) -> ContentHash {
    digit.to_string().repeat(64).parse().unwrap()
}

fn line(path: &str, hash: ContentHash) -> BatchLine {
    BatchLine::AddFile {
        path: path.into(),
        hash,
        mtime: None,
        content_type: None,
    }
}

pub(super) fn if_absent() -> WriteConditions {
    WriteConditions {
        if_none_match: Some(EtagMatch::Any),
        ..WriteConditions::default()
    }
}

pub(super) fn if_match(hash: ContentHash) -> WriteConditions {
    WriteConditions {
        if_match: Some(EtagMatch::parse(&hash.etag())),
        ..WriteConditions::default()
    }
}

fn write(path: &str, hash: ContentHash, conditions: WriteConditions) -> Change {
    let key = ObjectKey::new(path).unwrap();
    Change::of_object(&key, conditions, vec![line(path, hash)])
}

fn holds(path: &str, hash: ContentHash) -> Reply {
    let file = json!({"type": "file", "path": path, "size": 1, "xetHash": hash.as_str(),
        "uploadedAt": "2026-01-02T03:04:05.678Z"});
    Reply::json(200, &json!([file]))
}

fn torn() -> Reply {
    Reply::json(200, &json!({"success": true}))
}

fn unknown_bucket() -> Reply {
    Reply::empty(404).header("x-error-code", "RepoNotFound")
}

/// The calls in their order: `?` for a look-up, else the first digit of the content of each line; `-` deletes.
fn calls(fake: &FakeHub) -> Vec<String> {
    let digit = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["xetHash"]
            .as_str()
            .map_or('-', |hash| hash.chars().next().unwrap())
    };
    let call = |asked: &crate::provider::hub::fake::Asked| match asked.line.ends_with("/batch") {
        true => asked.body.lines().map(digit).collect(),
        false => "?".to_owned(),
    };
    fake.asked().iter().map(call).collect()
}

fn outcome(verdict: Result<(), StorageError>) -> &'static str {
    verdict.map_or_else(|error| error.outcome(), |()| "ok")
}

/// Commits all at once, in this order, and returns what becomes of each.
pub(super) async fn race(committer: &Committer, changes: Vec<Change>) -> Vec<&'static str> {
    let (token, bucket) = (token(), bucket());
    let commits = changes
        .into_iter()
        .map(|change| committer.commit(&token, &bucket, change));
    let verdicts = futures::future::join_all(commits).await;
    verdicts.into_iter().map(outcome).collect()
}

#[tokio::test]
async fn of_many_that_create_one_key_the_first_wins_and_the_others_never_leave() {
    let replies = vec![nothing_there(), all_done(1), holds("k", content('1'))];
    let (committer, fake) = committer(replies).await;
    let writers = (0..64).map(|n| {
        let digit = char::from_digit(n % 15 + 1, 16).unwrap();
        write("k", content(digit), if_absent())
    });
    let outcomes = race(&committer, writers.collect()).await;
    assert_eq!(outcomes[0], "ok");
    assert_eq!(outcomes[1..], ["precondition_failed"; 63]);
    assert_eq!(calls(&fake), ["?", "1", "?"], "two look-ups answer all");
    assert!(committer.buckets().is_empty());
}

#[tokio::test]
async fn conditions_are_judged_in_the_order_in_which_the_writes_came() {
    // An unrelated write keeps the others together in one group.
    let replies = vec![
        all_done(1),
        holds("k", content('a')),
        all_done(1),
        holds("k", content('2')),
        all_done(1),
        all_done(1),
    ];
    let (committer, fake) = committer(replies).await;
    let changes = vec![
        add("x"),
        write("k", content('1'), if_absent()),
        write("k", content('2'), if_match(content('a'))),
        write("k", content('3'), if_match(content('a'))),
        write("k", content('4'), if_match(content('2'))),
        write("k", content('5'), WriteConditions::default()),
    ];
    let outcomes = race(&committer, changes).await;
    let (lost, won) = ("precondition_failed", "ok");
    assert_eq!(outcomes, [won, lost, won, lost, won, won]);
    assert_eq!(calls(&fake), ["0", "?", "2", "?", "4", "5"]);
}

#[tokio::test]
async fn a_group_without_conditions_looks_nothing_up() {
    let (committer, fake) = committer(vec![all_done(1), all_done(2)]).await;
    let plain = |path| write(path, content('1'), WriteConditions::default());
    let outcomes = race(&committer, vec![plain("a"), plain("b"), plain("c")]).await;
    assert_eq!(outcomes, ["ok"; 3]);
    assert_eq!(calls(&fake), ["1", "11"]);
}

#[tokio::test]
async fn a_lookup_that_fails_fails_the_conditional_writes_alone() {
    let (committer, fake) = committer(vec![all_done(1), unknown_bucket(), all_done(1)]).await;
    let changes = vec![
        add("x"),
        write("a", content('1'), if_absent()),
        write("b", content('2'), WriteConditions::default()),
    ];
    let outcomes = race(&committer, changes).await;
    assert_eq!(outcomes, ["ok", "no_such_bucket", "ok"]);
    assert_eq!(calls(&fake), ["0", "?", "2"]);
}

#[tokio::test]
async fn a_later_write_waits_for_the_verdict_of_a_conditional_one_resends_included() {
    let replies = vec![
        nothing_there(),
        one_failed(1, "k"),
        nothing_there(),
        all_done(1),
        holds("k", content('1')),
        all_done(1),
    ];
    let (committer, fake) = committer(replies).await;
    let changes = vec![
        write("k", content('1'), if_absent()),
        write("k", content('2'), if_absent()),
        write("k", content('3'), WriteConditions::default()),
    ];
    let outcomes = race(&committer, changes).await;
    assert_eq!(outcomes, ["ok", "precondition_failed", "ok"]);
    assert_eq!(calls(&fake), ["?", "1", "?", "1", "?", "3"]);
}

#[tokio::test]
async fn a_failed_line_is_not_sent_again_once_its_conditions_fail() {
    // Another process came in between.
    let replies = vec![
        nothing_there(),
        one_failed(1, "k"),
        holds("k", content('9')),
    ];
    let (committer, fake) = committer(replies).await;
    let outcomes = race(&committer, vec![write("k", content('1'), if_absent())]).await;
    assert_eq!(outcomes, ["precondition_failed"]);
    assert_eq!(calls(&fake), ["?", "1", "?"]);
}

#[tokio::test]
async fn a_lost_answer_to_a_conditional_write_is_settled_truthfully() {
    // It took effect.
    let (first, fake) = committer(vec![nothing_there(), torn(), holds("k", content('1'))]).await;
    let change = || vec![write("k", content('1'), if_absent())];
    assert_eq!(race(&first, change()).await, ["ok"]);
    assert_eq!(calls(&fake), ["?", "1", "?"]);

    // It did not, and its conditions still hold.
    let replies = vec![nothing_there(), torn(), nothing_there(), all_done(1)];
    let (second, fake) = committer(replies).await;
    assert_eq!(race(&second, change()).await, ["ok"]);
    assert_eq!(calls(&fake), ["?", "1", "?", "1"]);

    // Something else is there: it may have been replaced since, so a refusal could be a lie.
    let (third, fake) = committer(vec![nothing_there(), torn(), holds("k", content('9'))]).await;
    assert_eq!(race(&third, change()).await, ["unavailable"]);
    assert_eq!(calls(&fake), ["?", "1", "?"], "and it replaces nothing");
}

#[tokio::test]
async fn a_conditional_write_is_never_sent_again_blindly() {
    let replies = vec![
        nothing_there(),
        torn(),
        unknown_bucket(),
        unknown_bucket(),
        holds("k", content('1')),
    ];
    let (committer, fake) = committer(replies).await;
    let outcomes = race(&committer, vec![write("k", content('1'), if_absent())]).await;
    assert_eq!(outcomes, ["ok"]);
    assert_eq!(calls(&fake), ["?", "1", "?", "?", "?"]);
}

#[tokio::test]
async fn a_refused_batch_of_conditional_writes_is_split_like_any_other() {
    let refused = || Reply::json(400, &json!({"error": "bad path"}));
    let replies = vec![
        all_done(1),
        nothing_there(),
        refused(),
        all_done(1),
        refused(),
    ];
    let (committer, fake) = committer(replies).await;
    let changes = vec![
        add("x"),
        write("a", content('1'), if_absent()),
        write("b", content('2'), if_absent()),
    ];
    assert_eq!(
        race(&committer, changes).await,
        ["ok", "ok", "invalid_request"]
    );
    assert_eq!(
        calls(&fake),
        ["0", "?", "12", "1", "2"],
        "one look-up for the group"
    );
}

#[tokio::test]
async fn conditional_deletions_remove_only_what_they_name() {
    let both = json!([
        {"type": "file", "path": "a", "size": 1, "xetHash": content('a').as_str()},
        {"type": "file", "path": "b", "size": 1, "xetHash": content('9').as_str()}
    ]);
    let replies = vec![all_done(1), Reply::json(200, &both), all_done(1)];
    let (committer, fake) = committer(replies).await;
    let removal = |path: &str| {
        let key = ObjectKey::new(path).unwrap();
        let lines = vec![BatchLine::DeleteFile { path: path.into() }];
        Change::of_object(&key, if_match(content('a')), lines)
    };
    let outcomes = race(
        &committer,
        vec![add("x"), removal("a"), removal("b"), removal("c")],
    )
    .await;
    assert_eq!(outcomes, ["ok", "ok", "precondition_failed", "no_such_key"]);
    assert_eq!(calls(&fake), ["0", "?", "-"]);
}

#[tokio::test]
async fn a_foreseen_failure_costs_one_lookup_and_binds_nobody() {
    let replies = vec![holds("k", content('1')), nothing_there()];
    let (committer, fake) = committer(replies).await;
    let (token, bucket, key) = (token(), bucket(), ObjectKey::new("k").unwrap());
    let foresee =
        async |conditions| outcome(committer.foresee(&token, &bucket, &key, &conditions).await);
    assert_eq!(foresee(if_absent()).await, "precondition_failed");
    assert_eq!(foresee(if_absent()).await, "ok");
    assert_eq!(foresee(WriteConditions::default()).await, "ok");
    assert_eq!(calls(&fake), ["?", "?"]);
}

// === companions ===

fn with_sidecar(object: ContentHash, sidecar: ContentHash) -> Change {
    let key = ObjectKey::new("k").unwrap();
    let lines = vec![line("k", object), line("side", sidecar)];
    Change::of_object(&key, WriteConditions::default(), lines)
}

/// The object's line fails until the last attempt, while its companion's takes effect.
fn object_fails(lines: usize) -> Vec<Reply> {
    vec![
        one_failed(lines, "k"),
        nothing_there(),
        one_failed(1, "k"),
        nothing_there(),
        one_failed(1, "k"),
        nothing_there(),
    ]
}

#[tokio::test]
async fn a_sidecar_is_put_back_when_its_object_fails_for_good() {
    let mut replies = vec![all_done(2)];
    replies.extend(object_fails(2));
    replies.push(all_done(1));
    let (committer, fake) = committer(replies).await;
    assert_eq!(
        race(&committer, vec![with_sidecar(content('1'), content('2'))]).await,
        ["ok"]
    );
    let outcomes = race(&committer, vec![with_sidecar(content('3'), content('4'))]).await;
    assert_eq!(outcomes, ["unavailable"]);
    assert_eq!(calls(&fake), ["12", "34", "?", "3", "?", "3", "?", "2"]);
}

#[tokio::test]
async fn a_sidecar_of_which_nothing_was_known_is_taken_away_again() {
    let mut replies = object_fails(2);
    replies.push(all_done(1));
    let (committer, fake) = committer(replies).await;
    let outcomes = race(&committer, vec![with_sidecar(content('3'), content('4'))]).await;
    assert_eq!(outcomes, ["unavailable"]);
    assert_eq!(calls(&fake), ["34", "?", "3", "?", "3", "?", "-"]);
    assert!(fake.asked().last().unwrap().body.contains("side"));
}

#[tokio::test]
async fn a_sidecar_is_put_back_when_the_deletion_of_its_object_fails() {
    let still = || holds("k", content('1'));
    let replies = vec![
        all_done(2),
        one_failed(2, "k"),
        still(),
        one_failed(1, "k"),
        still(),
        one_failed(1, "k"),
        still(),
        all_done(1),
    ];
    let (committer, fake) = committer(replies).await;
    assert_eq!(
        race(&committer, vec![with_sidecar(content('1'), content('2'))]).await,
        ["ok"]
    );
    let lines = ["k", "side"].map(|path| BatchLine::DeleteFile { path: path.into() });
    let key = ObjectKey::new("k").unwrap();
    let removal = Change::of_object(&key, WriteConditions::default(), lines.into());
    assert_eq!(race(&committer, vec![removal]).await, ["unavailable"]);
    assert_eq!(calls(&fake).last().unwrap(), "2");
}

#[tokio::test]
async fn a_failed_sidecar_leaves_its_object_alone() {
    let replies = vec![
        one_failed(2, "side"),
        nothing_there(),
        one_failed(1, "side"),
        nothing_there(),
        one_failed(1, "side"),
        nothing_there(),
    ];
    let (committer, fake) = committer(replies).await;
    let outcomes = race(&committer, vec![with_sidecar(content('3'), content('4'))]).await;
    assert_eq!(outcomes, ["unavailable"]);
    assert_eq!(calls(&fake), ["34", "?", "4", "?", "4", "?"]);
}

#[tokio::test]
async fn what_a_conditional_write_found_beside_its_object_is_put_back_exactly() {
    let found = |sidecar: Option<char>| {
        let file = |path: &str, digit| json!({"type": "file", "path": path, "size": 1, "xetHash": content(digit).as_str()});
        let files = sidecar
            .map(|digit| file("side", digit))
            .into_iter()
            .chain([file("k", '1')]);
        Reply::json(200, &files.collect::<Vec<_>>().into())
    };
    // What this process wrote earlier (2) was replaced since by another one (9), or removed.
    for (sidecar, put_back) in [(Some('9'), "9"), (None, "-")] {
        let mut replies = vec![all_done(2), found(sidecar)];
        for sent in [2, 1, 1] {
            replies.extend([one_failed(sent, "k"), holds("k", content('1'))]);
        }
        replies.push(all_done(1));
        let (committer, fake) = committer(replies).await;
        assert_eq!(
            race(&committer, vec![with_sidecar(content('1'), content('2'))]).await,
            ["ok"]
        );
        let key = ObjectKey::new("k").unwrap();
        let lines = vec![line("k", content('3')), line("side", content('4'))];
        let change = Change::of_object(&key, if_match(content('1')), lines);
        assert_eq!(race(&committer, vec![change]).await, ["unavailable"]);
        assert_eq!(
            calls(&fake),
            ["12", "?", "34", "?", "3", "?", "3", "?", put_back]
        );
    }
}
