//! Settling what a batch answer left open: lines that failed, and answers that were lost.

use std::sync::Arc;
use std::time::Duration;

use crate::provider::commit::queue::{Pending, ordered_lines};
use crate::provider::commit::{Bucket, Committer};
use crate::provider::hub::{BatchError, BatchLine, EntryError, FileRecord};
use crate::storage::{BucketId, StorageError};
use crate::telemetry::Upstream;

/// A change of which some lines have no clear success.
pub(super) struct Unsettled {
    pub(super) pending: Pending,
    pub(super) lines: Vec<BatchLine>,
}

impl Unsettled {
    pub(super) fn whole(pending: Pending) -> Self {
        let lines = pending.change.lines.clone();
        Self { pending, lines }
    }
}

impl Committer {
    /// Settles one change in a task of its own; its paths stay busy meanwhile.
    pub(super) fn spawn_settle(
        &self,
        bucket: &BucketId,
        entry: &Arc<Bucket>,
        unsettled: Unsettled,
    ) {
        let (committer, bucket, entry) = (self.clone(), bucket.clone(), entry.clone());
        self.0.tasks.spawn(async move {
            let Unsettled { pending, lines } = unsettled;
            let verdict = committer.settle(&pending, &bucket, lines).await;
            let result = if verdict.is_ok() { "retried" } else { "failed" };
            committer.answer(&entry, pending, result, verdict);
            committer.send_next(&bucket, &entry);
        });
    }

    /// Looks the lines up, sends again what did not take effect, and gives up after the last attempt.
    ///
    /// Errors: the last failure. What took effect until then stays.
    async fn settle(
        &self,
        pending: &Pending,
        bucket: &BucketId,
        mut lines: Vec<BatchLine>,
    ) -> Result<(), StorageError> {
        let mut failure = StorageError::Unavailable {
            service: "hub",
            reason: "the batch call's answer was lost".into(),
            is_safe_to_retry: false,
        };
        for delay in &self.0.resend_after {
            lines = self.without_effective(pending, bucket, lines).await;
            if lines.is_empty() {
                return Ok(());
            }
            self.0.metrics.upstream_retry(Upstream::Hub, "batch_entry");
            match self.resend(pending, bucket, &mut lines, *delay).await {
                Ok(None) => return Ok(()),
                Ok(Some(entry)) => {
                    failure = StorageError::Unavailable {
                        service: "hub",
                        reason: entry.to_string(),
                        is_safe_to_retry: false,
                    };
                }
                Err(BatchError::AnswerLost(error)) => failure = error,
                Err(BatchError::Refused(error) | BatchError::NotDone(error)) => return Err(error),
            }
        }
        lines = self.without_effective(pending, bucket, lines).await;
        if lines.is_empty() {
            Ok(())
        } else {
            Err(failure)
        }
    }

    /// Sends lines again after a delay; afterwards `lines` holds those that failed, and the first failure is returned.
    async fn resend(
        &self,
        pending: &Pending,
        bucket: &BucketId,
        lines: &mut Vec<BatchLine>,
        delay: Duration,
    ) -> Result<Option<EntryError>, BatchError> {
        tokio::time::sleep(delay).await;
        *lines = ordered_lines(std::iter::once(lines.as_slice()));
        let verdicts = self.batch(&pending.token, bucket, lines).await?;
        let mut first_failure = None;
        let mut verdicts = verdicts.into_iter();
        lines.retain(|_| match verdicts.next() {
            Some(Err(failure)) => {
                first_failure.get_or_insert(failure);
                true
            }
            _ => false,
        });
        Ok(first_failure)
    }

    /// Returns the lines that have not taken effect. If the look-up fails, none is known to have.
    async fn without_effective(
        &self,
        pending: &Pending,
        bucket: &BucketId,
        lines: Vec<BatchLine>,
    ) -> Vec<BatchLine> {
        let paths: Vec<String> = lines.iter().map(|line| line.path().to_owned()).collect();
        let Ok(found) = self.0.hub.paths_info(&pending.token, bucket, &paths).await else {
            return lines;
        };
        lines
            .into_iter()
            .filter(|line| !is_effective(line, &found))
            .collect()
    }
}

/// Reports whether the Hub's present state is what the line asks for.
fn is_effective(line: &BatchLine, found: &[FileRecord]) -> bool {
    let present = found.iter().find(|record| record.path == line.path());
    match (line, present) {
        (BatchLine::DeleteFile { .. }, present) => present.is_none(),
        (
            BatchLine::AddFile { hash, mtime, .. } | BatchLine::CopyFile { hash, mtime, .. },
            Some(record),
        ) => record.hash == *hash && (mtime.is_none() || record.mtime == *mtime),
        (BatchLine::AddFile { .. } | BatchLine::CopyFile { .. }, None) => false,
    }
}
