//! A request's head → who it claims to be.

use http::HeaderMap;
use http::request::Parts;
use time::OffsetDateTime;

use crate::sigv4::authorization::{Authorization, malformed_header};
use crate::sigv4::canonical;
use crate::sigv4::evidence::{ContentSha256, Evidence, SignatureKind};
use crate::sigv4::malformed::Malformed;
use crate::sigv4::presigned::{Query, signed_in_query};
use crate::sigv4::timestamp;

/// What a request claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Nothing.
    Anonymous,
    /// To be signed with the secret of an access key.
    Signed(Box<Evidence>),
}

/// What [`claim`] requires, and how far it goes to repair what happened to a request after it was signed. By default,
/// nothing, and not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClaimOptions<'a> {
    /// The region that a signature must be for; `None` for any.
    pub region: Option<&'a str>,
    /// Tries X-Forwarded-Host (and X-Forwarded-Port) after the received host. Only for peers that are trusted proxies.
    pub trusts_forwarded_host: bool,
    /// The service that a signature must be for.
    pub service: Service<'a>,
    /// Tries `identity` and `gzip` where Accept-Encoding is signed: Google's load balancer and Cloudflare rewrite it.
    pub repairs_accept_encoding: bool,
}

/// A service that requests are signed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Service<'a> {
    /// S3: what is signed of the payload is told by a header or the query.
    #[default]
    S3,
    /// The Security Token Service: the payload itself is signed, whether or not a header tells its hash.
    Sts {
        /// SHA-256 of the payload as it was received, in lower-case hex.
        body_sha256: &'a str,
    },
}

impl Service<'_> {
    /// Returns its name in the scope of a credential.
    pub fn name(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Sts { .. } => "sts",
        }
    }
}

/// Returns what the request claims, without judging it.
///
/// `head` must be as it was received: its path neither normalised nor decoded, its host and headers untouched.
///
/// Errors: [`Malformed`], with AWS's own texts, for two claims at once, for retired signature versions, and for signatures
/// that cannot be judged. A signature that is only wrong is no error here.
pub fn claim(head: &Parts, options: ClaimOptions<'_>) -> Result<Claim, Malformed> {
    let query = Query::parse(head.uri.query().unwrap_or(""));
    let (is_presigned, is_presigned_v2) = (query.is_presigned(), query.is_presigned_v2());
    let authorizations = head.headers.get_all(http::header::AUTHORIZATION);
    let mechanisms =
        authorizations.iter().count() + usize::from(is_presigned) + usize::from(is_presigned_v2);
    match mechanisms {
        0 => {
            check_unsigned_payload(&head.headers)?;
            Ok(Claim::Anonymous)
        }
        1 if is_presigned_v2 => Err(Malformed::unsupported_mechanism()),
        // A presigned URL does not cover its body, which is all that matters to the other service.
        1 if is_presigned && options.service != Service::S3 => {
            Err(Malformed::unsupported_mechanism())
        }
        1 if is_presigned => signed_in_query(head, &query)?.into_claim(head, options),
        1 => signed_in_header(head, options.service)?.into_claim(head, options),
        _ => Err(Malformed::Argument {
            name: "Authorization",
            reason: "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string \
                     parameter or the Authorization header should be specified"
                .into(),
        }),
    }
}

/// Requires that a request without a signature does not claim that its payload has one.
fn check_unsigned_payload(headers: &HeaderMap) -> Result<(), Malformed> {
    let payload_hash = content_sha256_header(headers)?;
    match payload_hash.map(ContentSha256::parse).transpose()? {
        None | Some(ContentSha256::Unsigned | ContentSha256::UnsignedChunksWithTrailer) => Ok(()),
        Some(_) => Err(Malformed::Request(
            "Anonymous requests don't support this x-amz-content-sha256 value. Please use UNSIGNED-PAYLOAD or \
             STREAMING-UNSIGNED-PAYLOAD-TRAILER."
                .into(),
        )),
    }
}

