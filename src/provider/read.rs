//! Reading: look-ups and downloads.

use std::sync::Arc;

use crate::provider::HfProvider;
use crate::provider::cas::FileRef;
use crate::provider::commit::Beside;
use crate::provider::hub::FileRecord;
use crate::provider::sidecar::{self, Attached, Binding};
use crate::storage::{
    BucketId, ByteStream, GetObject, HeadObject, ObjectData, ObjectFound, ObjectInfo, ObjectKey,
    PartsFile, StorageError, Tenant,
};

impl HfProvider {
    /// Looks an object up: one `paths-info`, and the sidecar's content where there is one.
    pub(super) async fn head_object(
        &self,
        tenant: &Tenant,
        operation: HeadObject,
    ) -> Result<ObjectFound, StorageError> {
        let bucket = tenant.bucket(&operation.bucket);
        let info = self.resolve(tenant, &bucket, &operation.key).await?;
        operation.conditions.check(&info)?;
        let part = match operation.part {
            Some(number) => Some(self.find_part(tenant, &bucket, &info, number).await?),
            None => None,
        };
        Ok(ObjectFound { info, part })
    }

    /// Opens an object, a range, or a part of it. The bytes are those of the content hash that was resolved, whatever is written
    /// meanwhile.
    pub(super) async fn get_object(
        &self,
        tenant: &Tenant,
        operation: GetObject,
    ) -> Result<ObjectData, StorageError> {
        let bucket = tenant.bucket(&operation.bucket);
        let info = match operation.resolved {
            Some(info) => info,
            None => self.resolve(tenant, &bucket, &operation.key).await?,
        };
        operation.conditions.check(&info)?;
        let part = match operation.part {
            Some(number) => Some(self.find_part(tenant, &bucket, &info, number).await?),
            None => None,
        };
        let range = match (part, operation.range) {
            (Some(part), _) => part.range,
            (None, Some(range)) => Some(range.resolve(info.size)?),
            (None, None) => None,
        };
        let is_empty_part = part.is_some_and(|part| part.range.is_none());
        if info.size == 0 || is_empty_part {
            return Ok(ObjectData {
                info,
                range: None,
                part,
                body: ByteStream::empty(),
            });
        }
        let file = FileRef {
            hash: info.hash,
            size: info.size,
        };
        let body = self
            .0
            .cas
            .open(&self.access(tenant, &bucket), file, range)
            .await?;
        Ok(ObjectData {
            info,
            range,
            part,
            body,
        })
    }

    /// Returns what is known of a key.
    ///
    /// Errors: [`StorageError::NoSuchKey`], [`StorageError::NoSuchBucket`].
    pub(super) async fn resolve(
        &self,
        tenant: &Tenant,
        bucket: &BucketId,
        key: &ObjectKey,
    ) -> Result<Arc<ObjectInfo>, StorageError> {
        let Beside {
            object: record,
            companion: sidecar,
        } = self.look_up(tenant, bucket, key).await?;
        let attached = match &sidecar {
            Some(file) if !holds_only_parts(file) => {
                self.read_sidecar(tenant, bucket, file, &record).await?
            }
            Some(_) | None => None,
        };
        // What was not read may still be there; whoever asks for a part finds out.
        let parts_file = sidecar
            .as_ref()
            .filter(|file| attached.is_some() || holds_only_parts(file))
            .map(|file| PartsFile {
                hash: file.hash,
                size: file.size,
            });
        if let (Some(sidecar), Some(_)) = (&sidecar, &parts_file) {
            self.0.committer.note_companion(bucket, sidecar);
        }
        let Attached {
            mut metadata,
            checksum,
            ..
        } = attached.unwrap_or_default();
        metadata.content_type = metadata.content_type.or(record.content_type);
        Ok(Arc::new(ObjectInfo {
            key: key.clone(),
            size: visible_size(key, record.size),
            hash: record.hash,
            last_modified: record.uploaded_at,
            mtime: record.mtime,
            metadata,
            checksum,
            has_sidecar: sidecar.is_some(),
            parts_file,
        }))
    }

    /// Returns what the Hub knows of a key, and the sidecar's file, whatever that is bound to: one `paths-info`.
    ///
    /// Errors: as [`HfProvider::resolve`].
    pub(super) async fn look_up(
        &self,
        tenant: &Tenant,
        bucket: &BucketId,
        key: &ObjectKey,
    ) -> Result<Beside, StorageError> {
        let (path, sidecar_path) = (key.hub_path(), sidecar::path(key));
        let wanted = [path.clone(), sidecar_path.clone()];
        let mut found = self
            .0
            .hub
            .paths_info(&tenant.hub_token, bucket, &wanted)
            .await?;
        let mut take = |path: &str| {
            let position = found.iter().position(|record| record.path == path)?;
            Some(found.swap_remove(position))
        };
        match take(&path) {
            Some(object) => Ok(Beside {
                object,
                companion: take(&sidecar_path),
            }),
            None => Err(StorageError::NoSuchKey {
                key: key.to_string(),
            }),
        }
    }

    /// Reads what a sidecar attaches; `None` if it belongs to other content.
    pub(super) async fn read_sidecar(
        &self,
        tenant: &Tenant,
        bucket: &BucketId,
        sidecar: &FileRecord,
        object: &FileRecord,
    ) -> Result<Option<Attached>, StorageError> {
        if sidecar.size == 0 || sidecar.size > sidecar::MAX_SIDECAR_BYTES as u64 {
            return Ok(None);
        }
        let file = FileRef {
            hash: sidecar.hash,
            size: sidecar.size,
        };
        let content = self
            .0
            .cas
            .open(&self.access(tenant, bucket), file, None)
            .await?;
        let content = content.collect(sidecar::MAX_SIDECAR_BYTES).await?;
        Ok(sidecar::decode(&content, &Binding::of_record(object)))
    }
}

/// Reports whether a sidecar is of interest only to those who ask for a part.
fn holds_only_parts(sidecar: &FileRecord) -> bool {
    sidecar.content_type.as_deref() == Some(sidecar::PARTS_ONLY)
}

/// Returns the size that clients see. The single newline that the Python HugBucket writes into its directory markers
/// reads as empty.
pub(super) fn visible_size(key: &ObjectKey, size: u64) -> u64 {
    if key.is_marker() && size == 1 {
        0
    } else {
        size
    }
}
