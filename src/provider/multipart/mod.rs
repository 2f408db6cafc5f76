//! Multipart uploads, whose state lies in the bucket and not in the process.
//!
//! A part goes to the CAS while it arrives and is registered as a file under the hidden prefix, next to a manifest that says
//! of which chunks it is made. Completing an upload joins the manifests: one small shard and one batch line, whichever
//! process does it, and no byte of a part moves again.
//!
//! ```text
//! .hugbucket/uploads/<id>/record                    key and headers; written once, never changed
//! .hugbucket/uploads/<id>/parts/<number>-<hash>     a part's content, so that nothing collects its chunks
//! .hugbucket/uploads/<id>/manifests/<number>-<hash> what a part is made of
//! .hugbucket/done/<id>/record, …/object             a completed upload: the same record, and the object's content
//! ```

mod complete;
mod layout;
mod part;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::cache::ExpiringMap;
use crate::provider::HfProvider;
use crate::provider::cas::{FileRef, Manifest};
use crate::provider::commit::Change;
use crate::provider::hub::{BatchLine, FileRecord};
use crate::provider::multipart::layout::Layout;
use crate::storage::{
    AbortUpload, BucketId, ContentHash, CreateUpload, Guards, ObjectKey, ObjectMetadata,
    StorageError, Tenant, UploadAborted, UploadCreated, UploadId,
};

/// The largest upload record that is read.
const MAX_RECORD_BYTES: usize = 64 << 10;

/// What an upload was begun with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    version: u32,
    key: String,
    metadata: ObjectMetadata,
    #[serde(with = "time::serde::rfc3339")]
    initiated_at: OffsetDateTime,
}

/// What a process remembers of uploads, so that it need not ask; everything in here can be read from the bucket.
#[derive(Debug)]
pub(super) struct UploadCaches {
    /// With the content hash of the record's file: while the bucket still names it, there is nothing to read again.
    records: ExpiringMap<(BucketId, UploadId), (ContentHash, Arc<Record>)>,
    /// By the content hash of the part. About 10 KiB each, so at most some 20 MiB in all.
    manifests: ExpiringMap<(BucketId, ContentHash), Arc<Manifest>>,
}

impl Default for UploadCaches {
    fn default() -> Self {
        Self {
            records: ExpiringMap::new(1024, Duration::from_secs(600)),
            manifests: ExpiringMap::new(2048, Duration::from_secs(3600)),
        }
    }
}

impl HfProvider {
    /// Begins an upload: writes its record.
    pub(super) async fn create_upload(
        &self,
        tenant: &Tenant,
        operation: CreateUpload,
        guards: Guards,
    ) -> Result<UploadCreated, StorageError> {
        let bucket = tenant.bucket(&operation.bucket);
        let upload_id = UploadId::random();
        let record = Record {
            version: 1,
            key: operation.key.to_string(),
            metadata: operation.metadata,
            initiated_at: OffsetDateTime::now_utc(),
        };
        let content =
            Bytes::from(serde_json::to_vec(&record).expect("strings and numbers serialise"));
        let (provider, tenant) = (self.clone(), tenant.clone());
        self.finish(async move {
            let _guards = guards;
            let access = provider.access(&tenant, &bucket);
            let staged = provider
                .0
                .cas
                .upload_bytes(&access, &bucket, content)
                .await?;
            let hash = staged.hash();
            let line = hidden_file(Layout::of(&upload_id).record(), hash);
            provider
                .0
                .cas
                .register(&access, &bucket, vec![staged])
                .await?;
            provider
                .0
                .committer
                .commit(&tenant.hub_token, &bucket, Change::new(vec![line]))
                .await?;
            provider
                .0
                .uploads
                .records
                .insert((bucket, upload_id.clone()), (hash, Arc::new(record)));
            Ok(UploadCreated { upload_id })
        })
        .await
    }

