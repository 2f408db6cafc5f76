//! The claim of a browser's form: the policy is the string to sign, and the rest of the signature lies in fields.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-authentication-HTTPPOST.html>.

use time::OffsetDateTime;

use crate::sigv4::authorization::{ALGORITHM, Authorization};
use crate::sigv4::evidence::{ContentSha256, Evidence, SignatureKind};
use crate::sigv4::malformed::Malformed;
use crate::sigv4::timestamp;

/// Returns what a form with this policy claims, without judging it.
///
/// `policy` is the field as it was received, still in base64; `expires_at` is what it says of itself; `region` is the one
/// that is required, if one is; `field` finds other fields by their lower-case names.
///
/// Errors: [`Malformed::Argument`] for a field that is missing or impossible, [`Malformed::Request`] for a signature of
/// another version.
pub fn claim_form<'a>(
    policy: &str,
    expires_at: OffsetDateTime,
    region: Option<&str>,
    field: impl Fn(&str) -> Option<&'a str>,
) -> Result<Evidence, Malformed> {
    let is_v2 = field("awsaccesskeyid").is_some() || field("signature").is_some();
    if is_v2 && field("x-amz-signature").is_none() {
        return Err(Malformed::unsupported_mechanism());
    }
    let required = |name: &'static str| {
        let value = field(&name.to_ascii_lowercase()).filter(|value| !value.is_empty());
        value.ok_or_else(|| {
            let reason = format!(
                "Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of the fields."
            );
            Malformed::Argument { name, reason }
        })
    };
    match required("X-Amz-Algorithm")? {
        ALGORITHM => {}
        "AWS4-ECDSA-P256-SHA256" => return Err(Malformed::unsupported_mechanism()),
        _ => {
            let reason = format!("X-Amz-Algorithm only supports \"{ALGORITHM}\"");
            return Err(wrong("X-Amz-Algorithm", reason));
        }
    }
    let signature = required("X-Amz-Signature")?;
    let authorization = Authorization::new(required("X-Amz-Credential")?, "s3", "", signature)
        .map_err(|reason| wrong("X-Amz-Credential", reason))?;
    let signed_at = timestamp::parse_iso_basic(required("X-Amz-Date")?).ok_or_else(|| {
        let reason = "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"";
        wrong("X-Amz-Date", reason.into())
    })?;
    authorization
        .check_day(signed_at)
        .map_err(|reason| wrong("X-Amz-Credential", reason))?;
    if let Some(expected) = region {
        authorization.check_region(expected, true)?;
    }
    let session_token = field("x-amz-security-token").filter(|token| !token.is_empty());
    Ok(Evidence {
        kind: SignatureKind::Form { expires_at },
        access_key_id: authorization.access_key_id,
        scope: authorization.scope,
        signed_at,
        canonical_requests: vec![policy.to_owned()],
        signature: authorization.signature,
        content_sha256: ContentSha256::Unsigned,
        decoded_length: None,
        session_token: session_token.map(str::to_owned),
    })
}

