//! Group commit: the writes of a bucket leave together in one batch call, and each gets its own verdict.
//!
//! The Hub's budget of API calls, not bandwidth, limits how many small objects can be written. So while one batch call of a
//! bucket is in flight, further changes wait, and leave together when it returns; an idle bucket sends at once.
//!
//! # Behaviour
//! - A change is answered only after the Hub's verdict on every one of its own lines.
//! - Changes that touch the same path take effect strictly in the order in which they came: a later one leaves only after
//!   the earlier one's final verdict, resends included.
//! - A batch that is refused as a whole is split until the culprit is alone.
//! - Lines that fail in an accepted batch are looked up, and sent again alone; a deletion of what is not there has
//!   succeeded. A lost answer is settled by looking the paths up before anything is sent again.
//! - A caller that leaves does not take its change back.

mod queue;
mod settle;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedRwLockWriteGuard, RwLock, oneshot};
use tokio_util::task::TaskTracker;

use crate::provider::commit::queue::{Pending, Queue};
use crate::provider::hub::{BatchError, BatchLine, HubClient};
use crate::storage::{BucketId, Secret, StorageError};
use crate::telemetry::Metrics;

/// The lines of one write: they succeed or fail as one for its caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    lines: Vec<BatchLine>,
}

impl Change {
    /// Bundles lines; every path at most once.
    pub fn new(lines: Vec<BatchLine>) -> Self {
        Self { lines }
    }

    fn paths(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(BatchLine::path)
    }
}

/// Commits changes, bucket by bucket. Clones share the queues.
#[derive(Clone)]
pub struct Committer(Arc<Shared>);

struct Shared {
    hub: HubClient,
    metrics: Metrics,
    tasks: TaskTracker,
    /// How long to wait before failed lines are sent again, attempt by attempt.
    resend_after: Vec<Duration>,
    buckets: Mutex<HashMap<BucketId, Arc<Bucket>>>,
}

/// The changes of one bucket.
#[derive(Default)]
struct Bucket {
    queue: Mutex<Queue>,
    /// Held shared by every change from its arrival to its verdict, and alone by [`Committer::barrier`].
    open: Arc<RwLock<()>>,
}

