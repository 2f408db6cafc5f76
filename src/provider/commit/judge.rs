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

use crate::provider::commit::queue::Pending;
use crate::provider::commit::{Bucket, Change, Committer};
use crate::provider::hub::FileRecord;
use crate::storage::{BucketId, ObjectKey, Secret, StorageError, WriteConditions};

type Found = HashMap<String, FileRecord>;

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

    /// Answers the changes of a group whose conditions fail, puts those back that must wait, and returns what leaves.
    ///
    /// Looks nothing up if the group holds no conditional change. If the look-up fails, so do the conditional changes.
    pub(super) async fn judge(
        &self,
        bucket: &BucketId,
        entry: &Bucket,
        group: Vec<Pending>,
    ) -> Vec<Pending> {
        let found = match conditional_paths(&group) {
            Some((token, paths)) => self.look_up(&token, bucket, &paths).await,
            None => Ok(Found::new()),
        };
        if let Ok(found) = &found {
            for line in conditional(&group).flat_map(|pending| pending.change.companions()) {
                let path = line.path();
                self.0.companions.note_found(bucket, path, found.get(path));
            }
        }
        let judged = Judged::of(group, &found);
        entry.queue().depart(&judged.leaving, judged.waiting);
        for (pending, refusal) in judged.refused {
            self.0.metrics.commit("refused");
            // It holds no path, so there is none to release.
            let _ = pending.answer.send(Err(refusal));
        }
        judged.leaving
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

fn conditional(group: &[Pending]) -> impl Iterator<Item = &Pending> {
    group
        .iter()
        .filter(|pending| pending.change.is_conditional())
}

/// Returns the paths of the conditional changes, and the token to look them up with; `None` if there are none.
fn conditional_paths(group: &[Pending]) -> Option<(Secret, Vec<String>)> {
    let first = conditional(group).next()?;
    let mut seen = HashSet::new();
    let paths = conditional(group).flat_map(|pending| pending.change.paths());
    let paths = paths.filter(|path| seen.insert(*path)).map(str::to_owned);
    Some((first.token.clone(), paths.collect()))
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
    fn of(group: Vec<Pending>, found: &Result<Found, StorageError>) -> Self {
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
                Err(error) if pending.change.is_conditional() => Err(error.clone()),
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
