//! Where the files of an upload lie.

use crate::provider::HfProvider;
use crate::provider::hub::{FileRecord, TreeEntry, TreeQuery};
use crate::storage::name::HIDDEN_PREFIX;
use crate::storage::{BucketId, Checksum, ContentHash, PartNumber, StorageError, Tenant, UploadId};

/// Entries asked for in one page of the Hub's tree.
const PAGE_ENTRIES: usize = 5000;

/// Where the records of all uploads lie, and nothing else: a listing of uploads is a listing of this.
pub(super) fn records() -> String {
    format!("{HIDDEN_PREFIX}uploads/")
}

/// Where the parts of all uploads lie.
pub(super) fn parts() -> String {
    format!("{HIDDEN_PREFIX}parts/")
}

/// Where the marks of all completed uploads lie.
pub(super) fn marks() -> String {
    format!("{HIDDEN_PREFIX}done/")
}

/// Returns the upload whose record lies at this path.
pub(super) fn upload_of_record(path: &str) -> Option<UploadId> {
    match kind_of(path)? {
        (Kind::Record, upload_id) => Some(upload_id),
        (Kind::Part | Kind::Mark, _) => None,
    }
}

/// What a file of an upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Record,
    /// The content or the manifest of a part.
    Part,
    /// Belongs to the mark of a completion.
    Mark,
}

/// Returns what the file at this path is, and of which upload; `None` for anything else.
pub(super) fn kind_of(path: &str) -> Option<(Kind, UploadId)> {
    let (place, rest) = path.strip_prefix(HIDDEN_PREFIX)?.split_once('/')?;
    let (kind, upload_id) = match (place, rest.split_once('/')) {
        ("uploads", None) => (Kind::Record, rest),
        ("parts", Some((upload_id, _))) => (Kind::Part, upload_id),
        ("done", Some((upload_id, _))) => (Kind::Mark, upload_id),
        _ => return None,
    };
    Some((kind, upload_id.parse().ok()?))
}

/// The paths of one upload.
pub(super) struct Layout {
    record: String,
    parts: String,
    done: String,
}

/// A file of an upload that belongs to a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PartFile {
    pub(super) part_number: PartNumber,
    /// Content hash of the part, not of the file: a manifest is named by the part that it describes.
    pub(super) part_hash: ContentHash,
    pub(super) is_manifest: bool,
    /// What the name of a content tells of it.
    pub(super) checksums: Vec<Checksum>,
}

impl Layout {
    pub(super) fn of(upload_id: &UploadId) -> Self {
        Self {
            record: format!("{HIDDEN_PREFIX}uploads/{upload_id}"),
            parts: format!("{HIDDEN_PREFIX}parts/{upload_id}/"),
            done: format!("{HIDDEN_PREFIX}done/{upload_id}/"),
        }
    }

    pub(super) fn record(&self) -> String {
        self.record.clone()
    }

    /// Returns the prefix of everything that belongs to parts: contents and manifests.
    pub(super) fn parts(&self) -> String {
        self.parts.clone()
    }

    /// Returns the prefix of the parts' contents alone.
    pub(super) fn contents(&self) -> String {
        format!("{}content/", self.parts)
    }

    /// The name carries the part's checksums, so that one listing tells those of all parts to any process.
    pub(super) fn part(
        &self,
        number: PartNumber,
        hash: &ContentHash,
        checksums: &[Checksum],
    ) -> String {
        let mut path = format!("{}content/{:05}-{hash}", self.parts, number.get());
        for checksum in checksums {
            path.push('.');
            path.push_str(&checksum.to_string());
        }
        path
    }

    pub(super) fn manifest(&self, number: PartNumber, hash: &ContentHash) -> String {
        format!("{}manifest/{:05}-{hash}", self.parts, number.get())
    }

    pub(super) fn done_record(&self) -> String {
        format!("{}record", self.done)
    }

    pub(super) fn done_object(&self) -> String {
        format!("{}object", self.done)
    }

