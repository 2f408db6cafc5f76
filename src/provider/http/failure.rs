//! What remains of a call that got no answer.

use std::error::Error as _;

use reqwest_middleware::Error;
use reqwest_retry::RetryError;
use serde_json::error::Category;

use crate::storage::StorageError;

/// The call was sent, but no answer came: it may have had its effect.
#[derive(Debug, thiserror::Error)]
#[error("the answer was lost")]
pub(super) struct AnswerLost(#[source] pub(super) reqwest::Error);

/// Returns the error of a call without an answer. All attempts were made, so nobody above tries again.
///
/// The text names the cause without any address: signed URLs carry secrets.
pub fn unavailable(service: &'static str, error: &Error) -> StorageError {
    StorageError::Unavailable {
        service,
        reason: transport(error).map_or_else(|| "the call could not be made".into(), describe),
        is_safe_to_retry: false,
    }
}

/// Reports whether an [`Unrepeatable`] call was sent and its answer is lost.
///
/// [`Unrepeatable`]: crate::provider::http::Unrepeatable
pub fn is_answer_lost(error: &Error) -> bool {
    match error {
        Error::Middleware(inner) => match inner.downcast_ref() {
            Some(RetryError::Error(cause) | RetryError::WithRetries { err: cause, .. }) => {
                is_answer_lost(cause)
            }
            None => inner.is::<AnswerLost>(),
        },
        Error::Reqwest(_) => false,
    }
}

/// Digs out the error of the transport from below the middleware.
fn transport(error: &Error) -> Option<&reqwest::Error> {
    match error {
        Error::Reqwest(error) => Some(error),
        Error::Middleware(inner) => match inner.downcast_ref() {
            Some(RetryError::Error(cause) | RetryError::WithRetries { err: cause, .. }) => {
                transport(cause)
            }
            None => inner.downcast_ref().map(|AnswerLost(cause)| cause),
        },
    }
}

fn describe(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    while let Some(deeper) = cause.and_then(|cause| cause.source()) {
        cause = Some(deeper);
    }
    let what = if error.is_connect() {
        "failed to connect"
    } else if error.is_timeout() {
        "no answer in time"
    } else {
        "the connection broke"
    };
    cause.map_or_else(|| what.to_owned(), |cause| format!("{what}: {cause}"))
}

/// Says where an answer in JSON is not what was expected, without a word of it: what stands in the wrong place may be a token, or a
/// signed URL.
pub fn unexpected_json(error: &serde_json::Error) -> String {
    let kind = match error.classify() {
        Category::Io => "unreadable",
        Category::Syntax => "no JSON",
        Category::Data => "another shape than expected",
        Category::Eof => "cut off",
    };
    format!("{kind} (line {}, column {})", error.line(), error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_the_wrong_place_is_not_quoted() {
        let read = |text: &str| serde_json::from_str::<u32>(text).unwrap_err();
        let misplaced = read("\"https://x.example/?Signature=secret\"");
        assert!(misplaced.to_string().contains("secret"), "{misplaced}");
        assert_eq!(
            unexpected_json(&misplaced),
            "another shape than expected (line 1, column 37)"
        );
        assert!(unexpected_json(&read("")).starts_with("cut off"));
        assert!(unexpected_json(&read("x")).starts_with("no JSON"));
    }
}
