//! One line per request, written when the last byte of the answer has gone, or when nobody took it.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::body::{Body, Bytes};
use http::{Method, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::s3::target::Target;
use crate::storage::RequestContext;

/// What a handler found out about a request.
#[derive(Debug, Clone)]
pub(super) struct Note {
    /// S3's name of the operation, a closed set.
    pub(super) operation: &'static str,
    bucket: Option<String>,
    key: Option<String>,
}

impl Default for Note {
    fn default() -> Self {
        Self {
            operation: "Unknown",
            bucket: None,
            key: None,
        }
    }
}

impl Note {
    /// Notes what the request is about.
    pub(super) fn target(&mut self, target: &Target) {
        match target {
            Target::Service => {}
            Target::Bucket(bucket) => self.bucket = Some(bucket.clone()),
            Target::Object(bucket, key) => {
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
    started: Instant,
    sent_bytes: u64,
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
            started,
            sent_bytes: 0,
            is_whole: false,
        }
    }

    /// Writes itself when `body` ends.
    pub(super) fn follow(mut self, body: Body) -> Body {
        self.is_whole = body.is_end_stream();
        Body::new(Followed { body, line: self })
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let Note {
            operation,
            bucket,
            key,
        } = &self.note;
        tracing::info!(
            target: "hugbucket::access",
            method = %self.method,
            operation,
            bucket,
            key,
            status = self.status.as_u16(),
            code = self.code,
            sent_bytes = self.sent_bytes,
            duration_ms = self.started.elapsed().as_secs_f64() * 1000.0,
            is_whole = self.is_whole,
            peer = self.peer.map(tracing::field::display),
            request_id = &*self.request_id,
            "s3 request"
        );
    }
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
                self.line.sent_bytes += frame.data_ref().map_or(0, |bytes| bytes.len() as u64);
                // A body of known length is not polled again after its last byte.
                self.line.is_whole = self.body.is_end_stream();
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
