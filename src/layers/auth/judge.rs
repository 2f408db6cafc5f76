//! The verdict over a claim: who it is, or why not.

use std::net::IpAddr;

use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::layers::auth::credentials::CredentialStore;
use crate::layers::auth::demand::demands;
use crate::layers::auth::payload::BodyRules;
use crate::layers::auth::session::Sealed;
use crate::sigv4::{Evidence, SignatureKind, SigningKey};
use crate::storage::{
    Action, AnyOperation, Credentials, Entitlement, IssueSession, Principal, Rights, SessionIssued,
    SignatureMismatch, StorageError,
};
use crate::telemetry::AuthFailure;

/// How far a client's clock may be off, either way (AWS: MaxAllowedSkewMilliseconds is 900,000).
const MAX_SKEW: Duration = Duration::minutes(15);

/// Why a caller was not let in.
#[derive(Debug)]
pub(super) struct Denial {
    /// For the metrics.
    pub(super) reason: AuthFailure,
    /// For the caller.
    pub(super) error: StorageError,
}

/// A caller who was let in.
#[derive(Debug)]
pub(super) struct Admission {
    /// Who.
    pub(super) principal: Principal,
    /// What must hold for the body.
    pub(super) body: BodyRules,
}

/// Judges a claim at the moment `now`, in the order of S3: the key, then the time, then the signature.
pub(super) fn judge(
    claimed: &Credentials,
    store: &CredentialStore,
    now: OffsetDateTime,
) -> Result<Admission, Denial> {
    match claimed {
        Credentials::Anonymous if store.lets_strangers_read() => Ok(Admission {
            principal: Principal {
                id: "anonymous".into(),
                entitlement: Entitlement {
                    rights: Rights::PublicRead,
                    ..Entitlement::default()
                },
            },
            body: BodyRules::unsigned(),
        }),
        Credentials::Anonymous => Err(denied(
            AuthFailure::NoSuchKey,
            StorageError::denied("anonymous access is not allowed"),
        )),
        Credentials::SigV4(evidence) => judge_signature(evidence, store, now),
        // Passwords take time, and are judged elsewhere.
        Credentials::Password { .. } => Err(denied(
            AuthFailure::BadPassword,
            StorageError::internal("a password cannot be judged at once"),
        )),
    }
}

/// Checks until when, and from where, a caller who has proven itself is accepted.
///
/// Whoever holds an expired key is answered as S3 answers for one that was made inactive: it is not known any more.
pub(super) fn check_limits(
    claimed: &Credentials,
    principal: &Principal,
    peer: Option<IpAddr>,
    now: OffsetDateTime,
) -> Result<(), Denial> {
    if principal.entitlement.has_expired(now) {
        let error = match claimed {
            Credentials::SigV4(evidence) => StorageError::InvalidAccessKeyId {
                access_key_id: evidence.access_key_id.clone(),
            },
            Credentials::Anonymous | Credentials::Password { .. } => {
                StorageError::denied(format!("the access of `{}` has expired", principal.id))
            }
        };
        return Err(denied(AuthFailure::Expired, error));
    }
    if !principal.entitlement.accepts(peer) {
        let text = format!("`{}` is not accepted from this address", principal.id);
        return Err(denied(AuthFailure::Forbidden, StorageError::denied(text)));
    }
    Ok(())
}

/// Checks an entitlement against what an operation does. The answer for a place out of reach is the same whether or not there
/// is something: whoever must not use it need not know that it exists.
pub(super) fn permit(principal: &Principal, operation: &AnyOperation) -> Result<(), Denial> {
    let Entitlement {
        rights,
        reach,
        policy,
        ..
    } = &principal.entitlement;
    let forbidden = |text: String| Err(denied(AuthFailure::Forbidden, StorageError::denied(text)));
    if *rights == Rights::PublicRead {
        return match is_public_read(operation) {
            true => Ok(()),
            false => forbidden("Access Denied".into()),
        };
    }
    for touch in operation.touches() {
        let manages = matches!(touch.action, Action::CreateBucket | Action::DeleteBucket);
        if !rights.allow(&touch) || manages && !reach.manages_buckets {
            return forbidden(match (rights, manages) {
                (Rights::ReadOnly, _) => format!("`{}` may only read", principal.id),
                (_, true) => format!("`{}` may not create or delete buckets", principal.id),
                _ => format!("`{}` may not {} here", principal.id, touch.action.name()),
            });
        }
        if let Some(outside) = touch.bucket.filter(|bucket| !reach.includes(bucket)) {
            return forbidden(format!("the bucket `{outside}` is out of reach"));
        }
    }
    if let Some(policy) = policy {
        let demands = demands(operation);
        if let Some(demand) = demands.iter().find(|demand| !policy.allows(demand)) {
            let (id, action) = (&principal.id, demand.action);
            return forbidden(format!(
                "the policy of `{id}` does not allow s3:{action} here"
            ));
        }
    }
    Ok(())
}

/// Reports whether the operation is one that a public bucket is public for. That it is one is judged further down, where
/// its visibility is known. A new operation is not among them until somebody says so.
fn is_public_read(operation: &AnyOperation) -> bool {
    matches!(
        operation,
        AnyOperation::GetObject(_)
            | AnyOperation::HeadObject(_)
            | AnyOperation::ListObjects(_)
            | AnyOperation::HeadBucket(_)
    )
}