fn signed_in_header<'a>(head: &'a Parts, service: Service<'a>) -> Result<Signed<'a>, Malformed> {
    let value = header(&head.headers, "authorization")
        .ok_or_else(|| malformed_header("it is not printable ASCII."))?;
    let authorization = Authorization::from_header(value, service.name())?;
    let signed_at = header_date(&head.headers)?;
    authorization
        .check_day(signed_at)
        .map_err(|reason| malformed_header(&reason))?;
    let announced = content_sha256_header(&head.headers)?;
    let payload_hash = match (service, announced) {
        (Service::S3, Some(announced)) => announced,
        (Service::S3, None) => {
            let text = "Missing required header for this request: x-amz-content-sha256";
            return Err(Malformed::Request(text.into()));
        }
        (Service::Sts { body_sha256 }, announced) => {
            if announced.is_some_and(|announced| announced != body_sha256) {
                let text =
                    "The provided 'x-amz-content-sha256' header does not match what was computed.";
                return Err(Malformed::Request(text.into()));
            }
            body_sha256
        }
    };
    Ok(Signed {
        kind: SignatureKind::Header,
        authorization,
        signed_at,
        payload_hash,
        session_token: header(&head.headers, "x-amz-security-token"),
    })
}

/// A signature with everything that both of its places give.
pub(crate) struct Signed<'a> {
    pub(crate) kind: SignatureKind,
    pub(crate) authorization: Authorization,
    pub(crate) signed_at: OffsetDateTime,
    /// The text of `x-amz-content-sha256`.
    pub(crate) payload_hash: &'a str,
    pub(crate) session_token: Option<&'a str>,
}

impl Signed<'_> {
    fn into_claim(self, head: &Parts, options: ClaimOptions<'_>) -> Result<Claim, Malformed> {
        if let Some(expected) = options.region {
            let is_query = self.kind != SignatureKind::Header;
            self.authorization.check_region(expected, is_query)?;
        }
        let signed_headers = &self.authorization.signed_headers;
        // Clients with an empty AWS_SESSION_TOKEN send an empty token.
        let session_token = self.session_token.filter(|token| !token.is_empty());
        require_signed(&head.headers, signed_headers)?;
        let content_sha256 = ContentSha256::parse(self.payload_hash)?;
        let canonical_requests =
            canonical::candidates(head, signed_headers, self.payload_hash, options)?;
        Ok(Claim::Signed(Box::new(Evidence {
            kind: self.kind,
            access_key_id: self.authorization.access_key_id,
            scope: self.authorization.scope,
            signed_at: self.signed_at,
            canonical_requests,
            signature: self.authorization.signature,
            content_sha256,
            decoded_length: decoded_length(&head.headers, content_sha256)?,
            session_token: session_token.map(str::to_owned),
        })))
    }
}

/// Requires that the signature covers the host and every `x-amz-*` header, so that nobody can add one on the way.
///
/// `x-amz-content-sha256` is covered without being named: its value is the last line of the canonical request.
fn require_signed(headers: &HeaderMap, signed_headers: &[String]) -> Result<(), Malformed> {
    let is_signed = |name: &str| signed_headers.iter().any(|signed| signed == name);
    let host = std::iter::once("host");
    let amz = headers
        .keys()
        .map(http::HeaderName::as_str)
        .filter(|name| name.starts_with("x-amz-") && *name != "x-amz-content-sha256");
    let unsigned: Vec<&str> = host.chain(amz).filter(|name| !is_signed(name)).collect();
    if unsigned.is_empty() {
        return Ok(());
    }
    Err(Malformed::HeadersNotSigned {
        headers: unsigned.join(", "),
    })
}

/// Returns the time that was signed: `x-amz-date`, or `Date` without it.
fn header_date(headers: &HeaderMap) -> Result<OffsetDateTime, Malformed> {
    let date = if headers.contains_key("x-amz-date") {
        header(headers, "x-amz-date").and_then(timestamp::parse_date_header)
    } else {
        header(headers, "date").and_then(timestamp::parse_date_header)
    };
    date.ok_or(Malformed::Denied(
        "AWS authentication requires a valid Date or x-amz-date header",
    ))
}

/// Returns the text of `x-amz-content-sha256`; `None` if it is absent. Errors: [`Malformed::Request`] for two of them.
pub(crate) fn content_sha256_header(headers: &HeaderMap) -> Result<Option<&str>, Malformed> {
    let mut values = headers.get_all("x-amz-content-sha256").iter();
    let (first, second) = (values.next(), values.next());
    match (first.map(http::HeaderValue::to_str), second) {
        (None, _) => Ok(None),
        (Some(Ok(text)), None) => Ok(Some(text)),
        _ => Err(Malformed::Request(
            "The value of x-amz-content-sha256 header is invalid.".into(),
        )),
    }
}

