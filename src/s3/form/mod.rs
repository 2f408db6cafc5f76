//! POST of a browser's form: the fields, then the file, whose bytes go straight into the stack.
//!
//! | file | holds |
//! |---|---|
//! | `parts` | multipart/form-data, up to the file |
//! | `file` | the file as a stream, with the sizes that it may have |
//! | `fields` | what the form says besides its file |
//! | `policy` | what the one who signed the form allows |
//! | `answer` | what the browser gets |
//!
//! Who signed it is judged by the stack, like any signature; what the policy allows is judged here, since it is said in S3's
//! own words. Neither has anything stored: the file ends in an error unless its size is allowed and the form is whole.

mod answer;
mod fields;
mod file;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
mod parts;
mod policy;

use std::ops::RangeInclusive;

use axum::response::Response;
use http::{HeaderMap, StatusCode, header};

use crate::s3::config::S3Config;
use crate::s3::exchange::Exchange;
use crate::s3::fault::Fault;
use crate::s3::form::answer::Success;
use crate::s3::form::fields::Fields;
use crate::s3::form::parts::Parts;
use crate::s3::form::policy::Policy;
use crate::s3::header::text;
use crate::s3::write::MAX_OBJECT_BYTES;
use crate::s3::{checksum, integrity, metadata, tagging, unsupported};
use crate::sigv4::claim_form;
use crate::storage::{
    BucketName, ByteStream, ChecksumAlgorithm, Credentials, ObjectChecksum, ObjectKey, Payload,
    PutObject, StorageError, WriteConditions,
};

/// What a form may have around its file, in bytes.
const MAX_FORM_BYTES: u64 = 2 << 20;

/// `POST /bucket` with a form
pub(super) async fn post(exchange: Exchange, bucket: BucketName) -> Result<Response, Fault> {
    if exchange.is_signed() {
        return Err(Fault::invalid_argument(
            "Authorization",
            "Only one auth mechanism allowed; a form is signed by its own fields",
        ));
    }
    exchange.check_length(MAX_OBJECT_BYTES + MAX_FORM_BYTES)?;
    let boundary = boundary(&exchange.headers)?;
    let config = exchange.config;
    let mut parts = Parts::new(exchange.body.into_stream(), &boundary)?;
    let patience = config.document_timeout;
    let fields = tokio::time::timeout(patience, fields(&mut parts)).await;
    let fields = fields.map_err(|_| StorageError::ClientTimeout { idle: patience })??;
    let key = key(&fields)?;
    let (credentials, sizes) = claim(&fields, &bucket, &config)?;
    let body = ByteStream::new(parts.into_file().of_size(sizes), None);
    let success = Success::new(&exchange.origin, &exchange.path, &bucket, &key);
    let operation = write(&fields, bucket, key, body, &config)?;
    let measured = operation.payload.integrity.measured.clone();
    let caller = exchange.caller.claiming(credentials);
    let written = caller.call(operation).await?;
    let mut response = success.answer(&written, &fields);
    if let Some(checksum) = measured.checksum() {
        let checksum = ObjectChecksum::full(checksum.clone());
        checksum::write(&checksum, response.headers_mut());
    }
    Ok(response)
}

/// Errors: InvalidArgument without a key, and for one that a bucket cannot hold.
fn key(fields: &Fields) -> Result<ObjectKey, Fault> {
    match fields.get("key").filter(|key| !key.is_empty()) {
        Some(key) => Ok(ObjectKey::new(key)?),
        None => Err(Fault::invalid_argument(
            "key",
            "Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields.",
        )),
    }
}

/// Returns who claims to have signed the form, and the sizes that the file may have.
///
/// Errors: what the policy does not allow; whatever is wrong with the signature's form.
fn claim(
    fields: &Fields,
    bucket: &BucketName,
    config: &S3Config,
) -> Result<(Credentials, RangeInclusive<u64>), Fault> {
    let Some(text) = fields.get("policy") else {
        // A stranger's form is the stack's affair, and refused by it.
        return Ok((Credentials::Anonymous, 0..=MAX_OBJECT_BYTES));
    };
    let policy = Policy::parse(text)?;
    let sizes = policy.check(fields, bucket.as_str())?;
    let region = config.requires_region.then_some(config.region.as_str());
    let evidence = claim_form(text, policy.expires_at, region, |name| fields.get(name));
    let evidence = evidence.map_err(StorageError::from)?;
    let sizes = *sizes.start()..=(*sizes.end()).min(MAX_OBJECT_BYTES);
    Ok((Credentials::SigV4(evidence.into()), sizes))
}

/// Builds the operation, as a PUT with the fields for headers would.
fn write(
    fields: &Fields,
    bucket: BucketName,
    key: ObjectKey,
    body: ByteStream,
    config: &S3Config,
) -> Result<PutObject, Fault> {
    let headers = fields.headers()?;
    unsupported::refuse_on_object_write(&headers)?;
    let mut metadata = metadata::from_headers(&headers)?;
    if let Some(document) = fields.get("tagging") {
        metadata.tags = tagging::of_document(document.as_bytes())?;
    }
    let mut integrity = integrity::announced(&headers)?;
    integrity.wants_checksum = config
        .keeps_checksums
        .then_some(ChecksumAlgorithm::Crc64Nvme);
    Ok(PutObject {
        bucket,
        key,
        conditions: WriteConditions::default(),
        payload: Payload { body, integrity },
        metadata,
    })
}

