//! Signing keys, strings to sign, and comparison in constant time.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::sigv4::evidence::Scope;
use crate::sigv4::timestamp::iso_basic;

/// The key of one secret for one scope. As good as the secret for that day and region: `Debug` does not show it.
#[derive(Clone)]
pub struct SigningKey(Hmac<Sha256>);

impl SigningKey {
    /// Derives the key of `secret` for `scope`: four HMACs, worth caching by access key, date, and region.
    pub fn derive(secret: &str, scope: &Scope) -> Self {
        let first = Zeroizing::new(format!("AWS4{secret}"));
        let steps = [
            scope.date.as_str(),
            &scope.region,
            &scope.service,
            "aws4_request",
        ];
        let derived = steps.into_iter().fold(hmac(first.as_bytes()), |mac, step| {
            hmac(&mac.chain_update(step).finalize().into_bytes())
        });
        Self(derived)
    }

    /// Returns the signature of a string: 64 lower-case hex digits.
    pub fn sign(&self, string_to_sign: &str) -> String {
        hex::encode(
            self.0
                .clone()
                .chain_update(string_to_sign)
                .finalize()
                .into_bytes(),
        )
    }

    /// Reports whether `signature` is the one of this string. The comparison takes the same time wherever they differ.
    pub fn verifies(&self, string_to_sign: &str, signature: &str) -> bool {
        self.sign(string_to_sign)
            .as_bytes()
            .ct_eq(signature.as_bytes())
            .into()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

/// Returns the string to sign of a whole request.
pub(crate) fn string_to_sign(
    signed_at: OffsetDateTime,
    scope: &Scope,
    canonical_request: &str,
) -> String {
    format!(
        "AWS4-HMAC-SHA256\n{}\n{}\n{}",
        iso_basic(signed_at),
        scope.line(),
        hex::encode(Sha256::digest(canonical_request))
    )
}

fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The derivation example of AWS's general reference, with the key proven through a signature: there the derived key
    /// is `c4afb1cc…d4b9` for this secret and scope.
    #[test]
    fn the_derived_key_is_the_published_one() {
        let scope = Scope {
            date: "20150830".into(),
            region: "us-east-1".into(),
            service: "iam".into(),
        };
        let key = SigningKey::derive("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", &scope);
        let string_to_sign = "AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/iam/aws4_request\n\
             f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59";
        let signature = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";
        assert_eq!(key.sign(string_to_sign), signature);
        assert!(key.verifies(string_to_sign, signature));
        assert!(!key.verifies(string_to_sign, &signature[1..]));
        assert!(!key.verifies(string_to_sign, &signature.to_uppercase()));
        assert_eq!(format!("{key:?}"), "SigningKey(…)");
    }
}
