//! The one table from [`StorageError`] to S3's code, status, and message.

use std::fmt::Write as _;

use http::StatusCode;
use http::header;

use crate::s3::fault::Fault;
use crate::s3::header as s3_header;
use crate::storage::{SignatureMismatch, StorageError};

impl From<StorageError> for Fault {
    fn from(error: StorageError) -> Self {
        use StorageError as E;
        let (status, code, message) = verdict(&error);
        let fault = Self::new(status, code, message);
        match error {
            E::NoSuchBucket { bucket }
            | E::BucketAlreadyExists { bucket }
            | E::BucketNotEmpty { bucket, .. }
            | E::InvalidBucketName { bucket, .. } => fault.with("BucketName", bucket),
            E::NoSuchKey { key } => fault.with("Key", key),
            E::NoSuchUpload { upload_id } => fault.with("UploadId", upload_id),
            E::InvalidKey { .. } => fault.with("ArgumentName", "key"),
            E::KeyTooLong { len_bytes } => fault
                .with("Size", len_bytes.to_string())
                .with("MaxSizeAllowed", "1024"),
            E::InvalidArgument { name, .. } => fault.with("ArgumentName", name),
            E::InvalidPart { part_number } => fault.with("PartNumber", part_number.to_string()),
            E::NoSuchPart { part_number } => {
                fault.with("PartNumberRequested", part_number.to_string())
            }
            E::EntityTooSmall {
                part_number,
                size,
                minimum,
            } => fault
                .with("PartNumber", part_number.to_string())
                .with("ProposedSize", size.to_string())
                .with("MinSizeAllowed", minimum.to_string()),
            E::BodyTooSmall { size, minimum } => fault
                .with("ProposedSize", size.to_string())
                .with("MinSizeAllowed", minimum.to_string()),
            E::EntityTooLarge { limit_bytes } => {
                fault.with("MaxSizeAllowed", limit_bytes.to_string())
            }
            E::InvalidRange { size } => fault
                .with("ActualObjectSize", size.to_string())
                .with_header(header::CONTENT_RANGE, &format!("bytes */{size}")),
            E::PayloadHashMismatch { signed, computed } => fault
                .with("ClientComputedContentSHA256", signed)
                .with("S3ComputedContentSHA256", computed),
            E::HeadersNotSigned { headers } => fault.with("HeadersNotSigned", headers),
            E::InvalidAccessKeyId { access_key_id } => fault.with("AWSAccessKeyId", access_key_id),
            E::SignatureDoesNotMatch(mismatch) => with_mismatch(fault, &mismatch),
            E::WrongRegion { expected, .. } => fault.with("Region", expected),
            E::RequestExpired {
                expires_secs,
                expired_at,
                server_time,
            } => fault
                .with("X-Amz-Expires", expires_secs.to_string())
                .with("Expires", expired_at)
                .with("ServerTime", server_time),
            E::RequestTimeTooSkewed {
                request_time,
                server_time,
            } => fault
                .with("RequestTime", request_time)
                .with("ServerTime", server_time)
                .with("MaxAllowedSkewMilliseconds", "900000"),
            E::PreconditionFailed { condition } => fault.with("Condition", condition),
            E::NotModified {
                etag,
                last_modified,
            } => fault
                .with_header(header::ETAG, &s3_header::quoted(&etag))
                .with_header(header::LAST_MODIFIED, &s3_header::http_date(last_modified)),
            E::Overloaded => fault.with_header(header::RETRY_AFTER, "1"),
            E::RateLimited { after } => {
                let secs = after.as_secs() + u64::from(after.subsec_nanos() > 0);
                fault.with_header(header::RETRY_AFTER, &secs.max(1).to_string())
            }
            _ => fault,
        }
    }
}

