//! Copies and deletions: batch lines only, no byte of an object moves.

use futures::future::join_all;
use time::OffsetDateTime;

use crate::provider::cas::AccessSource;
use crate::provider::commit::Change;
use crate::provider::hub::BatchLine;
use crate::provider::sidecar::{self, Attached, Binding};
use crate::provider::{HfProvider, bucket};
use crate::storage::{
    BucketDeleted, BucketId, ContentHash, CopyObject, DeleteBucket, DeleteObject, DeleteObjects,
    Guards, ObjectChecksum, ObjectCopied, ObjectDeleted, ObjectInfo, ObjectKey, ObjectMetadata,
    ObjectParts, ObjectsDeleted, StorageError, Tags, Tenant, WriteConditions,
};

impl HfProvider {
    /// Copies an object by its hash.
    ///
    /// Inside a bucket `addFile` carries the content type. Across buckets `copyFile` does not, so the content type goes
    /// into the copy's sidecar.
    pub(super) async fn copy_object(
        &self,
        tenant: &Tenant,
        operation: CopyObject,
        guards: Guards,
    ) -> Result<ObjectCopied, StorageError> {
        let source_bucket = tenant.bucket(&operation.source_bucket);
        let bucket = tenant.bucket(&operation.bucket);
        let source = self
            .resolve(tenant, &source_bucket, &operation.source_key)
            .await?;
        operation.source_conditions.check_copy_source(&source)?;
        // Here rather than at the commit alone: an answer that takes long begins with 200.
        self.0
            .committer
            .foresee(
                &tenant.hub_token,
                &bucket,
                &operation.key,
                &operation.conditions,
            )
            .await?;

        let (provider, tenant) = (self.clone(), tenant.clone());
        self.finish(async move {
            let withdrawal = guards.withdrawal();
            let copy = Copy {
                source: &source,
                source_bucket: &source_bucket,
                bucket: &bucket,
                key: &operation.key,
                new_metadata: operation.replace_metadata,
                new_tags: operation.replace_tags,
                new_mtime: operation.mtime,
            };
            let access = provider.access(&tenant, &bucket);
            let lines = provider.copy_lines(&access, &copy).await?;
            let change = Change::of_object(&operation.key, operation.conditions, lines);
            provider
                .0
                .committer
                .commit_unless(&tenant.hub_token, &bucket, change, withdrawal)
                .await?;
            Ok(ObjectCopied {
                hash: source.hash,
                checksum: provider.kept_of(&source),
                last_modified: OffsetDateTime::now_utc(),
            })
        })
        .await
    }

    /// Returns the batch lines of a copy, after its sidecar, if it needs a new one, was stored.
    ///
    /// If it needs none, the one that may lie beside the destination goes: a copy can have the content and the modification
    /// time of what stood there once, and would show that object's metadata.
    async fn copy_lines(
        &self,
        access: &AccessSource,
        copy: &Copy<'_>,
    ) -> Result<Vec<BatchLine>, StorageError> {
        let (metadata, mtime) = copy.stamp()?;
        let object = copy.object_line(mtime, metadata.content_type.clone());
        let attached = Attached {
            metadata,
            checksum: self.kept_of(copy.source),
            // A copy is written whole.
            parts: ObjectParts::default(),
        };
        let carries_type = copy.is_across_buckets() && attached.metadata.content_type.is_some();
        let path = sidecar::path(copy.key);
        if !(attached.needs_sidecar() || carries_type) {
            return Ok(vec![object, BatchLine::DeleteFile { path }]);
        }
        let binding = Binding::of_write(&copy.source.hash, mtime);
        let content = sidecar::encode(attached, binding);
        let hash = self.store_hidden(access, copy.bucket, content).await?;
        let sidecar = BatchLine::AddFile {
            path,
            hash,
            mtime: Some(mtime),
            content_type: None,
        };
        Ok(vec![object, sidecar])
    }

    /// Returns the checksum that a copy keeps: the source's, for its content is the same. Nothing is computed anew.
    fn kept_of(&self, source: &ObjectInfo) -> Option<ObjectChecksum> {
        source.checksum.clone().filter(|_| self.0.keeps_checksums)
    }

    /// Deletes an object and its sidecar.
    pub(super) async fn delete_object(
        &self,
        tenant: &Tenant,
        operation: DeleteObject,
        guards: Guards,
    ) -> Result<ObjectDeleted, StorageError> {
        let bucket = tenant.bucket(&operation.bucket);
        let (provider, token) = (self.clone(), tenant.hub_token.clone());
        self.finish(async move {
            let change = deletion(&operation.key, operation.conditions);
            provider
                .0
                .committer
                .commit_unless(&token, &bucket, change, guards.withdrawal())
                .await?;
            Ok(ObjectDeleted {})
        })
        .await
    }

