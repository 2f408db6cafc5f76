//! GET, HEAD, PUT, and DELETE of objects.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header;

use crate::s3::body::LentBody;
use crate::s3::exchange::Exchange;
use crate::s3::fault::Fault;
use crate::s3::header::{self as s3_header, quoted, text as header_text};
use crate::s3::{checksum, condition, integrity, metadata, unsupported};
use crate::storage::{
    BucketName, ByteRange, ChecksumAlgorithm, DeleteObject, FoundPart, GetObject, HeadObject,
    Integrity, ObjectChecksum, ObjectInfo, ObjectKey, PartNumber, Payload, PutObject,
    ResolvedRange,
};

/// The largest object: 5 TiB. Source: AWS, "Amazon S3 multipart upload limits". More than S3 takes in one PUT, since
/// nothing here needs the smaller bound.
pub(super) const MAX_OBJECT_BYTES: u64 = 5 << 40;

/// `GET /bucket/key`
pub(super) async fn get(
    exchange: Exchange,
    bucket: BucketName,
    key: ObjectKey,
) -> Result<Response, Fault> {
    unsupported::refuse_on_read(&exchange.headers)?;
    let wanted = Wanted::read(&exchange)?;
    let overrides = metadata::overrides(&exchange.params, exchange.is_signed())?;
    let operation = GetObject {
        bucket,
        key,
        range: wanted.range,
        part: wanted.part,
        conditions: condition::of_read(&exchange.headers),
        resolved: None,
    };
    let asked = header_text(&exchange.headers, "range").map(str::to_owned);
    let wants_checksum = checksum::is_wanted(&exchange.headers);
    let data = exchange
        .caller
        .call(operation)
        .await
        .map_err(|fault| with_range(fault, asked.as_deref()))?;
    let mut response = Response::new(Body::from_stream(data.body));
    describe(
        &data.info,
        data.range,
        data.part,
        wants_checksum,
        &mut response,
    );
    response.headers_mut().extend(overrides);
    Ok(response)
}

/// `HEAD /bucket/key`
pub(super) async fn head(
    exchange: Exchange,
    bucket: BucketName,
    key: ObjectKey,
) -> Result<Response, Fault> {
    unsupported::refuse_on_read(&exchange.headers)?;
    let wanted = Wanted::read(&exchange)?;
    let overrides = metadata::overrides(&exchange.params, exchange.is_signed())?;
    let operation = HeadObject {
        bucket,
        key,
        part: wanted.part,
        conditions: condition::of_read(&exchange.headers),
    };
    let wants_checksum = checksum::is_wanted(&exchange.headers);
    let found = exchange.caller.call(operation).await?;
    let info = found.info;
    let range = wanted
        .range
        .map(|range| range.resolve(info.size))
        .transpose()?;
    let mut response = Response::new(Body::empty());
    describe(&info, range, found.part, wants_checksum, &mut response);
    response.headers_mut().extend(overrides);
    Ok(response)
}

/// What of an object a request wants: everything, a range, or a part.
struct Wanted {
    range: Option<ByteRange>,
    part: Option<PartNumber>,
}

impl Wanted {
    /// Errors: InvalidArgument for what is no part number, InvalidRequest for a part and a range at once.
    fn read(exchange: &Exchange) -> Result<Self, Fault> {
        let range = condition::range(&exchange.headers);
        let number = exchange.params.count("partNumber")?;
        if number.is_some() && range.is_some() {
            return Err(Fault::invalid_request(
                "Cannot specify both Range header and partNumber query parameter",
            ));
        }
        let part = number.map(PartNumber::new).transpose()?;
        Ok(Self { range, part })
    }
}

/// Writes the status and the headers of an object, of a range of it, or of a part. Only the whole object has a
/// checksum.
fn describe(
    info: &ObjectInfo,
    range: Option<ResolvedRange>,
    part: Option<FoundPart>,
    wants_checksum: bool,
    response: &mut Response,
) {
    let headers = response.headers_mut();
    metadata::write(info, headers);
    if let Some(count) = part.and_then(|part| part.count) {
        headers.insert(s3_header::PARTS_COUNT, count.into());
    }
    let range = range.or(part.and_then(|part| part.range));
    let len_bytes = range.map_or(info.size, |range| range.len_bytes());
    headers.insert(header::CONTENT_LENGTH, len_bytes.into());
    if let Some(range) = range {
        let shown = format!("bytes {}-{}/{}", range.start, range.end - 1, info.size);
        headers.insert(header::CONTENT_RANGE, s3_header::value(&shown));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    } else if let Some(kept) = info.checksum.as_ref().filter(|_| wants_checksum) {
        checksum::write(kept, headers);
    }
}

