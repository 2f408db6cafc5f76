//! Who may take how much: the quotas of credentials, as the layers look them up.

use std::collections::HashMap;
use std::sync::Arc;

use crate::storage::{Principal, Protocol, Quota, StorageRequest};

/// Whose quota it is: a key id and a user name may be the same text, and are two credentials.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Holder {
    protocol: Protocol,
    id: Arc<str>,
}

impl Holder {
    /// Names a credential: the protocol that it is for, and its key id or user name.
    pub fn new(protocol: Protocol, id: &str) -> Self {
        Self {
            protocol,
            id: id.into(),
        }
    }

    /// Returns who makes a request. All callers without credentials are one, and so is a key with whatever was issued in its
    /// name (`key/session`): nobody gets more by splitting itself up.
    pub(super) fn of(request: &StorageRequest<Principal>) -> Self {
        let (protocol, id) = (request.context.protocol, &request.caller.id);
        let id = match id.split_once('/') {
            Some((issuer, _session)) if protocol == Protocol::S3 => issuer.into(),
            _ => id.clone(),
        };
        Self { protocol, id }
    }
}

/// The quotas of all credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Quotas that differ from the general one.
    pub of: HashMap<Holder, Quota>,
    /// The quota of everybody else.
    pub general: Quota,
    /// Whether several credentials share this process, so that none of them may take all of it.
    pub is_shared: bool,
}

impl Quotas {
    /// Returns the quota of a credential.
    pub(super) fn quota(&self, holder: &Holder) -> Quota {
        self.of.get(holder).copied().unwrap_or(self.general)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::testing::{head, principal, request};

    #[test]
    fn what_was_issued_in_the_name_of_a_key_is_that_key() {
        let of = |protocol, id: &str| {
            let caller = Principal {
                id: id.into(),
                ..principal()
            };
            let mut request = request(caller, head("k"));
            request.context.protocol = protocol;
            Holder::of(&request)
        };
        let key = Holder::new(Protocol::S3, "key");
        assert_eq!(of(Protocol::S3, "key"), key);
        assert_eq!(of(Protocol::S3, "key/session"), key);
        let user = Holder::new(Protocol::Ftp, "a/b");
        assert_eq!(of(Protocol::Ftp, "a/b"), user);
    }

    #[test]
    fn a_key_and_a_user_of_the_same_name_have_quotas_of_their_own() {
        let few = Quota {
            max_requests: Some(3),
            ..Quota::default()
        };
        let quotas = Quotas {
            of: [(Holder::new(Protocol::S3, "ann"), few)].into(),
            ..Quotas::default()
        };
        assert_eq!(quotas.quota(&Holder::new(Protocol::S3, "ann")), few);
        let user = Holder::new(Protocol::Ftp, "ann");
        assert_eq!(quotas.quota(&user), Quota::default());
    }
}
