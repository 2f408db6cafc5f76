//! The uploads under way.
//!
//! Their keys lie in their records, so every record is needed to put them into order: one listing, and the records that are
//! not remembered yet. Only what the page shows is kept meanwhile.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};

use crate::provider::HfProvider;
use crate::provider::hub::FileRecord;
use crate::provider::multipart::layout::{records, upload_of_record};
use crate::storage::{
    BucketId, ListUploads, StorageError, Tenant, UploadEntry, UploadId, UploadPage, UploadSummary,
};

/// Records read at the same time.
const RECORD_READS: usize = 32;

/// Uploads under way that are put into order at most. Abandoned ones are swept, so a bucket of more is in some trouble.
const MAX_UPLOADS: usize = 10_000;

impl HfProvider {
    /// Lists the uploads under way.
    ///
    /// Errors: `NoSuchBucket`; `Unavailable` for a bucket with more than 10,000 of them.
    pub(in crate::provider) async fn list_uploads(
        &self,
        tenant: &Tenant,
        operation: ListUploads,
    ) -> Result<UploadPage, StorageError> {
        let bucket = tenant.bucket(&operation.bucket);
        let files = self.records_of(tenant, &bucket).await?;
        let reads = stream::iter(files).map(|(upload_id, file)| {
            let bucket = &bucket;
            async move { self.summary(tenant, bucket, upload_id, &file).await }
        });
        let page = FirstUploads::new(&operation);
        let page =
            reads
                .buffer_unordered(RECORD_READS)
                .try_fold(page, |mut page, upload| async move {
                    page.offer(upload);
                    Ok(page)
                });
        Ok(page.await?.finish())
    }

    /// Lists the records of the uploads that were neither completed nor aborted by this process.
    async fn records_of(
        &self,
        tenant: &Tenant,
        bucket: &BucketId,
    ) -> Result<Vec<(UploadId, FileRecord)>, StorageError> {
        let mut files = Vec::new();
        self.scan(tenant, bucket, records(), |file| {
            let Some(upload_id) = upload_of_record(&file.path) else {
                return Ok(());
            };
            if !self.0.uploads.is_over(bucket, &upload_id) {
                files.push((upload_id, file));
            }
            if files.len() > MAX_UPLOADS {
                return Err(StorageError::Unavailable {
                    service: "hub",
                    reason: format!("more than {MAX_UPLOADS} uploads are under way in this bucket"),
                    is_safe_to_retry: false,
                });
            }
            Ok(())
        })
        .await?;
        Ok(files)
    }

