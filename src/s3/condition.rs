//! Ranges and preconditions, as headers carry them.

use std::borrow::Cow;

use http::HeaderMap;
use http::header;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::s3::fault::Fault;
use crate::s3::header::{parse_http_date, text};
use crate::storage::{ByteRange, EtagMatch, ReadConditions, WriteConditions};

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
        if_match: joined(headers, matches).map(|tags| EtagMatch::parse(&tags)),
        if_none_match: joined(headers, none_matches).map(|tags| EtagMatch::parse(&tags)),
        if_modified_since: date(since),
        if_unmodified_since: date(unsince),
    }
}

/// Every header by which a client puts a condition on a write, in S3 or in HTTP.
const WRITE_CONDITIONS: [&str; 7] = [
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    IF_MATCH_TIME,
    IF_MATCH_SIZE,
    "x-amz-if-match-initiated-time",
];
const IF_MATCH_TIME: &str = "x-amz-if-match-last-modified-time";
const IF_MATCH_SIZE: &str = "x-amz-if-match-size";

/// Reads the preconditions of a write on what it replaces.
///
/// Errors: NotImplemented with the name of a condition that writes do not have, InvalidArgument for one that cannot be
/// read. A condition is never ignored: a client that asks for `If-None-Match: *` relies on it.
pub(super) fn of_write(headers: &HeaderMap) -> Result<WriteConditions, Fault> {
    refuse_but(headers, &["if-match", "if-none-match"])?;
    Ok(WriteConditions {
        if_match: tags(headers, "if-match")?,
        if_none_match: tags(headers, "if-none-match")?,
        ..WriteConditions::default()
    })
}

/// Reads the preconditions of a deletion.
///
/// Errors: as [`of_write`].
pub(super) fn of_delete(headers: &HeaderMap) -> Result<WriteConditions, Fault> {
    refuse_but(headers, &["if-match", IF_MATCH_TIME, IF_MATCH_SIZE])?;
    let read = |name| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or_default())
    };
    let refuse = |name, reason| move || Fault::invalid_argument(name, reason);
    let size = read(IF_MATCH_SIZE).map(|text| {
        size(text).ok_or_else(refuse(IF_MATCH_SIZE, "The size must be a number of bytes."))
    });
    let time = read(IF_MATCH_TIME).map(|text| {
        moment(text).ok_or_else(refuse(IF_MATCH_TIME, "The time must be an HTTP date."))
    });
    Ok(WriteConditions {
        if_match: tags(headers, "if-match")?,
        if_size: size.transpose()?,
        if_last_modified: time.transpose()?,
        ..WriteConditions::default()
    })
}

/// Refuses every precondition on a request that cannot have one.
///
/// Errors: NotImplemented with the header's name.
pub(super) fn refuse_on_write(headers: &HeaderMap) -> Result<(), Fault> {
    refuse_but(headers, &[])
}

fn refuse_but(headers: &HeaderMap, known: &[&str]) -> Result<(), Fault> {
    match WRITE_CONDITIONS
        .into_iter()
        .find(|name| headers.contains_key(*name) && !known.contains(name))
    {
        Some(name) => Err(Fault::header_not_implemented(name)),
        None => Ok(()),
    }
}

/// Reads the entity tags of a write's condition.
fn tags(headers: &HeaderMap, name: &'static str) -> Result<Option<EtagMatch>, Fault> {
    let Some(joined) = joined(headers, name) else {
        return Ok(None);
    };
    // `*` beside tags could mean the one or the other, and both would be a guess.
    let is_mixed = joined.trim() != "*" && joined.split(',').any(|tag| tag.trim() == "*");
    if is_mixed || joined.trim().is_empty() || !joined.is_ascii() {
        let reason = "The condition must be `*`, or entity tags.";
        return Err(Fault::invalid_argument(name, reason));
    }
    Ok(Some(EtagMatch::parse(&joined)))
}

/// Joins the fields of one name, as RFC 9110 §5.3 tells. What is no text becomes a tag that no object has.
fn joined(headers: &HeaderMap, name: &str) -> Option<String> {
    let fields = headers.get_all(name).iter();
    let fields = fields.map(|field| String::from_utf8_lossy(field.as_bytes()));
    fields
        .map(Cow::into_owned)
        .reduce(|all, field| all + "," + &field)
}

