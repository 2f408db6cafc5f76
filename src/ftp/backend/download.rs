//! RETR: a file, or its end, as a stream of the content that was there when it was opened.

use std::io;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures::StreamExt as _;
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

/// Sends all of a body to the engine, for sessions that do not take it themselves. Returns how many bytes it had.
pub(super) async fn send(
    mut body: ByteStream,
    output: &mut (impl AsyncWrite + Unpin + ?Sized),
) -> Result<u64, Failure> {
    let mut sent = 0;
    while let Some(frame) = body.next().await {
        let frame = frame?;
        output.write_all(&frame).await.map_err(broken)?;
        sent += frame.len() as u64;
    }
    output.flush().await.map_err(broken)?;
    Ok(sent)
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