/// Reads everything before the file, and leaves the file to be read.
async fn fields(parts: &mut Parts) -> Result<Fields, Fault> {
    let mut fields = Fields::default();
    while let Some(head) = parts.next().await? {
        if head.name.eq_ignore_ascii_case("file") {
            fields.name_file(head.file_name.as_deref().unwrap_or_default());
            return Ok(fields);
        }
        let value = parts.text().await?;
        fields.add(&head.name, value)?;
    }
    Err(Fault::invalid_argument(
        "file",
        "POST requires exactly one file upload per request.",
    ))
}

/// Returns the boundary that the content type names. Errors: PreconditionFailed, as S3 answers what is no form.
fn boundary(headers: &HeaderMap) -> Result<String, Fault> {
    let content_type = text(headers, header::CONTENT_TYPE.as_str()).unwrap_or_default();
    let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    let boundary = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_boundary = name.trim().eq_ignore_ascii_case("boundary");
        is_boundary.then(|| value.trim().trim_matches('"').to_owned())
    });
    match boundary {
        Some(boundary) if kind.trim().eq_ignore_ascii_case("multipart/form-data") => Ok(boundary),
        _ => Err(Fault::new(
            StatusCode::PRECONDITION_FAILED,
            "PreconditionFailed",
            "At least one of the pre-conditions you specified did not hold.",
        )
        .with(
            "Condition",
            "Bucket POST must be of the enclosure-type multipart/form-data",
        )),
    }
}

