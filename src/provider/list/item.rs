//! Tree entries under the names that order them.

use time::OffsetDateTime;

use crate::provider::hub::{FileRecord, TreeEntry};
use crate::storage::ObjectSummary;
use crate::storage::name::{HIDDEN_PREFIX, MARKER_NAME};

/// A line of a listing before it is folded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// The key, or the directory with a trailing slash.
    pub(super) name: String,
    /// The object; `None` for a directory that the Hub has folded.
    pub(super) object: Option<ObjectSummary>,
    /// When a folded directory was changed last, if the Hub has said so.
    pub(super) changed_at: Option<OffsetDateTime>,
}

impl Item {
    /// Reads a tree entry; `None` for hidden ones.
    pub(super) fn new(entry: TreeEntry) -> Option<Self> {
        match entry {
            TreeEntry::File(file) if is_hidden_file(&file.path) => None,
            TreeEntry::File(file) => Some(Self::object(file)),
            TreeEntry::Directory(directory) if is_hidden(&directory.path) => None,
            TreeEntry::Directory(directory) => Some(Self {
                changed_at: directory.uploaded_at,
                ..Self::directory(directory.path)
            }),
        }
    }

    /// Returns a folded directory, given without its slash.
    pub(super) fn directory(mut path: String) -> Self {
        path.push('/');
        Self {
            name: path,
            object: None,
            changed_at: None,
        }
    }

    /// Returns a file under its key. The file of a directory marker is listed as `dir/`; the single newline that the
    /// Python HugBucket wrote into markers reads as empty.
    pub(super) fn object(file: FileRecord) -> Self {
        let marked = marked_directory(&file.path).map(str::to_owned);
        let (key, size) = match marked {
            Some(directory) if file.size == 1 => (directory, 0),
            Some(directory) => (directory, file.size),
            None => (file.path, file.size),
        };
        Self {
            name: key.clone(),
            object: Some(ObjectSummary {
                key,
                size,
                hash: file.hash,
                last_modified: file.uploaded_at,
                mtime: file.mtime,
            }),
            changed_at: None,
        }
    }

    /// Returns a text before which nothing that comes later can sort, if the Hub sorts at all.
    ///
    /// It may sort directories with or without their slash, so a directory vouches only for its bare path: `a-b` may
    /// still follow the directory `a`.
    pub(super) fn floor(&self) -> &str {
        match self.object {
            Some(_) => &self.name,
            None => &self.name[..self.name.len() - 1],
        }
    }
}

/// Returns the directory, with its slash, whose marker lies at this path.
pub(in crate::provider) fn marked_directory(path: &str) -> Option<&str> {
    path.strip_suffix(MARKER_NAME)
        .filter(|directory| directory.ends_with('/'))
}

/// Reports whether a file never shows: hugbucket's own state, or a marker of the bucket itself, whose key would be empty.
pub(in crate::provider) fn is_hidden_file(path: &str) -> bool {
    is_hidden(path) || path == MARKER_NAME
}

/// Reports whether a path is hugbucket's own state.
fn is_hidden(path: &str) -> bool {
    path.starts_with(HIDDEN_PREFIX) || path == HIDDEN_PREFIX.trim_end_matches('/')
}

/// Returns the path of an entry as the Hub wrote it.
pub(super) fn raw_path(entry: &TreeEntry) -> &str {
    match entry {
        TreeEntry::File(file) => &file.path,
        TreeEntry::Directory(directory) => &directory.path,
    }
}

#[cfg(test)]
pub(super) fn file(path: &str) -> FileRecord {
    FileRecord {
        path: path.into(),
        size: 1,
        hash: crate::storage::ContentHash::EMPTY,
        mtime: None,
        uploaded_at: time::OffsetDateTime::UNIX_EPOCH,
        content_type: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::hub::DirectoryRecord;

    fn name(path: &str) -> Option<String> {
        Item::new(TreeEntry::File(file(path))).map(|item| item.name)
    }

    #[test]
    fn files_are_listed_under_their_keys() {
        assert_eq!(name("a/b").as_deref(), Some("a/b"));
        assert_eq!(name("a/b/.hugbucket_keep").as_deref(), Some("a/b/"));
        assert_eq!(
            name("a/.hugbucket_keeper").as_deref(),
            Some("a/.hugbucket_keeper")
        );
        assert_eq!(
            name("a.hugbucket_keep").as_deref(),
            Some("a.hugbucket_keep")
        );
        assert_eq!(name(".hugbucketx").as_deref(), Some(".hugbucketx"));
        for hidden in [".hugbucket/x", ".hugbucket", ".hugbucket_keep"] {
            assert_eq!(name(hidden), None);
        }
        let directory = DirectoryRecord {
            path: ".hugbucket".into(),
            uploaded_at: None,
        };
        assert_eq!(Item::new(TreeEntry::Directory(directory)), None);
    }

    #[test]
    fn the_newline_of_an_old_marker_reads_as_empty() {
        let size = |path: &str| Item::object(file(path)).object.unwrap().size;
        assert_eq!((size("d/.hugbucket_keep"), size("d/a")), (0, 1));
    }

    #[test]
    fn a_directory_vouches_only_for_its_bare_path() {
        let directory = Item::directory("a".into());
        assert_eq!((directory.name.as_str(), directory.floor()), ("a/", "a"));
        assert_eq!(Item::object(file("a/b")).floor(), "a/b");
    }
}
