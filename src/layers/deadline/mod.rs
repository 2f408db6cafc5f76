//! Deadlines: how long an answer may take, and how long a transfer may stand still; never how long it may last.
//!
//! A transfer of a terabyte is as welcome as one of a byte, as long as both sides keep moving. A write that is late goes on
//! in a task of its own once all its bytes are in; its caller is told that it failed, so it is withdrawn: it may still take
//! effect if it has its place among the writes of its key, but it never comes after one that began later.

mod patience;
mod watchdog;

use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, pending};
use tokio::sync::oneshot;
use tower::{Layer, Service};

use crate::layers::transfer::{End, Watch, watched};
use crate::storage::{
    AnyOutput, ByteStream, Payload, StorageError, StorageRequest, StorageService,
};

use patience::patient;
use watchdog::guarded_by_watchdog;

/// The limits; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// How long the answer may take, counted from the last byte of the request; and how long the provider may leave a
    /// response body without a byte.
    pub head: Option<Duration>,
    /// How long the client may send nothing of a body that it announced, or take nothing of a body that it asked for.
    pub idle: Option<Duration>,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            head: Some(Duration::from_secs(120)),
            idle: Some(Duration::from_secs(60)),
        }
    }
}

/// Bounds waiting.
///
/// # Behaviour
/// - An answer that is late is [`StorageError::Timeout`], and the operation is withdrawn. The time counts from the last byte of the request's body, so a
///   slow upload does not use it up. An operation that may have to move bytes by itself has no such limit.
/// - A client that sends nothing for too long ends its upload with [`StorageError::ClientTimeout`], and nothing is stored.
/// - A client that takes nothing for too long loses its download: everything that was held for it below this layer is
///   given back, and the body ends with [`StorageError::ClientTimeout`].
#[derive(Debug, Clone, Copy)]
pub struct DeadlineLayer {
    deadlines: Deadlines,
}

impl DeadlineLayer {
    /// Applies these limits.
    pub fn new(deadlines: Deadlines) -> Self {
        Self { deadlines }
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Deadline {
            inner,
            deadlines: self.deadlines,
        }
    }
}

/// See [`DeadlineLayer`].
#[derive(Debug, Clone)]
pub struct Deadline<S> {
    inner: S,
    deadlines: Deadlines,
}

impl<C, S> Service<StorageRequest<C>> for Deadline<S>
where
    C: Send + 'static,
    S: StorageService<C>,
{
    type Response = AnyOutput;
    type Error = StorageError;
    type Future = BoxFuture<'static, Result<AnyOutput, StorageError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StorageError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: StorageRequest<C>) -> Self::Future {
        let Deadlines { head, idle } = self.deadlines;
        let uploaded = request
            .operation
            .payload_mut()
            .map(|payload| watch_upload(payload, idle));
        let until_answer = head.filter(|_| !request.operation.may_move_bytes());
        let withdrawal = request.guards.withdrawal().clone();
        let answer = self.inner.call(request);
        async move {
            let output = tokio::select! {
                biased;
                result = answer => result?,
                after = too_late(uploaded, until_answer) => {
                    // Before the caller hears of it, and writes again.
                    withdrawal.withdraw();
                    return Err(StorageError::Timeout { after });
                }
            };
            Ok(output.map_body(|body| watch_download(body, head, idle)))
        }
        .boxed()
    }
}

/// Ends when the answer is late: `head` after the last byte of the upload, if there is one. Returns `head`.
async fn too_late(uploaded: Option<oneshot::Receiver<()>>, head: Option<Duration>) -> Duration {
    let Some(head) = head else {
        return pending().await;
    };
    if let Some(uploaded) = uploaded {
        // An error says that the body was dropped: nothing more will come either.
        let _ = uploaded.await;
    }
    tokio::time::sleep(head).await;
    head
}

/// Bounds the client's silence; the receiver hears of the last byte.
fn watch_upload(payload: &mut Payload, idle: Option<Duration>) -> oneshot::Receiver<()> {
    let (last_byte, uploaded) = oneshot::channel();
    let body = std::mem::replace(&mut payload.body, ByteStream::empty());
    let clock = UploadClock {
        left: body.len_bytes(),
        last_byte: Some(last_byte),
    };
    let body = patient(body, idle, |idle| StorageError::ClientTimeout { idle });
    payload.body = watched(body, clock);
    uploaded
}

/// Bounds the provider's silence with `head`, and the client's with `idle`.
fn watch_download(body: ByteStream, head: Option<Duration>, idle: Option<Duration>) -> ByteStream {
    let body = patient(body, head, |after| StorageError::Timeout { after });
    guarded_by_watchdog(body, idle)
}

/// Tells when the last byte of an upload is in.
struct UploadClock {
    left: Option<u64>,
    last_byte: Option<oneshot::Sender<()>>,
}

