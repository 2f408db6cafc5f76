//! Public: what callers without credentials see. Nothing but the buckets that the Hub says everybody may read.
//!
//! The auth layer lets strangers through with [`Rights::PublicRead`], and only with operations that read; whether the
//! bucket is public is known only here, where its full id is. The layer sits above the cache, so that what a member has
//! read of a private bucket is never served to a stranger.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Either};
use tower::{Layer, Service, ServiceExt};

use crate::cache::{ExpiringMap, SingleFlight};
use crate::storage::{
    AnyOperation, AnyOutput, BucketId, Guards, HeadBucket, Rights, StorageError, StorageRequest,
    StorageService, Tenant, Visibility,
};
use crate::telemetry::{AuthFailure, Metrics, RefusedBy};

/// How long a visibility is believed: the longest time for which a bucket that was made private on the Hub is still read.
const BELIEVED_FOR: Duration = Duration::from_secs(10);

/// Buckets whose visibility is known at once. Strangers may ask for any name, so there is a bound.
const MAX_BUCKETS: usize = 1024;

type Answer = Result<AnyOutput, StorageError>;

/// Keeps callers with [`Rights::PublicRead`] out of everything but public buckets.
///
/// # Behaviour
/// - Their operation reaches nothing below unless the bucket is public; the one look-up that tells is shared and kept.
/// - A bucket that is private and one that does not exist are refused alike, so that nobody learns which names exist.
/// - A bucket that this process creates or deletes is looked up again.
/// - Callers with other rights pass.
#[derive(Debug, Clone)]
pub struct PublicReadLayer {
    known: Arc<Known>,
    metrics: Metrics,
}

/// What is known of buckets that strangers asked for.
#[derive(Debug)]
struct Known {
    is_public: ExpiringMap<BucketId, bool>,
    look_ups: SingleFlight<BucketId, bool, StorageError>,
    /// Raised whenever a bucket may have changed; a look-up that began before is not kept.
    epoch: AtomicU64,
}

impl PublicReadLayer {
    /// Creates the layer; nothing is known yet.
    pub fn new(metrics: &Metrics) -> Self {
        let lost = StorageError::internal("the look-up of a bucket panicked");
        Self {
            known: Arc::new(Known {
                is_public: ExpiringMap::new(MAX_BUCKETS, BELIEVED_FOR),
                look_ups: SingleFlight::new(lost),
                epoch: AtomicU64::new(0),
            }),
            metrics: metrics.clone(),
        }
    }
}

impl<S> Layer<S> for PublicReadLayer {
    type Service = PublicRead<S>;

    fn layer(&self, inner: S) -> Self::Service {
        PublicRead {
            inner,
            known: self.known.clone(),
            metrics: self.metrics.clone(),
        }
    }
}

/// See [`PublicReadLayer`].
#[derive(Debug, Clone)]
pub struct PublicRead<S> {
    inner: S,
    known: Arc<Known>,
    metrics: Metrics,
}

impl<S: StorageService<Tenant>> Service<StorageRequest<Tenant>> for PublicRead<S> {
    type Response = AnyOutput;
    type Error = StorageError;
    type Future = Either<S::Future, BoxFuture<'static, Answer>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StorageError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: StorageRequest<Tenant>) -> Self::Future {
        if request.caller.principal.entitlement.rights == Rights::PublicRead {
            let next = self.clone();
            let ready = std::mem::replace(self, next);
            return Either::Right(ready.read(request).boxed());
        }
        if let Some(change) = self.known.change(&request) {
            request.guards.push(change);
        }
        Either::Left(self.inner.call(request))
    }
}

impl<S: StorageService<Tenant>> PublicRead<S> {
    async fn read(mut self, request: StorageRequest<Tenant>) -> Answer {
        let is_public = match request.operation.bucket().cloned() {
            Some(bucket) => {
                let id = request.caller.bucket(&bucket);
                let look_up = StorageRequest {
                    context: request.context.clone(),
                    caller: request.caller.clone(),
                    operation: HeadBucket { bucket }.into(),
                    guards: Guards::default(),
                };
                self.is_public(id, look_up).await?
            }
            None => false,
        };
        if is_public {
            return self.inner.call(request).await;
        }
        let protocol = request.context.protocol.name();
        self.metrics.request_rejected(RefusedBy::Auth, protocol);
        self.metrics.auth_failure(protocol, AuthFailure::Forbidden);
        Err(StorageError::denied("Access Denied"))
    }

