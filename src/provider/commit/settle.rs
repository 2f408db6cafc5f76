//! Settling what a batch answer left open: lines that failed, and answers that were lost.

use std::collections::HashMap;
use std::time::Duration;

use crate::provider::commit::Committer;
use crate::provider::commit::held::Held;
use crate::provider::commit::queue::{Pending, ordered_lines};
use crate::provider::hub::{BatchError, BatchLine, EntryError, FileRecord};
use crate::provider::sidecar;
use crate::storage::{BucketId, StorageError};
use crate::telemetry::Upstream;

/// A change of which some lines have no clear success.
pub(super) struct Unsettled {
    pending: Pending,
    lines: Vec<BatchLine>,
    /// Whether an answer was lost, so that a line may have taken effect without our knowing.
    is_lost: bool,
}

impl Unsettled {
    /// The Hub says that these lines failed.
    pub(super) fn refused(pending: Pending, lines: Vec<BatchLine>) -> Self {
        Self {
            pending,
            lines,
            is_lost: false,
        }
    }

    /// It has not left yet, since what it replaces could not be kept.
    pub(super) fn unsent(pending: Pending) -> Self {
        let lines = pending.change.lines().to_vec();
        Self::refused(pending, lines)
    }

    /// The Hub's answer was lost.
    pub(super) fn whole(pending: Pending) -> Self {
        let lines = pending.change.lines().to_vec();
        Self {
            pending,
            lines,
            is_lost: true,
        }
    }

    /// Returns the paths to look up.
    fn paths(&self) -> Vec<String> {
        let change = &self.pending.change;
        let lines = self.lines.iter().map(BatchLine::path);
        let mut paths: Vec<String> = lines.chain(change.relied_on()).map(str::to_owned).collect();
        if self.replaces_what_is_kept()
            && let Some(key) = change.written_key()
        {
            let beside = sidecar::path(key);
            if !paths.contains(&beside) {
                paths.push(beside);
            }
        }
        paths
    }

    /// Reports whether the object's line is among those to be sent, and what it replaces is to be kept.
    fn replaces_what_is_kept(&self) -> bool {
        self.pending.keeping.is_some() && self.pending.change.has_object_in(&self.lines)
    }

    /// Judges whether the lines may be sent again, given what a look-up has found of them.
    ///
    /// Errors: why not. If the conditions fail, that is the verdict only if nothing of this change can have taken effect:
    /// otherwise it may itself have been replaced since, and nobody knows.
    fn check_again(&self, found: &HashMap<String, FileRecord>) -> Result<(), StorageError> {
        let change = &self.pending.change;
        if change.relied_on().is_none() && !change.has_object_in(&self.lines) {
            // The object is what this change made it; what is left are its companions.
            return Ok(());
        }
        let verdict = change.check(found);
        if self.is_lost {
            return verdict.map_err(|_| answer_lost());
        }
        verdict
    }
}

impl Committer {
    /// Settles one change in a task of its own; its paths stay busy meanwhile.
    pub(super) fn spawn_settle(&self, bucket: &BucketId, entry: &Held, mut unsettled: Unsettled) {
        let (committer, bucket, entry) = (self.clone(), bucket.clone(), entry.clone());
        self.0.tasks.spawn(async move {
            let verdict = committer.settle(&mut unsettled, &bucket).await;
            if verdict.is_err() {
                committer.take_back(&unsettled, &bucket).await;
            }
            let result = if verdict.is_ok() { "retried" } else { "failed" };
            committer.answer(&bucket, &entry, unsettled.pending, result, verdict);
            committer.send_next(&bucket, &entry);
        });
    }

