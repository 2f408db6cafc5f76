//! New secrets, from the random numbers of the operating system.

use argon2::{Argon2, PasswordHasher as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rand::TryRng as _;
use rand::rngs::SysRng;

use crate::app::Failure;
use crate::storage::Secret;

/// The letters of access key ids (RFC 4648 §6).
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Returns a new access key id: twenty letters and digits, as AWS's have.
///
/// Errors: the operating system has no random numbers.
pub(super) fn access_key_id() -> Result<String, Failure> {
    let letters = random::<18>()?.map(|byte| char::from(BASE32[usize::from(byte % 32)]));
    Ok("HB".chars().chain(letters).collect())
}

/// Returns a new secret access key: forty characters, 240 bits. Errors: as [`access_key_id`].
pub(super) fn secret_access_key() -> Result<Secret, Failure> {
    Ok(Secret::new(STANDARD.encode(random::<30>()?)))
}

/// Returns a new password: 24 characters that need no quoting anywhere, 144 bits. Errors: as [`access_key_id`].
pub(super) fn password() -> Result<Secret, Failure> {
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(random::<18>()?)))
}

/// Returns the hash of a password in PHC form, by Argon2id with its usual parameters.
///
/// Errors: as [`access_key_id`].
pub(super) fn argon2_hash(password: &Secret) -> Result<String, Failure> {
    let hash =
        Argon2::default().hash_password_with_salt(password.expose().as_bytes(), &random::<16>()?);
    let hash =
        hash.map_err(|error| Failure::Runtime(format!("cannot hash a password: {error}")))?;
    Ok(hash.to_string())
}

fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    SysRng.try_fill_bytes(&mut bytes).map_err(|error| {
        Failure::Runtime(format!(
            "the operating system has no random numbers: {error}"
        ))
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_and_have_their_form() {
        let (id, secret) = (access_key_id().unwrap(), secret_access_key().unwrap());
        assert_eq!((id.len(), secret.expose().len()), (20, 40));
        assert_ne!(access_key_id().unwrap(), id);
        assert_ne!(secret_access_key().unwrap(), secret);
        let password = password().unwrap();
        assert_eq!(password.expose().len(), 24);
        let hash = argon2_hash(&password).unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        assert_ne!(
            argon2_hash(&password).unwrap(),
            hash,
            "each hash has a salt of its own"
        );
    }
}
