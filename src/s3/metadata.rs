//! The headers that an object keeps: read from requests, written into answers.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::s3::encoded_word;
use crate::s3::fault::Fault;
use crate::s3::header as s3_header;
use crate::s3::params::Params;
use crate::s3::tagging;
use crate::storage::{ObjectInfo, ObjectMetadata};

/// The limit of user metadata: names and values together, in bytes of UTF-8. Source: AWS, "Working with object metadata".
const MAX_USER_METADATA_BYTES: usize = 2048;

/// What S3 says of an object whose writer gave no type.
const DEFAULT_CONTENT_TYPE: &str = "binary/octet-stream";

/// Reads the headers and tags that an object keeps.
///
/// Errors: MetadataTooLarge; InvalidArgument for user metadata without a name; what is wrong with the tags.
pub(super) fn from_headers(headers: &HeaderMap) -> Result<ObjectMetadata, Fault> {
    let kept = |name: HeaderName| {
        let value = readable(headers.get(name)?);
        Some(value).filter(|value| !value.is_empty())
    };
    let mut metadata = ObjectMetadata {
        content_type: kept(header::CONTENT_TYPE),
        cache_control: kept(header::CACHE_CONTROL),
        content_disposition: kept(header::CONTENT_DISPOSITION),
        content_encoding: content_encoding(headers),
        content_language: kept(header::CONTENT_LANGUAGE),
        expires: kept(header::EXPIRES),
        tags: tagging::of_headers(headers)?,
        ..ObjectMetadata::default()
    };
    for name in headers.keys() {
        let Some(user_name) = name.as_str().strip_prefix(s3_header::META_PREFIX) else {
            continue;
        };
        if user_name.is_empty() {
            return Err(Fault::invalid_argument(
                "x-amz-meta-",
                "User metadata needs a name.",
            ));
        }
        let values: Vec<String> = headers.get_all(name).iter().map(readable).collect();
        let text = encoded_word::decode(&values.join(",")).into_owned();
        metadata.user.insert(user_name.to_owned(), text);
    }
    let size: usize = metadata
        .user
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if size > MAX_USER_METADATA_BYTES {
        return Err(Fault::metadata_too_large(size, MAX_USER_METADATA_BYTES));
    }
    Ok(metadata)
}

/// Returns the content encoding without `aws-chunked`, which describes the transfer and not the object.
fn content_encoding(headers: &HeaderMap) -> Option<String> {
    let codings: Vec<String> = headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .map(readable)
        .flat_map(|value| {
            value
                .split(',')
                .map(|coding| coding.trim().to_owned())
                .collect::<Vec<_>>()
        })
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    (!codings.is_empty()).then(|| codings.join(","))
}

/// Returns a header's text: UTF-8, else Latin-1, which is what HTTP once meant.
fn readable(value: &HeaderValue) -> String {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => text.trim().to_owned(),
        Err(_) => value.as_bytes().iter().copied().map(char::from).collect(),
    }
}

/// Writes everything that an answer says of an object, but its length and range.
pub(super) fn write(info: &ObjectInfo, headers: &mut HeaderMap) {
    let metadata = &info.metadata;
    let content_type = metadata
        .content_type
        .as_deref()
        .unwrap_or(DEFAULT_CONTENT_TYPE);
    headers.insert(header::CONTENT_TYPE, s3_header::value(content_type));
    let kept = [
        (header::CACHE_CONTROL, &metadata.cache_control),
        (header::CONTENT_DISPOSITION, &metadata.content_disposition),
        (header::CONTENT_ENCODING, &metadata.content_encoding),
        (header::CONTENT_LANGUAGE, &metadata.content_language),
        (header::EXPIRES, &metadata.expires),
    ];
    for (name, value) in kept {
        if let Some(value) = value {
            headers.insert(name, s3_header::value(value));
        }
    }
    for (name, value) in &metadata.user {
        // Written past this gateway, a name may be one that HTTP cannot carry: it is left out, as S3 does.
        if let Ok(name) = HeaderName::try_from(format!("{}{name}", s3_header::META_PREFIX)) {
            headers.insert(name, s3_header::value(&encoded_word::encode(value)));
        }
    }
    headers.insert(
        header::ETAG,
        s3_header::value(&s3_header::quoted(&info.etag())),
    );
    headers.insert(
        header::LAST_MODIFIED,
        s3_header::value(&s3_header::http_date(info.last_modified)),
    );
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(s3_header::XET_HASH, s3_header::value(info.hash.as_str()));
}

