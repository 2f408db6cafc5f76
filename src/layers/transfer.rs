//! Watching a body to its end: what crosses, and how it stops.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::{Stream, StreamExt};

use crate::storage::{ByteStream, StorageError};

/// How a body stopped.
#[derive(Debug)]
pub(super) enum End<'e> {
    /// All of it was taken.
    Complete,
    /// It ended with an error.
    Failed(&'e StorageError),
    /// It was dropped before its end: whoever took it has left.
    Abandoned,
}

/// Sees a body pass.
pub(super) trait Watch: Send + 'static {
    /// A frame of this many bytes was taken.
    fn frame(&mut self, len_bytes: usize);

    /// The body stopped. Called once, and nothing comes after it.
    fn end(&mut self, end: &End<'_>);
}

/// Lets `watch` see `body` pass.
///
/// A body of known length is complete with its last byte, whether or not anybody asks for the end of the stream: HTTP
/// servers do not, once they have sent as many bytes as announced.
pub(super) fn watched(body: ByteStream, watch: impl Watch) -> ByteStream {
    let len_bytes = body.len_bytes();
    let watched = Watched {
        frames: body,
        left: len_bytes,
        watch: Some(watch),
    };
    ByteStream::new(watched, len_bytes)
}

struct Watched<W: Watch> {
    frames: ByteStream,
    /// Bytes that are still to come, if known.
    left: Option<u64>,
    /// `None` once the end was told.
    watch: Option<W>,
}

impl<W: Watch> Watched<W> {
    fn end(&mut self, end: &End<'_>) {
        if let Some(mut watch) = self.watch.take() {
            watch.end(end);
        }
    }
}

impl<W: Watch> Unpin for Watched<W> {}

impl<W: Watch> Stream for Watched<W> {
    type Item = Result<Bytes, StorageError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.frames.poll_next_unpin(cx));
        match &item {
            Some(Ok(frame)) => {
                if let Some(watch) = &mut self.watch {
                    watch.frame(frame.len());
                }
                if let Some(left) = &mut self.left {
                    *left = left.saturating_sub(frame.len() as u64);
                }
            }
            Some(Err(error)) => self.end(&End::Failed(error)),
            None => self.end(&End::Complete),
        }
        Poll::Ready(item)
    }
}

impl<W: Watch> Drop for Watched<W> {
    fn drop(&mut self) {
        let end = match self.left {
            Some(0) => End::Complete,
            _ => End::Abandoned,
        };
        self.end(&end);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures::stream;

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<String>>>);

    impl Log {
        fn lines(&self) -> Vec<String> {
            self.0.lock().unwrap().clone()
        }
    }

    impl Watch for Log {
        fn frame(&mut self, len_bytes: usize) {
            self.0.lock().unwrap().push(len_bytes.to_string());
        }

        fn end(&mut self, end: &End<'_>) {
            self.0.lock().unwrap().push(format!("{end:?}"));
        }
    }

    #[tokio::test]
    async fn a_body_read_to_its_end_is_complete_once() {
        let log = Log::default();
        let body = watched(ByteStream::from_bytes("abc"), log.clone());
        assert_eq!(body.len_bytes(), Some(3));
        body.collect(3).await.unwrap();
        assert_eq!(log.lines(), ["3", "Complete"]);
    }

    #[tokio::test]
    async fn a_body_of_known_length_is_complete_with_its_last_byte() {
        let log = Log::default();
        let mut body = watched(ByteStream::from_bytes("abc"), log.clone());
        body.next().await.unwrap().unwrap();
        drop(body);
        assert_eq!(log.lines(), ["3", "Complete"]);
    }

    #[tokio::test]
    async fn a_body_dropped_early_is_abandoned() {
        let log = Log::default();
        let frames = stream::iter([Ok(Bytes::from("ab")), Ok(Bytes::from("c"))]);
        let mut body = watched(ByteStream::new(frames, Some(3)), log.clone());
        body.next().await.unwrap().unwrap();
        drop(body);
        assert_eq!(log.lines(), ["2", "Abandoned"]);
    }

    #[tokio::test]
    async fn an_error_ends_the_body_and_dropping_it_adds_nothing() {
        let log = Log::default();
        let frames = stream::iter([Err(StorageError::IncompleteBody)]);
        let mut body = watched(ByteStream::new(frames, Some(3)), log.clone());
        assert!(body.next().await.unwrap().is_err());
        drop(body);
        assert_eq!(log.lines(), ["Failed(IncompleteBody)"]);
    }
}
