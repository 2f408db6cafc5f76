//! What a write may change, and a guard that makes the cache forget it.

use crate::storage::{AnyOperation, BucketId, StorageRequest, Tenant};

use super::epochs::Slot;
use super::infos::FileInfos;

/// What a write may change.
#[derive(Debug, Clone)]
pub(super) enum Effects {
    /// These objects.
    Keys(Vec<Slot>),
    /// Whatever the bucket holds.
    Bucket(BucketId),
}

impl Effects {
    /// Returns what the operation may change; `None` if no object's info.
    pub(super) fn of(request: &StorageRequest<Tenant>) -> Option<Self> {
        let operation = &request.operation;
        let bucket = request.caller.bucket(operation.bucket()?);
        match operation {
            AnyOperation::PutObject(_)
            | AnyOperation::AppendObject(_)
            | AnyOperation::CopyObject(_)
            | AnyOperation::DeleteObject(_)
            | AnyOperation::CompleteUpload(_)
            | AnyOperation::PutTags(_)
            | AnyOperation::DeleteTags(_) => {
                let key = operation.key()?.clone();
                Some(Self::Keys(vec![(bucket, key)]))
            }
            AnyOperation::DeleteObjects(delete) => {
                let keys = delete.deletions.iter().map(|deletion| &deletion.key);
                let slots = keys.map(|key| (bucket.clone(), key.clone()));
                Some(Self::Keys(slots.collect()))
            }
            AnyOperation::CreateBucket(_) | AnyOperation::DeleteBucket(_) => {
                Some(Self::Bucket(bucket))
            }
            AnyOperation::ListBuckets(_)
            | AnyOperation::HeadBucket(_)
            | AnyOperation::ListObjects(_)
            | AnyOperation::HeadObject(_)
            | AnyOperation::GetObject(_)
            | AnyOperation::CreateUpload(_)
            | AnyOperation::UploadPart(_)
            | AnyOperation::UploadPartCopy(_)
            | AnyOperation::AbortUpload(_)
            | AnyOperation::ListParts(_)
            | AnyOperation::ListUploads(_)
            | AnyOperation::DescribeObject(_)
            | AnyOperation::Identify(_)
            | AnyOperation::IssueSession(_)
            | AnyOperation::Announce(_)
            | AnyOperation::GetTags(_) => None,
        }
    }
}

/// Makes the cache forget when it is dropped: when the write has its outcome, whatever that is. A write that seems to
/// have failed may have landed all the same.
#[derive(Debug, Clone)]
pub(super) struct Eviction {
    infos: FileInfos,
    effects: Effects,
}

impl Eviction {
    pub(super) fn new(infos: FileInfos, effects: Effects) -> Self {
        Self { infos, effects }
    }
}

impl Drop for Eviction {
    fn drop(&mut self) {
        match &self.effects {
            Effects::Keys(slots) => {
                for slot in slots {
                    self.infos.forget_key(slot);
                }
            }
            Effects::Bucket(bucket) => self.infos.forget_bucket(bucket),
        }
    }
}
