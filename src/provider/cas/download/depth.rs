//! How far a stream looks ahead of its reader, and how large its windows are.

use std::time::Duration;

use crate::storage::ResolvedRange;

const MIB: u64 = 1 << 20;
/// Bytes ahead of the reader; each step is taken only when the one before it lets the reader starve.
const STEPS: [u64; 3] = [LEAST_BYTES as u64, 5 * MIB, 64 * MIB];
/// What every stream may hold in any case, so that an exhausted budget slows streams down but stops none.
pub(super) const LEAST_BYTES: u32 = 2 << 20;
/// A window: large enough to keep plans few, small enough to run several at once.
const SMALL_WINDOW: u64 = 8 * MIB;
const LARGE_WINDOW: u64 = 16 * MIB;
/// Waiting longer than this for the bytes of one window means that a single connection to the storage is too slow, or too
/// far away, for this reader: 8 MiB in 80 ms are 100 MiB/s. Where several streams share a core, each waits for its turn as
/// well, which looking ahead cannot change: they are given so many times as long.
const STARVING: Duration = Duration::from_millis(80);

/// The look-ahead of one stream.
#[derive(Debug)]
pub(super) struct Depth {
    step: usize,
    waited: Duration,
}

impl Depth {
    /// Begins the look-ahead of a stream beside which so many are at work on each core.
    ///
    /// Where cores are idle, several windows at once from the start put them to use; where streams share a core already,
    /// more of them would only hold more memory and make others wait for their first byte.
    pub(super) fn new(streams_per_core: u32) -> Self {
        Self {
            step: usize::from(streams_per_core == 0),
            waited: Duration::ZERO,
        }
    }

    /// Returns how many bytes ahead of the reader a window may begin.
    pub(super) fn ahead_bytes(&self) -> u64 {
        STEPS[self.step]
    }

    /// Returns the window that begins at `start` of a read that ends at `end`.
    pub(super) fn window(&self, start: u64, end: u64) -> ResolvedRange {
        let len = if self.step < 2 {
            SMALL_WINDOW
        } else {
            LARGE_WINDOW
        };
        // A short rest is not worth a plan of its own.
        let has_rest = end - start > len + len / 4;
        ResolvedRange {
            start,
            end: if has_rest { start + len } else { end },
        }
    }

    /// Returns how many bytes of the window may be buffered.
    pub(super) fn buffer_bytes(&self, window: ResolvedRange) -> u32 {
        let len_bytes = window.len_bytes().min(self.ahead_bytes());
        u32::try_from(len_bytes).unwrap_or(u32::MAX)
    }

    /// Notes that the reader waited for a byte.
    pub(super) fn waited(&mut self, time: Duration) {
        self.waited += time;
    }

    /// Notes that a window was read to its end, with so many streams at work on each core; looks further ahead from now on
    /// if the reader starved.
    pub(super) fn window_read(&mut self, streams_per_core: u32) {
        let patience = STARVING * streams_per_core.max(1);
        if self.waited > patience && self.step + 1 < STEPS.len() {
            self.step += 1;
        }
        self.waited = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_starving_reader_makes_the_stream_look_further_ahead() {
        let mut depth = Depth::new(1);
        for (waited_ms, ahead) in [(80, 2), (81, 5), (0, 5), (500, 64), (500, 64)] {
            depth.waited(Duration::from_millis(waited_ms));
            depth.window_read(0);
            assert_eq!(depth.ahead_bytes(), ahead * MIB);
        }
    }

    #[test]
    fn waiting_for_a_core_is_not_starving() {
        let mut depth = Depth::new(1);
        for (waited_ms, ahead) in [(320, 2), (321, 5)] {
            depth.waited(Duration::from_millis(waited_ms));
            depth.window_read(4);
            assert_eq!(depth.ahead_bytes(), ahead * MIB);
        }
    }

    #[test]
    fn a_stream_on_an_idle_core_looks_further_ahead_at_once() {
        assert_eq!(Depth::new(0).ahead_bytes(), 5 * MIB);
        assert_eq!(Depth::new(1).ahead_bytes(), 2 * MIB);
    }

    #[test]
    fn windows_cover_the_read_without_a_short_rest() {
        let depth = Depth::new(1);
        let window = |start, end| {
            let window = depth.window(start, end);
            (window.start, window.end)
        };
        assert_eq!(window(0, 10 * MIB), (0, 10 * MIB));
        assert_eq!(window(0, 10 * MIB + 1), (0, 8 * MIB));
        assert_eq!(window(8 * MIB, 10 * MIB + 1), (8 * MIB, 10 * MIB + 1));
        assert_eq!(window(5, 6), (5, 6));
        let far = Depth {
            step: 2,
            waited: Duration::ZERO,
        };
        assert_eq!(far.window(0, 100 * MIB).end, 16 * MIB);
        assert_eq!(depth.buffer_bytes(depth.window(0, 100 * MIB)), 2 << 20);
        assert_eq!(far.buffer_bytes(far.window(0, 100 * MIB)), 16 << 20);
    }
}
