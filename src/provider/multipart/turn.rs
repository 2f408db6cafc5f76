//! One completion or abort of an upload at a time.
//!
//! Two completions that ran side by side would both write the object, and the second might undo what was written since. In
//! turn, the second finds the first one's mark and answers from it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::OwnedMutexGuard;

use crate::storage::{BucketId, UploadId};

type Key = (BucketId, UploadId);

/// The uploads that somebody is ending.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<Key, Weak<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// Waits for the turn; it ends when the guard is dropped.
    pub(super) async fn take(
        &self,
        bucket: &BucketId,
        upload_id: &UploadId,
    ) -> OwnedMutexGuard<()> {
        let key = (bucket.clone(), upload_id.clone());
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
