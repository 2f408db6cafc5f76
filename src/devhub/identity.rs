//! Who calls the Hub, and what that caller may do.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::extract::FromRequestParts;
use http::header::AUTHORIZATION;
use http::request::Parts;
use subtle::ConstantTimeEq;

use super::config::{DevUser, TokenRole};
use super::refusal::Refusal;
use super::registry::{Bucket, BucketKey};
use super::state::{Shared, State};
use crate::storage::{Secret, SecretId};

/// Tokens that no longer count.
#[derive(Debug, Default)]
pub(crate) struct Revoked(Mutex<HashSet<SecretId>>);

impl Revoked {
    pub(crate) fn insert(&self, token: &Secret) {
        self.lock().insert(token.id());
    }

    fn contains(&self, token: &Secret) -> bool {
        self.lock().contains(&token.id())
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<SecretId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The caller of a Hub route.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    Anonymous,
    /// Index into the configured users, and the user.
    User(usize, DevUser),
}

impl FromRequestParts<Shared> for Caller {
    type Rejection = Refusal;

    /// A token that nobody has is refused at once, even where none is needed.
    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, Refusal> {
        let Some(header) = parts.headers.get(AUTHORIZATION) else {
            return Ok(Self::Anonymous);
        };
        let token = header
            .to_str()
            .ok()
            .and_then(bearer)
            .ok_or_else(Refusal::bad_token)?;
        let known =
            state.users.iter().enumerate().find(|(_, user)| {
                bool::from(user.token.expose().as_bytes().ct_eq(token.as_bytes()))
            });
        let (index, user) = known
            .filter(|(_, user)| !state.revoked.contains(&user.token))
            .ok_or_else(Refusal::bad_token)?;
        Ok(Self::User(index, user.clone()))
    }
}

/// Returns the token of an `Authorization: Bearer` header.
pub(crate) fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl Caller {
    /// Returns the user. Anonymous callers get 401.
    pub(crate) fn user(&self) -> Result<&DevUser, Refusal> {
        match self {
            Self::Anonymous => Err(Refusal::anonymous()),
            Self::User(_, user) => Ok(user),
        }
    }

    /// Only the main user may use the routes under `/devhub`.
    pub(crate) fn operator(&self) -> Result<(), Refusal> {
        match self {
            Self::User(0, _) => Ok(()),
            Self::User(..) => Err(Refusal::forbidden("only the main user may do this")),
            Self::Anonymous => Err(Refusal::anonymous()),
        }
    }

    /// Replaces the namespace `me` by the user's.
    pub(crate) fn key(&self, namespace: &str, name: &str) -> Result<BucketKey, Refusal> {
        match namespace {
            "me" => Ok(BucketKey::new(&self.user()?.name, name)),
            other => Ok(BucketKey::new(other, name)),
        }
    }

    /// Reports whether the caller belongs to a namespace.
    pub(crate) fn is_member(&self, namespace: &str) -> bool {
        match self {
            Self::Anonymous => false,
            Self::User(_, user) => {
                user.name == namespace || user.organizations.iter().any(|org| org == namespace)
            }
        }
    }

    /// Returns what `look` sees in a bucket that the caller may read. Others look like missing ones.
    pub(crate) fn read<T>(
        &self,
        state: &State,
        key: &BucketKey,
        look: impl FnOnce(&Bucket) -> T,
    ) -> Result<T, Refusal> {
        let is_member = self.is_member(&key.namespace);
        let seen = state.registry.with(key, |bucket| {
            (is_member || !bucket.private).then(|| look(bucket))
        });
        seen.flatten().ok_or_else(|| self.hidden())
    }

    /// Makes sure that the caller may change a bucket that exists.
    pub(crate) fn write(&self, state: &State, key: &BucketKey) -> Result<(), Refusal> {
        self.read(state, key, |_| ())?;
        self.write_namespace(&key.namespace)
    }

    /// Makes sure that the caller may create buckets in a namespace.
    pub(crate) fn write_namespace(&self, namespace: &str) -> Result<(), Refusal> {
        let user = self.user()?;
        if !self.is_member(namespace) {
            return Err(Refusal::forbidden(format!(
                "You don't have the rights to write in namespace \"{namespace}\""
            )));
        }
        match user.role {
            TokenRole::Write => Ok(()),
            TokenRole::Read => Err(Refusal::forbidden("This token cannot write")),
        }
    }

    fn hidden(&self) -> Refusal {
        match self {
            Self::Anonymous => Refusal::anonymous(),
            Self::User(..) => Refusal::no_bucket(),
        }
    }
}
