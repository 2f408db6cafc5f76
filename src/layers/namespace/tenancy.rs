//! Whose buckets callers see, as far as that is known.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use crate::layers::namespace::owners::{AskOwner, Owners};
use crate::storage::{Home, Namespace, Principal, Secret, SecretId, StorageError, Tenant};

/// What the tenants of this gateway share, but for those who have something of their own.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The namespace whose buckets appear under their bare names.
    pub namespace: Namespace,
    /// Further namespaces, whose buckets are named `<namespace>.<bucket>`.
    pub extra_namespaces: Arc<[Namespace]>,
    /// The Hub token of all upstream calls.
    pub hub_token: Secret,
}

/// The scope as far as it is known, and the owners of the tokens that single callers have of their own. Clones share it.
///
/// The scope is empty until the namespace is known: from the configuration at once, or from the Hub's `whoami`, which may
/// take a while if the Hub cannot be reached at start. Callers with a token and a namespace of their own do not wait for it.
#[derive(Clone)]
pub struct Tenancy(Arc<State>);

struct State {
    scope: ArcSwapOption<Scope>,
    owners: Owners,
    generation: AtomicU64,
}

impl Tenancy {
    /// Returns a tenancy whose scope is not known yet, and in which nobody can be asked whose a token is.
    pub fn unresolved() -> Self {
        Self::with(None)
    }

    /// The same, with somebody to ask.
    pub fn asking(ask: Arc<AskOwner>) -> Self {
        Self::with(Some(ask))
    }

    fn with(ask: Option<Arc<AskOwner>>) -> Self {
        Self(Arc::new(State {
            scope: ArcSwapOption::empty(),
            owners: Owners::new(ask),
            generation: AtomicU64::new(0),
        }))
    }

    /// Sets the scope, for requests from now on.
    pub fn resolve(&self, scope: Scope) {
        let token = scope.hub_token.id();
        let before = self.0.scope.swap(Some(Arc::new(scope)));
        if before.is_some_and(|before| before.hub_token.id() != token) {
            self.0.generation.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Forgets the tokens of callers that are not among these: the set of callers has changed.
    pub fn keep_only(&self, tokens: &HashSet<SecretId>) {
        self.0.owners.keep_only(tokens);
        self.0.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns a number that is raised whenever a token may have come or gone.
    pub fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::SeqCst)
    }

    /// Reports whether the scope is known.
    pub fn is_resolved(&self) -> bool {
        self.0.scope.load().is_some()
    }

    /// Returns the tenant that a principal is, if that is known without asking.
    ///
    /// Errors: as [`Tenancy::find_tenant`].
    pub(super) fn tenant(&self, principal: &Principal) -> Result<Option<Tenant>, StorageError> {
        let home = &principal.entitlement.home;
        if home.is_shared() {
            let scope = self.scope()?;
            return Ok(Some(Tenant {
                principal: principal.clone(),
                namespace: scope.namespace.clone(),
                extra_namespaces: scope.extra_namespaces.clone(),
                hub_token: shown_for(principal, &scope.hub_token),
            }));
        }
        let namespace = match home {
            Home {
                namespace: Some(namespace),
                ..
            } => Some(namespace.clone()),
            Home {
                hub_token: Some(token),
                ..
            } => self.0.owners.known(token),
            Home {
                namespace: None,
                hub_token: None,
            } => None,
        };
        let own = |namespace| self.own_tenant(principal, namespace);
        namespace.map(own).transpose()
    }

    /// Returns the tenant that a principal is; the Hub is asked if need be.
    ///
    /// Errors: [`StorageError::Unavailable`] while the shared scope is not known, for those who share some of it, and if the
    /// Hub does not say whose the principal's own token is.
    pub(super) async fn find_tenant(&self, principal: &Principal) -> Result<Tenant, StorageError> {
        if let Some(tenant) = self.tenant(principal)? {
            return Ok(tenant);
        }
        match &principal.entitlement.home.hub_token {
            Some(token) => {
                let namespace = self.0.owners.find(token).await?;
                self.own_tenant(principal, namespace)
            }
            None => Err(StorageError::internal("a tenant without a home")),
        }
    }

    /// Whoever has a namespace of its own sees no other.
    fn own_tenant(
        &self,
        principal: &Principal,
        namespace: Namespace,
    ) -> Result<Tenant, StorageError> {
        let hub_token = match &principal.entitlement.home.hub_token {
            Some(token) => shown_for(principal, token),
            None => shown_for(principal, &self.scope()?.hub_token),
        };
        Ok(Tenant {
            principal: principal.clone(),
            namespace,
            extra_namespaces: Arc::new([]),
            hub_token,
        })
    }

    fn scope(&self) -> Result<Arc<Scope>, StorageError> {
        self.0
            .scope
            .load_full()
            .ok_or_else(|| StorageError::Unavailable {
                service: "hub",
                reason: "the namespace is not known yet".into(),
                is_safe_to_retry: false,
            })
    }
}

/// Names for whom a token is shown: the credential. What was issued in its name (`key/session`) is a part of it.
fn shown_for(principal: &Principal, token: &Secret) -> Secret {
    match principal.id.split_once('/') {
        Some((issuer, _)) => token.on_behalf_of(&issuer.into()),
        None => token.on_behalf_of(&principal.id),
    }
}

impl Default for Tenancy {
    fn default() -> Self {
        Self::unresolved()
    }
}

impl fmt::Debug for Tenancy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenancy")
            .field("is_resolved", &self.is_resolved())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::storage::Entitlement;

