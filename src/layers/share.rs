//! Shares: how many operations one credential may have under way.
//!
//! Admission bounds all operations together, before anybody knows whose they are. Here it is known, so that one credential
//! cannot take all of it: what a credential may hold shrinks with what is left, as buffers are shared in switches (dynamic
//! thresholds; Choudhury and Hahne, 1998). However many take as much as they can, some room is left for whoever comes
//! next, and nothing needs to be known in advance about who will.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use futures::FutureExt;
use futures::future::{BoxFuture, Either, Ready, ready};
use tower::{Layer, Service};

use crate::layers::quota::{Holder, Quotas};
use crate::storage::{AnyOutput, Principal, Quota, StorageError, StorageRequest, StorageService};
use crate::telemetry::{Metrics, RefusedBy};

/// A credential may hold so many times what is free. So one alone holds at most eight ninths of all operations, two that
/// want everything hold eight seventeenths each, and so on.
const TIMES_FREE: usize = 8;

/// Bounds the operations under way of each credential.
///
/// # Behaviour
/// - A request beyond the credential's quota is refused at once with [`StorageError::Overloaded`], and so is one beyond its
///   share where several credentials share the process; neither reaches anything below.
/// - Whoever has nothing under way is never refused here.
/// - A place is held until the last byte of the response body, or until the caller leaves.
#[derive(Debug, Clone)]
pub struct ShareLayer {
    places: Arc<Places>,
    metrics: Metrics,
}

impl ShareLayer {
    /// Shares `max_in_flight` operations, zero for as many as come, among the holders of `quotas`.
    pub fn new(max_in_flight: usize, quotas: Arc<ArcSwap<Quotas>>, metrics: &Metrics) -> Self {
        Self {
            places: Arc::new(Places {
                capacity: max_in_flight,
                quotas,
                taken: Mutex::default(),
            }),
            metrics: metrics.clone(),
        }
    }
}

impl<S> Layer<S> for ShareLayer {
    type Service = Share<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Share {
            inner,
            places: self.places.clone(),
            metrics: self.metrics.clone(),
        }
    }
}

/// See [`ShareLayer`].
#[derive(Debug, Clone)]
pub struct Share<S> {
    inner: S,
    places: Arc<Places>,
    metrics: Metrics,
}

impl<S> Service<StorageRequest<Principal>> for Share<S>
where
    S: StorageService<Principal>,
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

    fn call(&mut self, request: StorageRequest<Principal>) -> Self::Future {
        let Some(place) = Places::take(&self.places, Holder::of(&request)) else {
            let protocol = request.context.protocol.name();
            self.metrics.request_rejected(RefusedBy::Share, protocol);
            return Either::Right(ready(Err(StorageError::Overloaded)));
        };
        let answer = self.inner.call(request);
        let placed = async move {
            let output = answer.await?;
            // Outputs without a body drop the closure, and the place with it, right here.
            Ok(output.map_body(|body| body.guarded(place)))
        };
        Either::Left(placed.boxed())
    }
}

/// The operations under way.
#[derive(Debug)]
struct Places {
    /// Zero for no limit.
    capacity: usize,
    quotas: Arc<ArcSwap<Quotas>>,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    /// Of each credential that has any.
    by_holder: HashMap<Holder, usize>,
}

impl Places {
    /// Takes a place, if there is one for this credential.
    fn take(places: &Arc<Self>, holder: Holder) -> Option<Place> {
        let quotas = places.quotas.load();
        let (quota, is_shared) = (quotas.quota(&holder), quotas.is_shared);
        let mut taken = places.lock();
        let own = taken.by_holder.get(&holder).copied().unwrap_or(0);
        if !places.has_place(own, taken.total, quota, is_shared) {
            return None;
        }
        taken.total += 1;
        taken.by_holder.insert(holder.clone(), own + 1);
        drop(taken);
        Some(Place {
            places: Arc::clone(places),
            holder,
        })
    }

