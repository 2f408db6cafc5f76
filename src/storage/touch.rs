//! What an operation touches: each place that it names, and what it does there. Whatever is decided about rights is decided
//! over these.

use crate::storage::entitlement::Action;
use crate::storage::name::BucketName;
use crate::storage::operation::{Announce, AnyOperation};

/// A place that an operation names, and what it does there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Touch<'a> {
    /// What is done.
    pub action: Action,
    /// The bucket; nothing for the list of buckets.
    pub bucket: Option<&'a BucketName>,
    /// The key, or what the keys begin with; empty for the bucket itself.
    pub name: &'a str,
    /// How much of the bucket it is.
    pub extent: Extent,
}

/// How much of a bucket is touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// The bucket itself, whatever it holds.
    Bucket,
    /// One object, or its upload.
    Key,
    /// All objects whose keys begin with the name.
    Prefix,
}

impl AnyOperation {
    /// Returns all that the operation touches. Empty for one that is only about the caller.
    pub fn touches(&self) -> Vec<Touch<'_>> {
        use Action as A;
        let bucket = self.bucket();
        let touch = |action, name, extent| {
            vec![Touch {
                action,
                bucket,
                name,
                extent,
            }]
        };
        let own = |action| {
            touch(
                action,
                self.key().map_or("", |key| key.as_str()),
                Extent::Key,
            )
        };
        match self {
            Self::Identify(_) | Self::IssueSession(_) => Vec::new(),
            Self::Announce(Announce(coming)) => coming.touches(),
            Self::ListBuckets(_) | Self::HeadBucket(_) => touch(A::List, "", Extent::Bucket),
            Self::CreateBucket(_) => touch(A::CreateBucket, "", Extent::Bucket),
            Self::DeleteBucket(_) => touch(A::DeleteBucket, "", Extent::Bucket),
            Self::ListObjects(list) => touch(A::List, &list.prefix, Extent::Prefix),
            Self::ListUploads(list) => touch(A::List, &list.prefix, Extent::Prefix),
            Self::ListParts(_) => own(A::List),
            Self::HeadObject(_)
            | Self::GetObject(_)
            | Self::DescribeObject(_)
            | Self::GetTags(_) => own(A::Read),
            Self::PutObject(_)
            | Self::AppendObject(_)
            | Self::CreateUpload(_)
            | Self::UploadPart(_)
            | Self::CompleteUpload(_)
            | Self::AbortUpload(_)
            | Self::PutTags(_)
            | Self::DeleteTags(_) => own(A::Write),
            Self::DeleteObject(_) => own(A::Delete),
            // Announced: which objects it will be is not known yet.
            Self::DeleteObjects(delete) if delete.deletions.is_empty() => {
                touch(A::Delete, "", Extent::Bucket)
            }
            Self::DeleteObjects(delete) => {
                let keys = delete
                    .deletions
                    .iter()
                    .map(|deletion| deletion.key.as_str());
                keys.flat_map(|key| touch(A::Delete, key, Extent::Key))
                    .collect()
            }
            Self::CopyObject(copy) => {
                let source = source(&copy.source_bucket, copy.source_key.as_str());
                [source].into_iter().chain(own(A::Write)).collect()
            }
            Self::UploadPartCopy(copy) => {
                let source = source(&copy.source_bucket, copy.source_key.as_str());
                [source].into_iter().chain(own(A::Write)).collect()
            }
        }
    }
}

fn source<'a>(bucket: &'a BucketName, key: &'a str) -> Touch<'a> {
    Touch {
        action: Action::Read,
        bucket: Some(bucket),
        name: key,
        extent: Extent::Key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{
        CopyObject, DeleteObjects, Deletion, ObjectKey, ReadConditions, WriteConditions,
    };

    #[test]
    fn a_copy_reads_its_source_and_writes_its_destination() {
        let (from, to) = (
            BucketName::new("from").unwrap(),
            BucketName::new("to").unwrap(),
        );
        let copy = AnyOperation::from(CopyObject {
            source_bucket: from.clone(),
            source_key: ObjectKey::new("a").unwrap(),
            source_conditions: ReadConditions::default(),
            bucket: to.clone(),
            key: ObjectKey::new("b").unwrap(),
            conditions: WriteConditions::default(),
            replace_metadata: None,
            mtime: None,
            replace_tags: None,
        });
        let touched: Vec<_> = copy
            .touches()
            .iter()
            .map(|touch| (touch.action, touch.bucket.cloned(), touch.name.to_owned()))
            .collect();
        assert_eq!(
            touched,
            [
                (Action::Read, Some(from), "a".to_owned()),
                (Action::Write, Some(to), "b".to_owned())
            ]
        );
    }

    #[test]
    fn every_deletion_of_many_is_touched() {
        let deletion = |key| Deletion {
            key: ObjectKey::new(key).unwrap(),
            conditions: WriteConditions::default(),
        };
        let delete = AnyOperation::from(DeleteObjects {
            bucket: BucketName::new("b").unwrap(),
            deletions: vec![deletion("a"), deletion("c")],
        });
        let touches = delete.touches();
        let names: Vec<_> = touches.iter().map(|touch| touch.name).collect();
        assert_eq!(names, ["a", "c"]);
        assert!(touches.iter().all(|touch| touch.action == Action::Delete));
        let AnyOperation::DeleteObjects(mut delete) = delete else {
            unreachable!()
        };
        delete.deletions.clear();
        let unnamed = AnyOperation::from(delete);
        let [touch] = unnamed.touches()[..] else {
            panic!("a deletion of objects that are not named yet touches their bucket");
        };
        assert_eq!(
            (touch.action, touch.extent),
            (Action::Delete, Extent::Bucket)
        );
    }
}