    fn name(text: &str) -> Namespace {
        Namespace::new(text).unwrap()
    }

    fn principal(hub_token: Option<&str>, namespace: Option<&str>) -> Principal {
        Principal {
            id: "key".into(),
            entitlement: Entitlement {
                home: Home {
                    hub_token: hub_token.map(Secret::new),
                    namespace: namespace.map(name),
                },
                ..Entitlement::default()
            },
        }
    }

    async fn tenant(tenancy: &Tenancy, principal: &Principal) -> Result<(String, String), String> {
        let found = tenancy.find_tenant(principal).await;
        found
            .map(|tenant| {
                assert!(
                    principal.entitlement.home.is_shared() || tenant.extra_namespaces.is_empty()
                );
                (
                    tenant.namespace.to_string(),
                    tenant.hub_token.expose().to_owned(),
                )
            })
            .map_err(|error| error.outcome().to_owned())
    }

    fn pair(namespace: &str, token: &str) -> Result<(String, String), String> {
        Ok((namespace.into(), token.into()))
    }

    #[tokio::test]
    async fn what_a_principal_has_of_its_own_takes_the_shared_ones_place() {
        let tenancy = Tenancy::asking(Arc::new(|_| async { Ok(name("owner")) }.boxed()));
        let no_scope = Err("unavailable".to_owned());
        assert_eq!(tenant(&tenancy, &principal(None, None)).await, no_scope);
        assert_eq!(
            tenant(&tenancy, &principal(None, Some("team"))).await,
            no_scope
        );
        assert_eq!(
            tenant(&tenancy, &principal(Some("hf_2"), Some("team"))).await,
            pair("team", "hf_2")
        );
        tenancy.resolve(Scope {
            namespace: name("org"),
            extra_namespaces: Arc::new([name("more")]),
            hub_token: Secret::new("hf_1"),
        });
        assert_eq!(
            tenant(&tenancy, &principal(None, None)).await,
            pair("org", "hf_1")
        );
        assert_eq!(
            tenant(&tenancy, &principal(None, Some("team"))).await,
            pair("team", "hf_1")
        );
        assert!(
            tenancy
                .tenant(&principal(Some("hf_2"), None))
                .unwrap()
                .is_none()
        );
        assert_eq!(
            tenant(&tenancy, &principal(Some("hf_2"), None)).await,
            pair("owner", "hf_2")
        );
        assert!(
            tenancy
                .tenant(&principal(Some("hf_2"), None))
                .unwrap()
                .is_some()
        );
    }
}