/// Names the range that could not be satisfied.
fn with_range(fault: Fault, asked: Option<&str>) -> Fault {
    match asked {
        Some(asked) if fault.code == "InvalidRange" => fault.with("RangeRequested", asked),
        _ => fault,
    }
}

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
    use bytes::Bytes;
    use futures::stream;

    use crate::s3::S3Config;
    use crate::s3::testing::{CONTENT, ETAG, HASH, Stage, object, ordinary};
    use crate::storage::{
        AnyOperation, AnyOutput, ByteStream, Checksum, ChecksumAlgorithm, EtagMatch,
        ExpectedChecksum, FoundPart, ObjectData, ObjectFound, PartNumber, ResolvedRange,
        StorageError,
    };

    #[tokio::test]
    async fn get_answers_with_everything_known_of_the_object() {
        let stage = Stage::new();
        let answer = stage.ask("GET /b/d/k", &[("if-match", ETAG)]).await;
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, CONTENT));
        for (name, value) in [
            ("content-type", "text/plain"),
            ("content-length", "10"),
            ("cache-control", "no-store"),
            ("x-amz-meta-color", "red"),
            ("etag", ETAG),
            ("last-modified", "Fri, 02 Jan 2026 03:04:05 GMT"),
            ("accept-ranges", "bytes"),
            ("x-hf-xet-hash", HASH),
            ("content-range", ""),
            ("x-amz-checksum-crc32", ""),
            ("server", "hugbucket"),
        ] {
            assert_eq!(answer.header(name), value, "{name}");
        }
        let AnyOperation::GetObject(get) = stage.only_call().operation else {
            panic!()
        };
        assert_eq!(
            (get.bucket.as_str(), get.key.as_str(), get.range),
            ("b", "d/k", None)
        );
        assert_eq!(
            get.conditions.if_match,
            Some(EtagMatch::Tags(vec![object().etag()]))
        );
    }

    #[tokio::test]
    async fn ranges_are_answered_with_206() {
        for (range, shown, body) in [
            ("bytes=2-4", "bytes 2-4/10", "234"),
            ("bytes=7-", "bytes 7-9/10", "789"),
            ("bytes=-2", "bytes 8-9/10", "89"),
            ("bytes=8-99", "bytes 8-9/10", "89"),
        ] {
            let answer = Stage::new().ask("GET /b/k", &[("range", range)]).await;
            assert_eq!(
                (answer.status.as_u16(), answer.header("content-range")),
                (206, shown)
            );
            assert_eq!(
                (answer.text(), answer.header("content-length")),
                (body, body.len().to_string().as_str())
            );
            let head = Stage::new().ask("HEAD /b/k", &[("range", range)]).await;
            assert_eq!(
                (head.status.as_u16(), head.header("content-range")),
                (206, shown)
            );
            assert_eq!(
                head.header("content-length"),
                answer.header("content-length")
            );
        }
    }

    #[tokio::test]
    async fn an_impossible_range_names_the_size() {
        let stage = Stage::failing(StorageError::InvalidRange { size: 10 });
        let answer = stage.ask("GET /b/k", &[("range", "bytes=10-")]).await;
        assert_eq!(answer.verdict(), (416, "InvalidRange"));
        assert_eq!(answer.header("content-range"), "bytes */10");
        assert_eq!(answer.element("RangeRequested"), "bytes=10-");
        assert_eq!(answer.element("ActualObjectSize"), "10");
    }

    #[tokio::test]
    async fn the_first_part_of_an_object_uploaded_whole_is_the_object() {
        for line in ["GET /b/k?partNumber=1", "HEAD /b/k?partNumber=1"] {
            let answer = Stage::new().ask(line, &[]).await;
            assert_eq!(
                (answer.status.as_u16(), answer.header("content-range")),
                (206, "bytes 0-9/10")
            );
            assert_eq!(answer.header("x-amz-mp-parts-count"), "");
        }
    }

    #[tokio::test]
    async fn a_part_is_answered_with_206_its_range_and_the_number_of_parts() {
        let part = FoundPart {
            range: Some(ResolvedRange { start: 4, end: 8 }),
            count: Some(3),
        };
        let stage = Stage::answering(move |operation| {
            let info = std::sync::Arc::new(object());
            Ok(match operation {
                AnyOperation::HeadObject(head) => {
                    assert_eq!(head.part.map(PartNumber::get), Some(2));
                    let part = Some(part);
                    AnyOutput::HeadObject(ObjectFound { info, part })
                }
                AnyOperation::GetObject(get) => {
                    assert_eq!(get.part.map(PartNumber::get), Some(2));
                    AnyOutput::GetObject(ObjectData {
                        info,
                        range: part.range,
                        part: Some(part),
                        body: ByteStream::from_bytes("4567"),
                    })
                }
                other => panic!("{other:?}"),
            })
        });
        for line in ["GET /b/k?partNumber=2", "HEAD /b/k?partNumber=2"] {
            let answer = stage.ask(line, &[]).await;
            assert_eq!(answer.status, 206, "{line}");
            for (name, value) in [
                ("content-range", "bytes 4-7/10"),
                ("content-length", "4"),
                ("x-amz-mp-parts-count", "3"),
                ("etag", ETAG),
            ] {
                assert_eq!(answer.header(name), value, "{line}: {name}");
            }
        }
    }

    #[tokio::test]
    async fn a_part_that_is_not_there_is_416() {
        let stage = Stage::failing(StorageError::NoSuchPart { part_number: 2 });
        let answer = stage.ask("GET /b/k?partNumber=2", &[]).await;
        assert_eq!(answer.verdict(), (416, "InvalidPartNumber"));
        assert_eq!(answer.element("PartNumberRequested"), "2");
        for (line, range) in [
            ("GET /b/k?partNumber=0", ""),
            ("GET /b/k?partNumber=10001", ""),
            ("GET /b/k?partNumber=x", ""),
            ("HEAD /b/k?partNumber=1", "bytes=0-1"),
        ] {
            let answer = Stage::new().ask(line, &[("range", range)]).await;
            assert_eq!(answer.status, 400, "{line}");
        }
    }

    #[tokio::test]
    async fn head_has_the_headers_of_get_and_no_body() {
        let stage = Stage::new();
        let (get, head) = (
            stage.ask("GET /b/k", &[]).await,
            stage.ask("HEAD /b/k", &[]).await,
        );
        assert!(head.body.is_empty());
        for name in get
            .headers
            .keys()
            .filter(|name| !name.as_str().contains("request-id"))
        {
            assert_eq!(
                get.header(name.as_str()),
                head.header(name.as_str()),
                "{name}"
            );
        }
    }

    #[tokio::test]
    async fn a_kept_checksum_is_shown_where_it_is_asked_for_and_never_of_a_range() {
        let stage = Stage::answering(|operation| {
            let mut answer = ordinary(operation);
            let info = match &mut answer {
                AnyOutput::GetObject(data) => &mut data.info,
                AnyOutput::HeadObject(found) => &mut found.info,
                _ => panic!(),
            };
            std::sync::Arc::make_mut(info).checksum = Some("crc32-cbf43926".parse().unwrap());
            Ok(answer)
        });
        let mode = ("x-amz-checksum-mode", "ENABLED");
        for method in ["GET", "HEAD"] {
            for (query, headers, value, kind) in [
                ("", &[mode][..], "y/Q5Jg==", "FULL_OBJECT"),
                ("", &[], "", ""),
                ("", &[mode, ("range", "bytes=0-3")], "", ""),
                ("?partNumber=1", &[mode], "", ""),
            ] {
                let answer = stage.ask(&format!("{method} /b/k{query}"), headers).await;
                assert_eq!(answer.header("x-amz-checksum-crc32"), value, "{headers:?}");
                assert_eq!(answer.header("x-amz-checksum-type"), kind);
            }
        }
    }

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
    async fn errors_of_head_have_no_body() {
        let stage = Stage::failing(StorageError::NoSuchKey { key: "k".into() });
        let answer = stage.ask("HEAD /b/k", &[]).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (404, ""));
        assert_eq!(answer.header("x-amz-request-id").len(), 32);
        assert_eq!(answer.header("content-type"), "");
    }

    #[tokio::test]
    async fn an_unchanged_object_is_304_without_a_body() {
        let unchanged = StorageError::NotModified {
            etag: object().etag(),
            last_modified: object().last_modified,
        };
        let answer = Stage::failing(unchanged)
            .ask("GET /b/k", &[("if-none-match", ETAG)])
            .await;
        assert_eq!((answer.status.as_u16(), answer.text()), (304, ""));
        assert_eq!(answer.header("etag"), ETAG);
        assert_eq!(
            answer.header("last-modified"),
            "Fri, 02 Jan 2026 03:04:05 GMT"
        );
    }

    #[tokio::test]
    async fn a_read_that_fails_midway_breaks_the_answer_off() {
        let stage = Stage::answering(|_| {
            let frames = [Ok(Bytes::from("012")), Err(StorageError::internal("lost"))];
            Ok(AnyOutput::GetObject(ObjectData {
                info: std::sync::Arc::new(object()),
                range: None,
                part: None,
                body: ByteStream::new(stream::iter(frames), Some(10)),
            }))
        });
        let answer = stage.ask("GET /b/k", &[]).await;
        assert_eq!(answer.status, 200);
        assert!(!answer.is_whole);
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
            (
                "PUT /b/k",
                ("x-amz-tagging", "a=b"),
                (501, "NotImplemented"),
            ),
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
