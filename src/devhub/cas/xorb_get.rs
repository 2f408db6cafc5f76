//! `GET /xorbs/{hash}`: stored bytes, opened by a signed address that names the allowed ranges.

use std::fs::File;
use std::io;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use xet_core_structures::merklehash::MerkleHash;

use super::access::{SignedAddress, hash};
use super::read_ahead::stream_file;
use crate::devhub::refusal::Refusal;
use crate::devhub::state::{Shared, blocking};
use crate::devhub::store::{ByteSpan, RangeHeader, Store};

const BOUNDARY: &str = "hugbucket-part";

#[derive(Debug, Deserialize)]
pub(super) struct Signed {
    #[serde(rename = "X-Xet-Signed-Range")]
    ranges: String,
}

/// The `Range` header must name either exactly the signed ranges, or exactly one of them.
pub(super) async fn xorb_get(
    State(state): State<Shared>,
    _: SignedAddress,
    Path(xorb): Path<String>,
    Query(signed): Query<Signed>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let hash = hash(&xorb)?;
    let asked = allowed_ranges(&signed, &headers)?;
    let store = state.store.clone();
    let (len, mut parts) = blocking(move || open(&store, &hash, &asked)).await??;
    Ok(match (parts.len(), parts.pop()) {
        (1, Some((span, file))) => single(file, span, len),
        (_, last) => {
            parts.extend(last);
            multipart(parts, len)
        }
    })
}

fn allowed_ranges(signed: &Signed, headers: &HeaderMap) -> Result<Vec<RangeHeader>, Refusal> {
    let allowed = RangeHeader::parse_all(&signed.ranges).unwrap_or_default();
    let asked = headers
        .get(RANGE)
        .and_then(|range| RangeHeader::parse_all(range.to_str().ok()?))
        .ok_or_else(|| Refusal::forbidden("the signed range is required"))?;
    let is_one_of_them = matches!(asked.as_slice(), [one] if allowed.contains(one));
    match asked == allowed || is_one_of_them {
        true => Ok(asked),
        false => Err(Refusal::forbidden("the range is not the signed one")),
    }
}

/// Returns the length of the xorb without its footer, and an open file for each range.
fn open(
    store: &Store,
    hash: &MerkleHash,
    asked: &[RangeHeader],
) -> Result<(u64, Vec<(ByteSpan, File)>), Refusal> {
    let missing = || Refusal::not_found("Xorb not found");
    let described = store.xorbs.describe(hash)?.ok_or_else(missing)?;
    let len = described.get_contents_length().map_err(io::Error::other)?;
    let parts = asked.iter().map(|range| {
        let span = range.resolve(len.into()).ok_or_else(Refusal::range)?;
        let file = store.xorbs.open_file(hash)?.ok_or_else(missing)?;
        Ok::<_, Refusal>((span, file))
    });
    Ok((len.into(), parts.collect::<Result<_, _>>()?))
}

fn single(file: File, span: ByteSpan, size: u64) -> Response {
    let headers = [
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (CONTENT_LENGTH, span.len().to_string()),
        (CONTENT_RANGE, content_range(span, size)),
    ];
    let body = Body::from_stream(stream_file(file, span));
    (StatusCode::PARTIAL_CONTENT, headers, body).into_response()
}

/// Several ranges in one answer (RFC 9110 §14.6).
fn multipart(parts: Vec<(ByteSpan, File)>, size: u64) -> Response {
    let tail = format!("--{BOUNDARY}--\r\n");
    let mut len = tail.len() as u64;
    let mut streams: Vec<stream::BoxStream<'static, io::Result<Bytes>>> = Vec::new();
    for (span, file) in parts {
        let head = format!(
            "--{BOUNDARY}\r\nContent-Type: application/octet-stream\r\nContent-Range: {}\r\n\r\n",
            content_range(span, size)
        );
        len += head.len() as u64 + span.len() + 2;
        streams.push(
            text(head)
                .chain(stream_file(file, span))
                .chain(text("\r\n".into()))
                .boxed(),
        );
    }
    streams.push(text(tail).boxed());
    let headers = [
        (
            CONTENT_TYPE,
            format!("multipart/byteranges; boundary={BOUNDARY}"),
        ),
        (CONTENT_LENGTH, len.to_string()),
    ];
    let body = Body::from_stream(stream::iter(streams).flatten());
    (StatusCode::PARTIAL_CONTENT, headers, body).into_response()
}

fn text(text: String) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream::iter([Ok(Bytes::from(text))])
}

fn content_range(span: ByteSpan, size: u64) -> String {
    format!("bytes {}-{}/{size}", span.start, span.end - 1)
}
