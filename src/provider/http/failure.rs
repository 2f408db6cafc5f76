//! What remains of a call that got no answer.

use std::error::Error as _;

use reqwest_middleware::Error;
use reqwest_retry::RetryError;

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
