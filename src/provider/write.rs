//! Storing an object: its bytes into the CAS while they arrive, then one shard, then one line in a batch.

use time::OffsetDateTime;

use crate::provider::cas::{Companion, Scope, StagedFile, UploadOptions};
use crate::provider::commit::Change;
use crate::provider::hub::BatchLine;
use crate::provider::{HfProvider, sidecar};
use crate::storage::{
    ContentHash, Guards, ObjectKey, ObjectMetadata, ObjectWritten, PutObject, StorageError, Tenant,
};

impl HfProvider {
    /// Stores an object.
    ///
    /// Until the whole body is in and verified, nothing names what was uploaded: dropping the future leaves no trace. From
    /// then on the shard and the batch run to their end in a task of their own.
    pub(super) async fn put_object(
        &self,
        tenant: &Tenant,
        operation: PutObject,
        guards: Guards,
    ) -> Result<ObjectWritten, StorageError> {
        let bucket = tenant.bucket(&operation.bucket);
        let access = self.access(tenant, &bucket);
        // A missing bucket or permission, and a condition that cannot hold, are found out before the first byte of the body
        // is read.
        access.get(Scope::Write).await?;
        let (key, conditions) = (operation.key, operation.conditions);
        self.0
            .committer
            .foresee(&tenant.hub_token, &bucket, &key, &conditions)
            .await?;

        let stamp = Stamp::new(operation.metadata);
        let options = UploadOptions {
            companion: stamp.companion(),
            is_part: false,
        };
        let staged = self
            .0
            .cas
            .upload(&access, &bucket, operation.payload.body, options)
            .await?;

        let written = ObjectWritten {
            size: staged.size(),
            hash: staged.hash(),
        };
        let change = Change::of_object(&key, conditions, stamp.lines(&key, &staged));
        let (provider, token) = (self.clone(), tenant.hub_token.clone());
        self.finish(async move {
            let _guards = guards;
            provider
                .0
                .cas
                .register(&access, &bucket, vec![staged])
                .await?;
            provider.0.committer.commit(&token, &bucket, change).await?;
            Ok(written)
        })
        .await
    }
}

/// The metadata of a write, together with the modification time that its batch line and its sidecar share.
pub(super) struct Stamp {
    metadata: ObjectMetadata,
    mtime: OffsetDateTime,
}

impl Stamp {
    /// Fixes the modification time: the client's own, else now.
    pub(super) fn new(metadata: ObjectMetadata) -> Self {
        let mtime = sidecar::mtime(&metadata, OffsetDateTime::now_utc());
        Self { metadata, mtime }
    }

    /// Returns what makes the sidecar once the content hash is known; `None` if the metadata needs none.
    pub(super) fn companion(&self) -> Option<Companion> {
        if !sidecar::is_needed(&self.metadata) {
            return None;
        }
        let (metadata, mtime) = (self.metadata.clone(), self.mtime);
        Some(Box::new(move |hash, _size| {
            sidecar::encode(&metadata, hash, mtime)
        }))
    }

    /// Returns the batch lines that register a staged file, and its sidecar if it has one, under a key.
    pub(super) fn lines(&self, key: &ObjectKey, staged: &StagedFile) -> Vec<BatchLine> {
        let object = BatchLine::AddFile {
            path: key.hub_path(),
            hash: staged.hash(),
            mtime: Some(self.mtime),
            content_type: self.metadata.content_type.clone(),
        };
        let sidecar = staged
            .companion()
            .map(|companion| self.sidecar_line(key, companion.hash()));
        [Some(object), sidecar].into_iter().flatten().collect()
    }

    /// Returns the batch line that registers a sidecar of this stamp.
    pub(super) fn sidecar_line(&self, key: &ObjectKey, hash: ContentHash) -> BatchLine {
        BatchLine::AddFile {
            path: sidecar::path(key),
            hash,
            mtime: Some(self.mtime),
            content_type: None,
        }
    }
}
