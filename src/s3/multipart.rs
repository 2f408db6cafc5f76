//! Multipart uploads: begin, send parts, complete, abort. Parts that are copies have a file of their own.

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};

use crate::s3::commit::{self, Finish};
use crate::s3::exchange::Exchange;
use crate::s3::fault::Fault;
use crate::s3::header::{self as s3_header, quoted};
use crate::s3::params::Params;
use crate::s3::write::payload;
use crate::s3::xml::Document;
use crate::s3::{checksum, completion, condition, integrity, metadata, unsupported};
use crate::storage::{
    AbortUpload, BucketName, CompleteUpload, CreateUpload, ObjectKey, PartNumber, UploadCompleted,
    UploadId, UploadPart,
};

/// The largest part: 5 GiB. Source: AWS, "Amazon S3 multipart upload limits".
const MAX_PART_BYTES: u64 = 5 << 30;

/// `POST /bucket/key?uploads`
pub(super) async fn create(
    exchange: Exchange,
    bucket: BucketName,
    key: ObjectKey,
) -> Result<Response, Fault> {
    condition::refuse_on_write(&exchange.headers)?;
    unsupported::refuse_on_object_write(&exchange.headers)?;
    let metadata = metadata::from_headers(&exchange.headers)?;
    let checksum = checksum::of_upload(&exchange.headers)?;
    let operation = CreateUpload {
        bucket: bucket.clone(),
        key: key.clone(),
        metadata,
        checksum,
    };
    let created = exchange.caller.call(operation).await?;
    let document = Document::result("InitiateMultipartUploadResult", |root| {
        root.text("Bucket", bucket.as_str());
        root.text("Key", key.as_str());
        root.text("UploadId", created.upload_id.as_str());
    });
    let mut response = document.into_response();
    checksum::write_declared(checksum, response.headers_mut());
    Ok(response)
}

/// `PUT /bucket/key?partNumber=…&uploadId=…`
pub(super) async fn upload_part(
    exchange: Exchange,
    bucket: BucketName,
    key: ObjectKey,
) -> Result<Response, Fault> {
    condition::refuse_on_write(&exchange.headers)?;
    unsupported::refuse_on_part_write(&exchange.headers)?;
    let part_number = part_number(&exchange.params)?;
    let upload_id = upload_id(&exchange.params)?;
    exchange.check_length(MAX_PART_BYTES)?;
    let announced = integrity::announced(&exchange.headers)?;
    let operation = UploadPart {
        bucket,
        key,
        upload_id,
        part_number,
        payload: payload(exchange.body, announced),
    };
    let uploaded = exchange.caller.call(operation).await?;
    let mut response = StatusCode::OK.into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::ETAG,
        s3_header::value(&quoted(&uploaded.hash.etag())),
    );
    if let Some(checksum) = &uploaded.checksum {
        checksum::write_of_part(checksum, headers);
    }
    Ok(response)
}

/// `POST /bucket/key?uploadId=…`
pub(super) async fn complete(
    exchange: Exchange,
    bucket: BucketName,
    key: ObjectKey,
) -> Result<Response, Fault> {
    let conditions = condition::of_write(&exchange.headers)?;
    let upload_id = upload_id(&exchange.params)?;
    let finish = Finish::of(&exchange);
    let location = format!("{}{}", exchange.origin, exchange.path);
    let announced = integrity::announced_of_completion(&exchange.headers)?;
    let claims = completion::claims(&exchange.headers)?;
    let mut operation = CompleteUpload {
        bucket: bucket.clone(),
        key: key.clone(),
        upload_id,
        conditions,
        parts: Vec::new(),
        claims,
    };
    let (caller, document) = exchange
        .read_document(completion::MAX_BYTES, announced, operation.clone())
        .await?;
    operation.parts = completion::named_parts(&document)?;
    let render = move |completed: UploadCompleted, document: &mut Document| {
        document.root("CompleteMultipartUploadResult", |root| {
            root.text("Location", &location);
            root.text("Bucket", bucket.as_str());
            root.text("Key", key.as_str());
            root.text("ETag", &quoted(&completed.hash.etag()));
            if let Some(checksum) = &completed.checksum {
                checksum::write_elements(checksum, root);
            }
        });
    };
    commit::answer(finish, caller.call(operation), render).await
}

/// `DELETE /bucket/key?uploadId=…`
pub(super) async fn abort(
    exchange: Exchange,
    bucket: BucketName,
    key: ObjectKey,
) -> Result<Response, Fault> {
    condition::refuse_on_write(&exchange.headers)?;
    let upload_id = upload_id(&exchange.params)?;
    let operation = AbortUpload {
        bucket,
        key,
        upload_id,
    };
    exchange.caller.call(operation).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) fn upload_id(params: &Params) -> Result<UploadId, Fault> {
    Ok(params.get("uploadId").unwrap_or_default().parse()?)
}