    /// Returns what a listing tells of an upload; `None` if its record makes no sense.
    async fn summary(
        &self,
        tenant: &Tenant,
        bucket: &BucketId,
        upload_id: UploadId,
        file: &FileRecord,
    ) -> Result<Option<UploadSummary>, StorageError> {
        match self.record(tenant, bucket, &upload_id, file).await {
            Ok(record) => Ok(Some(UploadSummary {
                key: record.key.clone(),
                upload_id,
                initiated_at: record.initiated_at,
            })),
            // One broken file must not hide all the others. Its own upload cannot be completed in any case.
            Err(StorageError::Internal { reason }) => {
                tracing::warn!(%bucket, %upload_id, reason, "an upload is left out of the listing");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// The first entries of a listing whose uploads come in any order. Memory is bounded by the page.
#[derive(Debug)]
struct FirstUploads<'a> {
    asked: &'a ListUploads,
    /// One more than the page holds, which tells whether there is more. A common prefix has an empty id.
    kept: BTreeMap<(String, String), UploadEntry>,
}

impl<'a> FirstUploads<'a> {
    fn new(asked: &'a ListUploads) -> Self {
        Self {
            asked,
            kept: BTreeMap::new(),
        }
    }

    fn offer(&mut self, upload: Option<UploadSummary>) {
        let Some((place, entry)) = upload.and_then(|upload| self.shown(upload)) else {
            return;
        };
        self.kept.insert(place, entry);
        if self.kept.len() > self.asked.max_entries + 1 {
            self.kept.pop_last();
        }
    }

    /// Returns what the listing shows for an upload, and where: itself, its common prefix, or nothing.
    fn shown(&self, upload: UploadSummary) -> Option<((String, String), UploadEntry)> {
        let rest = upload.key.strip_prefix(&self.asked.prefix)?;
        let folded = self.asked.delimiter.as_ref().and_then(|delimiter| {
            let end = rest.find(delimiter.as_str())? + delimiter.len();
            Some(upload.key[..self.asked.prefix.len() + end].to_owned())
        });
        let (name, upload_id) = match &folded {
            Some(prefix) => (prefix.clone(), String::new()),
            None => (upload.key.clone(), upload.upload_id.to_string()),
        };
        if let Some(after) = &self.asked.after {
            let is_behind = match after.upload_id.as_deref() {
                Some(id) => (name.as_str(), upload_id.as_str()) > (after.key.as_str(), id),
                None => name > after.key,
            };
            if !is_behind {
                return None;
            }
        }
        let entry = match folded {
            Some(prefix) => UploadEntry::Prefix(prefix),
            None => UploadEntry::Upload(upload),
        };
        Some(((name, upload_id), entry))
    }

    fn finish(mut self) -> UploadPage {
        let has_more = self.kept.len() > self.asked.max_entries;
        if has_more {
            self.kept.pop_last();
        }
        UploadPage {
            entries: self.kept.into_values().collect(),
            has_more,
        }
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::storage::{BucketName, UploadMarker};

    fn upload(key: &str, id: char) -> UploadSummary {
        UploadSummary {
            key: key.into(),
            upload_id: id.to_string().repeat(32).parse().unwrap(),
            initiated_at: OffsetDateTime::UNIX_EPOCH,
        }
    }

    fn asked(prefix: &str, delimiter: Option<&str>, max_entries: usize) -> ListUploads {
        ListUploads {
            bucket: BucketName::new("data").unwrap(),
            prefix: prefix.into(),
            delimiter: delimiter.map(Into::into),
            after: None,
            max_entries,
        }
    }

    /// Shows an upload as its key and the first digit of its id, a common prefix as itself.
    fn page(asked: &ListUploads) -> (Vec<String>, bool) {
        let mut first = FirstUploads::new(asked);
        for (key, id) in [
            ("d/2", '7'),
            ("b", '2'),
            ("ü", '1'),
            ("b", '1'),
            ("d/1", '3'),
            ("a", '9'),
        ] {
            first.offer(Some(upload(key, id)));
        }
        first.offer(None);
        let page = first.finish();
        let entries = page.entries.iter().map(|entry| match entry {
            UploadEntry::Upload(upload) => {
                format!("{} {}", upload.key, &upload.upload_id.as_str()[..1])
            }
            UploadEntry::Prefix(prefix) => prefix.clone(),
        });
        (entries.collect(), page.has_more)
    }

    #[test]
    fn uploads_come_by_key_and_id() {
        let (names, has_more) = page(&asked("", None, 10));
        assert_eq!(names, ["a 9", "b 1", "b 2", "d/1 3", "d/2 7", "ü 1"]);
        assert!(!has_more);
        assert_eq!(page(&asked("d", None, 10)).0, ["d/1 3", "d/2 7"]);
        let folded = page(&asked("", Some("/"), 10));
        assert_eq!(folded.0, ["a 9", "b 1", "b 2", "d/", "ü 1"]);
        assert_eq!(page(&asked("", None, 0)), (vec![], true));
    }

    #[test]
    fn paging_by_the_last_entry_shows_everything_once() {
        for (delimiter, whole) in [
            (None, &["a 9", "b 1", "b 2", "d/1 3", "d/2 7", "ü 1"][..]),
            (Some("/"), &["a 9", "b 1", "b 2", "d/", "ü 1"]),
        ] {
            for max_entries in 1..4 {
                let mut asked = asked("", delimiter, max_entries);
                let mut seen = Vec::new();
                loop {
                    let (names, has_more) = page(&asked);
                    assert!(names.len() <= max_entries);
                    seen.extend(names);
                    if !has_more {
                        break;
                    }
                    let last = seen.last().unwrap();
                    let (key, id) = last.split_once(' ').unwrap_or((last, ""));
                    asked.after = Some(UploadMarker {
                        key: key.into(),
                        upload_id: (!id.is_empty()).then(|| id.repeat(32)),
                    });
                }
                assert_eq!(seen, whole);
            }
        }
    }

    #[test]
    fn a_key_alone_is_a_marker_behind_all_its_uploads() {
        let mut asked = asked("", None, 10);
        asked.after = Some(UploadMarker {
            key: "b".into(),
            upload_id: None,
        });
        assert_eq!(page(&asked).0, ["d/1 3", "d/2 7", "ü 1"]);
    }
}
