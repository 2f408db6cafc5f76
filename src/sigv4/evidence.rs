//! What a signed request proves, once the secret is known.

use time::OffsetDateTime;

use crate::sigv4::key::{SigningKey, string_to_sign};
use crate::sigv4::malformed::Malformed;

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
    /// are known to change. Never empty, never more than eight. For a form, the policy, which is the string to sign itself.
    pub canonical_requests: Vec<String>,
    /// The signature as the client sent it; 64 lower-case hex digits if it is any good.
    pub signature: String,
    /// How the payload is vouched for.
    pub content_sha256: ContentSha256,
    /// Length of the object's own bytes: `x-amz-decoded-content-length` for chunked payloads, else Content-Length.
    pub decoded_length: Option<u64>,
    /// A session token that came along, which is refused unless this gateway issued it.
    pub session_token: Option<String>,
}

impl Evidence {
    /// Checks the signature against each canonical request in turn, comparing in constant time.
    ///
    /// Errors: [`Mismatch`] with the first canonical request, which is the one that the client meant.
    pub fn verify(&self, key: &SigningKey) -> Result<(), Mismatch> {
        let mut first = None;
        for canonical_request in &self.canonical_requests {
            let string_to_sign = match self.kind {
                SignatureKind::Form { .. } => canonical_request.clone(),
                SignatureKind::Header | SignatureKind::Query { .. } => {
                    string_to_sign(self.signed_at, &self.scope, canonical_request)
                }
            };
            if key.verifies(&string_to_sign, &self.signature) {
                return Ok(());
            }
            first.get_or_insert(string_to_sign);
        }
        let canonical_request = match self.kind {
            SignatureKind::Form { .. } => None,
            SignatureKind::Header | SignatureKind::Query { .. } => self.canonical_requests.first(),
        };
        Err(Mismatch {
            string_to_sign: first.unwrap_or_default(),
            canonical_request: canonical_request.cloned().unwrap_or_default(),
        })
    }
}

/// What the gateway signed, where the client signed something else. It holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The string to sign.
    pub string_to_sign: String,
    /// The canonical request; empty for chunks, trailers, and forms, which have none.
    pub canonical_request: String,
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
    /// In the fields of a browser's form, valid until its policy ends.
    Form {
        /// The policy's `expiration`.
        expires_at: OffsetDateTime,
    },
}

/// The scope of a credential.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// `yyyymmdd`
    pub date: String,
    /// Any region is accepted, even the empty one.
    pub region: String,
    /// `s3`
    pub service: String,
}

impl Scope {
    /// Returns `date/region/service/aws4_request`, as strings to sign carry it.
    pub fn line(&self) -> String {
        format!(
            "{}/{}/{}/aws4_request",
            self.date, self.region, self.service
        )
    }
}

/// The meaning of `x-amz-content-sha256`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

impl ContentSha256 {
    /// The value that stands for "nothing to verify".
    pub(crate) const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

    /// Parses the header's value. Errors: [`Malformed::Request`] with AWS's text.
    pub fn parse(value: &str) -> Result<Self, Malformed> {
        match value {
            Self::UNSIGNED => Ok(Self::Unsigned),
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => Ok(Self::SignedChunks),
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => Ok(Self::SignedChunksWithTrailer),
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Ok(Self::UnsignedChunksWithTrailer),
            ecdsa if ecdsa.starts_with("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD") => {
                Err(Malformed::unsupported_mechanism())
            }
            digest => {
                let mut bytes = [0; 32];
                hex::decode_to_slice(digest, &mut bytes).map_err(|_| {
                    Malformed::Request(
                        "The value of x-amz-content-sha256 header is invalid.".into(),
                    )
                })?;
                Ok(Self::Digest(bytes))
            }
        }
    }

    /// Reports whether the body on the wire is framed as aws-chunked.
    pub fn is_chunked(self) -> bool {
        match self {
            Self::Digest(_) | Self::Unsigned => false,
            Self::SignedChunks
            | Self::SignedChunksWithTrailer
            | Self::UnsignedChunksWithTrailer => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_sha256_is_a_closed_set() {
        assert_eq!(
            ContentSha256::parse(&"0a".repeat(32)),
            Ok(ContentSha256::Digest([10; 32]))
        );
        assert!(
            ContentSha256::parse("STREAMING-UNSIGNED-PAYLOAD-TRAILER")
                .unwrap()
                .is_chunked()
        );
        assert!(
            !ContentSha256::parse("UNSIGNED-PAYLOAD")
                .unwrap()
                .is_chunked()
        );
        for refused in [
            "",
            "unsigned-payload",
            "0a",
            &"0g".repeat(32),
            "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER",
            "STREAMING-UNSIGNED-PAYLOAD",
        ] {
            assert!(
                matches!(ContentSha256::parse(refused), Err(Malformed::Request(_))),
                "{refused}"
            );
        }
    }
}
