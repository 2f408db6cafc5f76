//! The request's body, lent to the stack and taken back when an upload is refused.
//!
//! Closing a connection while the client still sends makes its kernel throw away the answer (a reset overtakes it), and
//! the client reports a broken pipe where it should report the refusal. So the unread rest is read and dropped, up to a
//! bound, after the answer was sent. A client that waits for `100 Continue` has sent nothing yet: its body is not touched,
//! since touching it is what makes hyper send the 100.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::Stream;
use http::header::{HeaderMap, TRANSFER_ENCODING};
use http::{Version, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::sync::oneshot;

use crate::s3::fault::Fault;
use crate::storage::{ByteStream, StorageError};

/// How long the rest of a refused upload is read for.
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// Lends a body: the first half reads it, the second takes back what the first leaves unread.
pub(super) fn lend(body: Body, headers: &HeaderMap, version: Version) -> (LentBody, Reclaim) {
    let (sender, receiver) = oneshot::channel();
    let lent = LentBody {
        unread: Some(Unread {
            body,
            is_touched: false,
        }),
        back: Some(sender),
    };
    let reclaim = Reclaim {
        receiver,
        waits_for_continue: headers.contains_key(header::EXPECT),
        // HTTP/2 resets the one stream, after the answer.
        needs_drain: version < Version::HTTP_2,
    };
    (lent, reclaim)
}

/// A body in the hands of a handler or of the stack.
#[derive(Debug)]
pub(super) struct LentBody {
    unread: Option<Unread>,
    back: Option<oneshot::Sender<Unread>>,
}

#[derive(Debug)]
struct Unread {
    body: Body,
    is_touched: bool,
}

impl LentBody {
    /// Returns the body as the stack takes it: as received, framing included, with the length on the wire.
    pub(super) fn into_stream(self) -> ByteStream {
        let len_bytes = self
            .unread
            .as_ref()
            .and_then(|unread| unread.body.size_hint().exact());
        ByteStream::new(self, len_bytes)
    }

    /// Reads a whole document.
    ///
    /// Errors: MalformedXML above `limit_bytes`, RequestTimeout after `patience`, IncompleteBody.
    pub(super) async fn read_document(
        self,
        limit_bytes: usize,
        patience: Duration,
    ) -> Result<Bytes, Fault> {
        let whole = self.into_stream().collect(limit_bytes);
        match tokio::time::timeout(patience, whole).await {
            Ok(Ok(document)) => Ok(document),
            Ok(Err(StorageError::EntityTooLarge { limit_bytes })) => Err(Fault::malformed_xml(
                format_args!("the document is longer than {limit_bytes} bytes"),
            )),
            Ok(Err(other)) => Err(other.into()),
            Err(_) => Err(StorageError::ClientTimeout { idle: patience }.into()),
        }
    }
}

impl Stream for LentBody {
    type Item = Result<Bytes, StorageError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(unread) = self.unread.as_mut() else {
            return Poll::Ready(None);
        };
        unread.is_touched = true;
        loop {
            match ready!(Pin::new(&mut unread.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) if bytes.is_empty() => {}
                    Ok(bytes) => return Poll::Ready(Some(Ok(bytes))),
                    // HTTP trailers; those of aws-chunked are inside the data.
                    Err(_trailers) => {}
                },
                Some(Err(_)) => {
                    // The connection is broken: nobody is there to read an answer.
                    self.unread = None;
                    return Poll::Ready(Some(Err(StorageError::IncompleteBody)));
                }
                None => {
                    self.unread = None;
                    return Poll::Ready(None);
                }
            }
        }
    }
}

impl Drop for LentBody {
    fn drop(&mut self) {
        if let (Some(unread), Some(back)) = (self.unread.take(), self.back.take())
            && !unread.body.is_end_stream()
        {
            // Nobody takes it back after a success.
            let _ = back.send(unread);
        }
    }
}

/// Takes back what was left unread.
#[derive(Debug)]
pub(super) struct Reclaim {
    receiver: oneshot::Receiver<Unread>,
    waits_for_continue: bool,
    needs_drain: bool,
}

impl Reclaim {
    /// Deals with the rest of a refused request: reads it up to `limit_bytes` in a task of its own, so that the answer goes
    /// out at once. Returns whether the connection has to be closed after the answer.
    pub(super) fn settle(mut self, limit_bytes: u64) -> bool {
        let Ok(unread) = self.receiver.try_recv() else {
            return false;
        };
        if !self.needs_drain {
            return false;
        }
        let is_sending = unread.is_touched || !self.waits_for_continue;
        if is_sending {
            tokio::spawn(async move {
                let _ = tokio::time::timeout(DRAIN_TIME, drain(unread.body, limit_bytes)).await;
            });
        }
        true
    }
}

