//! Epochs: how a lookup learns that something was committed since it began.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::storage::{BucketId, ObjectKey};

/// How many counters there are. Keys share them by hash: a commit may spoil the lookup of another key, which then is not
/// kept, but never the other way round, and the memory does not grow with the keys.
const STRIPES: usize = 4096;

/// A key of a bucket.
pub(super) type Slot = (BucketId, ObjectKey);

/// The moment in which a lookup began, as far as its key is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Epoch {
    bucket: u64,
    key: u64,
}

/// One counter for each key and for each bucket, raised by commits.
#[derive(Debug)]
pub(super) struct Epochs {
    stripes: Mutex<Vec<u64>>,
    hasher: RandomState,
}

impl Epochs {
    pub(super) fn new() -> Self {
        Self {
            stripes: Mutex::new(vec![0; STRIPES]),
            hasher: RandomState::new(),
        }
    }

    /// Returns the epoch of a key.
    pub(super) fn now(&self, slot: &Slot) -> Epoch {
        self.read(&self.lock(), slot)
    }

    /// Begins a new epoch for a key; `forget` runs before any lookup can notice.
    pub(super) fn raise_key(&self, slot: &Slot, forget: impl FnOnce()) {
        self.raise(slot, forget);
    }

    /// Begins a new epoch for all keys of a bucket.
    pub(super) fn raise_bucket(&self, bucket: &BucketId, forget: impl FnOnce()) {
        self.raise(bucket, forget);
    }

    /// Runs `keep` if `began` is still the key's epoch, with no commit in between.
    pub(super) fn if_still(&self, slot: &Slot, began: Epoch, keep: impl FnOnce()) {
        let stripes = self.lock();
        if self.read(&stripes, slot) == began {
            keep();
        }
    }

    fn raise(&self, what: &impl Hash, forget: impl FnOnce()) {
        let stripe = self.stripe(what);
        let mut stripes = self.lock();
        stripes[stripe] += 1;
        forget();
    }

    fn read(&self, stripes: &[u64], slot: &Slot) -> Epoch {
        Epoch {
            bucket: stripes[self.stripe(&slot.0)],
            key: stripes[self.stripe(slot)],
        }
    }

    fn stripe(&self, what: &impl Hash) -> usize {
        let hash = self.hasher.hash_one(what) % STRIPES as u64;
        usize::try_from(hash).expect("a stripe's number is small")
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u64>> {
        self.stripes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::testing::{bucket, key, tenant};

    #[test]
    fn a_commit_to_the_key_or_its_bucket_begins_a_new_epoch() {
        let epochs = Epochs::new();
        let slot = (tenant("org").bucket(&bucket()), key("k"));
        let raise_key = || epochs.raise_key(&slot, || {});
        let raise_bucket = || epochs.raise_bucket(&slot.0, || {});
        for raise in [&raise_key as &dyn Fn(), &raise_bucket] {
            let began = epochs.now(&slot);
            let mut kept = false;
            epochs.if_still(&slot, began, || kept = true);
            assert!(kept);
            raise();
            epochs.if_still(&slot, began, || panic!("a commit came in between"));
            assert_ne!(epochs.now(&slot), began);
        }
    }
}
