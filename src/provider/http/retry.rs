//! Which outcomes are worth another attempt.

use http::StatusCode;
use reqwest::Response;
use reqwest_middleware::Error;
use reqwest_retry::{Retryable, RetryableStrategy};

/// A response extension: whatever its status, this answer is the last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Final;

/// Retries what may pass by itself, and nothing else.
#[derive(Debug)]
pub(super) struct TransientOnly;

impl RetryableStrategy for TransientOnly {
    fn handle(&self, result: &Result<Response, Error>) -> Option<Retryable> {
        let is_transient = match result {
            Ok(response) => {
                is_transient(response.status()) && response.extensions().get::<Final>().is_none()
            }
            Err(Error::Reqwest(error)) => {
                error.is_connect() || error.is_timeout() || error.is_request()
            }
            // Our own middleware has decided.
            Err(Error::Middleware(_)) => false,
        };
        is_transient.then_some(Retryable::Transient)
    }
}

/// Reports whether an answer may be another one a moment later.
pub(super) fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}
