//! Where the files of an upload lie.

use crate::provider::HfProvider;
use crate::provider::hub::{FileRecord, TreeEntry, TreeQuery};
use crate::storage::name::HIDDEN_PREFIX;
use crate::storage::{BucketId, ContentHash, PartNumber, StorageError, Tenant, UploadId};

/// Entries asked for in one page of the Hub's tree.
const PAGE_ENTRIES: usize = 5000;

/// The paths of one upload.
pub(super) struct Layout {
    root: String,
    done: String,
}

/// A file of an upload that belongs to a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PartFile {
    pub(super) part_number: PartNumber,
    /// Content hash of the part, not of the file: a manifest is named by the part that it describes.
    pub(super) part_hash: ContentHash,
    pub(super) is_manifest: bool,
}

impl Layout {
    pub(super) fn of(upload_id: &UploadId) -> Self {
        Self {
            root: format!("{HIDDEN_PREFIX}uploads/{upload_id}/"),
            done: format!("{HIDDEN_PREFIX}done/{upload_id}/"),
        }
    }

    pub(super) fn record(&self) -> String {
        format!("{}record", self.root)
    }

    pub(super) fn part(&self, number: PartNumber, hash: &ContentHash) -> String {
        format!("{}parts/{:05}-{hash}", self.root, number.get())
    }

    pub(super) fn manifest(&self, number: PartNumber, hash: &ContentHash) -> String {
        format!("{}manifests/{:05}-{hash}", self.root, number.get())
    }

    pub(super) fn done_record(&self) -> String {
        format!("{}record", self.done)
    }

    pub(super) fn done_object(&self) -> String {
        format!("{}object", self.done)
    }

    /// Parses the path of a part or manifest; `None` for anything else.
    pub(super) fn parse(&self, path: &str) -> Option<PartFile> {
        let (kind, name) = path.strip_prefix(&self.root)?.split_once('/')?;
        let (number, hash) = name.split_once('-')?;
        let is_manifest = match kind {
            "parts" => false,
            "manifests" => true,
            _ => return None,
        };
        Some(PartFile {
            part_number: PartNumber::new(number.parse().ok()?).ok()?,
            part_hash: hash.parse().ok()?,
            is_manifest,
        })
    }
}

impl HfProvider {
    /// Lists all files of an upload.
    pub(super) async fn files_of(
        &self,
        tenant: &Tenant,
        bucket: &BucketId,
        layout: &Layout,
    ) -> Result<Vec<FileRecord>, StorageError> {
        let query = TreeQuery {
            prefix: layout.root.clone(),
            is_recursive: true,
            limit: PAGE_ENTRIES,
        };
        let mut files = Vec::new();
        let mut cursor = None;
        loop {
            let page = self
                .hub()
                .tree_page(&tenant.hub_token, bucket, &query, cursor.as_deref())
                .await?;
            files.extend(page.entries.into_iter().filter_map(|entry| match entry {
                TreeEntry::File(file) => Some(file),
                TreeEntry::Directory { .. } => None,
            }));
            cursor = page.next;
            if cursor.is_none() {
                return Ok(files);
            }
        }
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
        };
        assert_eq!(
            layout.parse(&layout.part(number, &hash)),
            Some(part.clone())
        );
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
            format!("{}parts/0-{hash}", layout.root),
        ] {
            assert_eq!(layout.parse(&other), None, "{other}");
        }
    }
}
