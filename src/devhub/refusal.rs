//! Answers that say no, in the form of the Hub: JSON `{"error": …}` with the text repeated in a header.

use std::io;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use super::signer::BadProof;
use super::store::{ShardRefused, XorbRefused};

/// A refused call.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    message: String,
    code: Option<&'static str>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            code: None,
        }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(crate) fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    /// A bucket that is missing, or that the caller may not know of.
    pub(crate) fn no_bucket() -> Self {
        Self {
            code: Some("RepoNotFound"),
            ..Self::not_found("Repository not found")
        }
    }

    pub(crate) fn no_entry() -> Self {
        Self {
            code: Some("EntryNotFound"),
            ..Self::not_found("Entry not found")
        }
    }

    /// No token where one is needed. Anonymous callers get it for private and missing buckets alike.
    pub(crate) fn anonymous() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Invalid username or password.")
    }

    pub(crate) fn bad_token() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "Invalid credentials in Authorization header",
        )
    }

    /// The range lies outside the file or xorb.
    pub(crate) fn range() -> Self {
        Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "Range not satisfiable")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(json!({ "error": self.message }))).into_response();
        let headers = response.headers_mut();
        let printable = self
            .message
            .replace(|c: char| !(' '..='~').contains(&c), "?");
        if let Ok(message) = HeaderValue::from_str(&printable) {
            headers.insert("x-error-message", message);
        }
        if let Some(code) = self.code {
            headers.insert("x-error-code", HeaderValue::from_static(code));
        }
        response
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        tracing::error!(%error, "development hub failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl From<XorbRefused> for Refusal {
    fn from(refused: XorbRefused) -> Self {
        match refused {
            XorbRefused::Invalid(message) => Self::bad_request(message),
            XorbRefused::Io(error) => error.into(),
        }
    }
}

impl From<ShardRefused> for Refusal {
    fn from(refused: ShardRefused) -> Self {
        match refused {
            ShardRefused::Invalid(message) => Self::bad_request(message),
            ShardRefused::Io(error) => error.into(),
        }
    }
}

impl Refusal {
    /// A CAS token that does not hold.
    pub(crate) fn cas_token(proof: BadProof) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, format!("CAS token is {proof}"))
    }

    /// A signed address that does not hold.
    pub(crate) fn signed_url(proof: BadProof) -> Self {
        Self::forbidden(format!("signed address is {proof}"))
    }
}
