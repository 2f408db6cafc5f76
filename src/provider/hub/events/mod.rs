//! The Hub's change feed: what happens in a bucket, told as it happens.
//!
//! One long answer a bucket (`GET …/events`), in server-sent events. The Hub sends a cursor with everything that it tells,
//! and takes up from there for a quarter of an hour; it closes each answer after some twenty minutes, and says so.

mod message;
mod sse;

use http::StatusCode;
use http::header::{ACCEPT, CONTENT_TYPE};

pub use message::{FeedEvent, FileChange};

use crate::provider::http::{CallName, unavailable};
use crate::provider::hub::call::read;
use crate::provider::hub::client::HubClient;
use crate::provider::hub::error;
use crate::provider::hub::events::sse::Parser;
use crate::storage::{BucketId, Secret, StorageError};
use crate::telemetry::Upstream;

/// The call in words, for metrics and errors.
pub(super) const CALL: &str = "events";

/// An open feed.
#[derive(Debug)]
pub struct Feed {
    response: reqwest::Response,
    parser: Parser,
    hub: HubClient,
}

/// Why there is no feed.
#[derive(Debug)]
pub enum NoFeed {
    /// This Hub offers none.
    NotOffered,
    /// This time it did not work.
    Failed(StorageError),
}

impl HubClient {
    /// Opens the feed of a bucket, behind the cursor if there is one.
    ///
    /// It counts against the token's budget, once. A Hub that falls silent for longer than its pings allow ends it.
    pub async fn feed(
        &self,
        token: &Secret,
        bucket: &BucketId,
        cursor: Option<&str>,
    ) -> Result<Feed, NoFeed> {
        let shared = &self.shared;
        let admitted = shared.budget.admit(token).await;
        admitted.map_err(NoFeed::Failed)?;
        let mut url = self.bucket_url(bucket, &["events"]);
        if let Some(cursor) = cursor {
            url.query_pairs_mut().append_pair("cursor", cursor);
        }
        let request = shared
            .feeds
            .get(url)
            .bearer_auth(token.expose())
            .header(ACCEPT, "text/event-stream")
            .with_extension(CallName(CALL));
        let sent = request.send().await;
        let response = sent.map_err(|error| NoFeed::Failed(unavailable("hub", &error)))?;
        shared.budget.observe(token.id(), &response);
        if response.status() == StatusCode::OK && is_event_stream(&response) {
            return Ok(Feed {
                response,
                parser: Parser::default(),
                hub: self.clone(),
            });
        }
        let answer = read(CALL, response).await;
        let answer = answer.map_err(|lost| NoFeed::Failed(lost.error))?;
        let is_missing = matches!(answer.status.as_u16(), 404 | 405 | 406 | 501);
        if answer.status.is_success() || is_missing && !error::is_repo_not_found(&answer.headers) {
            return Err(NoFeed::NotOffered);
        }
        Err(NoFeed::Failed(error::refusal(&answer, bucket)))
    }
}

impl Feed {
    /// Returns the next event; `None` when the Hub has closed the answer.
    ///
    /// Errors: `Unavailable` if the answer breaks off, falls silent, or makes no sense.
    pub async fn next(&mut self) -> Result<Option<FeedEvent>, StorageError> {
        loop {
            while let Some(message) = self.parser.next_message() {
                if let Some(event) = FeedEvent::of_message(&message)? {
                    return Ok(Some(event));
                }
            }
            let frame = self.response.chunk().await;
            let frame = frame.map_err(|error| unavailable("hub", &error.into()))?;
            let Some(frame) = frame else {
                return Ok(None);
            };
            let metrics = self.hub.metrics();
            metrics.upstream_received(Upstream::Hub, frame.len() as u64);
            self.parser.push(&frame)?;
        }
    }
}

fn is_event_stream(response: &reqwest::Response) -> bool {
    let content_type = response.headers().get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    content_type.is_some_and(|text| text.trim_start().starts_with("text/event-stream"))
}
