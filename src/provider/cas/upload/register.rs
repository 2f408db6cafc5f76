//! Names files to the CAS: the moment at which they exist.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use super::attempts::{Attempts, endpoint};
use super::shard_events::{Verdict, verdict};
use super::staged::StagedFile;
use crate::provider::cas::access::AccessSource;
use crate::provider::cas::client::CasClient;
use crate::provider::cas::error;
use crate::provider::cas::shard;
use crate::provider::cas::xorb::XorbRecord;
use crate::provider::http::CallName;
use crate::storage::{BucketId, StorageError};
use crate::telemetry::Upstream;

/// Time for one attempt. The older endpoint is silent while it validates.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Why files were not registered.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegisterError {
    /// The CAS does not accept what the shard says; saying it again gets the same answer.
    #[error("shard refused: {0}")]
    Refused(String),
    /// Nobody knows, or something else failed.
    #[error(transparent)]
    Failed(#[from] StorageError),
}

impl From<RegisterError> for StorageError {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::Refused(_) => error::unavailable(error.to_string()),
            RegisterError::Failed(error) => error,
        }
    }
}

/// The two ways to post a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Api {
    /// Answers when all is done.
    V1,
    /// Tells of its progress, so that no proxy believes it dead.
    V2,
}

impl CasClient {
    /// Registers files, with their companions, in one shard of their own: all, or none.
    ///
    /// Errors: as [`CasClient::register`].
    pub(super) async fn register_alone(
        &self,
        access: &AccessSource,
        bucket: &BucketId,
        files: &[StagedFile],
    ) -> Result<(), RegisterError> {
        let named: Vec<&StagedFile> = files
            .iter()
            .flat_map(|file| [Some(file), file.companion()])
            .flatten()
            .collect();
        if named.is_empty() {
            return Ok(());
        }
        let manifests: Vec<_> = named.iter().map(|file| file.manifest_ref()).collect();
        let mut seen = HashSet::new();
        let xorbs: Vec<Arc<XorbRecord>> = named
            .iter()
            .flat_map(|file| file.xorbs())
            .filter(|xorb| seen.insert(xorb.hash))
            .cloned()
            .collect();
        for shard in shard::encode(&manifests, &xorbs)? {
            self.post_shard(access, bucket, shard).await?;
        }
        self.0.dedup.insert(bucket, &xorbs);
        xorbs
            .iter()
            .for_each(|xorb| self.0.chunk_lists.learn_xorb(xorb));
        Ok(())
    }

    async fn post_shard(
        &self,
        access: &AccessSource,
        bucket: &BucketId,
        shard: Bytes,
    ) -> Result<(), RegisterError> {
        let mut attempts = Attempts::new();
        loop {
            let api = if self.0.uploads.lacks_shards_v2.load(Ordering::Relaxed) {
                Api::V1
            } else {
                Api::V2
            };
            match self.post_once(&mut attempts, access, api, &shard).await? {
                Verdict::Accepted => return Ok(()),
                Verdict::Refused {
                    message,
                    is_transient: false,
                } => {
                    tracing::warn!(%bucket, %message, "the CAS refused a shard");
                    self.0.dedup.forget(bucket);
                    self.0.chunk_lists.clear();
                    return Err(RegisterError::Refused(message));
                }
                Verdict::Refused { .. } | Verdict::Lost => {
                    if !attempts.another(None).await {
                        return Err(error::unavailable("shard: no verdict").into());
                    }
                }
            }
        }
    }

    async fn post_once(
        &self,
        attempts: &mut Attempts,
        access: &AccessSource,
        api: Api,
        shard: &Bytes,
    ) -> Result<Verdict, StorageError> {
        let path = match api {
            Api::V1 => "/v1/shards",
            Api::V2 => "/v2/shards",
        };
        let response = attempts
            .send_authorized("shard", access, |access| {
                self.0
                    .metrics
                    .upstream_sent(Upstream::Cas, shard.len() as u64);
                self.0
                    .http
                    .api_once
                    .post(endpoint(access, path))
                    .bearer_auth(access.token.expose())
                    .with_extension(CallName("shard"))
                    .timeout(TIMEOUT)
                    .body(shard.clone())
            })
            .await?;
        match response.status() {
            status if status.is_success() && api == Api::V2 => {
                Ok(verdict(response.bytes_stream()).await)
            }
            status if status.is_success() => Ok(Verdict::Accepted),
            StatusCode::NOT_FOUND | StatusCode::NOT_IMPLEMENTED if api == Api::V2 => {
                let verdict = Box::pin(self.post_once(attempts, access, Api::V1, shard)).await?;
                // Only now is it sure that the endpoint, and not something that the shard names, was not found.
                if verdict == Verdict::Accepted {
                    self.0
                        .uploads
                        .lacks_shards_v2
                        .store(true, Ordering::Relaxed);
                }
                Ok(verdict)
            }
            // A client's error of ours, which for a shard means that what it names is not there.
            status if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
                Ok(Verdict::Refused {
                    message: error::from_status("shard", status, response.headers()).to_string(),
                    is_transient: false,
                })
            }
            status => Err(error::from_status("shard", status, response.headers())),
        }
    }
}
