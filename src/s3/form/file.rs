//! The file of a form: everything up to the delimiter, as it comes in.

use std::ops::RangeInclusive;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use memchr::memmem::Finder;

use crate::storage::{ByteStream, StorageError};

/// The most that may follow the file, in bytes. It is ignored, but read: a form that is cut off stores nothing.
const MAX_REST_BYTES: usize = 1 << 20;

/// The content of a form's last part that counts.
///
/// # Behaviour
/// - The end of the stream means that the whole form has arrived, and that the file's size is one that was allowed.
/// - A file that grows too large is an error as soon as it does, one that is too small at its end.
/// - At most a frame and a delimiter are held.
#[derive(Debug)]
pub(super) struct FileStream {
    source: ByteStream,
    delimiter: Finder<'static>,
    buffer: BytesMut,
    state: State,
    allowed: RangeInclusive<u64>,
    received_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Content,
    /// The delimiter was found; so much followed it.
    Rest(usize),
    Ended,
}

impl FileStream {
    /// Continues a form whose `buffer` holds what was read of the file.
    pub(super) fn new(source: ByteStream, buffer: BytesMut, delimiter: &[u8]) -> Self {
        Self {
            source,
            delimiter: Finder::new(delimiter).into_owned(),
            buffer,
            state: State::Content,
            allowed: 0..=u64::MAX,
            received_bytes: 0,
        }
    }

    /// Allows only these sizes, in bytes.
    pub(super) fn of_size(mut self, allowed: RangeInclusive<u64>) -> Self {
        self.allowed = allowed;
        self
    }

    /// Returns what of the buffer is certainly content; `None` if that is nothing.
    fn content(&mut self) -> Option<Bytes> {
        let len = match self.delimiter.find(&self.buffer) {
            Some(0) => {
                self.state = State::Rest(self.buffer.len());
                self.buffer.clear();
                return None;
            }
            Some(at) => at,
            // The rest may be the delimiter's beginning.
            None => (self.buffer.len() + 1).saturating_sub(self.delimiter.needle().len()),
        };
        (len > 0).then(|| self.buffer.split_to(len).freeze())
    }

    fn account(&mut self, content: Bytes) -> Result<Bytes, StorageError> {
        self.received_bytes += content.len() as u64;
        if self.received_bytes > *self.allowed.end() {
            return Err(StorageError::EntityTooLarge {
                limit_bytes: *self.allowed.end(),
            });
        }
        Ok(content)
    }

    fn finish(&self) -> Result<(), StorageError> {
        match self.state {
            State::Content => Err(StorageError::IncompleteBody),
            State::Rest(_) if self.received_bytes < *self.allowed.start() => {
                Err(StorageError::BodyTooSmall {
                    size: self.received_bytes,
                    minimum: *self.allowed.start(),
                })
            }
            State::Rest(_) | State::Ended => Ok(()),
        }
    }

    fn poll_content(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, StorageError>>> {
        loop {
            if self.state == State::Content
                && let Some(content) = self.content()
            {
                return Poll::Ready(Some(self.account(content)));
            }
            if self.state == State::Ended {
                return Poll::Ready(None);
            }
            match ready!(self.source.poll_next_unpin(cx)) {
                Some(Ok(frame)) => match &mut self.state {
                    State::Rest(len_bytes) => {
                        *len_bytes += frame.len();
                        if *len_bytes > MAX_REST_BYTES {
                            let limit_bytes = MAX_REST_BYTES as u64;
                            let error = StorageError::EntityTooLarge { limit_bytes };
                            return Poll::Ready(Some(Err(error)));
                        }
                    }
                    State::Content | State::Ended => self.buffer.extend_from_slice(&frame),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(self.finish().err().map(Err)),
            }
        }
    }
}

impl Stream for FileStream {
    type Item = Result<Bytes, StorageError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.poll_content(cx));
        if !matches!(item, Some(Ok(_))) {
            self.state = State::Ended;
        }
        Poll::Ready(item)
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use proptest::prelude::*;

    use super::*;

    fn file(wire: &[u8], frame_len: usize) -> FileStream {
        let frames: Vec<_> = wire
            .chunks(frame_len)
            .map(|frame| Ok(Bytes::copy_from_slice(frame)))
            .collect();
        let source = ByteStream::new(stream::iter(frames), None);
        FileStream::new(source, BytesMut::new(), b"\r\n--b")
    }

    async fn read(file: FileStream) -> Result<Bytes, &'static str> {
        let content = ByteStream::new(file, None).collect(1 << 20).await;
        content.map_err(|error| error.outcome())
    }

    #[tokio::test]
    async fn a_form_that_is_cut_off_is_an_error() {
        for wire in ["", "content", "content\r\n--"] {
            let cut = file(wire.as_bytes(), 3);
            assert_eq!(read(cut).await, Err("incomplete_body"), "{wire:?}");
        }
        assert_eq!(read(file(b"\r\n--b", 3)).await.unwrap(), "");
    }

    #[tokio::test]
    async fn the_size_is_judged_at_once_and_at_the_end() {
        let sized = |range| file(b"12345\r\n--b--\r\n", 2).of_size(range);
        assert_eq!(read(sized(5..=5)).await.unwrap(), "12345");
        assert_eq!(read(sized(0..=4)).await, Err("entity_too_large"));
        assert_eq!(read(sized(6..=9)).await, Err("body_too_small"));
        // Nothing more is read of one that is too large.
        let endless = stream::repeat_with(|| Ok(Bytes::from_static(&[b'x'; 100])));
        let source = ByteStream::new(endless, None);
        let endless = FileStream::new(source, BytesMut::new(), b"\r\n--b").of_size(0..=1000);
        assert_eq!(read(endless).await, Err("entity_too_large"));
    }

    #[tokio::test]
    async fn what_follows_is_ignored_up_to_a_bound() {
        let mut wire = b"x\r\n--b\r\ncontent-disposition: form-data; name=more\r\n\r\n".to_vec();
        assert_eq!(read(file(&wire, 10)).await.unwrap(), "x");
        wire.resize(wire.len() + MAX_REST_BYTES, b'y');
        assert_eq!(read(file(&wire, 10_000)).await, Err("entity_too_large"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn any_content_in_any_frames_comes_out_whole(
            // Made of what delimiters are made of, so that beginnings of them are frequent.
            letters in proptest::collection::vec(0..5_usize, 0..300),
            frame_len in 1..40_usize,
        ) {
            let content: Vec<u8> = letters.iter().map(|letter| b"\r\n-bx"[*letter]).collect();
            prop_assume!(memchr::memmem::find(&content, b"\r\n--b").is_none());
            let wire = [&content[..], b"\r\n--b--"].concat();
            // A delimiter may begin within the content and end in the one that follows it.
            prop_assume!(memchr::memmem::find(&wire, b"\r\n--b") == Some(content.len()));
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let read = runtime.block_on(read(file(&wire, frame_len)));
            prop_assert_eq!(read.unwrap(), content);
        }
    }
}
