//! The parts of a signature, from the Authorization header or from the query of a presigned URL.

use time::OffsetDateTime;

use crate::sigv4::evidence::Scope;
use crate::sigv4::malformed::Malformed;
use crate::sigv4::timestamp;

/// The only algorithm that is verified.
pub(crate) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

const CREDENTIAL_SHAPE: &str = "expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".";

/// A signature with what it names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Authorization {
    pub(crate) access_key_id: String,
    pub(crate) scope: Scope,
    /// Lower-case, sorted, without duplicates.
    pub(crate) signed_headers: Vec<String>,
    /// As sent.
    pub(crate) signature: String,
}

impl Authorization {
    /// Puts the three components together. The error is a sentence without the place where they were found.
    pub(crate) fn new(
        credential: &str,
        service: &str,
        signed_headers: &str,
        signature: &str,
    ) -> Result<Self, String> {
        let (access_key_id, scope) = parse_credential(credential, service)?;
        let mut signed_headers: Vec<String> = signed_headers
            .split(';')
            .filter(|name| !name.is_empty())
            .map(str::to_ascii_lowercase)
            .collect();
        signed_headers.sort_unstable();
        signed_headers.dedup();
        Ok(Self {
            access_key_id,
            scope,
            signed_headers,
            signature: signature.to_owned(),
        })
    }

    /// Requires that the credential is of the day that was signed. The error is a sentence as in [`Authorization::new`].
    pub(crate) fn check_day(&self, signed_at: OffsetDateTime) -> Result<(), String> {
        let signed = timestamp::iso_basic(signed_at);
        if signed.starts_with(&self.scope.date) {
            return Ok(());
        }
        Err(format!(
            "Invalid credential date \"{}\". This date is not the same as X-Amz-Date: \"{signed}\".",
            self.scope.date
        ))
    }

    /// Requires that the credential is for this region.
    ///
    /// Errors: [`Malformed::Region`], which names it.
    pub(crate) fn check_region(&self, expected: &str, is_query: bool) -> Result<(), Malformed> {
        let region = &self.scope.region;
        if region == expected {
            return Ok(());
        }
        let reason = format!("the region '{region}' is wrong; expecting '{expected}'");
        let reason = if is_query {
            format!("Error parsing the X-Amz-Credential parameter; {reason}")
        } else {
            format!("The authorization header is malformed; {reason}")
        };
        let expected = expected.to_owned();
        Err(Malformed::Region {
            reason,
            is_query,
            expected,
        })
    }

    /// Parses the Authorization header's value.
    ///
    /// The components come in any order, separated by `,` with or without blanks; their names are case-sensitive.
    /// Errors: the one that AWS gives for each kind of other value.
    pub(crate) fn from_header(value: &str, service: &str) -> Result<Self, Malformed> {
        let (scheme, components) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
        match scheme {
            ALGORITHM => {}
            // The first is SigV2, the second is SigV4A.
            "AWS" | "AWS4-ECDSA-P256-SHA256" => return Err(Malformed::unsupported_mechanism()),
            _ => {
                return Err(Malformed::Argument {
                    name: "Authorization",
                    reason: "Unsupported Authorization Type".into(),
                });
            }
        }
        let [mut credential, mut signed_headers, mut signature] = [None; 3];
        for component in components.split(',').map(str::trim) {
            let (name, value) = component.split_once('=').ok_or_else(header_needs_three)?;
            let slot = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed_headers,
                "Signature" => &mut signature,
                _ => return Err(header_needs_three()),
            };
            if slot.replace(value).is_some() {
                return Err(header_needs_three());
            }
        }
        let (Some(credential), Some(signed_headers), Some(signature)) =
            (credential, signed_headers, signature)
        else {
            return Err(header_needs_three());
        };
        Self::new(credential, service, signed_headers, signature)
            .map_err(|reason| malformed_header(&reason))
    }
}

/// Returns the error of a bad Authorization header.
pub(crate) fn malformed_header(reason: &str) -> Malformed {
    Malformed::Header(format!("The authorization header is malformed; {reason}"))
}

fn header_needs_three() -> Malformed {
    malformed_header(
        "the authorization header requires three components: Credential, SignedHeaders, and Signature.",
    )
}

