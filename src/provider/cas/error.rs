//! What an answer of the CAS, or its absence, means.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

use crate::provider::http as http_chain;
use crate::storage::StorageError;

/// The name under which the CAS appears in [`StorageError::Unavailable`].
pub(super) const SERVICE: &str = "cas";

/// What a client is asked to wait for when the CAS refuses for its rate without saying for how long.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(5);

/// Converts a final status of the CAS, or of the storage behind it, to an error: the only place that does.
///
/// `what` names the call in words (`reconstruction`, `xorb upload`). The HTTP chain has tried again already where that
/// made sense, so nothing here is safe to retry: attempts add and never multiply.
pub(super) fn from_status(what: &str, status: StatusCode, headers: &HeaderMap) -> StorageError {
    match status.as_u16() {
        // The Hub handed the token out, so a refusal is our upstream's trouble and never the client's rights.
        401 | 403 => unavailable(described(what, status, headers)),
        429 => StorageError::RateLimited {
            after: retry_after(headers).unwrap_or(DEFAULT_RETRY_AFTER),
        },
        507 => StorageError::QuotaExceeded,
        400 | 404 | 405 | 409 | 411 | 412 | 413 | 416 | 422 => {
            StorageError::internal(described(what, status, headers))
        }
        _ => unavailable(described(what, status, headers)),
    }
}

/// Converts the failure to get an answer, or the rest of one; the chain has tried again already.
pub(super) fn from_transport(what: &str, error: &reqwest_middleware::Error) -> StorageError {
    match http_chain::unavailable(SERVICE, error) {
        StorageError::Unavailable { reason, .. } => unavailable(format!("{what}: {reason}")),
        other => other,
    }
}

/// Returns an error for an answer that cannot be: too long, malformed, or contradictory.
pub(super) fn malformed(what: impl std::fmt::Display) -> StorageError {
    unavailable(format!("malformed answer: {what}"))
}

/// Returns [`StorageError::Unavailable`] for the CAS, not to be tried again from above.
pub(super) fn unavailable(reason: impl Into<String>) -> StorageError {
    StorageError::Unavailable {
        service: SERVICE,
        reason: reason.into(),
        is_safe_to_retry: false,
    }
}

fn described(what: &str, status: StatusCode, headers: &HeaderMap) -> String {
    let request_id = headers
        .get("x-request-id")
        .and_then(|value| value.to_str().ok());
    match request_id {
        Some(id) => format!("{what} answered {status} (request {id})"),
        None => format!("{what} answered {status}"),
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Retry;

    #[test]
    fn every_refusal_has_its_meaning_and_none_is_retried_from_above() {
        let error = |status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            from_status("reconstruction", status, &HeaderMap::new())
        };
        for status in [401, 403, 500, 502, 503, 504] {
            assert_eq!(error(status).outcome(), "unavailable", "{status}");
        }
        for status in [400, 404, 413, 416, 422] {
            assert_eq!(error(status).outcome(), "internal", "{status}");
        }
        assert_eq!(error(507).outcome(), "quota_exceeded");
        assert_eq!(error(503).retry(), Retry::Never);
    }

    #[test]
    fn the_request_id_and_the_time_to_wait_are_kept() {
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", "r-7".parse().unwrap());
        headers.insert(RETRY_AFTER, "12".parse().unwrap());
        let lost = from_status("shard", StatusCode::BAD_GATEWAY, &headers);
        assert!(lost.to_string().contains("(request r-7)"), "{lost}");
        let limited = from_status("shard", StatusCode::TOO_MANY_REQUESTS, &headers);
        assert_eq!(limited.retry(), Retry::After(Duration::from_secs(12)));
    }
}
