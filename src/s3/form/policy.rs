//! The policy of a form: until when it counts, and what must hold for each field.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html>.

use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::s3::fault::Fault;
use crate::s3::form::fields::Fields;
use crate::storage::StorageError;

/// Fields that need no condition, besides those that begin with [`IGNORED_PREFIX`].
const UNCONDITIONAL: [&str; 3] = ["x-amz-signature", "file", "policy"];

const IGNORED_PREFIX: &str = "x-ignore-";

/// A policy that was read, but whose signature was not judged.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Policy {
    /// The moment after which it no longer counts.
    pub(super) expires_at: OffsetDateTime,
    conditions: Vec<Condition>,
}

/// What must hold for a field, or for the file's size in bytes. Names are in lower case.
#[derive(Debug, PartialEq, Eq)]
enum Condition {
    Equals(String, String),
    StartsWith(String, String),
    Size(RangeInclusive<u64>),
}

/// The document as it is written; its names are case-sensitive, those of fields are not.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    expiration: Option<String>,
    conditions: Option<Vec<Value>>,
}

impl Policy {
    /// Reads the text of the `policy` field. Errors: InvalidPolicyDocument.
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        // Forms are written by hand, too: white space inside of base64 is no reason to refuse them.
        let compact: String = text.split_ascii_whitespace().collect();
        let document = BASE64
            .decode(compact)
            .map_err(|_| invalid("it is not base64"))?;
        let written: Written = serde_json::from_slice(&document).map_err(invalid)?;
        let expiration = written
            .expiration
            .ok_or_else(|| invalid("Policy missing expiration."))?;
        let conditions = written
            .conditions
            .ok_or_else(|| invalid("Policy missing conditions."))?;
        Ok(Self {
            expires_at: moment(&expiration).ok_or_else(|| {
                invalid(format_args!("Invalid 'expiration' value: '{expiration}'"))
            })?,
            conditions: conditions
                .iter()
                .map(Condition::read)
                .collect::<Result<_, _>>()?,
        })
    }

    /// Checks the fields, the bucket among them, and returns the sizes that the file may have.
    ///
    /// Errors: AccessDenied for a condition that fails, and for a field that no condition mentions.
    pub(super) fn check(
        &self,
        fields: &Fields,
        bucket: &str,
    ) -> Result<RangeInclusive<u64>, Fault> {
        let mut sizes = 0..=u64::MAX;
        for condition in &self.conditions {
            let value = |name: &str| match name {
                "bucket" => Some(bucket),
                _ => fields.get(name),
            };
            let holds = match condition {
                Condition::Equals(name, wanted) => value(name) == Some(wanted),
                Condition::StartsWith(name, prefix) => {
                    value(name).is_some_and(|value| value.starts_with(prefix.as_str()))
                }
                Condition::Size(range) => {
                    sizes = *sizes.start().max(range.start())..=*sizes.end().min(range.end());
                    true
                }
            };
            if !holds {
                return Err(denied(format_args!("Policy Condition failed: {condition}")));
            }
        }
        let extra: Vec<&str> = fields
            .names()
            .chain(["bucket"])
            .filter(|name| !self.mentions(name))
            .collect();
        if extra.is_empty() {
            return Ok(sizes);
        }
        Err(denied(format_args!(
            "Extra input fields: {}",
            extra.join(", ")
        )))
    }

    fn mentions(&self, field: &str) -> bool {
        let is_mentioned = |condition: &Condition| match condition {
            Condition::Equals(name, _) | Condition::StartsWith(name, _) => name == field,
            Condition::Size(_) => false,
        };
        UNCONDITIONAL.contains(&field)
            || field.starts_with(IGNORED_PREFIX)
            || self.conditions.iter().any(is_mentioned)
    }
}

