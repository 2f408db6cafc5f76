//! What happens to every call before and after its handler: counting, latency, rate limits, and faults.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, DATE};
use http::{HeaderValue, StatusCode};
use http_body::{Frame, SizeHint};

use super::budget::Allowance;
use super::drain::drained;
use super::faults::Effect;
use super::refusal::Refusal;
use super::route::{Route, RouteClass};
use super::state::Shared;

/// A server that meets a failing body drops what it has not sent yet; it sends whenever the body is not ready.
const FLUSHES_BEFORE_CUT: u8 = 16;

/// Marks a response in whose place the connection is closed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CutConnection;

/// The middleware around each route.
pub(crate) async fn observe(
    State((state, route)): State<(Shared, Route)>,
    request: Request,
    next: Next,
) -> Response {
    state.calls.begin(route);
    let request = count_received(&state, route, request);
    let knobs = state.faults.knobs();
    let allowance = state.budgets.spend(route.class(), &knobs);
    sleep(match route.class() {
        RouteClass::Api | RouteClass::Resolver => knobs.hub_latency,
        RouteClass::Cas | RouteClass::Storage => knobs.cas_latency,
    })
    .await;
    let response = match allowance {
        Some(allowance) if allowance.is_exceeded => too_many(),
        _ => with_fault(&state, route, allowance, request, next).await,
    };
    finish(&state, route, allowance, response)
}

fn too_many() -> Response {
    let message = "We had to rate limit you. Retry after the window has passed.";
    Refusal::new(StatusCode::TOO_MANY_REQUESTS, message).into_response()
}

async fn with_fault(
    state: &Shared,
    route: Route,
    allowance: Option<Allowance>,
    request: Request,
    next: Next,
) -> Response {
    match state.faults.take(route) {
        None => next.run(request).await,
        Some(Effect::Delay { millis }) => {
            sleep(Duration::from_millis(millis)).await;
            next.run(request).await
        }
        Some(Effect::Status {
            status,
            retry_after,
            rate_limit_reset,
        }) => {
            let exhausted = rate_limit_reset.and_then(|secs| Some(allowance?.exhausted(secs)));
            refuse(status, retry_after, exhausted)
        }
        Some(Effect::ResetBefore) => cut(),
        Some(Effect::ResetAfter) => {
            next.run(request).await;
            cut()
        }
        Some(Effect::Truncate { after_bytes }) => {
            damage(next.run(request).await, Damage::Truncate(after_bytes))
        }
        Some(Effect::Corrupt { at_byte }) => {
            damage(next.run(request).await, Damage::Corrupt(at_byte))
        }
        Some(Effect::Length { difference }) => lie(next.run(request).await, difference),
        Some(Effect::ExpireTokens) => {
            state.faults.expire_tokens();
            next.run(request).await
        }
        Some(Effect::ExpireUrls) => {
            state.faults.expire_urls();
            next.run(request).await
        }
        // Handlers look for these themselves; they never arrive here.
        Some(
            Effect::FailEntries { .. }
            | Effect::LoseEntries { .. }
            | Effect::SwapEntries { .. }
            | Effect::Unsorted
            | Effect::Repeated
            | Effect::ShardError { .. },
        ) => next.run(request).await,
    }
}

fn refuse(status: u16, retry_after: Option<u64>, exhausted: Option<Allowance>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Refusal::new(status, "injected fault").into_response();
    let headers = response.headers_mut();
    if let Some(secs) = retry_after {
        headers.insert("retry-after", HeaderValue::from(secs));
    }
    if let Some(exhausted) = exhausted {
        exhausted.write_to(headers);
    }
    response
}

fn cut() -> Response {
    let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
    response.extensions_mut().insert(CutConnection);
    response
}

fn damage(response: Response, damage: Damage) -> Response {
    response.map(|body| {
        Body::new(Watched {
            inner: body,
            position: 0,
            damage: Some(damage),
            flushes: FLUSHES_BEFORE_CUT,
            count: |_| {},
        })
    })
}

/// Announces another length than the body has.
fn lie(mut response: Response, difference: i64) -> Response {
    let len = http_body::Body::size_hint(response.body()).exact();
    let Some(len) = len.filter(|len| *len > 0) else {
        return response;
    };
    let announced = len.saturating_add_signed(difference);
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(announced));
    damage(response, Damage::Length)
}

