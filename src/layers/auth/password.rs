//! Passwords: compared in constant time or hashed, remembered for a while, and slowed down for whoever guesses.

use std::net::IpAddr;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordVerifier as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::cache::ExpiringMap;
use crate::layers::auth::credentials::{CredentialStore, User};
use crate::layers::auth::judge::{Admission, Denial, denied};
use crate::layers::auth::payload::BodyRules;
use crate::layers::auth::throttle::Throttle;
use crate::storage::{Principal, Secret, StorageError, StoredPassword};
use crate::telemetry::AuthFailure;

/// Hashes that are computed at once: each takes 19 MiB and some ten milliseconds of a core with Argon2's usual parameters.
const MAX_HASHES_AT_ONCE: usize = 2;

/// How long a password that was right is not looked at again, counted from its last use. Every operation of a session carries
/// its password.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);

/// How many of them are remembered.
const MAX_REMEMBERED: usize = 10_000;

/// What is hashed where there is no such user, so that the time does not tell: the hash of nothing in particular, with Argon2's
/// usual parameters.
const NOBODYS_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$aHVnYnVja2V0LW5vYm9keQ$\
                            AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Judges passwords.
pub(super) struct PasswordJudge {
    /// Keyed hashes of what was right: of name, stored password, and password.
    remembered: ExpiringMap<[u8; 32], ()>,
    key: Zeroizing<[u8; 32]>,
    hashing: Semaphore,
    throttle: Throttle,
}

impl PasswordJudge {
    pub(super) fn new() -> Self {
        Self {
            remembered: ExpiringMap::new(MAX_REMEMBERED, REMEMBERED_FOR),
            key: Zeroizing::new(rand::random()),
            hashing: Semaphore::new(MAX_HASHES_AT_ONCE),
            throttle: Throttle::new(),
        }
    }

    /// Returns the admission of a user whose password was right not long ago; nothing if it has to be judged.
    pub(super) fn recall(
        &self,
        store: &CredentialStore,
        name: &str,
        password: &Secret,
    ) -> Option<Admission> {
        let user = store.user(name)?;
        let digest = self.digest(name, user, password);
        self.remembered.get(&digest)?;
        self.remembered.insert(digest, ());
        Some(admission(name, user))
    }

    /// Judges a password that comes from `peer`. It may have to wait for that.
    ///
    /// Errors: one for unknown names and wrong passwords, so that nobody learns which names exist.
    pub(super) async fn judge(
        &self,
        store: &CredentialStore,
        name: &str,
        password: &Secret,
        peer: Option<IpAddr>,
    ) -> Result<Admission, Denial> {
        let wait = self.throttle.wait(peer, name);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let user = store.user(name);
        let is_right = match user.map(|user| &user.password) {
            Some(StoredPassword::Plain(stored)) => is_same(stored, password),
            Some(StoredPassword::Argon2(hash)) => self.has_hash(password, hash).await,
            None if store.has_hashed_passwords() => {
                self.has_hash(password, &Secret::new(NOBODYS_HASH)).await;
                false
            }
            None => false,
        };
        match user {
            Some(user) if is_right => {
                self.remembered
                    .insert(self.digest(name, user, password), ());
                Ok(admission(name, user))
            }
            user => {
                self.throttle.failed(peer, name);
                let reason = match user {
                    _ if !wait.is_zero() => AuthFailure::Throttled,
                    Some(_) => AuthFailure::BadPassword,
                    None => AuthFailure::NoSuchKey,
                };
                let text = "the user name or the password is wrong";
                Err(denied(reason, StorageError::denied(text)))
            }
        }
    }

    /// Hashes the password as `hash` was, and compares.
    async fn has_hash(&self, password: &Secret, hash: &Secret) -> bool {
        let Ok(_permit) = self.hashing.acquire().await else {
            return false;
        };
        let (password, hash) = (password.clone(), hash.clone());
        let hashing = tokio::task::spawn_blocking(move || {
            let hash = PasswordHash::new(hash.expose()).ok()?;
            let password = password.expose().as_bytes();
            Argon2::default().verify_password(password, &hash).ok()
        });
        matches!(hashing.await, Ok(Some(())))
    }

    /// Nobody can find out a password from this without the key, which lives as long as the process.
    fn digest(&self, name: &str, user: &User, password: &Secret) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&*self.key).expect("HMAC takes any key");
        let stored = match &user.password {
            StoredPassword::Plain(secret) | StoredPassword::Argon2(secret) => secret.expose(),
        };
        for text in [name, stored, password.expose()] {
            mac.update(&(text.len() as u64).to_le_bytes());
            mac.update(text.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }
}