    /// Looks the lines up, sends again what did not take effect, and gives up after the last attempt. Afterwards
    /// `unsettled` holds the lines that are not known to have taken effect.
    ///
    /// Errors: the last failure. What took effect until then stays.
    async fn settle(
        &self,
        unsettled: &mut Unsettled,
        bucket: &BucketId,
    ) -> Result<(), StorageError> {
        let mut failure = answer_lost();
        for delay in &self.0.resend_after {
            let found = self.drop_effective(unsettled, bucket).await;
            if unsettled.lines.is_empty() {
                return Ok(());
            }
            match found {
                Ok(found) => {
                    unsettled.check_again(&found)?;
                    if unsettled.replaces_what_is_kept()
                        && let Err(error) = self
                            .keep_again(bucket, &mut unsettled.pending, &found)
                            .await
                    {
                        failure = error;
                        tokio::time::sleep(*delay).await;
                        continue;
                    }
                }
                // Sent blindly, it could replace what its conditions protect, or what is to be kept.
                Err(_)
                    if unsettled.pending.change.is_conditional()
                        || unsettled.replaces_what_is_kept() =>
                {
                    tokio::time::sleep(*delay).await;
                    continue;
                }
                Err(_) => {}
            }
            self.0.metrics.upstream_retry(Upstream::Hub, "batch_entry");
            match self.resend(unsettled, bucket, *delay).await {
                Ok(None) => return Ok(()),
                Ok(Some(entry)) => {
                    failure = StorageError::Unavailable {
                        service: "hub",
                        reason: entry.to_string(),
                        is_safe_to_retry: false,
                    };
                }
                Err(BatchError::AnswerLost(error)) => {
                    unsettled.is_lost = true;
                    failure = error;
                }
                Err(BatchError::Refused(error) | BatchError::NotDone(error)) => return Err(error),
            }
        }
        let _ = self.drop_effective(unsettled, bucket).await;
        if unsettled.lines.is_empty() {
            Ok(())
        } else {
            Err(failure)
        }
    }

    /// Sends the lines again after a delay; afterwards those that failed are left, and the first failure is returned.
    async fn resend(
        &self,
        unsettled: &mut Unsettled,
        bucket: &BucketId,
        delay: Duration,
    ) -> Result<Option<EntryError>, BatchError> {
        tokio::time::sleep(delay).await;
        unsettled.lines = ordered_lines(std::iter::once(unsettled.lines.as_slice()));
        let token = &unsettled.pending.token;
        let verdicts = self.batch(token, bucket, &unsettled.lines).await?;
        let mut first_failure = None;
        let mut verdicts = verdicts.into_iter();
        unsettled.lines.retain(|_| match verdicts.next() {
            Some(Err(failure)) => {
                first_failure.get_or_insert(failure);
                true
            }
            _ => false,
        });
        Ok(first_failure)
    }

    /// Drops the lines that have taken effect, and returns what was found. If the look-up fails, none is known to have.
    async fn drop_effective(
        &self,
        unsettled: &mut Unsettled,
        bucket: &BucketId,
    ) -> Result<HashMap<String, FileRecord>, StorageError> {
        let (token, paths) = (&unsettled.pending.token, unsettled.paths());
        let found = self.look_up(token, bucket, &paths).await?;
        unsettled
            .lines
            .retain(|line| !is_effective(line, found.get(line.path())));
        Ok(found)
    }

    /// Puts back what stood beside an object whose own line has failed for good. It is sent once: the failure is reported
    /// in any case, and what stays is bound to content that is not there.
    async fn take_back(&self, unsettled: &Unsettled, bucket: &BucketId) {
        let Unsettled { pending, lines, .. } = unsettled;
        let undo = self.0.companions.undo(bucket, &pending.change, lines);
        if undo.is_empty() {
            return;
        }
        let undo = ordered_lines(std::iter::once(undo.as_slice()));
        let is_undone = match self.batch(&pending.token, bucket, &undo).await {
            Ok(verdicts) => verdicts.iter().all(Result::is_ok),
            Err(_) => false,
        };
        if !is_undone {
            tracing::warn!(%bucket, "failed to put back what stood beside an object that could not be written");
        }
    }
}

fn answer_lost() -> StorageError {
    StorageError::Unavailable {
        service: "hub",
        reason: "the batch call's answer was lost".into(),
        is_safe_to_retry: false,
    }
}

/// Reports whether the Hub's present state is what the line asks for.
fn is_effective(line: &BatchLine, present: Option<&FileRecord>) -> bool {
    match (line, present) {
        (BatchLine::DeleteFile { .. }, present) => present.is_none(),
        (
            BatchLine::AddFile { hash, mtime, .. } | BatchLine::CopyFile { hash, mtime, .. },
            Some(record),
        ) => record.hash == *hash && (mtime.is_none() || record.mtime == *mtime),
        (BatchLine::AddFile { .. } | BatchLine::CopyFile { .. }, None) => false,
    }
}
