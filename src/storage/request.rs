//! The envelope at the tower boundary, and who is calling.
//!
//! Identity is a type parameter: an adapter builds a `StorageRequest<Credentials>`, the auth layer calls on with a
//! `StorageRequest<Principal>`, the namespace layer with a `StorageRequest<Tenant>`, and the provider accepts only the
//! last. Forgetting a layer does not compile.

use std::net::IpAddr;
use std::sync::Arc;

use tracing::Span;

use crate::sigv4::{Claim, Evidence};
use crate::storage::entitlement::Entitlement;
use crate::storage::name::{BucketId, BucketName, Namespace};
use crate::storage::operation::AnyOperation;
use crate::storage::secret::Secret;
use crate::storage::withdrawal::Withdrawal;

/// The protocol a request came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// The S3 listener.
    S3,
    /// The FTP listener.
    Ftp,
}

impl Protocol {
    /// Returns the label for metrics and spans.
    pub fn name(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Ftp => "ftp",
        }
    }
}

/// What every layer may know of a request besides its operation.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// Id shown to the client and in the logs: 32 hex digits.
    pub request_id: Arc<str>,
    /// The protocol it came by.
    pub protocol: Protocol,
    /// The client's address, as far as known.
    pub peer: Option<IpAddr>,
    /// The `traceparent` header as it came (W3C Trace Context), so that the client's trace goes on here.
    pub trace_parent: Option<Arc<str>>,
    /// The request's span, if the adapter has opened it; else the trace layer does.
    pub span: Span,
}

impl RequestContext {
    /// Starts the context of a new request with a fresh id.
    pub fn new(protocol: Protocol, peer: Option<IpAddr>) -> Self {
        let request_id = hex::encode(rand::random::<[u8; 16]>()).into();
        Self {
            request_id,
            protocol,
            peer,
            trace_parent: None,
            span: Span::none(),
        }
    }
}

/// An operation on its way through the stack. `C` says who is calling and how sure we are.
#[derive(Debug)]
pub struct StorageRequest<C> {
    /// Id, protocol, peer.
    pub context: RequestContext,
    /// [`Credentials`] (claimed), [`Principal`] (verified), or [`Tenant`] (verified and scoped).
    pub caller: C,
    /// What is asked.
    pub operation: AnyOperation,
    /// Values that must live as long as the operation's effects may still come.
    pub guards: Guards,
}

/// Values that layers attach to a request, and that live until the operation can have no further effect.
///
/// A write may outlive its caller: once all its bytes are in, it runs to completion in a task of its own. Whoever carries
/// it out takes the guards along and drops them when the outcome is known. The cache layer relies on it: its guard evicts
/// on drop, so that a commit that lands after its caller left is still seen.
#[derive(Default)]
pub struct Guards {
    values: Vec<Box<dyn Send + Sync>>,
    withdrawal: Withdrawal,
}

impl Guards {
    /// Attaches a value.
    pub fn push(&mut self, guard: impl Send + Sync + 'static) {
        self.values.push(Box::new(guard));
    }

    /// Returns what takes the operation back, as far as that is still possible: for whoever tells the caller that it failed,
    /// and for whoever carries it out.
    pub fn withdrawal(&self) -> &Withdrawal {
        &self.withdrawal
    }
}

impl std::fmt::Debug for Guards {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Guards({})", self.values.len())
    }
}

impl<C> StorageRequest<C> {
    /// Replaces the caller, and with it the request's type.
    pub fn with_caller<D>(self, caller: D) -> StorageRequest<D> {
        StorageRequest {
            context: self.context,
            caller,
            operation: self.operation,
            guards: self.guards,
        }
    }
}

/// Who a client claims to be. Nothing is proven yet.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// No claim.
    Anonymous,
    /// A request signed with AWS Signature Version 4: what was received, canonicalised, without any secret.
    SigV4(Box<Evidence>),
    /// A user name and password.
    Password {
        /// The claimed name.
        user: String,
        /// The claimed password.
        password: Secret,
    },
}

impl From<Claim> for Credentials {
    fn from(claim: Claim) -> Self {
        match claim {
            Claim::Anonymous => Self::Anonymous,
            Claim::Signed(evidence) => Self::SigV4(evidence),
        }
    }
}

/// Who a client is: proven by the auth layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Access key id or user name; fit for logs.
    pub id: Arc<str>,
    /// What it may do, where, and in whose buckets.
    pub entitlement: Entitlement,
}

impl Principal {
    /// Returns a principal that may do everything.
    pub fn unlimited(id: impl Into<Arc<str>>) -> Self {
        Self {
            id: id.into(),
            entitlement: Entitlement::default(),
        }
    }
}

/// A principal together with the namespace and the Hub token it works with.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// Who.
    pub principal: Principal,
    /// The namespace whose buckets it sees under their bare names.
    pub namespace: Namespace,
    /// Further namespaces, whose buckets it names `<namespace>.<bucket>`. Empty by default.
    pub extra_namespaces: Arc<[Namespace]>,
    /// The Hub token its upstream calls carry.
    pub hub_token: Secret,
}

impl Tenant {
    /// Returns the full id of a bucket that the tenant names.
    ///
    /// `<namespace>.<bucket>` names a bucket of one of the extra namespaces; any other dotted name is the name of an
    /// ordinary bucket.
    pub fn bucket(&self, name: &BucketName) -> BucketId {
        let elsewhere = self.extra_namespaces.iter().filter_map(|namespace| {
            let rest = name.as_str().strip_prefix(namespace.as_str())?;
            Some(BucketId {
                namespace: namespace.clone(),
                name: BucketName::new(rest.strip_prefix('.')?).ok()?,
            })
        });
        // Namespaces may hold dots too: of `a` and `a.b`, the longer one is meant.
        let elsewhere = elsewhere.max_by_key(|id| id.namespace.as_str().len());
        elsewhere.unwrap_or_else(|| BucketId {
            namespace: self.namespace.clone(),
            name: name.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(name: &str, extra: &[&str]) -> String {
        let tenant = Tenant {
            principal: Principal::unlimited("key"),
            namespace: Namespace::new("me").unwrap(),
            extra_namespaces: extra
                .iter()
                .map(|name| Namespace::new(name).unwrap())
                .collect(),
            hub_token: Secret::new("hf_test"),
        };
        tenant.bucket(&BucketName::new(name).unwrap()).to_string()
    }

    #[test]
    fn a_dotted_name_names_another_namespace_only_if_that_is_listed() {
        assert_eq!(bucket("acme.data", &[]), "me/acme.data");
        assert_eq!(bucket("acme.data", &["other"]), "me/acme.data");
        assert_eq!(bucket("acme.data", &["acme"]), "acme/data");
        assert_eq!(bucket("acme.my.data", &["acme"]), "acme/my.data");
        assert_eq!(bucket("acme", &["acme"]), "me/acme");
        assert_eq!(bucket("acme.", &["acme"]), "me/acme.");
        assert_eq!(bucket("acmes.data", &["acme"]), "me/acmes.data");
        assert_eq!(bucket("Acme.data", &["acme"]), "me/Acme.data");
        assert_eq!(bucket("a.b.c", &["a", "a.b"]), "a.b/c");
    }
}