/// Returns the headers that the query replaces in an answer (`response-content-type` and so on).
///
/// Errors: InvalidRequest for an anonymous request, as S3 does: a link must not change what others see; InvalidArgument
/// for a value that no header can have.
pub(super) fn overrides(params: &Params, is_signed: bool) -> Result<HeaderMap, Fault> {
    const OVERRIDES: [(&str, HeaderName); 6] = [
        ("response-content-type", header::CONTENT_TYPE),
        ("response-content-language", header::CONTENT_LANGUAGE),
        ("response-expires", header::EXPIRES),
        ("response-cache-control", header::CACHE_CONTROL),
        ("response-content-disposition", header::CONTENT_DISPOSITION),
        ("response-content-encoding", header::CONTENT_ENCODING),
    ];
    let mut headers = HeaderMap::new();
    for (parameter, name) in OVERRIDES {
        let Some(value) = params.get(parameter) else {
            continue;
        };
        if !is_signed {
            return Err(Fault::invalid_request(
                "Request specific response headers cannot be used for anonymous GET requests.",
            ));
        }
        let value = HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| Fault::invalid_argument(parameter, "The value cannot be a header's."))?;
        headers.insert(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::try_from(*name).unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    #[test]
    fn kept_headers_are_read() {
        let metadata = from_headers(&headers(&[
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Encoding", "aws-chunked, gzip"),
            ("Cache-Control", "no-cache"),
            ("Expires", "tomorrow"),
            ("X-Amz-Meta-Mtime", "1700000000.123456789"),
            ("x-amz-meta-two", "a"),
            ("x-amz-meta-two", "b"),
            ("x-amz-meta-word", "日本"),
            ("x-amz-meta-mail", "=?UTF-8?Q?Gr=C3=BC=C3=9Fe?="),
        ]))
        .unwrap();
        assert_eq!(
            metadata.content_type.as_deref(),
            Some("text/plain; charset=utf-8")
        );
        assert_eq!(metadata.content_encoding.as_deref(), Some("gzip"));
        assert_eq!(metadata.cache_control.as_deref(), Some("no-cache"));
        assert_eq!(metadata.expires.as_deref(), Some("tomorrow"));
        assert_eq!(metadata.content_language, None);
        let user: Vec<_> = metadata
            .user
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        assert_eq!(
            user,
            [
                ("mail", "Grüße"),
                ("mtime", "1700000000.123456789"),
                ("two", "a,b"),
                ("word", "日本")
            ]
        );
    }

    /// Such a header is no UTF-8: HTTP once meant Latin-1.
    #[test]
    fn user_metadata_beyond_ascii_is_given_back_in_encoded_words() {
        let mut sent = headers(&[("x-amz-meta-a", "plain"), ("x-amz-meta-b", "ü")]);
        sent.insert("x-amz-meta-c", HeaderValue::from_bytes(b"\xfc").unwrap());
        let info = ObjectInfo {
            metadata: from_headers(&sent).unwrap(),
            ..crate::s3::testing::object()
        };
        let mut answer = HeaderMap::new();
        write(&info, &mut answer);
        for (name, value) in [
            ("a", "plain"),
            ("b", "=?UTF-8?B?w7w=?="),
            ("c", "=?UTF-8?B?w7w=?="),
        ] {
            assert_eq!(answer[format!("x-amz-meta-{name}")], value);
        }
    }

    #[test]
    fn aws_chunked_alone_is_no_encoding() {
        let metadata = from_headers(&headers(&[("content-encoding", "AWS-chunked")])).unwrap();
        assert_eq!(metadata, ObjectMetadata::default());
    }

    #[test]
    fn user_metadata_is_bounded() {
        let fits = "v".repeat(MAX_USER_METADATA_BYTES - 1);
        assert!(from_headers(&headers(&[("x-amz-meta-k", &fits)])).is_ok());
        let fault = from_headers(&headers(&[("x-amz-meta-kk", &fits)])).unwrap_err();
        assert_eq!(fault.code, "MetadataTooLarge");
    }

    #[test]
    fn overrides_need_a_signature() {
        let read = |query, is_signed| {
            overrides(&Params::parse(Some(query)).unwrap(), is_signed).map_err(|fault| fault.code)
        };
        assert_eq!(
            read("response-content-type=a%2Fb", false),
            Err("InvalidRequest")
        );
        assert_eq!(
            read("response-content-type=a%0Ab", true),
            Err("InvalidArgument")
        );
        let headers = read("response-content-type=a%2Fb&response-expires=now", true).unwrap();
        assert_eq!(
            (&headers[header::CONTENT_TYPE], &headers[header::EXPIRES]),
            (&"a/b".parse().unwrap(), &"now".parse().unwrap())
        );
        assert_eq!(read("x=y", false), Ok(HeaderMap::new()));
    }
}
