//! Taking a part.

use std::sync::Arc;

use crate::provider::HfProvider;
use crate::provider::cas::{Scope, UploadOptions};
use crate::provider::commit::Change;
use crate::provider::multipart::{Layout, hidden_file, no_such_upload};
use crate::storage::{Guards, PartUploaded, StorageError, Tenant, UploadPart};

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
        let bucket = tenant.bucket(&operation.bucket);
        let access = self.access(tenant, &bucket);
        access.get(Scope::Write).await?;
        let upload_id = operation.upload_id;
        // The record never changes, so a remembered one is good enough to take a part: if the upload was aborted
        // elsewhere meanwhile, the part is left without a record and is swept.
        let remembered = (bucket.clone(), upload_id.clone());
        match self.0.uploads.records.get(&remembered) {
            Some((_, record)) if record.key == operation.key.as_str() => {}
            Some(_) => return Err(no_such_upload(&upload_id)),
            None => {
                self.read_record(tenant, &bucket, &upload_id, &operation.key)
                    .await?;
            }
        }

        let options = UploadOptions {
            companion: None,
            is_part: true,
        };
        let part = self
            .0
            .cas
            .upload(&access, &bucket, operation.payload.body, options)
            .await?;

        let stored = PartUploaded {
            hash: part.hash(),
            size: part.size(),
        };
        let (provider, token) = (self.clone(), tenant.hub_token.clone());
        self.finish(async move {
            let _guards = guards;
            let manifest = part.manifest();
            let manifest_file = provider
                .0
                .cas
                .upload_bytes(&access, &bucket, manifest.to_bytes()?)
                .await?;
            let layout = Layout::of(&upload_id);
            let change = Change::new(vec![
                hidden_file(
                    layout.part(operation.part_number, &stored.hash),
                    stored.hash,
                ),
                hidden_file(
                    layout.manifest(operation.part_number, &stored.hash),
                    manifest_file.hash(),
                ),
            ]);
            provider
                .0
                .cas
                .register(&access, &bucket, vec![part, manifest_file])
                .await?;
            provider.0.committer.commit(&token, &bucket, change).await?;
            provider
                .0
                .uploads
                .manifests
                .insert((bucket, stored.hash), Arc::new(manifest));
            Ok(stored)
        })
        .await
    }
}
