//! A scripted service under the layers' tests: it answers as told, and remembers what reached it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, future, stream};
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tower::Service;

use crate::storage::{
    AnyOperation, AnyOutput, BucketCreated, BucketDeleted, BucketName, ByteRange, ByteStream,
    ContentHash, CopyObject, Credentials, DeleteObject, DeleteObjects, Deletion, GetObject, Guards,
    HeadObject, Namespace, ObjectCopied, ObjectData, ObjectDeleted, ObjectFound, ObjectInfo,
    ObjectKey, ObjectMetadata, ObjectWritten, ObjectsDeleted, PartNumber, Payload, Principal,
    Protocol, PutObject, ReadConditions, RequestContext, Secret, StorageError, StorageRequest,
    Tenant, UploadCompleted, UploadId, UploadPartCopy, WriteConditions,
};

/// Answers every operation about an object whose content is its version: each write that lands raises it.
#[derive(Clone)]
pub(crate) struct Script(Arc<State>);

struct State {
    calls: AtomicUsize,
    log: Mutex<Vec<String>>,
    version: AtomicU64,
    frames: Mutex<Vec<Bytes>>,
    failures: Mutex<Vec<StorageError>>,
    fails_always: Mutex<Option<StorageError>>,
    hangs: Mutex<bool>,
    /// HeadObject waits here after it has seen the version.
    reads: Semaphore,
    /// Writes wait here before they change it.
    writes: Semaphore,
}

impl Script {
    pub(crate) fn new() -> Self {
        Self(Arc::new(State {
            calls: AtomicUsize::new(0),
            log: Mutex::default(),
            version: AtomicU64::new(1),
            frames: Mutex::default(),
            failures: Mutex::default(),
            fails_always: Mutex::default(),
            hangs: Mutex::default(),
            reads: Semaphore::new(MANY),
            writes: Semaphore::new(MANY),
        }))
    }

    /// GetObject answers with this body.
    pub(crate) fn body(self, text: &'static str) -> Self {
        self.frames(&[text])
    }