impl Condition {
    fn read(written: &Value) -> Result<Self, Fault> {
        match written {
            Value::Object(pairs) => {
                let mut pairs = pairs.iter();
                let (Some((name, Value::String(wanted))), None) = (pairs.next(), pairs.next())
                else {
                    return Err(invalid(
                        "Invalid Simple-Condition: Simple-Conditions must have exactly one property specified, a text.",
                    ));
                };
                Ok(Self::Equals(name.to_ascii_lowercase(), wanted.clone()))
            }
            Value::Array(items) => Self::read_list(items),
            _ => Err(invalid(
                "Invalid Condition: it is neither an object nor a list.",
            )),
        }
    }

    fn read_list(items: &[Value]) -> Result<Self, Fault> {
        let [Value::String(operator), first, second] = items else {
            return Err(invalid(
                "Invalid Condition: a list has an operator and two values.",
            ));
        };
        let field = |name: &Value| {
            let name = name.as_str().and_then(|name| name.strip_prefix('$'));
            let name =
                name.ok_or_else(|| invalid("Invalid Condition: a field begins with `$`."))?;
            Ok::<_, Fault>(name.to_ascii_lowercase())
        };
        let text = |value: &Value| {
            let text = value.as_str().map(str::to_owned);
            text.ok_or_else(|| invalid("Invalid Condition: a value is no text."))
        };
        match operator.to_ascii_lowercase().as_str() {
            "eq" => Ok(Self::Equals(field(first)?, text(second)?)),
            "starts-with" => Ok(Self::StartsWith(field(first)?, text(second)?)),
            "content-length-range" => Ok(Self::Size(size(first)?..=size(second)?)),
            _ => Err(invalid(format_args!(
                "Invalid Condition operator: {operator}."
            ))),
        }
    }
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Equals(name, wanted) => write!(f, "[\"eq\", \"${name}\", \"{wanted}\"]"),
            Self::StartsWith(name, prefix) => {
                write!(f, "[\"starts-with\", \"${name}\", \"{prefix}\"]")
            }
            Self::Size(range) => {
                write!(
                    f,
                    "[\"content-length-range\", {}, {}]",
                    range.start(),
                    range.end()
                )
            }
        }
    }
}

/// Reads a size; some signers write numbers as texts.
fn size(value: &Value) -> Result<u64, Fault> {
    let number = match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    number.ok_or_else(|| invalid("Invalid content-length-range: a size is no number of bytes."))
}

/// Reads ISO 8601 in UTC, as in `2026-01-02T03:04:05.000Z`.
fn moment(text: &str) -> Option<OffsetDateTime> {
    let is_utc = text.ends_with('Z') && text.get(10..11) == Some("T");
    is_utc.then(|| OffsetDateTime::parse(text, &Rfc3339).ok())?
}

fn invalid(reason: impl std::fmt::Display) -> Fault {
    Fault::new(
        StatusCode::BAD_REQUEST,
        "InvalidPolicyDocument",
        format!("Invalid Policy: {reason}"),
    )
}

