//! The canonical request, and the few repaired versions of it that are tried.
//!
//! S3 differs from the other services: the path is encoded once and never normalised, so `//`, `.`, and `..` stay. What was
//! received is decoded and encoded again, because clients send `+`, `=`, `(`, or `*` raw and sign them encoded, or the
//! other way round.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;

use crate::sigv4::claim::ClaimOptions;
use crate::sigv4::malformed::Malformed;

/// More candidates than any combination of known repairs that helped somebody.
const MAX_CANDIDATES: usize = 8;

/// What a raw `+` in a query means. SDKs send blanks as `%20`, HTML forms send them as `+`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plus {
    Literal,
    Blank,
}

/// Returns the canonical requests of a head, the received one first.
///
/// `payload_hash` is the text of `x-amz-content-sha256`. Errors: [`Malformed::Uri`].
pub(crate) fn candidates(
    head: &http::request::Parts,
    signed_headers: &[String],
    payload_hash: &str,
    options: ClaimOptions<'_>,
) -> Result<Vec<String>, Malformed> {
    let request = Received {
        head,
        path: canonical_path(head.uri.path())?,
        signed_headers,
        payload_hash,
    };
    let raw_query = head.uri.query().unwrap_or("");
    let mut queries = vec![canonical_query(raw_query, Plus::Literal)];
    if raw_query.contains('+') {
        queries.push(canonical_query(raw_query, Plus::Blank));
    }
    let hosts = host_values(head, options.trusts_forwarded_host);
    let mut encodings = vec![header_value(&head.headers, "accept-encoding")];
    if options.repairs_accept_encoding && request.signs("accept-encoding") {
        // What clients sign before a proxy rewrites it.
        let usual = ["identity", "gzip"].into_iter();
        let others = usual
            .filter(|usual| *usual != encodings[0])
            .map(str::to_owned);
        encodings = encodings.iter().cloned().chain(others).collect();
    }
    let mut candidates = Vec::with_capacity(1);
    for encoding in &encodings {
        for host in &hosts {
            for query in &queries {
                candidates.push(request.canonical(query, host, encoding));
            }
        }
    }
    candidates.truncate(MAX_CANDIDATES);
    Ok(candidates)
}

/// What all candidates have in common.
struct Received<'a> {
    head: &'a http::request::Parts,
    path: String,
    signed_headers: &'a [String],
    payload_hash: &'a str,
}

impl Received<'_> {
    fn signs(&self, name: &str) -> bool {
        self.signed_headers.iter().any(|signed| signed == name)
    }

    /// Puts the canonical request together, with the values that differ between candidates.
    fn canonical(&self, query: &str, host: &str, accept_encoding: &str) -> String {
        let mut text = format!("{}\n{}\n{query}\n", self.head.method, self.path);
        for name in self.signed_headers {
            let value = match name.as_str() {
                "host" => Cow::Borrowed(host),
                "accept-encoding" => Cow::Borrowed(accept_encoding),
                _ => Cow::Owned(header_value(&self.head.headers, name)),
            };
            text.extend([name.as_str(), ":", &value, "\n"]);
        }
        text.extend([
            "\n",
            &self.signed_headers.join(";"),
            "\n",
            self.payload_hash,
        ]);
        text
    }
}

/// Decodes the raw path and encodes it again; a `+` in a path is a plus.
///
/// Errors: [`Malformed::Uri`] for a broken escape, or bytes that are not UTF-8.
pub(super) fn canonical_path(raw: &str) -> Result<String, Malformed> {
    let escapes_are_whole = raw.split('%').skip(1).all(|rest| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    if !escapes_are_whole {
        return Err(Malformed::Uri);
    }
    let decoded = percent_decode_str(raw)
        .decode_utf8()
        .map_err(|_| Malformed::Uri)?;
    let mut canonical = String::with_capacity(raw.len() + 8);
    encode_into(&mut canonical, decoded.as_bytes(), b"/");
    if canonical.is_empty() {
        canonical.push('/');
    }
    Ok(canonical)
}

/// Decodes, encodes, and sorts the parameters, without the signature of a presigned URL.
pub(super) fn canonical_query(raw: &str, plus: Plus) -> String {
    let mut pairs: Vec<(String, String)> = raw
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (recoded(name, plus), recoded(value, plus))
        })
        .filter(|(name, _)| name != "X-Amz-Signature")
        .collect();
    // By bytes and after encoding, first by name, then by value.
    pairs.sort_unstable();
    let mut canonical = String::with_capacity(raw.len() + 8);
    for (name, value) in pairs {
        if !canonical.is_empty() {
            canonical.push('&');
        }
        canonical.push_str(&name);
        canonical.push('=');
        canonical.push_str(&value);
    }
    canonical
}