    async fn is_public(
        &self,
        id: BucketId,
        request: StorageRequest<Tenant>,
    ) -> Result<bool, StorageError> {
        if let Some(is_public) = self.known.is_public.get(&id) {
            return Ok(is_public);
        }
        let (inner, known) = (self.inner.clone(), self.known.clone());
        let look_up = || look_up(inner, known, id.clone(), request);
        self.known.look_ups.run(id.clone(), look_up).await.0
    }
}

/// Asks for the bucket's visibility, and keeps it unless the bucket may have changed meanwhile.
async fn look_up<S: StorageService<Tenant>>(
    inner: S,
    known: Arc<Known>,
    id: BucketId,
    request: StorageRequest<Tenant>,
) -> Result<bool, StorageError> {
    let epoch = known.epoch.load(Ordering::SeqCst);
    let is_public = match inner.oneshot(request).await {
        Ok(AnyOutput::HeadBucket(found)) => found.info.visibility == Visibility::Public,
        Err(StorageError::NoSuchBucket { .. } | StorageError::AccessDenied { .. }) => false,
        Ok(other) => {
            let text = format!("a look-up was answered with {}", other.name());
            return Err(StorageError::internal(text));
        }
        Err(error) => return Err(error),
    };
    known.is_public.insert(id.clone(), is_public);
    if known.epoch.load(Ordering::SeqCst) != epoch {
        known.is_public.remove(&id);
    }
    Ok(is_public)
}

/// A bucket that is being created or deleted: forgotten when that begins, and again when it has ended.
#[derive(Debug)]
struct Change {
    known: Arc<Known>,
    bucket: BucketId,
}

impl Known {
    fn change(self: &Arc<Self>, request: &StorageRequest<Tenant>) -> Option<Change> {
        let bucket = match &request.operation {
            AnyOperation::CreateBucket(create) => &create.bucket,
            AnyOperation::DeleteBucket(delete) => &delete.bucket,
            _ => return None,
        };
        let bucket = request.caller.bucket(bucket);
        self.forget(&bucket);
        let known = self.clone();
        Some(Change { known, bucket })
    }

    fn forget(&self, bucket: &BucketId) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        self.look_ups.detach(bucket);
        self.is_public.remove(bucket);
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        self.known.forget(&self.bucket);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::future::join_all;
    use tower::service_fn;

    use super::*;
    use crate::layers::testing::{head, principal, request};
    use crate::storage::{
        BucketCreated, BucketFound, BucketInfo, BucketName, CreateBucket, Entitlement, Namespace,
        ObjectFound, Principal, Secret,
    };

    /// A provider with one bucket `b`, whose visibility the test sets; `None` for no bucket.
    #[derive(Clone, Default)]
    struct Hub {
        visibility: Arc<Mutex<Option<Visibility>>>,
        log: Arc<Mutex<Vec<&'static str>>>,
    }

    impl Hub {
        fn set(&self, visibility: Option<Visibility>) {
            *self.visibility.lock().unwrap() = visibility;
        }

        fn answer(&self, request: &StorageRequest<Tenant>) -> Answer {
            self.log.lock().unwrap().push(request.operation.name());
            match &request.operation {
                AnyOperation::HeadBucket(head) => {
                    let bucket = head.bucket.to_string();
                    let visibility = *self.visibility.lock().unwrap();
                    let visibility = visibility.ok_or(StorageError::NoSuchBucket { bucket })?;
                    let info = BucketInfo {
                        name: head.bucket.clone(),
                        created_at: time::OffsetDateTime::UNIX_EPOCH,
                        visibility,
                    };
                    Ok(AnyOutput::HeadBucket(BucketFound { info }))
                }
                AnyOperation::CreateBucket(_) => Ok(AnyOutput::CreateBucket(BucketCreated {})),
                other => {
                    let info = crate::layers::testing::object(other.key().unwrap(), 1);
                    let info = Arc::new(info);
                    Ok(AnyOutput::HeadObject(ObjectFound { info, part: None }))
                }
            }
        }

