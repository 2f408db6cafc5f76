//! The provider as a tower service: one operation, one method.

use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use tower::Service;

use crate::provider::{HfProvider, bucket};
use crate::storage::{
    Announce, Announced, AnyOperation, AnyOutput, DeleteTags, GetObject, HeadObject, Identity,
    PutTags, StorageError, StorageRequest, Tags, TagsDeleted, TagsPut, Tenant,
};

impl Service<StorageRequest<Tenant>> for HfProvider {
    type Response = AnyOutput;
    type Error = StorageError;
    type Future = BoxFuture<'static, Result<AnyOutput, StorageError>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), StorageError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: StorageRequest<Tenant>) -> Self::Future {
        let provider = self.clone();
        async move { provider.act(request).await }.boxed()
    }
}

impl HfProvider {
    /// Judges what can be judged of an operation before its document is there: the conditions of a completion. Any other has none
    /// that do not stand in its document.
    async fn foresee(&self, tenant: &Tenant, coming: AnyOperation) -> Result<(), StorageError> {
        let AnyOperation::CompleteUpload(complete) = coming else {
            return Ok(());
        };
        let bucket = tenant.bucket(&complete.bucket);
        let (key, conditions) = (&complete.key, &complete.conditions);
        let committer = &self.0.committer;
        let token = &tenant.hub_token;
        committer.foresee(token, &bucket, key, conditions).await
    }

    async fn act(&self, request: StorageRequest<Tenant>) -> Result<AnyOutput, StorageError> {
        let StorageRequest {
            caller: tenant,
            operation,
            guards,
            ..
        } = request;
        self.note_use(&tenant, &operation);
        if let AnyOperation::HeadObject(HeadObject { bucket, .. })
        | AnyOperation::GetObject(GetObject { bucket, .. }) = &operation
        {
            // What is read may be remembered, and then it matters what others write.
            let bucket = tenant.bucket(bucket);
            self.0.feeds.follow(&bucket, &tenant.hub_token);
        }
        let hub = self.hub();
        Ok(match operation {
            AnyOperation::ListBuckets(_) => {
                AnyOutput::ListBuckets(bucket::list(hub, &tenant).await?)
            }
            AnyOperation::CreateBucket(operation) => {
                let visibility = operation.visibility.unwrap_or(self.0.default_visibility);
                let created = bucket::create(hub, &tenant, &operation.bucket, visibility).await?;
                let bucket = tenant.bucket(&operation.bucket);
                self.0.cas.forget_bucket(&bucket);
                self.0.undo.forget(&bucket);
                AnyOutput::CreateBucket(created)
            }
            AnyOperation::HeadBucket(operation) => {
                AnyOutput::HeadBucket(bucket::head(hub, &tenant, &operation.bucket).await?)
            }
            AnyOperation::DeleteBucket(operation) => {
                AnyOutput::DeleteBucket(self.delete_bucket(&tenant, operation, guards).await?)
            }
            AnyOperation::ListObjects(operation) => {
                let bucket = tenant.bucket(&operation.bucket);
                AnyOutput::ListObjects(
                    self.0
                        .lister
                        .list_objects(&tenant.hub_token, &bucket, &operation)
                        .await?,
                )
            }
            AnyOperation::HeadObject(operation) => {
                AnyOutput::HeadObject(self.head_object(&tenant, operation).await?)
            }
            AnyOperation::GetObject(operation) => {
                AnyOutput::GetObject(self.get_object(&tenant, operation).await?)
            }
            AnyOperation::PutObject(operation) => {
                AnyOutput::PutObject(self.put_object(&tenant, operation, guards).await?)
            }
            AnyOperation::AppendObject(operation) => {
                AnyOutput::AppendObject(self.append_object(&tenant, operation, guards).await?)
            }
            AnyOperation::CopyObject(operation) => {
                AnyOutput::CopyObject(self.copy_object(&tenant, operation, guards).await?)
            }
            AnyOperation::DeleteObject(operation) => {
                AnyOutput::DeleteObject(self.delete_object(&tenant, operation, guards).await?)
            }
            AnyOperation::DeleteObjects(operation) => {
                AnyOutput::DeleteObjects(self.delete_objects(&tenant, operation, guards).await?)
            }
            AnyOperation::CreateUpload(operation) => {
                AnyOutput::CreateUpload(self.create_upload(&tenant, operation, guards).await?)
            }
            AnyOperation::UploadPart(operation) => {
                AnyOutput::UploadPart(self.upload_part(&tenant, operation, guards).await?)
            }
            AnyOperation::UploadPartCopy(operation) => {
                AnyOutput::UploadPartCopy(self.upload_part_copy(&tenant, operation, guards).await?)
            }
            AnyOperation::CompleteUpload(operation) => {
                AnyOutput::CompleteUpload(self.complete_upload(&tenant, operation, guards).await?)
            }
            AnyOperation::AbortUpload(operation) => {
                AnyOutput::AbortUpload(self.abort_upload(&tenant, operation, guards).await?)
            }
            AnyOperation::ListParts(operation) => {
                AnyOutput::ListParts(self.list_parts(&tenant, operation).await?)
            }
            AnyOperation::ListUploads(operation) => {
                AnyOutput::ListUploads(self.list_uploads(&tenant, operation).await?)
            }
            AnyOperation::Identify(_) => AnyOutput::Identify(Identity {
                principal: tenant.principal.clone(),
            }),
            AnyOperation::Announce(Announce(coming)) => {
                self.foresee(&tenant, *coming).await?;
                AnyOutput::Announce(Announced {})
            }
            // Credentials are the auth layer's affair, and are issued there.
            AnyOperation::IssueSession(_) => {
                return Err(StorageError::internal("a session came to the provider"));
            }
            AnyOperation::DescribeObject(operation) => {
                AnyOutput::DescribeObject(self.describe_object(&tenant, operation).await?)
            }
            AnyOperation::GetTags(operation) => {
                AnyOutput::GetTags(self.get_tags(&tenant, operation).await?)
            }
            AnyOperation::PutTags(PutTags { bucket, key, tags }) => {
                let bucket = tenant.bucket(&bucket);
                self.set_tags(&tenant, bucket, key, tags, guards).await?;
                AnyOutput::PutTags(TagsPut {})
            }
            AnyOperation::DeleteTags(DeleteTags { bucket, key }) => {
                let (bucket, none) = (tenant.bucket(&bucket), Tags::default());
                self.set_tags(&tenant, bucket, key, none, guards).await?;
                AnyOutput::DeleteTags(TagsDeleted {})
            }
        })
    }
}
