//! The verdict over a claim: who it is, or why not.

use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::layers::auth::credentials::CredentialStore;
use crate::layers::auth::payload::BodyRules;
use crate::sigv4::{Evidence, SignatureKind};
use crate::storage::{
    Access, AnyOperation, Credentials, Principal, Reach, Rights, SignatureMismatch, StorageError,
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
                rights: Rights::PublicRead,
                reach: Reach::default(),
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

/// Checks rights against what an operation does.
pub(super) fn permit(principal: &Principal, operation: &AnyOperation) -> Result<(), Denial> {
    let (is_allowed, text) = match principal.rights {
        Rights::All => (true, String::new()),
        Rights::ReadOnly => (
            matches!(operation.access(), Access::Read | Access::List),
            format!("`{}` may only read", principal.id),
        ),
        Rights::PublicRead => (is_public_read(operation), "Access Denied".to_owned()),
    };
    if is_allowed {
        return check_reach(principal, operation);
    }
    Err(denied(AuthFailure::Forbidden, StorageError::denied(text)))
}

/// Checks that the principal's rights reach as far as the operation. The answer for a bucket outside is the same whether or
/// not there is one: whoever must not use it need not know that it exists.
fn check_reach(principal: &Principal, operation: &AnyOperation) -> Result<(), Denial> {
    if operation.access() == Access::Admin && !principal.reach.manages_buckets {
        let text = format!("`{}` may not create or delete buckets", principal.id);
        return Err(denied(AuthFailure::Forbidden, StorageError::denied(text)));
    }
    let mut buckets = operation
        .bucket()
        .into_iter()
        .chain(operation.source_bucket());
    match buckets.find(|bucket| !principal.reach.includes(bucket)) {
        Some(outside) => {
            let error = StorageError::denied(format!("the bucket `{outside}` is out of reach"));
            Err(denied(AuthFailure::Forbidden, error))
        }
        None => Ok(()),
    }
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
    let Some(access_key) = store.access_key(&evidence.access_key_id) else {
        let access_key_id = evidence.access_key_id.clone();
        let error = StorageError::InvalidAccessKeyId { access_key_id };
        return Err(denied(AuthFailure::NoSuchKey, error));
    };
    if evidence.session_token.is_some() {
        return Err(denied(AuthFailure::NoSuchKey, StorageError::InvalidToken));
    }
    check_time(evidence, now)?;
    let key = access_key.signing_key(&evidence.scope);
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
        principal: Principal {
            id: evidence.access_key_id.as_str().into(),
            rights: access_key.rights,
            reach: access_key.reach.clone(),
        },
        body: BodyRules::signed(evidence, key),
    })
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
