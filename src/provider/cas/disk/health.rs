//! Whether the disk is worth being asked: after a failure it is left alone for a while.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::telemetry::DiskFailure;

/// How long nothing is asked of a disk that failed.
const PAUSE: Duration = Duration::from_secs(60);

/// How reading and writing go.
#[derive(Debug, Default)]
pub(super) struct Health {
    pub(super) reads: Gate,
    pub(super) writes: Gate,
    has_warned: AtomicBool,
}

/// Open while the disk works.
#[derive(Debug, Default)]
pub(super) struct Gate {
    closed_until_ms: AtomicU64,
}

impl Health {
    /// Says what does not work, the first time: all that follows is most likely the same.
    pub(super) fn warn_once(&self, dir: &Path, failure: DiskFailure, error: &dyn fmt::Display) {
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                dir = %dir.display(), %error, operation = failure.name(),
                "the disk cache does not work; reads go on without it, and it is tried again every minute"
            );
        }
    }
}

impl Gate {
    /// Reports whether the disk should be asked.
    pub(super) fn is_open(&self) -> bool {
        self.closed_until_ms.load(Ordering::Relaxed) <= now_ms()
    }

    /// Leaves the disk alone for a while.
    pub(super) fn close(&self) {
        let pause = u64::try_from(PAUSE.as_millis()).unwrap_or(u64::MAX);
        let until = now_ms().saturating_add(pause);
        self.closed_until_ms.store(until, Ordering::Relaxed);
    }
}

/// Returns the time in milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_gate_opens_again_in_time() {
        let gate = Gate::default();
        assert!(gate.is_open());
        gate.close();
        assert!(!gate.is_open());
        gate.closed_until_ms.store(now_ms() - 1, Ordering::Relaxed);
        assert!(gate.is_open());
    }
}
