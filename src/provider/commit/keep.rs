//! Keeping what a group of changes is about to replace, where undo is on: see [`undo`](crate::provider::undo).

use std::collections::HashSet;
use std::time::Duration;

use crate::provider::commit::judge::Found;
use crate::provider::commit::queue::{Pending, ordered_lines};
use crate::provider::commit::settle::Unsettled;
use crate::provider::commit::{Bucket, Change, Committer};
use crate::provider::hub::{BatchError, BatchLine, FileRecord, MAX_BATCH_LINES};
use crate::provider::sidecar;
use crate::provider::undo::lines_that_keep;
use crate::storage::{BucketId, StorageError};
use crate::telemetry::UndoEvent;

/// Changes whose copies are registered in one call at most: each has a content and a sidecar.
const MAX_KEPT: usize = MAX_BATCH_LINES / 2;

/// What is kept of what a change replaces.
#[derive(Debug, Clone)]
pub(super) struct Keeping {
    period: Duration,
    /// The object of which there is a copy already.
    kept: Option<FileRecord>,
}

impl Keeping {
    pub(super) fn new(period: Duration) -> Self {
        Self { period, kept: None }
    }

    /// Returns what a change that leaves now would replace unkept, with the lines that keep it.
    fn lines(&self, change: &Change, found: &Found) -> Option<(FileRecord, Vec<BatchLine>)> {
        let key = change.written_key()?;
        let object = found.get(&key.hub_path())?;
        if self.kept.as_ref() == Some(object) {
            return None;
        }
        let sidecar = found.get(&sidecar::path(key));
        let lines = lines_that_keep(key, object, sidecar, self.period);
        (!lines.is_empty()).then(|| (object.clone(), lines))
    }
}

/// A change with what must be kept before it leaves.
struct Due {
    pending: Pending,
    object: FileRecord,
    lines: Vec<BatchLine>,
}

impl Due {
    /// Notes that the copy is there, and returns the change, which may leave now.
    fn kept(mut self) -> Pending {
        if let Some(keeping) = &mut self.pending.keeping {
            keeping.kept = Some(self.object);
        }
        self.pending
    }
}

impl Committer {
    /// Returns how long what this group replaces is kept; `None` if it is not.
    pub(super) async fn undo_period(
        &self,
        bucket: &BucketId,
        group: &[Pending],
    ) -> Result<Option<Duration>, StorageError> {
        let mut writes = group
            .iter()
            .filter(|pending| pending.change.written_key().is_some());
        let Some(first) = writes.next() else {
            return Ok(None);
        };
        let writes = 1 + writes.count();
        let (undo, hub) = (&self.0.undo, &self.0.hub);
        undo.period(hub, &first.token, bucket, writes).await
    }

    /// Registers copies of what the group replaces, and returns the changes that may leave.
    ///
    /// Those whose copy failed are to be settled: they have not left, and do not before there is one.
    pub(super) async fn keep(
        &self,
        bucket: &BucketId,
        entry: &Bucket,
        group: Vec<Pending>,
        found: &Found,
    ) -> (Vec<Pending>, Vec<Unsettled>) {
        let (mut leaving, mut unsettled) = (Vec::new(), Vec::new());
        let mut due = Vec::new();
        for pending in group {
            let keeping = pending.keeping.as_ref();
            match keeping.and_then(|keeping| keeping.lines(&pending.change, found)) {
                None => leaving.push(pending),
                Some((object, lines)) => due.push(Due {
                    pending,
                    object,
                    lines,
                }),
            }
        }
        let mut groups = vec![due];
        while let Some(mut due) = groups.pop() {
            if due.len() > MAX_KEPT {
                groups.push(due.split_off(MAX_KEPT));
            }
            let Some(token) = due.first().map(|first| first.pending.token.clone()) else {
                continue;
            };
            let lines = ordered_lines(due.iter().map(|one| one.lines.as_slice()));
            match self.batch(&token, bucket, &lines).await {
                Ok(verdicts) => {
                    let verdicts = lines.iter().zip(&verdicts);
                    let failed = verdicts.filter(|(_, verdict)| verdict.is_err());
                    let failed: HashSet<&str> = failed.map(|(line, _)| line.path()).collect();
                    for one in due {
                        let is_kept = !one.lines.iter().any(|line| failed.contains(line.path()));
                        self.count(is_kept);
                        match is_kept {
                            true => leaving.push(one.kept()),
                            false => unsettled.push(Unsettled::unsent(one.pending)),
                        }
                    }
                }
                Err(BatchError::Refused(_)) if due.len() > 1 => {
                    let second_half = due.split_off(due.len() / 2);
                    groups.extend([second_half, due]);
                }
                Err(BatchError::Refused(error) | BatchError::NotDone(error)) => {
                    for one in due {
                        self.count(false);
                        self.answer(bucket, entry, one.pending, "failed", Err(error.clone()));
                    }
                }
                Err(BatchError::AnswerLost(_)) => {
                    for one in due {
                        self.count(false);
                        unsettled.push(Unsettled::unsent(one.pending));
                    }
                }
            }
        }
        (leaving, unsettled)
    }

    /// Keeps what a change replaces that is sent again, if that is something else than what was kept before.
    ///
    /// Errors: why there is no copy. Then it must not be sent.
    pub(super) async fn keep_again(
        &self,
        bucket: &BucketId,
        pending: &mut Pending,
        found: &Found,
    ) -> Result<(), StorageError> {
        let keeping = pending.keeping.as_ref();
        let Some((object, lines)) =
            keeping.and_then(|keeping| keeping.lines(&pending.change, found))
        else {
            return Ok(());
        };
        let failure = match self.batch(&pending.token, bucket, &lines).await {
            Ok(verdicts) => verdicts.into_iter().find_map(Result::err),
            Err(
                BatchError::Refused(error)
                | BatchError::NotDone(error)
                | BatchError::AnswerLost(error),
            ) => {
                self.count(false);
                return Err(error);
            }
        };
        self.count(failure.is_none());
        if let Some(failure) = failure {
            return Err(StorageError::Unavailable {
                service: "hub",
                reason: format!("what stands there cannot be kept for undo: {failure}"),
                is_safe_to_retry: false,
            });
        }
        if let Some(keeping) = &mut pending.keeping {
            keeping.kept = Some(object);
        }
        Ok(())
    }