fn count_received(state: &Shared, route: Route, request: Request) -> Request {
    let calls = state.calls.clone();
    request.map(|body| {
        Body::new(Watched {
            inner: drained(body),
            position: 0,
            damage: None,
            flushes: 0,
            count: move |bytes| calls.received(route, bytes),
        })
    })
}

/// Adds the headers that every answer has, and counts its body.
fn finish(
    state: &Shared,
    route: Route,
    allowance: Option<Allowance>,
    mut response: Response,
) -> Response {
    let id = format!("Root=1-{}", hex::encode(rand::random::<[u8; 12]>()));
    let id = HeaderValue::from_str(&id).expect("hex digits are printable");
    let headers = response.headers_mut();
    headers.insert("x-request-id", id);
    headers.insert(DATE, date(state.faults.knobs().clock_ahead));
    if let Some(allowance) = allowance
        && !headers.contains_key("ratelimit")
    {
        allowance.write_to(headers);
    }
    let calls = state.calls.clone();
    response.map(|body| {
        Body::new(Watched {
            inner: body,
            position: 0,
            damage: None,
            flushes: 0,
            count: move |bytes| calls.served(route, bytes),
        })
    })
}

/// Returns the time as the Hub's answers tell it.
fn date(ahead: Duration) -> HeaderValue {
    let date = httpdate::fmt_http_date(SystemTime::now() + ahead);
    HeaderValue::from_str(&date).expect("a date is printable")
}

async fn sleep(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

#[derive(Debug, Clone, Copy)]
enum Damage {
    /// The body fails after so many bytes.
    Truncate(u64),
    /// The byte at this index is inverted.
    Corrupt(u64),
    /// The bytes are right, but not as many as the head says; the server goes by the head only if it does not know better.
    Length,
}

/// A body whose bytes are counted, and damaged on request. But for [`Damage::Length`], it keeps the announced length, so
/// that a cut body is seen as one.
struct Watched<F> {
    inner: Body,
    position: u64,
    damage: Option<Damage>,
    /// How often the server is still given the chance to send what it has before the body fails.
    flushes: u8,
    count: F,
}

impl<F: Fn(u64) + Unpin> http_body::Body for Watched<F> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(Damage::Truncate(after)) = self.damage
            && self.position >= after
        {
            if self.flushes > 0 {
                self.flushes -= 1;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            return Poll::Ready(Some(Err(axum::Error::new("injected truncation"))));
        }
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) else {
            return Poll::Pending;
        };
        let Some(Ok(frame)) = frame else {
            if matches!(self.damage, Some(Damage::Length)) && self.flushes > 0 {
                self.flushes -= 1;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            return Poll::Ready(frame);
        };
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
        };
        let data = damaged(data, self.position, self.damage);
        self.position += data.len() as u64;
        (self.count)(data.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.damage.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.damage {
            Some(Damage::Length) => SizeHint::default(),
            _ => self.inner.size_hint(),
        }
    }
}

fn damaged(data: Bytes, start: u64, damage: Option<Damage>) -> Bytes {
    match damage {
        None | Some(Damage::Length) => data,
        Some(Damage::Truncate(after)) => {
            let kept = usize::try_from(after - start).unwrap_or(usize::MAX);
            data.slice(..kept.min(data.len()))
        }
        Some(Damage::Corrupt(at)) => {
            let index = at
                .checked_sub(start)
                .and_then(|index| usize::try_from(index).ok());
            match index.filter(|index| *index < data.len()) {
                None => data,
                Some(index) => {
                    let mut changed = data.to_vec();
                    changed[index] ^= 0xff;
                    changed.into()
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn body(damage: Damage) -> Response {
        super::damage(Response::new(Body::from("0123456789")), damage)
    }

    #[tokio::test]
    async fn a_truncated_body_fails_after_the_asked_bytes() {
        let mut body = body(Damage::Truncate(4)).into_body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, "0123");
        assert!(body.frame().await.unwrap().is_err());
    }

    #[tokio::test]
    async fn a_corrupted_body_differs_in_one_byte() {
        let bytes = body(Damage::Corrupt(3))
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes();
        assert_eq!(&bytes[..3], b"012");
        assert_eq!(bytes[3], b'3' ^ 0xff);
        assert_eq!(&bytes[4..], b"456789");
    }
}