/// Parses a size in bytes.
pub(super) fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let is_number = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

/// Parses a moment as SDKs write it: an HTTP date, or ISO 8601.
pub(super) fn moment(text: &str) -> Option<OffsetDateTime> {
    parse_http_date(text).or_else(|| OffsetDateTime::parse(text.trim(), &Rfc3339).ok())
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
        let mut several = headers(&[("if-match", "\"a\"")]);
        several.append("if-match", http::HeaderValue::from_bytes(b"\xff").unwrap());
        let tags = vec!["a".to_owned(), "\u{fffd}".to_owned()];
        assert_eq!(of_read(&several).if_match, Some(EtagMatch::Tags(tags)));
        assert_eq!(
            of_copy_source(&headers(&[("x-amz-copy-source-if-none-match", "*")])).if_none_match,
            Some(EtagMatch::Any)
        );
    }

    #[test]
    fn conditions_on_writes_are_never_ignored() {
        let verdict = |outcome: Result<WriteConditions, Fault>| match outcome {
            Ok(conditions) if conditions.is_empty() => (200, "ignored".to_owned()),
            Ok(_) => (200, "read".to_owned()),
            Err(fault) => (fault.status.as_u16(), fault.details[0].1.clone()),
        };
        for name in WRITE_CONDITIONS {
            let one = headers(&[(name, "*")]);
            let refused = (501, name.to_owned());
            assert_eq!(
                verdict(refuse_on_write(&one).map(|()| WriteConditions::default())),
                refused
            );
            let of_write = verdict(of_write(&one));
            match name {
                "if-match" | "if-none-match" => assert_eq!(of_write, (200, "read".to_owned())),
                _ => assert_eq!(of_write, refused),
            }
            let of_delete = verdict(of_delete(&one));
            match name {
                "if-match" => assert_eq!(of_delete, (200, "read".to_owned())),
                IF_MATCH_SIZE | IF_MATCH_TIME => assert_eq!(of_delete, (400, name.to_owned())),
                _ => assert_eq!(of_delete, refused),
            }
        }
        assert!(refuse_on_write(&headers(&[("x-amz-copy-source-if-match", "*")])).is_ok());
    }

    #[test]
    fn tags_of_a_write_are_read_whole_or_refused() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(
                    "if-match",
                    http::HeaderValue::from_bytes(value.as_bytes()).unwrap(),
                );
            }
            of_write(&headers)
                .map(|conditions| conditions.if_match)
                .map_err(|fault| fault.code)
        };
        let tags = |tags: &[&str]| {
            Ok(Some(EtagMatch::Tags(
                tags.iter().map(|tag| (*tag).into()).collect(),
            )))
        };
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[" * "]), Ok(Some(EtagMatch::Any)));
        assert_eq!(read(&["a"]), tags(&["a"]));
        assert_eq!(read(&["\"a\", W/\"b\"", "\"c\""]), tags(&["a", "b", "c"]));
        for refused in [&["*, \"a\""][..], &["*", "*"], &[""], &["é"]] {
            assert_eq!(read(refused), Err("InvalidArgument"), "{refused:?}");
        }
    }

    #[test]
    fn sizes_and_times_of_a_deletion_are_read() {
        let read = |name, value| of_delete(&headers(&[(name, value)]));
        assert_eq!(read(IF_MATCH_SIZE, "7").unwrap().if_size, Some(7));
        let time = Some(time::macros::datetime!(1994-11-06 08:49:37 UTC));
        for form in ["Sun, 06 Nov 1994 08:49:37 GMT", "1994-11-06T08:49:37Z"] {
            assert_eq!(read(IF_MATCH_TIME, form).unwrap().if_last_modified, time);
        }
        for odd in ["", "-1", "+7", "7 bytes", "99999999999999999999"] {
            assert_eq!(
                read(IF_MATCH_SIZE, odd).unwrap_err().code,
                "InvalidArgument",
                "{odd}"
            );
        }
    }
}
