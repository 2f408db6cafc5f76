//! The layer and its service.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use futures::future::{self, Either, Ready};
use time::OffsetDateTime;
use tower::{Layer, Service};

use crate::layers::auth::credentials::CredentialStore;
use crate::layers::auth::judge::{Denial, judge, permit};
use crate::storage::{
    AnyOutput, Credentials, Principal, StorageError, StorageRequest, StorageService,
};
use crate::telemetry::{Metrics, RefusedBy};

/// Lets known callers in, as far as their rights go.
///
/// # Behaviour
/// - A denied request reaches no inner service, and its body is never polled.
/// - Credentials are read anew for each request, so a new set counts at once.
/// - The body that goes on ends well only if everything held that was signed or announced for it.
#[derive(Clone)]
pub struct AuthLayer(Arc<Doorkeeper>);

struct Doorkeeper {
    credentials: Arc<ArcSwap<CredentialStore>>,
    clock: fn() -> OffsetDateTime,
    metrics: Metrics,
}

impl AuthLayer {
    /// Creates the layer. `credentials` may be replaced while it runs; `clock` is [`OffsetDateTime::now_utc`] but in tests.
    pub fn new(
        credentials: Arc<ArcSwap<CredentialStore>>,
        clock: fn() -> OffsetDateTime,
        metrics: Metrics,
    ) -> Self {
        Self(Arc::new(Doorkeeper {
            credentials,
            clock,
            metrics,
        }))
    }
}

impl fmt::Debug for AuthLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthLayer")
    }
}

impl<S> Layer<S> for AuthLayer {
    type Service = Auth<S>;

    fn layer(&self, inner: S) -> Auth<S> {
        Auth {
            inner,
            doorkeeper: self.0.clone(),
        }
    }
}

/// See [`AuthLayer`].
#[derive(Clone)]
pub struct Auth<S> {
    inner: S,
    doorkeeper: Arc<Doorkeeper>,
}

impl<S: fmt::Debug> fmt::Debug for Auth<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S: StorageService<Principal>> Service<StorageRequest<Credentials>> for Auth<S> {
    type Response = AnyOutput;
    type Error = StorageError;
    type Future = Either<S::Future, Ready<Result<AnyOutput, StorageError>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StorageError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: StorageRequest<Credentials>) -> Self::Future {
        let protocol = request.context.protocol;
        match self.doorkeeper.admit(request) {
            Ok(request) => Either::Left(self.inner.call(request)),
            Err(denial) => {
                let metrics = &self.doorkeeper.metrics;
                metrics.request_rejected(RefusedBy::Auth, protocol.name());
                metrics.auth_failure(protocol.name(), denial.reason);
                Either::Right(future::ready(Err(denial.error)))
            }
        }
    }
}

impl Doorkeeper {
    fn admit(
        &self,
        mut request: StorageRequest<Credentials>,
    ) -> Result<StorageRequest<Principal>, Denial> {
        let admission = judge(&request.caller, &self.credentials.load(), (self.clock)())?;
        permit(&admission.principal, &request.operation)?;
        if let Some(payload) = request.operation.payload_mut() {
            admission.body.apply_to(payload);
        }
        Ok(request.with_caller(admission.principal))
    }
}
