//! Temporary credentials, without a place where they are kept: what they are is written into their token, and whoever knows the
//! secret of their issuer can tell that the token is genuine.
//!
//! A token is `base64url(mac ‖ payload)`. From the issuer's secret comes one key, and from that and the payload come the MAC, the
//! secret half, and the public half of the credentials, each under a label of its own. So any replica that knows the issuer
//! verifies them, and they end when the issuer's secret changes or goes. The issuer's secret signs requests as the key
//! `AWS4<secret>`, over dates; here it is used as it is, over a label that is no date.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::storage::{IssueSession, Policy, Secret, SessionIssued};

/// The longest token that is looked at: its policy has at most 2,048 characters, each of which may be escaped.
const MAX_TOKEN_BYTES: usize = 16 << 10;

/// What the public half begins with, as that of AWS's own temporary credentials.
const KEY_PREFIX: &str = "ASIA";

/// The letters of access key ids (RFC 4648 §6).
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

const MAC_BYTES: usize = 32;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    /// Version of the format: 1.
    v: u8,
    /// Access key id of the issuer.
    issuer: String,
    name: String,
    /// Seconds since 1970.
    expires: i64,
    /// Makes every session another one.
    nonce: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
}

/// A token that was taken apart, and that nobody has verified.
#[derive(Debug)]
pub(super) struct Sealed {
    mac: [u8; MAC_BYTES],
    payload: Vec<u8>,
    claims: Claims,
}

/// A session whose token is genuine.
#[derive(Debug)]
pub(super) struct Session {
    /// What its issuer calls it.
    pub(super) name: String,
    pub(super) expires_at: OffsetDateTime,
    pub(super) policy: Option<Policy>,
    /// The secret half of its credentials.
    pub(super) secret: Secret,
}

/// What the credentials that one key issues are made and verified with.
pub(super) struct SessionSeal(Zeroizing<[u8; 32]>);

impl Sealed {
    /// Takes a token apart. `None` if it cannot be one of this gateway.
    pub(super) fn parse(token: &str) -> Option<Self> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        if bytes.len() < MAC_BYTES {
            return None;
        }
        let payload = bytes.split_off(MAC_BYTES);
        let claims: Claims = serde_json::from_slice(&payload).ok()?;
        (claims.v == 1).then_some(Self {
            mac: bytes.try_into().ok()?,
            payload,
            claims,
        })
    }

    /// Returns the access key id of who has issued it, if it is genuine.
    pub(super) fn issuer(&self) -> &str {
        &self.claims.issuer
    }
}

impl SessionSeal {
    /// Derives what belongs to the secret of an access key.
    pub(super) fn of(secret: &Secret) -> Self {
        let mac = hmac(secret.expose().as_bytes());
        let key = mac.chain_update("hugbucket session key 1").finalize();
        Self(Zeroizing::new(key.into_bytes().into()))
    }

    /// Issues a session.
    pub(super) fn issue(
        &self,
        issuer: &str,
        asked: &IssueSession,
        expires_at: OffsetDateTime,
    ) -> SessionIssued {
        let claims = Claims {
            v: 1,
            issuer: issuer.into(),
            name: asked.name.clone(),
            expires: expires_at.unix_timestamp(),
            nonce: hex::encode(rand::random::<[u8; 16]>()),
            policy: asked.policy.as_ref().map(|policy| policy.text().into()),
        };
        let payload = serde_json::to_vec(&claims).expect("texts and numbers serialise");
        let token = [&self.derive("token", &payload)[..], &payload].concat();
        SessionIssued {
            issuer: issuer.into(),
            access_key_id: self.access_key_id(&payload),
            secret: self.secret(&payload),
            token: Secret::new(URL_SAFE_NO_PAD.encode(token)),
            expires_at,
        }
    }

    /// Returns the session of a genuine token; `None` if it was made with another secret, was changed, or belongs to another
    /// access key id.
    pub(super) fn open(&self, sealed: Sealed, access_key_id: &str) -> Option<Session> {
        let Sealed {
            mac,
            payload,
            claims,
        } = sealed;
        let is_genuine: bool = self.derive("token", &payload).ct_eq(&mac).into();
        if !is_genuine || self.access_key_id(&payload) != access_key_id {
            return None;
        }
        Some(Session {
            name: claims.name,
            expires_at: OffsetDateTime::from_unix_timestamp(claims.expires).ok()?,
            policy: claims
                .policy
                .map(|text| Policy::parse(&text))
                .transpose()
                .ok()?,
            secret: self.secret(&payload),
        })
    }

