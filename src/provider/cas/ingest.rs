//! The memory that all uploads together may hold.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, watch};
use tokio::time::Instant;

use crate::telemetry::Metrics;

/// How long a stream waits for memory before it sends what it holds.
pub(super) const PATIENCE: Duration = Duration::from_millis(100);

/// Largest xorb while there is room: one MiB below the protocol's limit.
const ROOMY_CUT: usize = 63 << 20;

/// Largest xorb while several streams share the budget.
const SHARED_CUT: usize = 16 << 20;

/// Smallest size at which a xorb is cut for the budget's sake, unless its stream waits for memory.
const SMALLEST_CUT: usize = 1 << 20;

/// Streams up to which the budget counts as roomy.
const ROOMY_STREAMS: usize = 2;

/// A budget in bytes for everything that uploads hold: frames, chunks, and xorbs until the CAS has them.
///
/// # Behaviour
/// - First come, first served: a stream that waits is not overtaken.
/// - Progress beats xorb size: whoever waits for [`PATIENCE`] sends what it holds, and asks the others to do so too.
/// - A stream that holds nothing more to send may overdraw by one frame, so that no number of slow streams, each with its
///   unfinished chunk, can lock each other out.
#[derive(Debug)]
pub(super) struct IngestBudget {
    free: Arc<Semaphore>,
    capacity: usize,
    streams: AtomicUsize,
    held: Mutex<u64>,
    pressure: watch::Sender<Option<Instant>>,
    cores: Semaphore,
    metrics: Metrics,
}

impl IngestBudget {
    /// Creates a budget of `capacity_bytes`, at least one byte.
    pub(super) fn new(capacity_bytes: u64, metrics: Metrics) -> Arc<Self> {
        let capacity = usize::try_from(capacity_bytes)
            .unwrap_or(usize::MAX)
            .clamp(1, Semaphore::MAX_PERMITS);
        metrics.ingest_limit(capacity as u64);
        Arc::new(Self {
            free: Arc::new(Semaphore::new(capacity)),
            capacity,
            streams: AtomicUsize::new(0),
            held: Mutex::new(0),
            pressure: watch::Sender::new(None),
            cores: Semaphore::new(std::thread::available_parallelism().map_or(1, NonZero::get)),
            metrics,
        })
    }

    /// Counts a stream until the guard is dropped.
    pub(super) fn enter(self: &Arc<Self>) -> ActiveStream {
        self.streams.fetch_add(1, Ordering::Relaxed);
        ActiveStream(self.clone())
    }

    /// Returns the size at which a xorb is cut now: large while there is room; else so that all streams together fill half
    /// of the budget, and the other half can be on its way.
    pub(super) fn cut_bytes(&self) -> usize {
        let streams = self.streams.load(Ordering::Relaxed).max(1);
        let (share, cut) = if streams <= ROOMY_STREAMS {
            (self.capacity / (2 * ROOMY_STREAMS), ROOMY_CUT)
        } else {
            (self.capacity / (2 * streams), SHARED_CUT)
        };
        share.clamp(SMALLEST_CUT, cut)
    }

    /// Charges `len_bytes` if they are free at once.
    pub(super) fn try_charge(self: &Arc<Self>, len_bytes: usize) -> Option<Charge> {
        let permit = self
            .free
            .clone()
            .try_acquire_many_owned(self.permits(len_bytes))
            .ok()?;
        Some(Charge::new(self, Some(permit), len_bytes))
    }

    /// Waits in line for `len_bytes`. More than the whole budget is charged as the whole budget.
    pub(super) async fn charge(self: &Arc<Self>, len_bytes: usize) -> Charge {
        let permit = self
            .free
            .clone()
            .acquire_many_owned(self.permits(len_bytes))
            .await;
        Charge::new(self, permit.ok(), len_bytes)
    }

    /// Charges `len_bytes` beyond the budget.
    pub(super) fn overdraw(self: &Arc<Self>, len_bytes: usize) -> Charge {
        Charge::new(self, None, len_bytes)
    }

    /// Waits for a core to cut and hash on: more threads than cores would only take turns.
    pub(super) async fn core(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed, and doing without a permit would be harmless.
        self.cores.acquire().await.ok()
    }

    /// Asks all streams to send what they hold; at most once per [`PATIENCE`].
    pub(super) fn press(&self) {
        self.pressure.send_if_modified(|last| {
            let is_due = last.is_none_or(|last| last.elapsed() >= PATIENCE);
            if is_due {
                *last = Some(Instant::now());
            }
            is_due
        });
    }

    /// Returns a receiver that changes whenever streams are asked to send what they hold.
    pub(super) fn pressure(&self) -> watch::Receiver<Option<Instant>> {
        self.pressure.subscribe()
    }

    fn permits(&self, len_bytes: usize) -> u32 {
        u32::try_from(len_bytes.min(self.capacity)).unwrap_or(u32::MAX)
    }