        fn service(&self, layer: &PublicReadLayer) -> impl StorageService<Tenant> + use<> {
            let hub = self.clone();
            layer.layer(service_fn(move |request: StorageRequest<Tenant>| {
                let answer = hub.answer(&request);
                async move { answer }
            }))
        }

        fn log(&self) -> Vec<&'static str> {
            std::mem::take(&mut self.log.lock().unwrap())
        }
    }

    fn tenant(rights: Rights) -> Tenant {
        Tenant {
            principal: Principal {
                entitlement: Entitlement {
                    rights,
                    ..Entitlement::default()
                },
                ..principal()
            },
            namespace: Namespace::new("org").unwrap(),
            extra_namespaces: Arc::new([]),
            hub_token: Secret::new("hf_1"),
        }
    }

    fn stranger() -> Tenant {
        tenant(Rights::PublicRead)
    }

    fn is_denied(answer: &Answer) -> bool {
        matches!(answer, Err(StorageError::AccessDenied { .. }))
    }

    #[tokio::test]
    async fn strangers_reach_public_buckets_and_no_others() {
        for (visibility, is_open) in [
            (Some(Visibility::Public), true),
            (Some(Visibility::Private), false),
            (None, false),
        ] {
            let (hub, layer) = (Hub::default(), PublicReadLayer::new(&Metrics::new()));
            hub.set(visibility);
            let service = hub.service(&layer);
            let answer = service
                .clone()
                .oneshot(request(stranger(), head("k")))
                .await;
            assert_eq!(is_denied(&answer), !is_open, "{answer:?}");
            let expected: &[_] = if is_open {
                &["HeadBucket", "HeadObject"]
            } else {
                &["HeadBucket"]
            };
            assert_eq!(hub.log(), expected);
            // What was found is kept, for a while, whichever way it went.
            let _ = service.oneshot(request(stranger(), head("k"))).await;
            assert_eq!(hub.log(), expected[1..]);
        }
    }

    #[tokio::test]
    async fn members_reach_everything_without_a_look_up() {
        let (hub, layer) = (Hub::default(), PublicReadLayer::new(&Metrics::new()));
        hub.set(Some(Visibility::Private));
        for rights in [Rights::All, Rights::ReadOnly] {
            let service = hub.service(&layer);
            assert!(
                service
                    .oneshot(request(tenant(rights), head("k")))
                    .await
                    .is_ok()
            );
        }
        assert_eq!(hub.log(), ["HeadObject", "HeadObject"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_made_private_is_closed_after_a_while() {
        let (hub, layer) = (Hub::default(), PublicReadLayer::new(&Metrics::new()));
        let service = hub.service(&layer);
        hub.set(Some(Visibility::Public));
        let ask = || service.clone().oneshot(request(stranger(), head("k")));
        assert!(ask().await.is_ok());
        hub.set(Some(Visibility::Private));
        assert!(ask().await.is_ok());
        tokio::time::advance(BELIEVED_FOR).await;
        assert!(is_denied(&ask().await));
    }

    #[tokio::test]
    async fn a_bucket_made_anew_here_is_looked_up_at_once() {
        let (hub, layer) = (Hub::default(), PublicReadLayer::new(&Metrics::new()));
        let service = hub.service(&layer);
        hub.set(Some(Visibility::Public));
        let ask = || service.clone().oneshot(request(stranger(), head("k")));
        assert!(ask().await.is_ok());
        hub.set(Some(Visibility::Private));
        let create = CreateBucket {
            bucket: BucketName::new("b").unwrap(),
            visibility: None,
        };
        let created = service
            .clone()
            .oneshot(request(tenant(Rights::All), create));
        assert!(created.await.is_ok());
        assert!(is_denied(&ask().await));
    }

    #[tokio::test]
    async fn strangers_who_come_together_cost_one_look_up() {
        let (hub, layer) = (Hub::default(), PublicReadLayer::new(&Metrics::new()));
        hub.set(Some(Visibility::Private));
        let service = hub.service(&layer);
        let asked = (0..16).map(|_| service.clone().oneshot(request(stranger(), head("k"))));
        assert!(join_all(asked).await.iter().all(is_denied));
        assert_eq!(hub.log(), ["HeadBucket"]);
    }
}