fn recoded(raw: &str, plus: Plus) -> String {
    let raw = match plus {
        Plus::Literal => Cow::Borrowed(raw),
        Plus::Blank => Cow::Owned(raw.replace('+', " ")),
    };
    let decoded: Cow<'_, [u8]> = percent_decode_str(&raw).into();
    let mut encoded = String::with_capacity(raw.len());
    encode_into(&mut encoded, &decoded, b"");
    encoded
}

/// Appends bytes, all but the unreserved characters of RFC 3986 and those in `kept` as `%XX` with upper-case digits.
fn encode_into(text: &mut String, bytes: &[u8], kept: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        let is_kept =
            byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || kept.contains(&byte);
        if is_kept {
            text.push(byte.into());
        } else {
            text.push('%');
            text.push(DIGITS[usize::from(byte >> 4)].into());
            text.push(DIGITS[usize::from(byte & 15)].into());
        }
    }
}

/// Returns a header's canonical value: trimmed, runs of blanks squeezed, several fields joined by `,` in order; empty for
/// a header that is absent.
pub(crate) fn header_value(headers: &HeaderMap, name: &str) -> String {
    let mut joined = String::new();
    for (index, value) in headers.get_all(name).iter().enumerate() {
        if index > 0 {
            joined.push(',');
        }
        let words = text_of(value.as_bytes());
        let words = words.split([' ', '\t']).filter(|word| !word.is_empty());
        for (index, word) in words.enumerate() {
            if index > 0 {
                joined.push(' ');
            }
            joined.push_str(word);
        }
    }
    joined
}

/// Reads a header's bytes as UTF-8, else as Latin-1: Python's HTTP client sends Latin-1, and signs the same characters in
/// UTF-8.
fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(
        |_| Cow::Owned(bytes.iter().map(|&byte| char::from(byte)).collect()),
        Cow::Borrowed,
    )
}