    /// GetObject answers with these frames.
    pub(crate) fn frames(self, frames: &[&'static str]) -> Self {
        *self.0.frames.lock().unwrap() = frames.iter().copied().map(Bytes::from).collect();
        self
    }

    /// Every call fails.
    pub(crate) fn fail(self, error: StorageError) -> Self {
        *self.0.fails_always.lock().unwrap() = Some(error);
        self
    }

    /// The next calls fail, in this order; those after them succeed.
    pub(crate) fn fail_next(&self, errors: impl IntoIterator<Item = StorageError>) {
        self.0.failures.lock().unwrap().extend(errors);
    }

    /// No call is ever answered.
    pub(crate) fn hang(self) -> Self {
        *self.0.hangs.lock().unwrap() = true;
        self
    }

    /// Lookups are held back from now on, once they have seen the object's version.
    pub(crate) fn hold_reads(&self) {
        self.0.reads.forget_permits(MANY);
    }

    /// Lets all lookups go on.
    pub(crate) fn release_reads(&self) {
        self.0.reads.add_permits(MANY);
    }

    /// Writes are held back from now on, before they change the object.
    pub(crate) fn hold_writes(&self) {
        self.0.writes.forget_permits(MANY);
    }

    /// Lets all writes go on.
    pub(crate) fn release_writes(&self) {
        self.0.writes.add_permits(MANY);
    }

    /// Changes the object past the stack, as another writer would.
    pub(crate) fn change_behind_the_stack(&self) {
        self.0.version.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns how many calls came this far.
    pub(crate) fn calls(&self) -> usize {
        self.0.calls.load(Ordering::SeqCst)
    }

    /// Returns the operations that came this far, as `Name key@version`; the version only where one was handed down.
    pub(crate) fn log(&self) -> Vec<String> {
        self.0.log.lock().unwrap().clone()
    }

    fn note(&self, operation: &AnyOperation) {
        let mut line = operation.name().to_owned();
        if let Some(key) = operation.key() {
            line = format!("{line} {key}");
        }
        if let AnyOperation::GetObject(get) = operation
            && let Some(info) = &get.resolved
        {
            line = format!("{line}@{}", info.size);
        }
        self.0.log.lock().unwrap().push(line);
        self.0.calls.fetch_add(1, Ordering::SeqCst);
    }

    fn next_failure(&self) -> Option<StorageError> {
        let mut failures = self.0.failures.lock().unwrap();
        if failures.is_empty() {
            return self.0.fails_always.lock().unwrap().clone();
        }
        Some(failures.remove(0))
    }

    fn version(&self) -> u64 {
        self.0.version.load(Ordering::SeqCst)
    }

    async fn answer(
        self,
        operation: AnyOperation,
        guards: Guards,
    ) -> Result<AnyOutput, StorageError> {
        if *self.0.hangs.lock().unwrap() {
            return future::pending().await;
        }
        if let Some(error) = self.next_failure() {
            return Err(error);
        }
        match operation {
            AnyOperation::HeadObject(head) => {
                let info = Arc::new(object(&head.key, self.version()));
                pass(&self.0.reads).await;
                Ok(AnyOutput::HeadObject(ObjectFound { info, part: None }))
            }
            AnyOperation::GetObject(get) => Ok(AnyOutput::GetObject(self.data(get))),
            mut write => {
                if let Some(payload) = write.payload_mut() {
                    let body = std::mem::replace(&mut payload.body, ByteStream::empty());
                    body.collect(1 << 20).await?;
                }
                // As the provider does: what is in runs to completion, whether or not the caller waits.
                let commit = tokio::spawn(async move {
                    pass(&self.0.writes).await;
                    let version = self.0.version.fetch_add(1, Ordering::SeqCst) + 1;
                    drop(guards);
                    written(&write, version)
                });
                commit.await.expect("the script does not panic")
            }
        }
    }

    fn data(&self, get: GetObject) -> ObjectData {
        let frames = self.0.frames.lock().unwrap().clone();
        let len_bytes = frames.iter().map(|frame| frame.len() as u64).sum();
        let resolved = get.resolved;
        ObjectData {
            info: resolved.unwrap_or_else(|| Arc::new(object(&get.key, self.version()))),
            range: None,
            part: None,
            body: ByteStream::new(stream::iter(frames.into_iter().map(Ok)), Some(len_bytes)),
        }
    }
}

impl<C: Send + 'static> Service<StorageRequest<C>> for Script {
    type Response = AnyOutput;
    type Error = StorageError;
    type Future = BoxFuture<'static, Result<AnyOutput, StorageError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StorageError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: StorageRequest<C>) -> Self::Future {
        self.note(&request.operation);
        self.clone()
            .answer(request.operation, request.guards)
            .boxed()
    }
}

/// More calls than any test makes.
const MANY: usize = 1 << 20;

async fn pass(gate: &Semaphore) {
    let permit = gate.acquire().await;
    permit.expect("a gate is never closed for good").forget();
}

fn written(operation: &AnyOperation, version: u64) -> Result<AnyOutput, StorageError> {
    let hash = ContentHash::EMPTY;
    let size = version;
    Ok(match operation {
        AnyOperation::PutObject(_) => AnyOutput::PutObject(ObjectWritten { size, hash }),
        AnyOperation::CopyObject(_) => AnyOutput::CopyObject(ObjectCopied {
            hash,
            checksum: None,
            last_modified: OffsetDateTime::UNIX_EPOCH,
        }),
        AnyOperation::DeleteObject(_) => AnyOutput::DeleteObject(ObjectDeleted {}),
        AnyOperation::DeleteObjects(delete) => AnyOutput::DeleteObjects(ObjectsDeleted {
            verdicts: delete.deletions.iter().map(|_| Ok(())).collect(),
        }),
        AnyOperation::CompleteUpload(_) => AnyOutput::CompleteUpload(UploadCompleted {
            hash,
            size,
            checksum: None,
        }),
        AnyOperation::CreateBucket(_) => AnyOutput::CreateBucket(BucketCreated {}),
        AnyOperation::DeleteBucket(_) => AnyOutput::DeleteBucket(BucketDeleted {}),
        other => return Err(StorageError::internal(other.name())),
    })
}

