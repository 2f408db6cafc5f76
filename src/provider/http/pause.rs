//! Between two attempts: whether another one is allowed, and how long the upstream wants to be left alone.
//!
//! The retry policy sees only the start time and the count. What an answer asks for is therefore waited out here, inside
//! the retry, before it sees the answer.

use std::time::Duration;

use http::{Extensions, StatusCode};
use reqwest::{Request, Response};
use reqwest_middleware::{Error, Middleware, Next, Result};

use crate::provider::http::attempt::AttemptLog;
use crate::provider::http::client::HttpConfig;
use crate::provider::http::failure::AnswerLost;
use crate::provider::http::rate_limit::asked_pause;
use crate::provider::http::retry::{Final, is_transient};
use crate::telemetry::Metrics;

/// A request extension: this call may have had its effect although its answer is lost, and must not be made again before
/// somebody has looked.
///
/// It is still repeated where the upstream cannot have acted: no connection, 408, 429, 503.
#[derive(Debug, Clone, Copy)]
pub struct Unrepeatable;

/// The middleware between retry and attempt.
#[derive(Debug)]
pub(super) struct Pause {
    metrics: Metrics,
    max_pause: Duration,
    max_attempts: u32,
    max_total: Duration,
}

impl Pause {
    pub(super) fn new(metrics: Metrics, config: &HttpConfig) -> Self {
        Self {
            metrics,
            max_pause: config.max_pause,
            max_attempts: config.max_retries.saturating_add(1),
            max_total: config.max_total,
        }
    }

    /// Reports whether another attempt will follow after a pause; waiting before a final answer helps nobody.
    fn is_worth_waiting(&self, log: Option<&AttemptLog>, pause: Duration) -> bool {
        pause <= self.max_pause
            && log.is_some_and(|log| {
                log.count < self.max_attempts && log.begun.elapsed() + pause < self.max_total
            })
    }
}

#[async_trait::async_trait]
impl Middleware for Pause {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        let is_unrepeatable = extensions.get::<Unrepeatable>().is_some();
        let mut response = match next.run(request, extensions).await {
            Ok(response) => response,
            Err(Error::Reqwest(error)) if is_unrepeatable && !error.is_connect() => {
                return Err(Error::middleware(AnswerLost(error.without_url())));
            }
            Err(error) => return Err(error),
        };
        let status = response.status();
        if !is_transient(status) {
            return Ok(response);
        }
        if is_unrepeatable && may_have_acted(status) {
            response.extensions_mut().insert(Final);
            return Ok(response);
        }
        if let Some(pause) = asked_pause(status, response.headers()) {
            if self.is_worth_waiting(extensions.get(), pause) {
                tracing::debug!(?pause, %status, "waiting as the upstream asks");
                tokio::time::sleep(pause).await;
                self.metrics.upstream_ratelimited(pause);
            } else {
                response.extensions_mut().insert(Final);
            }
        }
        Ok(response)
    }
}

/// Reports whether an upstream that answers so may have carried out the call.
fn may_have_acted(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 504)
}