/// The table: status, code, and message of every outcome.
fn verdict(error: &StorageError) -> (StatusCode, &'static str, String) {
    use StatusCode as S;
    use StorageError as E;
    let (status, code, message) = match error {
        E::NoSuchBucket { .. } => (
            S::NOT_FOUND,
            "NoSuchBucket",
            "The specified bucket does not exist.",
        ),
        E::NoSuchKey { .. } => (
            S::NOT_FOUND,
            "NoSuchKey",
            "The specified key does not exist.",
        ),
        E::NoSuchUpload { .. } => (
            S::NOT_FOUND,
            "NoSuchUpload",
            "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.",
        ),
        E::BucketAlreadyExists { .. } => (
            S::CONFLICT,
            "BucketAlreadyExists",
            "The requested bucket name is not available. Please select a different name and try again.",
        ),
        E::BucketNotEmpty {
            holds_only_copies: true,
            ..
        } => (
            S::CONFLICT,
            "BucketNotEmpty",
            "The bucket you tried to delete is not empty: it holds copies of overwritten or deleted objects that are kept for undo until they expire.",
        ),
        E::BucketNotEmpty { .. } => (
            S::CONFLICT,
            "BucketNotEmpty",
            "The bucket you tried to delete is not empty.",
        ),
        E::InvalidBucketName { reason, .. } => {
            let message = format!("The specified bucket is not valid: {reason}.");
            return (S::BAD_REQUEST, "InvalidBucketName", message);
        }
        E::InvalidKey { reason } => return (S::BAD_REQUEST, "InvalidArgument", sentence(reason)),
        E::KeyTooLong { .. } => (S::BAD_REQUEST, "KeyTooLongError", "Your key is too long."),
        E::InvalidArgument { reason, .. } => {
            return (S::BAD_REQUEST, "InvalidArgument", reason.clone());
        }
        E::InvalidRequest { reason } => return (S::BAD_REQUEST, "InvalidRequest", reason.clone()),
        E::InvalidPart { .. } => (
            S::BAD_REQUEST,
            "InvalidPart",
            "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.",
        ),
        E::NoSuchPart { .. } => (
            S::RANGE_NOT_SATISFIABLE,
            "InvalidPartNumber",
            "The requested partnumber is not satisfiable",
        ),
        E::InvalidPartOrder => (
            S::BAD_REQUEST,
            "InvalidPartOrder",
            "The list of parts was not in ascending order. Parts must be ordered by part number.",
        ),
        E::EntityTooSmall { .. } | E::BodyTooSmall { .. } => (
            S::BAD_REQUEST,
            "EntityTooSmall",
            "Your proposed upload is smaller than the minimum allowed size.",
        ),
        E::EntityTooLarge { .. } => (
            S::BAD_REQUEST,
            "EntityTooLarge",
            "Your proposed upload exceeds the maximum allowed size.",
        ),
        E::InvalidRange { .. } => (
            S::RANGE_NOT_SATISFIABLE,
            "InvalidRange",
            "The requested range is not satisfiable.",
        ),
        E::BadDigest => (
            S::BAD_REQUEST,
            "BadDigest",
            "The Content-MD5 you specified did not match what we received.",
        ),
        E::ChecksumMismatch { algorithm } => {
            let message = format!(
                "The {} you specified did not match the calculated checksum.",
                algorithm.name()
            );
            return (S::BAD_REQUEST, "BadDigest", message);
        }
        E::PayloadHashMismatch { .. } => (
            S::BAD_REQUEST,
            "XAmzContentSHA256Mismatch",
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        ),
        E::MalformedTrailer { reason } => {
            return (S::BAD_REQUEST, "MalformedTrailerError", sentence(reason));
        }
        E::MalformedChunk { reason } => {
            return (S::BAD_REQUEST, "InvalidRequest", sentence(reason));
        }
        E::IncompleteBody => (
            S::BAD_REQUEST,
            "IncompleteBody",
            "You did not provide the number of bytes specified by the Content-Length HTTP header.",
        ),
        E::MissingContentLength => (
            S::LENGTH_REQUIRED,
            "MissingContentLength",
            "You must provide the length of the content in an HTTP header.",
        ),
        E::InvalidUri => (
            S::BAD_REQUEST,
            "InvalidURI",
            "Couldn't parse the specified URI.",
        ),
        E::QuotaExceeded => (
            S::FORBIDDEN,
            "QuotaExceeded",
            "The storage quota of the namespace is exceeded.",
        ),
        E::AccessDenied { reason } => return (S::FORBIDDEN, "AccessDenied", capitalised(reason)),
        E::HeadersNotSigned { .. } => (
            S::FORBIDDEN,
            "AccessDenied",
            "There were headers present in the request which were not signed.",
        ),
        E::InvalidAccessKeyId { .. } => (
            S::FORBIDDEN,
            "InvalidAccessKeyId",
            "The AWS Access Key Id you provided does not exist in our records.",
        ),
        E::SignatureDoesNotMatch(_) => (
            S::FORBIDDEN,
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
        ),
        E::MalformedAuthorization {
            reason,
            is_query: false,
        }
        | E::WrongRegion {
            reason,
            is_query: false,
            ..
        } => {
            return (
                S::BAD_REQUEST,
                "AuthorizationHeaderMalformed",
                reason.clone(),
            );
        }
        E::MalformedAuthorization {
            reason,
            is_query: true,
        }
        | E::WrongRegion {
            reason,
            is_query: true,
            ..
        } => {
            return (
                S::BAD_REQUEST,
                "AuthorizationQueryParametersError",
                reason.clone(),
            );
        }
        E::RequestExpired { .. } => (S::FORBIDDEN, "AccessDenied", "Request has expired"),
        E::RequestTimeTooSkewed { .. } => (
            S::FORBIDDEN,
            "RequestTimeTooSkewed",
            "The difference between the request time and the current time is too large.",
        ),
        E::InvalidToken => (
            S::BAD_REQUEST,
            "InvalidToken",
            "The provided token was not issued by this gateway. Unset AWS_SESSION_TOKEN, and use the gateway's own keys.",
        ),
        E::ExpiredToken => (
            S::BAD_REQUEST,
            "ExpiredToken",
            "The provided token has expired.",
        ),
        E::PreconditionFailed { .. } => (
            S::PRECONDITION_FAILED,
            "PreconditionFailed",
            "At least one of the pre-conditions you specified did not hold",
        ),
        E::NotModified { .. } => (S::NOT_MODIFIED, "NotModified", "Not Modified"),
        E::ConditionalRequestConflict => (
            S::CONFLICT,
            "ConditionalRequestConflict",
            "The conditional request cannot succeed due to a conflicting operation against this resource.",
        ),
        E::NotImplemented { what } => {
            return (
                S::NOT_IMPLEMENTED,
                "NotImplemented",
                format!("`{what}` is not implemented."),
            );
        }
        E::Overloaded | E::RateLimited { .. } => (
            S::SERVICE_UNAVAILABLE,
            "SlowDown",
            "Please reduce your request rate.",
        ),
        E::ClientTimeout { .. } => (
            S::BAD_REQUEST,
            "RequestTimeout",
            "Your socket connection to the server was not read from or written to within the timeout period.",
        ),
        E::Timeout { .. } | E::Unavailable { .. } => (
            S::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            "The storage behind this gateway is not available. Please try again.",
        ),
        E::Internal { .. } => (
            S::INTERNAL_SERVER_ERROR,
            "InternalError",
            "We encountered an internal error. Please try again.",
        ),
    };
    (status, code, message.to_owned())
}

