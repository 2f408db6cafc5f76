//! A stream of bytes with its length, when the length is known.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};

use crate::storage::StorageError;

/// A body on its way in or out: a stream of [`Bytes`] frames in order.
///
/// # Behaviour
/// - Frames are never empty and come in order; the stream ends after the first error.
/// - [`ByteStream::len_bytes`] is exact when it is `Some`: producers that end early must end with an error.
/// - Dropping the stream is always safe and releases everything that guards it.
pub struct ByteStream {
    frames: BoxStream<'static, Result<Bytes, StorageError>>,
    len_bytes: Option<u64>,
}

impl ByteStream {
    /// Wraps a stream of frames; `len_bytes` is the exact total, or `None` where it is unknown.
    pub fn new(
        frames: impl Stream<Item = Result<Bytes, StorageError>> + Send + 'static,
        len_bytes: Option<u64>,
    ) -> Self {
        Self {
            frames: frames.boxed(),
            len_bytes,
        }
    }

    /// Returns a body without bytes.
    pub fn empty() -> Self {
        Self::new(stream::empty(), Some(0))
    }

    /// Returns a body of one frame.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() {
            return Self::empty();
        }
        let len_bytes = bytes.len() as u64;
        Self::new(stream::once(async move { Ok(bytes) }), Some(len_bytes))
    }

    /// Returns the exact number of bytes in the whole body, if known before reading it.
    pub fn len_bytes(&self) -> Option<u64> {
        self.len_bytes
    }

    /// Keeps `guard` alive until the last frame was taken, an error came, or the body is dropped: a permit, a timer, a
    /// gauge.
    #[must_use]
    pub fn guarded<G: Send + 'static>(self, guard: G) -> Self {
        let len_bytes = self.len_bytes;
        Self::new(
            Guarded {
                frames: self.frames,
                guard: Some(guard),
            },
            len_bytes,
        )
    }

    /// Calls `observe` with every frame, and once more with `None` when the stream ends cleanly.
    #[must_use]
    pub fn inspected(
        self,
        mut observe: impl FnMut(Option<&Result<Bytes, StorageError>>) + Send + 'static,
    ) -> Self {
        let len_bytes = self.len_bytes;
        let mut frames = self.frames;
        let observed = stream::poll_fn(move |cx| {
            let item = ready!(frames.poll_next_unpin(cx));
            observe(item.as_ref());
            Poll::Ready(item)
        });
        Self::new(observed, len_bytes)
    }

    /// Reads the whole body into memory, refusing more than `limit_bytes`.
    ///
    /// Errors: whatever the stream ends with, or [`StorageError::EntityTooLarge`].
    pub async fn collect(mut self, limit_bytes: usize) -> Result<Bytes, StorageError> {
        let mut collected = BytesMut::new();
        let mut first: Option<Bytes> = None;
        while let Some(frame) = self.next().await {
            let frame = frame?;
            if collected.len() + first.as_ref().map_or(0, Bytes::len) + frame.len() > limit_bytes {
                return Err(StorageError::EntityTooLarge {
                    limit_bytes: limit_bytes as u64,
                });
            }
            match first.take() {
                None if collected.is_empty() => first = Some(frame),
                Some(earlier) => {
                    collected.extend_from_slice(&earlier);
                    collected.extend_from_slice(&frame);
                }
                None => collected.extend_from_slice(&frame),
            }
        }
        Ok(first.unwrap_or_else(|| collected.freeze()))
    }
}

impl Stream for ByteStream {
    type Item = Result<Bytes, StorageError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.frames.poll_next_unpin(cx)
    }
}

impl fmt::Debug for ByteStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteStream")
            .field("len_bytes", &self.len_bytes)
            .finish_non_exhaustive()
    }
}

/// A stream that holds a value until it ends, fails, or is dropped.
pub struct Guarded<S, G> {
    frames: S,
    guard: Option<G>,
}

impl<S: Unpin, G> Unpin for Guarded<S, G> {}

impl<S, G, T> Stream for Guarded<S, G>
where
    S: Stream<Item = Result<T, StorageError>> + Unpin,
{
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.frames.poll_next_unpin(cx));
        if !matches!(item, Some(Ok(_))) {
            self.guard.take();
        }
        Poll::Ready(item)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn a_guard_lives_until_the_last_frame() {
        let guard = Arc::new(());
        let mut body = ByteStream::from_bytes("abc").guarded(guard.clone());
        assert_eq!(body.len_bytes(), Some(3));
        assert_eq!(Arc::strong_count(&guard), 2);
        assert_eq!(body.next().await.unwrap().unwrap(), "abc");
        assert_eq!(Arc::strong_count(&guard), 2);
        assert!(body.next().await.is_none());
        assert_eq!(Arc::strong_count(&guard), 1);
    }

    #[tokio::test]
    async fn a_guard_is_released_by_an_error_and_by_drop() {
        let guard = Arc::new(());
        let failing = stream::once(async { Err(StorageError::IncompleteBody) });
        let mut body = ByteStream::new(failing, None).guarded(guard.clone());
        assert!(body.next().await.unwrap().is_err());
        assert_eq!(Arc::strong_count(&guard), 1);
        let body = ByteStream::from_bytes("abc").guarded(guard.clone());
        drop(body);
        assert_eq!(Arc::strong_count(&guard), 1);
    }

    #[tokio::test]
    async fn collect_refuses_more_than_its_limit() {
        let two = || {
            ByteStream::new(
                stream::iter([Ok(Bytes::from("ab")), Ok(Bytes::from("cd"))]),
                None,
            )
        };
        assert_eq!(two().collect(4).await.unwrap(), "abcd");
        assert!(matches!(
            two().collect(3).await,
            Err(StorageError::EntityTooLarge { limit_bytes: 3 })
        ));
    }
}
