//! Request metrics: counts everything that comes in, refusals included, from the head to the last body byte.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::layers::outcome::{CLIENT_DISCONNECT, status};
use crate::layers::transfer::{End, Watch, watched};
use crate::storage::{
    AnyOperation, AnyOutput, ByteStream, Protocol, StorageError, StorageRequest, StorageService,
};
use crate::telemetry::metrics::{InFlight, RequestSeries};
use crate::telemetry::{Metrics, Status};

/// Counts requests.
///
/// # Behaviour
/// - A request counts once, when its answer ended: with the last byte of the response body, with its error, or as
///   `client_disconnect` when the caller left before.
/// - A request is in flight until then.
/// - Body bytes count as they pass, so that a long transfer shows while it runs.
#[derive(Debug, Clone)]
pub struct RequestMetricsLayer {
    series: Arc<HashMap<(Protocol, &'static str), Arc<RequestSeries>>>,
}

impl RequestMetricsLayer {
    /// Resolves the series of every operation over every protocol, so that they exist at zero.
    pub fn new(metrics: &Metrics) -> Self {
        let mut series = HashMap::new();
        for protocol in [Protocol::S3, Protocol::Ftp] {
            for operation in AnyOperation::NAMES {
                let resolved = metrics.requests(protocol.name(), operation);
                series.insert((protocol, *operation), Arc::new(resolved));
            }
        }
        Self {
            series: Arc::new(series),
        }
    }
}

impl<S> Layer<S> for RequestMetricsLayer {
    type Service = RequestMetrics<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequestMetrics {
            inner,
            series: self.series.clone(),
        }
    }
}

/// See [`RequestMetricsLayer`].
#[derive(Debug, Clone)]
pub struct RequestMetrics<S> {
    inner: S,
    series: Arc<HashMap<(Protocol, &'static str), Arc<RequestSeries>>>,
}

impl<C, S> Service<StorageRequest<C>> for RequestMetrics<S>
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

    fn call(&mut self, mut request: StorageRequest<C>) -> Self::Future {
        let key = (request.context.protocol, request.operation.name());
        let series = self
            .series
            .get(&key)
            .expect("every operation over every protocol was resolved")
            .clone();
        count_received(&mut request.operation, &series);
        let record = Record::start(series);
        let answer = self.inner.call(request);
        async move {
            match answer.await {
                Ok(output) => Ok(record.answered(output)),
                Err(error) => {
                    record.first_byte();
                    record.end(status(&error), error.outcome());
                    Err(error)
                }
            }
        }
        .boxed()
    }
}

fn count_received(operation: &mut AnyOperation, series: &Arc<RequestSeries>) {
    let Some(payload) = operation.payload_mut() else {
        return;
    };
    let series = series.clone();
    let body = std::mem::replace(&mut payload.body, ByteStream::empty());
    payload.body = body.inspected(move |frame| {
        if let Some(Ok(frame)) = frame {
            series.received(frame.len());
        }
    });
}

/// One request on its way; counts as a client's disconnect unless told otherwise.
struct Record {
    series: Arc<RequestSeries>,
    started: Instant,
    has_first_byte: bool,
    has_ended: bool,
    _in_flight: InFlight,
}

impl Record {
    fn start(series: Arc<RequestSeries>) -> Self {
        Self {
            started: Instant::now(),
            has_first_byte: false,
            has_ended: false,
            _in_flight: series.enter(),
            series,
        }
    }

    /// Goes on along the response body, or ends here where there is none.
    fn answered(mut self, mut output: AnyOutput) -> AnyOutput {
        if let Some(size) = object_size(&output) {
            self.series.object_size(size);
        }
        if output.body_mut().is_some() {
            return output.map_body(|body| watched(body, self));
        }
        self.first_byte();
        self.finish(Status::Ok, "");
        output
    }

    fn first_byte(&self) {
        if !self.has_first_byte {
            self.series.first_byte(self.started.elapsed());
        }
    }

    fn end(mut self, status: Status, error: &str) {
        self.finish(status, error);
    }

    fn finish(&mut self, status: Status, error: &str) {
        if !self.has_ended {
            self.has_ended = true;
            self.series.ended(status, error, self.started.elapsed());
        }
    }
}

impl Watch for Record {
    fn frame(&mut self, len_bytes: usize) {
        self.first_byte();
        self.has_first_byte = true;
        self.series.sent(len_bytes);
    }