/// Returns the host that was received, then those that a trusted proxy says it received.
fn host_values(head: &http::request::Parts, trusts_forwarded: bool) -> Vec<String> {
    let received = if head.headers.contains_key(http::header::HOST) {
        header_value(&head.headers, "host")
    } else {
        // HTTP/2 has `:authority` instead.
        head.uri
            .authority()
            .map(ToString::to_string)
            .unwrap_or_default()
    };
    let mut hosts = vec![received];
    if trusts_forwarded {
        // Proxies in a row append; the first is what the client sent.
        let first = |name: &'static str| {
            let value = header_value(&head.headers, HeaderName::from_static(name).as_str());
            let first = value
                .split(',')
                .next()
                .unwrap_or_default()
                .trim()
                .to_owned();
            (!first.is_empty()).then_some(first)
        };
        if let Some(host) = first("x-forwarded-host") {
            if let Some(port) = first("x-forwarded-port") {
                hosts.push(format!("{host}:{port}"));
            }
            hosts.insert(1, host);
        }
    }
    let received = hosts[0].clone();
    let others = hosts.split_off(1);
    hosts.extend(others.into_iter().filter(|host| *host != received));
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_encoded_once_and_never_normalised() {
        let cases = [
            ("", "/"),
            ("/", "/"),
            ("/b//a/../c/./d", "/b//a/../c/./d"),
            (
                "/b/a+b=c(d)!'*,;:@$&",
                "/b/a%2Bb%3Dc%28d%29%21%27%2A%2C%3B%3A%40%24%26",
            ),
            ("/b/a%2bb%3Dc", "/b/a%2Bb%3Dc"),
            ("/b/~-._", "/b/~-._"),
            ("/b/%7e%2F", "/b/~/"),
            ("/b/a%20b", "/b/a%20b"),
            ("/b/%25", "/b/%25"),
            ("/b/%C3%A4", "/b/%C3%A4"),
            ("/b/ä", "/b/%C3%A4"),
        ];
        for (raw, canonical) in cases {
            assert_eq!(canonical_path(raw).as_deref(), Ok(canonical), "{raw}");
        }
        for broken in ["/%", "/%2", "/%zz", "/%ff", "/%+1"] {
            assert_eq!(canonical_path(broken), Err(Malformed::Uri), "{broken}");
        }
    }

    #[test]
    fn queries_are_sorted_after_encoding() {
        let cases = [
            ("", ""),
            ("uploads", "uploads="),
            ("uploads=", "uploads="),
            ("b=2&a=1&&a=0", "a=0&a=1&b=2"),
            ("a=1&A=2&a-b=3&a%2Db=2", "A=2&a=1&a-b=2&a-b=3"),
            ("prefix=a/b&x=y=z", "prefix=a%2Fb&x=y%3Dz"),
            ("k=%e4%zz", "k=%E4%25zz"),
            (
                "a=1&X-Amz-Signature=ff&x-amz-signature=ee",
                "a=1&x-amz-signature=ee",
            ),
        ];
        for (raw, canonical) in cases {
            assert_eq!(canonical_query(raw, Plus::Literal), canonical, "{raw}");
        }
        assert_eq!(
            canonical_query("prefix=a+b%2B", Plus::Literal),
            "prefix=a%2Bb%2B"
        );
        assert_eq!(
            canonical_query("prefix=a+b%2B", Plus::Blank),
            "prefix=a%20b%2B"
        );
    }

    #[test]
    fn header_values_are_trimmed_squeezed_and_joined() {
        let mut headers = HeaderMap::new();
        headers.append("x-amz-meta-a", "  one   two\tthree ".parse().unwrap());
        headers.append("x-amz-meta-a", "four".parse().unwrap());
        headers.append(
            "x-amz-meta-l",
            http::HeaderValue::from_bytes(b"\xe4").unwrap(),
        );
        assert_eq!(header_value(&headers, "x-amz-meta-a"), "one two three,four");
        assert_eq!(header_value(&headers, "x-amz-meta-l"), "ä");
        assert_eq!(header_value(&headers, "x-amz-meta-none"), "");
    }

    fn hosts_of(head: http::request::Builder, options: ClaimOptions<'_>) -> Vec<String> {
        let (head, ()) = head.body(()).unwrap().into_parts();
        let signed = ["accept-encoding".to_owned(), "host".to_owned()];
        let candidates = candidates(&head, &signed, "UNSIGNED-PAYLOAD", options).unwrap();
        let lines = |text: &String| text.lines().skip(3).take(2).collect::<Vec<_>>().join(" ");
        candidates.iter().map(lines).collect()
    }

    #[test]
    fn a_forwarded_host_is_a_further_candidate_only_when_trusted() {
        let head = || {
            http::Request::get("/b/k")
                .header("host", "inner:9000")
                .header("x-forwarded-host", "s3.example.com, other")
                .header("x-forwarded-port", "8443")
        };
        let trusting = ClaimOptions {
            trusts_forwarded_host: true,
            ..ClaimOptions::default()
        };
        assert_eq!(
            hosts_of(head(), ClaimOptions::default()),
            ["accept-encoding: host:inner:9000"]
        );
        assert_eq!(
            hosts_of(head(), trusting),
            [
                "accept-encoding: host:inner:9000",
                "accept-encoding: host:s3.example.com",
                "accept-encoding: host:s3.example.com:8443",
            ]
        );
    }

    #[test]
    fn http2_signs_the_authority() {
        let head =
            http::Request::get("http://s3.example.com:9000/b/k").version(http::Version::HTTP_2);
        assert_eq!(
            hosts_of(head, ClaimOptions::default()),
            ["accept-encoding: host:s3.example.com:9000"]
        );
    }

    #[test]
    fn accept_encoding_is_repaired_on_demand_and_candidates_stay_few() {
        let head = || {
            http::Request::get("/b/k?prefix=a+b")
                .header("host", "h")
                .header("accept-encoding", "br, gzip")
                .header("x-forwarded-host", "f")
        };
        let all = ClaimOptions {
            region: None,
            trusts_forwarded_host: true,
            repairs_accept_encoding: true,
            ..ClaimOptions::default()
        };
        assert_eq!(hosts_of(head(), ClaimOptions::default()).len(), 2);
        let candidates = hosts_of(head(), all);
        assert_eq!(candidates.len(), MAX_CANDIDATES);
        assert_eq!(candidates[0], "accept-encoding:br, gzip host:h");
        assert!(candidates.contains(&"accept-encoding:identity host:h".to_owned()));
        assert!(candidates.contains(&"accept-encoding:identity host:f".to_owned()));
    }
}
