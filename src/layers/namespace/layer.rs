//! The layer and its service.

use std::task::{Context, Poll};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Either, Ready, ready};
use tower::{Layer, Service};
use tracing::Span;

use crate::layers::namespace::Tenancy;
use crate::storage::{AnyOutput, Principal, StorageError, StorageRequest, StorageService, Tenant};
use crate::telemetry::{Metrics, RefusedBy};

/// Turns a [`Principal`] into a [`Tenant`].
///
/// # Behaviour
/// - Until the namespace is known every request is answered with [`StorageError::Unavailable`] and reaches nothing below.
///   Only a principal with a token of its own and no namespace waits for the Hub to be asked, and for that of its own token.
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

type Answer = Result<AnyOutput, StorageError>;

impl<S: StorageService<Tenant>> Service<StorageRequest<Principal>> for Namespaced<S> {
    type Response = AnyOutput;
    type Error = StorageError;
    type Future = Either<S::Future, Either<BoxFuture<'static, Answer>, Ready<Answer>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StorageError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: StorageRequest<Principal>) -> Self::Future {
        let found = self.tenancy.tenant(&request.caller);
        let found = match found {
            Ok(Some(tenant)) => Ok(tenant),
            Ok(None) => {
                let clone = self.clone();
                let ready = std::mem::replace(self, clone);
                return Either::Right(Either::Left(ready.find_and_call(request).boxed()));
            }
            Err(error) => Err(error),
        };
        match self.scoped(request, found) {
            Ok(request) => Either::Left(self.inner.call(request)),
            Err(error) => Either::Right(Either::Right(ready(Err(error)))),
        }
    }
}

impl<S: StorageService<Tenant>> Namespaced<S> {
    async fn find_and_call(mut self, request: StorageRequest<Principal>) -> Answer {
        let found = self.tenancy.find_tenant(&request.caller).await;
        let request = self.scoped(request, found)?;
        self.inner.call(request).await
    }

    /// Replaces the principal by the tenant that it is, or counts that this is not known.
    fn scoped(
        &self,
        request: StorageRequest<Principal>,
        found: Result<Tenant, StorageError>,
    ) -> Result<StorageRequest<Tenant>, StorageError> {
        let tenant = found.inspect_err(|_| {
            let protocol = request.context.protocol.name();
            self.metrics
                .request_rejected(RefusedBy::Namespace, protocol);
        })?;
        Span::current().record("caller", &*tenant.principal.id);
        Ok(request.with_caller(tenant))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tower::{ServiceExt, service_fn};

    use super::*;
    use crate::layers::namespace::Scope;
    use crate::layers::testing::{Script, head, principal, request};
    use crate::storage::{Entitlement, Home, Namespace, ObjectFound, Secret};

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

    #[tokio::test]
    async fn a_token_that_the_hub_refuses_stops_its_own_callers_only() {
        let ask = |_| async { Err(StorageError::denied("no")) }.boxed();
        let (script, tenancy) = (Script::new(), Tenancy::asking(Arc::new(ask)));
        tenancy.resolve(scope("org"));
        let service = NamespaceLayer::new(tenancy, &Metrics::new()).layer(script.clone());
        let home = Home {
            hub_token: Some(Secret::new("hf_refused")),
            namespace: None,
        };
        let refused = Principal {
            entitlement: Entitlement {
                home,
                ..Entitlement::default()
            },
            ..principal()
        };
        let answer = service.clone().oneshot(request(refused, head("k"))).await;
        assert_eq!(answer.unwrap_err().outcome(), "unavailable");
        assert_eq!(script.calls(), 0);
        let other = service.oneshot(request(principal(), head("k")));
        assert!(other.await.is_ok());
    }
}
