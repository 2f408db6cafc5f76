//! Group commit: the writes of a bucket leave together in one batch call, and each gets its own verdict.
//!
//! The Hub's budget of API calls, not bandwidth, limits how many small objects can be written. So while one batch call of a
//! bucket is in flight, further changes wait, and leave together when it returns; an idle bucket sends at once. Where more
//! writes are under way, a batch waits for them a moment.
//!
//! # Behaviour
//! - A change is answered only after the Hub's verdict on every one of its own lines.
//! - A change whose conditions fail when its turn comes never leaves. They are judged against one fresh look-up for the
//!   whole group, never a cache; a group without conditions looks nothing up.
//! - Changes that touch the same path take effect strictly in the order in which they came: a later one leaves only after
//!   the earlier one's final verdict, resends included.
//! - A batch that is refused as a whole is split until the culprit is alone.
//! - Lines that fail in an accepted batch are looked up, and sent again alone; a deletion of what is not there has
//!   succeeded. A lost answer is settled by looking the paths up before anything is sent again.
//! - A conditional change is sent again only while its conditions still hold.
//! - A change of what lies beside an object takes its place among the writes of that object, and leaves only if the object
//!   and the file beside it are what they were when it was prepared.
//! - Where undo is on, what a change replaces is registered once more before the change leaves; if that fails, so does the
//!   change.
//! - If the line of an object fails for good, what its other lines changed is put back as far as it is known.
//! - A caller that leaves does not take its change back. One that was told that it failed does, unless it is in line.

mod change;
mod coming;
mod companions;
mod held;
mod judge;
mod keep;
mod queue;
mod settle;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedRwLockWriteGuard, RwLock, oneshot};
use tokio_util::task::TaskTracker;
use tracing::field::Empty;
use tracing::{Instrument, Span};

pub use crate::provider::commit::change::{Beside, Change};
pub use crate::provider::commit::coming::Coming;
use crate::provider::commit::coming::{BatchLatency, UnderWay};
use crate::provider::commit::companions::Companions;
use crate::provider::commit::held::Held;
use crate::provider::commit::queue::{Pending, Queue};
use crate::provider::hub::{BatchError, BatchLine, FileRecord, HubClient};
use crate::provider::recent::RecentWrites;
use crate::provider::undo::Undo;
use crate::storage::{BucketId, Secret, StorageError, Withdrawal};
use crate::telemetry::Metrics;

/// Commits changes, bucket by bucket. Clones share the queues.
#[derive(Clone)]
pub struct Committer(Arc<Shared>);

struct Shared {
    hub: HubClient,
    metrics: Metrics,
    tasks: TaskTracker,
    recent: RecentWrites,
    undo: Undo,
    /// How long to wait before failed lines are sent again, attempt by attempt.
    resend_after: Vec<Duration>,
    companions: Companions,
    latency: BatchLatency,
    buckets: Mutex<HashMap<BucketId, Arc<Bucket>>>,
}

/// The changes of one bucket.
#[derive(Default)]
struct Bucket {
    queue: Mutex<Queue>,
    under_way: UnderWay,
    /// Held shared by every change from its arrival to its verdict, and alone by [`Committer::barrier`].
    open: Arc<RwLock<()>>,
}

/// Keeps the changes of a bucket waiting until it is dropped.
pub struct Barrier {
    _alone: OwnedRwLockWriteGuard<()>,
    _entry: Held,
}

