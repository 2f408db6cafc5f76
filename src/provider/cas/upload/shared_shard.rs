//! Small files share shards, as their chunks share xorbs: while a few shards are under way, further files wait and are
//! registered together in the next.

use tokio::sync::oneshot;
use tracing::{Instrument, Span};

use super::register::RegisterError;
use super::staged::StagedFile;
use crate::cache::{Gatherer, Turn};
use crate::provider::cas::access::{AccessSource, Scope};
use crate::provider::cas::client::CasClient;
use crate::storage::{BucketId, SecretId, StorageError};

/// Terms of all files of a shared shard: about 400 KB of them.
const MAX_TERMS: usize = 4096;

/// Terms up to which files share a shard with others. Checking larger ones takes the CAS so long that the others would wait.
const FEW_TERMS: usize = 64;

/// Files that wait to be registered, by CAS token and bucket.
pub(super) type ShardGatherer = Gatherer<(SecretId, BucketId), Registration>;

/// Files that are to be registered together or not at all.
#[derive(Debug)]
pub(super) struct Registration {
    files: Vec<StagedFile>,
    /// Who waits: its span gets the call.
    span: Span,
    answer: oneshot::Sender<Result<(), RegisterError>>,
}

impl CasClient {
    /// Registers files, with their companions. Afterwards the Hub can refer to them.
    ///
    /// # Behaviour
    /// - All of them are registered, or none.
    /// - Registering again is harmless, so a lost answer is settled by sending again.
    /// - Small files share a shard with others of the same bucket and token that come at the same time. If the CAS refuses
    ///   it, each is registered alone, so that nobody fails for another's fault.
    /// - If the CAS refuses, everything that this process believes about the bucket's chunks is forgotten: most likely a
    ///   xorb is gone, and the client's next attempt uploads all of it.
    ///
    /// Errors: [`RegisterError::Refused`] if the CAS refuses; [`StorageError::Unavailable`] if it cannot be reached.
    pub async fn register(
        &self,
        access: &AccessSource,
        bucket: &BucketId,
        files: Vec<StagedFile>,
    ) -> Result<(), RegisterError> {
        if terms_of(&files) > FEW_TERMS {
            return self.register_alone(access, bucket, &files).await;
        }
        let token = access.get(Scope::Write).await?.token;
        let (answer, verdict) = oneshot::channel();
        let registration = Registration {
            files,
            span: Span::current(),
            answer,
        };
        let key = (token.id(), bucket.clone());
        if let Some(turn) = self.0.company.shards.join(&key, registration) {
            let (client, access, bucket) = (self.clone(), access.clone(), bucket.clone());
            tokio::spawn(client.send_shared_shards(turn, access, bucket));
        }
        verdict
            .await
            .unwrap_or_else(|_| Err(StorageError::internal("a shared shard was lost").into()))
    }

    /// Sends one shared shard after the other until nobody waits.
    async fn send_shared_shards(
        self,
        mut turn: Turn<(SecretId, BucketId), Registration>,
        access: AccessSource,
        bucket: BucketId,
    ) {
        loop {
            let group = turn.next_group(MAX_TERMS, |one| terms_of(&one.files));
            let Some(first) = group.first() else {
                return;
            };
            let span = first.span.clone();
            let (client, access, bucket) = (self.clone(), access.clone(), bucket.clone());
            let send = async move { client.send_shared_shard(&access, &bucket, group).await };
            // In a task of its own: whatever becomes of it, those behind it leave.
            let _ = tokio::spawn(send.instrument(span)).await;
        }
    }

    async fn send_shared_shard(
        &self,
        access: &AccessSource,
        bucket: &BucketId,
        group: Vec<Registration>,
    ) {
        let files: Vec<StagedFile> = group.iter().flat_map(|one| one.files.clone()).collect();
        let verdict = self.register_alone(access, bucket, &files).await;
        let is_contested = group.len() > 1 && matches!(verdict, Err(RegisterError::Refused(_)));
        for Registration { files, answer, .. } in group {
            let verdict = match is_contested {
                true => self.register_alone(access, bucket, &files).await,
                false => verdict.clone(),
            };
            // Who has left needs no answer.
            let _ = answer.send(verdict);
        }
    }
}

/// Returns how many terms the files and their companions have, at least one a file.
fn terms_of(files: &[StagedFile]) -> usize {
    let named = files.iter().flat_map(|file| [Some(file), file.companion()]);
    let terms = named.flatten().map(|file| file.manifest_ref().terms.len());
    terms.map(|terms| terms.max(1)).sum()
}
