//! One bucket and its files.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Namespace and name of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct BucketKey {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl BucketKey {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

impl fmt::Display for BucketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What is known of a file. Times are unix milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileEntry {
    /// Xet hash, 64 hex digits.
    #[serde(rename = "h")]
    pub(crate) hash: String,
    #[serde(rename = "s")]
    pub(crate) size: u64,
    #[serde(rename = "m", skip_serializing_if = "Option::is_none")]
    pub(crate) mtime: Option<i64>,
    #[serde(rename = "u")]
    pub(crate) uploaded_at: i64,
    #[serde(rename = "c", skip_serializing_if = "Option::is_none")]
    pub(crate) content_type: Option<String>,
}

/// A change of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Change {
    #[serde(rename = "put")]
    Put {
        #[serde(rename = "p")]
        path: String,
        #[serde(flatten)]
        file: FileEntry,
    },
    #[serde(rename = "del")]
    Delete {
        #[serde(rename = "p")]
        path: String,
    },
}

/// A bucket. Times are unix milliseconds.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// 24 hex digits, never used again after a deletion.
    pub(crate) id: String,
    pub(crate) private: bool,
    pub(crate) created_at: i64,
    /// Moves on every change.
    pub(crate) updated_at: i64,
    /// Bytes of all files together.
    pub(crate) size: u64,
    /// By path, in byte order.
    pub(crate) files: BTreeMap<String, FileEntry>,
}

impl Bucket {
    pub(super) fn new(id: String, private: bool, at: i64) -> Self {
        Self {
            id,
            private,
            created_at: at,
            updated_at: at,
            size: 0,
            files: BTreeMap::new(),
        }
    }

    pub(super) fn apply(&mut self, changes: Vec<Change>, at: i64) {
        // Two changes in one millisecond must still move it.
        self.updated_at = at.max(self.updated_at + 1);
        for change in changes {
            let replaced = match change {
                Change::Put { path, file } => {
                    self.size += file.size;
                    self.files.insert(path, file)
                }
                Change::Delete { path } => self.files.remove(&path),
            };
            self.size -= replaced.map_or(0, |file| file.size);
        }
    }
}

pub(super) fn new_bucket_id() -> String {
    hex::encode(rand::random::<[u8; 12]>())
}