    fn end(&mut self, end: &End<'_>) {
        match end {
            End::Complete => self.finish(Status::Ok, ""),
            End::Failed(error) => self.finish(status(error), error.outcome()),
            End::Abandoned => self.finish(Status::ClientError, CLIENT_DISCONNECT),
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.finish(Status::ClientError, CLIENT_DISCONNECT);
    }
}

/// Returns the size in bytes of the object or part that was written or read.
fn object_size(output: &AnyOutput) -> Option<u64> {
    match output {
        AnyOutput::GetObject(output) => Some(output.info.size),
        AnyOutput::PutObject(output) => Some(output.size),
        AnyOutput::UploadPart(output) => Some(output.size),
        AnyOutput::UploadPartCopy(output) => Some(output.size),
        AnyOutput::CompleteUpload(output) => Some(output.size),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, future};
    use tower::ServiceExt;

    use super::*;
    use crate::layers::testing::{Script, anonymous, get, put};

    fn counted(script: Script) -> (Metrics, RequestMetrics<Script>) {
        let metrics = Metrics::new();
        let layer = RequestMetricsLayer::new(&metrics);
        (metrics, layer.layer(script))
    }

    fn has(metrics: &Metrics, line: &str) -> bool {
        metrics.render().lines().any(|found| found == line)
    }

    const IN_FLIGHT_0: &str = "hugbucket_requests_in_flight{protocol=\"s3\"} 0";
    const IN_FLIGHT_1: &str = "hugbucket_requests_in_flight{protocol=\"s3\"} 1";

    fn ended(operation: &str, status: &str, error: &str, times: u32) -> String {
        format!(
            "hugbucket_requests_total{{error=\"{error}\",operation=\"{operation}\",protocol=\"s3\",status=\"{status}\"}} {times}"
        )
    }

    #[tokio::test]
    async fn a_get_is_in_flight_until_its_last_body_byte() {
        let (metrics, service) = counted(Script::new().body("hello"));
        let output = service.oneshot(anonymous(get("k"))).await.unwrap();
        assert!(has(&metrics, IN_FLIGHT_1));
        assert!(has(&metrics, &ended("GetObject", "ok", "", 0)));
        let AnyOutput::GetObject(data) = output else {
            panic!("another output");
        };
        data.body.collect(10).await.unwrap();
        assert!(has(&metrics, IN_FLIGHT_0));
        assert!(has(&metrics, &ended("GetObject", "ok", "", 1)));
        assert!(has(
            &metrics,
            "hugbucket_sent_bytes_total{operation=\"GetObject\",protocol=\"s3\"} 5"
        ));
    }

    #[tokio::test]
    async fn a_client_that_leaves_in_mid_body_is_no_success() {
        let (metrics, service) = counted(Script::new().frames(&["ab", "cd"]));
        let output = service.oneshot(anonymous(get("k"))).await.unwrap();
        let AnyOutput::GetObject(mut data) = output else {
            panic!("another output");
        };
        data.body.next().await.unwrap().unwrap();
        drop(data);
        assert!(has(&metrics, IN_FLIGHT_0));
        assert!(has(&metrics, &ended("GetObject", "ok", "", 0)));
        assert!(has(
            &metrics,
            &ended("GetObject", "client_error", "client_disconnect", 1)
        ));
    }

    #[tokio::test]
    async fn a_client_that_leaves_before_the_answer_counts_once() {
        let (metrics, service) = counted(Script::new().hang());
        let mut answer = service.oneshot(anonymous(get("k")));
        assert!(future::poll_immediate(&mut answer).await.is_none());
        assert!(has(&metrics, IN_FLIGHT_1));
        drop(answer);
        assert!(has(&metrics, IN_FLIGHT_0));
        assert!(has(
            &metrics,
            &ended("GetObject", "client_error", "client_disconnect", 1)
        ));
    }

    #[tokio::test]
    async fn refusals_count_by_name_and_blame() {
        let (metrics, service) = counted(Script::new().fail(StorageError::Overloaded));
        service.oneshot(anonymous(get("k"))).await.unwrap_err();
        assert!(has(
            &metrics,
            &ended("GetObject", "server_error", "overloaded", 1)
        ));
        assert!(has(&metrics, &ended("GetObject", "ok", "", 0)));
        assert!(has(&metrics, IN_FLIGHT_0));
    }

    #[tokio::test]
    async fn bytes_of_an_upload_count_as_they_are_read() {
        let (metrics, service) = counted(Script::new());
        service.oneshot(anonymous(put("k", "hello"))).await.unwrap();
        assert!(has(
            &metrics,
            "hugbucket_received_bytes_total{operation=\"PutObject\",protocol=\"s3\"} 5"
        ));
        assert!(has(&metrics, &ended("PutObject", "ok", "", 1)));
    }
}
