//! Trace: one span an operation, from its head to the last byte of its response body.

use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::stream::poll_fn;
use futures::{FutureExt, StreamExt};
use tower::{Layer, Service};
use tracing::{Instrument, Span};

use crate::layers::outcome::{CLIENT_DISCONNECT, status};
use crate::layers::transfer::{End, Watch, watched};
use crate::storage::{
    AnyOutput, ByteStream, Protocol, StorageError, StorageRequest, StorageService,
};
use crate::telemetry::{Status, tracing as traces};

/// Opens a span for every operation: `S3.GetObject`, `FTP.PutObject`, and so on.
///
/// # Behaviour
/// - Everything below runs inside the span, and so does every poll of the response body.
/// - The span ends with the last body byte. A client that leaves before is told as `error.type=client_disconnect`.
/// - It goes on with the client's trace where the request came with one.
/// - No attribute holds a credential.
#[derive(Debug, Clone, Copy, Default)]
pub struct TraceLayer;

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Trace { inner }
    }
}

/// See [`TraceLayer`].
#[derive(Debug, Clone)]
pub struct Trace<S> {
    inner: S,
}

impl<C, S> Service<StorageRequest<C>> for Trace<S>
where
    C: Send + 'static,
    S: StorageService<C>,
{
    type Response = AnyOutput;
    type Error = StorageError;
    type Future = BoxFuture<'static, Result<AnyOutput, StorageError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StorageError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: StorageRequest<C>) -> Self::Future {
        let span = open(&request);
        let answer = span.in_scope(|| self.inner.call(request));
        let record = Record {
            span: span.clone(),
            sent_bytes: 0,
            has_ended: false,
        };
        async move {
            match answer.await {
                Ok(output) => Ok(record.answered(output)),
                Err(error) => {
                    record.failed(&error);
                    Err(error)
                }
            }
        }
        .instrument(span)
        .boxed()
    }
}

/// Tells the request's span what is done. It is the adapter's, if that has opened one.
fn open<C>(request: &StorageRequest<C>) -> Span {
    let (context, operation) = (&request.context, request.operation.name());
    let span = if context.span.is_none() {
        let parent = context.trace_parent.as_deref();
        traces::request_span(context.protocol.name(), &context.request_id, parent)
    } else {
        context.span.clone()
    };
    let name = match context.protocol {
        Protocol::S3 => format!("S3.{operation}"),
        Protocol::Ftp => format!("FTP.{operation}"),
    };
    traces::name_request(&span, name);
    span.record("operation", operation);
    if let Some(bucket) = request.operation.bucket() {
        span.record("aws.s3.bucket", bucket.as_str());
    }
    if let Some(key) = request.operation.key() {
        span.record("aws.s3.key", key.as_str());
    }
    span
}

/// A span on its way to its end; it tells of a client's disconnect unless told otherwise.
struct Record {
    span: Span,
    sent_bytes: u64,
    has_ended: bool,
}

impl Record {
    /// Goes on along the response body, or ends here where there is none.
    fn answered(mut self, mut output: AnyOutput) -> AnyOutput {
        if output.body_mut().is_none() {
            self.has_ended = true;
            return output;
        }
        let span = self.span.clone();
        output.map_body(|body| watched(entering(body, span), self))
    }

    fn failed(mut self, error: &StorageError) {
        self.fail(error);
    }

    fn fail(&mut self, error: &StorageError) {
        self.has_ended = true;
        self.span.record("error.type", error.outcome());
        if status(error) == Status::ServerError {
            self.span.record("otel.status_code", "ERROR");
        }
    }

    fn disconnect(&mut self) {
        self.has_ended = true;
        self.span.record("error.type", CLIENT_DISCONNECT);
    }
}

impl Watch for Record {
    fn frame(&mut self, len_bytes: usize) {
        self.sent_bytes += len_bytes as u64;
    }

