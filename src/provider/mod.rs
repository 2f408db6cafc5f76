//! The Hugging Face provider: the end of the stack. It acts on [`storage`](crate::storage) operations through the Hub's
//! REST API ([`hub`]) and the Xet content-addressed store ([`cas`]), and knows no word of S3 or FTP.
//!
//! | file | does |
//! |---|---|
//! | [`service`] | the tower service: one operation, one method |
//! | [`bucket`], [`list`] | buckets and listings |
//! | [`read`], [`mod@write`], [`mutate`] | objects: look-up and download, upload, copy and delete |
//! | [`append`] | objects that go on where others end |
//! | [`parts`], [`tags`] | the parts that an object was uploaded in, and its tags |
//! | [`multipart`] | multipart uploads, whose state lies in the bucket |
//! | [`sidecar`] | metadata that the Hub has no field for |
//! | [`undo`] | copies of what was overwritten or deleted |
//! | [`recent`] | what this process wrote lately |
//! | [`feeds`] | what others write, told by the Hub |
//! | `turn` | one at a time |
//! | [`commit`] | group commit: many writes, one batch call, each with its own verdict |
//! | [`http`] | the middleware chain around every upstream call |

pub mod append;
pub mod bucket;
pub mod cas;
pub mod commit;
pub mod feeds;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub mod http;
pub mod hub;
pub mod list;
pub mod multipart;
pub mod mutate;
pub mod parts;
pub mod read;
pub mod recent;
pub mod service;
pub mod sidecar;
pub mod tags;
mod turn;
pub mod undo;
pub mod write;

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::provider::cas::{AccessSource, CasAccess, CasClient, CasConfig};
use crate::provider::commit::Committer;
use crate::provider::feeds::Feeds;
use crate::provider::http::Destinations;
use crate::provider::hub::{HubClient, HubConfig};
use crate::provider::list::Lister;
use crate::provider::multipart::{SweepConfig, Sweeper, UploadCaches};
use crate::provider::recent::RecentWrites;
use crate::provider::turn::Turns;
use crate::provider::undo::{Undo, UndoConfig};
use crate::storage::{BucketId, Changes, ContentHash, ObjectKey, StorageError, Tenant, Visibility};
use crate::telemetry::Metrics;

/// What the provider needs to know.
#[derive(Debug, Clone)]
pub struct ProviderConfig {
    /// The Hub.
    pub hub: HubConfig,
    /// Limits of the data path.
    pub cas: CasConfig,
    /// Who may read a new bucket for which the client did not say.
    pub default_visibility: Visibility,
    /// Whether checksums are kept with objects. Then an object that has nothing else to keep gets a sidecar for it.
    pub keeps_checksums: bool,
    /// Multipart uploads that may be under way in a bucket; zero for as many as come.
    pub max_uploads_per_bucket: usize,
    /// Where it is told what others write, if that is wanted.
    pub changes: Option<Changes>,
    /// What is swept of uploads that nobody completes.
    pub sweep: SweepConfig,
    /// Where overwritten and deleted objects are kept for a while.
    pub undo: UndoConfig,
}

/// Acts on operations. Clones share connections, caches, budgets, and queues.
#[derive(Debug, Clone)]
pub struct HfProvider(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    hub: HubClient,
    cas: CasClient,
    committer: Committer,
    lister: Lister,
    feeds: Feeds,
    uploads: UploadCaches,
    /// Objects whose tags somebody is changing.
    tagging: Turns<ObjectKey>,
    sweeper: Sweeper,
    undo: Undo,
    metrics: Metrics,
    default_visibility: Visibility,
    keeps_checksums: bool,
    /// Writes whose bytes are all in: they run to their end whether or not somebody waits.
    finishing: TaskTracker,
}

impl HfProvider {
    /// Creates a provider with empty caches.
    ///
    /// Errors: [`StorageError::Internal`] if no TLS client can be built.
    pub fn new(mut config: ProviderConfig, metrics: &Metrics) -> Result<Self, StorageError> {
        // The CAS and its storage are named by the Hub, and not by an operator.
        config.cas.http.destinations = Destinations::beside(&config.hub.endpoint);
        let hub = HubClient::new(config.hub, metrics.clone())?;
        let finishing = TaskTracker::new();
        let recent = RecentWrites::default();
        let undo = Undo::new(config.undo, metrics);
        Ok(Self(Arc::new(Shared {
            cas: CasClient::new(config.cas, metrics.clone())?,
            committer: Committer::new(
                hub.clone(),
                metrics.clone(),
                finishing.clone(),
                recent.clone(),
                undo.clone(),
            ),
            lister: Lister::new(hub.clone(), recent),
            uploads: UploadCaches::new(config.max_uploads_per_bucket, metrics),
            feeds: Feeds::new(hub.clone(), config.changes),
            tagging: Turns::default(),
            sweeper: Sweeper::new(config.sweep),
            undo,
            metrics: metrics.clone(),
            default_visibility: config.default_visibility,
            keeps_checksums: config.keeps_checksums,
            finishing,
            hub,
        })))
    }

    /// Returns the Hub client, for what happens before there is a tenant (`whoami`).
    pub fn hub(&self) -> &HubClient {
        &self.0.hub
    }

    /// Waits until what was read is on disk, where there is a disk cache, and what was there before is known.
    pub async fn flush_disk_cache(&self) {
        self.0.cas.flush_disk_cache().await;
    }

    /// Waits until every write whose bytes are in has had its verdict, and ends the sweeps and the feeds. Call it after the last request
    /// was taken.
    pub async fn drained(&self) {
        self.0.feeds.stop();
        self.0.sweeper.stop().await;
        self.0.finishing.close();
        self.0.finishing.wait().await;
    }

    /// Returns the way to a bucket's CAS for a tenant.
    fn access(&self, tenant: &Tenant, bucket: &BucketId) -> AccessSource {
        let (hub, token, bucket) = (self.0.hub.clone(), tenant.hub_token.clone(), bucket.clone());
        AccessSource::new(token.id(), move |scope, refused: Option<CasAccess>| {
            let (hub, token, bucket) = (hub.clone(), token.clone(), bucket.clone());
            async move {
                let scope = match scope {
                    cas::Scope::Read => hub::TokenScope::Read,
                    cas::Scope::Write => hub::TokenScope::Write,
                };
                let refused = refused.map(|access| access.token);
                let granted = hub
                    .xet_access(&token, &bucket, scope, refused.as_ref())
                    .await?;
                Ok(CasAccess {
                    url: granted.cas_url,
                    token: granted.token,
                })
            }
            .boxed()
        })
    }

    /// Stores a small file of hugbucket's own, and returns its hash: from now on a batch line can name it.
    async fn store_hidden(
        &self,
        access: &AccessSource,
        bucket: &BucketId,
        content: Bytes,
    ) -> Result<ContentHash, StorageError> {
        let cas = &self.0.cas;
        let staged = cas.upload_bytes(access, bucket, content).await?;
        let hash = staged.hash();
        cas.register(access, bucket, vec![staged]).await?;
        Ok(hash)
    }

    /// Runs the last steps of a write in a task of their own, so that they happen whole even if the caller leaves.
    async fn finish<T: Send + 'static>(
        &self,
        steps: impl Future<Output = Result<T, StorageError>> + Send + 'static,
    ) -> Result<T, StorageError> {
        match self.0.finishing.spawn(steps.in_current_span()).await {
            Ok(outcome) => outcome,
            Err(lost) => Err(StorageError::internal(format!(
                "the write's task ended: {lost}"
            ))),
        }
    }
}
