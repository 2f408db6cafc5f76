//! One ranged GET of a serialized xorb, read as chunks.

use http::StatusCode;
use http::header::{CONTENT_RANGE, RANGE};
use url::Url;

use crate::provider::cas::chunk::{ChunkDecoder, ChunkError, PackedChunk};
use crate::provider::cas::client::Shared;
use crate::provider::cas::download::fault::Fault;
use crate::provider::cas::error::{from_status, from_transport, malformed, unavailable};
use crate::provider::cas::plan::Segment;
use crate::provider::http::CallName;
use crate::telemetry::{Metrics, Upstream};

/// The call in words, for metrics and errors.
const CALL: &str = "xorb";

/// Reads the chunks of a segment in order, as they arrive.
#[derive(Debug)]
pub(super) struct RangeReader {
    response: reqwest::Response,
    decoder: ChunkDecoder,
    /// Index of the chunk that comes next.
    next: u32,
    end: u32,
    left_bytes: u64,
    metrics: Metrics,
}

impl RangeReader {
    /// Sends the request and checks the head of the answer.
    ///
    /// No credentials are sent: the address is one.
    pub(super) async fn open(shared: &Shared, url: &Url, segment: &Segment) -> Result<Self, Fault> {
        let (first, last) = (segment.bytes.start, segment.bytes.end - 1);
        let request = shared
            .http
            .storage
            .get(url.clone())
            .header(RANGE, format!("bytes={first}-{last}"))
            .with_extension(CallName(CALL));
        let sent = request.send().await;
        let response = sent.map_err(|error| from_transport(CALL, &error))?;
        let left_bytes = segment.bytes.end - segment.bytes.start;
        check_head(&response, first, left_bytes)?;
        Ok(Self {
            response,
            decoder: ChunkDecoder::default(),
            next: segment.chunks.start,
            end: segment.chunks.end,
            left_bytes,
            metrics: shared.metrics.clone(),
        })
    }

    /// Returns the index of the chunk that [`RangeReader::next_chunk`] returns next.
    pub(super) fn next_index(&self) -> u32 {
        self.next
    }

    /// Returns the next chunk. The caller asks for no more than the segment has.
    pub(super) async fn next_chunk(&mut self) -> Result<PackedChunk, Fault> {
        loop {
            if let Some(chunk) = self.decoder.next_chunk().map_err(broken)? {
                self.next += 1;
                if self.next == self.end {
                    self.finish().await?;
                }
                return Ok(chunk);
            }
            if !self.fill().await? {
                return Err(Fault::Cut(unavailable(format!("{CALL} ended too early"))));
            }
        }
    }

    /// Takes the end of the body, which gives the connection back to the pool.
    async fn finish(&mut self) -> Result<(), Fault> {
        if self.left_bytes > 0 || self.decoder.is_inside_chunk() {
            return Err(malformed(format_args!("{CALL} with more than its chunks")).into());
        }
        // Whatever is wrong with the connection now, the chunks are complete.
        let _ = self.response.chunk().await;
        Ok(())
    }

    /// Reads a frame; false at the end of the body.
    async fn fill(&mut self) -> Result<bool, Fault> {
        let frame = self.response.chunk().await;
        let frame = frame.map_err(|error| Fault::Cut(from_transport(CALL, &error.into())))?;
        let Some(frame) = frame else {
            return Ok(false);
        };
        let len = frame.len() as u64;
        self.metrics.upstream_received(Upstream::Xorb, len);
        let left = self.left_bytes.checked_sub(len);
        self.left_bytes =
            left.ok_or_else(|| malformed(format_args!("{CALL} longer than its range")))?;
        self.decoder.push(frame);
        Ok(true)
    }
}

/// Turns a broken chunk into the fault of its window. Another try would bring the same bytes.
pub(super) fn broken(error: ChunkError) -> Fault {
    Fault::Final(malformed(format_args!("{CALL}: {error}")))
}

/// Accepts exactly the range asked for, also when the range is the whole and the server says so with 200.
fn check_head(response: &reqwest::Response, first: u64, len_bytes: u64) -> Result<(), Fault> {
    let (status, headers) = (response.status(), response.headers());
    match status {
        StatusCode::PARTIAL_CONTENT => {}
        StatusCode::OK if first == 0 && response.content_length() == Some(len_bytes) => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::GONE => {
            return Err(Fault::Refused(from_status(CALL, status, headers)));
        }
        _ if status.is_success() => {
            return Err(malformed(format_args!("{CALL} answered {status} to a range")).into());
        }
        _ => return Err(from_status(CALL, status, headers).into()),
    }
    let begins = |value: &str| value.trim().starts_with(&format!("bytes {first}-"));
    let content_range = headers.get(CONTENT_RANGE).map(|value| value.to_str());
    let is_other_range = content_range.is_some_and(|value| !value.is_ok_and(begins));
    let is_other_length = response
        .content_length()
        .is_some_and(|len| len != len_bytes);
    if is_other_range || is_other_length {
        return Err(malformed(format_args!("{CALL} answered another range")).into());
    }
    Ok(())
}
