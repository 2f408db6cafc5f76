//! Secrets: readable only on purpose, never printed, wiped when dropped.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// A token, key, or password.
///
/// `Debug` prints `Secret(…)`, there is no `Display`, and the memory is overwritten on drop. Comparing two takes the same time
/// wherever they differ, but for their lengths. Whoever needs the text says so with [`Secret::expose`].
#[derive(Clone)]
pub struct Secret {
    text: Zeroizing<String>,
    /// For whom it is shown, if that is known: several may use one token, and have to share what it is good for. It says
    /// nothing about the secret, so it makes no difference to whether two are the same.
    holder: Option<Arc<str>>,
}

impl Secret {
    /// Takes ownership of a secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: Zeroizing::new(text.into()),
            holder: None,
        }
    }

    /// Returns the same secret, shown for `holder`: a key id or a user name.
    #[must_use]
    pub fn on_behalf_of(&self, holder: &Arc<str>) -> Self {
        Self {
            text: self.text.clone(),
            holder: Some(holder.clone()),
        }
    }

    /// Returns for whom it is shown, if that is known.
    pub fn holder(&self) -> Option<&Arc<str>> {
        self.holder.as_ref()
    }

    /// Returns the secret text itself. Never log, label, or format what this returns.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Reports whether the secret is the empty text.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose()
            .as_bytes()
            .ct_eq(other.expose().as_bytes())
            .into()
    }
}

impl Eq for Secret {}

/// Which secret it is, without the secret: half of its SHA-256. The key of whatever is kept by token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecretId([u8; 16]);

impl Secret {
    /// Returns what tells this secret from others.
    pub fn id(&self) -> SecretId {
        let digest = Sha256::digest(self.expose());
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        SecretId(id)
    }
}

impl fmt::Debug for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretId(…)")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a password is checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredPassword {
    /// The password itself.
    Plain(Secret),
    /// A hash by Argon2 with its parameters and salt, in PHC form: `$argon2id$v=19$m=19456,t=2,p=1$…`.
    Argon2(Secret),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_does_not_show_the_text() {
        let secret = Secret::new("hf_abc");
        assert_eq!(
            format!("{secret:?} {:?}", secret.id()),
            "Secret(…) SecretId(…)"
        );
    }

    #[test]
    fn it_is_the_same_secret_for_whomever_it_is_shown() {
        let (secret, ann) = (Secret::new("a"), "ann".into());
        let shown = secret.on_behalf_of(&ann);
        assert!(shown == secret && shown.id() == secret.id());
        assert_eq!((secret.holder(), shown.holder()), (None, Some(&ann)));
        assert!(shown != Secret::new("b").on_behalf_of(&ann));
    }

    #[test]
    fn secrets_are_told_apart_by_their_ids() {
        assert_eq!(Secret::new("a"), Secret::new("a"));
        assert_ne!(Secret::new("a"), Secret::new("b"));
        assert_ne!(Secret::new("a"), Secret::new("ab"));
        assert_eq!(Secret::new("a").id(), Secret::new("a").id());
        assert_ne!(Secret::new("a").id(), Secret::new("b").id());
    }
}
