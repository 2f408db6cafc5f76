//! A watchdog for bodies that nobody takes.
//!
//! A stream runs only while it is polled, so it cannot notice by itself that its client has stopped reading. A small task
//! looks after it, and takes the stream away when nothing was taken for too long. The connection itself stays with its
//! server, whose own limits close it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use crate::storage::{ByteStream, StorageError};

/// Drops `body`, and ends the returned one with [`StorageError::ClientTimeout`], when nothing was taken for `idle`;
/// `None` means never.
pub(super) fn guarded_by_watchdog(body: ByteStream, idle: Option<Duration>) -> ByteStream {
    let Some(idle) = idle else {
        return body;
    };
    let len_bytes = body.len_bytes();
    let watched = Watched {
        shared: Arc::new(Shared {
            idle,
            state: Mutex::new(State {
                frames: Some(body),
                taken_at: None,
            }),
        }),
        left: len_bytes,
        watchdog: None,
    };
    ByteStream::new(watched, len_bytes)
}

struct Watched {
    shared: Arc<Shared>,
    /// Bytes that are still to come, if known.
    left: Option<u64>,
    /// Started with the first frame after which another one is to come.
    watchdog: Option<AbortHandle>,
}

struct Shared {
    idle: Duration,
    state: Mutex<State>,
}

struct State {
    /// `None` once the watchdog took it away.
    frames: Option<ByteStream>,
    /// When the last frame was taken; `None` while somebody waits for the next one.
    taken_at: Option<Instant>,
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the body away once nothing was taken for the idle time.
    async fn watch(self: Arc<Self>) {
        loop {
            let now = Instant::now();
            let ends_at = self.lock().taken_at.unwrap_or(now) + self.idle;
            if ends_at <= now {
                // Out of the lock: what hangs on a body may take a while to drop.
                let abandoned = self.lock().frames.take();
                drop(abandoned);
                return;
            }
            sleep_until(ends_at).await;
        }
    }
}

// === impl Watched ===

impl Stream for Watched {
    type Item = Result<Bytes, StorageError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let shared = self.shared.clone();
        let mut state = shared.lock();
        let Some(frames) = &mut state.frames else {
            let idle = shared.idle;
            return Poll::Ready(Some(Err(StorageError::ClientTimeout { idle })));
        };
        let polled = frames.poll_next_unpin(cx);
        state.taken_at = polled.is_ready().then(Instant::now);
        drop(state);
        let item = ready!(polled);
        if let Some(Ok(frame)) = &item {
            self.left = self
                .left
                .map(|left| left.saturating_sub(frame.len() as u64));
            if self.watchdog.is_none() && self.left != Some(0) {
                self.watchdog = Some(tokio::spawn(shared.watch()).abort_handle());
            }
        }
        Poll::Ready(item)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(watchdog) = &self.watchdog {
            watchdog.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use tokio::task::yield_now;

    use super::*;

    const IDLE: Duration = Duration::from_secs(3);

    fn held() -> (Arc<()>, ByteStream) {
        let held = Arc::new(());
        let frames = stream::iter([Ok(Bytes::from("ab")), Ok(Bytes::from("cd"))]);
        let body = ByteStream::new(frames, Some(4)).guarded(held.clone());
        (held, guarded_by_watchdog(body, Some(IDLE)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_loses_its_download() {
        let (held, mut body) = held();
        assert_eq!(body.next().await.unwrap().unwrap(), "ab");
        tokio::time::sleep(IDLE - Duration::from_millis(1)).await;
        assert_eq!(Arc::strong_count(&held), 2);
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert_eq!(Arc::strong_count(&held), 1);
        assert!(matches!(
            body.next().await,
            Some(Err(StorageError::ClientTimeout { idle: IDLE }))
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_the_provider_is_not_the_clients_silence() {
        let frames = stream::iter([0, 1]).then(|_| async {
            tokio::time::sleep(IDLE * 10).await;
            Ok(Bytes::from("x"))
        });
        let body = guarded_by_watchdog(ByteStream::new(frames, Some(2)), Some(IDLE));
        assert_eq!(body.collect(2).await.unwrap(), "xx");
    }

    #[tokio::test]
    async fn no_task_outlives_its_body() {
        let (_, mut body) = held();
        body.next().await.unwrap().unwrap();
        yield_now().await;
        let tasks = || {
            tokio::runtime::Handle::current()
                .metrics()
                .num_alive_tasks()
        };
        assert_eq!(tasks(), 1);
        drop(body);
        yield_now().await;
        assert_eq!(tasks(), 0);
    }
}
