//! One at a time: what reads a state in the bucket, and writes what follows from it.
//!
//! Two completions of an upload that ran side by side would both write the object, and the second might undo what was written
//! since; in turn, the second finds the first one's mark and answers from it. Of two that change the tags of an object, one
//! would have to begin again.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::OwnedMutexGuard;

use crate::storage::BucketId;

/// Held by whose turn it is; gone when nobody holds it or waits for it.
type Turn = Weak<tokio::sync::Mutex<()>>;

/// What somebody works on, in each bucket.
#[derive(Debug)]
pub(super) struct Turns<T>(Mutex<HashMap<(BucketId, T), Turn>>);

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone + Eq + Hash> Turns<T> {
    /// Waits for the turn; it ends when the guard is dropped.
    pub(super) async fn take(&self, bucket: &BucketId, thing: &T) -> OwnedMutexGuard<()> {
        let key = (bucket.clone(), thing.clone());
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // What nobody holds or waits for is over; only what runs now stays.
            turns.retain(|_, turn| turn.strong_count() > 0);
            let waiting = turns.get(&key).and_then(Weak::upgrade);
            waiting.unwrap_or_else(|| {
                let turn = Arc::default();
                turns.insert(key, Arc::downgrade(&turn));
                turn
            })
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::provider::hub::fake::bucket_id;
    use crate::storage::UploadId;

    #[tokio::test]
    async fn turns_of_one_upload_follow_each_other_and_leave_nothing() {
        let (turns, bucket) = (Turns::default(), bucket_id());
        let (one, other) = (UploadId::random(), UploadId::random());
        let first = turns.take(&bucket, &one).await;
        assert!(turns.take(&bucket, &one).now_or_never().is_none());
        assert!(turns.take(&bucket, &other).now_or_never().is_some());
        drop(first);
        assert!(turns.take(&bucket, &one).now_or_never().is_some());
        drop(turns.take(&bucket, &other).await);
        assert_eq!(turns.0.lock().unwrap().len(), 1);
    }
}
