//! Pacing: the last part of a window's calls is spread over the time that is left of it.

use std::time::Duration;

use tokio::time::Instant;

use crate::provider::http::RateLimit;

/// Share of a window that may be spent as fast as anybody likes: three quarters. A burst is what a budget is for; the last
/// quarter makes sure that there is never a wall to run into.
const UNPACED_PARTS: (u64, u64) = (3, 4);

/// Ends that differ by no more are those of the same window: they are told in whole seconds, and take time to arrive.
const SAME_WINDOW: Duration = Duration::from_secs(1);

/// What is known of the current window of a token.
#[derive(Debug)]
pub(super) struct Pace {
    limit: u64,
    /// Calls that are left, those under way already taken off.
    remaining: u64,
    ends_at: Instant,
    /// When the next paced call may leave.
    next_at: Instant,
}

impl Pace {
    /// Begins with what an answer told.
    pub(super) fn new(told: RateLimit, now: Instant) -> Self {
        Self {
            limit: told.limit.unwrap_or(0),
            remaining: told.remaining,
            ends_at: now + told.resets_in,
            next_at: now,
        }
    }

    /// Learns from a later answer.
    pub(super) fn learn(&mut self, told: RateLimit, now: Instant) {
        let ends_at = now + told.resets_in;
        let is_same = self.ends_at.max(ends_at) - self.ends_at.min(ends_at) <= SAME_WINDOW;
        if now >= self.ends_at || !is_same {
            *self = Self::new(told, now);
            return;
        }
        // Answers overtake each other, and calls under way are not in them yet; somebody else may spend the budget too.
        self.remaining = self.remaining.min(told.remaining);
        self.limit = told.limit.unwrap_or(self.limit);
    }

    /// Takes a call, and returns how long it has to wait.
    ///
    /// Errors: how long it would have to wait, if that is longer than `patience`; then it is not taken.
    pub(super) fn take(&mut self, now: Instant, patience: Duration) -> Result<Duration, Duration> {
        if now >= self.ends_at {
            return Ok(Duration::ZERO);
        }
        let (parts, of) = UNPACED_PARTS;
        let is_paced = self.remaining < self.limit - self.limit * parts / of;
        let leaves_at = match (is_paced, self.remaining) {
            (_, 0) => self.ends_at,
            (false, _) => now,
            (true, _) => self.next_at.clamp(now, self.ends_at),
        };
        let pause = leaves_at - now;
        if pause > patience {
            return Err(pause);
        }
        if is_paced && self.remaining > 0 {
            let share = u32::try_from(self.remaining).unwrap_or(u32::MAX);
            self.next_at = leaves_at + (self.ends_at - leaves_at) / share;
        }
        self.remaining = self.remaining.saturating_sub(1);
        Ok(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn told(remaining: u64, resets_in_secs: u64) -> RateLimit {
        RateLimit {
            remaining,
            resets_in: Duration::from_secs(resets_in_secs),
            limit: Some(1000),
        }
    }

    /// Returns after how many seconds each call leaves if all are asked for at once.
    fn burst(pace: &mut Pace, now: Instant, count: usize) -> Vec<f64> {
        let take = |_| pace.take(now, Duration::MAX).unwrap().as_secs_f64();
        (0..count).map(take).collect()
    }

    #[test]
    fn most_of_a_window_may_be_spent_at_once() {
        let now = Instant::now();
        let mut pace = Pace::new(told(1000, 300), now);
        assert!(burst(&mut pace, now, 751).iter().all(|wait| *wait == 0.0));
        assert_eq!(pace.remaining, 249);
    }

    #[test]
    fn the_rest_is_spread_over_the_time_that_is_left() {
        let now = Instant::now();
        let mut pace = Pace::new(told(100, 200), now);
        let waits = burst(&mut pace, now, 100);
        for (n, wait) in (0_u32..).zip(&waits) {
            assert!((wait - f64::from(n) * 2.0).abs() < 1e-3, "call {n}: {wait}");
        }
        assert_eq!(
            burst(&mut pace, now, 1),
            [200.0],
            "it waits for the next window"
        );
    }

    #[test]
    fn who_would_wait_for_too_long_is_told_and_takes_nothing() {
        let now = Instant::now();
        let mut pace = Pace::new(told(10, 100), now);
        assert_eq!(pace.take(now, PATIENCE), Ok(Duration::ZERO));
        for _ in 0..3 {
            assert_eq!(pace.take(now, PATIENCE), Err(Duration::from_secs(10)));
        }
        assert_eq!(
            pace.take(now + Duration::from_secs(8), PATIENCE),
            Ok(Duration::from_secs(2))
        );
    }

    #[test]
    fn the_next_window_is_a_new_beginning() {
        let now = Instant::now();
        let mut pace = Pace::new(told(0, 10), now);
        assert!(pace.take(now, PATIENCE).is_err());
        let later = now + Duration::from_secs(10);
        assert_eq!(pace.take(later, PATIENCE), Ok(Duration::ZERO));
        pace.learn(told(999, 300), later);
        assert_eq!(pace.remaining, 999);
        pace.learn(told(400, 60), later);
        assert_eq!(
            pace.ends_at,
            later + Duration::from_secs(60),
            "it is counted otherwise now"
        );
    }

    #[test]
    fn an_answer_that_was_overtaken_gives_nothing_back() {
        let now = Instant::now();
        let mut pace = Pace::new(told(500, 100), now);
        burst(&mut pace, now, 10);
        pace.learn(told(499, 100), now);
        assert_eq!(pace.remaining, 490);
        pace.learn(told(300, 100), now);
        assert_eq!(pace.remaining, 300, "somebody else spends it too");
    }
}
