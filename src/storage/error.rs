//! The one error type of the stack, and who may try again.

use std::sync::Arc;
use std::time::Duration;

use crate::sigv4::Malformed;
use crate::storage::checksum::ChecksumAlgorithm;

/// Why an operation failed.
///
/// Errors are outcomes, not causes: adapters map each variant to their protocol in one exhaustive table. They clone,
/// because callers that wait for the same upstream call share its outcome. No variant carries a secret or a query string.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StorageError {
    /// The bucket does not exist, or the tenant must not know that it does.
    #[error("no such bucket `{bucket}`")]
    NoSuchBucket {
        /// Name as the client gave it.
        bucket: String,
    },
    /// No object has this key.
    #[error("no such key `{key}`")]
    NoSuchKey {
        /// Key as the client gave it.
        key: String,
    },
    /// The multipart upload never existed, was aborted, or was completed long ago.
    #[error("no such upload `{upload_id}`")]
    NoSuchUpload {
        /// Upload id as the client gave it.
        upload_id: String,
    },
    /// Somebody else owns a bucket of this name.
    #[error("bucket `{bucket}` already exists")]
    BucketAlreadyExists {
        /// The bucket's name.
        bucket: String,
    },
    /// The bucket still holds objects, or copies of objects that can be brought back.
    #[error("bucket `{bucket}` is not empty{}", not_empty_because(*holds_only_copies))]
    BucketNotEmpty {
        /// The bucket's name.
        bucket: String,
        /// Whether nothing is left but copies of overwritten and deleted objects.
        holds_only_copies: bool,
    },
    /// The name breaks the rules for bucket names.
    #[error("invalid bucket name `{bucket}`: {reason}")]
    InvalidBucketName {
        /// Name as the client gave it.
        bucket: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// The key cannot be stored in a Storage Bucket.
    #[error("invalid key: {reason}")]
    InvalidKey {
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// The key is longer than 1,024 bytes of UTF-8.
    #[error("key is {len_bytes} bytes long, more than 1024")]
    KeyTooLong {
        /// Length of the key in bytes.
        len_bytes: usize,
    },
    /// An argument is malformed or out of range.
    #[error("invalid argument `{name}`: {reason}")]
    InvalidArgument {
        /// The argument's name as the client knows it.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The request is contradictory or incomplete.
    #[error("invalid request: {reason}")]
    InvalidRequest {
        /// What is wrong with it.
        reason: String,
    },
    /// A part named by a completion is not there, or its ETag differs.
    #[error("part {part_number} is missing or its entity tag does not match")]
    InvalidPart {
        /// The part's number.
        part_number: u32,
    },
    /// The object has no part of this number.
    #[error("the object has no part {part_number}")]
    NoSuchPart {
        /// The number asked for.
        part_number: u32,
    },
    /// The parts of a completion are not in ascending order.
    #[error("parts are not in ascending order")]
    InvalidPartOrder,
    /// A part other than the last is smaller than 5 MiB.
    #[error("part {part_number} is {size} bytes, less than the minimum of {minimum}")]
    EntityTooSmall {
        /// The part's number.
        part_number: u32,
        /// Its size in bytes.
        size: u64,
        /// The least size allowed, in bytes.
        minimum: u64,
    },
    /// The body is larger than the operation allows.
    #[error("body exceeds the limit of {limit_bytes} bytes")]
    EntityTooLarge {
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// The body is smaller than what its form allows.
    #[error("body of {size} bytes is less than the minimum of {minimum}")]
    BodyTooSmall {
        /// Its size in bytes.
        size: u64,
        /// The least size allowed, in bytes.
        minimum: u64,
    },
    /// The range does not overlap the object.
    #[error("range is not satisfiable for {size} bytes")]
    InvalidRange {
        /// The object's size in bytes.
        size: u64,
    },
    /// The body does not have the MD5 that the client announced.
    #[error("content-md5 does not match the body")]
    BadDigest,
    /// The body does not have the checksum that the client announced.
    #[error("{} checksum does not match the body", algorithm.name())]
    ChecksumMismatch {
        /// The algorithm of the checksum that differs.
        algorithm: ChecksumAlgorithm,
    },
    /// The body does not have the SHA-256 that the client signed.
    #[error("sha256 of the payload is {computed}, but {signed} was signed")]
    PayloadHashMismatch {
        /// The signed value, hex.
        signed: String,
        /// The computed value, hex.
        computed: String,
    },
    /// A trailer is missing or malformed.
    #[error("malformed trailer: {reason}")]
    MalformedTrailer {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The framing of a chunked payload is malformed.
    #[error("malformed chunk: {reason}")]
    MalformedChunk {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The body ended before, or went on after, its announced length.
    #[error("body does not have the announced length")]
    IncompleteBody,
    /// A framed body does not announce how long its content is.
    #[error("length of the decoded body is not announced")]
    MissingContentLength,
    /// The path of the request is not percent-encoded UTF-8.
    #[error("path is not percent-encoded utf-8")]
    InvalidUri,
    /// The Hub refuses more data for this account.
    #[error("storage quota of the namespace is exceeded")]
    QuotaExceeded,
    /// The caller is known, but may not do this.
    #[error("access denied: {reason}")]
    AccessDenied {
        /// Why, in words fit for the client.
        reason: String,
    },
    /// The signature leaves out headers that it must cover.
    #[error("headers `{headers}` are not signed")]
    HeadersNotSigned {
        /// Their lower-case names, separated by `, `.
        headers: String,
    },
    /// No such access key.
    #[error("unknown access key")]
    InvalidAccessKeyId {
        /// The access key id as the client gave it; never a secret.
        access_key_id: String,
    },
    /// The signature is not the one that the secret gives.
    #[error("signature does not match")]
    SignatureDoesNotMatch(Arc<SignatureMismatch>),
    /// The Authorization header, or its counterpart in the query, is malformed.
    #[error("malformed authorization: {reason}")]
    MalformedAuthorization {
        /// What is wrong with it: a whole sentence for the client.
        reason: String,
        /// Whether it came as query parameters.
        is_query: bool,
    },
    /// The signature is for another region than the one that is required.
    #[error("signature is for another region than `{expected}`")]
    WrongRegion {
        /// What is wrong with it: a whole sentence for the client.
        reason: String,
        /// Whether it came as query parameters.
        is_query: bool,
        /// The region that is required.
        expected: String,
    },
    /// A presigned URL is used after its time.
    #[error("request has expired")]
    RequestExpired {
        /// How long it counted, in seconds.
        expires_secs: u32,
        /// When it ended, ISO 8601.
        expired_at: String,
        /// Our time, ISO 8601.
        server_time: String,
    },
    /// The request's time differs from ours by more than 15 minutes.
    #[error("request time is too skewed")]
    RequestTimeTooSkewed {
        /// Time that the client signed, ISO 8601.
        request_time: String,
        /// Our time, ISO 8601.
        server_time: String,
    },
    /// A session token that this gateway did not issue.
    #[error("invalid session token")]
    InvalidToken,
    /// A session token whose time is over.
    #[error("expired session token")]
    ExpiredToken,
    /// A precondition does not hold.
    #[error("precondition `{condition}` does not hold")]
    PreconditionFailed {
        /// The header that failed.
        condition: &'static str,
    },
    /// The client's copy is still current.
    #[error("not modified")]
    NotModified {
        /// The object's current entity tag, without quotes.
        etag: String,
        /// When it was last modified.
        last_modified: time::OffsetDateTime,
    },
    /// A conditional write met a concurrent one.
    #[error("conflicting conditional request")]
    ConditionalRequestConflict,
    /// The gateway does not do this.
    #[error("`{what}` is not implemented")]
    NotImplemented {
        /// The operation, header, or parameter.
        what: String,
    },
    /// The gateway is at its limit and refuses rather than queues.
    #[error("too many requests in flight")]
    Overloaded,
    /// The Hub's budget is used up.
    #[error("rate limited for {after:?}")]
    RateLimited {
        /// When a retry makes sense.
        after: Duration,
    },
    /// The client sent or took no byte for too long.
    #[error("client was idle for {idle:?}")]
    ClientTimeout {
        /// How long nothing moved.
        idle: Duration,
    },
    /// The response head took too long.
    #[error("timed out after {after:?}")]
    Timeout {
        /// How long was waited.
        after: Duration,
    },
    /// The Hub or the CAS cannot be reached, or answers with errors.
    #[error("{service} is unavailable: {reason}")]
    Unavailable {
        /// `hub` or `cas`.
        service: &'static str,
        /// What happened, with the upstream's request id where it gave one.
        reason: String,
        /// Whether the same operation may be sent again by somebody above. An exhausted lower level says no, so that
        /// attempts add and never multiply.
        is_safe_to_retry: bool,
    },
    /// A defect or an impossible answer.
    #[error("internal error: {reason}")]
    Internal {
        /// What happened.
        reason: String,
    },
}

/// What people need to find out why their signature differs. It holds no secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignatureMismatch {
    /// The access key id of the request.
    pub access_key_id: String,
    /// The signature that the client sent, hex.
    pub signature_provided: String,
    /// The string to sign as the gateway built it.
    pub string_to_sign: String,
    /// The canonical request as the gateway built it.
    pub canonical_request: String,
}

/// Whether, and by whom, a failed operation may be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Trying again gives the same answer, or a lower level has tried enough.
    Never,
    /// An idempotent operation may be tried again at once.
    Safe,
    /// Trying again makes sense after this time.
    After(Duration),
}

impl StorageError {
    /// Returns the retry class.
    pub fn retry(&self) -> Retry {
        match self {
            Self::RateLimited { after } => Retry::After(*after),
            Self::Overloaded => Retry::After(Duration::from_secs(1)),
            Self::Unavailable {
                is_safe_to_retry: true,
                ..
            } => Retry::Safe,
            _ => Retry::Never,
        }
    }

    /// Returns an [`StorageError::Internal`] for a broken invariant.
    pub fn internal(reason: impl Into<String>) -> Self {
        Self::Internal {
            reason: reason.into(),
        }
    }

    /// Returns an [`StorageError::AccessDenied`] with words fit for the client.
    pub fn denied(reason: impl Into<String>) -> Self {
        Self::AccessDenied {
            reason: reason.into(),
        }
    }

    /// Returns the outcome's name for metrics and logs: closed set, `snake_case`.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::NoSuchBucket { .. } => "no_such_bucket",
            Self::NoSuchKey { .. } => "no_such_key",
            Self::NoSuchUpload { .. } => "no_such_upload",
            Self::BucketAlreadyExists { .. } => "bucket_already_exists",
            Self::BucketNotEmpty { .. } => "bucket_not_empty",
            Self::InvalidBucketName { .. } => "invalid_bucket_name",
            Self::InvalidKey { .. } => "invalid_key",
            Self::KeyTooLong { .. } => "key_too_long",
            Self::InvalidArgument { .. } => "invalid_argument",
            Self::InvalidRequest { .. } => "invalid_request",
            Self::InvalidPart { .. } => "invalid_part",
            Self::NoSuchPart { .. } => "no_such_part",
            Self::InvalidPartOrder => "invalid_part_order",
            Self::EntityTooSmall { .. } => "entity_too_small",
            Self::EntityTooLarge { .. } => "entity_too_large",
            Self::BodyTooSmall { .. } => "body_too_small",
            Self::InvalidRange { .. } => "invalid_range",
            Self::BadDigest => "bad_digest",
            Self::ChecksumMismatch { .. } => "checksum_mismatch",
            Self::PayloadHashMismatch { .. } => "payload_hash_mismatch",
            Self::MalformedTrailer { .. } => "malformed_trailer",
            Self::MalformedChunk { .. } => "malformed_chunk",
            Self::IncompleteBody => "incomplete_body",
            Self::MissingContentLength => "missing_content_length",
            Self::InvalidUri => "invalid_uri",
            Self::QuotaExceeded => "quota_exceeded",
            Self::AccessDenied { .. } => "access_denied",
            Self::HeadersNotSigned { .. } => "headers_not_signed",
            Self::InvalidAccessKeyId { .. } => "invalid_access_key_id",
            Self::SignatureDoesNotMatch(_) => "signature_does_not_match",
            Self::MalformedAuthorization { .. } => "malformed_authorization",
            Self::WrongRegion { .. } => "wrong_region",
            Self::RequestExpired { .. } => "request_expired",
            Self::RequestTimeTooSkewed { .. } => "request_time_too_skewed",
            Self::InvalidToken => "invalid_token",
            Self::ExpiredToken => "expired_token",
            Self::PreconditionFailed { .. } => "precondition_failed",
            Self::NotModified { .. } => "not_modified",
            Self::ConditionalRequestConflict => "conditional_request_conflict",
            Self::NotImplemented { .. } => "not_implemented",
            Self::Overloaded => "overloaded",
            Self::RateLimited { .. } => "rate_limited",
            Self::ClientTimeout { .. } => "client_timeout",
            Self::Timeout { .. } => "timeout",
            Self::Unavailable { .. } => "unavailable",
            Self::Internal { .. } => "internal",
        }
    }
}

/// Continues the sentence about a bucket that is not empty.
fn not_empty_because(holds_only_copies: bool) -> &'static str {
    match holds_only_copies {
        true => {
            ": it holds copies of overwritten or deleted objects that are kept for undo until they expire"
        }
        false => "",
    }
}

impl From<Malformed> for StorageError {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::Header(reason) => Self::MalformedAuthorization {
                reason,
                is_query: false,
            },
            Malformed::Query(reason) => Self::MalformedAuthorization {
                reason,
                is_query: true,
            },
            Malformed::Region {
                reason,
                is_query,
                expected,
            } => Self::WrongRegion {
                reason,
                is_query,
                expected,
            },
            Malformed::Argument { name, reason } => Self::InvalidArgument { name, reason },
            Malformed::Request(reason) => Self::InvalidRequest { reason },
            Malformed::Denied(reason) => Self::denied(reason),
            Malformed::HeadersNotSigned { headers } => Self::HeadersNotSigned { headers },
            Malformed::Uri => Self::InvalidUri,
            Malformed::MissingContentLength => Self::MissingContentLength,
            Malformed::PayloadHash { signed, computed } => {
                Self::PayloadHashMismatch { signed, computed }
            }
        }
    }
}
