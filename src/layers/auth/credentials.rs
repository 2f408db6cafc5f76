//! Who is known: access keys with their secrets, users with their passwords.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::layers::auth::session::SessionSeal;
use crate::sigv4::{Scope, SigningKey};
use crate::storage::{Entitlement, Secret, StoredPassword};

/// Signing keys kept per access key: clients sign with today's date, and with one region or two.
const MAX_SIGNING_KEYS: usize = 8;

/// An S3 access key.
#[derive(Debug, Clone)]
pub struct S3Key {
    /// The public half.
    pub access_key_id: String,
    /// The secret half.
    pub secret: Secret,
    /// What its holder may do.
    pub entitlement: Entitlement,
}

/// A user with a password, as FTP has them.
#[derive(Debug, Clone)]
pub struct PasswordUser {
    /// The name to log in with.
    pub name: String,
    /// What the password is checked against.
    pub password: StoredPassword,
    /// What the user may do.
    pub entitlement: Entitlement,
}

/// All credentials of the gateway. A new set replaces the old one as a whole, and with it every key derived from it.
#[derive(Debug, Default)]
pub struct CredentialStore {
    keys: HashMap<String, AccessKey>,
    users: HashMap<String, User>,
    lets_strangers_read: bool,
}

impl CredentialStore {
    /// Builds the store. Of two credentials with the same name, the later one counts.
    pub fn new(
        keys: impl IntoIterator<Item = S3Key>,
        users: impl IntoIterator<Item = PasswordUser>,
    ) -> Self {
        let keys = keys.into_iter().map(|key| {
            let known = AccessKey {
                secret: key.secret,
                entitlement: key.entitlement,
                derived: Mutex::default(),
            };
            (key.access_key_id, known)
        });
        let users = users.into_iter().map(|user| {
            let known = User {
                password: user.password,
                entitlement: user.entitlement,
            };
            (user.name, known)
        });
        Self {
            keys: keys.collect(),
            users: users.collect(),
            lets_strangers_read: false,
        }
    }

    /// Lets callers without credentials in, to read what is public.
    #[must_use]
    pub fn letting_strangers_read(mut self, lets: bool) -> Self {
        self.lets_strangers_read = lets;
        self
    }

    /// Reports whether callers without credentials are let in.
    pub(super) fn lets_strangers_read(&self) -> bool {
        self.lets_strangers_read
    }

    /// Returns an access key by its id.
    pub(super) fn access_key(&self, access_key_id: &str) -> Option<&AccessKey> {
        self.keys.get(access_key_id)
    }

    /// Reports whether any password is kept as a hash, so that checking one takes time.
    pub(super) fn has_hashed_passwords(&self) -> bool {
        let mut users = self.users.values();
        users.any(|user| matches!(user.password, StoredPassword::Argon2(_)))
    }

    /// Returns a user by name.
    pub(super) fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name)
    }
}

/// A known access key.
#[derive(Debug)]
pub(super) struct AccessKey {
    secret: Secret,
    pub(super) entitlement: Entitlement,
    /// Newest first.
    derived: Mutex<VecDeque<(Scope, SigningKey)>>,
}

impl AccessKey {
    /// Returns the signing key for a scope, derived at most once while it stays among the newest.
    pub(super) fn signing_key(&self, scope: &Scope) -> SigningKey {
        // Every step leaves the queue whole, so a poisoned one is as good.
        let mut derived = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, key)) = derived.iter().find(|(known, _)| known == scope) {
            return key.clone();
        }
        let key = SigningKey::derive(self.secret.expose(), scope);
        derived.truncate(MAX_SIGNING_KEYS - 1);
        derived.push_front((scope.clone(), key.clone()));
        key
    }
}

impl AccessKey {
    /// Returns what the temporary credentials that this key issues are made and verified with.
    pub(super) fn session_seal(&self) -> SessionSeal {
        SessionSeal::of(&self.secret)
    }
}

/// A known user.
#[derive(Debug)]
pub(super) struct User {
    pub(super) password: StoredPassword,
    pub(super) entitlement: Entitlement,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(region: &str) -> Scope {
        Scope {
            date: "20130524".into(),
            region: region.into(),
            service: "s3".into(),
        }
    }

    fn store() -> CredentialStore {
        let key = S3Key {
            access_key_id: "key".into(),
            secret: Secret::new("secret"),
            entitlement: Entitlement::default(),
        };
        let user = PasswordUser {
            name: "user".into(),
            password: StoredPassword::Plain(Secret::new("password")),
            entitlement: Entitlement::default(),
        };
        CredentialStore::new([key], [user])
    }

    #[test]
    fn a_cached_signing_key_is_the_one_of_its_scope() {
        let store = store();
        let key = store.access_key("key").unwrap();
        for region in (0..20)
            .chain(0..20)
            .map(|number| format!("region-{number}"))
        {
            let derived = SigningKey::derive("secret", &scope(&region));
            assert_eq!(
                key.signing_key(&scope(&region)).sign("text"),
                derived.sign("text")
            );
        }
        assert_eq!(key.derived.lock().unwrap().len(), MAX_SIGNING_KEYS);
        assert!(store.access_key("KEY").is_none());
    }

    #[test]
    fn debug_shows_no_secret() {
        let store = store();
        store.access_key("key").unwrap().signing_key(&scope("r"));
        let text = format!("{store:?}");
        assert!(
            !text.contains("\"secret\"") && !text.contains("password\""),
            "{text}"
        );
    }
}