fn wrong(name: &'static str, reason: String) -> Malformed {
    Malformed::Argument { name, reason }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::sigv4::SigningKey;

    const EXPIRES_AT: OffsetDateTime = datetime!(2015-12-30 12:00 UTC);

    /// The example of <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-post-example.html>.
    const POLICY: &str = "eyAiZXhwaXJhdGlvbiI6ICIyMDE1LTEyLTMwVDEyOjAwOjAwLjAwMFoiLA0KICAiY29uZGl0aW9ucyI6IFsNCiAgICB7ImJ1Y2tl\
        dCI6ICJzaWd2NGV4YW1wbGVidWNrZXQifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRrZXkiLCAidXNlci91c2VyMS8iXSwNCiAg\
        ICB7ImFjbCI6ICJwdWJsaWMtcmVhZCJ9LA0KICAgIHsic3VjY2Vzc19hY3Rpb25fcmVkaXJlY3QiOiAiaHR0cDovL3NpZ3Y0ZXhh\
        bXBsZWJ1Y2tldC5zMy5hbWF6b25hd3MuY29tL3N1Y2Nlc3NmdWxfdXBsb2FkLmh0bWwifSwNCiAgICBbInN0YXJ0cy13aXRoIiwg\
        IiRDb250ZW50LVR5cGUiLCAiaW1hZ2UvIl0sDQogICAgeyJ4LWFtei1tZXRhLXV1aWQiOiAiMTQzNjUxMjM2NTEyNzQifSwNCiAg\
        ICB7IngtYW16LXNlcnZlci1zaWRlLWVuY3J5cHRpb24iOiAiQUVTMjU2In0sDQogICAgWyJzdGFydHMtd2l0aCIsICIkeC1hbXot\
        bWV0YS10YWciLCAiIl0sDQoNCiAgICB7IngtYW16LWNyZWRlbnRpYWwiOiAiQUtJQUlPU0ZPRE5ON0VYQU1QTEUvMjAxNTEyMjkv\
        dXMtZWFzdC0xL3MzL2F3czRfcmVxdWVzdCJ9LA0KICAgIHsieC1hbXotYWxnb3JpdGhtIjogIkFXUzQtSE1BQy1TSEEyNTYifSwN\
        CiAgICB7IngtYW16LWRhdGUiOiAiMjAxNTEyMjlUMDAwMDAwWiIgfQ0KICBdDQp9";

    const FIELDS: [(&str, &str); 4] = [
        ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
        (
            "x-amz-credential",
            "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request",
        ),
        ("x-amz-date", "20151229T000000Z"),
        (
            "x-amz-signature",
            "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e",
        ),
    ];

    /// Claims the published form with one field set to something else; an empty text removes it.
    fn claim_with(name: &str, value: &str) -> Result<Evidence, Malformed> {
        let mut fields = FIELDS.to_vec();
        fields.retain(|(known, _)| *known != name);
        fields.push((name, value));
        claim_form(POLICY, EXPIRES_AT, Some("us-east-1"), |wanted| {
            let found = fields.iter().find(|(known, _)| *known == wanted);
            found
                .map(|(_, value)| *value)
                .filter(|value| !value.is_empty())
        })
    }

    #[test]
    fn the_published_form_verifies_and_no_other_policy_does() {
        let mut evidence = claim_with("x", "").unwrap();
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        let key = SigningKey::derive(secret, &evidence.scope);
        assert_eq!(evidence.verify(&key), Ok(()));
        let expires_at = EXPIRES_AT;
        assert_eq!(evidence.kind, SignatureKind::Form { expires_at });
        evidence.canonical_requests[0].push('=');
        let mismatch = evidence.verify(&key).unwrap_err();
        assert_eq!(mismatch.string_to_sign, evidence.canonical_requests[0]);
        assert_eq!(mismatch.canonical_request, "");
    }

    #[test]
    fn each_field_of_the_signature_is_required_and_checked() {
        for (name, value) in [
            ("x-amz-algorithm", ""),
            ("x-amz-credential", ""),
            ("x-amz-date", ""),
            ("x-amz-signature", ""),
            ("x-amz-algorithm", "AWS4-HMAC-SHA1"),
            ("x-amz-credential", "key"),
            ("x-amz-date", "2015-12-29"),
            ("x-amz-date", "20151230T000000Z"),
        ] {
            let refusal = claim_with(name, value).unwrap_err();
            assert!(
                matches!(refusal, Malformed::Argument { .. }),
                "{name}={value}: {refusal:?}"
            );
        }
        let unsupported = Malformed::unsupported_mechanism();
        let other = claim_with("x-amz-algorithm", "AWS4-ECDSA-P256-SHA256");
        assert_eq!(other.unwrap_err(), unsupported);
        let v2 = |wanted: &str| (wanted == "signature").then_some("c2ln");
        assert_eq!(claim_form(POLICY, EXPIRES_AT, None, v2), Err(unsupported));
        let elsewhere = "AK/20151229/eu-north-1/s3/aws4_request";
        let elsewhere = claim_with("x-amz-credential", elsewhere).unwrap_err();
        assert!(
            matches!(elsewhere, Malformed::Region { .. }),
            "{elsewhere:?}"
        );
    }

    #[test]
    fn a_session_token_goes_along() {
        let evidence = claim_with("x-amz-security-token", "t").unwrap();
        assert_eq!(evidence.session_token.as_deref(), Some("t"));
    }
}
