//! The claim of a presigned URL: the signature and everything it names are query parameters.

use http::request::Parts;
use percent_encoding::percent_decode_str;

use crate::sigv4::authorization::{ALGORITHM, Authorization};
use crate::sigv4::claim::{Signed, content_sha256_header, header};
use crate::sigv4::evidence::{ContentSha256, SignatureKind};
use crate::sigv4::malformed::Malformed;
use crate::sigv4::timestamp;

/// Longest validity of a presigned URL: seven days, in seconds.
const MAX_EXPIRES_SECS: u32 = 604_800;

/// The parameters of a raw query, decoded.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(raw: &str) -> Self {
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let pairs = raw.split('&').map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Self(pairs.collect())
    }

    /// Reports whether a signature of version 4 was put into the query.
    pub(crate) fn is_presigned(&self) -> bool {
        ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature"]
            .into_iter()
            .any(|name| self.get(name).is_some())
    }

    /// Reports whether a signature of the retired version 2 was put into the query.
    pub(crate) fn is_presigned_v2(&self) -> bool {
        self.get("AWSAccessKeyId").is_some() && self.get("Signature").is_some()
    }

    /// Returns the first value of a parameter. Names are case-sensitive.
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(candidate, _)| candidate == name);
        found.map(|(_, value)| value.as_str())
    }

    fn required(&self, name: &str) -> Result<&str, Malformed> {
        self.get(name).ok_or_else(|| {
            Malformed::Query(
                "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, \
                 X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
                    .into(),
            )
        })
    }
}

/// Returns the signature that a presigned URL carries.
///
/// Errors: [`Malformed::Query`] with AWS's text for each missing or impossible parameter.
pub(crate) fn signed_in_query<'a>(
    head: &'a Parts,
    query: &'a Query,
) -> Result<Signed<'a>, Malformed> {
    match query.required("X-Amz-Algorithm")? {
        ALGORITHM => {}
        "AWS4-ECDSA-P256-SHA256" => return Err(Malformed::unsupported_mechanism()),
        _ => {
            let text = format!("X-Amz-Algorithm only supports \"{ALGORITHM}\"");
            return Err(Malformed::Query(text));
        }
    }
    let credential = query.required("X-Amz-Credential")?;
    let signed_headers = query.required("X-Amz-SignedHeaders")?;
    let signature = query.required("X-Amz-Signature")?;
    let authorization =
        Authorization::new(credential, "s3", signed_headers, signature).map_err(|reason| {
            Malformed::Query(format!(
                "Error parsing the X-Amz-Credential parameter; {reason}"
            ))
        })?;
    let signed_at = timestamp::parse_iso_basic(query.required("X-Amz-Date")?).ok_or_else(|| {
        let text = "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"";
        Malformed::Query(text.into())
    })?;
    authorization
        .check_day(signed_at)
        .map_err(Malformed::Query)?;
    let expires_secs = expires_secs(query.required("X-Amz-Expires")?)?;
    let payload_hash = match query.get("X-Amz-Content-Sha256") {
        Some(value) => value,
        None => content_sha256_header(&head.headers)?.unwrap_or(ContentSha256::UNSIGNED),
    };
    let session_token = query.get("X-Amz-Security-Token");
    Ok(Signed {
        kind: SignatureKind::Query { expires_secs },
        authorization,
        signed_at,
        payload_hash,
        session_token: session_token.or_else(|| header(&head.headers, "x-amz-security-token")),
    })
}

