//! Rates: how fast one credential may send and receive.
//!
//! Bodies of credentials without a rate pass untouched. The others are handed on in small pieces, each at its time: all
//! bodies of a credential and a direction take their times from one clock, in the order in which they ask, so that they
//! share the rate evenly. Nothing is buffered but the frame that is being handed on.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt};
use tokio::time::{Instant, Sleep, sleep_until};
use tower::{Layer, Service};

use crate::layers::quota::{Holder, Quotas};
use crate::storage::{
    AnyOutput, ByteStream, Principal, StorageError, StorageRequest, StorageService,
};
use crate::telemetry::{Direction, Metrics};

/// What a credential that was idle may send or receive at once, as time at its rate.
const BURST: Duration = Duration::from_millis(250);

/// A piece takes an eighth of a second at its rate, but is no larger than this.
const MAX_PIECE_BYTES: u64 = 64 << 10;
const PIECES_A_SECOND: u64 = 8;

/// Clocks that are remembered before those that are of no use any more are looked for.
const MANY_CLOCKS: usize = 256;

/// Bounds the rates of each credential's bodies.
///
/// # Behaviour
/// - All downloads of a credential together are no faster than its download rate, all uploads no faster than its upload
///   rate, but for a quarter of a second's worth after idleness.
/// - A body without bytes, and one of a credential without a rate, is handed on as it is.
/// - While a body waits for its time, nothing more is taken from where it comes from.
#[derive(Debug, Clone)]
pub struct RateLayer {
    rates: Arc<Rates>,
}

impl RateLayer {
    /// Keeps the rates of `quotas`.
    pub fn new(quotas: Arc<ArcSwap<Quotas>>, metrics: &Metrics) -> Self {
        Self {
            rates: Arc::new(Rates {
                quotas,
                clocks: Mutex::default(),
                metrics: metrics.clone(),
            }),
        }
    }
}

impl<S> Layer<S> for RateLayer {
    type Service = Rate<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Rate {
            inner,
            rates: self.rates.clone(),
        }
    }
}

/// See [`RateLayer`].
#[derive(Debug, Clone)]
pub struct Rate<S> {
    inner: S,
    rates: Arc<Rates>,
}

impl<S> Service<StorageRequest<Principal>> for Rate<S>
where
    S: StorageService<Principal>,
{
    type Response = AnyOutput;
    type Error = StorageError;
    type Future = BoxFuture<'static, Result<AnyOutput, StorageError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StorageError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: StorageRequest<Principal>) -> Self::Future {
        let holder = Holder::of(&request);
        let quota = self.rates.quotas.load().quota(&holder);
        if let (Some(rate), Some(payload)) = (quota.upload_rate, request.operation.payload_mut()) {
            let body = std::mem::replace(&mut payload.body, ByteStream::empty());
            payload.body = self.rates.paced(body, &holder, Direction::Upload, rate);
        }
        let rates = self.rates.clone();
        let answer = self.inner.call(request);
        async move {
            let output = answer.await?;
            Ok(match quota.download_rate {
                None => output,
                Some(rate) => {
                    output.map_body(|body| rates.paced(body, &holder, Direction::Download, rate))
                }
            })
        }
        .boxed()
    }
}

#[derive(Debug)]
struct Rates {
    quotas: Arc<ArcSwap<Quotas>>,
    clocks: Mutex<HashMap<(Holder, Direction), Arc<Clock>>>,
    metrics: Metrics,
}

impl Rates {
    /// Hands a body on at `rate`, in bytes a second.
    fn paced(
        &self,
        body: ByteStream,
        holder: &Holder,
        direction: Direction,
        rate: u64,
    ) -> ByteStream {
        let len_bytes = body.len_bytes();
        if len_bytes == Some(0) {
            return body;
        }
        let paced = Paced {
            frames: body,
            frame: Bytes::new(),
            piece: None,
            rate: rate.max(1),
            clock: self.clock(holder, direction),
            direction,
            metrics: self.metrics.clone(),
        };
        ByteStream::new(paced, len_bytes)
    }

