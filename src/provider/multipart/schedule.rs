//! When a bucket is swept: by whichever process serves it, because it is used.
//!
//! Nobody lists all buckets to look for work. The first write to a bucket sets a sweep to a random moment within the period,
//! so that replicas that are started together do not sweep together, and the next write after that, plus a period, the next.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cache::ExpiringMap;
use crate::provider::HfProvider;
use crate::storage::{AnyOperation, BucketId, Tenant};

/// Buckets whose sweep may be due at the same time. Of more, some are left to a later write.
const MAX_BUCKETS: usize = 1024;

/// What is swept, and how often.
#[derive(Debug, Clone, Copy)]
pub struct SweepConfig {
    /// How long an upload is left alone after its newest part; `None` for ever.
    pub expiry: Option<Duration>,
    /// A bucket is swept at most once in this time.
    pub period: Duration,
}

impl Default for SweepConfig {
    /// A week, as object stores usually have it, and an hour.
    fn default() -> Self {
        Self {
            expiry: Some(Duration::from_secs(7 * 24 * 3600)),
            period: Duration::from_secs(3600),
        }
    }
}

/// The sweeps to come.
#[derive(Debug)]
pub(in crate::provider) struct Sweeper {
    config: SweepConfig,
    /// Buckets whose next sweep is set, or was not long enough ago.
    set: ExpiringMap<BucketId, ()>,
    room: Arc<Semaphore>,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl Sweeper {
    pub(in crate::provider) fn new(config: SweepConfig) -> Self {
        Self {
            config,
            // A life of zero would turn the map off; entries bring their own.
            set: ExpiringMap::new(MAX_BUCKETS, Duration::from_secs(1)),
            room: Arc::new(Semaphore::new(MAX_BUCKETS)),
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Returns how long an upload is left alone; `None` for ever.
    pub(super) fn expiry(&self) -> Option<time::Duration> {
        // A time that is too long for the calendar is for ever.
        self.config.expiry?.try_into().ok()
    }

    /// Sets a sweep of the bucket, and returns in what time; `None` if one is set, or was lately.
    fn set(&self, bucket: &BucketId) -> Option<Duration> {
        if self.set.get(bucket).is_some() {
            return None;
        }
        let period = self.config.period;
        let delay = period.mul_f64(rand::random_range(0.0..1.0));
        self.set.insert_for(bucket.clone(), (), delay + period);
        Some(delay)
    }

    /// Cancels the sweeps to come, and waits for those under way to leave.
    pub(in crate::provider) async fn stop(&self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl HfProvider {
    /// Notes that a bucket is used, and sets its sweep if it is time. Only a writer's bucket is swept: who may not write
    /// must cause no deletion.
    pub(in crate::provider) fn note_use(&self, tenant: &Tenant, operation: &AnyOperation) {
        let is_write = operation.access() == crate::storage::Access::Write;
        let Some(name) = operation.bucket().filter(|_| is_write) else {
            return;
        };
        let sweeper = &self.0.sweeper;
        let bucket = tenant.bucket(name);
        let Some(delay) = sweeper.set(&bucket) else {
            return;
        };
        let Ok(room) = sweeper.room.clone().try_acquire_owned() else {
            return;
        };
        let (provider, tenant, stopping) = (self.clone(), tenant.clone(), sweeper.stopping.clone());
        let sweep = async move {
            let _room = room;
            tokio::time::sleep(delay).await;
            if let Err(error) = provider.sweep(&tenant, &bucket).await {
                tracing::warn!(%bucket, %error, "failed to sweep");
            }
            if let Err(error) = provider.sweep_copies(&tenant, &bucket).await {
                tracing::warn!(%bucket, %error, "failed to remove copies that have expired");
            }
        };
        sweeper.tasks.spawn(async move {
            // A removal that was sent runs to its end by itself.
            stopping.run_until_cancelled(sweep).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::hub::fake::bucket_id;
    use crate::storage::BucketName;

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn a_bucket_is_swept_at_a_random_moment_and_at_most_once_in_a_period() {
        let sweeper = Sweeper::new(SweepConfig::default());
        let bucket = bucket_id();
        let first = sweeper.set(&bucket).unwrap();
        assert!(first < HOUR);
        tokio::time::advance(first + HOUR - Duration::from_millis(1)).await;
        assert_eq!(sweeper.set(&bucket), None);
        tokio::time::advance(Duration::from_millis(2)).await;
        assert!(sweeper.set(&bucket).is_some());
        let buckets = (0..64).map(|n| BucketId {
            name: BucketName::new(&format!("b{n}")).unwrap(),
            ..bucket_id()
        });
        let moments: std::collections::BTreeSet<_> =
            buckets.filter_map(|bucket| sweeper.set(&bucket)).collect();
        assert_eq!(moments.len(), 64, "replicas do not sweep together");
    }

    #[tokio::test(start_paused = true)]
    async fn stopping_does_not_wait_for_sweeps_to_come() {
        let sweeper = Sweeper::new(SweepConfig::default());
        let stopping = sweeper.stopping.clone();
        sweeper.tasks.spawn(async move {
            stopping.run_until_cancelled(tokio::time::sleep(HOUR)).await;
        });
        let begun = tokio::time::Instant::now();
        sweeper.stop().await;
        assert!(begun.elapsed() < Duration::from_secs(1));
    }

    #[test]
    fn a_time_beyond_the_calendar_is_for_ever() {
        let sweeper = |expiry| {
            let config = SweepConfig {
                expiry,
                ..SweepConfig::default()
            };
            Sweeper::new(config).expiry()
        };
        assert_eq!(sweeper(Some(HOUR)), Some(time::Duration::hours(1)));
        assert_eq!(sweeper(Some(Duration::MAX)), None);
        assert_eq!(sweeper(None), None);
    }
}
