//! PUT and DELETE of objects.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header;

use crate::s3::body::LentBody;
use crate::s3::exchange::Exchange;
use crate::s3::fault::Fault;
use crate::s3::header::{self as s3_header, quoted};
use crate::s3::{checksum, condition, integrity, metadata, unsupported};
use crate::storage::{
    BucketName, ChecksumAlgorithm, DeleteObject, Integrity, ObjectChecksum, ObjectKey, Payload,
    PutObject,
};

/// The largest object: 5 TiB. Source: AWS, "Amazon S3 multipart upload limits". More than S3 takes in one PUT, since
/// nothing here needs the smaller bound.
pub(super) const MAX_OBJECT_BYTES: u64 = 5 << 40;

/// `PUT /bucket/key`
pub(super) async fn put(
    exchange: Exchange,
    bucket: BucketName,
    key: ObjectKey,
) -> Result<Response, Fault> {
    let conditions = condition::of_write(&exchange.headers)?;
    unsupported::refuse_on_object_write(&exchange.headers)?;
    exchange.check_length(MAX_OBJECT_BYTES)?;
    let metadata = metadata::from_headers(&exchange.headers)?;
    let mut announced = integrity::announced(&exchange.headers)?;
    // As S3 does: an object whose client vouches for nothing keeps a checksum all the same.
    announced.wants_checksum =
        (exchange.config.keeps_checksums).then_some(ChecksumAlgorithm::Crc64Nvme);
    announced.wants_md5 = integrity::wants_md5(&exchange.headers, &announced);
    let measured = announced.measured.clone();
    let md5 = announced.wants_md5.then(|| measured.clone());
    let operation = PutObject {
        bucket,
        key,
        conditions,
        payload: payload(exchange.body, announced),
        metadata,
    };
    let written = exchange.caller.call(operation).await?;
    let etag = match md5.and_then(|measured| measured.md5()) {
        Some(md5) => hex::encode(md5),
        None => written.hash.etag(),
    };
    let mut response = StatusCode::OK.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ETAG, s3_header::value(&quoted(&etag)));
    headers.insert(s3_header::XET_HASH, s3_header::value(written.hash.as_str()));
    if let Some(checksum) = measured.checksum() {
        checksum::write(&ObjectChecksum::full(checksum.clone()), headers);
    }
    Ok(response)
}

/// Joins the body as received with what was announced of it.
pub(super) fn payload(body: LentBody, integrity: Integrity) -> Payload {
    Payload {
        body: body.into_stream(),
        integrity,
    }
}

