//! Undo: what a write or a deletion replaces is kept for a while, in buckets that are configured so.
//!
//! Content is named by its hash, so keeping it moves no byte: the committer looks up what stands under the keys of a group
//! of writes, and registers each file once more under the hidden prefix before the group itself leaves. A batch is no
//! transaction, so the copies have a batch of their own: whatever happens between the two, the old content is in the
//! bucket. The object's metadata goes along, as the fields of the copy's own file and as a second file for its sidecar.
//!
//! ```text
//! .hugbucket/undo/keys/<key>/<stamp>/content     what stood under the key
//! .hugbucket/undo/keys/<key>/<stamp>/sidecar     its sidecar, if there was one
//! .hugbucket/undo/long/<sha256>/<stamp>/…        the same of a key that is too long for a hidden path
//! ```
//!
//! The stamp tells when the content was written, and for how long it is kept from the moment that the copy was registered:
//! by the Hub's clock, which gave both files their times. So a copy lives as long as was promised when it was made,
//! whatever is configured later.
//!
//! # Behaviour
//! - Every overwrite and every deletion of an object is covered, whatever operation caused it; directory markers hold
//!   nothing and are not kept, and neither is a sidecar that is changed alone (tags).
//! - A write whose old content cannot be kept does not leave, and fails.
//! - Copies show in no listing, and cannot be addressed by clients.
//! - A public bucket keeps no copies: everybody could read what its owner has deleted. The log and a metric tell.
//! - A bucket with copies that have not expired is not empty.

mod copies;
mod place;
mod restore;
mod sweep;

pub use copies::{CopiesOf, KeptCopy, copy_at};
pub(in crate::provider) use place::{expiry_of, is_copy, lines_that_keep};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::ExpiringMap;
use crate::provider::hub::HubClient;
use crate::storage::{BucketId, Secret, StorageError, Visibility};
use crate::telemetry::{Metrics, UndoEvent};

/// Buckets whose visibility is remembered.
const MAX_BUCKETS: usize = 1024;

/// How long it is remembered who may read a bucket, unless this process changes it.
const VISIBILITY_TTL: Duration = Duration::from_secs(600);

/// For which buckets undo is on, and how long copies are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UndoConfig {
    /// By `namespace/bucket`, by `bucket` whatever its namespace, or `*` for all others; zero is off.
    pub periods: BTreeMap<String, Duration>,
}

impl UndoConfig {
    /// Returns how long copies are kept in a bucket; `None` where undo is off.
    fn period(&self, bucket: &BucketId) -> Option<Duration> {
        let names = [&bucket.to_string(), bucket.name.as_str(), "*"];
        let period = names.iter().find_map(|name| self.periods.get(*name));
        period.copied().filter(|period| !period.is_zero())
    }
}

/// Decides what is kept. Clones share what is remembered.
#[derive(Debug, Clone)]
pub(in crate::provider) struct Undo(Arc<Policy>);

#[derive(Debug)]
struct Policy {
    config: UndoConfig,
    visibilities: ExpiringMap<BucketId, Visibility>,
    metrics: Metrics,
}

impl Undo {
    pub(in crate::provider) fn new(config: UndoConfig, metrics: &Metrics) -> Self {
        Self(Arc::new(Policy {
            config,
            visibilities: ExpiringMap::new(MAX_BUCKETS, VISIBILITY_TTL),
            metrics: metrics.clone(),
        }))
    }

    /// Returns how long what so many writes replace in a bucket is kept; `None` if it is not.
    ///
    /// Costs nothing where undo is off, and else a call in ten minutes for each bucket.
    ///
    /// Errors: what the Hub says of the bucket. Then nobody knows whether a copy would be public.
    pub(in crate::provider) async fn period(
        &self,
        hub: &HubClient,
        token: &Secret,
        bucket: &BucketId,
        writes: usize,
    ) -> Result<Option<Duration>, StorageError> {
        let Some(period) = self.0.config.period(bucket) else {
            return Ok(None);
        };
        let visibility = match self.0.visibilities.get(bucket) {
            Some(known) => known,
            None => self.ask(hub, token, bucket).await?,
        };
        match visibility {
            Visibility::Private => Ok(Some(period)),
            Visibility::Public => {
                self.0.metrics.undo(UndoEvent::RefusedPublic, writes);
                Ok(None)
            }
        }
    }

