//! The table of buckets. An entry is there while somebody holds it, or while a change waits in it; whoever lets go of it last
//! takes it out, however that comes about: a verdict, a write that fails after it was announced, a caller that leaves.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, MutexGuard, PoisonError};

use crate::provider::commit::{Bucket, Committer};
use crate::storage::BucketId;

/// A bucket's entry in use.
pub(super) struct Held {
    committer: Committer,
    bucket: BucketId,
    /// None only while it is dropped.
    entry: Option<Arc<Bucket>>,
}

impl Committer {
    /// Returns the entry of a bucket, a new one if there is none.
    pub(super) fn hold(&self, bucket: &BucketId) -> Held {
        let entry = self.buckets().entry(bucket.clone()).or_default().clone();
        Held {
            committer: self.clone(),
            bucket: bucket.clone(),
            entry: Some(entry),
        }
    }

    pub(super) fn buckets(&self) -> MutexGuard<'_, HashMap<BucketId, Arc<Bucket>>> {
        (self.0.buckets.lock()).unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clone for Held {
    fn clone(&self) -> Self {
        self.committer.hold(&self.bucket)
    }
}

impl Deref for Held {
    type Target = Bucket;

    fn deref(&self) -> &Bucket {
        (self.entry.as_deref()).expect("an entry is held until the drop")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Under the lock, so that of two that let go at once one sees itself to be the last.
        let mut buckets = self.committer.buckets();
        self.entry = None;
        let is_left = |entry: &Arc<Bucket>| Arc::strong_count(entry) == 1;
        if (buckets.get(&self.bucket))
            .is_some_and(|entry| is_left(entry) && entry.queue().is_idle())
        {
            buckets.remove(&self.bucket);
        }
    }
}