fn judge_signature(
    evidence: &Evidence,
    store: &CredentialStore,
    now: OffsetDateTime,
) -> Result<Admission, Denial> {
    if let Some(token) = &evidence.session_token {
        return judge_session(evidence, token, store, now);
    }
    let Some(access_key) = store.access_key(&evidence.access_key_id) else {
        let access_key_id = evidence.access_key_id.clone();
        let error = StorageError::InvalidAccessKeyId { access_key_id };
        return Err(denied(AuthFailure::NoSuchKey, error));
    };
    check_time(evidence, now)?;
    let key = access_key.signing_key(&evidence.scope);
    let principal = Principal {
        id: evidence.access_key_id.as_str().into(),
        entitlement: access_key.entitlement.clone(),
    };
    verified(evidence, key, principal)
}

/// Judges a signature by temporary credentials. A token that does not open is one of somebody else, whatever else is wrong.
fn judge_session(
    evidence: &Evidence,
    token: &str,
    store: &CredentialStore,
    now: OffsetDateTime,
) -> Result<Admission, Denial> {
    let invalid = || denied(AuthFailure::NoSuchKey, StorageError::InvalidToken);
    let sealed = Sealed::parse(token).ok_or_else(invalid)?;
    let issuer_id = sealed.issuer().to_owned();
    let issuer = store.access_key(&issuer_id).ok_or_else(invalid)?;
    let session = issuer.session_seal().open(sealed, &evidence.access_key_id);
    let session = session.ok_or_else(invalid)?;
    if now >= session.expires_at || issuer.entitlement.has_expired(now) {
        return Err(denied(AuthFailure::Expired, StorageError::ExpiredToken));
    }
    check_time(evidence, now)?;
    let key = SigningKey::derive(session.secret.expose(), &evidence.scope);
    let principal = Principal {
        id: format!("{issuer_id}/{}", session.name).into(),
        entitlement: Entitlement {
            policy: session.policy,
            ..issuer.entitlement.clone()
        },
    };
    verified(evidence, key, principal)
}

fn verified(
    evidence: &Evidence,
    key: SigningKey,
    principal: Principal,
) -> Result<Admission, Denial> {
    evidence.verify(&key).map_err(|mismatch| {
        let mismatch = SignatureMismatch {
            access_key_id: evidence.access_key_id.clone(),
            signature_provided: evidence.signature.clone(),
            string_to_sign: mismatch.string_to_sign,
            canonical_request: mismatch.canonical_request,
        };
        let error = StorageError::SignatureDoesNotMatch(mismatch.into());
        denied(AuthFailure::BadSignature, error)
    })?;
    Ok(Admission {
        principal,
        body: BodyRules::signed(evidence, key),
    })
}

/// Issues temporary credentials to whoever has proven to hold a key. They end with it.
pub(super) fn issue(
    claimed: &Credentials,
    asked: &IssueSession,
    store: &CredentialStore,
    now: OffsetDateTime,
) -> Result<SessionIssued, Denial> {
    let refuse = |text: &str| Err(denied(AuthFailure::Forbidden, StorageError::denied(text)));
    let Credentials::SigV4(evidence) = claimed else {
        return refuse("only a key issues temporary credentials");
    };
    if evidence.session_token.is_some() {
        return refuse("temporary credentials do not issue others");
    }
    let Some(access_key) = store.access_key(&evidence.access_key_id) else {
        // It went after it was judged.
        let access_key_id = evidence.access_key_id.clone();
        let error = StorageError::InvalidAccessKeyId { access_key_id };
        return Err(denied(AuthFailure::NoSuchKey, error));
    };
    let latest = now + asked.life;
    let expires_at = match access_key.entitlement.expires_at {
        Some(end) => end.min(latest),
        None => latest,
    };
    let seal = access_key.session_seal();
    Ok(seal.issue(&evidence.access_key_id, asked, expires_at))
}

/// Checks the signed time against ours. A long upload is judged at its start, and only there.
fn check_time(evidence: &Evidence, now: OffsetDateTime) -> Result<(), Denial> {
    let age = now - evidence.signed_at;
    match evidence.kind {
        SignatureKind::Header if age.abs() > MAX_SKEW => {
            let error = StorageError::RequestTimeTooSkewed {
                request_time: iso(evidence.signed_at),
                server_time: iso(now),
            };
            Err(denied(AuthFailure::ClockSkew, error))
        }
        SignatureKind::Query { .. } if age < -MAX_SKEW => Err(denied(
            AuthFailure::ClockSkew,
            StorageError::denied("Request is not valid yet"),
        )),
        SignatureKind::Query { expires_secs } if age > Duration::seconds(expires_secs.into()) => {
            let error = StorageError::RequestExpired {
                expires_secs,
                expired_at: iso(evidence.signed_at + Duration::seconds(expires_secs.into())),
                server_time: iso(now),
            };
            Err(denied(AuthFailure::Expired, error))
        }
        SignatureKind::Form { expires_at } if now > expires_at => Err(denied(
            AuthFailure::Expired,
            StorageError::denied("Invalid according to Policy: Policy expired."),
        )),
        SignatureKind::Header | SignatureKind::Query { .. } | SignatureKind::Form { .. } => Ok(()),
    }
}

pub(super) fn denied(reason: AuthFailure, error: StorageError) -> Denial {
    Denial { reason, error }
}

fn iso(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_default()
}
