//! Answers to commits that may take long: Complete, CopyObject, and UploadPartCopy.
//!
//! Load balancers and SDKs give up on a connection that stays silent. After a while the answer therefore begins, as S3's
//! does: status 200 and the XML declaration, then a space now and then, then the document. If the commit fails after that,
//! the document is an `<Error>` inside the 200; SDKs know this of exactly these operations.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use http::header::{CONTENT_TYPE, HeaderValue};

use crate::s3::exchange::Exchange;
use crate::s3::fault::Fault;
use crate::s3::xml::{DECLARATION, Document};

/// How an answer to a commit is finished, whenever that may be.
#[derive(Debug)]
pub(super) struct Finish {
    keep_alive_after: Duration,
    resource: String,
    request_id: Arc<str>,
}

impl Finish {
    /// Takes along what an error document needs.
    pub(super) fn of(exchange: &Exchange) -> Self {
        Self {
            keep_alive_after: exchange.config.keep_alive_after,
            resource: exchange.path.clone(),
            request_id: exchange.caller.request_id(),
        }
    }
}

/// Waits for a commit and answers with the document that `render` builds of its result.
///
/// Errors: the commit's, as long as the answer has not begun.
pub(super) async fn answer<T, W, R>(finish: Finish, work: W, render: R) -> Result<Response, Fault>
where
    W: Future<Output = Result<T, Fault>> + Send + 'static,
    R: FnOnce(T, &mut Document) + Send + 'static,
{
    let mut work = Box::pin(work);
    if let Ok(outcome) = tokio::time::timeout(finish.keep_alive_after, &mut work).await {
        let mut document = Document::new();
        render(outcome?, &mut document);
        return Ok(document.into_response());
    }
    let declaration = stream::once(async { Bytes::from_static(DECLARATION.as_bytes()) });
    let body = declaration.chain(spaces_then_document(finish, work, render));
    let mut response = Response::new(Body::from_stream(
        body.map(Ok::<_, std::convert::Infallible>),
    ));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    Ok(response)
}

fn spaces_then_document<T, W, R>(
    finish: Finish,
    work: Pin<Box<W>>,
    render: R,
) -> impl futures::Stream<Item = Bytes> + Send + 'static
where
    W: Future<Output = Result<T, Fault>> + Send + 'static,
    R: FnOnce(T, &mut Document) + Send + 'static,
{
    stream::unfold(Some((finish, work, render)), |state| async {
        let (finish, mut work, render) = state?;
        match tokio::time::timeout(finish.keep_alive_after, &mut work).await {
            Err(_) => Some((Bytes::from_static(b" "), Some((finish, work, render)))),
            Ok(Ok(done)) => {
                let mut document = Document::fragment();
                render(done, &mut document);
                Some((document.into_bytes().into(), None))
            }
            Ok(Err(fault)) => {
                let document = fault.fragment(&finish.resource, &finish.request_id);
                Some((document.into_bytes().into(), None))
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::storage::StorageError;

    async fn run(
        takes: Duration,
        result: Result<&'static str, StorageError>,
    ) -> Result<String, Fault> {
        let finish = Finish {
            keep_alive_after: Duration::from_secs(5),
            resource: "/b/k".into(),
            request_id: "id".into(),
        };
        let work = async move {
            tokio::time::sleep(takes).await;
            result.map_err(Fault::from)
        };
        let response = answer(finish, work, |text, document| {
            document.element(text, |_| {});
        })
        .await?;
        assert_eq!(response.status(), 200);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        Ok(String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_quick_commit_is_answered_at_once() {
        let answer = run(Duration::from_secs(4), Ok("Done")).await.unwrap();
        assert_eq!(answer, format!("{DECLARATION}<Done></Done>"));
        let fault = run(Duration::ZERO, Err(StorageError::InvalidPartOrder))
            .await
            .unwrap_err();
        assert_eq!(fault.code, "InvalidPartOrder");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_commit_keeps_the_connection_alive() {
        let answer = run(Duration::from_secs(18), Ok("Done")).await.unwrap();
        assert_eq!(answer, format!("{DECLARATION}  <Done></Done>"));
        let answer = run(Duration::from_secs(6), Err(StorageError::Overloaded))
            .await
            .unwrap();
        assert!(
            answer.starts_with(&format!("{DECLARATION}<Error><Code>SlowDown</Code>")),
            "{answer}"
        );
    }
}
