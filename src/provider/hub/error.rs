//! The one table from the Hub's refusals to [`StorageError`].

use std::time::Duration;

use http::{HeaderMap, StatusCode};

use crate::provider::http::{RateLimit, asked_pause};
use crate::provider::hub::call::Answer;
use crate::provider::hub::wire::WireError;
use crate::storage::{BucketId, StorageError};

/// Wait that is named to clients when a 429 names none.
const UNTOLD_PAUSE: Duration = Duration::from_secs(5);

/// Longest part of the Hub's own words that is kept.
const MAX_MESSAGE_BYTES: usize = 300;

/// Returns the error that a refused call about `bucket` means.
///
/// | status | error |
/// |---|---|
/// | 400, 422 | `InvalidRequest` |
/// | 401 with `RepoNotFound`, 404 | `NoSuchBucket` |
/// | 401 else: our token is refused, which is no fault of the client | `Unavailable` |
/// | 403 | `AccessDenied` |
/// | 409 | `ConditionalRequestConflict` |
/// | 413, 507 | `QuotaExceeded` |
/// | 429 | `RateLimited` |
/// | 408, 5xx, anything else | `Unavailable`, not to be retried: the chain below has tried |
pub(super) fn refusal(answer: &Answer, bucket: &BucketId) -> StorageError {
    let no_such_bucket = || StorageError::NoSuchBucket {
        bucket: bucket.name.to_string(),
    };
    match answer.status.as_u16() {
        400 | 422 => StorageError::InvalidRequest {
            reason: describe(answer),
        },
        401 if is_repo_not_found(&answer.headers) => no_such_bucket(),
        403 => StorageError::denied(describe(answer)),
        404 => no_such_bucket(),
        409 => StorageError::ConditionalRequestConflict,
        413 | 507 => StorageError::QuotaExceeded,
        429 => StorageError::RateLimited {
            after: pause_after(answer),
        },
        401 => unavailable(format!("it refuses our token: {}", describe(answer))),
        _ => unavailable(describe(answer)),
    }
}

/// Returns the error of a call that is about the token itself: 401 and 403 are the caller's affair there.
pub(super) fn account_refusal(answer: &Answer) -> StorageError {
    match answer.status.as_u16() {
        401 | 403 => {
            StorageError::denied(format!("the hub refuses the token: {}", describe(answer)))
        }
        429 => StorageError::RateLimited {
            after: pause_after(answer),
        },
        _ => unavailable(describe(answer)),
    }
}

/// Returns the error of an answer that was accepted, but makes no sense.
pub(super) fn senseless(answer: &Answer, what: &str) -> StorageError {
    unavailable(format!(
        "its answer to `{}` is not understood: {what}{}",
        answer.name,
        request_id(&answer.headers)
    ))
}

/// Reports whether a 404 is about a path within an existing bucket.
pub(super) fn is_entry_not_found(answer: &Answer) -> bool {
    answer.status == StatusCode::NOT_FOUND && error_code(&answer.headers) == Some("EntryNotFound")
}

/// Reports whether the Hub says in words why it refuses.
pub(super) fn is_explained(answer: &Answer) -> bool {
    words(answer).is_some()
}

pub(super) fn is_repo_not_found(headers: &HeaderMap) -> bool {
    error_code(headers) == Some("RepoNotFound")
}

fn error_code(headers: &HeaderMap) -> Option<&str> {
    headers.get("x-error-code")?.to_str().ok()
}

fn unavailable(reason: String) -> StorageError {
    StorageError::Unavailable {
        service: "hub",
        reason,
        is_safe_to_retry: false,
    }
}

fn pause_after(answer: &Answer) -> Duration {
    asked_pause(answer.status, &answer.headers)
        .or_else(|| RateLimit::from_headers(&answer.headers).map(|budget| budget.resets_in))
        .unwrap_or(UNTOLD_PAUSE)
}

