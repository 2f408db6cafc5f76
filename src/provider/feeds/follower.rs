//! The follower of one bucket: opens its feed, publishes what it tells, and opens it again.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::provider::feeds::translate;
use crate::provider::hub::{Feed, FeedEvent, HubClient, NoFeed};
use crate::storage::{BucketId, Changes, Notice, Secret, StorageError};
use crate::telemetry::{FeedSign, Metrics};

/// Pause after the first failure; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause after a failure.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A feed that lasted for so long was a good one: many a proxy cuts what is silent for a minute.
const SOUND: Duration = Duration::from_secs(30);
/// Pause where trying again soon makes no sense: the bucket is gone, or the token may not.
const REFUSED_PAUSE: Duration = Duration::from_secs(600);
/// Pause while the budget is needed for other things.
const BUDGET_PAUSE: Duration = Duration::from_secs(30);
/// How often a Hub that offers no feeds is asked again.
const OFFER_PAUSE: Duration = Duration::from_secs(3600);

/// Whether the Hub offers feeds at all: what one follower finds out counts for all.
#[derive(Debug, Default)]
pub(super) struct Offer(Mutex<Option<Instant>>);

/// See the module.
pub(super) struct Follower {
    pub(super) hub: HubClient,
    pub(super) token: Secret,
    pub(super) bucket: BucketId,
    pub(super) changes: Changes,
    pub(super) offer: Arc<Offer>,
    pub(super) is_connected: Arc<AtomicBool>,
}

/// A feed that has shown that it works. When it goes, for whatever reason, that is published.
struct Connection<'a>(&'a Follower);

impl Offer {
    /// Returns how long not to ask.
    fn pause(&self) -> Option<Duration> {
        let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = until?.checked_duration_since(Instant::now())?;
        (!left.is_zero()).then_some(left)
    }

    /// Notes that there is none, and reports whether that is news.
    fn is_missing(&self) -> bool {
        let mut until = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = until.is_none();
        *until = Some(Instant::now() + OFFER_PAUSE);
        is_news
    }
}

impl Follower {
    /// Follows until it is dropped.
    pub(super) async fn run(self) -> Infallible {
        let mut cursor = None;
        let mut failures = 0;
        loop {
            let pause = match self.offer.pause() {
                Some(pause) => pause,
                None if !self.hub.has_spare(&self.token) => BUDGET_PAUSE,
                None => self.attempt(&mut cursor, &mut failures).await,
            };
            tokio::time::sleep(jittered(pause)).await;
        }
    }

    /// Opens the feed and follows it to its end. Returns how long to wait before the next attempt.
    async fn attempt(&self, cursor: &mut Option<String>, failures: &mut u32) -> Duration {
        let began_at = Instant::now();
        let opened = self
            .hub
            .feed(&self.token, &self.bucket, cursor.as_deref())
            .await;
        let error = match opened {
            Ok(feed) => match self.listen(feed, cursor, failures).await {
                Ok(()) => {
                    *failures = 0;
                    return FIRST_PAUSE;
                }
                Err(error) => {
                    self.metrics().change_feed_sign(FeedSign::Cut);
                    error
                }
            },
            Err(NoFeed::NotOffered) => {
                if self.offer.is_missing() {
                    tracing::info!(
                        "the hub offers no change feed: writes of others are seen when file infos expire"
                    );
                }
                return OFFER_PAUSE;
            }
            Err(NoFeed::Failed(error)) => error,
        };
        tracing::debug!(bucket = %self.bucket, %error, "the change feed was interrupted");
        if began_at.elapsed() > SOUND {
            *failures = 0;
        }
        *failures += 1;
        // The cursor may be what is wrong: it is old, or something behind it is not understood.
        if *failures > 1 {
            *cursor = None;
        }
        match error {
            StorageError::RateLimited { after } => after.max(FIRST_PAUSE),
            StorageError::NoSuchBucket { .. } | StorageError::AccessDenied { .. } => REFUSED_PAUSE,
            _ => LONGEST_PAUSE.min(FIRST_PAUSE * 2_u32.saturating_pow((*failures - 1).min(10))),
        }
    }

    /// Publishes what the feed tells, up to its orderly end.
    ///
    /// Errors: it was cut, or told something that makes no sense, which may have been a change.
    async fn listen(
        &self,
        mut feed: Feed,
        cursor: &mut Option<String>,
        failures: &mut u32,
    ) -> Result<(), StorageError> {
        let mut connection = None;
        loop {
            let Some(event) = feed.next().await? else {
                // Without a word of farewell, but in order.
                return Ok(());
            };
            self.metrics().change_feed_sign(sign(&event));
            match event {
                FeedEvent::Ready { cursor: at } => {
                    self.connect(&mut connection, cursor.is_none());
                    *cursor = Some(at);
                }
                FeedEvent::Changes {
                    cursor: at,
                    changes,
                } => {
                    self.connect(&mut connection, cursor.is_none());
                    self.metrics().change_feed_changes(changes.len());
                    for notice in translate::notices(&self.bucket, &changes) {
                        self.changes.publish(&notice);
                    }
                    *cursor = Some(at);
                    *failures = 0;
                }
                FeedEvent::Reset => {
                    *cursor = None;
                    self.anything();
                }
                FeedEvent::Reconnect => return Ok(()),
            }
        }
    }

    /// Publishes that the feed works. If it began anew, what happened before is not known.
    fn connect<'a>(&'a self, connection: &mut Option<Connection<'a>>, is_new: bool) {
        connection.get_or_insert_with(|| Connection::new(self));
        if is_new {
            self.anything();
        }
    }

    fn anything(&self) {
        let notice = Notice::Anything(self.bucket.clone());
        self.changes.publish(&notice);
    }

    fn metrics(&self) -> &Metrics {
        self.hub.metrics()
    }
}

impl<'a> Connection<'a> {
    fn new(follower: &'a Follower) -> Self {
        follower.is_connected.store(true, Ordering::Relaxed);
        follower.metrics().change_feeds_connected(1);
        let notice = Notice::Connected(follower.bucket.clone());
        follower.changes.publish(&notice);
        Self(follower)
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        let follower = self.0;
        follower.is_connected.store(false, Ordering::Relaxed);
        follower.metrics().change_feeds_connected(-1);
        let notice = Notice::Disconnected(follower.bucket.clone());
        follower.changes.publish(&notice);
    }
}

fn sign(event: &FeedEvent) -> FeedSign {
    match event {
        FeedEvent::Ready { .. } => FeedSign::Ready,
        FeedEvent::Changes { .. } => FeedSign::Changes,
        FeedEvent::Reset => FeedSign::Reset,
        FeedEvent::Reconnect => FeedSign::Reconnect,
    }
}

/// Spreads those who were cut off at the same moment over half the pause before it and half behind.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.5..1.5))
}
