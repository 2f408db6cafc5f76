//! Writes under way: a batch that waits a moment for them saves a call, and often costs them no time.
//!
//! Without it, writers that all wait for the same batch come back together, and fall apart into groups that take turns: at
//! 64 writers into three, each of which has a call of its own.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::provider::commit::held::Held;

/// Counts the writes of a bucket whose bytes are all in and that have not come to their commit yet.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    count: AtomicUsize,
    has_changed: Notify,
}

/// A write that will come to its commit as soon as the CAS has its bytes. Dropping it says that it came, or that it failed.
pub struct Coming(Held);

impl Coming {
    /// Announces a write of the bucket whose entry this is.
    pub(super) fn new(entry: Held) -> Self {
        entry.under_way.begin();
        Self(entry)
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.under_way.end();
    }
}

impl UnderWay {
    fn begin(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    fn end(&self) {
        if self.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.has_changed.notify_waiters();
        }
    }

    /// Reports whether there is no such write.
    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Waits until there is no such write any more, but no longer than `patience`.
    pub(super) async fn arrive(&self, patience: Duration) {
        let all_here = async {
            loop {
                let mut changed = pin!(self.has_changed.notified());
                // Before the count is read, so that no change is missed.
                changed.as_mut().enable();
                if self.is_empty() {
                    return;
                }
                changed.await;
            }
        };
        // Late ones leave with the next batch.
        let _ = tokio::time::timeout(patience, all_here).await;
    }
}

/// Longest time that a batch waits for company, however slow its calls are: a write that is stuck must not hold up the others.
const MAX_PATIENCE: Duration = Duration::from_millis(250);

/// How long a batch call takes, smoothed over about eight of them.
#[derive(Debug, Default)]
pub(super) struct BatchLatency(AtomicU64);

impl BatchLatency {
    /// Notes how long a call took.
    pub(super) fn note(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX >> 4);
        // Two calls that end at once may lose one of them, which does no harm.
        let smoothed = match self.0.load(Ordering::Relaxed) {
            0 => took,
            before => (before * 7 + took) / 8,
        };
        self.0.store(smoothed, Ordering::Relaxed);
    }

    /// Returns how long a batch may wait for company: three quarters of a call, for beyond that it is better to send two, and
    /// at most 250 ms.
    pub(super) fn patience(&self) -> Duration {
        let call = Duration::from_micros(self.0.load(Ordering::Relaxed));
        (call * 3 / 4).min(MAX_PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_waits_for_all_or_for_as_long_as_it_may() {
        let under_way = UnderWay::default();
        let patience = Duration::from_millis(45);
        assert!(under_way.arrive(patience).now_or_never().is_some());
        under_way.begin();
        under_way.begin();
        let started = tokio::time::Instant::now();
        under_way.end();
        under_way.arrive(patience).await;
        assert_eq!(started.elapsed(), patience);
        let mut waiting = pin!(under_way.arrive(patience));
        assert!(waiting.as_mut().now_or_never().is_none());
        under_way.end();
        assert!(waiting.now_or_never().is_some());
        assert!(under_way.is_empty());
    }

    #[test]
    fn patience_follows_the_calls() {
        let latency = BatchLatency::default();
        assert_eq!(latency.patience(), Duration::ZERO);
        latency.note(Duration::from_millis(80));
        assert_eq!(latency.patience(), Duration::from_millis(60));
        latency.note(Duration::from_millis(160));
        assert_eq!(latency.patience(), Duration::from_micros(67_500));
        latency.note(Duration::from_secs(60));
        assert_eq!(latency.patience(), MAX_PATIENCE);
    }
}
