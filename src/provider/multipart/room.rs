//! How many uploads a bucket may have under way.
//!
//! Nobody tells how many there are but a listing of their records, which is a call. So the number is counted once in ten
//! minutes, followed meanwhile as far as this process begins and ends uploads, and counted again before anybody is
//! refused. Other replicas begin uploads too: the limit keeps a mistake from growing without end, and is not exact.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::cache::ExpiringMap;
use crate::provider::HfProvider;
use crate::provider::multipart::layout::{records, upload_of_record};
use crate::storage::{BucketId, StorageError, Tenant};
use crate::telemetry::UploadEvent;

/// How long a count is believed.
const COUNT_TTL: Duration = Duration::from_secs(600);

/// How soon a count that leaves no room is made again.
const COUNT_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Buckets whose count is remembered.
const MAX_BUCKETS: usize = 1024;

/// The uploads under way in each bucket, as far as they are counted.
#[derive(Debug)]
pub(super) struct Room {
    limit: Option<NonZero<usize>>,
    counts: ExpiringMap<BucketId, Arc<Count>>,
}

#[derive(Debug)]
struct Count {
    uploads: AtomicUsize,
    counted_at: Instant,
}

impl Room {
    /// Lets so many uploads be under way in a bucket; zero for as many as come.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit: NonZero::new(limit),
            counts: ExpiringMap::new(MAX_BUCKETS, COUNT_TTL),
        }
    }

    /// Notes that this process began an upload.
    pub(super) fn begun(&self, bucket: &BucketId) {
        if let Some(count) = self.counts.get(bucket) {
            count.uploads.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes that an upload was completed or aborted.
    pub(super) fn ended(&self, bucket: &BucketId) {
        if let Some(count) = self.counts.get(bucket) {
            let less = |uploads: usize| Some(uploads.saturating_sub(1));
            // Such an update never fails.
            let _ = count
                .uploads
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
    }

    /// Returns the count, unless there is none, or it is due to be made again because it leaves no room.
    fn known(&self, bucket: &BucketId, limit: usize) -> Option<usize> {
        let count = self.counts.get(bucket)?;
        let uploads = count.uploads.load(Ordering::Relaxed);
        let is_fresh = uploads < limit || count.counted_at.elapsed() < COUNT_AGAIN_AFTER;
        is_fresh.then_some(uploads)
    }

    fn counted(&self, bucket: &BucketId, uploads: usize) {
        let count = Count {
            uploads: AtomicUsize::new(uploads),
            counted_at: Instant::now(),
        };
        self.counts.insert(bucket.clone(), Arc::new(count));
    }
}

impl HfProvider {
    /// Checks that one more upload may begin in a bucket. Costs nothing without a limit, and else a call in ten minutes.
    ///
    /// Errors: [`StorageError::InvalidRequest`] if there are too many; what the Hub says of the listing.
    pub(super) async fn check_room(
        &self,
        tenant: &Tenant,
        bucket: &BucketId,
    ) -> Result<(), StorageError> {
        let uploads = &self.0.uploads;
        let Some(limit) = uploads.room.limit.map(NonZero::get) else {
            return Ok(());
        };
        let under_way = match uploads.room.known(bucket, limit) {
            Some(known) => known,
            None => {
                let mut count = 0;
                self.scan(tenant, bucket, records(), |file| {
                    count += usize::from(upload_of_record(&file.path).is_some());
                    Ok(())
                })
                .await?;
                uploads.room.counted(bucket, count);
                count
            }
        };
        if under_way < limit {
            return Ok(());
        }
        uploads.metrics.multipart_upload(UploadEvent::Refused);
        Err(StorageError::InvalidRequest {
            reason: format!(
                "{under_way} multipart uploads are under way in this bucket, and no more than {limit} may be: complete or abort some"
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::hub::fake::bucket_id;

    #[tokio::test(start_paused = true)]
    async fn a_count_is_followed_and_made_again_before_anybody_is_refused_for_long() {
        let (room, bucket) = (Room::new(3), bucket_id());
        assert_eq!(room.known(&bucket, 3), None);
        room.begun(&bucket);
        assert_eq!(room.known(&bucket, 3), None, "nobody has counted");
        room.counted(&bucket, 1);
        room.begun(&bucket);
        assert_eq!(room.known(&bucket, 3), Some(2));
        room.begun(&bucket);
        assert_eq!(room.known(&bucket, 3), Some(3));
        tokio::time::advance(COUNT_AGAIN_AFTER).await;
        assert_eq!(room.known(&bucket, 3), None);
        room.ended(&bucket);
        assert_eq!(room.known(&bucket, 3), Some(2), "there is room again");
        for _ in 0..5 {
            room.ended(&bucket);
        }
        assert_eq!(room.known(&bucket, 3), Some(0));
        tokio::time::advance(COUNT_TTL).await;
        assert_eq!(room.known(&bucket, 3), None);
    }
}