pub(super) fn part_number(params: &Params) -> Result<PartNumber, Fault> {
    // What is not a number gets the same answer as a number out of range.
    let number = params
        .get("partNumber")
        .and_then(|number| number.parse().ok());
    Ok(PartNumber::new(number.unwrap_or_default())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::testing::{ETAG, Stage, UPLOAD_ID};
    use crate::storage::{AnyOperation, EtagMatch};

    #[test]
    fn part_numbers_are_1_to_10000() {
        let read = |query| {
            part_number(&Params::parse(Some(query)).unwrap())
                .map(PartNumber::get)
                .map_err(|f| f.code)
        };
        assert_eq!(read("partNumber=10000"), Ok(10_000));
        for query in [
            "partNumber=0",
            "partNumber=10001",
            "partNumber=-1",
            "partNumber=x",
            "partNumber=",
        ] {
            assert_eq!(read(query), Err("InvalidArgument"), "{query}");
        }
    }

    #[tokio::test]
    async fn an_upload_goes_from_its_beginning_to_its_end() {
        let stage = Stage::new();
        let answer = stage
            .ask("POST /b/k?uploads", &[("content-type", "a/b")])
            .await;
        assert_eq!(
            (answer.element("Key"), answer.element("UploadId")),
            ("k", UPLOAD_ID)
        );
        let AnyOperation::CreateUpload(create) = stage.only_call().operation else {
            panic!()
        };
        assert_eq!(create.metadata.content_type.as_deref(), Some("a/b"));

        let line = format!("PUT /b/k?partNumber=7&uploadId={UPLOAD_ID}");
        let answer = stage.send(&line, &[("content-length", "3")], "abc").await;
        assert_eq!((answer.status.as_u16(), answer.header("etag")), (200, ETAG));
        let call = stage.only_call();
        assert_eq!(call.payload, "abc");
        let AnyOperation::UploadPart(part) = call.operation else {
            panic!()
        };
        assert_eq!(
            (part.part_number.get(), part.upload_id.as_str()),
            (7, UPLOAD_ID)
        );

        let document = format!(
            "<CompleteMultipartUpload><Part><PartNumber>7</PartNumber><ETag>{ETAG}</ETag></Part></CompleteMultipartUpload>"
        );
        let answer = stage
            .send(&format!("POST /b/k?uploadId={UPLOAD_ID}"), &[], document)
            .await;
        assert_eq!(answer.element("Location"), "http://s3.test/b/k");
        assert_eq!(
            (answer.element("Bucket"), answer.element("Key")),
            ("b", "k")
        );
        assert_eq!(answer.element("ETag"), ETAG.replace('"', "&quot;"));
        let AnyOperation::CompleteUpload(complete) = stage.only_call().operation else {
            panic!()
        };
        assert_eq!(complete.parts[0].etag, ETAG.trim_matches('"'));

        let answer = stage
            .ask(&format!("DELETE /b/k?uploadId={UPLOAD_ID}"), &[])
            .await;
        assert_eq!(answer.status, 204);
        assert!(matches!(
            stage.only_call().operation,
            AnyOperation::AbortUpload(_)
        ));
    }

    #[tokio::test]
    async fn an_id_that_was_never_given_is_no_upload() {
        let stage = Stage::new();
        for line in [
            "PUT /b/k?partNumber=1&uploadId=x",
            "DELETE /b/k?uploadId=x",
            "POST /b/k?uploadId=x",
        ] {
            let answer = stage.send(line, &[("content-length", "0")], "").await;
            assert_eq!(answer.verdict(), (404, "NoSuchUpload"), "{line}");
        }
        assert_eq!(stage.call_count(), 0);
    }

    #[tokio::test]
    async fn the_conditions_of_a_completion_go_along_and_those_of_a_part_are_refused() {
        let stage = Stage::new();
        let document = format!(
            "<CompleteMultipartUpload><Part><PartNumber>7</PartNumber><ETag>{ETAG}</ETag></Part></CompleteMultipartUpload>"
        );
        let complete = format!("POST /b/k?uploadId={UPLOAD_ID}");
        let condition = [("if-none-match", "*")];
        let answer = stage.send(&complete, &condition, document).await;
        assert_eq!(answer.status, 200);
        let AnyOperation::CompleteUpload(operation) = stage.only_call().operation else {
            panic!()
        };
        assert_eq!(operation.conditions.if_none_match, Some(EtagMatch::Any));

        let part = format!("PUT /b/k?partNumber=7&uploadId={UPLOAD_ID}");
        for line in [
            "POST /b/k?uploads",
            &part,
            &format!("DELETE /b/k?uploadId={UPLOAD_ID}"),
        ] {
            let answer = stage.send(line, &condition, "").await;
            assert_eq!(answer.verdict(), (501, "NotImplemented"), "{line}");
        }
        assert_eq!(stage.call_count(), 0);
    }
}
