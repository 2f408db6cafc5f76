//! What the Hub knows of buckets and files, in our own types.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::datetime;

use crate::provider::hub::wire::{WireBucket, WireEntry};
use crate::storage::{BucketId, BucketName, ContentHash, Namespace, Visibility};

/// A modification time before this is a mistake: some clients write seconds where milliseconds are meant, which lands in
/// January 1970.
const EARLIEST_MTIME: OffsetDateTime = datetime!(2001-01-01 00:00 UTC);

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketRecord {
    /// Its full name.
    pub id: BucketId,
    /// Who may read it.
    pub visibility: Visibility,
    /// When it was created; the beginning of 1970 if the Hub does not say.
    pub created_at: OffsetDateTime,
    /// When it was last changed, if the Hub says so: moves on every mutation.
    pub updated_at: Option<OffsetDateTime>,
    /// Bytes held, if the Hub says so.
    pub size: Option<u64>,
    /// Files held, if the Hub says so.
    pub total_files: Option<u64>,
}

impl BucketRecord {
    /// Reads a record; `None` if its id is none that we could address.
    pub(super) fn from_wire(wire: &WireBucket) -> Option<Self> {
        let (namespace, name) = wire.id.split_once('/')?;
        let id = BucketId {
            namespace: Namespace::new(namespace).ok()?,
            name: BucketName::new(name).ok()?,
        };
        Some(Self {
            id,
            visibility: if wire.private {
                Visibility::Private
            } else {
                Visibility::Public
            },
            created_at: moment(wire.created_at.as_deref()).unwrap_or(OffsetDateTime::UNIX_EPOCH),
            updated_at: moment(wire.updated_at.as_deref()),
            size: wire.size,
            total_files: wire.total_files,
        })
    }
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRecord {
    /// Its path in the bucket.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// Xet hash of the content.
    pub hash: ContentHash,
    /// The file's own modification time; `None` if absent or impossible.
    pub mtime: Option<OffsetDateTime>,
    /// When the Hub registered this content.
    pub uploaded_at: OffsetDateTime,
    /// Content-Type, where the writer gave one.
    pub content_type: Option<String>,
}

impl FileRecord {
    /// Reads a record; `None` if it is no file, or one without a usable hash, which nobody could read.
    pub(super) fn from_wire(wire: WireEntry) -> Option<Self> {
        if wire.kind != "file" {
            return None;
        }
        let size = wire.size.unwrap_or(0);
        let hash = match wire.xet_hash {
            Some(hash) => hash.parse().ok(),
            None if size == 0 => Some(ContentHash::EMPTY),
            None => None,
        };
        let Some(hash) = hash else {
            tracing::warn!(path = wire.path, "the hub lists a file without a xet hash");
            return None;
        };
        let mtime = moment(wire.mtime.as_deref()).filter(|mtime| *mtime >= EARLIEST_MTIME);
        let uploaded_at = moment(wire.uploaded_at.as_deref())
            .or(mtime)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        Some(Self {
            path: wire.path,
            size,
            hash,
            mtime,
            uploaded_at,
            content_type: wire.content_type.filter(|text| !text.is_empty()),
        })
    }
}

/// An entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeEntry {
    /// A file.
    File(FileRecord),
    /// A directory of a listing that is not recursive.
    Directory(DirectoryRecord),
}

/// A directory: whatever lies below a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryRecord {
    /// Its path, without a trailing slash.
    pub path: String,
    /// When the Hub last registered something in it, if the Hub says so.
    pub uploaded_at: Option<OffsetDateTime>,
}

impl TreeEntry {
    /// Reads an entry; `None` for kinds that we do not know.
    pub(super) fn from_wire(wire: WireEntry) -> Option<Self> {
        if wire.kind == "directory" {
            return Some(Self::Directory(DirectoryRecord {
                uploaded_at: moment(wire.uploaded_at.as_deref()),
                path: wire.path,
            }));
        }
        FileRecord::from_wire(wire).map(Self::File)
    }
}

fn moment(text: Option<&str>) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text?, &Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(json: serde_json::Value) -> Option<TreeEntry> {
        TreeEntry::from_wire(serde_json::from_value(json).unwrap())
    }

    #[test]
    fn a_file_is_read_with_all_it_has() {
        let read = entry(serde_json::json!({
            "type": "file", "path": "a/b", "size": 3, "xetHash": "0".repeat(64), "contentType": "text/plain",
            "mtime": "2026-01-02T03:04:05.006Z", "uploadedAt": "2026-01-02T03:04:06.000Z", "novelty": [1]
        }));
        assert_eq!(
            read,
            Some(TreeEntry::File(FileRecord {
                path: "a/b".into(),
                size: 3,
                hash: ContentHash::EMPTY,
                mtime: Some(datetime!(2026-01-02 03:04:05.006 UTC)),
                uploaded_at: datetime!(2026-01-02 03:04:06 UTC),
                content_type: Some("text/plain".into()),
            }))
        );
    }

    #[test]
    fn an_impossible_mtime_is_none() {
        for mtime in [
            "1970-01-21T10:00:00.000Z",
            "2000-12-31T23:59:59.999Z",
            "yesterday",
        ] {
            let read = entry(serde_json::json!({
                "type": "file", "path": "a", "size": 0, "mtime": mtime, "uploadedAt": "2026-01-02T03:04:06.000Z"
            }));
            let Some(TreeEntry::File(file)) = read else {
                panic!("no file")
            };
            assert_eq!((file.mtime, file.hash), (None, ContentHash::EMPTY));
        }
    }

    #[test]
    fn what_nobody_could_read_is_left_out() {
        for json in [
            serde_json::json!({"type": "file", "path": "a", "size": 1}),
            serde_json::json!({"type": "file", "path": "a", "size": 1, "xetHash": "xyz"}),
            serde_json::json!({"type": "submodule", "path": "a"}),
        ] {
            assert_eq!(entry(json), None);
        }
    }

    #[test]
    fn a_bucket_needs_an_id_that_we_can_address() {
        let bucket = |id: &str| {
            let wire = serde_json::json!({"id": id, "private": true, "createdAt": "2026-01-02T03:04:05.000Z"});
            BucketRecord::from_wire(&serde_json::from_value(wire).unwrap())
        };
        let found = bucket("me/data").unwrap();
        assert_eq!(found.id.to_string(), "me/data");
        assert_eq!(found.visibility, Visibility::Private);
        assert_eq!(bucket("data"), None);
        assert_eq!(bucket("me/da ta"), None);
    }
}