    fn has_place(&self, own: usize, total: usize, quota: Quota, is_shared: bool) -> bool {
        let is_within_quota = quota.max_requests.is_none_or(|most| own < most);
        let free = self.capacity.saturating_sub(total);
        let is_within_share =
            self.capacity == 0 || !is_shared || own == 0 || own < free.saturating_mul(TIMES_FREE);
        is_within_quota && is_within_share
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // Every change leaves the counts whole.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among the operations under way, until it is dropped.
#[derive(Debug)]
struct Place {
    places: Arc<Places>,
    holder: Holder,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.total = taken.total.saturating_sub(1);
        if let Some(own) = taken.by_holder.get_mut(&self.holder) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                taken.by_holder.remove(&self.holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt;

    use super::*;
    use crate::layers::testing::{Script, get, head, principal, request};
    use crate::storage::Protocol;

    fn sharing(capacity: usize, quotas: Quotas) -> (Script, Share<Script>, Metrics) {
        let (script, metrics) = (Script::new().body("abc"), Metrics::new());
        let quotas = Arc::new(ArcSwap::from_pointee(quotas));
        let layer = ShareLayer::new(capacity, quotas, &metrics);
        let service = layer.layer(script.clone());
        (script, service, metrics)
    }

    async fn ask(service: &Share<Script>, who: &str) -> Result<AnyOutput, StorageError> {
        let caller = Principal {
            id: who.into(),
            ..principal()
        };
        service.clone().oneshot(request(caller, get("k"))).await
    }

    /// Has a credential take as many places as it gets, and returns them.
    async fn fill(service: &Share<Script>, who: &str) -> Vec<AnyOutput> {
        let mut held = Vec::new();
        while let Ok(output) = ask(service, who).await {
            held.push(output);
        }
        held
    }

    fn shared() -> Quotas {
        Quotas {
            is_shared: true,
            ..Quotas::default()
        }
    }

    #[tokio::test]
    async fn a_quota_bounds_its_credential_and_no_other() {
        let few = Quota {
            max_requests: Some(2),
            ..Quota::default()
        };
        let quotas = Quotas {
            of: [(Holder::new(Protocol::S3, "few"), few)].into(),
            ..Quotas::default()
        };
        let (script, service, metrics) = sharing(0, quotas);
        let held = fill(&service, "few").await;
        assert_eq!(
            (held.len(), script.calls()),
            (2, 2),
            "a refused one reaches nothing"
        );
        let refused = ask(&service, "few").await;
        assert!(matches!(refused, Err(StorageError::Overloaded)));
        let line = "hugbucket_requests_rejected_total{layer=\"share\",protocol=\"s3\"} 2";
        assert!(metrics.render().lines().any(|found| found == line));
        for _ in 0..5 {
            assert!(ask(&service, "other").await.is_ok());
        }
        drop(held);
        assert!(ask(&service, "few").await.is_ok());
    }

    #[tokio::test]
    async fn nobody_takes_everything_and_whoever_comes_gets_something() {
        let (_, service, _) = sharing(90, shared());
        let mut first = fill(&service, "a").await;
        assert_eq!(first.len(), 80, "eight ninths");
        let second = fill(&service, "b").await;
        assert!(second.len() >= 5, "{}", second.len());
        assert!(ask(&service, "c").await.is_ok());
        // What the first gives back goes to whoever has less, not to it again.
        first.truncate(60);
        let (more, again) = (fill(&service, "b").await, fill(&service, "a").await);
        assert!(more.len() >= 15, "{}", more.len());
        assert_eq!(again.len(), 0);
    }

    #[tokio::test]
    async fn who_is_alone_shares_with_nobody() {
        let (_, service, _) = sharing(90, Quotas::default());
        let mut held = Vec::new();
        for _ in 0..90 {
            held.push(ask(&service, "a").await.unwrap());
        }
    }

    #[tokio::test]
    async fn an_answer_without_a_body_gives_its_place_back_at_once() {
        let (_, service, _) = sharing(2, shared());
        for _ in 0..10 {
            let request = request(principal(), head("k"));
            service.clone().oneshot(request).await.unwrap();
        }
        assert!(service.places.lock().by_holder.is_empty());
        assert_eq!(service.places.lock().total, 0);
    }
}
