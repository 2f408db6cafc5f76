//! Streams that wait for their first byte go before those that have theirs.
//!
//! Where several streams share a core, whoever is under way keeps the cores, and the storage, busy with bytes that are
//! wanted a moment later, while others have nothing to show yet. A pause of a few milliseconds costs the former nothing
//! that their buffers do not cover.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// The longest pause at once.
const PAUSE: Duration = Duration::from_millis(10);
/// Between the beginnings of two pauses of one stream lies at least this: whatever comes, it loses a tenth of its time.
const PERIOD: Duration = Duration::from_millis(100);

/// Counts the streams whose first byte is on its way.
#[derive(Debug, Clone, Default)]
pub(super) struct Starts(Arc<State>);

#[derive(Debug, Default)]
struct State {
    waiting: AtomicUsize,
    /// Wakes those who paused once nobody waits any more.
    done: Notify,
}

/// A stream that waits for its first byte, until it is dropped.
#[derive(Debug)]
pub(super) struct Starting(Arc<State>);

/// What one stream knows of its pauses.
#[derive(Debug, Default)]
pub(super) struct Courtesy {
    paused_at: Option<Instant>,
}

impl Starts {
    /// Counts a stream as waiting for its first byte.
    pub(super) fn begin(&self) -> Starting {
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
        Starting(self.0.clone())
    }

    /// Pauses while others wait for their first byte, within bounds.
    pub(super) async fn give_way(&self, courtesy: &mut Courtesy) {
        if self.is_clear() {
            return;
        }
        let now = Instant::now();
        if courtesy.paused_at.is_some_and(|at| now - at < PERIOD) {
            return;
        }
        courtesy.paused_at = Some(now);
        let done = self.0.done.notified();
        // Looked at again, because the last of them may have got its byte before the line above.
        if !self.is_clear() {
            let _ = timeout_at(now + PAUSE, done).await;
        }
    }

    fn is_clear(&self) -> bool {
        self.0.waiting.load(Ordering::Acquire) == 0
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if self.0.waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.done.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn streams_pause_until_the_last_first_byte_is_there() {
        let starts = Starts::default();
        let mut courtesy = Courtesy::default();
        assert!(starts.give_way(&mut courtesy).now_or_never().is_some());
        let (one, other) = (starts.begin(), starts.begin());
        let mut pause = Box::pin(starts.give_way(&mut courtesy));
        drop(one);
        assert!((&mut pause).now_or_never().is_none());
        drop(other);
        assert!(pause.now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_loses_no_more_than_a_tenth_of_its_time() {
        let starts = Starts::default();
        let mut courtesy = Courtesy::default();
        let _never_ends = starts.begin();
        let began_at = Instant::now();
        starts.give_way(&mut courtesy).await;
        assert_eq!(began_at.elapsed(), PAUSE);
        assert!(starts.give_way(&mut courtesy).now_or_never().is_some());
        tokio::time::advance(PERIOD - PAUSE).await;
        assert!(starts.give_way(&mut courtesy).now_or_never().is_none());
    }
}