    /// Discards an upload and its parts.
    pub(super) async fn abort_upload(
        &self,
        tenant: &Tenant,
        operation: AbortUpload,
        guards: Guards,
    ) -> Result<UploadAborted, StorageError> {
        let bucket = tenant.bucket(&operation.bucket);
        self.read_record(tenant, &bucket, &operation.upload_id, &operation.key)
            .await?;
        let (provider, tenant) = (self.clone(), tenant.clone());
        self.finish(async move {
            let _guards = guards;
            let layout = Layout::of(&operation.upload_id);
            provider
                .0
                .uploads
                .records
                .remove(&(bucket.clone(), operation.upload_id.clone()));
            let files = provider.files_of(&tenant, &bucket, &layout).await?;
            provider.remove_files(&tenant, &bucket, &files).await?;
            Ok(UploadAborted {})
        })
        .await
    }

    /// Looks the record of an upload up in the bucket and checks that it is for this key.
    ///
    /// Errors: [`StorageError::NoSuchUpload`].
    async fn read_record(
        &self,
        tenant: &Tenant,
        bucket: &BucketId,
        upload_id: &UploadId,
        key: &ObjectKey,
    ) -> Result<Arc<Record>, StorageError> {
        let path = Layout::of(upload_id).record();
        let found = self
            .0
            .hub
            .paths_info(&tenant.hub_token, bucket, std::slice::from_ref(&path))
            .await?;
        let Some(file) = found.into_iter().find(|file| file.path == path) else {
            return Err(no_such_upload(upload_id));
        };
        let remembered = (bucket.clone(), upload_id.clone());
        let record = match self.0.uploads.records.get(&remembered) {
            Some((hash, record)) if hash == file.hash => record,
            _ => self.load_record(tenant, bucket, &file).await?,
        };
        if record.key != key.as_str() {
            return Err(no_such_upload(upload_id));
        }
        let records = &self.0.uploads.records;
        records.insert(remembered, (file.hash, record.clone()));
        Ok(record)
    }

    async fn load_record(
        &self,
        tenant: &Tenant,
        bucket: &BucketId,
        file: &FileRecord,
    ) -> Result<Arc<Record>, StorageError> {
        let content = self
            .read_hidden(tenant, bucket, file, MAX_RECORD_BYTES)
            .await?;
        let record: Record = serde_json::from_slice(&content).map_err(|error| {
            StorageError::internal(format!("the upload's record is malformed: {error}"))
        })?;
        Ok(Arc::new(record))
    }

    /// Reads a small file of hugbucket's own.
    async fn read_hidden(
        &self,
        tenant: &Tenant,
        bucket: &BucketId,
        file: &FileRecord,
        limit_bytes: usize,
    ) -> Result<Bytes, StorageError> {
        let reference = FileRef {
            hash: file.hash,
            size: file.size,
        };
        let body = self
            .0
            .cas
            .open(&self.access(tenant, bucket), reference, None)
            .await?;
        body.collect(limit_bytes).await
    }

    /// Removes files of an upload, a batch's worth at a time. What is already gone counts as removed.
    async fn remove_files(
        &self,
        tenant: &Tenant,
        bucket: &BucketId,
        files: &[FileRecord],
    ) -> Result<(), StorageError> {
        for some in files.chunks(500) {
            let lines = some
                .iter()
                .map(|file| BatchLine::DeleteFile {
                    path: file.path.clone(),
                })
                .collect();
            self.0
                .committer
                .commit(&tenant.hub_token, bucket, Change::new(lines))
                .await?;
        }
        Ok(())
    }
}

/// Registers a file of hugbucket's own; it carries no modification time and no content type.
fn hidden_file(path: String, hash: ContentHash) -> BatchLine {
    BatchLine::AddFile {
        path,
        hash,
        mtime: None,
        content_type: None,
    }
}

fn no_such_upload(upload_id: &UploadId) -> StorageError {
    StorageError::NoSuchUpload {
        upload_id: upload_id.to_string(),
    }
}
