//! CAS tokens and signed addresses: what proves that the Hub has allowed something.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::clock::now_secs;

/// What a CAS token allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenClaims {
    /// Id of the bucket; another bucket of the same name has another one.
    pub(crate) bucket: String,
    pub(crate) writes: bool,
    /// Unix seconds.
    pub(crate) expires: u64,
    epoch: u64,
}

/// Why a proof was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadProof {
    #[error("malformed or forged")]
    Forged,
    #[error("expired")]
    Expired,
}

/// Signs and verifies with the key of the data directory, so that proofs outlive the process.
#[derive(Debug)]
pub(crate) struct Signer {
    key: [u8; 32],
    token_epoch: AtomicU64,
    url_epoch: AtomicU64,
}

impl Signer {
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self {
            key,
            token_epoch: AtomicU64::new(0),
            url_epoch: AtomicU64::new(0),
        }
    }

    pub(super) fn expire_tokens(&self) {
        self.token_epoch.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn expire_urls(&self) {
        self.url_epoch.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns a token for a bucket that is valid until `expires`, in unix seconds.
    pub(crate) fn token(&self, bucket: String, writes: bool, expires: u64) -> String {
        let claims = TokenClaims {
            bucket,
            writes,
            expires,
            epoch: self.token_epoch.load(Ordering::Relaxed),
        };
        let claims = serde_json::to_vec(&claims).expect("claims hold only strings and numbers");
        let claims = URL_SAFE_NO_PAD.encode(claims);
        let signature = URL_SAFE_NO_PAD.encode(self.mac("token", &claims).finalize().into_bytes());
        format!("xet_{claims}.{signature}")
    }

    /// Returns what a token allows.
    pub(crate) fn open_token(&self, token: &str) -> Result<TokenClaims, BadProof> {
        let (claims, signature) = token
            .strip_prefix("xet_")
            .and_then(|token| token.split_once('.'))
            .ok_or(BadProof::Forged)?;
        let signature = URL_SAFE_NO_PAD
            .decode(signature)
            .map_err(|_| BadProof::Forged)?;
        (self.mac("token", claims).verify_slice(&signature)).map_err(|_| BadProof::Forged)?;
        let claims = URL_SAFE_NO_PAD
            .decode(claims)
            .map_err(|_| BadProof::Forged)?;
        let claims: TokenClaims = serde_json::from_slice(&claims).map_err(|_| BadProof::Forged)?;
        let current = self.token_epoch.load(Ordering::Relaxed);
        if claims.expires <= now_secs() || claims.epoch != current {
            return Err(BadProof::Expired);
        }
        Ok(claims)
    }

    /// Appends expiry and signature to `target`, a path with a query that holds what is allowed.
    pub(crate) fn sign_url(&self, target: &str, expires: u64) -> String {
        let epoch = self.url_epoch.load(Ordering::Relaxed);
        let signed = format!("{target}&Expires={expires}&Epoch={epoch}");
        let signature = hex::encode(self.mac("url", &signed).finalize().into_bytes());
        format!("{signed}&Signature={signature}")
    }

    /// Verifies a path with query as [`Signer::sign_url`] made it.
    pub(crate) fn verify_url(&self, path_and_query: &str) -> Result<(), BadProof> {
        let (signed, signature) = path_and_query
            .rsplit_once("&Signature=")
            .ok_or(BadProof::Forged)?;
        let signature = hex::decode(signature).map_err(|_| BadProof::Forged)?;
        (self.mac("url", signed).verify_slice(&signature)).map_err(|_| BadProof::Forged)?;
        let number = |name: &str| {
            let (_, rest) = signed.rsplit_once(name)?;
            rest.split('&').next()?.parse::<u64>().ok()
        };
        let expires = number("&Expires=").ok_or(BadProof::Forged)?;
        let epoch = number("&Epoch=").ok_or(BadProof::Forged)?;
        if expires <= now_secs() || epoch != self.url_epoch.load(Ordering::Relaxed) {
            return Err(BadProof::Expired);
        }
        Ok(())
    }

    /// Starts a code over `text`; the purpose keeps tokens and addresses apart.
    fn mac(&self, purpose: &str, text: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(purpose.as_bytes());
        mac.update(&[0]);
        mac.update(text.as_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> Signer {
        Signer::new([7; 32])
    }

    #[test]
    fn a_token_says_what_it_was_made_for() {
        let signer = signer();
        let token = signer.token("id".into(), true, now_secs() + 60);
        let claims = signer.open_token(&token).unwrap();
        assert_eq!((claims.bucket.as_str(), claims.writes), ("id", true));
    }

    #[test]
    fn expired_forged_and_revoked_tokens_are_refused() {
        let signer = signer();
        let old = signer.token("id".into(), false, now_secs());
        assert_eq!(signer.open_token(&old), Err(BadProof::Expired));
        let token = signer.token("id".into(), false, now_secs() + 60);
        let other = Signer::new([8; 32]);
        assert_eq!(other.open_token(&token), Err(BadProof::Forged));
        signer.expire_tokens();
        assert_eq!(signer.open_token(&token), Err(BadProof::Expired));
    }

    #[test]
    fn a_changed_address_is_refused() {
        let signer = signer();
        let url = signer.sign_url("/xorbs/ab?r=0-9", now_secs() + 60);
        assert_eq!(signer.verify_url(&url), Ok(()));
        let wider = url.replace("0-9", "0-99");
        assert_eq!(signer.verify_url(&wider), Err(BadProof::Forged));
        signer.expire_urls();
        assert_eq!(signer.verify_url(&url), Err(BadProof::Expired));
    }
}
