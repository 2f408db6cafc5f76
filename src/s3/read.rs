//! GET and HEAD of objects.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use http::header::{self, HeaderMap};

use crate::s3::exchange::Exchange;
use crate::s3::fault::Fault;
use crate::s3::header::{self as s3_header, text as header_text};
use crate::s3::{checksum, condition, metadata, unsupported};
use crate::storage::{
    BucketName, ByteRange, FoundPart, GetObject, HeadObject, ObjectInfo, ObjectKey, PartNumber,
    ResolvedRange,
};

/// `GET /bucket/key`
pub(super) async fn get(
    exchange: Exchange,
    bucket: BucketName,
    key: ObjectKey,
) -> Result<Response, Fault> {
    let wanted = Wanted::read(&exchange)?;
    let operation = GetObject {
        bucket,
        key,
        range: wanted.range,
        part: wanted.part,
        conditions: condition::of_read(&exchange.headers),
        resolved: None,
    };
    let asked = header_text(&exchange.headers, "range").map(str::to_owned);
    let data = exchange
        .caller
        .call(operation)
        .await
        .map_err(|fault| with_range(fault, asked.as_deref()))?;
    let mut response = Response::new(Body::from_stream(data.body));
    wanted.describe(&data.info, data.range, data.part, &mut response);
    Ok(response)
}

/// `HEAD /bucket/key`
pub(super) async fn head(
    exchange: Exchange,
    bucket: BucketName,
    key: ObjectKey,
) -> Result<Response, Fault> {
    let wanted = Wanted::read(&exchange)?;
    let operation = HeadObject {
        bucket,
        key,
        part: wanted.part,
        conditions: condition::of_read(&exchange.headers),
    };
    let found = exchange.caller.call(operation).await?;
    let info = found.info;
    let range = wanted
        .range
        .map(|range| range.resolve(info.size))
        .transpose()?;
    let mut response = Response::new(Body::empty());
    wanted.describe(&info, range, found.part, &mut response);
    Ok(response)
}

/// What of an object a request wants: everything, a range, or a part; and what it wants to know.
struct Wanted {
    range: Option<ByteRange>,
    part: Option<PartNumber>,
    checksum: bool,
    /// Tags are for members, and so is their number.
    tag_count: bool,
    overrides: HeaderMap,
}

impl Wanted {
    /// Errors: InvalidArgument for what is no part number, InvalidRequest for a part and a range at once; what a read cannot
    /// do.
    fn read(exchange: &Exchange) -> Result<Self, Fault> {
        unsupported::refuse_on_read(&exchange.headers)?;
        let range = condition::range(&exchange.headers);
        let number = exchange.params.count("partNumber")?;
        if number.is_some() && range.is_some() {
            return Err(Fault::invalid_request(
                "Cannot specify both Range header and partNumber query parameter",
            ));
        }
        Ok(Self {
            range,
            part: number.map(PartNumber::new).transpose()?,
            checksum: checksum::is_wanted(&exchange.headers),
            tag_count: exchange.is_signed() || !exchange.config.lets_strangers_read,
            overrides: metadata::overrides(&exchange.params, exchange.is_signed())?,
        })
    }

    /// Writes the status and the headers of an object, of a range of it, or of a part. Only the whole object has a checksum.
    fn describe(
        self,
        info: &ObjectInfo,
        range: Option<ResolvedRange>,
        part: Option<FoundPart>,
        response: &mut Response,
    ) {
        let headers = response.headers_mut();
        metadata::write(info, headers);
        let tag_count = info.metadata.tags.len();
        if tag_count > 0 && self.tag_count {
            headers.insert(s3_header::TAGGING_COUNT, tag_count.into());
        }
        if let Some(count) = part.and_then(|part| part.count) {
            headers.insert(s3_header::PARTS_COUNT, count.into());
        }
        let range = range.or(part.and_then(|part| part.range));
        let len_bytes = range.map_or(info.size, |range| range.len_bytes());
        headers.insert(header::CONTENT_LENGTH, len_bytes.into());
        if let Some(range) = range {
            let shown = format!("bytes {}-{}/{}", range.start, range.end - 1, info.size);
            headers.insert(header::CONTENT_RANGE, s3_header::value(&shown));
        } else if let Some(kept) = info.checksum.as_ref().filter(|_| self.checksum) {
            checksum::write(kept, headers);
        }
        headers.extend(self.overrides);
        if range.is_some() {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
    }
}

/// Names the range that could not be satisfied.
fn with_range(fault: Fault, asked: Option<&str>) -> Fault {
    match asked {
        Some(asked) if fault.code == "InvalidRange" => fault.with("RangeRequested", asked),
        _ => fault,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::stream;

    use crate::s3::testing::{CONTENT, ETAG, HASH, Stage, object, ordinary};
    use crate::storage::{
        AnyOperation, AnyOutput, ByteStream, EtagMatch, FoundPart, ObjectData, ObjectFound,
        PartNumber, ResolvedRange, StorageError,
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
}
