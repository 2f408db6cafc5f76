//! What is wrong with a signed request before any secret is asked for.

/// Why a request's claim cannot be judged, or its document is not what was signed.
///
/// Each variant is one error code of S3; the texts are whole sentences in AWS's own words, fit for the client. The
/// conversion into the stack's error type lives beside that type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// `AuthorizationHeaderMalformed`, 400.
    #[error("{0}")]
    Header(String),
    /// `AuthorizationQueryParametersError`, 400.
    #[error("{0}")]
    Query(String),
    /// `AuthorizationHeaderMalformed` or `AuthorizationQueryParametersError`, 400, with the region that is required: SDKs sign
    /// again for that.
    #[error("{reason}")]
    Region {
        /// What is wrong, as a sentence.
        reason: String,
        /// Whether the signature was in the query.
        is_query: bool,
        /// The region that is required.
        expected: String,
    },
    /// `InvalidArgument`, 400.
    #[error("{reason}")]
    Argument {
        /// The header or parameter.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// `InvalidRequest`, 400.
    #[error("{0}")]
    Request(String),
    /// `AccessDenied`, 403.
    #[error("{0}")]
    Denied(&'static str),
    /// `AccessDenied`, 403, with the names of the headers that a signature must cover and does not.
    #[error("there were headers present in the request which were not signed: {headers}")]
    HeadersNotSigned {
        /// Lower-case names, separated by `, `.
        headers: String,
    },
    /// `InvalidURI`, 400: the path is not percent-encoded UTF-8.
    #[error("couldn't parse the specified URI")]
    Uri,
    /// `MissingContentLength`, 411: a framed payload must announce its decoded length.
    #[error("missing x-amz-decoded-content-length")]
    MissingContentLength,
    /// `XAmzContentSHA256Mismatch`, 400.
    #[error("sha256 of the payload is {computed}, but {signed} was signed")]
    PayloadHash {
        /// The signed value, hex.
        signed: String,
        /// The computed value, hex.
        computed: String,
    },
}

impl Malformed {
    /// AWS's text for every signature version that it retired or that this gateway does not verify.
    pub(crate) fn unsupported_mechanism() -> Self {
        Self::Request(
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.".into(),
        )
    }
}
