//! The Hub's clock and its way to write times.

use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::macros::format_description;

/// Returns unix seconds.
pub(crate) fn now_secs() -> u64 {
    now_millis().cast_unsigned() / 1000
}

/// Returns unix milliseconds.
pub(crate) fn now_millis() -> i64 {
    let elapsed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}

/// Writes unix milliseconds as the Hub does: `2026-02-06T17:37:57.123Z`. None when the year is out of range.
pub(crate) fn iso(millis: i64) -> Option<String> {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).ok()?;
    at.format(format_description!(
        "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
    ))
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_milliseconds_and_z() {
        let text = iso(1_770_399_477_005);
        assert_eq!(text.as_deref(), Some("2026-02-06T17:37:57.005Z"));
    }

    #[test]
    fn an_absurd_time_is_left_out() {
        assert_eq!(iso(i64::MAX), None);
    }
}
