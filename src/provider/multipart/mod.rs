//! Multipart uploads, whose state lies in the bucket and not in the process.
//!
//! A part goes to the CAS while it arrives and is registered as a file under the hidden prefix, next to a manifest that says
//! of which chunks it is made. Completing an upload joins the manifests: one small shard, one batch for the object and one
//! for the mark that it is done, whichever process does it, and no byte of a part moves again.
//!
//! ```text
//! .hugbucket/uploads/<id>                        the record: key and headers; written once, never changed
//! .hugbucket/parts/<id>/content/<number>-<hash>  a part's content, so that nothing collects its chunks; its checksums
//!                                                stand behind the name
//! .hugbucket/parts/<id>/manifest/<number>-<hash> what a part is made of
//! .hugbucket/done/<id>/record, …/object          the mark of a completed upload: the same record, and the object's content
//! ```
//!
//! The mark comes with the object, and the record goes afterwards: an upload that has a mark is over, whether it still has a
//! record or not, and its completion, repeated, is answered from the mark.

mod complete;
mod copy;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
mod layout;
mod list;
mod manifests;
mod part;
mod parts;
mod room;
mod schedule;
mod sweep;
mod verify;

pub use schedule::SweepConfig;
pub(in crate::provider) use schedule::Sweeper;
pub use sweep::Swept;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::cache::ExpiringMap;
use crate::provider::HfProvider;
use crate::provider::cas::FileRef;
use crate::provider::commit::Change;
use crate::provider::hub::{BatchLine, FileRecord, MAX_BATCH_LINES};
use crate::provider::multipart::layout::Layout;
use crate::provider::multipart::manifests::Manifests;
use crate::provider::multipart::room::Room;
use crate::provider::turn::Turns;
use crate::storage::{
    AbortUpload, BucketId, ContentHash, CreateUpload, Guards, ObjectChecksum, ObjectKey,
    ObjectMetadata, StorageError, Tenant, UploadAborted, UploadChecksum, UploadCompleted,
    UploadCreated, UploadId,
};
use crate::telemetry::{Metrics, UploadEvent};

/// The largest upload record that is read.
const MAX_RECORD_BYTES: usize = 64 << 10;

/// What an upload was begun with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    version: u32,
    key: String,
    metadata: ObjectMetadata,
    #[serde(default)]
    checksum: UploadChecksum,
    #[serde(with = "time::serde::rfc3339")]
    initiated_at: OffsetDateTime,
}

/// Records of uploads, each with the hash of its file.
type Records = ExpiringMap<(BucketId, UploadId), (ContentHash, Arc<Record>)>;

/// What a process remembers of uploads, so that it need not ask; everything in here can be read from the bucket.
#[derive(Debug)]
pub(super) struct UploadCaches {
    /// With the content hash of the record's file: while the bucket still names it, there is nothing to read again.
    records: Arc<Records>,
    manifests: Manifests,
    /// Uploads that this process completed or aborted, or has seen to be completed; their record may still be there.
    over: ExpiringMap<(BucketId, UploadId), ()>,
    turns: Turns<UploadId>,
    room: Room,
    metrics: Metrics,
}

impl UploadCaches {
    /// Remembers nothing yet, and lets `max_uploads` be under way in a bucket, zero for as many as come. What is remembered of
    /// uploads that are not over counts as active.
    pub(super) fn new(max_uploads: usize, metrics: &Metrics) -> Self {
        let records = Arc::new(Records::new(4096, Duration::from_secs(600)));
        let remembered = Arc::clone(&records);
        metrics.read_when_asked(move |metrics| {
            remembered.sweep();
            metrics.multipart_active(remembered.len());
        });
        Self {
            records,
            manifests: Manifests::default(),
            over: ExpiringMap::new(4096, Duration::from_secs(600)),
            turns: Turns::default(),
            room: Room::new(max_uploads),
            metrics: metrics.clone(),
        }
    }

    /// Notes that an upload was completed or aborted, by whomever.
    fn end(&self, bucket: &BucketId, upload_id: &UploadId) {
        let upload = (bucket.clone(), upload_id.clone());
        self.records.remove(&upload);
        if self.over.get(&upload).is_none() {
            self.room.ended(bucket);
        }
        self.over.insert(upload, ());
    }

    /// Reports whether this process has lately completed or aborted an upload, or seen that it was completed.
    fn is_over(&self, bucket: &BucketId, upload_id: &UploadId) -> bool {
        self.over
            .get(&(bucket.clone(), upload_id.clone()))
            .is_some()
    }
}

