//! Putting a copy back.

use crate::provider::HfProvider;
use crate::provider::commit::Change;
use crate::provider::hub::{BatchLine, FileRecord};
use crate::provider::sidecar::{self, Binding};
use crate::provider::undo::KeptCopy;
use crate::storage::{BucketId, EtagMatch, StorageError, Tenant, WriteConditions};

impl HfProvider {
    /// Registers a copy under its key again, with its metadata; the copy itself stays until it expires. No byte moves.
    ///
    /// # Behaviour
    /// - Whatever stands under the key is newer than any copy, and is replaced only if `replaces` says so; then it is kept in
    ///   its turn, if undo is on for the bucket.
    /// - The modification time is that of the copy; where its writer gave none, the time of its upload.
    ///
    /// Errors: [`StorageError::PreconditionFailed`] if something stands there.
    pub async fn restore(
        &self,
        tenant: &Tenant,
        bucket: &BucketId,
        copy: &KeptCopy,
        replaces: bool,
    ) -> Result<(), StorageError> {
        let (provider, tenant) = (self.clone(), tenant.clone());
        let (bucket, copy) = (bucket.clone(), copy.clone());
        self.finish(async move {
            let lines = provider.lines_that_restore(&tenant, &bucket, &copy).await?;
            let conditions = WriteConditions {
                if_none_match: (!replaces).then_some(EtagMatch::Any),
                ..WriteConditions::default()
            };
            let change = Change::of_object(&copy.key, conditions, lines);
            let committer = &provider.0.committer;
            committer.commit(&tenant.hub_token, &bucket, change).await
        })
        .await
    }

    async fn lines_that_restore(
        &self,
        tenant: &Tenant,
        bucket: &BucketId,
        copy: &KeptCopy,
    ) -> Result<Vec<BatchLine>, StorageError> {
        let content = &copy.content;
        let written = copy.written_at;
        let mtime = content.mtime.unwrap_or(written);
        let object = BatchLine::AddFile {
            path: copy.key.hub_path(),
            hash: content.hash,
            mtime: Some(mtime),
            content_type: content.content_type.clone(),
        };
        let path = sidecar::path(&copy.key);
        let Some((file, attached)) = self.attached_to(tenant, bucket, copy).await? else {
            // What lies there belongs to other content, and must not come to describe this one.
            return Ok(vec![object, BatchLine::DeleteFile { path }]);
        };
        let hash = if content.mtime.is_some() {
            file.hash
        } else {
            // It was bound to the time of an upload that no file has any more.
            let binding = Binding::of_write(&content.hash, mtime);
            let access = self.access(tenant, bucket);
            let document = sidecar::encode(attached, binding);
            self.store_hidden(&access, bucket, document).await?
        };
        let sidecar = BatchLine::AddFile {
            path,
            hash,
            mtime: Some(mtime),
            content_type: file.content_type,
        };
        Ok(vec![object, sidecar])
    }

    /// Returns the copy's sidecar, if it has one that belongs to it.
    async fn attached_to(
        &self,
        tenant: &Tenant,
        bucket: &BucketId,
        copy: &KeptCopy,
    ) -> Result<Option<(FileRecord, sidecar::Attached)>, StorageError> {
        let Some(file) = &copy.sidecar else {
            return Ok(None);
        };
        let object = FileRecord {
            uploaded_at: copy.written_at,
            ..copy.content.clone()
        };
        let attached = self.read_sidecar(tenant, bucket, file, &object).await?;
        Ok(attached.map(|attached| (file.clone(), attached)))
    }
}
