//! What an operation demands of the policy of a session, in the words that policies are written in.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html>.

use crate::storage::{Announce, AnyOperation, BucketName, Demand, ObjectKey};

/// Returns all that a policy must allow for the operation; empty for one that is only about the caller.
pub(super) fn demands(operation: &AnyOperation) -> Vec<Demand<'_>> {
    use AnyOperation as O;
    let bucket = operation.bucket();
    let key = operation.key().map(ObjectKey::as_str);
    let demand = |action, key| Demand {
        action,
        bucket,
        key,
        prefix: None,
    };
    let own = |action| vec![demand(action, key)];
    let listing = |action, prefix| {
        vec![Demand {
            prefix: Some(prefix),
            ..demand(action, None)
        }]
    };
    let write = |has_tags: bool| {
        let mut all = own("PutObject");
        all.extend(has_tags.then(|| demand("PutObjectTagging", key)));
        all
    };
    match operation {
        O::Identify(_) | O::IssueSession(_) => Vec::new(),
        O::Announce(Announce(coming)) => demands(coming),
        O::ListBuckets(_) => own("ListAllMyBuckets"),
        O::CreateBucket(_) => own("CreateBucket"),
        O::DeleteBucket(_) => own("DeleteBucket"),
        O::HeadBucket(_) => own("ListBucket"),
        O::ListObjects(list) => listing("ListBucket", list.prefix.as_str()),
        O::ListUploads(list) => listing("ListBucketMultipartUploads", list.prefix.as_str()),
        O::ListParts(_) => own("ListMultipartUploadParts"),
        O::HeadObject(_) | O::GetObject(_) => own("GetObject"),
        O::DescribeObject(_) => vec![demand("GetObject", key), demand("GetObjectAttributes", key)],
        O::GetTags(_) => own("GetObjectTagging"),
        O::PutTags(_) => own("PutObjectTagging"),
        O::DeleteTags(_) => own("DeleteObjectTagging"),
        O::PutObject(put) => write(!put.metadata.tags.is_empty()),
        O::CreateUpload(create) => write(!create.metadata.tags.is_empty()),
        O::AppendObject(_) | O::UploadPart(_) | O::CompleteUpload(_) => own("PutObject"),
        O::AbortUpload(_) => own("AbortMultipartUpload"),
        O::DeleteObject(_) => own("DeleteObject"),
        O::DeleteObjects(delete) => {
            let keys = delete
                .deletions
                .iter()
                .map(|deletion| deletion.key.as_str());
            keys.map(|key| demand("DeleteObject", Some(key))).collect()
        }
        O::CopyObject(copy) => {
            let has_tags = copy
                .replace_tags
                .as_ref()
                .is_some_and(|tags| !tags.is_empty());
            let mut all = write(has_tags);
            all.push(read(&copy.source_bucket, copy.source_key.as_str()));
            all
        }
        O::UploadPartCopy(copy) => {
            let mut all = own("PutObject");
            all.push(read(&copy.source_bucket, copy.source_key.as_str()));
            all
        }
    }
}

fn read<'a>(bucket: &'a BucketName, key: &'a str) -> Demand<'a> {
    Demand {
        action: "GetObject",
        bucket: Some(bucket),
        key: Some(key),
        prefix: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::testing::{copy, delete_all, get, put};
    use crate::storage::Tags;

    fn actions(operation: impl Into<AnyOperation>) -> Vec<(&'static str, Option<String>)> {
        let operation = operation.into();
        let demands = demands(&operation);
        let pairs = demands
            .iter()
            .map(|one| (one.action, one.key.map(str::to_owned)));
        pairs.collect()
    }

    #[test]
    fn every_place_that_an_operation_names_is_demanded() {
        assert_eq!(actions(get("k")), [("GetObject", Some("k".into()))]);
        assert_eq!(
            actions(copy("from", "to")),
            [
                ("PutObject", Some("to".into())),
                ("GetObject", Some("from".into()))
            ]
        );
        assert_eq!(actions(delete_all(&["a", "b"])).len(), 2);
        let mut tagged = put("k", "");
        let tags = [("a".to_owned(), "b".to_owned())];
        tagged.metadata.tags = Tags::new(tags).unwrap();
        assert_eq!(actions(tagged).len(), 2);
    }
}
