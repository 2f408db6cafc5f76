//! Preconditions, judged in commit order.
//!
//! The Hub's batches know none, so they are judged here: when a group is about to leave, one fresh look-up tells what stands
//! under the paths of its conditional changes. Nothing else of this process can change these paths between look-up and
//! verdict, since they stay busy. Across processes the Hub offers nothing to hold on to.
//!
//! Conditional changes of one path come into a group together. Those that fail before one holds are answered from the same
//! look-up, for they change nothing; those behind the first that holds wait for its verdict. So of 64 writers that want to
//! create one key, all are answered after two look-ups.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::provider::commit::keep::Keeping;
use crate::provider::commit::queue::Pending;
use crate::provider::commit::{Bucket, Change, Committer};
use crate::provider::hub::FileRecord;
use crate::provider::sidecar;
use crate::storage::{BucketId, ObjectKey, Secret, StorageError, WriteConditions};

/// What a look-up has found, by path.
pub(super) type Found = HashMap<String, FileRecord>;

impl Committer {
    /// Judges the conditions of a write whose bytes are still to come, so that a hopeless one is refused early and cheaply.
    /// It promises nothing: the verdict that binds falls at the commit.
    ///
    /// Errors: as [`WriteConditions::check`], and `NoSuchBucket`.
    pub async fn foresee(
        &self,
        token: &Secret,
        bucket: &BucketId,
        key: &ObjectKey,
        conditions: &WriteConditions,
    ) -> Result<(), StorageError> {
        if conditions.is_empty() {
            return Ok(());
        }
        let path = key.hub_path();
        let found = self
            .look_up(token, bucket, std::slice::from_ref(&path))
            .await?;
        Change::of_object(key, conditions.clone(), Vec::new()).check(&found)
    }

    /// Answers the changes of a group whose conditions fail, puts those back that must wait, and returns what leaves,
    /// together with what the look-up has found.
    ///
    /// Looks nothing up if the group holds no conditional change, and nothing that it replaces is to be kept for `undo`. If
    /// the look-up fails, so do the changes that need it.
    pub(super) async fn judge(
        &self,
        bucket: &BucketId,
        entry: &Bucket,
        mut group: Vec<Pending>,
        undo: Result<Option<Duration>, StorageError>,
    ) -> (Vec<Pending>, Found) {
        let keeps = !matches!(undo, Ok(None));
        if let Ok(Some(period)) = undo {
            for pending in &mut group {
                let is_write = pending.change.written_key().is_some();
                pending.keeping = is_write.then(|| Keeping::new(period));
            }
        }
        let found = match (undo, watched_paths(&group, keeps)) {
            (Err(error), _) => Err(error),
            (Ok(_), Some((token, paths))) => self.look_up(&token, bucket, &paths).await,
            (Ok(_), None) => Ok(Found::new()),
        };
        if let Ok(found) = &found {
            for line in watched(&group, keeps).flat_map(|pending| pending.change.companions()) {
                let path = line.path();
                self.0.companions.note_found(bucket, path, found.get(path));
            }
        }
        let judged = Judged::of(group, &found, keeps);
        entry.queue().depart(&judged.leaving, judged.waiting);
        for (pending, refusal) in judged.refused {
            self.0.metrics.commit("refused");
            // It holds no path, so there is none to release.
            let _ = pending.answer.send(Err(refusal));
        }
        (judged.leaving, found.unwrap_or_default())
    }

    /// Looks paths up, past every cache.
    pub(super) async fn look_up(
        &self,
        token: &Secret,
        bucket: &BucketId,
        paths: &[String],
    ) -> Result<Found, StorageError> {
        let found = self.0.hub.paths_info(token, bucket, paths).await?;
        let by_path = found.into_iter().map(|file| (file.path.clone(), file));
        Ok(by_path.collect())
    }
}

/// Reports whether a change may leave only after a look: because of its conditions, or because what it replaces is kept.
fn is_watched(change: &Change, keeps: bool) -> bool {
    change.is_conditional() || keeps && change.written_key().is_some()
}

fn watched(group: &[Pending], keeps: bool) -> impl Iterator<Item = &Pending> {
    group
        .iter()
        .filter(move |pending| is_watched(&pending.change, keeps))
}

/// Returns the paths to look up before the group leaves, and the token to do it with; `None` if there are none.
fn watched_paths(group: &[Pending], keeps: bool) -> Option<(Secret, Vec<String>)> {
    let first = watched(group, keeps).next()?;
    let mut paths = Vec::new();
    for Pending { change, .. } in watched(group, keeps) {
        paths.extend(change.paths().map(str::to_owned));
        if let Some(key) = change.written_key().filter(|_| keeps) {
            paths.extend([key.hub_path(), sidecar::path(key)]);
        }
    }
    let mut seen = HashSet::new();
    paths.retain(|path| seen.insert(path.clone()));
    Some((first.token.clone(), paths))
}

/// A group, sorted out.
#[derive(Default)]
struct Judged {
    leaving: Vec<Pending>,
    refused: Vec<(Pending, StorageError)>,
    /// Behind a change of the same path that leaves.
    waiting: Vec<Pending>,
}

impl Judged {
    /// Judges the changes in their order. Whoever comes after one that leaves or waits is not judged: what it would be
    /// judged against is still to come.
    fn of(group: Vec<Pending>, found: &Result<Found, StorageError>, keeps: bool) -> Self {
        let mut judged = Self::default();
        let mut taken: HashSet<String> = HashSet::new();
        for pending in group {
            if pending.change.paths().any(|path| taken.contains(path)) {
                taken.extend(pending.change.paths().map(str::to_owned));
                judged.waiting.push(pending);
                continue;
            }
            let verdict = match found {
                Ok(found) => pending.change.check(found),
                Err(error) if is_watched(&pending.change, keeps) => Err(error.clone()),
                Err(_) => Ok(()),
            };
            match verdict {
                Ok(()) => {
                    taken.extend(pending.change.paths().map(str::to_owned));
                    judged.leaving.push(pending);
                }
                Err(refusal) => judged.refused.push((pending, refusal)),
            }
        }
        judged
    }
}