impl Watch for UploadClock {
    fn frame(&mut self, len_bytes: usize) {
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(len_bytes as u64);
            if *left == 0 {
                self.last_byte.take();
            }
        }
    }

    fn end(&mut self, _: &End<'_>) {
        self.last_byte.take();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::{StreamExt, stream};
    use tokio::time::{Instant, sleep};
    use tower::ServiceExt;

    use super::*;
    use crate::layers::testing::{Script, anonymous, copy_part, get, put_stream};
    use crate::storage::Withdrawal;

    const HEAD: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(3);

    fn bounded(script: &Script) -> Deadline<Script> {
        DeadlineLayer::new(Deadlines {
            head: Some(HEAD),
            idle: Some(IDLE),
        })
        .layer(script.clone())
    }

    /// A body of `frames` bytes, one every `pause`.
    fn dripping(frames: usize, pause: Duration) -> ByteStream {
        let drip = stream::iter(0..frames).then(move |_| async move {
            sleep(pause).await;
            Ok(Bytes::from_static(b"x"))
        });
        ByteStream::new(drip, None)
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_late_is_a_timeout() {
        let started = Instant::now();
        let result = bounded(&Script::new().hang())
            .oneshot(anonymous(get("k")))
            .await;
        assert!(matches!(result, Err(StorageError::Timeout { after: HEAD })));
        assert_eq!(started.elapsed(), HEAD);
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_write_whose_caller_is_told_that_it_failed_is_withdrawn() {
        let script = Script::new();
        let request = || anonymous(put_stream("k", ByteStream::empty()));
        let is_withdrawn = |withdrawal: Withdrawal| !withdrawal.unless_withdrawn(|| ());

        let in_time = request();
        let withdrawal = in_time.guards.withdrawal().clone();
        bounded(&script).oneshot(in_time).await.unwrap();
        assert!(!is_withdrawn(withdrawal));

        script.hold_writes();
        let late = request();
        let withdrawal = late.guards.withdrawal().clone();
        assert!(bounded(&script).oneshot(late).await.is_err());
        assert!(is_withdrawn(withdrawal));

        let left = request();
        let withdrawal = left.guards.withdrawal().clone();
        let leaving = tokio::time::timeout(HEAD / 2, bounded(&script).oneshot(left));
        assert!(leaving.await.is_err());
        assert!(!is_withdrawn(withdrawal));
    }

    #[tokio::test(start_paused = true)]
    async fn an_operation_that_may_move_bytes_takes_its_time() {
        let hanging = bounded(&Script::new().hang()).oneshot(anonymous(copy_part("from", "k")));
        assert!(tokio::time::timeout(HEAD * 10, hanging).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_upload_does_not_use_up_the_time_of_the_answer() {
        let started = Instant::now();
        let body = dripping(100, Duration::from_secs(2));
        let result = bounded(&Script::new())
            .oneshot(anonymous(put_stream("k", body)))
            .await;
        assert!(result.is_ok());
        assert_eq!(started.elapsed(), Duration::from_secs(200));
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_last_byte_of_an_upload_the_answer_has_its_time() {
        let script = Script::new();
        script.hold_writes();
        let started = Instant::now();
        let body = dripping(5, Duration::from_secs(2));
        let result = bounded(&script)
            .oneshot(anonymous(put_stream("k", body)))
            .await;
        assert!(matches!(result, Err(StorageError::Timeout { .. })));
        assert_eq!(started.elapsed(), Duration::from_secs(10) + HEAD);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_nothing_ends_its_upload() {
        let started = Instant::now();
        let body = dripping(2, Duration::from_secs(4));
        let result = bounded(&Script::new())
            .oneshot(anonymous(put_stream("k", body)))
            .await;
        assert!(matches!(
            result,
            Err(StorageError::ClientTimeout { idle: IDLE })
        ));
        assert_eq!(started.elapsed(), IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_download_is_no_timeout() {
        let script = Script::new().frames(&["a", "b", "c", "d"]);
        let output = bounded(&script).oneshot(anonymous(get("k"))).await.unwrap();
        let AnyOutput::GetObject(mut data) = output else {
            panic!("another output");
        };
        let mut read = 0;
        while let Some(frame) = data.body.next().await {
            read += frame.unwrap().len();
            sleep(IDLE - Duration::from_millis(1)).await;
        }
        assert_eq!(read, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn without_limits_nothing_ends() {
        let off = DeadlineLayer::new(Deadlines {
            head: None,
            idle: None,
        });
        let body = dripping(2, Duration::from_secs(100_000));
        let put = off
            .layer(Script::new())
            .oneshot(anonymous(put_stream("k", body)));
        assert!(put.await.is_ok());
        let hanging = off.layer(Script::new().hang()).oneshot(anonymous(get("k")));
        let waited = tokio::time::timeout(Duration::from_secs(100_000), hanging).await;
        assert!(waited.is_err());
    }
}