/// Returns the length of the object's own bytes. Framed payloads have to announce it.
fn decoded_length(headers: &HeaderMap, content: ContentSha256) -> Result<Option<u64>, Malformed> {
    let name = if content.is_chunked() {
        "x-amz-decoded-content-length"
    } else {
        "content-length"
    };
    match header(headers, name) {
        None if content.is_chunked() => Err(Malformed::MissingContentLength),
        None => Ok(None),
        Some(text) => text
            .trim()
            .parse()
            .map(Some)
            .map_err(|_| Malformed::Argument {
                name,
                reason: format!("{name} must be a number of bytes"),
            }),
    }
}

/// Returns a header's first value, if it is printable ASCII.
pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::sigv4::SigningKey;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    /// The secret of AWS's published examples.
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

    fn head(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn evidence(head: &Parts) -> Evidence {
        match claim(head, ClaimOptions::default()) {
            Ok(Claim::Signed(evidence)) => *evidence,
            other => panic!("no signature: {other:?}"),
        }
    }

    fn is_authentic(evidence: &Evidence) -> bool {
        let key = SigningKey::derive(SECRET, &evidence.scope);
        evidence.verify(&key).is_ok()
    }

    fn authorization(signed_headers: &str, signature: &str) -> String {
        format!(
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
             SignedHeaders={signed_headers},Signature={signature}"
        )
    }

    /// Method, target, authorization, payload hash, and further headers.
    type Example<'a> = (&'a str, &'a str, &'a str, &'a str, &'a [(&'a str, &'a str)]);

    /// The four examples of
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html#example-signature-calculations>.
    #[test]
    fn the_published_header_examples_verify() {
        let common = [
            ("host", "examplebucket.s3.amazonaws.com"),
            ("x-amz-date", "20130524T000000Z"),
        ];
        let get = authorization(
            "host;range;x-amz-content-sha256;x-amz-date",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        );
        let put = authorization(
            "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        );
        let lifecycle = authorization(
            "host;x-amz-content-sha256;x-amz-date",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        );
        let list = authorization(
            "host;x-amz-content-sha256;x-amz-date",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        );
        let welcome = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
        let examples: [Example<'_>; 4] = [
            ("GET", "/test.txt", &get, EMPTY, &[("range", "bytes=0-9")]),
            (
                "PUT",
                "/test$file.text",
                &put,
                welcome,
                &[
                    ("date", "Fri, 24 May 2013 00:00:00 GMT"),
                    ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
                ],
            ),
            ("GET", "/?lifecycle", &lifecycle, EMPTY, &[]),
            ("GET", "/?max-keys=2&prefix=J", &list, EMPTY, &[]),
        ];
        for (method, uri, authorization, payload_hash, own) in examples {
            let mut headers = common.to_vec();
            headers.extend([
                ("authorization", authorization),
                ("x-amz-content-sha256", payload_hash),
            ]);
            headers.extend(own);
            let evidence = evidence(&head(method, uri, &headers));
            assert!(is_authentic(&evidence), "{method} {uri}: {evidence:#?}");
            assert_eq!(evidence.access_key_id, "AKIAIOSFODNN7EXAMPLE");
            assert_eq!(evidence.signed_at, datetime!(2013-05-24 00:00 UTC));
            let elsewhere = evidence_of_other_path(method, &headers);
            assert!(!is_authentic(&elsewhere), "{method}: any path would do");
        }
    }

    fn evidence_of_other_path(method: &str, headers: &[(&str, &str)]) -> Evidence {
        evidence(&head(method, "/other", headers))
    }

    const HOST: (&str, &str) = ("host", "examplebucket.s3.amazonaws.com");

    fn refusal(head: &Parts) -> Malformed {
        claim(head, ClaimOptions::default()).unwrap_err()
    }

    #[test]
    fn no_signature_is_an_anonymous_claim() {
        let anonymous = head("GET", "/b/k?prefix=X-Amz-Signature&Signature=x", &[HOST]);
        assert_eq!(
            claim(&anonymous, ClaimOptions::default()),
            Ok(Claim::Anonymous)
        );
    }

    #[test]
    fn two_mechanisms_at_once_are_refused() {
        let authorization = authorization("host", "ff");
        let both = head(
            "GET",
            "/b/k?X-Amz-Signature=ff",
            &[HOST, ("authorization", &authorization)],
        );
        assert!(matches!(
            refusal(&both),
            Malformed::Argument {
                name: "Authorization",
                ..
            }
        ));
        let twice = [
            HOST,
            ("authorization", &authorization),
            ("authorization", &authorization),
        ];
        assert!(matches!(
            refusal(&head("GET", "/", &twice)),
            Malformed::Argument { .. }
        ));
    }

    #[test]
    fn retired_signature_versions_are_refused() {
        let v2 = head(
            "GET",
            "/b/k?AWSAccessKeyId=a&Expires=1&Signature=b",
            &[HOST],
        );
        assert_eq!(refusal(&v2), Malformed::unsupported_mechanism());
        let v2 = head("GET", "/b/k", &[HOST, ("authorization", "AWS a:b")]);
        assert_eq!(refusal(&v2), Malformed::unsupported_mechanism());
    }

    /// Returns a head that is signed well but for what `change` does to its headers.
    fn signed_head(change: impl FnOnce(&mut HeaderMap)) -> Parts {
        let authorization = authorization("host;x-amz-content-sha256;x-amz-date", "ff");
        let headers = [
            HOST,
            ("x-amz-date", "20130524T000000Z"),
            ("x-amz-content-sha256", EMPTY),
            ("authorization", &authorization),
        ];
        let mut head = head("PUT", "/b/k", &headers);
        change(&mut head.headers);
        head
    }

    #[test]
    fn every_amz_header_must_be_signed() {
        assert!(claim(&signed_head(|_| {}), ClaimOptions::default()).is_ok());
        let smuggled = signed_head(|headers| {
            headers.insert("x-amz-acl", "public-read".parse().unwrap());
            headers.insert("x-amz-meta-a", "b".parse().unwrap());
            headers.insert(
                "x-amzn-trace-id",
                "added by a load balancer".parse().unwrap(),
            );
        });
        assert_eq!(
            refusal(&smuggled),
            Malformed::HeadersNotSigned {
                headers: "x-amz-acl, x-amz-meta-a".into()
            }
        );
    }

    #[test]
    fn a_header_signature_needs_a_date_and_a_payload_hash() {
        let undated = signed_head(|headers| drop(headers.remove("x-amz-date")));
        assert!(matches!(refusal(&undated), Malformed::Denied(_)));
        let misdated = signed_head(|headers| {
            headers.insert("x-amz-date", "soon".parse().unwrap());
            headers.insert("date", "Fri, 24 May 2013 00:00:00 GMT".parse().unwrap());
        });
        assert!(matches!(refusal(&misdated), Malformed::Denied(_)));
        let dated = signed_head(|headers| {
            headers.remove("x-amz-date");
            headers.insert("date", "Fri, 24 May 2013 10:20:30 GMT".parse().unwrap());
        });
        assert_eq!(
            evidence(&dated).signed_at,
            datetime!(2013-05-24 10:20:30 UTC)
        );
        let other_day = signed_head(|headers| {
            drop(headers.insert("x-amz-date", "20130525T000000Z".parse().unwrap()));
        });
        assert!(
            matches!(refusal(&other_day), Malformed::Header(text) if text.contains("Invalid credential date"))
        );
        let unhashed = signed_head(|headers| drop(headers.remove("x-amz-content-sha256")));
        assert!(
            matches!(refusal(&unhashed), Malformed::Request(text) if text.starts_with("Missing required header"))
        );
        let twice = signed_head(|headers| {
            let _ = headers.append("x-amz-content-sha256", EMPTY.parse().unwrap());
        });
        assert!(
            matches!(refusal(&twice), Malformed::Request(text) if text.ends_with("is invalid."))
        );
    }

    #[test]
    fn framed_payloads_announce_their_decoded_length() {
        let framed = |length: Option<&str>| {
            let authorization = authorization("host;x-amz-date;x-amz-decoded-content-length", "ff");
            signed_head(|headers| {
                headers.insert("authorization", authorization.parse().unwrap());
                headers.insert(
                    "x-amz-content-sha256",
                    "STREAMING-UNSIGNED-PAYLOAD-TRAILER".parse().unwrap(),
                );
                headers.insert("content-length", "99".parse().unwrap());
                if let Some(length) = length {
                    headers.insert("x-amz-decoded-content-length", length.parse().unwrap());
                }
            })
        };
        assert_eq!(evidence(&framed(Some("42"))).decoded_length, Some(42));
        assert_eq!(refusal(&framed(None)), Malformed::MissingContentLength);
        assert!(matches!(
            refusal(&framed(Some("-1"))),
            Malformed::Argument { .. }
        ));
        let plain =
            signed_head(|headers| drop(headers.insert("content-length", "99".parse().unwrap())));
        assert_eq!(evidence(&plain).decoded_length, Some(99));
    }
}
