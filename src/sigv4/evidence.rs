//! What a signed request proves, once the secret is known.

use time::OffsetDateTime;

/// Everything that is needed to check a signature, but the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Where the signature was.
    pub kind: SignatureKind,
    /// The access key id that the client claims.
    pub access_key_id: String,
    /// Date, region, and service of the credential.
    pub scope: Scope,
    /// The time that was signed (`X-Amz-Date`, or `Date`).
    pub signed_at: OffsetDateTime,
    /// Canonical requests to try in order; the first is what was received, others repair what clients and trusted proxies
    /// are known to change. Never empty.
    pub canonical_requests: Vec<String>,
    /// The signature that the client sent: 64 hex digits.
    pub signature: String,
    /// How the payload is vouched for.
    pub content_sha256: ContentSha256,
    /// Length of the object's own bytes: `x-amz-decoded-content-length` for chunked payloads, else Content-Length.
    pub decoded_length: Option<u64>,
    /// A session token that came along, which is refused unless this gateway issued it.
    pub session_token: Option<String>,
}

/// Where a signature was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureKind {
    /// In the Authorization header.
    Header,
    /// In the query of a presigned URL, valid for this many seconds.
    Query {
        /// `X-Amz-Expires`, 0 to 604,800.
        expires_secs: u32,
    },
}

/// The scope of a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// `yyyymmdd`
    pub date: String,
    /// Any region is accepted.
    pub region: String,
    /// `s3`
    pub service: String,
}

/// The meaning of `x-amz-content-sha256`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentSha256 {
    /// 64 hex digits: the SHA-256 of the body.
    Digest([u8; 32]),
    /// `UNSIGNED-PAYLOAD`: nothing to verify.
    Unsigned,
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`: signed chunks.
    SignedChunks,
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER`: signed chunks and a signed trailer.
    SignedChunksWithTrailer,
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER`: chunks without signatures, and a trailer.
    UnsignedChunksWithTrailer,
}