/// Digests are compared, so that neither the length nor the first difference shows in the time it takes.
fn is_same(stored: &Secret, password: &Secret) -> bool {
    let digest = |secret: &Secret| -> [u8; 32] { Sha256::digest(secret.expose()).into() };
    digest(stored).ct_eq(&digest(password)).into()
}

fn admission(name: &str, user: &User) -> Admission {
    Admission {
        principal: Principal {
            id: name.into(),
            entitlement: user.entitlement.clone(),
        },
        body: BodyRules::unsigned(),
    }
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::PasswordHasher as _;
    use argon2::{Algorithm, Params, Version};

    use super::*;
    use crate::layers::auth::credentials::PasswordUser;
    use crate::storage::{Entitlement, Rights};

    const PEER: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    fn store(password: StoredPassword) -> CredentialStore {
        let user = PasswordUser {
            name: "ann".into(),
            password,
            entitlement: Entitlement {
                rights: Rights::ReadOnly,
                ..Entitlement::default()
            },
        };
        CredentialStore::new([], [user])
    }

    fn plain(password: &str) -> StoredPassword {
        StoredPassword::Plain(Secret::new(password))
    }

    /// Hashes with the least that Argon2 allows.
    fn hashed(password: &str) -> StoredPassword {
        let params = Params::new(8, 1, 1, None).unwrap();
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let hash = argon2.hash_password(password.as_bytes()).unwrap();
        StoredPassword::Argon2(Secret::new(hash.to_string()))
    }

    async fn is_let_in(judge: &PasswordJudge, store: &CredentialStore, password: &str) -> bool {
        let judged = judge
            .judge(store, "ann", &Secret::new(password), PEER)
            .await;
        judged.is_ok_and(|admission| admission.principal.entitlement.rights == Rights::ReadOnly)
    }

    #[tokio::test]
    async fn a_password_is_compared_whole_however_it_is_stored() {
        for stored in [plain("password"), hashed("password")] {
            let (judge, store) = (PasswordJudge::new(), store(stored));
            assert!(is_let_in(&judge, &store, "password").await);
            for wrong in ["", "passwor", "password ", "Password"] {
                assert!(!is_let_in(&judge, &store, wrong).await, "{wrong:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_success_is_remembered_and_only_that() {
        let judge = PasswordJudge::new();
        let (old, new) = (store(hashed("old")), store(hashed("new")));
        let recalls = |store: &CredentialStore, password: &str| {
            judge.recall(store, "ann", &Secret::new(password)).is_some()
        };
        assert!(!recalls(&old, "old"));
        assert!(is_let_in(&judge, &old, "old").await);
        assert!(!is_let_in(&judge, &old, "wrong").await);
        assert!(recalls(&old, "old") && !recalls(&old, "wrong"));
        // What is stored changed, and nothing is remembered of it.
        assert!(!recalls(&new, "old") && !recalls(&new, "new"));
        assert!(!recalls(&CredentialStore::default(), "old"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_is_forgotten_a_minute_after_its_last_use() {
        let (judge, store) = (PasswordJudge::new(), store(plain("p")));
        assert!(is_let_in(&judge, &store, "p").await);
        for (secs, is_remembered) in [(50, true), (50, true), (61, false)] {
            tokio::time::advance(Duration::from_secs(secs)).await;
            let recalled = judge.recall(&store, "ann", &Secret::new("p"));
            assert_eq!(recalled.is_some(), is_remembered);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_guesser_is_slowed_down_and_the_right_password_is_never_refused() {
        let (judge, store) = (PasswordJudge::new(), store(plain("p")));
        for _ in 0..20 {
            assert!(!is_let_in(&judge, &store, "wrong").await);
        }
        let began = tokio::time::Instant::now();
        let throttled = judge.judge(&store, "bob", &Secret::new("p"), PEER).await;
        assert_eq!(throttled.unwrap_err().reason, AuthFailure::Throttled);
        assert!(began.elapsed() > Duration::from_secs(1));
        assert!(is_let_in(&judge, &store, "p").await);
    }

    #[test]
    fn nobodys_hash_is_one() {
        let hash = PasswordHash::new(NOBODYS_HASH).unwrap();
        assert!(Argon2::default().verify_password(b"", &hash).is_err());
    }
}
