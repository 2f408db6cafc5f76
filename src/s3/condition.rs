//! Ranges and preconditions, as headers carry them.

use http::HeaderMap;
use http::header;

use crate::s3::fault::Fault;
use crate::s3::header::{parse_http_date, text};
use crate::storage::{ByteRange, EtagMatch, ReadConditions};

/// Reads the preconditions of GET and HEAD.
pub(super) fn of_read(headers: &HeaderMap) -> ReadConditions {
    from_names(
        headers,
        [
            "if-match",
            "if-none-match",
            "if-modified-since",
            "if-unmodified-since",
        ],
    )
}

/// Reads the preconditions on the source of a copy.
pub(super) fn of_copy_source(headers: &HeaderMap) -> ReadConditions {
    from_names(
        headers,
        [
            "x-amz-copy-source-if-match",
            "x-amz-copy-source-if-none-match",
            "x-amz-copy-source-if-modified-since",
            "x-amz-copy-source-if-unmodified-since",
        ],
    )
}

fn from_names(
    headers: &HeaderMap,
    [matches, none_matches, since, unsince]: [&str; 4],
) -> ReadConditions {
    let date = |name| text(headers, name).and_then(parse_http_date);
    ReadConditions {
        if_match: text(headers, matches).map(EtagMatch::parse),
        if_none_match: text(headers, none_matches).map(EtagMatch::parse),
        if_modified_since: date(since),
        if_unmodified_since: date(unsince),
    }
}

/// Refuses preconditions on a write. They must never be ignored: a client that asks for `If-None-Match: *` relies on it.
///
/// Errors: NotImplemented with the header's name.
pub(super) fn refuse_on_write(headers: &HeaderMap) -> Result<(), Fault> {
    const WRITE_CONDITIONS: [&str; 6] = [
        "if-match",
        "if-none-match",
        "if-modified-since",
        "if-unmodified-since",
        "x-amz-if-match-last-modified-time",
        "x-amz-if-match-size",
    ];
    match WRITE_CONDITIONS
        .into_iter()
        .find(|name| headers.contains_key(*name))
    {
        Some(name) => Err(Fault::header_not_implemented(name)),
        None => Ok(()),
    }
}

/// Reads the range of a GET or HEAD.
///
/// `None` for no range, for several, and for what RFC 9110 §14.2 tells us to ignore. With `If-Range` the range is ignored,
/// which the same section allows: the client then gets the whole object, which is right whether it changed or not.
pub(super) fn range(headers: &HeaderMap) -> Option<ByteRange> {
    if headers.contains_key(header::IF_RANGE) {
        return None;
    }
    let (unit, spec) = text(headers, "range")?.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = spec.trim().split_once('-')?;
    let number = |digits: &str| {
        let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        // A number beyond 64 bits lies beyond every object.
        is_number.then(|| digits.parse().unwrap_or(u64::MAX))
    };
    match (first.trim(), last.trim()) {
        ("", len) => Some(ByteRange::Suffix { len: number(len)? }),
        (first, "") => Some(ByteRange::From {
            first: number(first)?,
        }),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(ByteRange::Exact { first, last })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn ranges_are_read_or_ignored() {
        let parse = |value: &str| range(&headers(&[("range", value)]));
        assert_eq!(
            parse("bytes=0-9"),
            Some(ByteRange::Exact { first: 0, last: 9 })
        );
        assert_eq!(parse("Bytes = 5-"), Some(ByteRange::From { first: 5 }));
        assert_eq!(parse("bytes=-5"), Some(ByteRange::Suffix { len: 5 }));
        assert_eq!(parse("bytes=-0"), Some(ByteRange::Suffix { len: 0 }));
        assert_eq!(
            parse("bytes=1-99999999999999999999999"),
            Some(ByteRange::Exact {
                first: 1,
                last: u64::MAX
            })
        );
        for ignored in [
            "bytes=0-1,4-5",
            "bytes=9-1",
            "bytes=a-b",
            "bytes=-",
            "items=0-1",
            "bytes",
            "bytes=+1-2",
        ] {
            assert_eq!(parse(ignored), None, "{ignored}");
        }
        assert_eq!(
            range(&headers(&[("range", "bytes=0-1"), ("if-range", "\"x\"")])),
            None
        );
    }

    #[test]
    fn conditions_are_read() {
        let conditions = of_read(&headers(&[
            ("if-match", "\"a\""),
            ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("if-unmodified-since", "some day"),
        ]));
        assert_eq!(conditions.if_match, Some(EtagMatch::Tags(vec!["a".into()])));
        assert!(conditions.if_modified_since.is_some());
        assert_eq!(conditions.if_unmodified_since, None);
        assert_eq!(
            of_copy_source(&headers(&[("if-match", "*")])),
            ReadConditions::default()
        );
        assert_eq!(
            of_copy_source(&headers(&[("x-amz-copy-source-if-none-match", "*")])).if_none_match,
            Some(EtagMatch::Any)
        );
    }

    #[test]
    fn conditions_on_writes_are_never_ignored() {
        for name in ["if-match", "if-none-match", "if-unmodified-since"] {
            let fault = refuse_on_write(&headers(&[(name, "*")])).unwrap_err();
            assert_eq!(
                (fault.status.as_u16(), fault.details[0].1.as_str()),
                (501, name)
            );
        }
        assert!(refuse_on_write(&headers(&[("x-amz-copy-source-if-match", "*")])).is_ok());
    }
}
