//! Provider metrics: counts each attempt that reaches the provider, retries and the cache's look-ups included.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::storage::{AnyOperation, AnyOutput, StorageError, StorageRequest, StorageService};
use crate::telemetry::Metrics;
use crate::telemetry::metrics::ProviderSeries;

/// Counts attempts by operation and outcome, and times them up to the provider's answer.
#[derive(Debug, Clone)]
pub struct ProviderMetricsLayer {
    series: Arc<HashMap<&'static str, Arc<ProviderSeries>>>,
}

impl ProviderMetricsLayer {
    /// Resolves the series of every operation, so that they exist at zero.
    pub fn new(metrics: &Metrics) -> Self {
        let resolve = |operation: &&'static str| {
            let series = Arc::new(metrics.provider_requests(operation));
            (*operation, series)
        };
        Self {
            series: Arc::new(AnyOperation::NAMES.iter().map(resolve).collect()),
        }
    }
}

impl<S> Layer<S> for ProviderMetricsLayer {
    type Service = ProviderMetrics<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ProviderMetrics {
            inner,
            series: self.series.clone(),
        }
    }
}

/// See [`ProviderMetricsLayer`].
#[derive(Debug, Clone)]
pub struct ProviderMetrics<S> {
    inner: S,
    series: Arc<HashMap<&'static str, Arc<ProviderSeries>>>,
}

impl<C, S> Service<StorageRequest<C>> for ProviderMetrics<S>
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
        let series = self
            .series
            .get(request.operation.name())
            .expect("every operation was resolved")
            .clone();
        let started = Instant::now();
        let answer = self.inner.call(request);
        async move {
            let result = answer.await;
            let outcome = result.as_ref().map_or_else(StorageError::outcome, |_| "ok");
            series.ended(outcome, started.elapsed());
            result
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt;

    use super::*;
    use crate::layers::testing::{Script, anonymous, get};

    #[tokio::test]
    async fn attempts_count_by_outcome_and_others_stay_at_zero() {
        let (metrics, script) = (Metrics::new(), Script::new());
        script.fail_next([StorageError::Overloaded]);
        let service = ProviderMetricsLayer::new(&metrics).layer(script);
        let refused = service.clone().oneshot(anonymous(get("k"))).await;
        assert!(refused.is_err());
        service.oneshot(anonymous(get("k"))).await.unwrap();
        let text = metrics.render();
        for line in [
            "hugbucket_provider_requests_total{operation=\"GetObject\",outcome=\"ok\"} 1",
            "hugbucket_provider_requests_total{operation=\"GetObject\",outcome=\"overloaded\"} 1",
            "hugbucket_provider_requests_total{operation=\"HeadObject\",outcome=\"ok\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}");
        }
    }
}