/// `DELETE /bucket/key`
pub(super) async fn delete(
    exchange: Exchange,
    bucket: BucketName,
    key: ObjectKey,
) -> Result<Response, Fault> {
    let operation = DeleteObject {
        bucket,
        key,
        conditions: condition::of_delete(&exchange.headers)?,
    };
    exchange.caller.call(operation).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[cfg(test)]
mod tests {
    use crate::s3::S3Config;
    use crate::s3::testing::{ETAG, HASH, Stage, object, ordinary};
    use crate::storage::{
        AnyOperation, Checksum, ChecksumAlgorithm, EtagMatch, ExpectedChecksum, StorageError,
    };

    #[tokio::test]
    async fn a_checksum_is_computed_for_clients_without_one_if_checksums_are_kept() {
        for keeps_checksums in [false, true] {
            let config = S3Config {
                keeps_checksums,
                ..S3Config::default()
            };
            let stage = Stage::configured(config, |operation| Ok(ordinary(operation)));
            stage
                .send("PUT /b/k", &[("content-length", "1")], "x")
                .await;
            let AnyOperation::PutObject(put) = stage.only_call().operation else {
                panic!()
            };
            let wanted = keeps_checksums.then_some(ChecksumAlgorithm::Crc64Nvme);
            assert_eq!(put.payload.integrity.wants_checksum, wanted);
        }
    }

    #[tokio::test]
    async fn put_hands_over_the_body_and_what_is_said_of_it() {
        let stage = Stage::answering(|operation| {
            let AnyOperation::PutObject(put) = operation else {
                panic!()
            };
            let Some(ExpectedChecksum::Known(checksum)) = &put.payload.integrity.checksum else {
                panic!()
            };
            put.payload
                .integrity
                .measured
                .set_checksum(checksum.clone());
            Ok(ordinary(operation))
        });
        let headers = [
            ("content-length", "9"),
            ("content-type", "a/b"),
            ("content-md5", "JfnnlDI7RTiF9RgfG2JNCw=="),
            ("x-amz-checksum-crc32", "y/Q5Jg=="),
            ("x-amz-meta-color", "blue"),
            ("x-amz-acl", "private"),
        ];
        let answer = stage
            .send("PUT /b/a%20b?x-id=PutObject", &headers, "123456789")
            .await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("etag"), answer.text()),
            (200, ETAG, "")
        );
        assert_eq!(answer.header("x-hf-xet-hash"), HASH);
        assert_eq!(answer.header("x-amz-checksum-crc32"), "y/Q5Jg==");
        assert_eq!(answer.header("x-amz-checksum-type"), "FULL_OBJECT");
        let call = stage.only_call();
        assert_eq!(call.payload, "123456789");
        let AnyOperation::PutObject(put) = call.operation else {
            panic!()
        };
        assert_eq!(put.key.as_str(), "a b");
        assert_eq!(put.metadata.content_type.as_deref(), Some("a/b"));
        assert_eq!(put.metadata.user["color"], "blue");
        assert!(put.payload.integrity.md5.is_some() && !put.payload.integrity.wants_md5);
        let algorithm = ChecksumAlgorithm::Crc32;
        let value = std::sync::Arc::from([0xcb, 0xf4, 0x39, 0x26]);
        let known = ExpectedChecksum::Known(Checksum { algorithm, value });
        assert_eq!(put.payload.integrity.checksum, Some(known));
    }

    #[tokio::test]
    async fn some_clients_get_the_md5_as_the_entity_tag_of_a_put() {
        let stage = Stage::answering(|operation| {
            let AnyOperation::PutObject(put) = operation else {
                panic!()
            };
            put.payload.integrity.measured.set_md5([0xab; 16]);
            Ok(ordinary(operation))
        });
        let put = async |agent| {
            let headers = [("content-length", "1"), ("user-agent", agent)];
            stage
                .send("PUT /b/k", &headers, "x")
                .await
                .header("etag")
                .to_owned()
        };
        assert_eq!(
            put("aws-sdk-java/2.24.0").await,
            format!("\"{}\"", "ab".repeat(16))
        );
        assert_eq!(put("Boto3/1.44").await, ETAG);
    }

    #[tokio::test]
    async fn what_a_put_cannot_do_reaches_no_service() {
        let stage = Stage::new();
        for (line, header, verdict) in [
            (
                "PUT /b/k",
                ("x-amz-if-match-size", "1"),
                (501, "NotImplemented"),
            ),
            ("PUT /b/k", ("if-match", "*, x"), (400, "InvalidArgument")),
            (
                "DELETE /b/k",
                ("if-none-match", ETAG),
                (501, "NotImplemented"),
            ),
            ("PUT /b/k", ("x-amz-tagging", "a=<"), (400, "InvalidTag")),
            (
                "PUT /b/k",
                ("x-amz-server-side-encryption", "AES256"),
                (501, "NotImplemented"),
            ),
            (
                "PUT /b/k?acl",
                ("x-amz-acl", "private"),
                (501, "NotImplemented"),
            ),
            (
                "GET /b/k",
                ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
                (501, "NotImplemented"),
            ),
            ("PUT /b/k", ("content-md5", "x"), (400, "InvalidDigest")),
            (
                "PUT /b/k",
                ("x-amz-checksum-crc32", "x"),
                (400, "InvalidRequest"),
            ),
            ("PUT /b//k", ("accept", "*/*"), (400, "InvalidArgument")),
            ("PUT /b/%ff", ("accept", "*/*"), (400, "InvalidURI")),
        ] {
            let answer = stage
                .send(line, &[("content-length", "1"), header], "x")
                .await;
            assert_eq!(answer.verdict(), verdict, "{line} {header:?}");
        }
        let answer = stage.ask("PUT /b/k", &[]).await;
        assert_eq!(answer.verdict(), (411, "MissingContentLength"));
        assert_eq!(stage.call_count(), 0);
    }

    #[tokio::test]
    async fn the_conditions_of_a_write_go_along_and_their_failure_is_named() {
        let stage = Stage::new();
        let headers = [
            ("content-length", "1"),
            ("if-none-match", "*"),
            ("if-match", ETAG),
        ];
        assert_eq!(stage.send("PUT /b/k", &headers, "x").await.status, 200);
        let AnyOperation::PutObject(put) = stage.only_call().operation else {
            panic!()
        };
        assert_eq!(put.conditions.if_none_match, Some(EtagMatch::Any));
        assert_eq!(
            put.conditions.if_match,
            Some(EtagMatch::Tags(vec![object().etag()]))
        );

        let headers = [("if-match", ETAG), ("x-amz-if-match-size", "7")];
        assert_eq!(stage.ask("DELETE /b/k", &headers).await.status, 204);
        let AnyOperation::DeleteObject(delete) = stage.only_call().operation else {
            panic!()
        };
        assert_eq!(delete.conditions.if_size, Some(7));
        assert_eq!(delete.conditions.if_match, put.conditions.if_match);

        let condition = "If-None-Match";
        let stage = Stage::failing(StorageError::PreconditionFailed { condition });
        let answer = stage
            .send(
                "PUT /b/k",
                &[("content-length", "1"), ("if-none-match", "*")],
                "x",
            )
            .await;
        assert_eq!(answer.verdict(), (412, "PreconditionFailed"));
        assert_eq!(answer.element("Condition"), condition);
    }

    #[tokio::test]
    async fn delete_answers_204() {
        let stage = Stage::new();
        let answer = stage.ask("DELETE /b/k", &[]).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (204, ""));
        assert!(matches!(
            stage.only_call().operation,
            AnyOperation::DeleteObject(_)
        ));
    }
}
