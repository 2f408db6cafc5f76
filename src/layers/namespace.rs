//! Namespace: from who is calling to whose buckets they see, and with which Hub token.

use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwapOption;
use futures::future::{Either, Ready, ready};
use tower::{Layer, Service};
use tracing::Span;

use crate::storage::{
    AnyOutput, Namespace, Principal, Secret, StorageError, StorageRequest, StorageService, Tenant,
};
use crate::telemetry::{Metrics, RefusedBy};

/// What the tenants of this gateway share.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The namespace whose buckets appear under their bare names.
    pub namespace: Namespace,
    /// Further namespaces, whose buckets are named `<namespace>.<bucket>`.
    pub extra_namespaces: Arc<[Namespace]>,
    /// The Hub token of all upstream calls.
    pub hub_token: Secret,
}

/// The scope as far as it is known. Clones share it.
///
/// It is empty until the namespace is known: from the configuration at once, or from the Hub's `whoami`, which may take
/// a while if the Hub cannot be reached at start.
#[derive(Debug, Clone, Default)]
pub struct Tenancy(Arc<ArcSwapOption<Scope>>);

impl Tenancy {
    /// Returns a tenancy whose scope is not known yet.
    pub fn unresolved() -> Self {
        Self::default()
    }

    /// Sets the scope, for requests from now on.
    pub fn resolve(&self, scope: Scope) {
        self.0.store(Some(Arc::new(scope)));
    }

    /// Reports whether the scope is known.
    pub fn is_resolved(&self) -> bool {
        self.0.load().is_some()
    }

    fn tenant(&self, principal: &Principal) -> Result<Tenant, StorageError> {
        let scope = self.0.load();
        let Some(scope) = &*scope else {
            return Err(StorageError::Unavailable {
                service: "hub",
                reason: "the namespace is not known yet".into(),
                is_safe_to_retry: false,
            });
        };
        Ok(Tenant {
            principal: principal.clone(),
            namespace: scope.namespace.clone(),
            extra_namespaces: scope.extra_namespaces.clone(),
            hub_token: scope.hub_token.on_behalf_of(&principal.id),
        })
    }
}

/// Turns a [`Principal`] into a [`Tenant`].
///
/// # Behaviour
/// - Until the namespace is known every request is answered with [`StorageError::Unavailable`] and reaches nothing below.
/// - The request's span tells who the caller is, by key id or user name.
#[derive(Debug, Clone)]
pub struct NamespaceLayer {
    tenancy: Tenancy,
    metrics: Metrics,
}

impl NamespaceLayer {
    /// Scopes callers by `tenancy`, as it is when they call.
    pub fn new(tenancy: Tenancy, metrics: &Metrics) -> Self {
        Self {
            tenancy,
            metrics: metrics.clone(),
        }
    }
}

impl<S> Layer<S> for NamespaceLayer {
    type Service = Namespaced<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Namespaced {
            inner,
            tenancy: self.tenancy.clone(),
            metrics: self.metrics.clone(),
        }
    }
}

/// See [`NamespaceLayer`].
#[derive(Debug, Clone)]
pub struct Namespaced<S> {
    inner: S,
    tenancy: Tenancy,
    metrics: Metrics,
}

impl<S: StorageService<Tenant>> Service<StorageRequest<Principal>> for Namespaced<S> {
    type Response = AnyOutput;
    type Error = StorageError;
    type Future = Either<S::Future, Ready<Result<AnyOutput, StorageError>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StorageError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: StorageRequest<Principal>) -> Self::Future {
        match self.tenancy.tenant(&request.caller) {
            Ok(tenant) => {
                Span::current().record("caller", &*tenant.principal.id);
                Either::Left(self.inner.call(request.with_caller(tenant)))
            }
            Err(error) => {
                let protocol = request.context.protocol.name();
                self.metrics
                    .request_rejected(RefusedBy::Namespace, protocol);
                Either::Right(ready(Err(error)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tower::{ServiceExt, service_fn};

    use super::*;
    use crate::layers::testing::{Script, head, principal, request};
    use crate::storage::ObjectFound;

    fn scope(namespace: &str) -> Scope {
        Scope {
            namespace: Namespace::new(namespace).unwrap(),
            extra_namespaces: Arc::new([]),
            hub_token: Secret::new("hf_1"),
        }
    }

    #[tokio::test]
    async fn nothing_passes_before_the_namespace_is_known() {
        let (script, tenancy) = (Script::new(), Tenancy::unresolved());
        let service = NamespaceLayer::new(tenancy.clone(), &Metrics::new()).layer(script.clone());
        let early = service.clone().oneshot(request(principal(), head("k")));
        assert!(matches!(
            early.await,
            Err(StorageError::Unavailable { service: "hub", .. })
        ));
        assert_eq!((script.calls(), tenancy.is_resolved()), (0, false));
        tenancy.resolve(scope("org"));
        service
            .oneshot(request(principal(), head("k")))
            .await
            .unwrap();
        assert_eq!((script.calls(), tenancy.is_resolved()), (1, true));
    }

    #[tokio::test]
    async fn the_tenant_carries_namespace_token_and_principal() {
        let seen = Arc::new(Mutex::new(None));
        let inner = service_fn({
            let seen = seen.clone();
            move |request: StorageRequest<Tenant>| {
                *seen.lock().unwrap() = Some(request.caller);
                let info = Arc::new(crate::layers::testing::object(
                    request.operation.key().unwrap(),
                    1,
                ));
                ready(Ok(AnyOutput::HeadObject(ObjectFound { info, part: None })))
            }
        });
        let tenancy = Tenancy::unresolved();
        tenancy.resolve(scope("org"));
        let service = NamespaceLayer::new(tenancy, &Metrics::new()).layer(inner);
        service
            .oneshot(request(principal(), head("k")))
            .await
            .unwrap();
        let tenant = seen.lock().unwrap().take().unwrap();
        assert_eq!(tenant.namespace.as_str(), "org");
        assert_eq!(tenant.hub_token, Secret::new("hf_1"));
        assert_eq!(tenant.principal, principal());
    }
}
