//! Admission: at most so many operations at once, and a refusal, not a queue, for the rest.
//!
//! The permit is taken in `call`, not in `poll_ready`: a permit that is held while nobody calls would be lost to others,
//! and a service that is not ready would queue its callers without a bound.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::{BoxFuture, Either, Ready, ready};
use tokio::sync::Semaphore;
use tower::{Layer, Service};

use crate::storage::{
    AnyOperation, AnyOutput, Protocol, StorageError, StorageRequest, StorageService,
};
use crate::telemetry::{Metrics, RefusedBy};

/// Bounds the operations under way.
///
/// # Behaviour
/// - A request beyond the limit is refused at once with [`StorageError::Overloaded`] and reaches nothing below.
/// - The permit is held until the last byte of the response body, or until the caller leaves.
/// - An FTP login takes no permit. It moves nothing, the adapter bounds how many there are, and a password may have to wait for
///   half a minute before it is looked at: whoever guesses must not take the place of those who work.
#[derive(Debug, Clone)]
pub struct AdmissionLayer {
    permits: Arc<Semaphore>,
    metrics: Metrics,
}

impl AdmissionLayer {
    /// Admits at most `max_in_flight` operations at once; zero means as many as come.
    pub fn new(max_in_flight: usize, metrics: &Metrics) -> Self {
        let permits = match max_in_flight {
            0 => Semaphore::MAX_PERMITS,
            limit => limit.min(Semaphore::MAX_PERMITS),
        };
        Self {
            permits: Arc::new(Semaphore::new(permits)),
            metrics: metrics.clone(),
        }
    }
}

impl<S> Layer<S> for AdmissionLayer {
    type Service = Admission<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Admission {
            inner,
            permits: self.permits.clone(),
            metrics: self.metrics.clone(),
        }
    }
}

/// See [`AdmissionLayer`].
#[derive(Debug, Clone)]
pub struct Admission<S> {
    inner: S,
    permits: Arc<Semaphore>,
    metrics: Metrics,
}

impl<C, S> Service<StorageRequest<C>> for Admission<S>
where
    C: Send + 'static,
    S: StorageService<C>,
{
    type Response = AnyOutput;
    type Error = StorageError;
    type Future = Either<
        BoxFuture<'static, Result<AnyOutput, StorageError>>,
        Ready<Result<AnyOutput, StorageError>>,
    >;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StorageError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: StorageRequest<C>) -> Self::Future {
        if is_login(&request) {
            return Either::Left(self.inner.call(request).boxed());
        }
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            let protocol = request.context.protocol.name();
            self.metrics
                .request_rejected(RefusedBy::Admission, protocol);
            return Either::Right(ready(Err(StorageError::Overloaded)));
        };
        let answer = self.inner.call(request);
        let admitted = async move {
            let output = answer.await?;
            // Outputs without a body drop the closure, and the permit with it, right here.
            Ok(output.map_body(|body| body.guarded(permit)))
        };
        Either::Left(admitted.boxed())
    }
}

fn is_login<C>(request: &StorageRequest<C>) -> bool {
    request.context.protocol == Protocol::Ftp
        && matches!(request.operation, AnyOperation::Identify(_))
}

#[cfg(test)]
mod tests {
    use futures::future::poll_immediate;
    use tower::ServiceExt;

    use super::*;
    use crate::layers::testing::{Script, anonymous, get, head};
    use crate::storage::{Credentials, Identify};

    fn admitting(limit: usize, script: &Script) -> (Metrics, Admission<Script>) {
        let metrics = Metrics::new();
        let layer = AdmissionLayer::new(limit, &metrics);
        (metrics, layer.layer(script.clone()))
    }

    fn has_rejected(metrics: &Metrics, times: u64) -> bool {
        let name = "hugbucket_requests_rejected_total";
        let line = format!("{name}{{layer=\"admission\",protocol=\"s3\"}} {times}");
        metrics.render().lines().any(|found| found == line)
    }

    #[tokio::test]
    async fn the_permit_is_held_to_the_end_of_the_body() {
        let script = Script::new().body("abc");
        let (metrics, service) = admitting(1, &script);
        let first = service.clone().oneshot(anonymous(get("k"))).await.unwrap();
        let refused = service.clone().oneshot(anonymous(get("k"))).await;
        assert!(matches!(refused, Err(StorageError::Overloaded)));
        assert!(script.calls() == 1 && has_rejected(&metrics, 1));
        drop(first);
        service.oneshot(anonymous(get("k"))).await.unwrap();
        assert!(script.calls() == 2 && has_rejected(&metrics, 1));
    }

    #[tokio::test]
    async fn an_answer_without_a_body_frees_its_permit_at_once() {
        let script = Script::new();
        let (_, service) = admitting(1, &script);
        let _first = service.clone().oneshot(anonymous(head("k"))).await.unwrap();
        service.oneshot(anonymous(head("k"))).await.unwrap();
    }

    #[tokio::test]
    async fn a_caller_that_leaves_frees_its_permit() {
        let script = Script::new().hang();
        let (metrics, service) = admitting(1, &script);
        let mut first = service.clone().oneshot(anonymous(get("k")));
        assert!(poll_immediate(&mut first).await.is_none());
        drop(first);
        let mut second = service.oneshot(anonymous(get("k")));
        assert!(poll_immediate(&mut second).await.is_none());
        assert!(script.calls() == 2 && has_rejected(&metrics, 0));
    }

    #[tokio::test]
    async fn logins_that_wait_keep_nobody_out_and_others_that_ask_who_they_are_do() {
        let script = Script::new().hang();
        let (metrics, service) = admitting(1, &script);
        let login = |protocol| {
            let mut request = anonymous(Identify);
            request.context.protocol = protocol;
            service.clone().oneshot(request)
        };
        let mut logins: Vec<_> = (0..3).map(|_| login(Protocol::Ftp)).collect();
        for login in &mut logins {
            assert!(poll_immediate(login).await.is_none());
        }
        let mut other = login(Protocol::S3);
        assert!(poll_immediate(&mut other).await.is_none());
        assert!(script.calls() == 4 && has_rejected(&metrics, 0));
        let refused = service.oneshot(anonymous(get("k"))).await;
        assert!(matches!(refused, Err(StorageError::Overloaded)));
        assert!(script.calls() == 4 && has_rejected(&metrics, 1));
    }

    #[tokio::test]
    async fn being_ready_takes_no_permit() {
        let script = Script::new();
        let (_, mut idle) = admitting(1, &script);
        ServiceExt::<StorageRequest<Credentials>>::ready(&mut idle)
            .await
            .unwrap();
        idle.clone().oneshot(anonymous(head("k"))).await.unwrap();
    }

    #[tokio::test]
    async fn zero_admits_everybody() {
        let script = Script::new().body("abc");
        let (_, service) = admitting(0, &script);
        let mut held = Vec::new();
        for _ in 0..100 {
            held.push(service.clone().oneshot(anonymous(get("k"))).await.unwrap());
        }
        assert_eq!(script.calls(), 100);
    }
}