    fn count(&self, is_kept: bool) {
        let event = if is_kept {
            UndoEvent::Kept
        } else {
            UndoEvent::Failed
        };
        self.0.metrics.undo(event, 1);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::provider::commit::tests::{
        all_done, batches, content, if_absent, impatient_with, nothing_there, present,
    };
    use crate::provider::hub::fake::{FakeHub, Reply, add_line, bucket_id, token};
    use crate::provider::undo::UndoConfig;
    use crate::storage::{ObjectKey, WriteConditions};

    const COPY: &str = ".hugbucket/undo/keys/k/";

    fn private() -> Reply {
        Reply::json(200, &json!({"id": "me/data", "private": true}))
    }

    fn all_failed() -> Reply {
        Reply::json(
            200,
            &json!({"success": false, "processed": 1, "succeeded": 0}),
        )
    }

    fn write(conditions: WriteConditions) -> Change {
        let key = ObjectKey::new("k").unwrap();
        let line = BatchLine::AddFile {
            path: "k".into(),
            hash: content('1'),
            mtime: None,
            content_type: None,
        };
        Change::of_object(&key, conditions, vec![line])
    }

    async fn commit(
        replies: Vec<Reply>,
        change: Change,
    ) -> (Result<(), StorageError>, Vec<usize>, Vec<String>) {
        let (hub, fake) = FakeHub::start(replies).await;
        let periods = [("data".to_owned(), Duration::from_secs(60))];
        let undo = UndoConfig {
            periods: periods.into(),
        };
        let committer = impatient_with(hub, undo);
        let verdict = committer.commit(&token(), &bucket_id(), change).await;
        let bodies = fake.asked().into_iter().map(|asked| asked.body);
        (verdict, batches(&fake), bodies.collect())
    }

    #[tokio::test]
    async fn what_stands_there_is_kept_before_it_is_replaced() {
        let replies = vec![private(), present("k"), all_done(1), all_done(1)];
        let (verdict, batches, bodies) = commit(replies, write(WriteConditions::default())).await;
        verdict.unwrap();
        assert_eq!(batches, [1, 1]);
        assert!(bodies[1].contains(".hugbucket/meta/"), "{bodies:?}");
        assert!(bodies[2].contains(COPY) && bodies[2].contains("addFile"));
        assert!(bodies[3].contains("\"k\"") && !bodies[3].contains(COPY));
    }

    #[tokio::test]
    async fn where_nothing_stands_nothing_is_kept() {
        let replies = vec![private(), nothing_there(), all_done(1)];
        let (verdict, batches, _) = commit(replies, write(WriteConditions::default())).await;
        verdict.unwrap();
        assert_eq!(batches, [1]);
    }

    #[tokio::test]
    async fn a_write_that_is_refused_keeps_nothing() {
        let replies = vec![private(), present("k")];
        let (verdict, batches, _) = commit(replies, write(if_absent())).await;
        assert_eq!(verdict.unwrap_err().outcome(), "precondition_failed");
        assert_eq!(batches, [0; 0]);
    }

    #[tokio::test]
    async fn hidden_files_are_replaced_without_a_look() {
        let change = Change::new(vec![add_line(".hugbucket/uploads/1")]);
        let (verdict, batches, _) = commit(vec![all_done(1)], change).await;
        verdict.unwrap();
        assert_eq!(batches, [1]);
    }

    #[tokio::test]
    async fn a_write_waits_until_there_is_a_copy() {
        let torn = || Reply::json(200, &json!({"success": true}));
        let replies = vec![
            private(),
            present("k"),
            torn(),
            present("k"),
            all_done(1),
            all_done(1),
        ];
        let (verdict, _, bodies) = commit(replies, write(WriteConditions::default())).await;
        verdict.unwrap();
        assert!(bodies[2].contains(COPY) && bodies[4].contains(COPY));
        assert!(!bodies[5].contains(COPY));
    }

    #[tokio::test]
    async fn without_a_copy_the_write_never_leaves() {
        let mut replies = vec![private()];
        for _ in 0..3 {
            replies.extend([present("k"), all_failed()]);
        }
        replies.push(present("k"));
        let (verdict, batches, bodies) = commit(replies, write(WriteConditions::default())).await;
        assert_eq!(verdict.unwrap_err().outcome(), "unavailable");
        assert_eq!(batches, [1, 1, 1]);
        let sent = bodies.iter().filter(|body| body.contains("File\""));
        assert!(sent.into_iter().all(|body| body.contains(COPY)));
    }

    #[tokio::test]
    async fn who_cannot_look_replaces_nothing() {
        let missing = || Reply::empty(404).header("x-error-code", "RepoNotFound");
        let replies = vec![private(), missing()];
        let (verdict, batches, _) = commit(replies, write(WriteConditions::default())).await;
        assert_eq!(verdict.unwrap_err().outcome(), "no_such_bucket");
        assert_eq!(batches, [0; 0]);
        let (verdict, batches, _) =
            commit(vec![missing()], write(WriteConditions::default())).await;
        assert_eq!(verdict.unwrap_err().outcome(), "no_such_bucket");
        assert_eq!(batches, [0; 0]);
    }
}
