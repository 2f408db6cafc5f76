//! Cache: what is known of objects, so that reads need not ask the Hub each time.
//!
//! The layer sits below auth and namespace: its keys are full bucket ids, and a hit is never served to a stranger. What is
//! content-addressed (chunks, reconstruction plans) is cached further down, by the clients that fetch it.
//!
//! Listings do not fill it: they lack the metadata that a sidecar holds, which a HEAD needs.

mod epochs;
mod eviction;
mod infos;

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use tower::{Layer, Service, ServiceExt};
use tracing::Instrument;
use tracing::field::Empty;

use crate::storage::{
    AnyOperation, AnyOutput, Changes, GetObject, Guards, HeadObject, ObjectFound, ObjectInfo,
    ReadConditions, RequestContext, StorageError, StorageRequest, StorageService, Tenant,
};
use crate::telemetry::{CacheResult, Metrics};

use epochs::Slot;
use eviction::{Effects, Eviction};
pub use infos::FileInfoLimits;
use infos::FileInfos;

type Answer = Result<AnyOutput, StorageError>;

/// Caches file info.
///
/// # Behaviour
/// - HeadObject is answered from the cache; its conditions are judged against what is there. GetObject gets what is known
///   handed down, so that the provider looks nothing up.
/// - Concurrent lookups of one object make one call. Errors are shared by those who wait for them, and never kept.
/// - A lookup that began before a commit never hides it afterwards: it neither fills the cache nor is joined.
/// - Writes evict when their outcome is known, even if their caller has left by then.
/// - A read of an object that is gone although the cache knew it looks it up again, once.
/// - A look-up of a part asks the provider, since the cache does not know the parts.
/// - What others are told to have changed is forgotten at once, and spoils the look-ups of it that are under way.
/// - With a life or a size of zero, or where changes should be told and are not, every read asks the provider.
#[derive(Debug, Clone)]
pub struct FileInfoCacheLayer {
    infos: FileInfos,
}

impl FileInfoCacheLayer {
    /// Creates an empty cache, shared by all services that this layer makes.
    pub fn new(limits: FileInfoLimits, metrics: &Metrics) -> Self {
        Self {
            infos: FileInfos::new(limits, metrics.clone()),
        }
    }

    /// Has it forget what others are told to have changed.
    #[must_use]
    pub fn listening_to(self, changes: &Changes) -> Self {
        let infos = self.infos.clone();
        changes.listen(move |notice| infos.hear(notice));
        self
    }
}

impl<S> Layer<S> for FileInfoCacheLayer {
    type Service = FileInfoCache<S>;

    fn layer(&self, inner: S) -> Self::Service {
        FileInfoCache {
            inner,
            infos: self.infos.clone(),
        }
    }
}

/// See [`FileInfoCacheLayer`].
#[derive(Debug, Clone)]
pub struct FileInfoCache<S> {
    inner: S,
    infos: FileInfos,
}

impl<S: StorageService<Tenant>> Service<StorageRequest<Tenant>> for FileInfoCache<S> {
    type Response = AnyOutput;
    type Error = StorageError;
    type Future = BoxFuture<'static, Answer>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StorageError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: StorageRequest<Tenant>) -> Self::Future {
        if let Some(effects) = Effects::of(&request) {
            let eviction = Eviction::new(self.infos.clone(), effects);
            request.guards.push(eviction.clone());
            let answer = self.inner.call(request);
            return evict_after(answer, eviction).boxed();
        }
        let is_read = matches!(
            &request.operation,
            AnyOperation::HeadObject(HeadObject { part: None, .. })
                | AnyOperation::GetObject(GetObject { resolved: None, .. })
        );
        let bucket = request.operation.bucket();
        let bucket = bucket
            .filter(|_| is_read)
            .map(|name| request.caller.bucket(name));
        if bucket.is_some_and(|bucket| self.infos.is_on(&bucket)) {
            return self.clone().read(request).boxed();
        }
        if is_read {
            self.infos.bypass();
        }
        self.inner.call(request).boxed()
    }
}

