//! The Hub's budget: calls per user in fixed windows. It is the scarcest thing hugbucket has.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use crate::cache::ExpiringMap;
use crate::provider::http::{RateLimit, asked_pause};
use crate::provider::hub::pace::Pace;
use crate::provider::hub::waiting::Waiting;
use crate::storage::{Secret, SecretId, StorageError};
use crate::telemetry::Metrics;

/// Tokens whose windows are remembered.
const MAX_TOKENS: usize = 1024;

/// How long a call may be held back so that the rest of its window lasts. Then its client is told to come again: a socket
/// that is held helps nobody.
const PACING_PATIENCE: Duration = Duration::from_secs(5);

/// Shows what is left, spreads the last of it, and stops calls that could only be refused.
///
/// # Behaviour
/// - Every answer's budget becomes two gauges.
/// - Once three quarters of a token's window are spent, its further calls leave at the pace at which the rest lasts. One that
///   would wait for more than 5 s fails at once with [`StorageError::RateLimited`].
/// - Of the calls that wait for this pace, none of several holders of the token has more than its share.
/// - Once a token's window is used up, its further calls wait for the next window, or, if that is further away than the
///   longest pause, fail at once with [`StorageError::RateLimited`]. Other tokens are not concerned.
/// - Work that can wait is told to wait once less than half of a token's window is left.
#[derive(Debug)]
pub(super) struct Budget {
    metrics: Metrics,
    max_pause: Duration,
    /// When each exhausted token's next window begins; the entry ends with the wait.
    used_up: ExpiringMap<SecretId, Instant>,
    /// The windows of tokens; an entry ends with its window.
    paces: ExpiringMap<SecretId, Arc<Mutex<Pace>>>,
    /// Calls that wait for the pace.
    waiting: Waiting,
    /// Tokens of whose window less than half is left; the entry ends with the window.
    scarce: ExpiringMap<SecretId, ()>,
}

impl Budget {
    pub(super) fn new(metrics: Metrics, max_pause: Duration) -> Self {
        Self {
            metrics,
            max_pause,
            used_up: ExpiringMap::new(MAX_TOKENS, Duration::from_secs(300)),
            paces: ExpiringMap::new(MAX_TOKENS, Duration::from_secs(300)),
            waiting: Waiting::default(),
            scarce: ExpiringMap::new(MAX_TOKENS, Duration::from_secs(300)),
        }
    }

    /// Returns once a call with this token makes sense.
    pub(super) async fn admit(&self, token: &Secret) -> Result<(), StorageError> {
        let pause = self
            .pause(token)
            .map_err(|after| StorageError::RateLimited { after })?;
        if !pause.is_zero() {
            let _place = self.waiting.enter(token);
            tokio::time::sleep(pause).await;
            self.metrics.upstream_ratelimited(pause);
        }
        Ok(())
    }

    /// Returns how long a call has to wait.
    ///
    /// Errors: how long it would have to, if that is too long.
    fn pause(&self, token: &Secret) -> Result<Duration, Duration> {
        let now = Instant::now();
        let id = token.id();
        if let Some(next_window) = self.used_up.get(&id) {
            let pause = next_window.saturating_duration_since(now);
            return if pause > self.max_pause {
                Err(pause)
            } else {
                Ok(pause)
            };
        }
        match self.paces.get(&id) {
            Some(pace) => {
                let patience = PACING_PATIENCE.min(self.max_pause);
                lock(&pace).take(now, self.waiting.patience(token, patience))
            }
            None => Ok(Duration::ZERO),
        }
    }

    /// Reports whether work that can wait may be done now.
    pub(super) fn has_spare(&self, token: SecretId) -> bool {
        self.scarce.get(&token).is_none() && self.used_up.get(&token).is_none()
    }

    /// Learns from an answer.
    pub(super) fn observe(&self, token: SecretId, response: &reqwest::Response) {
        let budget = RateLimit::from_headers(response.headers());
        if let Some(budget) = budget {
            let limit = budget.limit.and_then(|limit| i64::try_from(limit).ok());
            let remaining = i64::try_from(budget.remaining).unwrap_or(i64::MAX);
            self.metrics.hub_budget(remaining, limit);
            self.learn(token, budget);
            if budget
                .limit
                .is_some_and(|limit| budget.remaining < limit / 2)
            {
                self.scarce.insert_for(token, (), budget.resets_in);
            }
        }
        let pause = match budget {
            Some(budget) if budget.remaining == 0 => Some(budget.resets_in),
            _ if response.status() == StatusCode::TOO_MANY_REQUESTS => {
                asked_pause(response.status(), response.headers())
            }
            _ => None,
        };
        if let Some(pause) = pause.filter(|pause| !pause.is_zero()) {
            self.used_up
                .insert_for(token, Instant::now() + pause, pause);
        }
    }
}

impl Budget {
    fn learn(&self, token: SecretId, told: RateLimit) {
        let now = Instant::now();
        match self.paces.get(&token) {
            Some(pace) => lock(&pace).learn(told, now),
            None => {
                let pace = Arc::new(Mutex::new(Pace::new(told, now)));
                self.paces.insert_for(token, pace, told.resets_in);
            }
        }
    }
}

