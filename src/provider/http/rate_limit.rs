//! What an upstream says about its budget, and how long it wants to be left alone.

use std::time::Duration;

use http::StatusCode;
use http::header::{HeaderMap, HeaderName, RETRY_AFTER};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The tightest budget that an answer tells of.
///
/// Source: IETF draft "RateLimit header fields for HTTP", in the form that the Hub sends it:
/// `RateLimit: "api";r=<remaining>;t=<seconds>` and `RateLimit-Policy: "fixed window";"api";q=<limit>;w=<seconds>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Calls left in this window.
    pub remaining: u64,
    /// Time to the end of the window.
    pub resets_in: Duration,
    /// Calls allowed in a window, if told.
    pub limit: Option<u64>,
}

impl RateLimit {
    /// Reads the headers of an answer; `None` if there are none or they make no sense.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(RATE_LIMIT)?.to_str().ok()?;
        let (name, remaining, resets_in) = text
            .split(',')
            .filter_map(|item| {
                let (name, _) = item.split_once(';')?;
                let (remaining, resets_in) = (number(item, "r")?, number(item, "t")?);
                Some((name.trim(), remaining, Duration::from_secs(resets_in)))
            })
            .min_by_key(|(_, remaining, _)| *remaining)?;
        Some(Self {
            remaining,
            resets_in,
            limit: limit(headers, name),
        })
    }
}

/// Returns the limit of the policy that mentions `name`.
fn limit(headers: &HeaderMap, name: &str) -> Option<u64> {
    let policies = headers.get(RATE_LIMIT_POLICY)?.to_str().ok()?;
    policies
        .split(',')
        .find(|policy| policy.contains(name))
        .and_then(|policy| number(policy, "q"))
}

/// Returns the value of the parameter `key` of an item such as `"api";r=7;t=3`.
fn number(item: &str, key: &str) -> Option<u64> {
    item.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        (name.trim() == key).then(|| value.trim().parse().ok())?
    })
}

/// Returns how long an answer of this status asks to wait; `None` if it does not ask.
///
/// An exhausted `RateLimit` wins over `Retry-After`: it tells the end of the window. Only 429 and 503 ask: a budget used up
/// by a call that succeeded is the next call's affair.
pub fn asked_pause(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    if !matches!(status.as_u16(), 429 | 503) {
        return None;
    }
    match RateLimit::from_headers(headers) {
        Some(budget) if budget.remaining == 0 => Some(budget.resets_in),
        _ => retry_after(headers),
    }
}

/// Reads `Retry-After`, seconds or a date (RFC 9110 §10.2.3); a date that has passed is no wait.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let moment = OffsetDateTime::parse(text, &Rfc2822).ok()?;
    Some(Duration::try_from(moment - OffsetDateTime::now_utc()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn the_tightest_budget_is_read() {
        let answer = headers(&[
            ("ratelimit", "\"resolvers\";r=90;t=12, \"api\"; r=7 ;t=13"),
            (
                "ratelimit-policy",
                "\"fixed window\";\"resolvers\";q=5000;w=300, \"fixed window\";\"api\";q=500;w=300",
            ),
        ]);
        assert_eq!(
            RateLimit::from_headers(&answer),
            Some(RateLimit {
                remaining: 7,
                resets_in: Duration::from_secs(13),
                limit: Some(500)
            })
        );
    }

    #[test]
    fn senseless_headers_are_no_budget() {
        for text in [
            "",
            "api",
            "\"api\";r=;t=1",
            "\"api\";r=-1;t=2",
            "\"api\";r=1",
        ] {
            assert_eq!(
                RateLimit::from_headers(&headers(&[("ratelimit", text)])),
                None,
                "{text}"
            );
        }
    }

    #[test]
    fn an_exhausted_window_wins_over_retry_after() {
        let pause = |status, pairs: &[(&'static str, &str)]| {
            asked_pause(StatusCode::from_u16(status).unwrap(), &headers(pairs))
                .map(|pause| pause.as_secs())
        };
        let both = [("retry-after", "3"), ("ratelimit", "\"api\";r=0;t=40")];
        let left = [("retry-after", "3"), ("ratelimit", "\"api\";r=2;t=40")];
        assert_eq!(pause(429, &both), Some(40));
        assert_eq!(pause(429, &left), Some(3));
        assert_eq!(pause(503, &left), Some(3));
        assert_eq!(pause(429, &[]), None);
        assert_eq!(pause(200, &both), None);
    }

    #[test]
    fn retry_after_may_be_a_date() {
        let past = headers(&[("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")]);
        assert_eq!(retry_after(&past), Some(Duration::ZERO));
        let soon = OffsetDateTime::now_utc() + Duration::from_secs(100);
        let soon = headers(&[("retry-after", &soon.format(&Rfc2822).unwrap())]);
        let wait = retry_after(&soon).unwrap().as_secs();
        assert!((98..=100).contains(&wait), "{wait}");
        assert_eq!(retry_after(&headers(&[("retry-after", "soon")])), None);
    }
}
