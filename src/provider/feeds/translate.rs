//! From files of a bucket to what they are parts of.

use std::collections::HashSet;
use std::sync::Arc;

use crate::provider::hub::FileChange;
use crate::provider::list::{is_hidden_file, marked_directory};
use crate::provider::sidecar;
use crate::storage::{BucketId, Notice, ObjectKey};

/// Returns what changes of files mean to whoever knows objects.
///
/// A sidecar that comes with its object is part of the object's change. One that comes alone, because tags were changed, can
/// only be matched: its name is a hash of the key.
pub(super) fn notices(bucket: &BucketId, changes: &[FileChange]) -> Vec<Notice> {
    let mut notices = Vec::new();
    let mut sidecars: HashSet<String> = HashSet::new();
    for change in changes {
        if sidecar::is_path(&change.path) {
            sidecars.insert(change.path.clone());
        }
    }
    for change in changes
        .iter()
        .filter(|change| !is_hidden_file(&change.path))
    {
        let name = marked_directory(&change.path).unwrap_or(&change.path);
        // Nobody can have asked for anything else.
        let Ok(key) = ObjectKey::new(name) else {
            continue;
        };
        let has_sidecar = sidecars.remove(&sidecar::path(&key));
        notices.push(Notice::Object {
            bucket: bucket.clone(),
            key,
            // The same content and time may come with other metadata.
            now: change.now.filter(|_| !has_sidecar),
        });
    }
    if !sidecars.is_empty() {
        notices.push(Notice::Objects {
            bucket: bucket.clone(),
            are: Arc::new(move |key| sidecars.contains(&sidecar::path(key))),
        });
    }
    notices
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::storage::{BucketName, ContentHash, Namespace, ObjectVersion};

    fn key(text: &str) -> ObjectKey {
        ObjectKey::new(text).unwrap()
    }

    fn told(paths: &[&str]) -> (Vec<String>, Vec<Notice>) {
        let bucket = BucketId {
            namespace: Namespace::new("me").unwrap(),
            name: BucketName::new("data").unwrap(),
        };
        let change = |path: &&str| FileChange {
            path: (*path).into(),
            now: Some(ObjectVersion {
                hash: ContentHash::EMPTY,
                uploaded_at: OffsetDateTime::UNIX_EPOCH,
            }),
        };
        let changes: Vec<_> = paths.iter().map(change).collect();
        let notices = notices(&bucket, &changes);
        let text = |notice: &Notice| match notice {
            Notice::Object { key, now, .. } => format!("{} {}", key.as_str(), now.is_some()),
            other => format!("{other:?}"),
        };
        (notices.iter().map(text).collect(), notices)
    }

    #[test]
    fn files_are_objects_and_marker_files_directories() {
        let (texts, _) = told(&["a/b", "a/.hugbucket_keep", ".hugbucket/parts/x/1", "a//b"]);
        assert_eq!(texts, ["a/b true", "a/ true"]);
    }

    #[test]
    fn a_sidecar_is_part_of_its_object_or_found_by_its_key() {
        let (with, alone) = (sidecar::path(&key("with")), sidecar::path(&key("alone")));
        let (texts, notices) = told(&[&with, "with", &alone, "other"]);
        assert_eq!(texts, ["with false", "other true", "Objects(me/data)"]);
        let Some(Notice::Objects { are, .. }) = notices.last() else {
            panic!("no match");
        };
        assert!(are(&key("alone")) && !are(&key("with")) && !are(&key("other")));
    }
}
