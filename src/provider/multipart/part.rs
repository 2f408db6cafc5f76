//! Taking a part.

use crate::provider::HfProvider;
use crate::provider::cas::{AccessSource, RegisterError, Scope, StagedFile, UploadOptions};
use crate::provider::commit::Change;
use crate::provider::multipart::{Layout, hidden_file, no_such_upload};
use crate::storage::{
    BucketId, ByteStream, Checksum, Digester, Guards, MeasuredDigests, ObjectKey, PartNumber,
    PartUploaded, Payload, StorageError, Tenant, UploadChecksum, UploadId, UploadPart,
};
use crate::telemetry::PartSource;

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
        let (access, upload) = self.open_place(tenant, &place, &operation.key).await?;
        let (body, checksums) = PartChecksums::measure(operation.payload, upload)?;

        let options = UploadOptions {
            companion: None,
            is_part: true,
        };
        let part = self
            .0
            .cas
            .upload(&access, &place.bucket, body, options)
            .await?;

        let (provider, tenant) = (self.clone(), tenant.clone());
        self.finish(async move {
            let _guards = guards;
            let kept = provider.keep_part(&tenant, &access, &place, part, checksums);
            let stored = kept.await?;
            let metrics = &provider.0.uploads.metrics;
            metrics.multipart_part(PartSource::Body);
            Ok(stored)
        })
        .await
    }

    /// Finds out whether a part may be stored there, before a byte of it is read or moved. Returns the way to the bucket's
    /// CAS, and the checksum that the object is to get.
    ///
    /// Errors: `NoSuchBucket`, `AccessDenied`, [`StorageError::NoSuchUpload`].
    pub(super) async fn open_place(
        &self,
        tenant: &Tenant,
        place: &PartPlace,
        key: &ObjectKey,
    ) -> Result<(AccessSource, UploadChecksum), StorageError> {
        let access = self.access(tenant, &place.bucket);
        access.get(Scope::Write).await?;
        let upload = self.check_upload(tenant, place, key).await?;
        Ok((access, upload))
    }

    /// Checks that the upload takes parts for this key, and returns the checksum that its object is to get.
    ///
    /// The record never changes, so a remembered one is good enough: if the upload was aborted elsewhere meanwhile, the part
    /// is left without a record and is swept.
    ///
    /// Errors: [`StorageError::NoSuchUpload`].
    async fn check_upload(
        &self,
        tenant: &Tenant,
        place: &PartPlace,
        key: &ObjectKey,
    ) -> Result<UploadChecksum, StorageError> {
        if self.0.uploads.is_over(&place.bucket, &place.upload_id) {
            return Err(no_such_upload(&place.upload_id));
        }
        let remembered = (place.bucket.clone(), place.upload_id.clone());
        match self.0.uploads.records.get(&remembered) {
            Some((_, record)) if record.key == key.as_str() => Ok(record.checksum),
            Some(_) => Err(no_such_upload(&place.upload_id)),
            None => {
                let record = self.read_record(tenant, &place.bucket, &place.upload_id, key);
                Ok(record.await?.checksum)
            }
        }
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
        checksums: PartChecksums,
    ) -> Result<PartUploaded, RegisterError> {
        let bucket = &place.bucket;
        let stored = PartUploaded {
            hash: part.hash(),
            size: part.size(),
            checksum: checksums.shown(),
        };
        let manifest = part.manifest();
        let manifest_file = self
            .0
            .cas
            .upload_bytes(access, bucket, manifest.to_bytes()?)
            .await?;
        let layout = Layout::of(&place.upload_id);
        let change = Change::new(vec![
            hidden_file(
                layout.part(place.part_number, &stored.hash, &checksums.all()),
                stored.hash,
            ),
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

/// The checksums of a part: the one that the client vouches for, and the one from which that of the object will follow. Of a
/// part that is copied by reference, none is known.
#[derive(Default)]
pub(super) struct PartChecksums {
    announced: MeasuredDigests,
    added: MeasuredDigests,
    upload: UploadChecksum,
}

impl PartChecksums {
    /// Sees to it that the upload's checksum is computed as the bytes pass, if the client's own is another.
    ///
    /// Errors: [`StorageError::InvalidRequest`] for a checksum that the upload does not take.
    fn measure(
        payload: Payload,
        upload: UploadChecksum,
    ) -> Result<(ByteStream, Self), StorageError> {
        let Payload { body, integrity } = payload;
        let announced = integrity.checksum_algorithm();
        upload.check_part(announced)?;
        let checksums = Self {
            announced: integrity.measured,
            added: MeasuredDigests::default(),
            upload,
        };
        if announced == Some(upload.algorithm) {
            return Ok((body, checksums));
        }
        let added = checksums.added.clone();
        let mut digester = Some(Digester::new(upload.algorithm));
        let body = body.inspected(move |frame| match (frame, &mut digester) {
            (Some(Ok(bytes)), Some(digester)) => digester.update(bytes),
            (None, digester) => {
                if let Some(digester) = digester.take() {
                    added.set_checksum(digester.finish());
                }
            }
            _ => {}
        });
        Ok((body, checksums))
    }

    /// Returns the checksum to answer with. What nobody asked for is not shown.
    fn shown(&self) -> Option<Checksum> {
        let added = self.added.checksum().filter(|_| self.upload.is_declared);
        self.announced.checksum().or(added).cloned()
    }

    /// Returns every checksum that is known.
    fn all(&self) -> Vec<Checksum> {
        let known = [self.announced.checksum(), self.added.checksum()];
        known.into_iter().flatten().cloned().collect()
    }
}