/// Puts the status, the Hub's own words, and its request id into one line.
fn describe(answer: &Answer) -> String {
    let words: String = words(answer)
        .map(|words| format!(" {}", cut(&words)))
        .unwrap_or_default();
    format!(
        "`{}` was answered with {}{words}{}",
        answer.name,
        answer.status.as_u16(),
        request_id(&answer.headers)
    )
}

/// Returns the Hub's own words of a refusal: those of its document, else those of its header.
fn words(answer: &Answer) -> Option<String> {
    let document = serde_json::from_slice::<WireError>(&answer.body);
    document.map(|body| body.error).ok().or_else(|| {
        let header = answer.headers.get("x-error-message")?;
        Some(header.to_str().ok()?.to_owned())
    })
}

fn cut(words: &str) -> &str {
    &words[..words.floor_char_boundary(MAX_MESSAGE_BYTES)]
}

fn request_id(headers: &HeaderMap) -> String {
    headers
        .get("x-request-id")
        .and_then(|id| id.to_str().ok())
        .map(|id| format!(" (request id {id})"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::storage::{BucketName, Namespace};

    fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &'static str) -> Answer {
        Answer {
            name: "probe",
            status: StatusCode::from_u16(status).unwrap(),
            headers: headers
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .collect(),
            attempt: 1,
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    fn outcome(status: u16, headers: &[(&'static str, &'static str)]) -> StorageError {
        let bucket = BucketId {
            namespace: Namespace::new("me").unwrap(),
            name: BucketName::new("data").unwrap(),
        };
        refusal(&answer(status, headers, "{\"error\":\"words\"}"), &bucket)
    }

    #[test]
    fn every_status_has_its_outcome() {
        for (status, expected) in [
            (302, "unavailable"),
            (400, "invalid_request"),
            (401, "unavailable"),
            (403, "access_denied"),
            (404, "no_such_bucket"),
            (408, "unavailable"),
            (409, "conditional_request_conflict"),
            (413, "quota_exceeded"),
            (418, "unavailable"),
            (422, "invalid_request"),
            (429, "rate_limited"),
            (500, "unavailable"),
            (503, "unavailable"),
            (507, "quota_exceeded"),
        ] {
            assert_eq!(outcome(status, &[]).outcome(), expected, "{status}");
        }
    }

    #[test]
    fn a_401_is_a_missing_bucket_only_if_the_hub_says_so() {
        let missing = [("x-error-code", "RepoNotFound")];
        assert_eq!(outcome(401, &missing).outcome(), "no_such_bucket");
        let refused = [(
            "x-error-message",
            "Invalid credentials in Authorization header",
        )];
        assert_eq!(outcome(401, &refused).outcome(), "unavailable");
    }

    #[test]
    fn the_hubs_words_and_its_request_id_are_kept() {
        let error = outcome(500, &[("x-request-id", "Root=1-abc")]);
        assert_eq!(
            error.to_string(),
            "hub is unavailable: `probe` was answered with 500 words (request id Root=1-abc)"
        );
        let plain = answer(500, &[("x-error-message", "in a header")], "<html>");
        assert!(describe(&plain).contains("in a header"));
    }

    #[test]
    fn a_429_says_when() {
        let after = |headers: &[(&'static str, &'static str)]| match outcome(429, headers) {
            StorageError::RateLimited { after } => after.as_secs(),
            other => panic!("{other}"),
        };
        assert_eq!(after(&[("retry-after", "9")]), 9);
        assert_eq!(after(&[("ratelimit", "\"api\";r=0;t=77")]), 77);
        assert_eq!(after(&[]), 5);
    }

    #[test]
    fn a_refused_token_is_told_apart_when_it_is_asked_about_itself() {
        assert_eq!(
            account_refusal(&answer(401, &[], "")).outcome(),
            "access_denied"
        );
        assert_eq!(
            account_refusal(&answer(502, &[], "")).outcome(),
            "unavailable"
        );
    }
}