fn expires_secs(text: &str) -> Result<u32, Malformed> {
    let refused = |reason: &str| Err(Malformed::Query(reason.into()));
    // Wider than the limit, so that each kind of wrong number gets its own text.
    let Ok(seconds) = text.parse::<i64>() else {
        return refused("X-Amz-Expires should be a number");
    };
    if seconds < 0 {
        return refused("X-Amz-Expires must be non-negative");
    }
    match u32::try_from(seconds) {
        Ok(seconds) if seconds <= MAX_EXPIRES_SECS => Ok(seconds),
        _ => refused(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than \
             604800 seconds",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sigv4::{Claim, ClaimOptions, Evidence, SigningKey, claim};

    const PRESIGNED: &str = "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
        &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
        &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
        &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";

    fn claimed(uri: &str) -> Result<Claim, Malformed> {
        let request = http::Request::get(uri).header("host", "examplebucket.s3.amazonaws.com");
        let (head, ()) = request.body(()).unwrap().into_parts();
        claim(&head, ClaimOptions::default())
    }

    fn evidence(uri: &str) -> Evidence {
        match claimed(uri) {
            Ok(Claim::Signed(evidence)) => *evidence,
            other => panic!("no signature: {other:?}"),
        }
    }

    /// With the secret of AWS's published examples.
    fn is_authentic(evidence: &Evidence) -> bool {
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        evidence
            .verify(&SigningKey::derive(secret, &evidence.scope))
            .is_ok()
    }

    /// The example of <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>.
    #[test]
    fn the_published_presigned_example_verifies() {
        let evidence = evidence(PRESIGNED);
        assert!(is_authentic(&evidence), "{evidence:#?}");
        assert_eq!(
            evidence.kind,
            SignatureKind::Query {
                expires_secs: 86_400
            }
        );
        assert_eq!(evidence.content_sha256, ContentSha256::Unsigned);
        let longer = PRESIGNED.replace("Expires=86400", "Expires=86401");
        assert!(!is_authentic(&self::evidence(&longer)));
    }

    #[test]
    fn presigned_urls_have_an_error_for_each_fault() {
        let refusal_of = |from: &str, to: &str| {
            assert!(PRESIGNED.contains(from), "{from}");
            claimed(&PRESIGNED.replace(from, to)).unwrap_err()
        };
        let cases = [
            (
                "Expires=86400",
                "Expires=soon",
                "X-Amz-Expires should be a number",
            ),
            (
                "Expires=86400",
                "Expires=-1",
                "X-Amz-Expires must be non-negative",
            ),
            (
                "Expires=86400",
                "Expires=604801",
                "X-Amz-Expires must be less than a week",
            ),
            (
                "&X-Amz-Expires=86400",
                "",
                "Query-string authentication version 4 requires",
            ),
            (
                "&X-Amz-Signature=",
                "&x=",
                "Query-string authentication version 4 requires",
            ),
            (
                "T000000Z",
                "",
                "X-Amz-Date must be in the ISO8601 Long Format",
            ),
            ("Date=20130524", "Date=20130525", "Invalid credential date"),
            (
                "AKIAIOSFODNN7EXAMPLE%2F2013",
                "2013",
                "Error parsing the X-Amz-Credential parameter; ",
            ),
            (
                "=AWS4-HMAC-SHA256",
                "=AWS4-HMAC-SHA1",
                "X-Amz-Algorithm only supports",
            ),
        ];
        for (from, to, expected) in cases {
            let refusal = refusal_of(from, to);
            assert!(
                matches!(&refusal, Malformed::Query(text) if text.starts_with(expected)),
                "{to}: {refusal:?}"
            );
        }
        assert!(matches!(
            refusal_of("=AWS4-HMAC-SHA256", "=AWS4-ECDSA-P256-SHA256"),
            Malformed::Request(_)
        ));
        assert_eq!(
            refusal_of("SignedHeaders=host", "SignedHeaders=range"),
            Malformed::HeadersNotSigned {
                headers: "host".into()
            }
        );
    }

    #[test]
    fn a_presigned_url_may_sign_a_digest_and_carry_a_token() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let with = format!("{PRESIGNED}&X-Amz-Content-Sha256={empty}&X-Amz-Security-Token=t%2F1");
        let evidence = evidence(&with);
        assert!(matches!(evidence.content_sha256, ContentSha256::Digest(_)));
        assert!(evidence.canonical_requests[0].ends_with(empty));
        assert_eq!(evidence.session_token.as_deref(), Some("t/1"));
    }
}
