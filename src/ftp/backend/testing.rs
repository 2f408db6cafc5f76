//! A stack in memory under the backend's tests: it keeps objects, judges conditions, and notes what it was asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use time::macros::datetime;
use tower::Service;
use tower::util::BoxCloneSyncService;

use crate::storage::{
    AnyOperation, AnyOutput, BucketCreated, BucketDeleted, BucketFound, BucketInfo, BucketList,
    BucketName, ByteStream, CommonPrefix, ContentHash, Credentials, Gateway, KeptPart, ListEntry,
    ListObjects, ListStart, ObjectAppended, ObjectCopied, ObjectData, ObjectDeleted, ObjectFound,
    ObjectInfo, ObjectKey, ObjectMetadata, ObjectPage, ObjectSummary, ObjectWritten,
    ObjectsDeleted, Standing, StorageError, StorageRequest, Visibility, WriteConditions,
};

/// When every bucket was created, and every object uploaded.
pub(super) const UPLOADED: OffsetDateTime = datetime!(2026-01-02 03:04:05 UTC);

type Answer = Result<AnyOutput, StorageError>;

/// The stack. Clones share everything.
#[derive(Clone, Default)]
pub(super) struct Memory(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    buckets: BTreeMap<String, BTreeMap<String, Object>>,
    log: Vec<String>,
    failures: Vec<(&'static str, StorageError)>,
}

#[derive(Clone)]
struct Object {
    bytes: Bytes,
    mtime: Option<OffsetDateTime>,
}

impl Object {
    fn hash(&self) -> ContentHash {
        hash(&self.bytes)
    }

    fn standing(&self) -> Standing {
        Standing {
            hash: self.hash(),
            size: self.bytes.len() as u64,
            last_modified: UPLOADED,
        }
    }
}

fn hash(bytes: &[u8]) -> ContentHash {
    hex::encode(Sha256::digest(bytes)).parse().unwrap()
}

impl Memory {
    /// Holds these objects, named `bucket/key`, each with its own name as its content. A bucket alone is empty.
    pub(super) fn with(names: &[&str]) -> Self {
        let memory = Self::default();
        for name in names {
            match name.split_once('/') {
                Some(_) => memory.put(name, name),
                None => {
                    let bucket = (*name).to_owned();
                    memory.state().buckets.entry(bucket).or_default();
                }
            }
        }
        memory
    }

    /// Stores an object past the backend.
    pub(super) fn put(&self, name: &str, content: &str) {
        let (bucket, key) = name.split_once('/').unwrap();
        let bytes = if key.ends_with('/') { "" } else { content };
        let object = Object {
            bytes: Bytes::from(bytes.to_owned()),
            mtime: None,
        };
        let mut state = self.state();
        let bucket = state.buckets.entry(bucket.to_owned()).or_default();
        bucket.insert(key.to_owned(), object);
    }

    /// Returns the content of an object.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        let (bucket, key) = name.split_once('/').unwrap();
        let state = self.state();
        let object = state.buckets.get(bucket)?.get(key)?;
        Some(String::from_utf8(object.bytes.to_vec()).unwrap())
    }

    /// Returns the modification time of an object.
    pub(super) fn mtime(&self, name: &str) -> Option<OffsetDateTime> {
        let (bucket, key) = name.split_once('/').unwrap();
        self.state().buckets.get(bucket)?.get(key)?.mtime
    }

    /// Returns the names of all objects, `bucket/key`.
    pub(super) fn names(&self) -> Vec<String> {
        let state = self.state();
        let names = state.buckets.iter();
        let names = names
            .flat_map(|(bucket, objects)| objects.keys().map(move |key| format!("{bucket}/{key}")));
        names.collect()
    }

    /// Returns what was asked since the last time, as `Operation key`.
    pub(super) fn log(&self) -> Vec<String> {
        std::mem::take(&mut self.state().log)
    }

    /// The next operation of this name fails.
    pub(super) fn fail(&self, operation: &'static str, error: StorageError) {
        self.state().failures.push((operation, error));
    }

    /// Puts the façade on it.
    pub(super) fn gateway(&self) -> Gateway {
        Gateway::new(BoxCloneSyncService::new(self.clone()))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    async fn answer(self, operation: AnyOperation) -> Answer {
        let name = operation.name();
        {
            let mut state = self.state();
            let key = operation.key().map(|key| format!(" {key}"));
            state.log.push(format!("{name}{}", key.unwrap_or_default()));
            let failure = state.failures.iter().position(|(of, _)| *of == name);
            if let Some(at) = failure {
                return Err(state.failures.remove(at).1);
            }
        }
        match operation {
            AnyOperation::PutObject(mut put) => {
                let bytes = read(&mut put.payload.body).await?;
                self.write(&put.bucket, &put.key, &put.conditions, bytes)
            }
            AnyOperation::AppendObject(mut append) => {
                let new = read(&mut append.payload.body).await?;
                let old = self.find(&append.bucket, &append.key)?.bytes;
                let kept = match append.kept {
                    KeptPart::First { base, .. } if base != hash(&old) => {
                        let condition = "If-Match";
                        return Err(StorageError::PreconditionFailed { condition });
                    }
                    KeptPart::First { len_bytes, .. } => usize::try_from(len_bytes).unwrap(),
                    KeptPart::All => old.len(),
                };
                let kept_bytes = kept as u64;
                let bytes = [&old[..kept], &new].concat().into();
                let none = WriteConditions::default();
                match self.write(&append.bucket, &append.key, &none, bytes)? {
                    AnyOutput::PutObject(ObjectWritten { size, hash }) => {
                        Ok(AnyOutput::AppendObject(ObjectAppended {
                            size,
                            kept_bytes,
                            hash,
                        }))
                    }
                    other => Ok(other),
                }
            }
            other => self.answer_at_once(other),
        }
    }

    fn answer_at_once(&self, operation: AnyOperation) -> Answer {
        Ok(match operation {
            AnyOperation::ListBuckets(_) => AnyOutput::ListBuckets(BucketList {
                owner: "me".into(),
                buckets: self
                    .state()
                    .buckets
                    .keys()
                    .map(|name| bucket(name))
                    .collect(),
            }),
            AnyOperation::HeadBucket(head) => {
                self.check_bucket(&head.bucket)?;
                let info = bucket(head.bucket.as_str());
                AnyOutput::HeadBucket(BucketFound { info })
            }
            AnyOperation::CreateBucket(create) => {
                create.bucket.check_for_creation()?;
                let name = create.bucket.to_string();
                self.state().buckets.entry(name).or_default();
                AnyOutput::CreateBucket(BucketCreated {})
            }
            AnyOperation::DeleteBucket(delete) => {
                self.check_bucket(&delete.bucket)?;
                let bucket = delete.bucket.to_string();
                let mut state = self.state();
                if !state.buckets[&bucket].is_empty() {
                    return Err(StorageError::BucketNotEmpty {
                        bucket,
                        holds_only_copies: false,
                    });
                }
                state.buckets.remove(&bucket);
                AnyOutput::DeleteBucket(BucketDeleted {})
            }
            AnyOperation::ListObjects(list) => {
                self.check_bucket(&list.bucket)?;
                AnyOutput::ListObjects(self.list(&list))
            }
            AnyOperation::HeadObject(head) => {
                let object = self.find(&head.bucket, &head.key)?;
                let info = Arc::new(info(&head.key, &object));
                AnyOutput::HeadObject(ObjectFound { info, part: None })
            }
            AnyOperation::GetObject(get) => {
                let object = self.find(&get.bucket, &get.key)?;
                let info = Arc::new(info(&get.key, &object));
                get.conditions.check(&info)?;
                let range = get.range.map(|range| range.resolve(info.size));
                let range = range.transpose()?;
                let bytes = match range {
                    Some(range) => {
                        let at = |at| usize::try_from(at).unwrap();
                        object.bytes.slice(at(range.start)..at(range.end))
                    }
                    None => object.bytes,
                };
                AnyOutput::GetObject(ObjectData {
                    info,
                    range,
                    part: None,
                    body: ByteStream::from_bytes(bytes),
                })
            }
            AnyOperation::CopyObject(copy) => {
                let source = self.find(&copy.source_bucket, &copy.source_key)?;
                let conditions = copy.source_conditions;
                conditions.check_copy_source(&info(&copy.source_key, &source))?;
                self.check(&copy.bucket, &copy.key, &copy.conditions)?;
                let copied = Object {
                    mtime: copy.mtime.or(source.mtime),
                    ..source
                };
                let hash = copied.hash();
                self.insert(&copy.bucket, &copy.key, copied);
                AnyOutput::CopyObject(ObjectCopied {
                    hash,
                    checksum: None,
                    last_modified: UPLOADED,
                })
            }
            AnyOperation::DeleteObject(delete) => {
                self.remove(&delete.bucket, &delete.key, &delete.conditions)?;
                AnyOutput::DeleteObject(ObjectDeleted {})
            }
            AnyOperation::DeleteObjects(delete) => {
                let verdicts = delete.deletions.iter();
                let verdicts =
                    verdicts.map(|one| self.remove(&delete.bucket, &one.key, &one.conditions));
                AnyOutput::DeleteObjects(ObjectsDeleted {
                    verdicts: verdicts.collect(),
                })
            }
            other => return Err(StorageError::internal(other.name())),
        })
    }

    fn check_bucket(&self, bucket: &BucketName) -> Result<(), StorageError> {
        let name = bucket.to_string();
        match self.state().buckets.contains_key(&name) {
            true => Ok(()),
            false => Err(StorageError::NoSuchBucket { bucket: name }),
        }
    }

    fn find(&self, bucket: &BucketName, key: &ObjectKey) -> Result<Object, StorageError> {
        self.check_bucket(bucket)?;
        let state = self.state();
        let found = state.buckets[bucket.as_str()].get(key.as_str());
        found.cloned().ok_or_else(|| StorageError::NoSuchKey {
            key: key.to_string(),
        })
    }

    fn check(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        conditions: &WriteConditions,
    ) -> Result<(), StorageError> {
        let standing = match self.find(bucket, key) {
            Ok(object) => Some(object.standing()),
            Err(StorageError::NoSuchKey { .. }) => None,
            Err(error) => return Err(error),
        };
        conditions.check(key, standing.as_ref())
    }

    fn write(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        conditions: &WriteConditions,
        bytes: Bytes,
    ) -> Answer {
        self.check(bucket, key, conditions)?;
        let (size, hash) = (bytes.len() as u64, hash(&bytes));
        self.insert(bucket, key, Object { bytes, mtime: None });
        Ok(AnyOutput::PutObject(ObjectWritten { size, hash }))
    }

    fn insert(&self, bucket: &BucketName, key: &ObjectKey, object: Object) {
        let mut state = self.state();
        let objects = state.buckets.get_mut(bucket.as_str()).unwrap();
        objects.insert(key.to_string(), object);
    }

    fn remove(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        conditions: &WriteConditions,
    ) -> Result<(), StorageError> {
        self.check(bucket, key, conditions)?;
        let mut state = self.state();
        let objects = state.buckets.get_mut(bucket.as_str()).unwrap();
        objects.remove(key.as_str());
        Ok(())
    }

    fn list(&self, list: &ListObjects) -> ObjectPage {
        let state = self.state();
        let mut entries: Vec<ListEntry> = Vec::new();
        let after = match &list.start {
            ListStart::Beginning => "",
            ListStart::After(name) | ListStart::Token(name) => name,
        };
        let objects = state.buckets[list.bucket.as_str()].iter();
        for (key, object) in objects.filter(|(key, _)| key.starts_with(&list.prefix)) {
            let rest = &key[list.prefix.len()..];
            let delimiter = list.delimiter.as_deref();
            let folded = delimiter.and_then(|delimiter| rest.split_once(delimiter));
            let entry = match folded {
                Some((name, _)) => ListEntry::Prefix(CommonPrefix {
                    name: format!("{}{name}/", list.prefix),
                    last_modified: Some(UPLOADED),
                }),
                None => ListEntry::Object(summary(key, object)),
            };
            let is_new = entries
                .last()
                .is_none_or(|last| last.name() != entry.name());
            if is_new && entry.name() > after {
                entries.push(entry);
            }
        }
        let has_more = entries.len() > list.max_entries;
        entries.truncate(list.max_entries);
        let last = entries.last().map(|last| last.name().to_owned());
        ObjectPage {
            entries,
            next: last.filter(|_| has_more),
        }
    }
}

impl Service<StorageRequest<Credentials>> for Memory {
    type Response = AnyOutput;
    type Error = StorageError;
    type Future = BoxFuture<'static, Answer>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StorageError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: StorageRequest<Credentials>) -> Self::Future {
        self.clone().answer(request.operation).boxed()
    }
}

async fn read(body: &mut ByteStream) -> Result<Bytes, StorageError> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.next().await {
        bytes.extend_from_slice(&frame?);
    }
    Ok(bytes.into())
}

fn bucket(name: &str) -> BucketInfo {
    BucketInfo {
        name: BucketName::new(name).unwrap(),
        created_at: UPLOADED,
        visibility: Visibility::Private,
    }
}

fn info(key: &ObjectKey, object: &Object) -> ObjectInfo {
    ObjectInfo {
        key: key.clone(),
        size: object.bytes.len() as u64,
        hash: object.hash(),
        last_modified: UPLOADED,
        mtime: object.mtime,
        metadata: ObjectMetadata::default(),
        checksum: None,
        has_sidecar: false,
        parts_file: None,
    }
}

fn summary(key: &str, object: &Object) -> ObjectSummary {
    ObjectSummary {
        key: key.to_owned(),
        size: object.bytes.len() as u64,
        hash: object.hash(),
        last_modified: UPLOADED,
        mtime: object.mtime,
    }
}
