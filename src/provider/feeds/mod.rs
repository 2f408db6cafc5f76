//! Following the change feeds of the buckets that are read, so that others' writes are seen at once.
//!
//! ```text
//! a read ─► Feeds::follow ─► Follower ─► HubClient::feed        one task a bucket
//!                                │  translate                   paths become keys
//!                                └─► Changes ─► the file-info cache
//! ```
//! # Behaviour
//! - Nothing depends on a feed. Where the Hub offers none, it is asked again once an hour; where one fails, it is opened again
//!   after a pause that grows to a minute. The first call waits while less than half of the token's budget is left.
//! - What was told is published in its order. After an interruption the feed goes on at the last cursor; where that is not
//!   possible, anything may have changed, and that is published.
//! - A feed that is cut is published as such at once, so that nobody trusts what may be stale by now.
//! - At most 64 buckets are followed, the ones that were read last; one that nobody reads for ten minutes is left alone.

mod follower;
mod translate;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::provider::feeds::follower::{Follower, Offer};
use crate::provider::hub::HubClient;
use crate::storage::{BucketId, Changes, Secret};

/// Buckets that are followed at most: each costs a connection, or a stream of one.
const MAX_FEEDS: usize = 64;
/// A bucket that nobody has read for so long is not followed any more.
const IDLE: Duration = Duration::from_secs(600);
/// A bucket that was read within this time does not give its place to another.
const BUSY: Duration = Duration::from_secs(60);

/// Follows buckets. Clones are the same; the last one that goes ends all feeds.
#[derive(Clone)]
pub struct Feeds(Option<Arc<Table>>);

struct Table {
    hub: HubClient,
    changes: Changes,
    offer: Arc<Offer>,
    followed: Mutex<HashMap<BucketId, Followed>>,
}

struct Followed {
    read_at: Instant,
    token: Secret,
    is_connected: Arc<AtomicBool>,
    _task: AbortOnDropHandle<()>,
}

impl Feeds {
    /// Follows nothing yet. Without a place to tell changes, it never will.
    pub(super) fn new(hub: HubClient, changes: Option<Changes>) -> Self {
        Self(changes.map(|changes| {
            Arc::new(Table {
                hub,
                changes,
                offer: Arc::default(),
                followed: Mutex::default(),
            })
        }))
    }

    /// Notes that a bucket was read with this token, and begins to follow it.
    pub(super) fn follow(&self, bucket: &BucketId, token: &Secret) {
        let Some(table) = &self.0 else {
            return;
        };
        let now = Instant::now();
        let mut followed = table.lock();
        match followed.get_mut(bucket) {
            Some(known) if known.fits(token) => known.read_at = now,
            Some(_) | None => {
                followed.remove(bucket);
                if followed.len() < MAX_FEEDS || give_place(&mut followed, now) {
                    followed.insert(bucket.clone(), table.start(bucket, token, now));
                }
            }
        }
    }

    /// Ends all feeds.
    pub(super) fn stop(&self) {
        if let Some(table) = &self.0 {
            let ended = std::mem::take(&mut *table.lock());
            drop(ended);
        }
    }
}

impl fmt::Debug for Feeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.as_ref().map(|table| table.lock().len());
        f.debug_tuple("Feeds").field(&count).finish()
    }
}

impl Table {
    fn start(self: &Arc<Self>, bucket: &BucketId, token: &Secret, now: Instant) -> Followed {
        let is_connected = Arc::<AtomicBool>::default();
        let follower = Follower {
            hub: self.hub.clone(),
            token: token.clone(),
            bucket: bucket.clone(),
            changes: self.changes.clone(),
            offer: self.offer.clone(),
            is_connected: is_connected.clone(),
        };
        let (table, bucket) = (Arc::downgrade(self), bucket.clone());
        let task = async move {
            tokio::select! {
                never = follower.run() => match never {},
                () = idle(&table, &bucket) => {}
            }
        };
        Followed {
            read_at: now,
            token: token.clone(),
            is_connected,
            _task: AbortOnDropHandle::new(tokio::spawn(task)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BucketId, Followed>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Followed {
    /// Reports whether another feed with this token would be no better: a token may have been replaced.
    fn fits(&self, token: &Secret) -> bool {
        self.token.id() == token.id() || self.is_connected.load(Ordering::Relaxed)
    }
}

/// Returns once nobody has read the bucket for a while; its place is free then.
async fn idle(table: &Weak<Table>, bucket: &BucketId) {
    let mut wake_at = Instant::now() + IDLE;
    loop {
        tokio::time::sleep_until(wake_at).await;
        let Some(table) = table.upgrade() else {
            return;
        };
        let mut followed = table.lock();
        let Entry::Occupied(known) = followed.entry(bucket.clone()) else {
            return;
        };
        wake_at = known.get().read_at + IDLE;
        if wake_at <= Instant::now() {
            // This ends the task, at its next pause.
            let ended = known.remove();
            drop(followed);
            drop(ended);
        }
    }
}

/// Leaves the bucket alone that was read longest ago, if none of them is busy.
fn give_place(followed: &mut HashMap<BucketId, Followed>, now: Instant) -> bool {
    let oldest = followed.iter().min_by_key(|(_, known)| known.read_at);
    let idle = oldest.filter(|(_, known)| now - known.read_at > BUSY);
    let bucket = idle.map(|(bucket, _)| bucket.clone());
    bucket.is_some_and(|bucket| followed.remove(&bucket).is_some())
}

#[cfg(test)]
mod tests;