/// Splits a credential from the right, because access key ids may hold slashes. It must be for `expected`.
fn parse_credential(credential: &str, expected: &str) -> Result<(String, Scope), String> {
    let mut from_right = credential.rsplitn(5, '/');
    let parts = [(); 5].map(|()| from_right.next());
    let [
        Some(terminal),
        Some(service),
        Some(region),
        Some(date),
        Some(access_key_id),
    ] = parts
    else {
        return Err(format!("the Credential is mal-formed; {CREDENTIAL_SHAPE}"));
    };
    if access_key_id.is_empty() {
        return Err(format!("the Credential is mal-formed; {CREDENTIAL_SHAPE}"));
    }
    if terminal != "aws4_request" {
        return Err(format!(
            "incorrect terminal \"{terminal}\". This endpoint uses \"aws4_request\"."
        ));
    }
    if service != expected {
        return Err(format!(
            "incorrect service \"{service}\". This endpoint belongs to \"{expected}\"."
        ));
    }
    if date.len() != 8 || !date.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(format!(
            "incorrect date format \"{date}\". This date in the credential must be in the format \"yyyyMMdd\"."
        ));
    }
    let scope = Scope {
        date: date.to_owned(),
        region: region.to_owned(),
        service: service.to_owned(),
    };
    Ok((access_key_id.to_owned(), scope))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIAL: &str = "Credential=a/b/20130524/us-east-1/s3/aws4_request";

    #[test]
    fn components_come_in_any_order_with_or_without_blanks() {
        let expected = Authorization {
            access_key_id: "a/b".into(),
            scope: Scope {
                date: "20130524".into(),
                region: "us-east-1".into(),
                service: "s3".into(),
            },
            signed_headers: vec!["host".into(), "x-amz-date".into()],
            signature: "ff".into(),
        };
        for header in [
            format!("AWS4-HMAC-SHA256 {CREDENTIAL}, SignedHeaders=host;x-amz-date, Signature=ff"),
            format!("AWS4-HMAC-SHA256 {CREDENTIAL},SignedHeaders=host;x-amz-date,Signature=ff"),
            format!(
                "AWS4-HMAC-SHA256  Signature=ff,  SignedHeaders=X-Amz-Date;host;host,{CREDENTIAL} "
            ),
        ] {
            assert_eq!(
                Authorization::from_header(&header, "s3").as_ref(),
                Ok(&expected),
                "{header}"
            );
        }
    }

    #[test]
    fn an_empty_region_is_a_region() {
        let parsed = Authorization::new("k/20130524//s3/aws4_request", "s3", "host", "ff").unwrap();
        assert_eq!(parsed.scope.line(), "20130524//s3/aws4_request");
    }

    #[test]
    fn each_fault_gets_the_error_that_aws_gives() {
        let code = |header: &str| match Authorization::from_header(header, "s3").unwrap_err() {
            Malformed::Header(text) => format!(
                "malformed: {}",
                &text["The authorization header is malformed; ".len()..]
            ),
            Malformed::Request(text) | Malformed::Argument { reason: text, .. } => text,
            other => format!("unexpected: {other:?}"),
        };
        let cases = [
            ("AWS AK:c2ln", "The authorization mechanism"),
            (
                "AWS4-ECDSA-P256-SHA256 Credential=x",
                "The authorization mechanism",
            ),
            ("Basic YTpi", "Unsupported Authorization Type"),
            ("", "Unsupported Authorization Type"),
            (
                "AWS4-HMAC-SHA256",
                "malformed: the authorization header requires three",
            ),
            (
                "AWS4-HMAC-SHA256 credential=x, SignedHeaders=h, Signature=s",
                "malformed: the authorization header requires",
            ),
            (
                "AWS4-HMAC-SHA256 Signature=r, SignedHeaders=h, Signature=s",
                "malformed: the authorization header requires",
            ),
            (
                "AWS4-HMAC-SHA256 Credential=x, SignedHeaders=h, Signature=s",
                "malformed: the Credential is mal-formed",
            ),
            (
                "AWS4-HMAC-SHA256 Credential=/20130524/r/s3/aws4_request, SignedHeaders=h, Signature=s",
                "malformed: the Credential is mal-formed",
            ),
            (
                "AWS4-HMAC-SHA256 Credential=k/20130524/r/s3/aws5, SignedHeaders=h, Signature=s",
                "malformed: incorrect terminal",
            ),
            (
                "AWS4-HMAC-SHA256 Credential=k/20130524/r/iam/aws4_request, SignedHeaders=h, Signature=s",
                "malformed: incorrect service",
            ),
            (
                "AWS4-HMAC-SHA256 Credential=k/2013-5-2/r/s3/aws4_request, SignedHeaders=h, Signature=s",
                "malformed: incorrect date format",
            ),
        ];
        for (header, expected) in cases {
            assert!(
                code(header).starts_with(expected),
                "{header}: {}",
                code(header)
            );
        }
    }
}
