//! Listing what is to be read, and reading many objects at once.

use std::sync::Arc;

use futures::{Stream, StreamExt, TryStreamExt, future, stream};
use tower::ServiceExt;

use crate::app::Failure;
use crate::app::warm::progress::Progress;
use crate::app::warm::target::Target;
use crate::storage::{
    AnyOperation, AnyOutput, GetObject, Guards, ListEntry, ListObjects, ListStart, ObjectInfo,
    ObjectKey, ObjectMetadata, ObjectPage, ObjectSummary, Protocol, ReadConditions, RequestContext,
    StorageError, StorageRequest, StorageService, Tenant,
};

/// Objects of a page: the most that a listing gives.
const PAGE_ENTRIES: usize = 1000;

/// Reads objects through a service.
pub(super) struct Filler<S> {
    pub(super) service: S,
    pub(super) tenant: Tenant,
    pub(super) concurrency: usize,
    pub(super) progress: Progress,
}

impl<S: StorageService<Tenant>> Filler<S> {
    /// Reads every object below the target, and counts those that cannot be read.
    ///
    /// Errors: the listing fails.
    pub(super) async fn fill(&self, target: &Target) -> Result<(), Failure> {
        let objects = self.objects(target);
        let read = objects.try_for_each_concurrent(self.concurrency, |object| async move {
            self.read(target, object).await;
            Ok(())
        });
        let Target { bucket, prefix } = target;
        read.await.map_err(|error| {
            Failure::Runtime(format!("cannot list s3://{bucket}/{prefix}: {error}"))
        })
    }

    /// Returns the objects as the listing brings them, those without content left out.
    fn objects<'a>(
        &'a self,
        target: &'a Target,
    ) -> impl Stream<Item = Result<ObjectSummary, StorageError>> + 'a {
        let pages = stream::try_unfold(Some(ListStart::Beginning), move |start| async move {
            let Some(start) = start else {
                return Ok::<_, StorageError>(None);
            };
            let page = self.page(target, start).await?;
            let next = page.next.map(ListStart::Token);
            Ok(Some((stream::iter(page.entries).map(Ok), next)))
        });
        pages.try_flatten().try_filter_map(|entry| {
            let object = match entry {
                ListEntry::Object(object) if object.size > 0 => {
                    self.progress.found(object.size);
                    Some(object)
                }
                ListEntry::Object(_) | ListEntry::Prefix(_) => None,
            };
            future::ok(object)
        })
    }

    async fn page(&self, target: &Target, start: ListStart) -> Result<ObjectPage, StorageError> {
        let operation = ListObjects {
            bucket: target.bucket.clone(),
            prefix: target.prefix.clone(),
            delimiter: None,
            start,
            max_entries: PAGE_ENTRIES,
        };
        match self.call(operation).await? {
            AnyOutput::ListObjects(page) => Ok(page),
            other => Err(unexpected(&other)),
        }
    }

    async fn read(&self, target: &Target, object: ObjectSummary) {
        let key = object.key.clone();
        if let Err(error) = self.drain(target, object).await {
            self.progress
                .failed(&format!("s3://{}/{key}: {error}", target.bucket));
        }
    }

    /// Reads an object to its end. What the listing tells of it is enough, so nothing is looked up.
    async fn drain(&self, target: &Target, object: ObjectSummary) -> Result<(), StorageError> {
        let Ok(key) = ObjectKey::new(&object.key) else {
            // Nobody can ask for it either.
            self.progress.passed(object.size);
            return Ok(());
        };
        let info = ObjectInfo {
            key: key.clone(),
            size: object.size,
            hash: object.hash,
            last_modified: object.last_modified,
            mtime: object.mtime,
            metadata: ObjectMetadata::default(),
            checksum: None,
            has_sidecar: false,
            parts_file: None,
        };
        let operation = GetObject {
            bucket: target.bucket.clone(),
            key,
            range: None,
            part: None,
            conditions: ReadConditions::default(),
            resolved: Some(Arc::new(info)),
        };
        let mut body = match self.call(operation).await? {
            AnyOutput::GetObject(data) => data.body,
            other => return Err(unexpected(&other)),
        };
        while let Some(piece) = body.next().await {
            self.progress.read(piece?.len() as u64);
        }
        self.progress.done();
        Ok(())
    }

    async fn call(&self, operation: impl Into<AnyOperation>) -> Result<AnyOutput, StorageError> {
        let request = StorageRequest {
            context: RequestContext::new(Protocol::S3, None),
            caller: self.tenant.clone(),
            operation: operation.into(),
            guards: Guards::default(),
        };
        self.service.clone().oneshot(request).await
    }
}

fn unexpected(output: &AnyOutput) -> StorageError {
    StorageError::internal(format!("the provider answered with {}", output.name()))
}