fn lock(pace: &Mutex<Pace>) -> MutexGuard<'_, Pace> {
    pace.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)]) -> reqwest::Response {
        let mut response = http::Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        response.body("").unwrap().into()
    }

    fn a_token() -> Secret {
        Secret::new("a")
    }

    fn b_token() -> Secret {
        Secret::new("b")
    }

    fn ids() -> (SecretId, SecretId) {
        (Secret::new("a").id(), Secret::new("b").id())
    }

    #[tokio::test(start_paused = true)]
    async fn a_used_up_window_stops_its_token_and_no_other() {
        let budget = Budget::new(Metrics::new(), Duration::from_secs(20));
        let (a, _) = ids();
        budget.observe(a, &answer(200, &[("ratelimit", "\"api\";r=0;t=30")]));
        assert!(matches!(
            budget.admit(&a_token()).await,
            Err(StorageError::RateLimited { after }) if after == Duration::from_secs(30)
        ));
        assert!(budget.admit(&b_token()).await.is_ok());
        tokio::time::advance(Duration::from_secs(12)).await;
        let begun = Instant::now();
        assert!(budget.admit(&a_token()).await.is_ok());
        assert_eq!(begun.elapsed().as_secs(), 18);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_quarter_of_a_window_is_spread_and_counted() {
        let metrics = Metrics::new();
        let budget = Budget::new(metrics.clone(), Duration::from_secs(20));
        let (a, _) = ids();
        let policy = "\"fixed window\";\"api\";q=1000;w=300";
        let headers = [
            ("ratelimit", "\"api\";r=100;t=200"),
            ("ratelimit-policy", policy),
        ];
        budget.observe(a, &answer(200, &headers));
        let begun = Instant::now();
        for second in [0, 2, 4] {
            budget.admit(&a_token()).await.unwrap();
            assert_eq!(begun.elapsed().as_secs(), second);
        }
        assert!(
            metrics
                .render()
                .contains("hugbucket_upstream_ratelimited_seconds_total 4")
        );
        let waiting: Vec<_> = (0..4).map(|_| budget.pause(&a_token())).collect();
        assert!(waiting[1].is_ok() && waiting[3].is_err(), "{waiting:?}");
        budget.admit(&b_token()).await.unwrap();
        assert_eq!(
            begun.elapsed().as_secs(),
            4,
            "another token has its own window"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn of_the_calls_that_wait_nobody_has_all() {
        let budget = Budget::new(Metrics::new(), Duration::from_secs(20));
        let (a, _) = ids();
        let policy = "\"fixed window\";\"api\";q=1000;w=300";
        // Two calls a second.
        let headers = [
            ("ratelimit", "\"api\";r=200;t=100"),
            ("ratelimit-policy", policy),
        ];
        budget.observe(a, &answer(200, &headers));
        let shown = |holder: &str| a_token().on_behalf_of(&holder.into());
        let (hog, other) = (shown("hog"), shown("other"));
        let mut waiting: Vec<_> = (0..50).map(|_| Box::pin(budget.admit(&hog))).collect();
        let mut refused = 0;
        for call in &mut waiting {
            let outcome = futures::future::poll_immediate(call).await;
            refused += usize::from(matches!(outcome, Some(Err(_))));
        }
        assert!((38..=42).contains(&refused), "{refused}");
        assert!(budget.pause(&hog).is_err());
        assert!(budget.pause(&other).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_can_wait_waits_in_the_second_half_of_a_window() {
        let budget = Budget::new(Metrics::new(), Duration::from_secs(20));
        let (a, b) = ids();
        let left = |text| {
            let policy = "\"fixed window\";\"api\";q=500;w=300";
            answer(200, &[("ratelimit", text), ("ratelimit-policy", policy)])
        };
        assert!(budget.has_spare(a));
        budget.observe(a, &left("\"api\";r=250;t=30"));
        assert!(budget.has_spare(a));
        budget.observe(a, &left("\"api\";r=249;t=30"));
        assert!(!budget.has_spare(a) && budget.has_spare(b));
        tokio::time::advance(Duration::from_secs(30)).await;
        assert!(budget.has_spare(a));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_is_shown() {
        let metrics = Metrics::new();
        let budget = Budget::new(metrics.clone(), Duration::from_secs(20));
        let (a, _) = ids();
        budget.observe(
            a,
            &answer(
                200,
                &[
                    ("ratelimit", "\"api\";r=417;t=30"),
                    ("ratelimit-policy", "\"fixed window\";\"api\";q=500;w=300"),
                ],
            ),
        );
        assert!(budget.admit(&a_token()).await.is_ok());
        let text = metrics.render();
        assert!(text.contains("hugbucket_hub_budget_remaining 417"));
        assert!(text.contains("hugbucket_hub_budget_limit 500"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_429_without_a_window_stops_its_token_for_as_long_as_it_asks() {
        let budget = Budget::new(Metrics::new(), Duration::from_secs(20));
        let (a, _) = ids();
        budget.observe(a, &answer(429, &[("retry-after", "40")]));
        assert!(budget.admit(&a_token()).await.is_err());
        budget.observe(a, &answer(503, &[("retry-after", "40")]));
        tokio::time::advance(Duration::from_secs(41)).await;
        assert!(budget.admit(&a_token()).await.is_ok());
    }
}
