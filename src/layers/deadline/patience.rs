//! A stream that may be awaited for so long and no longer, frame by frame.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::time::{Instant, Sleep, sleep};

use crate::storage::{ByteStream, StorageError};

/// Ends `body` with `error(limit)` when somebody has waited for its next frame for `limit`; `None` means for ever.
///
/// Only waiting counts: while nobody asks for a frame, the clock stands.
pub(super) fn patient(
    body: ByteStream,
    limit: Option<Duration>,
    error: impl Fn(Duration) -> StorageError + Send + 'static,
) -> ByteStream {
    let Some(limit) = limit else {
        return body;
    };
    let len_bytes = body.len_bytes();
    let patient = Patient {
        frames: Some(body),
        limit,
        error,
        timer: None,
        is_waiting: false,
    };
    ByteStream::new(patient, len_bytes)
}

struct Patient<E> {
    /// `None` once patience has run out; what the stream held is given back at that moment.
    frames: Option<ByteStream>,
    limit: Duration,
    error: E,
    /// Made when the first frame keeps somebody waiting: most bodies never need one.
    timer: Option<Pin<Box<Sleep>>>,
    is_waiting: bool,
}

impl<E> Unpin for Patient<E> {}

impl<E> Patient<E> {
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        if !self.is_waiting {
            self.is_waiting = true;
            timer.as_mut().reset(Instant::now() + limit);
        }
        timer.as_mut().poll(cx)
    }
}

impl<E: Fn(Duration) -> StorageError> Stream for Patient<E> {
    type Item = Result<Bytes, StorageError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(frames) = &mut self.frames else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(item) = frames.poll_next_unpin(cx) {
            self.is_waiting = false;
            return Poll::Ready(item);
        }
        if self.poll_timer(cx).is_pending() {
            return Poll::Pending;
        }
        self.frames = None;
        Poll::Ready(Some(Err((self.error)(self.limit))))
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use std::sync::Arc;

    use super::*;

    fn client_timeout(idle: Duration) -> StorageError {
        StorageError::ClientTimeout { idle }
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_stands_while_nobody_asks() {
        let limit = Some(Duration::from_secs(3));
        let mut body = patient(ByteStream::from_bytes("abc"), limit, client_timeout);
        tokio::time::advance(Duration::from_secs(100)).await;
        assert_eq!(body.next().await.unwrap().unwrap(), "abc");
        tokio::time::advance(Duration::from_secs(100)).await;
        assert!(body.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_stream_held_is_given_back_when_patience_runs_out() {
        let held = Arc::new(());
        let silent = ByteStream::new(stream::pending(), None).guarded(held.clone());
        let mut body = patient(silent, Some(Duration::from_secs(3)), client_timeout);
        assert!(matches!(
            body.next().await,
            Some(Err(StorageError::ClientTimeout { .. }))
        ));
        assert_eq!(Arc::strong_count(&held), 1);
        assert!(body.next().await.is_none());
    }
}