/// What the bucket holds of an upload.
struct State {
    /// The upload can go on, since it was not completed: its record's content hash, and the record.
    open: Option<(ContentHash, Arc<Record>)>,
    /// It was completed, with this object.
    completed: Option<UploadCompleted>,
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
        self.check_room(tenant, &bucket).await?;
        let upload_id = UploadId::random();
        let record = Record {
            version: 1,
            key: operation.key.to_string(),
            metadata: operation.metadata,
            checksum: operation.checksum,
            initiated_at: OffsetDateTime::now_utc(),
        };
        let content =
            Bytes::from(serde_json::to_vec(&record).expect("strings and numbers serialise"));
        let (provider, tenant) = (self.clone(), tenant.clone());
        self.finish(async move {
            let _guards = guards;
            let access = provider.access(&tenant, &bucket);
            let hash = provider.store_hidden(&access, &bucket, content).await?;
            let line = hidden_file(Layout::of(&upload_id).record(), hash);
            provider
                .0
                .committer
                .commit(&tenant.hub_token, &bucket, Change::new(vec![line]))
                .await?;
            provider.0.uploads.records.insert(
                (bucket.clone(), upload_id.clone()),
                (hash, Arc::new(record)),
            );
            provider.0.uploads.room.begun(&bucket);
            let metrics = &provider.0.uploads.metrics;
            metrics.multipart_upload(UploadEvent::Created);
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
        let upload_id = operation.upload_id;
        let turn = self.0.uploads.turns.take(&bucket, &upload_id).await;
        self.read_record(tenant, &bucket, &upload_id, &operation.key)
            .await?;
        let (provider, tenant) = (self.clone(), tenant.clone());
        self.finish(async move {
            let _guards = (guards, turn);
            let layout = Layout::of(&upload_id);
            let files = provider.files_of(&tenant, &bucket, &layout).await?;
            provider
                .remove_upload(&tenant, &bucket, &upload_id, &files)
                .await?;
            let metrics = &provider.0.uploads.metrics;
            metrics.multipart_upload(UploadEvent::Aborted);
            Ok(UploadAborted {})
        })
        .await
    }

    /// Looks the record of an upload up in the bucket and checks that it is for this key.
    ///
    /// Errors: [`StorageError::NoSuchUpload`], also for an upload that was completed.
    async fn read_record(
        &self,
        tenant: &Tenant,
        bucket: &BucketId,
        upload_id: &UploadId,
        key: &ObjectKey,
    ) -> Result<Arc<Record>, StorageError> {
        let state = self.state(tenant, bucket, upload_id, key).await?;
        match (state.completed, state.open) {
            (None, Some((_, record))) => Ok(record),
            (Some(_), _) | (None, None) => Err(no_such_upload(upload_id)),
        }
    }

    /// Looks up what the bucket holds of an upload for this key: one call.
    async fn state(
        &self,
        tenant: &Tenant,
        bucket: &BucketId,
        upload_id: &UploadId,
        key: &ObjectKey,
    ) -> Result<State, StorageError> {
        let layout = Layout::of(upload_id);
        let paths = [layout.record(), layout.done_record(), layout.done_object()];
        let found = self
            .0
            .hub
            .paths_info(&tenant.hub_token, bucket, &paths)
            .await?;
        let find = |path: &str| found.iter().find(|file| file.path == path);
        let own_record = async |path: &str| match find(path) {
            None => Ok(None),
            Some(file) => {
                let record = self.record(tenant, bucket, upload_id, file).await?;
                Ok::<_, StorageError>((record.key == key.as_str()).then_some((file.hash, record)))
            }
        };
        let [record, done_record, done_object] = &paths;
        let completed = match find(done_object) {
            Some(object) => own_record(done_record).await?.map(|_| UploadCompleted {
                hash: object.hash,
                size: object.size,
                checksum: checksum_of_mark(object.content_type.as_deref()),
            }),
            None => None,
        };
        if completed.is_some() {
            // Its record, which was just read, must not let further parts in.
            self.0.uploads.end(bucket, upload_id);
            return Ok(State {
                open: None,
                completed,
            });
        }
        Ok(State {
            open: own_record(record).await?,
            completed,
        })
    }

    /// Returns the record in a file: the one remembered, or read from the bucket.
    async fn record(
        &self,
        tenant: &Tenant,
        bucket: &BucketId,
        upload_id: &UploadId,
        file: &FileRecord,
    ) -> Result<Arc<Record>, StorageError> {
        let records = &self.0.uploads.records;
        let remembered = (bucket.clone(), upload_id.clone());
        match records.get(&remembered) {
            Some((hash, record)) if hash == file.hash => Ok(record),
            _ => {
                let record = self.load_record(tenant, bucket, file).await?;
                records.insert(remembered, (file.hash, record.clone()));
                Ok(record)
            }
        }
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

    /// Removes an upload: its record before anything else, so that nobody completes it from what is left of its parts.
    async fn remove_upload(
        &self,
        tenant: &Tenant,
        bucket: &BucketId,
        upload_id: &UploadId,
        files: &[FileRecord],
    ) -> Result<(), StorageError> {
        self.0.uploads.end(bucket, upload_id);
        let record = [Layout::of(upload_id).record()];
        self.remove_paths(tenant, bucket, &record).await?;
        let paths: Vec<String> = files.iter().map(|file| file.path.clone()).collect();
        self.remove_paths(tenant, bucket, &paths).await
    }

    /// Removes files of hugbucket's own, a batch's worth at a time. What is already gone counts as removed.
    pub(in crate::provider) async fn remove_paths(
        &self,
        tenant: &Tenant,
        bucket: &BucketId,
        paths: &[String],
    ) -> Result<(), StorageError> {
        for some in paths.chunks(MAX_BATCH_LINES) {
            let lines = some
                .iter()
                .map(|path| BatchLine::DeleteFile { path: path.clone() })
                .collect();
            self.0
                .committer
                .commit(&tenant.hub_token, bucket, Change::new(lines))
                .await?;
        }
        Ok(())
    }
}

/// What the content type of a completed object's mark begins with; the object's checksum follows. A Hub that forgets it costs
/// a repeated completion the checksum in its answer, and nothing else.
const MARK_TYPE: &str = "application/x-hugbucket-checksum; ";

fn type_of_mark(checksum: Option<&ObjectChecksum>) -> Option<String> {
    checksum.map(|checksum| format!("{MARK_TYPE}{checksum}"))
}

fn checksum_of_mark(content_type: Option<&str>) -> Option<ObjectChecksum> {
    content_type?.strip_prefix(MARK_TYPE)?.parse().ok()
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
