//! What is known of objects: a bounded map with lookups that share one flight, and commits that make it forget.

use std::collections::HashSet;
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use tracing::Span;

use crate::cache::{ExpiringMap, Flight, SingleFlight};
use crate::storage::{BucketId, Notice, ObjectInfo, ObjectKey, ObjectVersion, StorageError};
use crate::telemetry::{CacheName, CacheResult, Metrics};

use super::epochs::{Epoch, Epochs, Slot};

/// How much is kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileInfoLimits {
    /// Objects whose info is kept; zero turns the cache off.
    pub max_entries: usize,
    /// How long it is kept: what other writers do is seen after at most this time. Zero turns the cache off.
    pub ttl: Duration,
    /// Whether infos are kept only of buckets whose changes are told. Then several replicas agree about them, or each asks
    /// every time.
    pub needs_feed: bool,
}

impl Default for FileInfoLimits {
    fn default() -> Self {
        Self {
            max_entries: 256,
            ttl: Duration::from_secs(30),
            needs_feed: false,
        }
    }
}

/// The cache of file info. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct FileInfos(Arc<State>);

#[derive(Debug)]
struct State {
    limits: FileInfoLimits,
    known: ExpiringMap<Slot, Arc<ObjectInfo>>,
    /// The epoch is part of the name of a flight, so a lookup that began before a commit is not joined after it.
    flights: SingleFlight<(Slot, Epoch), Arc<ObjectInfo>, StorageError>,
    epochs: Epochs,
    /// Buckets whose changes are told.
    fed: RwLock<HashSet<BucketId>>,
    metrics: Metrics,
}

impl FileInfos {
    pub(super) fn new(limits: FileInfoLimits, metrics: Metrics) -> Self {
        let lost = StorageError::internal("the lookup that others waited for was lost");
        Self(Arc::new(State {
            limits,
            known: ExpiringMap::new(limits.max_entries, limits.ttl),
            flights: SingleFlight::new(lost),
            epochs: Epochs::new(),
            fed: RwLock::default(),
            metrics,
        }))
    }

    /// Reports whether anything of a bucket is kept. An idle cache shares no lookups either: with a life of zero every read
    /// sees what was committed anywhere before it began.
    pub(super) fn is_on(&self, bucket: &BucketId) -> bool {
        let limits = &self.0.limits;
        let is_sized = limits.max_entries > 0 && !limits.ttl.is_zero();
        is_sized && (!limits.needs_feed || self.is_fed(bucket))
    }

    /// Takes in what is told of other writers.
    pub(super) fn hear(&self, notice: &Notice) {
        match notice {
            Notice::Connected(bucket) => {
                self.fed().insert(bucket.clone());
            }
            Notice::Disconnected(bucket) => {
                self.fed().remove(bucket);
                // Else they live for as long as they would have without being told of changes.
                if self.0.limits.needs_feed {
                    self.forget_bucket(bucket);
                }
            }
            Notice::Anything(bucket) => self.forget_bucket(bucket),
            Notice::Object { bucket, key, now } => {
                self.forget_older(&(bucket.clone(), key.clone()), *now);
            }
            Notice::Objects { bucket, are } => {
                self.forget_in(bucket, |key| are(key));
            }
        }
    }

    fn is_fed(&self, bucket: &BucketId) -> bool {
        let fed = self.0.fed.read().unwrap_or_else(PoisonError::into_inner);
        fed.contains(bucket)
    }

    fn fed(&self) -> RwLockWriteGuard<'_, HashSet<BucketId>> {
        self.0.fed.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a read that asks the provider itself.
    pub(super) fn bypass(&self) {
        self.0
            .metrics
            .cache_request(CacheName::FileInfo, CacheResult::Bypass);
    }

    /// Returns what is known of an object, and how it came to be known: from the map, from somebody else's lookup, or
    /// from `lookup`. Errors are shared with those who wait, and never kept.
    pub(super) async fn get<F>(
        &self,
        slot: &Slot,
        lookup: impl FnOnce() -> F,
    ) -> (Result<Arc<ObjectInfo>, StorageError>, CacheResult)
    where
        F: Future<Output = Result<Arc<ObjectInfo>, StorageError>> + Send + 'static,
    {
        let (found, result) = match self.0.known.get(slot) {
            Some(info) => (Ok(info), CacheResult::Hit),
            None => self.fetch(slot, lookup).await,
        };
        self.0.metrics.cache_request(CacheName::FileInfo, result);
        Span::current().record("result", result.name());
        (found, result)
    }

    async fn fetch<F>(
        &self,
        slot: &Slot,
        lookup: impl FnOnce() -> F,
    ) -> (Result<Arc<ObjectInfo>, StorageError>, CacheResult)
    where
        F: Future<Output = Result<Arc<ObjectInfo>, StorageError>> + Send + 'static,
    {
        let began = self.0.epochs.now(slot);
        let flight = self.0.flights.run((slot.clone(), began), || {
            let (infos, slot, lookup) = (self.clone(), slot.clone(), lookup());
            async move {
                let info = lookup.await?;
                infos.keep(slot, began, &info);
                Ok(info)
            }
        });
        match flight.await {
            (found, Flight::Led) => (found, CacheResult::Miss),
            (found, Flight::Joined) => (found, CacheResult::Coalesced),
        }
    }

    fn keep(&self, slot: Slot, began: Epoch, info: &Arc<ObjectInfo>) {
        let State { known, epochs, .. } = &*self.0;
        epochs.if_still(&slot.clone(), began, || {
            let before = known.len();
            known.insert(slot, info.clone());
            // A full map that took a new entry gave up an old one.
            if before == known.len() && before == self.0.limits.max_entries {
                self.evicted(1);
            }
        });
        self.show_size();
    }

    /// Forgets one object, and spoils the lookups of it that are under way.
    pub(super) fn forget_key(&self, slot: &Slot) {
        let State { known, epochs, .. } = &*self.0;
        epochs.raise_key(slot, || {
            let before = known.len();
            known.remove(slot);
            self.evicted(before.saturating_sub(known.len()));
        });
        self.show_size();
    }

    /// Forgets one object, unless what is known of it is this version, and spoils the lookups of it that are under way.
    fn forget_older(&self, slot: &Slot, now: Option<ObjectVersion>) {
        let State { known, epochs, .. } = &*self.0;
        epochs.raise_key(slot, || {
            let version = known.get(slot).map(|info| ObjectVersion {
                hash: info.hash,
                uploaded_at: info.last_modified,
            });
            // Most often a write of one's own, which somebody has read since.
            if version.is_some() && version != now {
                known.remove(slot);
                self.evicted(1);
            }
        });
        self.show_size();
    }

    /// Forgets all objects of a bucket, and spoils the lookups in it that are under way.
    pub(super) fn forget_bucket(&self, bucket: &BucketId) {
        self.forget_in(bucket, |_| true);
    }

    fn forget_in(&self, bucket: &BucketId, is_stale: impl Fn(&ObjectKey) -> bool) {
        let State { known, epochs, .. } = &*self.0;
        epochs.raise_bucket(bucket, || {
            let before = known.len();
            known.retain(|(of, key), _| of != bucket || !is_stale(key));
            self.evicted(before.saturating_sub(known.len()));
        });
        self.show_size();
    }

    fn evicted(&self, entries: usize) {
        self.0
            .metrics
            .cache_evicted(CacheName::FileInfo, entries as u64);
    }

    fn show_size(&self) {
        let entries = self.0.known.len() as u64;
        self.0.metrics.cache_holds(CacheName::FileInfo, 0, entries);
    }
}
