//! Storing an object: its bytes into the CAS while they arrive, then one shard, then one line in a batch.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use time::OffsetDateTime;

use crate::provider::HfProvider;
use crate::provider::cas::{Companion, Scope, StagedFile, UploadOptions};
use crate::provider::commit::{Change, Coming};
use crate::provider::hub::BatchLine;
use crate::provider::sidecar::{self, Attached, Binding};
use crate::storage::{
    BucketId, ByteStream, ContentHash, Guards, Integrity, ObjectChecksum, ObjectKey,
    ObjectMetadata, ObjectParts, ObjectWritten, PutObject, StorageError, Tenant,
};

/// Length up to which a write is announced before it comes to its commit.
const ANNOUNCED_BYTES: u64 = 1 << 20;

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
            companion: stamp.companion(self.kept_checksum(operation.payload.integrity)),
            is_part: false,
        };
        let (body, coming) = self.announced(&bucket, operation.payload.body);
        let staged = self.0.cas.upload(&access, &bucket, body, options).await?;
        let coming = Arc::into_inner(coming).and_then(OnceLock::into_inner);

        let written = ObjectWritten {
            size: staged.size(),
            hash: staged.hash(),
        };
        let change = Change::of_object(&key, conditions, stamp.lines(&key, &staged));
        let (provider, token) = (self.clone(), tenant.hub_token.clone());
        self.finish(async move {
            let withdrawal = guards.withdrawal();
            provider
                .0
                .cas
                .register(&access, &bucket, vec![staged])
                .await?;
            provider
                .0
                .committer
                .commit_announced(&token, &bucket, change, coming, withdrawal)
                .await?;
            Ok(written)
        })
        .await
    }
}

impl HfProvider {
    /// Announces the write to the committer once its last byte is in. What a large one still has to send takes longer than
    /// others should wait for it.
    fn announced(
        &self,
        bucket: &BucketId,
        body: ByteStream,
    ) -> (ByteStream, Arc<OnceLock<Coming>>) {
        let slot = Arc::new(OnceLock::new());
        if body.len_bytes().is_none_or(|len| len > ANNOUNCED_BYTES) {
            return (body, slot);
        }
        let (committer, bucket, coming) = (self.0.committer.clone(), bucket.clone(), slot.clone());
        let announced = body.inspected(move |frame| {
            if frame.is_none() {
                coming.get_or_init(|| committer.announce(&bucket));
            }
        });
        (announced, slot)
    }
}

/// Tells the checksum to keep with an object, once its body is in.
type KeptChecksum = Box<dyn FnOnce() -> Option<ObjectChecksum> + Send>;

impl HfProvider {
    /// Returns where the checksum to keep will come from; `None` if none will.
    fn kept_checksum(&self, integrity: Integrity) -> Option<KeptChecksum> {
        let is_kept = self.0.keeps_checksums && integrity.checksum_algorithm().is_some();
        is_kept.then(|| -> KeptChecksum {
            Box::new(move || {
                let measured = integrity.measured.checksum().cloned();
                measured.map(ObjectChecksum::full)
            })
        })
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

    /// Returns what makes the sidecar once the body is in; `None` if there is no need for one.
    fn companion(&self, kept: Option<KeptChecksum>) -> Option<Companion> {
        let attached = self.attached(None);
        if !attached.needs_sidecar() && kept.is_none() {
            return None;
        }
        let mtime = self.mtime;
        Some(Box::new(move |hash, _size| {
            let checksum = kept.and_then(|checksum| checksum());
            let attached = Attached {
                checksum,
                ..attached
            };
            sidecar::encode(attached, Binding::of_write(hash, mtime))
        }))
    }

    /// Returns the bytes of the sidecar of content without a checksum; `None` if there is no need for one.
    pub(super) fn sidecar(&self, hash: &ContentHash) -> Option<Bytes> {
        let attached = self.attached(None);
        let is_needed = attached.needs_sidecar();
        is_needed.then(|| sidecar::encode(attached, Binding::of_write(hash, self.mtime)))
    }

    /// Returns the bytes and the content type of the sidecar of content that was uploaded in parts: it has one, whatever its
    /// metadata.
    pub(super) fn sidecar_of_parts(
        &self,
        checksum: Option<ObjectChecksum>,
        parts: ObjectParts,
        hash: &ContentHash,
    ) -> (Bytes, Option<String>) {
        let attached = Attached {
            parts,
            ..self.attached(checksum)
        };
        let content_type = attached.file_type(self.metadata.content_type.as_deref());
        let binding = Binding::of_write(hash, self.mtime);
        (sidecar::encode(attached, binding), content_type)
    }

    fn attached(&self, checksum: Option<ObjectChecksum>) -> Attached {
        Attached {
            metadata: self.metadata.clone(),
            checksum,
            parts: ObjectParts::default(),
        }
    }

    /// Returns the batch lines that register a staged file, and its sidecar if it has one, under a key.
    pub(super) fn lines(&self, key: &ObjectKey, staged: &StagedFile) -> Vec<BatchLine> {
        let object = self.object_line(key, staged.hash());
        let sidecar = staged
            .companion()
            .map(|companion| self.sidecar_line(key, companion.hash(), None));
        [Some(object), sidecar].into_iter().flatten().collect()
    }

    /// Returns the batch line that registers content under a key.
    pub(super) fn object_line(&self, key: &ObjectKey, hash: ContentHash) -> BatchLine {
        BatchLine::AddFile {
            path: key.hub_path(),
            hash,
            mtime: Some(self.mtime),
            content_type: self.metadata.content_type.clone(),
        }
    }

    /// Returns the batch line that registers a sidecar of this stamp.
    pub(super) fn sidecar_line(
        &self,
        key: &ObjectKey,
        hash: ContentHash,
        content_type: Option<String>,
    ) -> BatchLine {
        BatchLine::AddFile {
            path: sidecar::path(key),
            hash,
            mtime: Some(self.mtime),
            content_type,
        }
    }
}