/// Adds what people debug a signature with; none of it is secret.
fn with_mismatch(fault: Fault, mismatch: &SignatureMismatch) -> Fault {
    fault
        .with("AWSAccessKeyId", &mismatch.access_key_id)
        .with("StringToSign", &mismatch.string_to_sign)
        .with("SignatureProvided", &mismatch.signature_provided)
        .with("StringToSignBytes", spaced_hex(&mismatch.string_to_sign))
        .with("CanonicalRequest", &mismatch.canonical_request)
        .with(
            "CanonicalRequestBytes",
            spaced_hex(&mismatch.canonical_request),
        )
}

fn spaced_hex(text: &str) -> String {
    let mut spaced = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if !spaced.is_empty() {
            spaced.push(' ');
        }
        let _ = write!(spaced, "{byte:02x}");
    }
    spaced
}

/// Turns a lower-case fragment into a sentence.
fn sentence(fragment: &str) -> String {
    format!("{}.", capitalised(fragment))
}

fn capitalised(fragment: &str) -> String {
    let mut letters = fragment.chars();
    letters.next().map_or_else(String::new, |first| {
        format!("{}{}", first.to_uppercase(), letters.as_str())
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::storage::ChecksumAlgorithm;

    fn every_error() -> Vec<StorageError> {
        use StorageError as E;
        let text = || "x".to_owned();
        vec![
            E::NoSuchBucket { bucket: text() },
            E::NoSuchKey { key: "a<b".into() },
            E::NoSuchUpload { upload_id: text() },
            E::BucketAlreadyExists { bucket: text() },
            E::BucketNotEmpty {
                bucket: text(),
                holds_only_copies: false,
            },
            E::InvalidBucketName {
                bucket: text(),
                reason: "too short",
            },
            E::InvalidKey {
                reason: "the key is empty",
            },
            E::KeyTooLong { len_bytes: 1025 },
            E::InvalidArgument {
                name: "max-keys",
                reason: "Not a number.".into(),
            },
            E::InvalidRequest {
                reason: "No.".into(),
            },
            E::InvalidPart { part_number: 2 },
            E::NoSuchPart { part_number: 3 },
            E::InvalidPartOrder,
            E::EntityTooSmall {
                part_number: 1,
                size: 3,
                minimum: 5,
            },
            E::EntityTooLarge { limit_bytes: 9 },
            E::BodyTooSmall {
                size: 3,
                minimum: 5,
            },
            E::InvalidRange { size: 10 },
            E::BadDigest,
            E::ChecksumMismatch {
                algorithm: ChecksumAlgorithm::Crc32,
            },
            E::PayloadHashMismatch {
                signed: "aa".into(),
                computed: "bb".into(),
            },
            E::MalformedTrailer {
                reason: "it is missing",
            },
            E::MalformedChunk {
                reason: "the size is no number",
            },
            E::IncompleteBody,
            E::MissingContentLength,
            E::InvalidUri,
            E::QuotaExceeded,
            E::HeadersNotSigned {
                headers: "x-amz-acl".into(),
            },
            E::denied("Access Denied"),
            E::InvalidAccessKeyId {
                access_key_id: "AK".into(),
            },
            E::SignatureDoesNotMatch(Arc::new(SignatureMismatch {
                access_key_id: "AK".into(),
                signature_provided: "ff".into(),
                string_to_sign: "AB".into(),
                canonical_request: "C".into(),
            })),
            E::MalformedAuthorization {
                reason: "Bad header.".into(),
                is_query: false,
            },
            E::MalformedAuthorization {
                reason: "Bad query.".into(),
                is_query: true,
            },
            E::WrongRegion {
                reason: "Bad region.".into(),
                is_query: false,
                expected: "us-east-1".into(),
            },
            E::RequestExpired {
                expires_secs: 60,
                expired_at: "e".into(),
                server_time: "s".into(),
            },
            E::RequestTimeTooSkewed {
                request_time: "r".into(),
                server_time: "s".into(),
            },
            E::InvalidToken,
            E::ExpiredToken,
            E::PreconditionFailed {
                condition: "If-Match",
            },
            E::NotModified {
                etag: "e-1".into(),
                last_modified: time::OffsetDateTime::UNIX_EPOCH,
            },
            E::ConditionalRequestConflict,
            E::NotImplemented {
                what: "this".into(),
            },
            E::Overloaded,
            E::RateLimited {
                after: Duration::from_millis(1500),
            },
            E::ClientTimeout {
                idle: Duration::from_secs(1),
            },
            E::Timeout {
                after: Duration::from_secs(1),
            },
            E::Unavailable {
                service: "hub",
                reason: "secret detail".into(),
                is_safe_to_retry: true,
            },
            E::internal("secret detail"),
        ]
    }

    #[test]
    fn every_outcome_has_its_code_and_status() {
        let table: String = every_error()
            .into_iter()
            .map(|error| {
                let outcome = error.outcome();
                let fault = Fault::from(error);
                let details: Vec<_> = fault.details.iter().map(|(name, _)| *name).collect();
                format!(
                    "{outcome}: {} {} {}\n",
                    fault.status.as_u16(),
                    fault.code,
                    details.join(",")
                )
            })
            .collect();
        insta::assert_snapshot!(table);
    }

    #[test]
    fn upstream_details_stay_inside() {
        for error in every_error() {
            assert!(!Fault::from(error).message.contains("secret detail"));
        }
    }

    #[test]
    fn some_refusals_carry_headers() {
        let header = |error: StorageError, name| {
            let response = Fault::from(error).render(false, "/", "id");
            response
                .headers()
                .get(name)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        let range = StorageError::InvalidRange { size: 10 };
        assert_eq!(
            header(range, header::CONTENT_RANGE).as_deref(),
            Some("bytes */10")
        );
        let limited = StorageError::RateLimited {
            after: Duration::from_millis(1500),
        };
        assert_eq!(header(limited, header::RETRY_AFTER).as_deref(), Some("2"));
    }
}