async fn drain(mut body: Body, limit_bytes: u64) {
    let mut drained = 0;
    while drained < limit_bytes
        && let Some(Ok(frame)) = body.frame().await
    {
        drained += frame.data_ref().map_or(0, |bytes| bytes.len() as u64);
    }
}

/// Returns the length of an upload's own bytes, if the client announces it.
///
/// Errors: MissingContentLength if the client says neither how long the body is nor that it frames it by itself;
/// EntityTooLarge above `limit_bytes`.
pub(super) fn check_length(
    decoded_length: Option<u64>,
    headers: &HeaderMap,
    version: Version,
    limit_bytes: u64,
) -> Result<(), Fault> {
    let announced = decoded_length.or_else(|| {
        let length = headers.get(header::CONTENT_LENGTH)?.to_str().ok()?;
        length.trim().parse().ok()
    });
    match announced {
        Some(length) if length > limit_bytes => {
            Err(StorageError::EntityTooLarge { limit_bytes }.into())
        }
        Some(_) => Ok(()),
        // The end of a body in HTTP/1.1 chunks or HTTP/2 frames is certain even without a length.
        None if headers.contains_key(TRANSFER_ENCODING) || version == Version::HTTP_2 => Ok(()),
        None => Err(StorageError::MissingContentLength.into()),
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    fn lent(expects: bool) -> (LentBody, Reclaim) {
        let mut headers = HeaderMap::new();
        if expects {
            headers.insert(header::EXPECT, "100-continue".parse().unwrap());
        }
        lend(Body::from("abc"), &headers, Version::HTTP_11)
    }

    #[tokio::test]
    async fn an_unread_body_comes_back_and_closes_the_connection() {
        let (body, reclaim) = lent(false);
        let stream = body.into_stream();
        assert_eq!(stream.len_bytes(), Some(3));
        drop(stream);
        assert!(reclaim.settle(10));
    }

    #[tokio::test]
    async fn a_read_body_does_not_come_back() {
        let (body, reclaim) = lent(true);
        let mut stream = body.into_stream();
        assert_eq!(stream.next().await.unwrap().unwrap(), "abc");
        assert!(stream.next().await.is_none());
        drop(stream);
        assert!(!reclaim.settle(10));
    }

    #[tokio::test]
    async fn a_document_is_bounded() {
        let read = |limit| lent(false).0.read_document(limit, Duration::from_secs(1));
        assert_eq!(read(3).await.unwrap(), "abc");
        assert_eq!(read(2).await.unwrap_err().code, "MalformedXML");
    }

    #[tokio::test(start_paused = true)]
    async fn a_document_that_never_ends_times_out() {
        let body = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        let (body, _reclaim) = lend(body, &HeaderMap::new(), Version::HTTP_11);
        let fault = body
            .read_document(10, Duration::from_secs(1))
            .await
            .unwrap_err();
        assert_eq!(fault.code, "RequestTimeout");
    }

    #[test]
    fn uploads_announce_their_length_or_frame_themselves() {
        let check = |decoded, name: Option<(header::HeaderName, &str)>, version| {
            let headers: HeaderMap = name
                .into_iter()
                .map(|(name, value)| (name, value.parse().unwrap()))
                .collect();
            check_length(decoded, &headers, version, 10).map_err(|fault| fault.code)
        };
        let http = Version::HTTP_11;
        assert_eq!(check(Some(10), None, http), Ok(()));
        assert_eq!(
            check(None, Some((header::CONTENT_LENGTH, "10")), http),
            Ok(())
        );
        assert_eq!(
            check(None, Some((header::CONTENT_LENGTH, "11")), http),
            Err("EntityTooLarge")
        );
        assert_eq!(
            check(Some(11), Some((header::CONTENT_LENGTH, "1")), http),
            Err("EntityTooLarge")
        );
        assert_eq!(
            check(None, Some((TRANSFER_ENCODING, "chunked")), http),
            Ok(())
        );
        assert_eq!(check(None, None, http), Err("MissingContentLength"));
        assert_eq!(check(None, None, Version::HTTP_2), Ok(()));
    }
}