fn denied(reason: std::fmt::Arguments<'_>) -> Fault {
    StorageError::denied(format!("Invalid according to Policy: {reason}")).into()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn parse(document: &str) -> Result<Policy, Fault> {
        Policy::parse(&BASE64.encode(document))
    }

    fn with_conditions(conditions: &str) -> Result<Policy, Fault> {
        parse(&format!(
            "{{\"expiration\": \"2026-01-02T03:04:05.000Z\", \"conditions\": [{conditions}]}}"
        ))
    }

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in pairs {
            fields.add(name, (*value).to_owned()).unwrap();
        }
        fields
    }

    fn check(conditions: &str, pairs: &[(&str, &str)]) -> Result<RangeInclusive<u64>, String> {
        let policy = with_conditions(conditions).unwrap();
        let checked = policy.check(&fields(pairs), "b");
        checked.map_err(|fault| {
            format!(
                "{} {}: {}",
                fault.status.as_u16(),
                fault.code,
                fault.message
            )
        })
    }

    #[test]
    fn operators_and_fields_are_case_insensitive() {
        let conditions = r#"{"bUcKeT": "b"}, ["StArTs-WiTh", "$KeY", "foo"], {"AcL": "private"},
            ["eq", "$x-amz-meta-a", ""], ["content-length-range", 1, "1024"]"#;
        let form = [
            ("Key", "foo.txt"),
            ("acl", "private"),
            ("X-Amz-Meta-A", ""),
            ("x-ignore-me", "x"),
            ("policy", "p"),
            ("x-amz-signature", "s"),
        ];
        assert_eq!(check(conditions, &form), Ok(1..=1024));
        let expires_at = datetime!(2026-01-02 03:04:05 UTC);
        assert_eq!(with_conditions("").unwrap().expires_at, expires_at);
    }

    #[test]
    fn every_condition_must_hold_and_mention_every_field() {
        let bucket = r#"{"bucket": "b"}"#;
        for (conditions, form, reason) in [
            (
                r#"{"bucket": "b"}, {"key": "a"}"#,
                &[("key", "b")][..],
                "Policy Condition failed: [\"eq\", \"$key\", \"a\"]",
            ),
            (
                r#"{"bucket": "b"}, ["starts-with", "$key", "a/"]"#,
                &[("key", "a")],
                "Policy Condition failed: [\"starts-with\", \"$key\", \"a/\"]",
            ),
            (
                r#"{"bucket": "other"}"#,
                &[],
                "Policy Condition failed: [\"eq\", \"$bucket\", \"other\"]",
            ),
            // A field that is missing does not even begin with nothing.
            (
                r#"{"bucket": "b"}, ["starts-with", "$x-amz-meta-a", ""]"#,
                &[],
                "Policy Condition failed: [\"starts-with\", \"$x-amz-meta-a\", \"\"]",
            ),
            (
                bucket,
                &[("key", "k"), ("X-Amz-Meta-A", "1")],
                "Extra input fields: key, x-amz-meta-a",
            ),
            ("", &[], "Extra input fields: bucket"),
        ] {
            let expected = format!("403 AccessDenied: Invalid according to Policy: {reason}");
            assert_eq!(check(conditions, form), Err(expected));
        }
    }

    #[test]
    fn several_sizes_are_narrowed() {
        let conditions =
            r#"{"bucket": "b"}, ["content-length-range", 1, 10], ["content-length-range", 5, 20]"#;
        assert_eq!(check(conditions, &[]), Ok(5..=10));
    }

    #[test]
    fn other_documents_are_refused() {
        for document in [
            "",
            "[]",
            "{",
            r#"{"conditions": []}"#,
            r#"{"expiration": "2026-01-02T03:04:05Z"}"#,
            r#"{"EXPIRATION": "2026-01-02T03:04:05Z", "conditions": []}"#,
            r#"{"expiration": "2026-01-02T03:04:05Z", "CONDITIONS": []}"#,
            r#"{"expiration": "2026-01-02T03:04:05Z", "conditions": {}}"#,
            r#"{"expiration": "2026-01-02 03:04:05", "conditions": []}"#,
            r#"{"expiration": "2026-01-02T03:04:05+01:00", "conditions": []}"#,
            r#"{"expiration": "soon", "conditions": []}"#,
            r#"{"expiration": "2026-01-02T03:04:05Z", "conditions": [], "more": 1}"#,
        ] {
            let fault = parse(document).unwrap_err();
            assert_eq!(fault.code, "InvalidPolicyDocument", "{document}");
        }
        for condition in [
            "{}",
            "1",
            r#"{"a": "1", "b": "2"}"#,
            r#"{"a": 1}"#,
            r#"["eq", "$a"]"#,
            r#"["eq", "a", "b"]"#,
            r#"["eq", "$a", 1]"#,
            r#"["like", "$a", "b"]"#,
            r#"["content-length-range", 0]"#,
            r#"["content-length-range", -1, 0]"#,
            r#"["content-length-range", "a", 0]"#,
        ] {
            let fault = with_conditions(condition).unwrap_err();
            assert_eq!(fault.code, "InvalidPolicyDocument", "{condition}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(parse(&deep).unwrap_err().code, "InvalidPolicyDocument");
        assert!(Policy::parse("%%%").is_err());
    }
}