    /// Forty characters, as AWS's secrets have.
    fn secret(&self, payload: &[u8]) -> Secret {
        Secret::new(STANDARD.encode(&self.derive("secret", payload)[..30]))
    }

    /// Twenty characters, as AWS's access key ids have.
    fn access_key_id(&self, payload: &[u8]) -> String {
        let digits = self.derive("access key id", payload);
        let letters = digits[..16]
            .iter()
            .map(|byte| char::from(BASE32[usize::from(byte % 32)]));
        KEY_PREFIX.chars().chain(letters).collect()
    }

    fn derive(&self, label: &str, payload: &[u8]) -> Zeroizing<[u8; 32]> {
        // The end of the label cannot be taken for the beginning of the payload.
        let mac = hmac(&*self.0).chain_update(label).chain_update([0]);
        Zeroizing::new(mac.chain_update(payload).finalize().into_bytes().into())
    }
}

fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes any key")
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const END: OffsetDateTime = datetime!(2026-01-02 03:04:05 UTC);
    const POLICY: &str = r#"{"Statement":{"Effect":"Allow","Action":"s3:Get*","Resource":"*"}}"#;

    fn seal(secret: &str) -> SessionSeal {
        SessionSeal::of(&Secret::new(secret))
    }

    fn issued() -> SessionIssued {
        let asked = IssueSession {
            name: "job".into(),
            policy: Some(Policy::parse(POLICY).unwrap()),
            life: time::Duration::HOUR,
        };
        seal("s").issue("parent", &asked, END)
    }

    #[test]
    fn a_session_comes_back_from_its_token() {
        let issued = issued();
        let sealed = Sealed::parse(issued.token.expose()).unwrap();
        assert_eq!(sealed.issuer(), "parent");
        let session = seal("s").open(sealed, &issued.access_key_id).unwrap();
        assert_eq!((session.name.as_str(), session.expires_at), ("job", END));
        assert_eq!(session.policy.unwrap().text(), POLICY);
        assert_eq!(session.secret, issued.secret);
        assert_eq!(issued.secret.expose().len(), 40);
        assert_eq!(issued.access_key_id.len(), 20);
        assert!(issued.access_key_id.starts_with("ASIA"));
        assert!(
            issued
                .token
                .expose()
                .bytes()
                .all(|byte| byte.is_ascii_graphic())
        );
    }

    #[test]
    fn equal_wishes_give_different_sessions() {
        let (one, other) = (issued(), issued());
        assert_ne!(one.access_key_id, other.access_key_id);
        assert_ne!(one.secret, other.secret);
        let sealed = Sealed::parse(one.token.expose()).unwrap();
        assert!(seal("s").open(sealed, &other.access_key_id).is_none());
    }

    #[test]
    fn a_changed_or_foreign_token_opens_nothing() {
        let issued = issued();
        let token = issued.token.expose();
        let bytes = URL_SAFE_NO_PAD.decode(token).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let changed = URL_SAFE_NO_PAD.encode(changed);
            let opened = Sealed::parse(&changed)
                .and_then(|sealed| seal("s").open(sealed, &issued.access_key_id));
            assert!(opened.is_none(), "byte {at}");
        }
        let foreign = seal("t").open(Sealed::parse(token).unwrap(), &issued.access_key_id);
        assert!(foreign.is_none());
        let long = "A".repeat(MAX_TOKEN_BYTES + 1);
        for text in [
            "",
            "x",
            "AAAA",
            &token[..token.len() - 4],
            &format!("{token}="),
            &long,
        ] {
            assert!(Sealed::parse(text).is_none());
        }
        assert!(!format!("{issued:?}").contains(issued.secret.expose()));
    }

    /// The construction, written once more by hand: a change of it would end all sessions, and must not go unnoticed.
    #[test]
    fn the_derivation_is_what_its_description_says() {
        let seal = seal("s");
        let key = hmac(b"s")
            .chain_update("hugbucket session key 1")
            .finalize()
            .into_bytes();
        let secret = hmac(&key)
            .chain_update(b"secret\0payload")
            .finalize()
            .into_bytes();
        assert_eq!(
            seal.secret(b"payload").expose(),
            STANDARD.encode(&secret[..30])
        );
        assert_eq!(
            *seal.derive("token", b"x"),
            <[u8; 32]>::from(hmac(&key).chain_update(b"token\0x").finalize().into_bytes())
        );
    }
}
