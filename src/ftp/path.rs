//! FTP paths: `/` is the list of buckets, `/bucket` a bucket, `/bucket/a/b` what lies in it.
//!
//! What a user sees as `/` may be a bucket, or a directory of one: then a path is put behind that. The session has resolved
//! `.` and `..` already, and let none lead above `/`; here they are refused, so that no path leaves its root whatever the
//! session does.

use std::path::Path;

use crate::storage::{BucketName, ObjectKey, StorageError};

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// The list of buckets.
    Buckets,
    /// A bucket: the directory of all its objects.
    Bucket(BucketName),
    /// A file or a directory in a bucket.
    Entry(Entry),
}

/// A file or a directory in a bucket; which of them, or whether it is there at all, a path does not tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The bucket.
    pub(super) bucket: BucketName,
    /// Segments joined by `/`; never empty, and without a slash at either end.
    path: String,
}

/// A directory in a bucket, or the bucket itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Directory {
    /// The bucket.
    pub(super) bucket: BucketName,
    /// What the keys of all that lies below it begin with: a text that ends in `/`, or nothing for the bucket itself.
    pub(super) prefix: String,
}

impl Place {
    /// Returns where an absolute path leads for a user whose `/` is `root`: `bucket` or `bucket/directory`, or nothing for
    /// the list of buckets. A slash at its end changes nothing.
    ///
    /// Errors: [`StorageError::InvalidKey`] for what no path can hold: control characters, U+FFFD (what was no UTF-8), and
    /// empty, `.`, or `..` segments; [`StorageError::InvalidBucketName`] for a first segment that no bucket can have.
    pub(super) fn of(root: &str, path: &Path) -> Result<Self, StorageError> {
        let path = checked(path)?;
        let whole = match (root, path) {
            ("", path) => path.to_owned(),
            (root, "") => root.to_owned(),
            (root, path) => format!("{root}/{path}"),
        };
        if whole.is_empty() {
            return Ok(Self::Buckets);
        }
        let (bucket, path) = whole.split_once('/').unwrap_or((&whole, ""));
        let bucket = BucketName::new(bucket)?;
        Ok(match path {
            "" => Self::Bucket(bucket),
            path => Self::Entry(Entry {
                bucket,
                path: path.to_owned(),
            }),
        })
    }

    /// Returns the directory that the place would be; `None` for the list of buckets.
    pub(super) fn directory(&self) -> Option<Directory> {
        match self {
            Self::Buckets => None,
            Self::Bucket(bucket) => Some(Directory {
                bucket: bucket.clone(),
                prefix: String::new(),
            }),
            Self::Entry(entry) => Some(entry.directory()),
        }
    }
}

impl Entry {
    /// Returns the last segment.
    pub(super) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// Returns the key of the file that it would be.
    ///
    /// Errors: as [`ObjectKey::new`].
    pub(super) fn key(&self) -> Result<ObjectKey, StorageError> {
        ObjectKey::new(&self.path)
    }

    /// Returns the key of a file that is to be there already.
    ///
    /// Errors: [`StorageError::NoSuchKey`] for what no file can be called, [`StorageError::KeyTooLong`].
    pub(super) fn present_key(&self) -> Result<ObjectKey, StorageError> {
        self.key().map_err(|error| match error {
            StorageError::InvalidKey { .. } => self.missing(),
            error => error,
        })
    }

    /// Returns the error that says that there is nothing.
    pub(super) fn missing(&self) -> StorageError {
        let key = self.path.clone();
        StorageError::NoSuchKey { key }
    }

    /// Returns the directory that it would be.
    pub(super) fn directory(&self) -> Directory {
        Directory {
            bucket: self.bucket.clone(),
            prefix: format!("{}/", self.path),
        }
    }

    /// Returns the directory that it is in.
    pub(super) fn parent(&self) -> Directory {
        let prefix = self.path.len() - self.name().len();
        Directory {
            bucket: self.bucket.clone(),
            prefix: self.path[..prefix].to_owned(),
        }
    }

    /// Reports whether it lies below another one.
    pub(super) fn is_below(&self, other: &Self) -> bool {
        let rest = self.path.strip_prefix(other.path.as_str());
        self.bucket == other.bucket && rest.is_some_and(|rest| rest.starts_with('/'))
    }
}

impl Directory {
    /// Returns the key of its marker; `None` for a bucket, which needs none.
    ///
    /// Errors: as [`ObjectKey::new`].
    pub(super) fn marker(&self) -> Result<Option<ObjectKey>, StorageError> {
        match self.prefix.as_str() {
            "" => Ok(None),
            prefix => ObjectKey::new(prefix).map(Some),
        }
    }
}

