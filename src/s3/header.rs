//! Names and forms of the headers that S3 adds to HTTP.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// The `HostId` of errors and the `x-amz-id-2` of every answer.
pub(super) const HOST_ID: &str = "hugbucket";

/// The `ID` of every owner: a namespace has one owner, whatever its name.
pub(super) const OWNER_ID: &str = "hugbucket";

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
pub(super) const ID_2: HeaderName = HeaderName::from_static("x-amz-id-2");
pub(super) const BUCKET_REGION: HeaderName = HeaderName::from_static("x-amz-bucket-region");
pub(super) const XET_HASH: HeaderName = HeaderName::from_static("x-hf-xet-hash");
pub(super) const PARTS_COUNT: HeaderName = HeaderName::from_static("x-amz-mp-parts-count");
pub(super) const TAGGING_COUNT: HeaderName = HeaderName::from_static("x-amz-tagging-count");
pub(super) const CHECKSUM_TYPE: HeaderName = HeaderName::from_static("x-amz-checksum-type");
pub(super) const CHECKSUM_ALGORITHM: HeaderName =
    HeaderName::from_static("x-amz-checksum-algorithm");
pub(super) const META_PREFIX: &str = "x-amz-meta-";

/// ISO 8601 as S3's documents have it, in milliseconds: `1994-11-06T08:49:37.000Z`.
const ISO_8601: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// Returns the text of a header, if it is there and readable.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// Returns an entity tag in quotes.
pub(super) fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

/// Returns a header value; an unprintable text becomes an empty one.
pub(super) fn value(text: &str) -> HeaderValue {
    HeaderValue::from_bytes(text.as_bytes()).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Returns a time as HTTP headers have it: whole seconds, GMT.
pub(super) fn http_date(time: OffsetDateTime) -> String {
    httpdate::fmt_http_date(time.into())
}

/// Parses a date in any of HTTP's three forms; `None` for others, which RFC 9110 tells us to ignore.
pub(super) fn parse_http_date(text: &str) -> Option<OffsetDateTime> {
    httpdate::parse_http_date(text.trim()).ok().map(Into::into)
}

/// Returns a time as S3's documents have it: milliseconds, UTC.
pub(super) fn iso_date(time: OffsetDateTime) -> String {
    time.to_offset(time::UtcOffset::UTC)
        .format(ISO_8601)
        .expect("a date and time has every component that the format names")
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn dates_are_written_and_read_as_rfc_9110_says() {
        let time = datetime!(1994-11-06 08:49:37.5 UTC);
        let whole = datetime!(1994-11-06 08:49:37 UTC);
        assert_eq!(http_date(time), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(iso_date(time), "1994-11-06T08:49:37.500Z");
        for form in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(parse_http_date(form), Some(whole), "{form}");
        }
        assert_eq!(parse_http_date("yesterday"), None);
    }
}
