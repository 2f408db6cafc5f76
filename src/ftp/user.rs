//! The user of a session: who it is, as the stack wants to hear it with every operation.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::{Instrument as _, Span};
use unftp_core::auth::UserDetail;

use crate::storage::{
    Credentials, Gateway, Operation, Principal, Protocol, RequestContext, Secret, StorageError,
};

/// A user who logged in.
///
/// The stack verifies every operation anew, so a user who is removed, or whose password changes, loses access in the
/// middle of a session.
#[derive(Debug, Clone)]
pub(super) struct User {
    principal: Principal,
    password: Secret,
    peer: Option<IpAddr>,
    /// The span of the command that is being carried out: the engine works in tasks of its own, which know nothing of it.
    command: Arc<Mutex<Span>>,
}

impl User {
    /// Describes the user whom the stack knows as `principal`, and who came from `peer` with `password`.
    pub(super) fn new(principal: Principal, password: Secret, peer: Option<IpAddr>) -> Self {
        Self {
            principal,
            password,
            peer,
            command: Arc::new(Mutex::new(Span::none())),
        }
    }

    /// Returns the name; fit for logs.
    pub(super) fn name(&self) -> &str {
        &self.principal.id
    }

    /// Sends one operation through the stack on the user's behalf, as a part of the current command.
    ///
    /// Errors: whatever a layer or the provider decides.
    pub(super) async fn call<O: Operation>(
        &self,
        gateway: &Gateway,
        operation: O,
    ) -> Result<O::Output, StorageError> {
        let credentials = Credentials::Password {
            user: self.name().to_owned(),
            password: self.password.clone(),
        };
        let context = RequestContext::new(Protocol::Ftp, self.peer);
        let span = self.command().clone();
        let answer = gateway.call(context, credentials, operation);
        answer.instrument(span).await
    }

    /// Tells the operations that follow which command they belong to.
    pub(super) fn enter(&self, command: &Span) {
        *self.command() = command.clone();
    }

    fn command(&self) -> std::sync::MutexGuard<'_, Span> {
        self.command.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what the user sees as `/`: `bucket` or `bucket/directory`, without a slash at either end; empty for the
    /// list of buckets.
    pub(super) fn root(&self) -> &str {
        &self.principal.entitlement.reach.root
    }

    /// Reports whether the user may change anything.
    pub(super) fn may_write(&self) -> bool {
        self.principal.entitlement.rights.may_change()
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl UserDetail for User {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_form_shows_the_password() {
        let principal = Principal::unlimited("ann");
        let user = User::new(principal, Secret::new("hush"), None);
        assert_eq!(user.to_string(), "ann");
        assert!(!format!("{user:?}").contains("hush"));
    }
}