    /// Deletes objects; each has its own verdict.
    pub(super) async fn delete_objects(
        &self,
        tenant: &Tenant,
        operation: DeleteObjects,
        guards: Guards,
    ) -> Result<ObjectsDeleted, StorageError> {
        let bucket = tenant.bucket(&operation.bucket);
        let (provider, token) = (self.clone(), tenant.hub_token.clone());
        self.finish(async move {
            let withdrawal = guards.withdrawal();
            let committer = &provider.0.committer;
            let deletions = operation.deletions.into_iter();
            let changes: Vec<Change> = deletions
                .map(|one| deletion(&one.key, one.conditions))
                .collect();
            let verdicts = join_all(
                changes
                    .into_iter()
                    .map(|change| committer.commit_unless(&token, &bucket, change, withdrawal)),
            )
            .await;
            // A missing bucket is one answer for the whole request, not one for each key.
            if let Some(Err(missing @ StorageError::NoSuchBucket { .. })) = verdicts.first() {
                return Err(missing.clone());
            }
            Ok(ObjectsDeleted { verdicts })
        })
        .await
    }

    /// Deletes an empty bucket, with no commit of this process under way in it.
    pub(super) async fn delete_bucket(
        &self,
        tenant: &Tenant,
        operation: DeleteBucket,
        guards: Guards,
    ) -> Result<BucketDeleted, StorageError> {
        let id = tenant.bucket(&operation.bucket);
        let (provider, tenant) = (self.clone(), tenant.clone());
        self.finish(async move {
            let _guards = guards;
            let _barrier = provider.0.committer.barrier(&id).await;
            let deleted = bucket::delete(provider.hub(), &tenant, &operation.bucket).await?;
            provider.0.cas.forget_bucket(&id);
            provider.0.undo.forget(&id);
            Ok(deleted)
        })
        .await
    }
}

/// Where a copy comes from and goes to, and what is new of it.
struct Copy<'a> {
    source: &'a ObjectInfo,
    source_bucket: &'a BucketId,
    bucket: &'a BucketId,
    key: &'a ObjectKey,
    new_metadata: Option<ObjectMetadata>,
    new_tags: Option<Tags>,
    new_mtime: Option<OffsetDateTime>,
}

impl Copy<'_> {
    /// Returns the metadata and the modification time of the copy. That is the one it is given; else a plain copy keeps the
    /// source's, and one with new metadata takes what that says, else now.
    ///
    /// Errors: as [`sidecar::touched`].
    fn stamp(&self) -> Result<(ObjectMetadata, OffsetDateTime), StorageError> {
        let source = &self.source.metadata;
        let metadata = self.new_metadata.as_ref().unwrap_or(source).clone();
        let metadata = ObjectMetadata {
            tags: self.new_tags.as_ref().unwrap_or(&source.tags).clone(),
            ..metadata
        };
        match (self.new_mtime, self.source.mtime) {
            (Some(mtime), _) => sidecar::touched(metadata, mtime),
            (None, Some(mtime)) if self.new_metadata.is_none() => Ok((metadata, mtime)),
            (None, _) => {
                let mtime = sidecar::mtime(&metadata, OffsetDateTime::now_utc());
                Ok((metadata, mtime))
            }
        }
    }

    fn is_across_buckets(&self) -> bool {
        self.source_bucket != self.bucket
    }

    /// The empty file has a hash that every bucket knows, so it needs no source.
    fn object_line(&self, mtime: OffsetDateTime, content_type: Option<String>) -> BatchLine {
        let (path, hash) = (self.key.hub_path(), self.source.hash);
        if self.is_across_buckets() && hash != ContentHash::EMPTY {
            BatchLine::CopyFile {
                path,
                hash,
                mtime: Some(mtime),
                source: self.source_bucket.clone(),
            }
        } else {
            BatchLine::AddFile {
                path,
                hash,
                mtime: Some(mtime),
                content_type,
            }
        }
    }
}

/// Deletes the object's file and, blindly, its sidecar: looking first would cost as much as the call itself.
fn deletion(key: &ObjectKey, conditions: WriteConditions) -> Change {
    let paths = [key.hub_path(), sidecar::path(key)];
    let lines = paths.map(|path| BatchLine::DeleteFile { path });
    Change::of_object(key, conditions, lines.into())
}
