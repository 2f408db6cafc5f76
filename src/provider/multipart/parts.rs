//! Which parts count, and their listing.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use time::OffsetDateTime;

use crate::provider::HfProvider;
use crate::provider::hub::FileRecord;
use crate::provider::multipart::layout::{Layout, PartFile};
use crate::storage::{
    Checksum, ContentHash, ListParts, PartNumber, PartPage, PartSummary, StorageError, Tenant,
    UploadChecksum,
};

/// The content of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) hash: ContentHash,
    pub(super) size: u64,
    pub(super) uploaded_at: OffsetDateTime,
    pub(super) checksums: Vec<Checksum>,
}

/// The content that counts of each part number: what the Hub registered last.
///
/// Contents that it registered in the same millisecond came at the same time, and no rule can tell which replaced which:
/// a completion may name any of them, a listing shows the one with the greatest hash.
#[derive(Debug, Default)]
pub(super) struct CurrentParts(BTreeMap<PartNumber, Vec<Content>>);

impl CurrentParts {
    /// Reads the parts' contents among the files of an upload.
    pub(super) fn among<'a>(
        layout: &Layout,
        files: impl IntoIterator<Item = &'a FileRecord>,
    ) -> Self {
        let mut parts = Self::default();
        for file in files {
            parts.add(layout, file);
        }
        parts
    }

    /// Takes a file in, if it is the content of a part.
    fn add(&mut self, layout: &Layout, file: &FileRecord) {
        let Some(PartFile {
            part_number,
            part_hash,
            is_manifest: false,
            checksums,
        }) = layout.parse(&file.path)
        else {
            return;
        };
        let content = Content {
            hash: part_hash,
            size: file.size,
            uploaded_at: file.uploaded_at,
            checksums,
        };
        let current = self.0.entry(part_number).or_default();
        let known = current.first().map_or(Ordering::Greater, |known| {
            content.uploaded_at.cmp(&known.uploaded_at)
        });
        match known {
            Ordering::Less => return,
            Ordering::Equal => {}
            Ordering::Greater => current.clear(),
        }
        current.push(content);
    }

    /// Returns the content that counts of a part and has this entity tag.
    pub(super) fn find(&self, number: PartNumber, etag: &str) -> Option<&Content> {
        let current = self.0.get(&number)?;
        current.iter().find(|content| content.hash.etag() == etag)
    }

    /// Returns the page behind a part number, with the checksums that the upload was declared with.
    fn page(&self, after: u32, max_parts: usize, declared: Option<UploadChecksum>) -> PartPage {
        let checksum_of = |content: &Content| {
            let wanted = declared?.algorithm;
            let mut known = content.checksums.iter();
            known.find(|checksum| checksum.algorithm == wanted).cloned()
        };
        let mut behind = self
            .0
            .iter()
            .filter(|(number, _)| number.get() > after)
            .filter_map(|(number, current)| {
                let shown = current.iter().max_by_key(|content| content.hash)?;
                Some(PartSummary {
                    part_number: *number,
                    size: shown.size,
                    hash: shown.hash,
                    last_modified: shown.uploaded_at,
                    checksum: checksum_of(shown),
                })
            });
        PartPage {
            parts: behind.by_ref().take(max_parts).collect(),
            has_more: behind.next().is_some(),
            declared,
        }
    }
}

