//! The gate between a session and its uploads: nothing is committed that the client did not finish, or took back.
//!
//! A clean end of the data stream is not enough. A reset that follows a FIN is invisible to whoever reads the stream, a
//! client that dies closes all its connections in no particular order, and an ABOR may arrive while the last bytes are
//! still on their way. So the session says here what it knows of the transfer, and the backend asks right before it lets
//! the upload's body end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::storage::StorageError;

/// The state of a session's current transfer, shared between the session and the backend that carries it out. A cheap
/// clone.
///
/// A session has one transfer at a time, and a gate of its own for every engine that it starts.
///
/// # Behaviour
/// - Shut until the session says that the data stream ended cleanly; an upload that ends before that is refused.
/// - After a clean end an abort still counts until the grace is over; then the upload passes, and an abort comes too late.
/// - One end lets one upload pass.
#[derive(Debug, Clone)]
pub(super) struct Gate(Arc<watch::Sender<State>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No clean end yet, or none any more.
    Shut,
    /// The data stream ended cleanly; an abort counts until this instant.
    Ended { until: Instant },
    /// The upload passed: it runs to completion.
    Passed,
}

impl Gate {
    /// Creates a gate that is shut.
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(State::Shut)))
    }

    /// Notes that the data stream ended cleanly, and that an abort still counts for the time of `grace`.
    pub(super) fn end(&self, grace: Duration) {
        let until = Instant::now() + grace;
        self.0.send_replace(State::Ended { until });
    }

    /// Shuts the gate for a transfer that begins.
    pub(super) fn begin(&self) {
        self.0.send_replace(State::Shut);
    }

    /// Shuts the gate because the transfer was taken back, or its client is gone. Returns whether that came in time, which is
    /// before the upload passed.
    pub(super) fn abort(&self) -> bool {
        let mut is_in_time = true;
        self.0.send_modify(|state| {
            is_in_time = *state != State::Passed;
            if is_in_time {
                *state = State::Shut;
            }
        });
        is_in_time
    }

    /// Waits until the upload whose data stream just ended may be committed.
    ///
    /// The body that the backend hands to the stack awaits this before it reports its clean end.
    ///
    /// Errors: [`StorageError::IncompleteBody`] if the end was no clean one, or the client took the upload back.
    pub(super) async fn permit(&self) -> Result<(), StorageError> {
        let mut states = self.0.subscribe();
        loop {
            let state = *states.borrow_and_update();
            let State::Ended { until } = state else {
                return Err(StorageError::IncompleteBody);
            };
            tokio::select! {
                // The sender lives in `self`.
                _ = states.changed() => {}
                () = tokio::time::sleep_until(until) => {
                    let passes = self.0.send_if_modified(|now| {
                        let passes = *now == state;
                        if passes {
                            *now = State::Passed;
                        }
                        passes
                    });
                    if passes {
                        return Ok(());
                    }
                }
            }
        }
    }
}

#[cfg(test)]
impl Gate {
    /// Reports whether a clean end was noted, and nothing since.
    pub(super) fn has_ended(&self) -> bool {
        matches!(*self.0.borrow(), State::Ended { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_millis(25);

    #[tokio::test(start_paused = true)]
    async fn a_clean_end_lets_one_upload_pass() {
        let gate = Gate::new();
        gate.end(GRACE);
        let ended = Instant::now();
        gate.permit().await.unwrap();
        assert!(ended.elapsed() >= GRACE);
        gate.permit().await.unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_clean_end_nothing_passes() {
        let gate = Gate::new();
        let refused = gate.permit().await.unwrap_err();
        assert!(matches!(refused, StorageError::IncompleteBody));
    }

    #[tokio::test(start_paused = true)]
    async fn an_abort_within_the_grace_counts() {
        let gate = Gate::new();
        gate.end(GRACE);
        let upload = tokio::spawn({
            let gate = gate.clone();
            async move { gate.permit().await }
        });
        tokio::time::sleep(GRACE - Duration::from_millis(1)).await;
        assert!(gate.abort());
        assert!(upload.await.unwrap().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn an_abort_after_the_upload_passed_is_too_late() {
        let gate = Gate::new();
        gate.end(Duration::ZERO);
        gate.permit().await.unwrap();
        assert!(!gate.abort());
        assert!(!gate.abort());
        gate.begin();
        assert!(gate.abort());
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_that_ends_after_an_abort_does_not_pass() {
        let gate = Gate::new();
        gate.end(Duration::ZERO);
        assert!(gate.abort());
        gate.permit().await.unwrap_err();
    }
}
