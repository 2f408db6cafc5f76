//! Retry: idempotent operations without a body, only when the error says that it is safe, and within a budget.
//!
//! This is the uppermost of several owners of retry, one per failure class: HTTP calls, batch lines, and streams are
//! retried further down. A level that has tried enough reports [`Retry::Never`], so that attempts add and never multiply.
//! Writes are never repeated here: their bodies are gone, and a lost answer may hide a success.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Sleep;
use tower::retry::budget::{Budget, TpsBudget};
use tower::retry::{Policy, RetryLayer};

use crate::storage::{AnyOutput, Guards, Retry, StorageError, StorageRequest};

/// How often and how soon operations are tried again.
#[derive(Debug, Clone)]
pub struct RetryLimits {
    /// Attempts beyond the first; zero turns retries off.
    pub max_retries: u32,
    /// The mean pause before the first retry; it doubles for each further one.
    pub first_pause: Duration,
    /// The longest pause that an error may ask for. Beyond it the client is told to come back itself.
    pub longest_pause: Duration,
}

impl Default for RetryLimits {
    fn default() -> Self {
        Self {
            max_retries: 2,
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(2),
        }
    }
}

/// Decides which results are tried again.
#[derive(Clone)]
pub struct RetryPolicy {
    limits: RetryLimits,
    retries: u32,
    budget: Arc<TpsBudget>,
}

impl RetryPolicy {
    /// Returns the layer that applies this policy.
    ///
    /// Its budget is shared by all requests: at most one retry for five requests of the last ten seconds, plus two a
    /// second, so that an upstream in trouble is not hit with a multiple of its load.
    pub fn layer(limits: RetryLimits) -> RetryLayer<Self> {
        RetryLayer::new(Self {
            limits,
            retries: 0,
            budget: Arc::new(TpsBudget::new(Duration::from_secs(10), 2, 0.2)),
        })
    }

    /// Returns how long to wait before the next attempt; `None` if there shall be none.
    fn pause(&self, error: &StorageError) -> Option<Duration> {
        if self.retries >= self.limits.max_retries {
            return None;
        }
        let backoff = self.limits.first_pause * 2_u32.saturating_pow(self.retries);
        // Between half and one and a half of the mean, so that callers refused together do not return together.
        let jittered = backoff.mul_f64(rand::random_range(0.5..1.5));
        match error.retry() {
            Retry::Never => None,
            Retry::Safe => Some(jittered),
            Retry::After(after) if after <= self.limits.longest_pause => Some(after + jittered),
            Retry::After(_) => None,
        }
    }
}

impl std::fmt::Debug for RetryPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RetryPolicy")
            .field("limits", &self.limits)
            .field("retries", &self.retries)
            .finish_non_exhaustive()
    }
}

impl<C: Clone> Policy<StorageRequest<C>, AnyOutput, StorageError> for RetryPolicy {
    type Future = Sleep;

    fn retry(
        &mut self,
        request: &mut StorageRequest<C>,
        result: &mut Result<AnyOutput, StorageError>,
    ) -> Option<Sleep> {
        let Err(error) = result else {
            self.budget.deposit();
            return None;
        };
        let pause = self.pause(error)?;
        if !self.budget.withdraw() {
            tracing::debug!(%error, "no retry is left in the budget");
            return None;
        }
        self.retries += 1;
        tracing::debug!(
            operation = request.operation.name(),
            attempt = self.retries + 1,
            ?pause,
            %error,
            "trying again"
        );
        Some(tokio::time::sleep(pause))
    }

    fn clone_request(&mut self, request: &StorageRequest<C>) -> Option<StorageRequest<C>> {
        let operation = request.operation.try_clone()?;
        Some(StorageRequest {
            context: request.context.clone(),
            caller: request.caller.clone(),
            operation,
            // Guards wait for effects, and what may be repeated has none.
            guards: Guards::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use tower::{Layer, ServiceExt};

    use super::*;
    use crate::layers::testing::{Script, copy, delete, get, head, put, request, tenant};
    use crate::storage::AnyOperation;

    fn unavailable(is_safe_to_retry: bool) -> StorageError {
        StorageError::Unavailable {
            service: "hub",
            reason: "connection refused".into(),
            is_safe_to_retry,
        }
    }

    async fn calls_of(operation: impl Into<AnyOperation>, script: &Script) -> (bool, usize) {
        let service = RetryPolicy::layer(RetryLimits::default()).layer(script.clone());
        let result = service.oneshot(request(tenant("org"), operation)).await;
        (result.is_ok(), script.calls())
    }

    #[tokio::test(start_paused = true)]
    async fn reads_are_tried_again_while_it_is_safe() {
        let script = Script::new();
        script.fail_next([unavailable(true), unavailable(true)]);
        assert_eq!(calls_of(get("k"), &script).await, (true, 3));
        let script = Script::new().fail(unavailable(true));
        assert_eq!(calls_of(head("k"), &script).await, (false, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn an_exhausted_lower_level_is_not_tried_again() {
        let script = Script::new().fail(unavailable(false));
        assert_eq!(calls_of(get("k"), &script).await, (false, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn put_copy_and_delete_are_never_retried() {
        let script = Script::new().fail(unavailable(true));
        assert_eq!(calls_of(put("k", "x"), &script).await, (false, 1));
        assert_eq!(calls_of(copy("a", "k"), &script).await, (false, 2));
        assert_eq!(calls_of(delete("k"), &script).await, (false, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_wait_is_waited_and_a_long_one_is_the_clients() {
        let started = tokio::time::Instant::now();
        let script = Script::new();
        let after = Duration::from_secs(1);
        script.fail_next([StorageError::RateLimited { after }]);
        assert_eq!(calls_of(get("k"), &script).await, (true, 2));
        assert!(started.elapsed() >= after);
        let after = Duration::from_secs(60);
        let script = Script::new().fail(StorageError::RateLimited { after });
        assert_eq!(calls_of(get("k"), &script).await, (false, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_broad_failure_is_not_answered_with_a_multiple_of_the_load() {
        let script = Script::new().fail(unavailable(true));
        let service = RetryPolicy::layer(RetryLimits::default()).layer(script.clone());
        for _ in 0..100 {
            let result = service
                .clone()
                .oneshot(request(tenant("org"), get("k")))
                .await;
            assert!(result.is_err());
        }
        // Not 300: the reserve of two retries a second is all that is left once nothing succeeds.
        assert!(script.calls() < 150, "{} calls", script.calls());
    }
}