impl Bucket {
    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Committer {
    /// Creates a committer; its batch calls run in `tasks`, what they wrote is noted in `recent`, and what they replace is
    /// kept as `undo` says.
    pub(in crate::provider) fn new(
        hub: HubClient,
        metrics: Metrics,
        tasks: TaskTracker,
        recent: RecentWrites,
        undo: Undo,
    ) -> Self {
        let resend_after = vec![Duration::from_secs(2), Duration::from_secs(4)];
        Self(Arc::new(Shared {
            hub,
            metrics,
            tasks,
            recent,
            undo,
            resend_after,
            companions: Companions::default(),
            latency: BatchLatency::default(),
            buckets: Mutex::default(),
        }))
    }

    /// Announces a write whose bytes are all in: a batch of its bucket may wait for it a moment. To be dropped when it has
    /// been committed, or when it fails.
    pub fn announce(&self, bucket: &BucketId) -> Coming {
        Coming::new(self.hold(bucket))
    }

    /// Commits a change that nobody announced; see [`Committer::commit_announced`].
    pub async fn commit(
        &self,
        token: &Secret,
        bucket: &BucketId,
        change: Change,
    ) -> Result<(), StorageError> {
        self.commit_unless(token, bucket, change, &Withdrawal::default())
            .await
    }

    /// Commits a change that may be withdrawn meanwhile; see [`Committer::commit_announced`].
    pub async fn commit_unless(
        &self,
        token: &Secret,
        bucket: &BucketId,
        change: Change,
        withdrawal: &Withdrawal,
    ) -> Result<(), StorageError> {
        self.commit_announced(token, bucket, change, None, withdrawal)
            .await
    }

    /// Commits a change and returns the verdict on it.
    ///
    /// Errors: what the Hub says of this change's lines, or of the bucket; `PreconditionFailed` or `NoSuchKey` where its
    /// conditions do not hold; `Unavailable` if it was withdrawn before it was in line.
    pub async fn commit_announced(
        &self,
        token: &Secret,
        bucket: &BucketId,
        change: Change,
        coming: Option<Coming>,
        withdrawal: &Withdrawal,
    ) -> Result<(), StorageError> {
        let span = tracing::info_span!("hub commit", batch_lines = Empty);
        let entry = self.hold(bucket);
        let _open = entry.open.read().await;
        let (answer, verdict) = oneshot::channel();
        let pending = Pending {
            change,
            token: token.clone(),
            answer,
            span,
            keeping: None,
        };
        if !withdrawal.unless_withdrawn(|| entry.queue().push(pending)) {
            self.0.metrics.commit("refused");
            return Err(withdrawn());
        }
        // Only now that it is in line.
        drop(coming);
        self.send_next(bucket, &entry);
        verdict.await.unwrap_or_else(|_| {
            Err(StorageError::internal(
                "the commit's task ended without a verdict",
            ))
        })
    }

    /// Waits until no change of this bucket is under way, and keeps new ones waiting until the returned guard is dropped.
    pub async fn barrier(&self, bucket: &BucketId) -> Barrier {
        let entry = self.hold(bucket);
        let alone = entry.open.clone().write_owned().await;
        Barrier {
            _alone: alone,
            _entry: entry,
        }
    }

    /// Remembers what a reader has found beside an object, so that it can be put back if a later write fails halfway.
    pub fn note_companion(&self, bucket: &BucketId, found: &FileRecord) {
        self.0
            .companions
            .note_found(bucket, &found.path, Some(found));
    }

    /// Sends the next group, unless a batch call of this bucket is in flight or nothing may leave yet.
    fn send_next(&self, bucket: &BucketId, entry: &Held) {
        let group = if entry.under_way.is_empty() {
            match entry.queue().start_group() {
                Some(group) => Some(group),
                None => return,
            }
        } else if entry.queue().hold() {
            None
        } else {
            return;
        };
        let (committer, bucket, entry) = (self.clone(), bucket.clone(), entry.clone());
        self.0.tasks.spawn(async move {
            let group = match group {
                Some(group) => group,
                None => {
                    let patience = committer.0.latency.patience();
                    entry.under_way.arrive(patience).await;
                    entry.queue().take_group().unwrap_or_default()
                }
            };
            if !group.is_empty() {
                committer.send_group(&bucket, &entry, group).await;
            }
        });
    }

    async fn send_group(&self, bucket: &BucketId, entry: &Held, group: Vec<Pending>) {
        let undo = self.undo_period(bucket, &group).await;
        let (group, found) = self.judge(bucket, entry, group, undo).await;
        // In a batch of its own, before the group: what depends on a line must not ride with it.
        let (group, mut unsettled) = self.keep(bucket, entry, group, &found).await;
        unsettled.extend(self.send(bucket, entry, group).await);
        entry.queue().finish_group();
        // What has to be looked up and sent again does not hold up the changes behind it.
        for unsettled in unsettled {
            self.spawn_settle(bucket, entry, unsettled);
        }
        self.send_next(bucket, entry);
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
            let Some(token) = group.first().map(|first| first.token.clone()) else {
                continue;
            };
            let lines = queue::ordered_lines(group.iter().map(|pending| pending.change.lines()));
            for pending in &group {
                let lines = i64::try_from(lines.len()).unwrap_or(i64::MAX);
                pending.span.record("batch_lines", lines);
            }
            // The one call shows below the first of those that share it.
            let span = group.first().map(|first| first.span.clone());
            let call = self.batch(&token, bucket, &lines);
            match call.instrument(span.unwrap_or_else(Span::none)).await {
                Ok(verdicts) => {
                    let failed = lines
                        .iter()
                        .zip(&verdicts)
                        .filter(|(_, verdict)| verdict.is_err());
                    let failed: HashSet<String> =
                        failed.map(|(line, _)| line.path().to_owned()).collect();
                    unsettled.extend(self.answer_all_but(bucket, entry, group, &failed));
                }
                Err(BatchError::Refused(_)) if group.len() > 1 => {
                    let second_half = group.split_off(group.len() / 2);
                    groups.extend([second_half, group]);
                }
                Err(BatchError::Refused(error) | BatchError::NotDone(error)) => {
                    for pending in group {
                        self.answer(bucket, entry, pending, "failed", Err(error.clone()));
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
        bucket: &BucketId,
        entry: &Bucket,
        group: Vec<Pending>,
        failed: &HashSet<String>,
    ) -> Vec<settle::Unsettled> {
        let mut unsettled = Vec::new();
        for pending in group {
            let has_failed = |line: &&BatchLine| failed.contains(line.path());
            let lines: Vec<BatchLine> = pending
                .change
                .lines()
                .iter()
                .filter(has_failed)
                .cloned()
                .collect();
            if lines.is_empty() {
                self.answer(bucket, entry, pending, "ok", Ok(()));
            } else {
                unsettled.push(settle::Unsettled::refused(pending, lines));
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
        self.0.latency.note(started.elapsed());
        outcome
    }

    /// Gives a change its verdict and lets later changes of the same paths go.
    fn answer(
        &self,
        bucket: &BucketId,
        entry: &Bucket,
        pending: Pending,
        result: &'static str,
        verdict: Result<(), StorageError>,
    ) {
        self.0.metrics.commit(result);
        if verdict.is_ok() {
            self.0.companions.note_done(bucket, &pending.change);
            self.0.recent.note(bucket, pending.change.lines());
        }
        entry.queue().release(&pending.change);
        // Nobody may be waiting any more; the verdict stands all the same.
        let _ = pending.answer.send(verdict);
    }
}

fn withdrawn() -> StorageError {
    StorageError::Unavailable {
        service: "hub",
        reason: "the write came too late to be committed".into(),
        is_safe_to_retry: false,
    }
}

impl fmt::Debug for Committer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Committer")
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
