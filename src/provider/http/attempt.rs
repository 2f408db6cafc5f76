//! One attempt: its span, its metrics, its time limit.

use std::time::Duration;

use http::{Extensions, StatusCode};
use reqwest::{Request, Response};
use reqwest_middleware::{Error, Middleware, Next, Result};
use tokio::time::Instant;
use tracing::{Instrument, Span, field};

use crate::telemetry::{Metrics, Upstream};

/// The operation's name for metrics and spans: a request extension. Always a constant, so that the label set is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallName(pub &'static str);

/// Which attempt gave an answer, from 1: a response extension.
///
/// Who deletes something needs it: "not found" after an earlier attempt may well be that attempt's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptNumber(pub u32);

/// What is known of the attempts of a call so far; the extensions of a request outlive its attempts.
#[derive(Debug, Clone, Copy)]
pub(super) struct AttemptLog {
    /// When the first began.
    pub(super) begun: Instant,
    /// How many began.
    pub(super) count: u32,
    /// How the last ended.
    last: Option<Outcome>,
}

/// How an attempt ended: the label.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    Status(StatusCode),
    Connect,
    Timeout,
    Reset,
}

impl Outcome {
    fn of(result: &Result<Response>) -> Self {
        match result {
            Ok(response) => Self::Status(response.status()),
            Err(Error::Reqwest(error)) if error.is_connect() => Self::Connect,
            Err(Error::Reqwest(error)) if error.is_timeout() => Self::Timeout,
            Err(_) => Self::Reset,
        }
    }

    fn label(&self) -> &str {
        match self {
            Self::Status(status) => status.as_str(),
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
        }
    }

    fn is_error(self) -> bool {
        !matches!(self, Self::Status(status) if status.as_u16() < 400)
    }
}

/// The innermost middleware: one call of it is one request on the wire.
#[derive(Debug)]
pub(super) struct Attempt {
    target: Upstream,
    metrics: Metrics,
    timeout: Option<Duration>,
}

impl Attempt {
    pub(super) fn new(target: Upstream, metrics: Metrics, timeout: Option<Duration>) -> Self {
        Self {
            target,
            metrics,
            timeout,
        }
    }

    fn span(&self, request: &Request, call: &str, number: u32) -> Span {
        let span = tracing::info_span!(
            "upstream",
            otel.name = format!("{} {call}", self.target.name()),
            otel.kind = "client",
            http.request.method = request.method().as_str(),
            server.address = request.url().host_str(),
            http.request.resend_count = field::Empty,
            http.response.status_code = field::Empty,
            error.type = field::Empty,
        );
        if number > 1 {
            // Signed, because only such numbers are exported as numbers.
            span.record("http.request.resend_count", i64::from(number - 1));
        }
        span
    }
}

#[async_trait::async_trait]
impl Middleware for Attempt {
    async fn handle(
        &self,
        mut request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        let CallName(call) = extensions.get().copied().unwrap_or(CallName("other"));
        let begun = Instant::now();
        let log = extensions.get_or_insert_with(|| AttemptLog {
            begun,
            count: 0,
            last: None,
        });
        log.count += 1;
        let number = log.count;
        if let Some(last) = log.last {
            self.metrics.upstream_retry(self.target, last.label());
        }
        if let Some(timeout) = self.timeout {
            request.timeout_mut().get_or_insert(timeout);
        }

        let _in_flight = self.metrics.upstream_in_flight(self.target);
        let span = self.span(&request, call, number);
        let mut result = next.run(request, extensions).instrument(span.clone()).await;

        let outcome = Outcome::of(&result);
        self.metrics
            .upstream_attempt(self.target, call, outcome.label(), begun.elapsed());
        if let Outcome::Status(status) = outcome {
            span.record("http.response.status_code", i64::from(status.as_u16()));
        }
        if outcome.is_error() {
            span.record("error.type", outcome.label());
        }
        if let Some(log) = extensions.get_mut::<AttemptLog>() {
            log.last = Some(outcome);
        }
        if let Ok(response) = &mut result {
            response.extensions_mut().insert(AttemptNumber(number));
        }
        result
    }
}
