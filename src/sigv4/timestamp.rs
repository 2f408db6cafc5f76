//! The date formats of SigV4.

use std::time::SystemTime;

use time::format_description::StaticFormatDescription;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

const ISO_BASIC: StaticFormatDescription =
    format_description!("[year][month][day]T[hour][minute][second]Z");

/// Parses `yyyymmddThhmmssZ`, the only format of `X-Amz-Date`.
pub(crate) fn parse_iso_basic(text: &str) -> Option<OffsetDateTime> {
    // The length is checked beforehand because the parser accepts a signed year.
    let is_long_enough = text.len() == "yyyymmddThhmmssZ".len()
        && text.starts_with(|first: char| first.is_ascii_digit());
    if !is_long_enough {
        return None;
    }
    PrimitiveDateTime::parse(text, ISO_BASIC)
        .ok()
        .map(PrimitiveDateTime::assume_utc)
}

/// Parses a `Date` header: the three HTTP formats of RFC 9110 §5.6.7, or ISO 8601 basic.
pub(crate) fn parse_date_header(text: &str) -> Option<OffsetDateTime> {
    let text = text.trim();
    parse_iso_basic(text).or_else(|| httpdate::parse_http_date(text).ok().map(SystemTime::into))
}

/// Returns `yyyymmddThhmmssZ`, as strings to sign carry it.
pub(crate) fn iso_basic(at: OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    )
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn every_date_format_names_the_same_moment() {
        let moment = datetime!(1994-11-06 08:49:37 UTC);
        for text in [
            "19941106T084937Z",
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(parse_date_header(text), Some(moment), "{text}");
        }
        assert_eq!(iso_basic(moment), "19941106T084937Z");
    }

    #[test]
    fn other_texts_are_no_dates() {
        for text in [
            "",
            "19941106",
            "19941306T084937Z",
            "19941106T084937",
            "+9941106T084937Z",
            "yesterday",
        ] {
            assert_eq!(parse_iso_basic(text), None, "{text}");
            assert_eq!(parse_date_header(text), None, "{text}");
        }
    }
}