    fn end(&mut self, end: &End<'_>) {
        // Signed, because only such numbers are exported as numbers.
        self.span
            .record("hugbucket.bytes_sent", self.sent_bytes.cast_signed());
        match end {
            End::Complete => self.has_ended = true,
            End::Failed(error) => self.fail(error),
            End::Abandoned => self.disconnect(),
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.has_ended {
            self.disconnect();
        }
    }
}

/// Polls a body inside a span, so that what it fetches on the way shows as the span's children.
fn entering(mut body: ByteStream, span: Span) -> ByteStream {
    let len_bytes = body.len_bytes();
    let frames = poll_fn(move |cx| span.in_scope(|| body.poll_next_unpin(cx)));
    ByteStream::new(frames, len_bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use futures::future::poll_immediate;
    use tower::ServiceExt;
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record as Values};
    use tracing::subscriber::DefaultGuard;
    use tracing_subscriber::layer::{Context as LayerContext, SubscriberExt};
    use tracing_subscriber::registry::LookupSpan;

    use super::*;
    use crate::layers::testing::{Script, anonymous, get, put};

    /// Every field of every span, and `closed` once it has ended.
    #[derive(Clone, Default)]
    struct Spans(Arc<Mutex<BTreeMap<String, String>>>);

    impl Spans {
        fn listen() -> (Self, DefaultGuard) {
            let spans = Self::default();
            let subscriber = tracing_subscriber::registry().with(spans.clone());
            (spans, tracing::subscriber::set_default(subscriber))
        }

        fn field(&self, name: &str) -> Option<String> {
            self.0.lock().unwrap().get(name).cloned()
        }
    }

    impl Visit for Spans {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            let text = format!("{value:?}").trim_matches('"').to_owned();
            self.0.lock().unwrap().insert(field.name().to_owned(), text);
        }
    }

    impl<S> tracing_subscriber::Layer<S> for Spans
    where
        S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    {
        fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: LayerContext<'_, S>) {
            attributes.record(&mut self.clone());
        }

        fn on_record(&self, _: &Id, values: &Values<'_>, _: LayerContext<'_, S>) {
            values.record(&mut self.clone());
        }

        fn on_close(&self, _: Id, _: LayerContext<'_, S>) {
            self.0.lock().unwrap().insert("closed".into(), "yes".into());
        }
    }

    #[tokio::test]
    async fn the_span_ends_with_the_last_body_byte() {
        let (spans, _listening) = Spans::listen();
        let service = TraceLayer.layer(Script::new().body("hello"));
        let output = service.oneshot(anonymous(get("a/b"))).await.unwrap();
        assert_eq!(spans.field("otel.name").unwrap(), "S3.GetObject");
        assert_eq!(spans.field("aws.s3.bucket").unwrap(), "b");
        assert_eq!(spans.field("aws.s3.key").unwrap(), "a/b");
        assert_eq!(spans.field("closed"), None);
        let AnyOutput::GetObject(data) = output else {
            panic!("another output");
        };
        data.body.collect(10).await.unwrap();
        assert_eq!(spans.field("closed").unwrap(), "yes");
        assert_eq!(spans.field("hugbucket.bytes_sent").unwrap(), "5");
        assert_eq!(spans.field("error.type"), None);
    }

    #[tokio::test]
    async fn a_client_that_leaves_is_told_as_such() {
        let (spans, _listening) = Spans::listen();
        let service = TraceLayer.layer(Script::new().hang());
        let mut answer = service.oneshot(anonymous(get("k")));
        assert!(poll_immediate(&mut answer).await.is_none());
        drop(answer);
        assert_eq!(spans.field("error.type").unwrap(), "client_disconnect");
        assert_eq!(spans.field("closed").unwrap(), "yes");
        assert_eq!(spans.field("otel.status_code"), None);
    }

    #[tokio::test]
    async fn only_our_own_failures_mark_the_span_as_an_error() {
        for (error, marked) in [
            (StorageError::BadDigest, None),
            (StorageError::internal("a defect"), Some("ERROR".to_owned())),
        ] {
            let (spans, _listening) = Spans::listen();
            let service = TraceLayer.layer(Script::new().fail(error.clone()));
            service.oneshot(anonymous(put("k", "x"))).await.unwrap_err();
            assert_eq!(spans.field("error.type").unwrap(), error.outcome());
            assert_eq!(spans.field("otel.status_code"), marked);
        }
    }
}
