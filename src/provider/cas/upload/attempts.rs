//! Retry of calls whose body is a rope: the request is built anew for each attempt.

use std::time::Duration;

use http::StatusCode;
use rand::RngExt;
use reqwest::Response;
use reqwest_middleware::RequestBuilder;
use tokio::time::{Instant, sleep};

use crate::provider::cas::access::{AccessSource, CasAccess, Scope};
use crate::provider::cas::error;
use crate::provider::http::asked_pause;
use crate::storage::StorageError;

/// Attempts of one call, the first included.
const MAX_ATTEMPTS: u32 = 5;

/// No attempt begins later than this after the first.
const MAX_TOTAL: Duration = Duration::from_secs(90);

/// Longest pause that is granted to the CAS; a longer one is the client's to wait for.
const MAX_PAUSE: Duration = Duration::from_secs(20);

const FIRST_BACKOFF: Duration = Duration::from_millis(250);

/// The attempts that are left to one write to the CAS, however many calls it takes.
#[derive(Debug)]
pub(super) struct Attempts {
    begun: Instant,
    made: u32,
}

impl Attempts {
    pub(super) fn new() -> Self {
        Self {
            begun: Instant::now(),
            made: 0,
        }
    }

    /// Waits before another attempt, for a jittered exponential time or for as long as the CAS asks. Returns false if there
    /// shall be none.
    pub(super) async fn another(&mut self, asked: Option<Duration>) -> bool {
        self.made += 1;
        let backoff = FIRST_BACKOFF * 2_u32.pow(self.made.min(6) - 1);
        let pause = asked.unwrap_or_else(|| backoff.mul_f64(rand::rng().random_range(0.5..1.5)));
        let is_left = self.made < MAX_ATTEMPTS
            && pause <= MAX_PAUSE
            && self.begun.elapsed() + pause < MAX_TOTAL;
        if is_left {
            sleep(pause).await;
        }
        is_left
    }

    /// Sends what `build` builds until the answer is final: success, or an error that stays.
    ///
    /// Connect errors, broken connections, timeouts, 408, 409, 429, and 5xx are tried again: everything written to the CAS
    /// is content-addressed, so that sending twice is safe. A 409 says that an earlier attempt is still being stored.
    pub(super) async fn send(
        &mut self,
        what: &'static str,
        build: impl Fn() -> RequestBuilder + Send + Sync,
    ) -> Result<Response, StorageError> {
        loop {
            match build().send().await {
                Ok(response) => {
                    let status = response.status();
                    if !is_transient(status) {
                        return Ok(response);
                    }
                    let asked = asked_pause(status, response.headers());
                    if !self.another(asked).await {
                        return Ok(response);
                    }
                }
                Err(failure) => {
                    if !self.another(None).await {
                        return Err(error::from_transport(what, &failure));
                    }
                }
            }
        }
    }

    /// Sends with a token, and once more with a new one if the CAS refuses the first.
    pub(super) async fn send_authorized(
        &mut self,
        what: &'static str,
        access: &AccessSource,
        build: impl Fn(&CasAccess) -> RequestBuilder + Send + Sync,
    ) -> Result<Response, StorageError> {
        let cached = access.get(Scope::Write).await?;
        let response = self.send(what, || build(&cached)).await?;
        if !matches!(
            response.status(),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
        ) {
            return Ok(response);
        }
        let fresh = access.refresh(Scope::Write, cached).await?;
        self.send(what, || build(&fresh)).await
    }
}

fn is_transient(status: StatusCode) -> bool {
    // 501 and 507 say what will still be true in a second.
    matches!(
        status.as_u16(),
        408 | 409 | 425 | 429 | 500 | 502 | 503 | 504
    )
}

/// Returns the address of an endpoint of the CAS.
pub(super) fn endpoint(access: &CasAccess, path: &str) -> String {
    format!("{}{path}", access.url.as_str().trim_end_matches('/'))
}
