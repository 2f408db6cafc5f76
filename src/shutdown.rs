//! How the process ends: not ready, then closed, then cut.
//!
//! | moment | what happens |
//! |---|---|
//! | signal | `/readyz` answers 503; connections are still accepted, because load balancers notice late |
//! | + delay | listeners close; running requests and commits go on |
//! | all work done, or + timeout | what still runs is cut, traces are flushed, the process exits with 0 |
//! | second signal | the process exits at once with 1 |

use std::future::Future;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::DrainTimes;

/// What happens between the signal and the end, and the work that the end waits for. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    closing: CancellationToken,
    work: TaskTracker,
}

/// How the drain went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// All work ended by itself.
    Whole,
    /// The time was over, and this many tasks were still at work.
    Cut(usize),
}

impl Shutdown {
    /// Returns a shutdown that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the token that is cancelled when listeners must close. Servers finish what they have begun.
    pub fn closing(&self) -> CancellationToken {
        self.closing.clone()
    }

    /// Returns the tracker of everything that must end before the process may: servers, and commits that outlive their
    /// request.
    pub fn work(&self) -> &TaskTracker {
        &self.work
    }

    /// Waits for the delay, closes the listeners, and returns when the work has ended or its time is over.
    pub async fn drain(self, times: DrainTimes) -> Drained {
        if !times.delay.is_zero() {
            tracing::info!(delay = ?times.delay, "shutting down; connections are still accepted");
            tokio::time::sleep(times.delay).await;
        }
        tracing::info!(timeout = ?times.timeout, "draining; no connection is accepted");
        self.closing.cancel();
        self.work.close();
        match tokio::time::timeout(times.timeout, self.work.wait()).await {
            Ok(()) => Drained::Whole,
            Err(_) => Drained::Cut(self.work.len()),
        }
    }
}

/// Watches SIGTERM and SIGINT from now on. The future ends at the first one; the second ends the process.
///
/// Errors: the handlers cannot be installed.
pub fn termination() -> io::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        next(&mut terminate, &mut interrupt).await;
        tokio::spawn(async move {
            next(&mut terminate, &mut interrupt).await;
            tracing::warn!("second signal: exiting without waiting");
            std::process::exit(1);
        });
    })
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    const TIMES: DrainTimes = DrainTimes {
        delay: Duration::from_secs(5),
        timeout: Duration::from_secs(30),
    };

    #[tokio::test(start_paused = true)]
    async fn listeners_stay_open_until_the_delay_is_over() {
        let shutdown = Shutdown::new();
        let draining = tokio::spawn(shutdown.clone().drain(TIMES));
        tokio::time::sleep(Duration::from_millis(4_999)).await;
        assert!(!shutdown.closing().is_cancelled());
        shutdown.closing().cancelled().await;
        assert_eq!(draining.await.unwrap(), Drained::Whole);
    }

    #[tokio::test(start_paused = true)]
    async fn the_drain_waits_for_work_and_no_longer_than_the_work_takes() {
        let shutdown = Shutdown::new();
        let closing = shutdown.closing();
        shutdown.work().spawn(async move {
            closing.cancelled().await;
            tokio::time::sleep(Duration::from_secs(10)).await;
        });
        let began = Instant::now();
        assert_eq!(shutdown.drain(TIMES).await, Drained::Whole);
        assert_eq!(began.elapsed().as_secs(), 15);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_does_not_end_is_cut_when_the_time_is_over() {
        let shutdown = Shutdown::new();
        shutdown.work().spawn(std::future::pending::<()>());
        let began = Instant::now();
        assert_eq!(shutdown.drain(TIMES).await, Drained::Cut(1));
        assert_eq!(began.elapsed().as_secs(), 35);
    }
}
