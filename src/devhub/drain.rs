//! Request bodies that are read to their end even when nobody wants them.
//!
//! A server that answers before it has read the body and then closes the connection makes the client see a broken
//! pipe instead of the answer. Tests of refusals need the answer.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt;
use http_body::{Frame, SizeHint};

/// Wraps `body` so that what is left of it when it is dropped is read and thrown away in the background.
pub(crate) fn drained(body: Body) -> Body {
    Body::new(Drained {
        inner: body,
        has_ended: false,
    })
}

struct Drained {
    inner: Body,
    has_ended: bool,
}

impl http_body::Body for Drained {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(None | Some(Err(_))) = polled {
            self.has_ended = true;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Drained {
    fn drop(&mut self) {
        if self.has_ended || http_body::Body::is_end_stream(&self.inner) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let mut rest = std::mem::take(&mut self.inner).into_data_stream();
        runtime.spawn(async move { while let Some(Ok(_)) = rest.next().await {} });
    }
}
