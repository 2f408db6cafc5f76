//! Who may call the CAS and storage.

use axum::extract::{FromRequestParts, OriginalUri};
use http::header::AUTHORIZATION;
use http::request::Parts;
use xet_core_structures::merklehash::MerkleHash;

use crate::devhub::identity::bearer;
use crate::devhub::refusal::Refusal;
use crate::devhub::signer::{BadProof, TokenClaims};
use crate::devhub::state::Shared;

/// A call with a valid CAS token, of either scope.
pub(super) struct Reader;

/// A call with a valid CAS token that may write.
pub(super) struct Writer;

/// A call whose address was signed by this server, expired neither by time nor by command.
pub(super) struct SignedAddress;

impl FromRequestParts<Shared> for Reader {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, Refusal> {
        claims(parts, state).map(|_| Self)
    }
}

impl FromRequestParts<Shared> for Writer {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, Refusal> {
        match claims(parts, state)?.writes {
            true => Ok(Self),
            false => Err(Refusal::forbidden("CAS token cannot write")),
        }
    }
}

fn claims(parts: &Parts, state: &Shared) -> Result<TokenClaims, Refusal> {
    let header = parts.headers.get(AUTHORIZATION);
    let token = header
        .and_then(|header| bearer(header.to_str().ok()?))
        .ok_or_else(|| Refusal::cas_token(BadProof::Forged))?;
    let claims = state.signer.open_token(token).map_err(Refusal::cas_token)?;
    if !state.registry.has_id(&claims.bucket) {
        // The bucket was deleted; one of the same name would have another id.
        return Err(Refusal::cas_token(BadProof::Expired));
    }
    Ok(claims)
}

impl FromRequestParts<Shared> for SignedAddress {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, Refusal> {
        if parts.headers.contains_key(AUTHORIZATION) {
            // As storage services do with two ways of authentication in one request. It also shows tokens that leak.
            return Err(Refusal::bad_request("Only one auth mechanism allowed"));
        }
        let OriginalUri(uri) = OriginalUri::from_request_parts(parts, state)
            .await
            .unwrap_or_else(|never| match never {});
        let target = uri.path_and_query().map_or("", |target| target.as_str());
        state
            .signer
            .verify_url(target)
            .map_err(Refusal::signed_url)?;
        Ok(Self)
    }
}

/// Parses a hash in a path.
pub(super) fn hash(text: &str) -> Result<MerkleHash, Refusal> {
    MerkleHash::from_hex(text).map_err(|_| Refusal::bad_request(format!("Invalid hash: {text}")))
}

/// Only the prefix `default` exists.
pub(super) fn key(prefix: &str, text: &str) -> Result<MerkleHash, Refusal> {
    match prefix {
        "default" => hash(text),
        other => Err(Refusal::bad_request(format!("Unknown prefix: {other}"))),
    }
}
