//! Taking a part.

use crate::provider::HfProvider;
use crate::provider::cas::{AccessSource, RegisterError, Scope, StagedFile, UploadOptions};
use crate::provider::commit::Change;
use crate::provider::multipart::{Layout, hidden_file, no_such_upload};
use crate::storage::{
    BucketId, Guards, ObjectKey, PartNumber, PartUploaded, StorageError, Tenant, UploadId,
    UploadPart,
};

/// Where a part belongs.
#[derive(Debug, Clone)]
pub(super) struct PartPlace {
    pub(super) bucket: BucketId,
    pub(super) upload_id: UploadId,
    pub(super) part_number: PartNumber,
}

impl HfProvider {
    /// Stores a part: its bytes while they arrive, then one shard and one batch for the part and its manifest.
    ///
    /// Answers only when both are registered: from then on any process can complete the upload.
    pub(in crate::provider) async fn upload_part(
        &self,
        tenant: &Tenant,
        operation: UploadPart,
        guards: Guards,
    ) -> Result<PartUploaded, StorageError> {
        let place = PartPlace {
            bucket: tenant.bucket(&operation.bucket),
            upload_id: operation.upload_id,
            part_number: operation.part_number,
        };
        let access = self.access(tenant, &place.bucket);
        access.get(Scope::Write).await?;
        self.check_upload(tenant, &place, &operation.key).await?;

        let options = UploadOptions {
            companion: None,
            is_part: true,
        };
        let part = self
            .0
            .cas
            .upload(&access, &place.bucket, operation.payload.body, options)
            .await?;

        let (provider, tenant) = (self.clone(), tenant.clone());
        self.finish(async move {
            let _guards = guards;
            Ok(provider.keep_part(&tenant, &access, &place, part).await?)
        })
        .await
    }

    /// Checks that the upload takes parts for this key.
    ///
    /// The record never changes, so a remembered one is good enough: if the upload was aborted elsewhere meanwhile, the part
    /// is left without a record and is swept.
    ///
    /// Errors: [`StorageError::NoSuchUpload`].
    pub(super) async fn check_upload(
        &self,
        tenant: &Tenant,
        place: &PartPlace,
        key: &ObjectKey,
    ) -> Result<(), StorageError> {
        let remembered = (place.bucket.clone(), place.upload_id.clone());
        match self.0.uploads.records.get(&remembered) {
            Some((_, record)) if record.key == key.as_str() => {}
            Some(_) => return Err(no_such_upload(&place.upload_id)),
            None => {
                self.read_record(tenant, &place.bucket, &place.upload_id, key)
                    .await?;
            }
        }
        Ok(())
    }

    /// Registers a staged part together with its manifest, and remembers that.
    ///
    /// Errors: [`RegisterError::Refused`] if the CAS does not accept what the part is made of; then nothing was registered.
    pub(super) async fn keep_part(
        &self,
        tenant: &Tenant,
        access: &AccessSource,
        place: &PartPlace,
        part: StagedFile,
    ) -> Result<PartUploaded, RegisterError> {
        let bucket = &place.bucket;
        let stored = PartUploaded {
            hash: part.hash(),
            size: part.size(),
        };
        let manifest = part.manifest();
        let manifest_file = self
            .0
            .cas
            .upload_bytes(access, bucket, manifest.to_bytes()?)
            .await?;
        let layout = Layout::of(&place.upload_id);
        let change = Change::new(vec![
            hidden_file(layout.part(place.part_number, &stored.hash), stored.hash),
            hidden_file(
                layout.manifest(place.part_number, &stored.hash),
                manifest_file.hash(),
            ),
        ]);
        self.0
            .cas
            .register(access, bucket, vec![part, manifest_file])
            .await?;
        self.0
            .committer
            .commit(&tenant.hub_token, bucket, change)
            .await?;
        self.0.uploads.manifests.insert(bucket, manifest);
        Ok(stored)
    }
}