/// An object whose size is its version.
pub(crate) fn object(key: &ObjectKey, version: u64) -> ObjectInfo {
    ObjectInfo {
        key: key.clone(),
        size: version,
        hash: ContentHash::EMPTY,
        last_modified: OffsetDateTime::UNIX_EPOCH,
        mtime: None,
        metadata: ObjectMetadata::default(),
        checksum: None,
        has_sidecar: false,
        parts_file: None,
    }
}

pub(crate) fn bucket() -> BucketName {
    BucketName::new("b").unwrap()
}

pub(crate) fn key(name: &str) -> ObjectKey {
    ObjectKey::new(name).unwrap()
}

pub(crate) fn get(name: &str) -> GetObject {
    GetObject {
        bucket: bucket(),
        key: key(name),
        range: None::<ByteRange>,
        part: None,
        conditions: ReadConditions::default(),
        resolved: None,
    }
}

pub(crate) fn head(name: &str) -> HeadObject {
    HeadObject {
        bucket: bucket(),
        key: key(name),
        part: None,
        conditions: ReadConditions::default(),
    }
}

pub(crate) fn put(name: &str, body: &'static str) -> PutObject {
    put_stream(name, ByteStream::from_bytes(body))
}

pub(crate) fn put_stream(name: &str, body: ByteStream) -> PutObject {
    PutObject {
        bucket: bucket(),
        key: key(name),
        conditions: WriteConditions::default(),
        payload: Payload::unchecked(body),
        metadata: ObjectMetadata::default(),
    }
}

pub(crate) fn copy(source: &str, name: &str) -> CopyObject {
    CopyObject {
        source_bucket: bucket(),
        source_key: key(source),
        source_conditions: ReadConditions::default(),
        bucket: bucket(),
        key: key(name),
        conditions: WriteConditions::default(),
        replace_metadata: None,
        mtime: None,
        replace_tags: None,
    }
}

pub(crate) fn copy_part(source: &str, name: &str) -> UploadPartCopy {
    UploadPartCopy {
        source_bucket: bucket(),
        source_key: key(source),
        source_range: None,
        source_conditions: ReadConditions::default(),
        bucket: bucket(),
        key: key(name),
        upload_id: UploadId::random(),
        part_number: PartNumber::new(1).unwrap(),
    }
}

pub(crate) fn delete(name: &str) -> DeleteObject {
    DeleteObject {
        bucket: bucket(),
        key: key(name),
        conditions: WriteConditions::default(),
    }
}

pub(crate) fn delete_all(names: &[&str]) -> DeleteObjects {
    let deletion = |name: &&str| Deletion {
        key: key(name),
        conditions: WriteConditions::default(),
    };
    DeleteObjects {
        bucket: bucket(),
        deletions: names.iter().map(deletion).collect(),
    }
}

pub(crate) fn principal() -> Principal {
    Principal::unlimited("tester")
}

pub(crate) fn tenant(namespace: &str) -> Tenant {
    Tenant {
        principal: principal(),
        namespace: Namespace::new(namespace).unwrap(),
        extra_namespaces: Arc::new([]),
        hub_token: Secret::new("hf_test"),
    }
}

pub(crate) fn request<C>(caller: C, operation: impl Into<AnyOperation>) -> StorageRequest<C> {
    StorageRequest {
        context: RequestContext::new(Protocol::S3, None),
        caller,
        operation: operation.into(),
        guards: Guards::default(),
    }
}

pub(crate) fn anonymous(operation: impl Into<AnyOperation>) -> StorageRequest<Credentials> {
    request(Credentials::Anonymous, operation)
}