impl HfProvider {
    /// Lists the parts of an upload: a look at its record, and a listing of its contents.
    pub(in crate::provider) async fn list_parts(
        &self,
        tenant: &Tenant,
        operation: ListParts,
    ) -> Result<PartPage, StorageError> {
        let bucket = tenant.bucket(&operation.bucket);
        let upload_id = &operation.upload_id;
        let record = self.read_record(tenant, &bucket, upload_id, &operation.key);
        let declared = Some(record.await?.checksum).filter(|upload| upload.is_declared);
        let layout = Layout::of(upload_id);
        let mut parts = CurrentParts::default();
        self.scan(tenant, &bucket, layout.contents(), |file| {
            parts.add(&layout, &file);
            Ok(())
        })
        .await?;
        Ok(parts.page(operation.after, operation.max_parts, declared))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(digit: char) -> ContentHash {
        digit.to_string().repeat(64).parse().unwrap()
    }

    fn number(number: u32) -> PartNumber {
        PartNumber::new(number).unwrap()
    }

    /// Parts as (number, digit of the hash, milliseconds).
    fn parts(files: &[(u32, char, i64)]) -> CurrentParts {
        let layout = Layout::of(&"0123456789abcdef0123456789abcdef".parse().unwrap());
        let files: Vec<_> = files
            .iter()
            .flat_map(|(part, digit, millis)| {
                let file = |path| FileRecord {
                    path,
                    size: 1,
                    hash: hash('f'),
                    mtime: None,
                    uploaded_at: OffsetDateTime::UNIX_EPOCH + time::Duration::milliseconds(*millis),
                    content_type: None,
                };
                [
                    file(layout.part(number(*part), &hash(*digit), &[])),
                    file(layout.manifest(number(*part), &hash(*digit))),
                ]
            })
            .collect();
        CurrentParts::among(&layout, &files)
    }

    fn shown(page: &PartPage) -> Vec<(u32, ContentHash)> {
        let parts = page.parts.iter();
        parts
            .map(|part| (part.part_number.get(), part.hash))
            .collect()
    }

    #[test]
    fn what_was_registered_last_counts_in_whatever_order_it_is_listed() {
        for files in [
            [(1, 'a', 5), (1, 'b', 7), (1, 'c', 6)],
            [(1, 'b', 7), (1, 'a', 5), (1, 'c', 6)],
        ] {
            let parts = parts(&files);
            assert_eq!(shown(&parts.page(0, 10, None)), [(1, hash('b'))]);
            assert!(parts.find(number(1), &hash('b').etag()).is_some());
            assert!(parts.find(number(1), &hash('a').etag()).is_none());
            assert!(parts.find(number(1), &hash('c').etag()).is_none());
        }
    }

    #[test]
    fn parts_registered_at_the_same_time_may_all_be_named() {
        let parts = parts(&[(1, 'b', 7), (1, 'a', 7)]);
        assert_eq!(shown(&parts.page(0, 10, None)), [(1, hash('b'))]);
        assert!(parts.find(number(1), &hash('a').etag()).is_some());
        assert!(parts.find(number(1), &hash('b').etag()).is_some());
    }

    #[test]
    fn only_the_declared_checksum_of_a_part_is_shown() {
        let layout = Layout::of(&"0123456789abcdef0123456789abcdef".parse().unwrap());
        let texts = [
            "sha1-98f3bc1d808e04732adf679965ccc34ca7ae3441",
            "crc64nvme-ae8b14860a799888",
        ];
        let checksums = texts.map(|text| text.parse().unwrap());
        let file = FileRecord {
            path: layout.part(number(1), &hash('a'), &checksums),
            size: 9,
            hash: hash('a'),
            mtime: None,
            uploaded_at: OffsetDateTime::UNIX_EPOCH,
            content_type: None,
        };
        let parts = CurrentParts::among(&layout, [&file]);
        let shown = |is_declared| {
            let upload = UploadChecksum {
                is_declared,
                ..UploadChecksum::default()
            };
            let page = parts.page(0, 1, Some(upload).filter(|upload| upload.is_declared));
            page.parts[0].checksum.as_ref().map(ToString::to_string)
        };
        assert_eq!(shown(true).as_deref(), Some(texts[1]));
        assert_eq!(shown(false), None);
    }

    #[test]
    fn pages_go_by_number_and_say_whether_more_follows() {
        let parts = parts(&[(10_000, 'c', 1), (2, 'b', 1), (1, 'a', 1)]);
        let page = |after, max| {
            let page = parts.page(after, max, None);
            let numbers: Vec<u32> = page.parts.iter().map(|p| p.part_number.get()).collect();
            (numbers, page.has_more)
        };
        assert_eq!(page(0, 3), (vec![1, 2, 10_000], false));
        assert_eq!(page(0, 2), (vec![1, 2], true));
        assert_eq!(page(2, 2), (vec![10_000], false));
        assert_eq!(page(10_000, 2), (vec![], false));
        assert_eq!(page(0, 0), (vec![], true));
    }
}
