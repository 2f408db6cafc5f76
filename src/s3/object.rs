//! GET, HEAD, PUT, and DELETE of objects.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header;

use crate::s3::body::LentBody;
use crate::s3::error::Fault;
use crate::s3::exchange::Exchange;
use crate::s3::header::{self as s3_header, quoted, text as header_text};
use crate::s3::{condition, integrity, metadata, unsupported};
use crate::storage::{
    BucketName, ByteRange, DeleteObject, GetObject, HeadObject, Integrity, ObjectInfo, ObjectKey,
    Payload, PutObject, ResolvedRange,
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
        range: wanted.range(),
        conditions: condition::of_read(&exchange.headers),
        resolved: None,
    };
    let asked = header_text(&exchange.headers, "range").map(str::to_owned);
    let data = exchange
        .caller
        .call(operation)
        .await
        .map_err(|fault| with_range(fault, asked.as_deref()))?;
    let shown = wanted.shown(data.range, data.info.size);
    let mut response = Response::new(Body::from_stream(data.body));
    describe(&data.info, shown, &mut response);
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
        conditions: condition::of_read(&exchange.headers),
    };
    let info = exchange.caller.call(operation).await?.info;
    let range = wanted
        .range()
        .map(|range| range.resolve(info.size))
        .transpose()?;
    let mut response = Response::new(Body::empty());
    describe(&info, wanted.shown(range, info.size), &mut response);
    response.headers_mut().extend(overrides);
    Ok(response)
}

/// What of an object a request wants.
enum Wanted {
    /// Everything.
    Whole,
    /// Bytes.
    Range(ByteRange),
    /// The first and only part: everything, but shown as a part.
    FirstPart,
}

impl Wanted {
    /// Errors: InvalidPartNumber for parts beyond the first, InvalidRequest for a part and a range at once.
    fn read(exchange: &Exchange) -> Result<Self, Fault> {
        let range = condition::range(&exchange.headers);
        match (exchange.params.count("partNumber")?, range) {
            (None, None) => Ok(Self::Whole),
            (None, Some(range)) => Ok(Self::Range(range)),
            (Some(1), None) => Ok(Self::FirstPart),
            (Some(_), Some(_)) => Err(Fault::invalid_request(
                "Cannot specify both Range header and partNumber query parameter",
            )),
            (Some(number), None) => Err(Fault::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "InvalidPartNumber",
                "The requested partnumber is not satisfiable",
            )
            .with("PartNumberRequested", number.to_string())),
        }
    }

    fn range(&self) -> Option<ByteRange> {
        match self {
            Self::Range(range) => Some(*range),
            Self::Whole | Self::FirstPart => None,
        }
    }

    /// Returns the range that the answer names. A part is named by its range, but an empty object has none.
    fn shown(&self, range: Option<ResolvedRange>, size: u64) -> Option<ResolvedRange> {
        match self {
            Self::FirstPart if size > 0 => Some(ResolvedRange {
                start: 0,
                end: size,
            }),
            Self::Whole | Self::Range(_) | Self::FirstPart => range,
        }
    }
}

/// Writes the status and the headers of an object or of a range of it.
fn describe(info: &ObjectInfo, range: Option<ResolvedRange>, response: &mut Response) {
    let headers = response.headers_mut();
    metadata::write(info, headers);
    let len_bytes = range.map_or(info.size, |range| range.len_bytes());
    headers.insert(header::CONTENT_LENGTH, len_bytes.into());
    if let Some(range) = range {
        let shown = format!("bytes {}-{}/{}", range.start, range.end - 1, info.size);
        headers.insert(header::CONTENT_RANGE, s3_header::value(&shown));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
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
    condition::refuse_on_write(&exchange.headers)?;
    unsupported::refuse_on_object_write(&exchange.headers)?;
    exchange.check_length(MAX_OBJECT_BYTES)?;
    let metadata = metadata::from_headers(&exchange.headers)?;
    let mut announced = integrity::announced(&exchange.headers)?;
    announced.wants_md5 = integrity::wants_md5(&exchange.headers, &announced);
    let measured = announced.measured.clone();
    let md5 = announced.wants_md5.then(|| measured.clone());
    let operation = PutObject {
        bucket,
        key,
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
    integrity::write_measured(&measured, headers);
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
    condition::refuse_on_write(&exchange.headers)?;
    exchange.caller.call(DeleteObject { bucket, key }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
