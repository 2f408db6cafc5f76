//! RETR: a file, or its end, as a stream of the content that was there when it was opened.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures::{FutureExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use crate::ftp::backend::Backend;
use crate::ftp::backend::sight::Seen;
use crate::ftp::error::Failure;
use crate::ftp::path::Place;
use crate::ftp::user::User;
use crate::storage::{ByteRange, ByteStream, EtagMatch, GetObject, ReadConditions, StorageError};

impl Backend {
    /// Opens a file at an offset. Whoever goes on with a file that this session looked at gets the content that it saw.
    ///
    /// Errors: 550 if there is no such file, or it ends before the offset; 450 if it was changed.
    pub(super) async fn open(
        &self,
        user: &User,
        place: &Place,
        offset: u64,
    ) -> Result<ByteStream, Failure> {
        let Place::Entry(entry) = place else {
            return Err(Failure::not_available("this is a directory, not a file"));
        };
        let goes_on = offset > 0;
        let if_match = match self.sight.of(entry) {
            Some(Seen::File(hash, _)) if goes_on => Some(EtagMatch::Tags(vec![hash.etag()])),
            Some(Seen::File(..) | Seen::Nothing | Seen::Unknown) | None => None,
        };
        let get = GetObject {
            bucket: entry.bucket.clone(),
            key: entry.present_key()?,
            range: goes_on.then_some(ByteRange::From { first: offset }),
            part: None,
            conditions: ReadConditions {
                if_match,
                ..ReadConditions::default()
            },
            resolved: None,
        };
        match user.call(&self.gateway, get).await {
            Ok(data) => {
                self.sight.note(entry, Seen::file(&data.info));
                Ok(data.body)
            }
            // Nothing is left to be sent.
            Err(StorageError::InvalidRange { size }) if size == offset => Ok(ByteStream::empty()),
            Err(StorageError::InvalidRange { size }) => Err(Failure::not_available(format!(
                "the file has {size} bytes, and nothing at {offset}"
            ))),
            Err(error) => Err(error.into()),
        }
    }
}

/// Frames that leave with one call at most.
const FRAMES_AT_ONCE: usize = 16;

/// Sends all of a body without another copy. Frames that are there already leave together: they are short where a chunk came
/// in several pieces, and each call costs a wake-up at the other end. Returns how many bytes the body had.
pub(super) async fn send(
    mut body: ByteStream,
    mut output: &mut (impl AsyncWrite + Unpin + ?Sized),
) -> Result<u64, Failure> {
    let mut sent = 0;
    let mut is_over = false;
    while !is_over && let Some(first) = body.next().await {
        let mut frames = Frames(VecDeque::from([first?]));
        while frames.0.len() < FRAMES_AT_ONCE
            && let Some(ready) = body.next().now_or_never()
        {
            match ready {
                Some(frame) => frames.0.push_back(frame?),
                None => {
                    is_over = true;
                    break;
                }
            }
        }
        sent += frames.remaining() as u64;
        (&mut output)
            .write_all_buf(&mut frames)
            .await
            .map_err(broken)?;
    }
    output.flush().await.map_err(broken)?;
    Ok(sent)
}

/// Frames as one buffer. None of them is empty.
struct Frames(VecDeque<Bytes>);

impl Buf for Frames {
    fn remaining(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    fn chunk(&self) -> &[u8] {
        self.0.front().map_or(&[], |frame| frame)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let filled = self.0.iter().zip(slices);
        filled
            .map(|(frame, slice)| *slice = IoSlice::new(frame))
            .count()
    }

    fn advance(&mut self, mut len_bytes: usize) {
        while let Some(front) = self.0.front_mut()
            && len_bytes > 0
        {
            let step = len_bytes.min(front.len());
            front.advance(step);
            len_bytes -= step;
            if front.is_empty() {
                self.0.pop_front();
            }
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn broken(error: io::Error) -> Failure {
    Failure::connection_closed(format!("the data connection broke: {error}"))
}

/// A body for those who want to read it themselves.
pub(super) struct Reader {
    /// Never locked: it only makes the stream one that may be shared between threads, as the engine wants it.
    body: Mutex<ByteStream>,
    rest: Bytes,
}

impl Reader {
    pub(super) fn new(body: ByteStream) -> Self {
        Self {
            body: Mutex::new(body),
            rest: Bytes::new(),
        }
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let reader = &mut *self;
        if reader.rest.is_empty() {
            let body = reader
                .body
                .get_mut()
                .unwrap_or_else(PoisonError::into_inner);
            match ready!(body.poll_next_unpin(cx)) {
                Some(frame) => reader.rest = frame.map_err(io::Error::other)?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let take = reader.rest.len().min(buffer.remaining());
        buffer.put_slice(&reader.rest[..take]);
        reader.rest.advance(take);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn body(last: Result<&'static str, StorageError>) -> ByteStream {
        let frames = [Ok(Bytes::from("first, ")), last.map(Bytes::from)];
        ByteStream::new(stream::iter(frames), None)
    }

    #[tokio::test]
    async fn all_frames_are_sent_and_a_failure_is_not_an_end() {
        let mut sent = Vec::new();
        assert_eq!(send(body(Ok("last")), &mut sent).await.unwrap(), 11);
        assert_eq!(sent, b"first, last");
        let cut = send(body(Err(StorageError::internal("x"))), &mut sent).await;
        assert_eq!(cut.unwrap_err().refusal().code, 451);
    }

    #[tokio::test]
    async fn many_frames_arrive_in_order_however_little_is_taken_at_once() {
        let frames: Vec<Bytes> = (0_u8..100)
            .map(|n| vec![n; 1 + usize::from(n) * 7].into())
            .collect();
        let whole = frames.concat();
        let body = ByteStream::new(stream::iter(frames.into_iter().map(Ok)), None);
        let (mut output, mut input) = tokio::io::duplex(11);
        let mut received = Vec::new();
        let sending = async {
            let sent = send(body, &mut output).await.unwrap();
            drop(output);
            sent
        };
        let (sent, received_bytes) = tokio::join!(sending, input.read_to_end(&mut received));
        assert_eq!(
            (sent, received_bytes.unwrap()),
            (whole.len() as u64, whole.len())
        );
        assert!(received == whole);
    }

    #[tokio::test]
    async fn a_reader_gives_all_bytes_and_then_the_error() {
        let mut read = String::new();
        let mut whole = Reader::new(body(Ok("last")));
        whole.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "first, last");
        let mut cut = Reader::new(body(Err(StorageError::internal("x"))));
        let mut start = [0; 7];
        cut.read_exact(&mut start).await.unwrap();
        assert!(cut.read(&mut start).await.is_err());
    }
}