    fn count(&self, taken: usize, returned: usize) {
        if taken == returned {
            return;
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        *held = (*held + taken as u64).saturating_sub(returned as u64);
        // Set under the lock, so that the last value shown is the last one counted.
        self.metrics.ingest_buffered(*held);
    }
}

/// A stream that is being uploaded.
#[derive(Debug)]
pub(super) struct ActiveStream(Arc<IngestBudget>);

impl Drop for ActiveStream {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bytes that are held, and the part of the budget that they occupy until this is dropped.
#[derive(Debug)]
pub(super) struct Charge {
    budget: Arc<IngestBudget>,
    permit: Option<OwnedSemaphorePermit>,
    len_bytes: usize,
}

impl Charge {
    fn new(
        budget: &Arc<IngestBudget>,
        permit: Option<OwnedSemaphorePermit>,
        len_bytes: usize,
    ) -> Self {
        budget.count(len_bytes, 0);
        Self {
            budget: budget.clone(),
            permit,
            len_bytes,
        }
    }

    /// Returns a charge for nothing.
    pub(super) fn nothing(budget: &Arc<IngestBudget>) -> Self {
        Self::new(budget, None, 0)
    }

    /// Adds what another charge holds.
    pub(super) fn merge(&mut self, mut other: Self) {
        self.len_bytes += std::mem::take(&mut other.len_bytes);
        match (&mut self.permit, other.permit.take()) {
            (Some(permit), Some(more)) => permit.merge(more),
            (none, Some(more)) => *none = Some(more),
            (_, None) => {}
        }
    }

    /// Takes up to `len_bytes` out. What was overdrawn stays behind longest.
    pub(super) fn split(&mut self, len_bytes: usize) -> Self {
        let len_bytes = len_bytes.min(self.len_bytes);
        let permit = self.permit.as_mut().and_then(|permit| {
            let permits = len_bytes.min(permit.num_permits());
            permit.split(permits)
        });
        self.len_bytes -= len_bytes;
        Self {
            budget: self.budget.clone(),
            permit,
            len_bytes,
        }
    }

    /// Gives up to `len_bytes` back.
    pub(super) fn release(&mut self, len_bytes: usize) {
        drop(self.split(len_bytes));
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.count(0, self.len_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(capacity: u64) -> Arc<IngestBudget> {
        IngestBudget::new(capacity, Metrics::new())
    }

    fn shown(budget: &IngestBudget) -> String {
        let text = budget.metrics.render();
        let line = text
            .lines()
            .find(|line| line.starts_with("hugbucket_ingest_buffered_bytes"));
        line.unwrap().rsplit(' ').next().unwrap().to_owned()
    }

    #[tokio::test]
    async fn what_is_dropped_is_free_again() {
        let budget = budget(100);
        let mut charge = budget.try_charge(60).unwrap();
        assert!(budget.try_charge(60).is_none());
        charge.merge(budget.try_charge(40).unwrap());
        assert_eq!(shown(&budget), "100");
        charge.release(70);
        assert_eq!(
            (budget.free.available_permits(), shown(&budget).as_str()),
            (70, "30")
        );
        let part = charge.split(10);
        drop(charge);
        assert_eq!(budget.free.available_permits(), 90);
        drop(part);
        assert_eq!(
            (budget.free.available_permits(), shown(&budget).as_str()),
            (100, "0")
        );
    }

    #[tokio::test]
    async fn a_frame_larger_than_the_budget_takes_all_of_it() {
        let budget = budget(100);
        let charge = budget.charge(5000).await;
        assert_eq!(
            (budget.free.available_permits(), shown(&budget).as_str()),
            (0, "5000")
        );
        let beyond = budget.overdraw(10);
        assert_eq!(shown(&budget), "5010");
        drop((charge, beyond));
        assert_eq!(
            (budget.free.available_permits(), shown(&budget).as_str()),
            (100, "0")
        );
    }

    #[tokio::test]
    async fn xorbs_are_cut_smaller_the_more_streams_there_are() {
        let budget = budget(256 << 20);
        let mut streams: Vec<_> = (0..2).map(|_| budget.enter()).collect();
        assert_eq!(budget.cut_bytes(), 63 << 20);
        streams.push(budget.enter());
        assert_eq!(budget.cut_bytes(), 16 << 20);
        streams.extend((0..61).map(|_| budget.enter()));
        assert_eq!(budget.cut_bytes(), 2 << 20);
        streams.extend((0..500).map(|_| budget.enter()));
        assert_eq!(budget.cut_bytes(), 1 << 20);
        drop(streams);
        assert_eq!(budget.cut_bytes(), 63 << 20);
    }

    #[tokio::test(start_paused = true)]
    async fn pressure_is_felt_once_per_hundred_milliseconds() {
        let budget = budget(1);
        let mut pressure = budget.pressure();
        budget.press();
        budget.press();
        assert!(pressure.has_changed().unwrap());
        pressure.mark_unchanged();
        budget.press();
        assert!(!pressure.has_changed().unwrap());
        tokio::time::advance(PATIENCE).await;
        budget.press();
        assert!(pressure.has_changed().unwrap());
    }
}
