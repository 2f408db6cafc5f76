//! What this process wrote lately: with it, listings show our own writes even where the Hub's answer lags behind.
//!
//! The Hub promises nothing about the freshness of a listing that is folded by directories, and a tree page may be at hand
//! that was fetched before a write. Both are put right with the paths in here.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::provider::hub::BatchLine;
use crate::provider::list::is_hidden_file;
use crate::storage::{BucketId, ContentHash};

/// How long a write is remembered. Source: no promise of the Hub's; a minute is far above any lag that was ever seen.
const LIFE: Duration = Duration::from_secs(60);

/// Writes remembered at most, some 200 bytes each: 800 a second for a minute.
const MAX_WRITES: usize = 50_000;

/// A file as this process left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Its path.
    pub path: Arc<str>,
    /// Its content; `None` if it was deleted.
    pub hash: Option<ContentHash>,
    /// When the Hub's verdict was known.
    pub at: Instant,
}

/// The writes of the last minute. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct RecentWrites(Arc<Mutex<Memory>>);

#[derive(Debug, Default)]
struct Memory {
    buckets: HashMap<BucketId, BTreeMap<Arc<str>, Write>>,
    /// The same writes, oldest first.
    order: VecDeque<(Instant, BucketId, Arc<str>)>,
    /// Nothing is known of writes up to this moment, for want of room.
    forgotten: Option<Instant>,
}

impl RecentWrites {
    /// Notes lines that took effect. Hidden files count for nobody's listing.
    pub fn note<'a>(&self, bucket: &BucketId, lines: impl IntoIterator<Item = &'a BatchLine>) {
        let at = Instant::now();
        let mut memory = self.lock();
        for line in lines {
            if is_hidden_file(line.path()) {
                continue;
            }
            let hash = match line {
                BatchLine::AddFile { hash, .. } | BatchLine::CopyFile { hash, .. } => Some(*hash),
                BatchLine::DeleteFile { .. } => None,
            };
            memory.insert(bucket, line.path().into(), hash, at);
        }
        memory.prune(at);
    }

    /// Returns the writes under a prefix, by path.
    pub fn under(&self, bucket: &BucketId, prefix: &str) -> Vec<Write> {
        let mut memory = self.lock();
        memory.prune(Instant::now());
        let Some(writes) = memory.buckets.get(bucket) else {
            return Vec::new();
        };
        let from_prefix = writes.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        from_prefix
            .take_while(|(path, _)| path.starts_with(prefix))
            .map(|(_, write)| write.clone())
            .collect()
    }

    /// Reports whether anything under a prefix may have been written after `moment`.
    pub fn is_touched_since(&self, bucket: &BucketId, prefix: &str, moment: Instant) -> bool {
        let is_known = self
            .lock()
            .forgotten
            .is_none_or(|forgotten| forgotten < moment);
        let is_lately = moment.elapsed() < LIFE;
        let touches = |write: &Write| write.at >= moment;
        !is_known || !is_lately || self.under(bucket, prefix).iter().any(touches)
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn insert(
        &mut self,
        bucket: &BucketId,
        path: Arc<str>,
        hash: Option<ContentHash>,
        at: Instant,
    ) {
        let write = Write {
            path: path.clone(),
            hash,
            at,
        };
        let bucket_writes = self.buckets.entry(bucket.clone()).or_default();
        bucket_writes.insert(path.clone(), write);
        self.order.push_back((at, bucket.clone(), path));
    }

    fn prune(&mut self, now: Instant) {
        while let Some((at, _, _)) = self.order.front() {
            let is_old = now.duration_since(*at) >= LIFE;
            if !is_old && self.order.len() <= MAX_WRITES {
                return;
            }
            if !is_old {
                self.forgotten = Some(*at);
            }
            let Some((at, bucket, path)) = self.order.pop_front() else {
                return;
            };
            let Some(writes) = self.buckets.get_mut(&bucket) else {
                continue;
            };
            // A later write of the same path has an entry of its own further behind.
            if writes.get(&path).is_some_and(|write| write.at == at) {
                writes.remove(&path);
            }
            if writes.is_empty() {
                self.buckets.remove(&bucket);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::hub::fake::{add_line as add, bucket_id, delete_line as delete};

    fn under(recent: &RecentWrites, prefix: &str) -> Vec<(String, bool)> {
        let writes = recent.under(&bucket_id(), prefix).into_iter();
        writes
            .map(|write| (write.path.to_string(), write.hash.is_some()))
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_write_of_a_path_counts_for_a_minute() {
        let recent = RecentWrites::default();
        let bucket = bucket_id();
        recent.note(&bucket, &[add("a/1"), add("b"), add(".hugbucket/x")]);
        tokio::time::advance(Duration::from_secs(30)).await;
        recent.note(&bucket, &[delete("a/1"), add("a.b")]);
        assert_eq!(
            under(&recent, "a"),
            [("a.b".into(), true), ("a/1".into(), false)]
        );
        assert_eq!(under(&recent, "").len(), 3);
        tokio::time::advance(Duration::from_secs(31)).await;
        assert_eq!(
            under(&recent, ""),
            [("a.b".into(), true), ("a/1".into(), false)]
        );
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(under(&recent, ""), []);
        assert!(recent.lock().buckets.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_fetched_before_a_write_is_known_to_be_old() {
        let recent = RecentWrites::default();
        let bucket = bucket_id();
        let before = Instant::now();
        tokio::time::advance(Duration::from_millis(1)).await;
        recent.note(&bucket, &[add("a/1")]);
        tokio::time::advance(Duration::from_millis(1)).await;
        let after = Instant::now();
        assert!(recent.is_touched_since(&bucket, "a/", before));
        assert!(!recent.is_touched_since(&bucket, "b", before));
        assert!(!recent.is_touched_since(&bucket, "a/", after));
        tokio::time::advance(LIFE).await;
        assert!(
            recent.is_touched_since(&bucket, "b", after),
            "too long ago to tell"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn more_writes_than_are_remembered_make_everything_before_uncertain() {
        let recent = RecentWrites::default();
        let bucket = bucket_id();
        let before = Instant::now();
        tokio::time::advance(Duration::from_millis(1)).await;
        let lines: Vec<_> = (0..=MAX_WRITES).map(|n| add(&format!("{n}"))).collect();
        recent.note(&bucket, &lines);
        assert_eq!(recent.lock().order.len(), MAX_WRITES);
        assert!(recent.is_touched_since(&bucket, "no such prefix", before));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!recent.is_touched_since(&bucket, "no such prefix", Instant::now()));
    }
}