/// The body is no form.
fn malformed() -> Fault {
    Fault::new(
        StatusCode::BAD_REQUEST,
        "MalformedPOSTRequest",
        "The body of your POST request is not well-formed multipart/form-data.",
    )
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;

    use super::*;
    use crate::s3::testing::{Answer, ETAG, Stage};
    use crate::sigv4::SignatureKind;
    use crate::storage::AnyOperation;

    const TYPE: (&str, &str) = ("content-type", "multipart/form-data; boundary=\"xYz\"");

    /// A form of these fields and a file named `a b.txt`.
    fn form(fields: &[(&str, &str)], content: &str) -> String {
        let mut body = String::new();
        for (name, value) in fields {
            body += &format!(
                "--xYz\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            );
        }
        body + "--xYz\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a b.txt\"\r\n\
            Content-Type: text/html\r\n\r\n"
            + content
            + "\r\n--xYz--\r\n"
    }

    /// The fields of a signed form, whose policy has further conditions.
    fn signed<'a>(policy: &'a str, fields: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let mut all = vec![
            ("policy", policy),
            ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
            ("x-amz-credential", "AK/20260102/us-east-1/s3/aws4_request"),
            ("x-amz-date", "20260102T030405Z"),
            ("x-amz-signature", "ff"),
        ];
        all.extend(fields);
        all
    }

    fn policy(conditions: &str) -> String {
        let text = format!(
            "{{\"expiration\": \"2026-01-03T00:00:00Z\", \"conditions\": [{{\"bucket\": \"b\"}}, \
             [\"starts-with\", \"$x-amz-algorithm\", \"\"], [\"starts-with\", \"$x-amz-credential\", \"\"], \
             [\"starts-with\", \"$x-amz-date\", \"\"], [\"starts-with\", \"$key\", \"user/\"]{conditions}]}}"
        );
        BASE64.encode(text)
    }

    async fn send(stage: &Stage, fields: &[(&str, &str)], content: &str) -> Answer {
        let body = form(fields, content);
        let length = body.len().to_string();
        let headers = [TYPE, ("content-length", &length)];
        stage.send("POST /b", &headers, body).await
    }

    #[tokio::test]
    async fn the_file_goes_to_the_stack_with_what_the_form_says_of_it() {
        let stage = Stage::new();
        let policy = policy(
            r#", ["starts-with", "$Content-Type", "text/"], {"x-amz-meta-color": "red"}, {"acl": "private"}, ["starts-with", "$tagging", ""]"#,
        );
        let fields = signed(
            &policy,
            &[
                ("key", "user/${filename}"),
                ("Content-Type", "text/plain"),
                ("X-Amz-Meta-Color", "red"),
                ("acl", "private"),
                (
                    "tagging",
                    "<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>",
                ),
                ("x-ignore-button", "Upload"),
            ],
        );
        let answer = send(&stage, &fields, "content\r\n--").await;
        assert_eq!((answer.status.as_u16(), answer.text()), (204, ""));
        assert_eq!(answer.header("etag"), ETAG);
        assert_eq!(answer.header("location"), "http://s3.test/b/user/a%20b.txt");
        let call = stage.only_call();
        assert_eq!(call.payload, "content\r\n--");
        let Credentials::SigV4(evidence) = call.caller else {
            panic!()
        };
        assert!(matches!(evidence.kind, SignatureKind::Form { .. }));
        assert_eq!(evidence.canonical_requests, [policy]);
        let AnyOperation::PutObject(put) = call.operation else {
            panic!()
        };
        assert_eq!(put.key.as_str(), "user/a b.txt");
        assert_eq!(put.metadata.content_type.as_deref(), Some("text/plain"));
        assert_eq!(put.metadata.user["color"], "red");
        assert_eq!(put.metadata.tags.iter().collect::<Vec<_>>(), [("a", "1")]);
    }

    #[tokio::test]
    async fn a_form_without_a_policy_is_a_strangers() {
        let stage = Stage::new();
        send(&stage, &[("key", "k")], "x").await;
        assert!(matches!(stage.only_call().caller, Credentials::Anonymous));
    }

    #[tokio::test]
    async fn what_the_policy_does_not_allow_reaches_no_service() {
        let stage = Stage::new();
        let plain = policy("");
        let mut unsigned = signed(&plain, &[("key", "user/k")]);
        unsigned.retain(|(name, _)| *name != "x-amz-signature");
        let v2 = [
            ("policy", plain.as_str()),
            ("signature", "c2ln"),
            ("AWSAccessKeyId", "AK"),
            ("key", "user/k"),
        ];
        let tags = policy(r#", ["starts-with", "$tagging", ""]"#);
        let open = policy(r#", {"acl": "public-read"}"#);
        for (fields, verdict) in [
            (signed(&plain, &[]), (400, "InvalidArgument")),
            (signed(&plain, &[("key", "other/k")]), (403, "AccessDenied")),
            (
                signed(&plain, &[("key", "user/k"), ("acl", "private")]),
                (403, "AccessDenied"),
            ),
            (
                signed(&plain, &[("key", "user//k")]),
                (400, "InvalidArgument"),
            ),
            (
                signed(&plain, &[("key", "user/k"), ("key", "user/l")]),
                (400, "InvalidArgument"),
            ),
            (
                signed("?", &[("key", "user/k")]),
                (400, "InvalidPolicyDocument"),
            ),
            (
                signed(&open, &[("key", "user/k"), ("acl", "public-read")]),
                (501, "NotImplemented"),
            ),
            (
                signed(&tags, &[("key", "user/k"), ("tagging", "<x/>")]),
                (400, "MalformedXML"),
            ),
            (unsigned, (400, "InvalidArgument")),
            (v2.to_vec(), (403, "AccessDenied")),
        ] {
            let answer = send(&stage, &fields, "content").await;
            assert_eq!(answer.verdict(), verdict, "{fields:?}: {}", answer.text());
        }
        assert_eq!(stage.call_count(), 0);
    }

    #[tokio::test]
    async fn the_size_must_be_one_that_the_policy_allows() {
        for (range, verdict) in [
            ("0, 6", (400, "EntityTooLarge")),
            ("0, 0", (400, "EntityTooLarge")),
            ("8, 9", (400, "EntityTooSmall")),
            ("7, 7", (204, "")),
        ] {
            // The stage gives back the body's own error only to those who ask for it.
            let stage = Stage::new();
            let policy = policy(&format!(", [\"content-length-range\", {range}]"));
            let answer = send(&stage, &signed(&policy, &[("key", "user/k")]), "content").await;
            assert_eq!(answer.verdict(), verdict, "{range}");
            assert_eq!(stage.call_count(), usize::from(verdict.0 == 204));
        }
    }

    #[tokio::test]
    async fn what_is_no_form_is_told_so() {
        let stage = Stage::new();
        let ask = async |content_type: &str, body: &str| {
            let length = body.len().to_string();
            let headers = [
                ("content-type", content_type),
                ("content-length", length.as_str()),
            ];
            let answer = stage.send("POST /b", &headers, body.to_owned()).await;
            let (status, code) = answer.verdict();
            (status, code.to_owned())
        };
        let precondition = (412, "PreconditionFailed".to_owned());
        assert_eq!(ask("application/json", "{}").await, precondition);
        assert_eq!(ask("multipart/form-data", "").await, precondition);
        let malformed = (400, "MalformedPOSTRequest".to_owned());
        assert_eq!(ask(TYPE.1, "nothing").await, malformed);
        let no_file = form(&[("key", "k")], "").replace("\"file\"", "\"other\"");
        assert_eq!(
            ask(TYPE.1, &no_file).await,
            (400, "InvalidArgument".to_owned())
        );
        let cut = form(&[("key", "k")], "x").replace("\r\n--xYz--", "");
        assert_eq!(ask(TYPE.1, &cut).await, (400, "IncompleteBody".to_owned()));
        let both = [
            TYPE,
            ("authorization", "AWS AK:c2ln"),
            ("content-length", "1"),
        ];
        assert_eq!(stage.send("POST /b", &both, "x").await.status, 400);
        assert_eq!(stage.ask("POST /b", &[TYPE]).await.status, 411);
        assert_eq!(stage.call_count(), 0);
    }
}
