//! UploadPartCopy: a part that is an object, or a range of one, by reference.

use axum::response::Response;
use http::HeaderMap;

use crate::s3::commit::{self, Finish};
use crate::s3::copy::{Source, write_copied};
use crate::s3::exchange::Exchange;
use crate::s3::fault::Fault;
use crate::s3::header::text;
use crate::s3::multipart::{part_number, upload_id};
use crate::s3::{condition, unsupported};
use crate::storage::{BucketName, ByteRange, ObjectKey, PartCopied, UploadPartCopy};

/// Names the range of the source.
const RANGE: &str = "x-amz-copy-source-range";

/// `PUT /bucket/key?partNumber=…&uploadId=…` with `x-amz-copy-source`
pub(super) async fn copy(
    exchange: Exchange,
    bucket: BucketName,
    key: ObjectKey,
) -> Result<Response, Fault> {
    let headers = &exchange.headers;
    condition::refuse_on_write(headers)?;
    unsupported::refuse_on_part_write(headers)?;
    let source = Source::read(headers)?;
    let operation = UploadPartCopy {
        source_bucket: source.bucket,
        source_key: source.key,
        source_range: source_range(headers)?,
        source_conditions: source.conditions,
        bucket,
        key,
        upload_id: upload_id(&exchange.params)?,
        part_number: part_number(&exchange.params)?,
    };
    let asked = text(headers, RANGE).map(str::to_owned);
    let finish = Finish::of(&exchange);
    let caller = exchange.caller;
    let work = async move {
        let copied = caller.call(operation).await;
        copied.map_err(|fault| about_source(fault, asked))
    };
    commit::answer(finish, work, |copied: PartCopied, document| {
        document.root("CopyPartResult", |root| {
            write_copied(root, &copied.hash, copied.last_modified);
        });
    })
    .await
}

/// Reads the range. Unlike a GET's, it has exactly one form, and nothing about it is ignored.
pub(super) fn source_range(headers: &HeaderMap) -> Result<Option<ByteRange>, Fault> {
    let Some(value) = headers.get(RANGE) else {
        return Ok(None);
    };
    let number = |digits: &str| {
        let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        // A number beyond 64 bits lies beyond every object.
        is_number.then(|| digits.parse().unwrap_or(u64::MAX))
    };
    let parse = |value: &str| {
        let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        (first <= last).then_some(ByteRange::Exact { first, last })
    };
    let value = value.to_str().unwrap_or_default();
    let range = parse(value).ok_or_else(|| {
        Fault::invalid_argument(
            RANGE,
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
             zero-based offsets of the first and last bytes to copy",
        )
        .with("ArgumentValue", value)
    })?;
    Ok(Some(range))
}