/// Returns the path without the slashes at its ends.
fn checked(path: &Path) -> Result<&str, StorageError> {
    let refuse = |reason| Err(StorageError::InvalidKey { reason });
    let Some(path) = path.to_str() else {
        return refuse("a path is UTF-8");
    };
    if path.chars().any(char::is_control) {
        return refuse("a path cannot hold control characters");
    }
    if path.contains(char::REPLACEMENT_CHARACTER) {
        return refuse("a path is UTF-8");
    }
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    let is_odd = |segment| matches!(segment, "" | "." | "..");
    if !path.is_empty() && path.split('/').any(is_odd) {
        return refuse("a path cannot hold empty segments, `.`, or `..`");
    }
    Ok(path)
}

/// Reports whether a name can be shown in a listing, one on a line, and be named in a command.
pub(super) fn is_showable(name: &str) -> bool {
    let is_special = matches!(name, "" | "." | "..");
    !is_special && !name.contains(|c: char| c.is_control() || matches!(c, '/' | '\u{fffd}'))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    fn shown(root: &str, path: &str) -> Result<String, &'static str> {
        let place = Place::of(root, Path::new(path)).map_err(|error| error.outcome())?;
        Ok(match place {
            Place::Buckets => "buckets".into(),
            Place::Bucket(bucket) => bucket.to_string(),
            Place::Entry(entry) => format!("{} {}", entry.bucket, entry.path),
        })
    }

    fn entry(path: &str) -> Entry {
        match Place::of("", Path::new(path)).unwrap() {
            Place::Entry(entry) => entry,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_no_path_can_hold_is_refused() {
        let odd = [
            "/a\0b",
            "/a\nb",
            "/a\rb",
            "/\u{1b}[m",
            "/a\u{fffd}b",
            "/a//b",
            "//a",
            "/a//",
            "/a/./b",
            "/a/../b",
            "/..",
            "/a/..",
            "..",
        ];
        for path in odd {
            assert_eq!(shown("", path), Err("invalid_key"), "{path:?}");
            assert_eq!(shown("data/team", path), Err("invalid_key"), "{path:?}");
        }
        let latin = std::ffi::OsStr::from_bytes(b"/data/\xfc");
        assert!(Place::of("", Path::new(latin)).is_err());
    }

    #[test]
    fn the_first_segment_is_a_bucket() {
        assert_eq!(shown("", "/"), Ok("buckets".into()));
        assert_eq!(shown("", "/data"), Ok("data".into()));
        assert_eq!(shown("", "/data/"), Ok("data".into()));
        assert_eq!(shown("", "/data/a b/c"), Ok("data a b/c".into()));
        let odd = " a/c\\d%2f#/-l/...";
        assert_eq!(
            shown("", &format!("/data/{odd}")),
            Ok(format!("data {odd}"))
        );
        assert_eq!(shown("", "/no bucket/a"), Err("invalid_bucket_name"));
    }

    #[test]
    fn a_root_stands_before_every_path() {
        for (root, path, expected) in [
            ("data", "/", "data"),
            ("data", "/a", "data a"),
            ("data/team", "/", "data team"),
            ("data/team", "/a/b", "data team/a/b"),
            ("data/team", "/other/x", "data team/other/x"),
            ("data/team", "/...", "data team/..."),
        ] {
            assert_eq!(shown(root, path), Ok(expected.to_owned()), "{root} {path}");
        }
    }

    #[test]
    fn files_and_directories_have_their_keys() {
        let one = entry("/data/a/b c");
        assert_eq!(one.name(), "b c");
        assert_eq!(one.key().unwrap().as_str(), "a/b c");
        assert_eq!(one.directory().prefix, "a/b c/");
        let marker = one.directory().marker().unwrap();
        assert_eq!(marker.unwrap().as_str(), "a/b c/");
        assert_eq!(one.parent().prefix, "a/");
        assert_eq!(entry("/data/a").parent().prefix, "");
        assert_eq!(entry("/data/a").parent().marker().unwrap(), None);
        for path in [
            "/data/a\\b",
            "/data/.hugbucket/x",
            &format!("/data/{}", "k".repeat(1025)),
        ] {
            assert!(entry(path).key().is_err(), "{path}");
        }
        let outcome = |path: &str| entry(path).present_key().unwrap_err().outcome();
        assert_eq!(outcome("/data/a\\b"), "no_such_key");
        assert_eq!(
            outcome(&format!("/data/{}", "k".repeat(1025))),
            "key_too_long"
        );
    }

    #[test]
    fn below_is_a_matter_of_segments() {
        assert!(entry("/data/a/b").is_below(&entry("/data/a")));
        for path in ["/data/a", "/data/ab", "/other/a/b", "/data/b/a"] {
            assert!(!entry(path).is_below(&entry("/data/a")), "{path}");
        }
    }

    #[test]
    fn names_that_break_a_line_are_not_shown() {
        for name in ["a", " a ", "-l", "ü", "a\\b", "...", "%0a"] {
            assert!(is_showable(name), "{name:?}");
        }
        for name in ["", ".", "..", "a\nb", "a\r", "a/b", "\u{fffd}", "\u{85}"] {
            assert!(!is_showable(name), "{name:?}");
        }
    }
}