impl Bucket {
    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Committer {
    /// Creates a committer; its batch calls run in `tasks`.
    pub fn new(hub: HubClient, metrics: Metrics, tasks: TaskTracker) -> Self {
        let resend_after = vec![Duration::from_secs(2), Duration::from_secs(4)];
        Self(Arc::new(Shared {
            hub,
            metrics,
            tasks,
            resend_after,
            buckets: Mutex::default(),
        }))
    }

    /// Commits a change and returns the Hub's verdict on it.
    ///
    /// Errors: what the Hub says of this change's lines, or of the bucket.
    pub async fn commit(
        &self,
        token: &Secret,
        bucket: &BucketId,
        change: Change,
    ) -> Result<(), StorageError> {
        let entry = self.bucket(bucket);
        let _open = entry.open.read().await;
        let (answer, verdict) = oneshot::channel();
        entry.queue().push(Pending {
            change,
            token: token.clone(),
            answer,
        });
        self.send_next(bucket, &entry);
        let verdict = verdict.await;
        self.forget_if_idle(bucket, &entry);
        verdict.unwrap_or_else(|_| {
            Err(StorageError::internal(
                "the commit's task ended without a verdict",
            ))
        })
    }

    /// Waits until no change of this bucket is under way, and keeps new ones waiting until the returned guard is dropped.
    pub async fn barrier(&self, bucket: &BucketId) -> OwnedRwLockWriteGuard<()> {
        let entry = self.bucket(bucket);
        entry.open.clone().write_owned().await
    }

    fn bucket(&self, bucket: &BucketId) -> Arc<Bucket> {
        self.buckets().entry(bucket.clone()).or_default().clone()
    }

    fn buckets(&self) -> std::sync::MutexGuard<'_, HashMap<BucketId, Arc<Bucket>>> {
        self.0
            .buckets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops the bucket's entry once nothing waits in it: the table holds one reference, the caller the other.
    fn forget_if_idle(&self, bucket: &BucketId, entry: &Arc<Bucket>) {
        let mut buckets = self.buckets();
        if Arc::strong_count(entry) == 2
            && Arc::strong_count(&entry.open) == 1
            && entry.queue().is_idle()
        {
            buckets.remove(bucket);
        }
    }

    /// Sends the next group, unless a batch call of this bucket is in flight or nothing may leave yet.
    fn send_next(&self, bucket: &BucketId, entry: &Arc<Bucket>) {
        let Some(group) = entry.queue().start_group() else {
            return;
        };
        let (committer, bucket, entry) = (self.clone(), bucket.clone(), entry.clone());
        self.0.tasks.spawn(async move {
            let unsettled = committer.send(&bucket, &entry, group).await;
            entry.queue().finish_group();
            // What has to be looked up and sent again does not hold up the changes behind it.
            for unsettled in unsettled {
                committer.spawn_settle(&bucket, &entry, unsettled);
            }
            committer.send_next(&bucket, &entry);
        });
    }

    /// Sends a group, answers the changes whose verdict is clear, and returns the others.
    async fn send(
        &self,
        bucket: &BucketId,
        entry: &Bucket,
        group: Vec<Pending>,
    ) -> Vec<settle::Unsettled> {
        let mut unsettled = Vec::new();
        let mut groups = vec![group];
        while let Some(mut group) = groups.pop() {
            let lines =
                queue::ordered_lines(group.iter().map(|pending| pending.change.lines.as_slice()));
            let token = group[0].token.clone();
            match self.batch(&token, bucket, &lines).await {
                Ok(verdicts) => {
                    let failed = lines
                        .iter()
                        .zip(&verdicts)
                        .filter(|(_, verdict)| verdict.is_err());
                    let failed: HashSet<String> =
                        failed.map(|(line, _)| line.path().to_owned()).collect();
                    unsettled.extend(self.answer_all_but(entry, group, &failed));
                }
                Err(BatchError::Refused(_)) if group.len() > 1 => {
                    let second_half = group.split_off(group.len() / 2);
                    groups.extend([second_half, group]);
                }
                Err(BatchError::Refused(error) | BatchError::NotDone(error)) => {
                    for pending in group {
                        self.answer(entry, pending, "failed", Err(error.clone()));
                    }
                }
                Err(BatchError::AnswerLost(_)) => {
                    let all = group
                        .into_iter()
                        .map(settle::Unsettled::whole)
                        .collect::<Vec<_>>();
                    unsettled.extend(all);
                }
            }
        }
        unsettled
    }

    fn answer_all_but(
        &self,
        entry: &Bucket,
        group: Vec<Pending>,
        failed: &HashSet<String>,
    ) -> Vec<settle::Unsettled> {
        let mut unsettled = Vec::new();
        for pending in group {
            let has_failed = |line: &&BatchLine| failed.contains(line.path());
            let lines: Vec<BatchLine> = pending
                .change
                .lines
                .iter()
                .filter(has_failed)
                .cloned()
                .collect();
            if lines.is_empty() {
                self.answer(entry, pending, "ok", Ok(()));
            } else {
                unsettled.push(settle::Unsettled { pending, lines });
            }
        }
        unsettled
    }

    async fn batch(
        &self,
        token: &Secret,
        bucket: &BucketId,
        lines: &[BatchLine],
    ) -> Result<Vec<Result<(), crate::provider::hub::EntryError>>, BatchError> {
        let started = Instant::now();
        let outcome = self.0.hub.batch(token, bucket, lines).await;
        self.0.metrics.commit_batch(lines.len(), started.elapsed());
        outcome
    }

    /// Gives a change its verdict and lets later changes of the same paths go.
    fn answer(
        &self,
        entry: &Bucket,
        pending: Pending,
        result: &'static str,
        verdict: Result<(), StorageError>,
    ) {
        self.0.metrics.commit(result);
        entry.queue().release(&pending.change);
        // Nobody may be waiting any more; the verdict stands all the same.
        let _ = pending.answer.send(verdict);
    }
}

impl fmt::Debug for Committer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Committer")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::provider::hub::fake::{FakeHub, Reply, bucket_id as bucket, token};
    use crate::storage::ContentHash;

    fn add(path: &str) -> Change {
        let line = BatchLine::AddFile {
            path: path.into(),
            hash: ContentHash::EMPTY,
            mtime: None,
            content_type: None,
        };
        Change::new(vec![line])
    }

    fn delete(path: &str) -> Change {
        Change::new(vec![BatchLine::DeleteFile { path: path.into() }])
    }

    fn all_done(count: usize) -> Reply {
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

    fn present(path: &str) -> Reply {
        let file = json!({"type": "file", "path": path, "size": 0, "xetHash": ContentHash::EMPTY.as_str(),
            "uploadedAt": "2026-01-02T03:04:05.678Z"});
        Reply::json(200, &json!([file]))
    }

    fn nothing_there() -> Reply {
        Reply::json(200, &json!([]))
    }

    async fn committer(replies: Vec<Reply>) -> (Committer, FakeHub) {
        let (hub, fake) = FakeHub::start(replies).await;
        let mut committer = Committer::new(hub, Metrics::new(), TaskTracker::new());
        let shared = Arc::get_mut(&mut committer.0).unwrap();
        shared.resend_after = vec![Duration::from_millis(1), Duration::from_millis(1)];
        (committer, fake)
    }

    fn batches(fake: &FakeHub) -> Vec<usize> {
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
    }
}