    /// Parses the path of a part or manifest; `None` for anything else.
    pub(super) fn parse(&self, path: &str) -> Option<PartFile> {
        let (kind, name) = path.strip_prefix(&self.parts)?.split_once('/')?;
        let (number, name) = name.split_once('-')?;
        let mut name = name.split('.');
        let hash = name.next()?;
        let checksums: Result<_, _> = name.map(str::parse).collect();
        let is_manifest = match kind {
            "content" => false,
            "manifest" => true,
            _ => return None,
        };
        Some(PartFile {
            part_number: PartNumber::new(number.parse().ok()?).ok()?,
            part_hash: hash.parse().ok()?,
            is_manifest,
            checksums: checksums.ok()?,
        })
    }
}

impl HfProvider {
    /// Hands over every file under a hidden prefix, page by page, so that nothing but what `take` keeps stays in memory.
    pub(in crate::provider) async fn scan(
        &self,
        tenant: &Tenant,
        bucket: &BucketId,
        prefix: String,
        mut take: impl FnMut(FileRecord) -> Result<(), StorageError> + Send,
    ) -> Result<(), StorageError> {
        let query = TreeQuery {
            prefix,
            is_recursive: true,
            limit: PAGE_ENTRIES,
        };
        let mut cursor = None;
        loop {
            let page = self
                .hub()
                .tree_page(&tenant.hub_token, bucket, &query, cursor.as_deref())
                .await?;
            for entry in page.entries {
                // The Hub's prefix is a text and no directory, and it may widen one that an address cannot carry.
                if let TreeEntry::File(file) = entry
                    && file.path.starts_with(&query.prefix)
                {
                    take(file)?;
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    /// Lists all files that belong to the parts of an upload.
    pub(super) async fn files_of(
        &self,
        tenant: &Tenant,
        bucket: &BucketId,
        layout: &Layout,
    ) -> Result<Vec<FileRecord>, StorageError> {
        let mut files = Vec::new();
        self.scan(tenant, bucket, layout.parts(), |file| {
            files.push(file);
            Ok(())
        })
        .await?;
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_parts_parse_back() {
        let layout = Layout::of(&"0123456789abcdef0123456789abcdef".parse().unwrap());
        let number = PartNumber::new(42).unwrap();
        let hash = ContentHash::EMPTY;
        let part = PartFile {
            part_number: number,
            part_hash: hash,
            is_manifest: false,
            checksums: Vec::new(),
        };
        let checksums = ["crc32-cbf43926", "crc64nvme-ae8b14860a799888"];
        for count in 0..=2 {
            let checksums = checksums[..count].iter().map(|text| text.parse().unwrap());
            let part = PartFile {
                checksums: checksums.collect(),
                ..part.clone()
            };
            let path = layout.part(number, &hash, &part.checksums);
            assert_eq!(layout.parse(&path), Some(part));
        }
        assert_eq!(
            layout.parse(&layout.manifest(number, &hash)),
            Some(PartFile {
                is_manifest: true,
                ..part
            })
        );
        for other in [
            layout.record(),
            layout.done_object(),
            "x".into(),
            format!("{}content/0-{hash}", layout.parts()),
            format!("{}content/00001-{hash}.crc32-cbf4", layout.parts()),
        ] {
            assert_eq!(layout.parse(&other), None, "{other}");
        }
    }

    #[test]
    fn every_file_names_its_upload() {
        let upload_id: UploadId = "0123456789abcdef0123456789abcdef".parse().unwrap();
        let layout = Layout::of(&upload_id);
        let part = layout.part(PartNumber::new(1).unwrap(), &ContentHash::EMPTY, &[]);
        for (path, kind, prefix) in [
            (layout.record(), Kind::Record, records()),
            (part, Kind::Part, parts()),
            (layout.done_object(), Kind::Mark, marks()),
        ] {
            assert!(path.starts_with(&prefix));
            assert_eq!(kind_of(&path), Some((kind, upload_id.clone())), "{path}");
        }
        for other in [".hugbucket/meta/ab/cd", ".hugbucket/parts/x/y", "uploads/x"] {
            assert_eq!(kind_of(other), None, "{other}");
        }
    }

    #[test]
    fn records_name_their_uploads() {
        let upload_id: UploadId = "0123456789abcdef0123456789abcdef".parse().unwrap();
        let layout = Layout::of(&upload_id);
        assert!(layout.record().starts_with(&records()));
        assert_eq!(upload_of_record(&layout.record()), Some(upload_id));
        for other in [
            layout.done_record(),
            layout.parts(),
            format!("{}/x", layout.record()),
        ] {
            assert_eq!(upload_of_record(&other), None, "{other}");
        }
    }
}
