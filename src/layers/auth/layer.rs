//! The layer and its service.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use futures::FutureExt as _;
use futures::future::{self, BoxFuture, Either, Ready};
use time::OffsetDateTime;
use tower::{Layer, Service};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::layers::auth::credentials::CredentialStore;
use crate::layers::auth::judge::{Admission, Denial, check_limits, issue, judge, permit};
use crate::layers::auth::password::PasswordJudge;
use crate::storage::{
    AnyOperation, AnyOutput, Credentials, Principal, StorageError, StorageRequest, StorageService,
};
use crate::telemetry::{Metrics, RefusedBy};

/// Lets known callers in, as far as their rights go.
///
/// # Behaviour
/// - A denied request reaches no inner service, and its body is never polled.
/// - Signatures are judged without waiting. A password may take time, unless it was right not long ago.
/// - Credentials are read anew for each request, so a new set counts at once. One that has expired, or that comes from a
///   network that it is not accepted from, is refused even if all else is right.
/// - Temporary credentials are issued here: the operation that asks for them goes no further.
/// - The body that goes on ends well only if everything held that was signed or announced for it.
#[derive(Clone)]
pub struct AuthLayer(Arc<Doorkeeper>);

struct Doorkeeper {
    credentials: Arc<ArcSwap<CredentialStore>>,
    passwords: PasswordJudge,
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
            passwords: PasswordJudge::new(),
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
    type Future = Either<S::Future, Either<Ready<Answer>, BoxFuture<'static, Answer>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StorageError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: StorageRequest<Credentials>) -> Self::Future {
        let span = tracing::info_span!("auth", kind = kind(&request.caller), outcome = Empty);
        let judged = span.in_scope(|| self.doorkeeper.judge_at_once(&request.caller));
        let Some(judged) = judged else {
            let doorkeeper = self.doorkeeper.clone();
            let clone = self.inner.clone();
            let mut inner = std::mem::replace(&mut self.inner, clone);
            let answer = async move {
                let peer = request.context.peer;
                let judged = doorkeeper.judge_password(&request.caller, peer);
                let judged = judged.instrument(span.clone()).await;
                match doorkeeper.let_in(request, judged, &span)? {
                    Entry::Further(request) => inner.call(*request).await,
                    Entry::Answered(answer) => Ok(answer),
                }
            };
            return Either::Right(Either::Right(answer.boxed()));
        };
        match self.doorkeeper.let_in(request, judged, &span) {
            Ok(Entry::Further(request)) => Either::Left(self.inner.call(*request)),
            Ok(Entry::Answered(answer)) => Either::Right(Either::Left(future::ready(Ok(answer)))),
            Err(error) => Either::Right(Either::Left(future::ready(Err(error)))),
        }
    }
}

/// Names the kind of a claim: all that its span tells of it.
fn kind(claimed: &Credentials) -> &'static str {
    match claimed {
        Credentials::Anonymous => "anonymous",
        Credentials::Password { .. } => "password",
        Credentials::SigV4(_) => "sigv4",
    }
}

/// What becomes of a request that was let in.
enum Entry {
    Further(Box<StorageRequest<Principal>>),
    Answered(AnyOutput),
}

/// What a call ends with.
type Answer = Result<AnyOutput, StorageError>;

impl Doorkeeper {
    /// Judges a claim, unless that takes time.
    fn judge_at_once(&self, claimed: &Credentials) -> Option<Result<Admission, Denial>> {
        let store = self.credentials.load();
        match claimed {
            Credentials::Password { user, password } => {
                self.passwords.recall(&store, user, password).map(Ok)
            }
            Credentials::Anonymous | Credentials::SigV4(_) => {
                Some(judge(claimed, &store, (self.clock)()))
            }
        }
    }

    /// Judges a password, however long it takes.
    async fn judge_password(
        &self,
        claimed: &Credentials,
        peer: Option<IpAddr>,
    ) -> Result<Admission, Denial> {
        let store = self.credentials.load_full();
        match claimed {
            Credentials::Password { user, password } => {
                self.passwords.judge(&store, user, password, peer).await
            }
            Credentials::Anonymous | Credentials::SigV4(_) => {
                judge(claimed, &store, (self.clock)())
            }
        }
    }

    /// Passes a request on, or counts why not; `span` is told which.
    fn let_in(
        &self,
        request: StorageRequest<Credentials>,
        judged: Result<Admission, Denial>,
        span: &Span,
    ) -> Result<Entry, StorageError> {
        let protocol = request.context.protocol.name();
        let admitted = self.admit(request, judged);
        let outcome = admitted.as_ref().map_or_else(|d| d.reason.name(), |_| "ok");
        span.record("outcome", outcome);
        admitted.map_err(|denial| {
            self.metrics.request_rejected(RefusedBy::Auth, protocol);
            self.metrics.auth_failure(protocol, denial.reason);
            denial.error
        })
    }

    fn admit(
        &self,
        mut request: StorageRequest<Credentials>,
        judged: Result<Admission, Denial>,
    ) -> Result<Entry, Denial> {
        let admission = judged?;
        let peer = request.context.peer;
        check_limits(&request.caller, &admission.principal, peer, (self.clock)())?;
        permit(&admission.principal, &request.operation)?;
        if let AnyOperation::IssueSession(asked) = &request.operation {
            // Here and nowhere else, since nobody below knows a secret.
            let store = self.credentials.load();
            let issued = issue(&request.caller, asked, &store, (self.clock)())?;
            return Ok(Entry::Answered(AnyOutput::IssueSession(issued)));
        }
        if let Some(payload) = request.operation.payload_mut() {
            admission.body.apply_to(payload);
        }
        let request = request.with_caller(admission.principal);
        Ok(Entry::Further(request.into()))
    }
}