    async fn ask(
        &self,
        hub: &HubClient,
        token: &Secret,
        bucket: &BucketId,
    ) -> Result<Visibility, StorageError> {
        let visibility = hub.bucket(token, bucket).await?.visibility;
        if visibility == Visibility::Public {
            tracing::warn!(
                %bucket,
                "undo is configured for a public bucket, where everybody could read what is deleted: nothing is kept"
            );
        }
        self.0.visibilities.insert(bucket.clone(), visibility);
        Ok(visibility)
    }

    /// Forgets what is known of a bucket that this process creates or deletes.
    pub(in crate::provider) fn forget(&self, bucket: &BucketId) {
        self.0.visibilities.remove(bucket);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::provider::hub::fake::{FakeHub, Reply, bucket_id, token};

    const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

    fn config(periods: &[(&str, u64)]) -> UndoConfig {
        let periods = periods.iter();
        let periods = periods.map(|(name, secs)| ((*name).to_owned(), Duration::from_secs(*secs)));
        UndoConfig {
            periods: periods.collect(),
        }
    }

    fn bucket_reply(is_private: bool) -> Reply {
        Reply::json(
            200,
            &json!({"id": "me/data", "private": is_private, "createdAt": "2026-01-02T03:04:05.000Z"}),
        )
    }

    #[test]
    fn the_closest_name_counts_and_zero_is_off() {
        let period = |periods| config(periods).period(&bucket_id()).map(|p| p.as_secs());
        assert_eq!(period(&[]), None);
        assert_eq!(period(&[("other", 5)]), None);
        assert_eq!(period(&[("*", 5)]), Some(5));
        assert_eq!(period(&[("*", 5), ("data", 6)]), Some(6));
        assert_eq!(period(&[("*", 5), ("data", 6), ("me/data", 7)]), Some(7));
        assert_eq!(period(&[("*", 5), ("data", 0)]), None);
        assert_eq!(period(&[("org/data", 5)]), None);
    }

    #[tokio::test]
    async fn without_undo_nobody_is_asked() {
        let (hub, fake) = FakeHub::start(vec![]).await;
        let undo = Undo::new(config(&[("other", 5)]), &Metrics::new());
        let period = undo.period(&hub, &token(), &bucket_id(), 1).await;
        assert_eq!(period.unwrap(), None);
        assert!(fake.asked().is_empty());
    }

    #[tokio::test]
    async fn a_public_bucket_keeps_nothing_and_a_metric_tells() {
        let (hub, fake) = FakeHub::start(vec![bucket_reply(false), bucket_reply(true)]).await;
        let metrics = Metrics::new();
        let undo = Undo::new(config(&[("data", WEEK.as_secs())]), &metrics);
        for _ in 0..2 {
            let period = undo.period(&hub, &token(), &bucket_id(), 3).await;
            assert_eq!(period.unwrap(), None);
        }
        let line = "hugbucket_undo_copies_total{result=\"refused_public\"} 6";
        assert!(metrics.render().lines().any(|found| found == line));
        assert_eq!(fake.asked().len(), 1, "it is remembered");
        undo.forget(&bucket_id());
        let period = undo.period(&hub, &token(), &bucket_id(), 1).await;
        assert_eq!(period.unwrap(), Some(WEEK));
    }

    #[tokio::test]
    async fn a_bucket_that_cannot_be_looked_up_is_not_taken_for_private() {
        let (hub, _) = FakeHub::start(vec![Reply::empty(404)]).await;
        let undo = Undo::new(config(&[("*", 5)]), &Metrics::new());
        let refused = undo.period(&hub, &token(), &bucket_id(), 1).await;
        assert_eq!(refused.unwrap_err().outcome(), "no_such_bucket");
    }
}
