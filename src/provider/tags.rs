//! Tags of objects. They lie in the sidecar, so changing them writes that file and nothing else: the object's line, and with
//! it the time of its last change, stays as it is.

use crate::provider::HfProvider;
use crate::provider::commit::{Beside, Change};
use crate::provider::hub::BatchLine;
use crate::provider::sidecar::{self, Attached, Binding};
use crate::storage::{BucketId, GetTags, Guards, ObjectKey, StorageError, Tags, TagsFound, Tenant};

/// How often tags are written anew because the object, or its tags by another process, changed meanwhile.
const MAX_TRIES: usize = 8;

impl HfProvider {
    /// Looks the tags of an object up: one `paths-info`, and the sidecar's content where there is one.
    pub(super) async fn get_tags(
        &self,
        tenant: &Tenant,
        operation: GetTags,
    ) -> Result<TagsFound, StorageError> {
        let bucket = tenant.bucket(&operation.bucket);
        let info = self.resolve(tenant, &bucket, &operation.key).await?;
        Ok(TagsFound {
            tags: info.metadata.tags.clone(),
        })
    }

    /// Replaces the tags of an object.
    ///
    /// # Behaviour
    /// - Everything else that the sidecar holds stays.
    /// - The change leaves only if the object and its sidecar are what they were when it was prepared; else it is prepared
    ///   again. So neither of two concurrent writers undoes what the other has done.
    /// - Changes of one object's tags come in turn within this process.
    /// - Tags that the object has already are not written.
    ///
    /// Errors: [`StorageError::NoSuchKey`]; [`StorageError::ConditionalRequestConflict`] after the last try.
    pub(super) async fn set_tags(
        &self,
        tenant: &Tenant,
        bucket: BucketId,
        key: ObjectKey,
        tags: Tags,
        guards: Guards,
    ) -> Result<(), StorageError> {
        let turn = self.0.tagging.take(&bucket, &key).await;
        let (provider, tenant) = (self.clone(), tenant.clone());
        self.finish(async move {
            let (_turn, withdrawal) = (turn, guards.withdrawal());
            for _ in 0..MAX_TRIES {
                let Some(change) = provider.retagging(&tenant, &bucket, &key, &tags).await? else {
                    return Ok(());
                };
                let committer = &provider.0.committer;
                let token = &tenant.hub_token;
                let committed = committer.commit_unless(token, &bucket, change, withdrawal);
                match committed.await {
                    Err(StorageError::ConditionalRequestConflict) => {}
                    verdict => return verdict,
                }
            }
            Err(StorageError::ConditionalRequestConflict)
        })
        .await
    }

    /// Prepares the change that gives an object these tags; `None` if it has them.
    async fn retagging(
        &self,
        tenant: &Tenant,
        bucket: &BucketId,
        key: &ObjectKey,
        tags: &Tags,
    ) -> Result<Option<Change>, StorageError> {
        let found = self.look_up(tenant, bucket, key).await?;
        let attached = match &found.companion {
            Some(file) => {
                let read = self.read_sidecar(tenant, bucket, file, &found.object);
                read.await?.unwrap_or_default()
            }
            None => Attached::default(),
        };
        if attached.metadata.tags == *tags {
            return Ok(None);
        }
        let mut wanted = attached;
        wanted.metadata.tags = tags.clone();
        let line = self
            .sidecar_line(tenant, bucket, key, &found, wanted)
            .await?;
        Ok(Some(Change::of_companion(key, found, line)))
    }

    /// Returns the batch line that leaves this beside an object, after it was stored.
    async fn sidecar_line(
        &self,
        tenant: &Tenant,
        bucket: &BucketId,
        key: &ObjectKey,
        found: &Beside,
        attached: Attached,
    ) -> Result<BatchLine, StorageError> {
        let path = sidecar::path(key);
        let native_type = found.object.content_type.as_deref();
        if attached.parts.sizes.is_empty() && attached.tells_only_parts(native_type) {
            return Ok(BatchLine::DeleteFile { path });
        }
        let content_type = attached.file_type(native_type);
        let content = sidecar::encode(attached, Binding::of_record(&found.object));
        let access = self.access(tenant, bucket);
        Ok(BatchLine::AddFile {
            path,
            hash: self.store_hidden(&access, bucket, content).await?,
            mtime: found.object.mtime,
            content_type,
        })
    }
}