    fn clock(&self, holder: &Holder, direction: Direction) -> Arc<Clock> {
        let mut clocks = self.clocks.lock().unwrap_or_else(PoisonError::into_inner);
        if clocks.len() >= MANY_CLOCKS {
            let now = Instant::now();
            // A clock that nobody has and that is not ahead says what a new one would.
            clocks.retain(|_, clock| Arc::strong_count(clock) > 1 || clock.is_ahead_of(now));
        }
        clocks
            .entry((holder.clone(), direction))
            .or_default()
            .clone()
    }
}

/// When the next piece of a credential may pass in one direction.
#[derive(Debug, Default)]
struct Clock(Mutex<Option<Instant>>);

impl Clock {
    /// Takes the next free time for so many bytes at `rate`, and returns when it begins.
    fn take(&self, len_bytes: u64, rate: u64, now: Instant) -> Instant {
        let mut next = self.lock();
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let begins = next.map_or(earliest, |next| next.max(earliest));
        let takes = Duration::from_nanos(
            u64::try_from(u128::from(len_bytes) * 1_000_000_000 / u128::from(rate))
                .unwrap_or(u64::MAX),
        );
        *next = Some(begins + takes);
        begins
    }

    fn is_ahead_of(&self, now: Instant) -> bool {
        self.lock().is_some_and(|next| next > now)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body that is handed on piece by piece.
struct Paced {
    frames: ByteStream,
    /// What is left of the last frame.
    frame: Bytes,
    /// The next piece, which waits for its time.
    piece: Option<(Bytes, Pin<Box<Sleep>>)>,
    rate: u64,
    clock: Arc<Clock>,
    direction: Direction,
    metrics: Metrics,
}

impl Paced {
    /// Cuts the next piece off the frame. It waits unless its time has come.
    fn cut(&mut self) -> Option<Bytes> {
        let most = (self.rate / PIECES_A_SECOND).clamp(1, MAX_PIECE_BYTES);
        let len = self
            .frame
            .len()
            .min(usize::try_from(most).unwrap_or(usize::MAX));
        let piece = self.frame.split_to(len);
        let now = Instant::now();
        let begins = self.clock.take(len as u64, self.rate, now);
        if begins <= now {
            return Some(piece);
        }
        self.metrics.throttled(self.direction, begins - now);
        self.piece = Some((piece, Box::pin(sleep_until(begins))));
        None
    }
}

impl Stream for Paced {
    type Item = Result<Bytes, StorageError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some((_, time)) = &mut self.piece {
                ready!(time.as_mut().poll(cx));
                let piece = self.piece.take().map(|(piece, _)| Ok(piece));
                return Poll::Ready(piece);
            }
            if !self.frame.is_empty() {
                if let Some(piece) = self.cut() {
                    return Poll::Ready(Some(Ok(piece)));
                }
                continue;
            }
            match ready!(self.frames.poll_next_unpin(cx)) {
                Some(Ok(frame)) => self.frame = frame,
                end => return Poll::Ready(end),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::future::{join_all, poll_immediate};
    use tower::ServiceExt;

    use super::*;
    use crate::layers::testing::{Script, get, principal, put, request};
    use crate::storage::{Protocol, Quota};

    const KIB: u64 = 1 << 10;

    fn rates(download_rate: Option<u64>, upload_rate: Option<u64>) -> (RateLayer, Metrics) {
        let slow = Quota {
            download_rate,
            upload_rate,
            ..Quota::default()
        };
        let quotas = Quotas {
            of: [(Holder::new(Protocol::S3, "slow"), slow)].into(),
            ..Quotas::default()
        };
        let metrics = Metrics::new();
        let layer = RateLayer::new(Arc::new(ArcSwap::from_pointee(quotas)), &metrics);
        (layer, metrics)
    }

    fn caller(who: &str) -> Principal {
        Principal {
            id: who.into(),
            ..principal()
        }
    }

    fn body(len: u64) -> ByteStream {
        ByteStream::from_bytes(vec![7; usize::try_from(len).unwrap()])
    }

    /// Reads a body of so many bytes at the rate, and returns how long it took.
    async fn read(layer: &RateLayer, who: &str, len: u64, rate: u64) -> Duration {
        let holder = Holder::new(Protocol::S3, who);
        let begun = Instant::now();
        let paced = layer
            .rates
            .paced(body(len), &holder, Direction::Download, rate);
        assert_eq!(paced.len_bytes(), Some(len));
        let bytes = paced.collect(1 << 30).await.unwrap();
        assert_eq!(bytes.len() as u64, len);
        begun.elapsed()
    }

    fn is_about(took: Duration, secs: f64) -> bool {
        (took.as_secs_f64() - secs).abs() < 0.4
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_takes_its_time() {
        let (layer, metrics) = rates(None, None);
        let took = read(&layer, "a", 1000 * KIB, 100 * KIB).await;
        assert!(is_about(took, 9.75), "{took:?}");
        let seconds = "hugbucket_throttled_seconds_total{direction=\"download\"} ";
        let line = metrics.render();
        let line = line.lines().find(|line| line.starts_with(seconds)).unwrap();
        let waited: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        assert!((8.0..=10.0).contains(&waited), "{waited}");
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_of_one_credential_share_its_rate_and_others_do_not_notice() {
        let (layer, _) = rates(None, None);
        let own = (0..4).map(|_| read(&layer, "a", 400 * KIB, 100 * KIB));
        let (own, other) = tokio::join!(join_all(own), read(&layer, "b", 100 * KIB, 100 * KIB));
        // The first of them has the burst.
        let (first, last) = (own.iter().min().unwrap(), own.iter().max().unwrap());
        assert!(is_about(*last, 15.6), "{own:?}");
        assert!(is_about(*last - *first, 1.5), "{own:?}");
        assert!(is_about(other, 0.75), "{other:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_idle_gets_a_burst_and_no_more() {
        let (layer, _) = rates(None, None);
        read(&layer, "a", KIB, 1000 * KIB).await;
        tokio::time::advance(Duration::from_secs(3600)).await;
        let took = read(&layer, "a", 200 * KIB, 1000 * KIB).await;
        assert!(took < Duration::from_millis(10), "{took:?}");
        let took = read(&layer, "a", 1000 * KIB, 1000 * KIB).await;
        assert!(is_about(took, 0.95), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn only_who_has_a_rate_is_held_back_and_only_in_that_direction() {
        let script = Script::new().frames(&["12345678"; 4]);
        let (layer, _) = rates(Some(16), None);
        let service = layer.layer(script.clone());
        for (who, secs) in [("slow", 1.75), ("other", 0.0)] {
            let begun = Instant::now();
            let request = request(caller(who), get("k"));
            let output = service.clone().oneshot(request).await.unwrap();
            let AnyOutput::GetObject(data) = output else {
                panic!()
            };
            assert_eq!(data.body.collect(100).await.unwrap().len(), 32);
            assert!(is_about(begun.elapsed(), secs), "{who}");
        }
        let request = request(caller("slow"), put("k", "12345678901234567890"));
        let begun = Instant::now();
        service.oneshot(request).await.unwrap();
        assert!(begun.elapsed() < Duration::from_millis(10));
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_is_taken_no_faster_than_its_rate() {
        let (layer, _) = rates(None, Some(16));
        let holder = Holder::new(Protocol::S3, "slow");
        let taken = Arc::new(Mutex::new(0));
        let counted = taken.clone();
        let source = futures::stream::repeat_with(move || {
            *counted.lock().unwrap() += 1;
            Ok(Bytes::from_static(b"12"))
        });
        let source = ByteStream::new(source, None);
        let mut paced = layer.rates.paced(source, &holder, Direction::Upload, 16);
        while poll_immediate(paced.next()).await.is_some() {}
        let at_once = *taken.lock().unwrap();
        assert!(at_once <= 4, "{at_once}");
        for _ in 0..8 {
            tokio::time::advance(Duration::from_millis(125)).await;
            while poll_immediate(paced.next()).await.is_some() {}
        }
        let after_a_second = *taken.lock().unwrap() - at_once;
        assert!((7..=9).contains(&after_a_second), "{after_a_second}");
    }

    #[tokio::test(start_paused = true)]
    async fn clocks_of_nobody_are_forgotten() {
        let (layer, _) = rates(None, None);
        for n in 0..MANY_CLOCKS {
            read(&layer, &n.to_string(), 1, KIB).await;
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        read(&layer, "last", 1, KIB).await;
        assert_eq!(layer.rates.clocks.lock().unwrap().len(), 1);
    }
}
