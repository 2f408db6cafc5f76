//! One line per request, written when the last byte of the answer has gone, or when nobody took it.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use http::{Method, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tracing::Span;

use crate::s3::target::Target;
use crate::storage::RequestContext;
use crate::telemetry::Tally;

/// What a handler found out about a request.
#[derive(Debug, Clone)]
pub(super) struct Note {
    /// S3's name of the operation, a closed set.
    pub(super) operation: &'static str,
    bucket: Option<String>,
    key: Option<String>,
    /// What kind of address was asked: OpenTelemetry's `http.route`.
    pub(super) route: &'static str,
}

impl Default for Note {
    fn default() -> Self {
        Self {
            operation: "Unknown",
            bucket: None,
            key: None,
            route: "/",
        }
    }
}

impl Note {
    /// Notes what the request is about.
    pub(super) fn target(&mut self, target: &Target) {
        match target {
            Target::Service => {}
            Target::Bucket(bucket) => {
                self.route = "/{bucket}";
                self.bucket = Some(bucket.clone());
            }
            Target::Object(bucket, key) => {
                self.route = "/{bucket}/{key+}";
                self.bucket = Some(bucket.clone());
                self.key = Some(key.clone());
            }
        }
    }
}

/// A line under construction. It holds no header, no query, and no secret.
#[derive(Debug)]
pub(super) struct Line {
    method: Method,
    note: Note,
    status: StatusCode,
    code: &'static str,
    request_id: Arc<str>,
    peer: Option<IpAddr>,
    span: Span,
    started: Instant,
    first_byte: Option<Duration>,
    sent_bytes: u64,
    expected_bytes: Option<u64>,
    is_whole: bool,
}

impl Line {
    /// Begins the line of an answer; `code` is S3's error code, empty for none.
    pub(super) fn new(
        method: &Method,
        note: Note,
        status: StatusCode,
        code: &'static str,
        context: &RequestContext,
        started: Instant,
    ) -> Self {
        Self {
            method: method.clone(),
            note,
            status,
            code,
            request_id: Arc::clone(&context.request_id),
            peer: context.peer,
            span: context.span.clone(),
            started,
            first_byte: None,
            sent_bytes: 0,
            expected_bytes: None,
            is_whole: false,
        }
    }

    /// Writes itself when `body` ends, of which `announced_bytes` were announced.
    pub(super) fn follow(mut self, body: Body, announced_bytes: Option<u64>) -> Body {
        self.expected_bytes = announced_bytes.or(body.size_hint().exact());
        self.is_whole = body.is_end_stream();
        Body::new(Followed { body, line: self })
    }
}

impl Line {
    /// Reports whether the request is worth a line of the audit log: it may have changed something, or was denied.
    fn is_audited(&self) -> bool {
        !self.method.is_safe() || matches!(self.status.as_u16(), 401 | 403)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let elapsed = self.started.elapsed();
        let Note {
            operation,
            bucket,
            key,
            ..
        } = &self.note;
        let tally = Tally::of(&self.span);
        let caller = tally.as_deref().and_then(Tally::caller);
        let peer = self.peer.map(tracing::field::display);
        let _entered = self.span.enter();
        tracing::info!(
            target: "hugbucket::access",
            caller,
            method = %self.method,
            operation,
            bucket,
            key,
            status = self.status.as_u16(),
            code = self.code,
            sent_bytes = self.sent_bytes,
            duration_ms = millis(elapsed),
            ttfb_ms = millis(self.first_byte.unwrap_or(elapsed)),
            upstream_calls = tally.as_deref().map(Tally::upstream_calls),
            cache = tally.as_deref().and_then(Tally::cache_result),
            is_whole = self.is_whole,
            peer,
            request_id = &*self.request_id,
            "s3 request"
        );
        if self.is_audited() {
            tracing::info!(
                target: "hugbucket::audit",
                caller,
                protocol = "s3",
                operation,
                bucket,
                key,
                status = self.status.as_u16(),
                code = self.code,
                peer,
                request_id = &*self.request_id,
                "audit"
            );
        }
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// An answer's body with its line.
struct Followed {
    body: Body,
    line: Line,
}

impl HttpBody for Followed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let item = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &item {
            Some(Ok(frame)) => {
                let elapsed = self.line.started.elapsed();
                self.line.first_byte.get_or_insert(elapsed);
                self.line.sent_bytes += frame.data_ref().map_or(0, |bytes| bytes.len() as u64);
                // A body of known length is not polled again after its last byte, whether or not it knows of its end.
                let is_last = self.line.expected_bytes == Some(self.line.sent_bytes);
                self.line.is_whole = is_last || self.body.is_end_stream();
            }
            Some(Err(error)) => tracing::warn!(
                request_id = &*self.line.request_id,
                %error,
                "an answer breaks off"
            ),
            None => self.line.is_whole = true,
        }
        Poll::Ready(item)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