/// Evicts before the caller hears of the outcome, so that its next read sees its own write. The guard inside the request
/// does the same when the caller does not wait.
async fn evict_after(answer: impl Future<Output = Answer>, eviction: Eviction) -> Answer {
    let result = answer.await;
    drop(eviction);
    result
}

impl<S: StorageService<Tenant>> FileInfoCache<S> {
    async fn read(self, request: StorageRequest<Tenant>) -> Answer {
        let StorageRequest {
            context,
            caller,
            operation,
            guards,
        } = request;
        match operation {
            AnyOperation::HeadObject(head) => {
                let (info, _) = self.look_up(&context, &caller, &head).await?;
                head.conditions.check(&info)?;
                Ok(AnyOutput::HeadObject(ObjectFound { info, part: None }))
            }
            AnyOperation::GetObject(get) => self.get(context, caller, guards, get).await,
            other => Err(StorageError::internal(format!(
                "{} is not read from the cache",
                other.name()
            ))),
        }
    }

    /// Reads an object by what is known of it. What the cache knew may be gone upstream by now: another writer replaced
    /// it. Then one fresh lookup decides.
    async fn get(
        self,
        context: RequestContext,
        caller: Tenant,
        guards: Guards,
        get: GetObject,
    ) -> Answer {
        let head = HeadObject {
            bucket: get.bucket.clone(),
            key: get.key.clone(),
            part: None,
            conditions: ReadConditions::default(),
        };
        let (info, known_from) = self.look_up(&context, &caller, &head).await?;
        let request = resolved(&context, &caller, guards, &get, info);
        let result = self.inner.clone().oneshot(request).await;
        let is_gone = matches!(result, Err(StorageError::NoSuchKey { .. }));
        if !is_gone {
            return result;
        }
        self.infos.forget_key(&slot(&caller, &head));
        if known_from != CacheResult::Hit {
            return result;
        }
        let (info, _) = self.look_up(&context, &caller, &head).await?;
        let request = resolved(&context, &caller, Guards::default(), &get, info);
        self.inner.clone().oneshot(request).await
    }

    async fn look_up(
        &self,
        context: &RequestContext,
        caller: &Tenant,
        head: &HeadObject,
    ) -> Result<(Arc<ObjectInfo>, CacheResult), StorageError> {
        let slot = slot(caller, head);
        let lookup = || {
            let operation = HeadObject {
                // Those who share the answer bring their own conditions.
                conditions: ReadConditions::default(),
                ..head.clone()
            };
            let request = StorageRequest {
                context: context.clone(),
                caller: caller.clone(),
                operation: operation.into(),
                guards: Guards::default(),
            };
            found(self.inner.clone().oneshot(request)).in_current_span()
        };
        let span = tracing::info_span!("cache file_info", result = Empty);
        let (info, result) = self.infos.get(&slot, lookup).instrument(span).await;
        Ok((info?, result))
    }
}

fn slot(caller: &Tenant, head: &HeadObject) -> Slot {
    (caller.bucket(&head.bucket), head.key.clone())
}

async fn found(answer: impl Future<Output = Answer>) -> Result<Arc<ObjectInfo>, StorageError> {
    match answer.await? {
        AnyOutput::HeadObject(found) => Ok(found.info),
        other => Err(StorageError::internal(format!(
            "a lookup was answered with {}",
            other.name()
        ))),
    }
}

fn resolved(
    context: &RequestContext,
    caller: &Tenant,
    guards: Guards,
    get: &GetObject,
    info: Arc<ObjectInfo>,
) -> StorageRequest<Tenant> {
    let operation = GetObject {
        resolved: Some(info),
        ..get.clone()
    };
    StorageRequest {
        context: context.clone(),
        caller: caller.clone(),
        operation: operation.into(),
        guards,
    }
}

#[cfg(test)]
mod tests;