/// Says in S3's words what is wrong with the source, where these differ from those about a range or body of the request.
fn about_source(fault: Fault, asked: Option<String>) -> Fault {
    let detail = |element: &str| {
        let found = fault.details.iter().find(|(name, _)| *name == element);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let mut translated = match fault.code {
        "InvalidRange" => Fault::invalid_argument(
            RANGE,
            format!(
                "Range specified is not valid for source object of size: {}",
                detail("ActualObjectSize")
            ),
        )
        .with("ArgumentValue", asked.unwrap_or_default()),
        "EntityTooLarge" => Fault::invalid_request(format!(
            "The specified copy source is larger than the maximum allowable size for a copy source: {}",
            detail("MaxSizeAllowed")
        )),
        _ => return fault,
    };
    translated.is_from_stack = fault.is_from_stack;
    translated
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::testing::{ETAG, Stage, UPLOAD_ID};
    use crate::storage::{AnyOperation, StorageError};

    fn line() -> String {
        format!("PUT /b/k?partNumber=7&uploadId={UPLOAD_ID}")
    }

    #[tokio::test]
    async fn a_copied_part_names_its_source_and_range() {
        let stage = Stage::new();
        let headers = [
            ("x-amz-copy-source", "/b2/a%20b"),
            ("x-amz-copy-source-range", "bytes=0-9"),
            ("x-amz-copy-source-if-match", ETAG),
        ];
        let answer = stage.ask(&line(), &headers).await;
        assert_eq!(answer.status, 200);
        assert!(answer.text().contains("<CopyPartResult "), "{answer:?}");
        assert_eq!(answer.element("LastModified"), "2026-01-02T03:04:05.678Z");
        assert_eq!(answer.element("ETag"), ETAG.replace('"', "&quot;"));
        let AnyOperation::UploadPartCopy(copy) = stage.only_call().operation else {
            panic!()
        };
        assert_eq!(
            (copy.source_bucket.as_str(), copy.source_key.as_str()),
            ("b2", "a b")
        );
        assert_eq!(
            copy.source_range,
            Some(ByteRange::Exact { first: 0, last: 9 })
        );
        assert!(copy.source_conditions.if_match.is_some());
        assert_eq!(
            (copy.part_number.get(), copy.upload_id.as_str()),
            (7, UPLOAD_ID)
        );
    }

    #[tokio::test]
    async fn ranges_have_one_form() {
        for range in [
            "0-2",
            "bytes=0",
            "bytes=hello-world",
            "bytes=0-bar",
            "bytes=hello-",
            "bytes=0-2,3-5",
            "bytes=-5",
            "bytes=5-",
            "bytes=2-1",
            "bytes=+1-2",
            "bytes= 1-2",
            "",
        ] {
            let stage = Stage::new();
            let headers = [
                ("x-amz-copy-source", "/b/k"),
                ("x-amz-copy-source-range", range),
            ];
            let answer = stage.ask(&line(), &headers).await;
            assert_eq!(answer.verdict(), (400, "InvalidArgument"), "{range}");
            assert_eq!(answer.element("ArgumentName"), RANGE);
            assert_eq!(answer.element("ArgumentValue"), range);
            assert_eq!(stage.call_count(), 0);
        }
    }

    #[tokio::test]
    async fn a_source_that_does_not_fit_is_refused_as_s3_does() {
        let headers = [
            ("x-amz-copy-source", "/b/k"),
            ("x-amz-copy-source-range", "bytes=0-21"),
        ];
        let stage = Stage::failing(StorageError::InvalidRange { size: 5 });
        let answer = stage.ask(&line(), &headers).await;
        assert_eq!(answer.verdict(), (400, "InvalidArgument"));
        assert_eq!(
            answer.element("Message"),
            "Range specified is not valid for source object of size: 5"
        );
        assert_eq!(answer.element("ArgumentValue"), "bytes=0-21");
        let stage = Stage::failing(StorageError::EntityTooLarge {
            limit_bytes: 5 << 30,
        });
        let answer = stage.ask(&line(), &headers[..1]).await;
        assert_eq!(answer.verdict(), (400, "InvalidRequest"));
        assert_eq!(
            answer.element("Message"),
            "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120"
        );
        let stage = Stage::failing(StorageError::NoSuchKey { key: "k".into() });
        let answer = stage.ask(&line(), &headers).await;
        assert_eq!(answer.verdict(), (404, "NoSuchKey"));
    }

    #[tokio::test]
    async fn a_part_needs_a_number_and_an_upload() {
        let stage = Stage::new();
        let source = [("x-amz-copy-source", "/b/k")];
        for (line, verdict) in [
            ("PUT /b/k?partNumber=1&uploadId=x", (404, "NoSuchUpload")),
            (
                &*format!("PUT /b/k?partNumber=0&uploadId={UPLOAD_ID}"),
                (400, "InvalidArgument"),
            ),
        ] {
            assert_eq!(stage.ask(line, &source).await.verdict(), verdict, "{line}");
        }
        assert_eq!(stage.call_count(), 0);
    }
}
