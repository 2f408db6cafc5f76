//! Joining parts into an object.

use std::collections::HashMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use crate::provider::HfProvider;
use crate::provider::cas::{Composition, Manifest};
use crate::provider::commit::Change;
use crate::provider::hub::{BatchLine, FileRecord};
use crate::provider::multipart::parts::CurrentParts;
use crate::provider::multipart::verify::verify;
use crate::provider::multipart::{Layout, Record, hidden_file, no_such_upload, type_of_mark};
use crate::provider::write::Stamp;
use crate::storage::{
    BucketId, Checksum, CompleteUpload, ContentHash, Guards, NamedPart, ObjectChecksum,
    ObjectParts, StorageError, Tenant, UploadChecksum, UploadCompleted, UploadId, Withdrawal,
};
use crate::telemetry::UploadEvent;

/// S3's minimum size of every part but the last, in bytes.
const MIN_PART_BYTES: u64 = 5 << 20;

/// The largest manifest that is read: 5 GiB in 64 KiB chunks stay far below it.
const MAX_MANIFEST_BYTES: usize = 16 << 20;

/// Manifests read at the same time.
const MANIFEST_READS: usize = 64;

/// A part as the client names it, found in the bucket.
#[derive(Debug)]
pub(super) struct FoundPart {
    pub(super) hash: ContentHash,
    pub(super) size: u64,
    pub(super) manifest: FileRecord,
    pub(super) checksums: Vec<Checksum>,
}

/// Parts one after another.
#[derive(Default)]
struct Joint {
    whole: Composition,
    parts: ObjectParts,
}

impl HfProvider {
    /// Completes an upload by reference; repeating it gives the same answer and writes nothing.
    ///
    /// # Behaviour
    /// - Once an upload has the mark of a completion, every completion of it is answered from that mark, whatever parts it
    ///   names and whatever became of the object since.
    /// - Completions of one upload in this process come in turn, so of two that race, one writes and both get its answer.
    /// - The sizes of the parts stay known, in the object's sidecar, and their checksums if checksums are kept.
    /// - Part by part, what counts is what was sent last; an earlier content of the same number cannot be named.
    pub(in crate::provider) async fn complete_upload(
        &self,
        tenant: &Tenant,
        operation: CompleteUpload,
        guards: Guards,
    ) -> Result<UploadCompleted, StorageError> {
        let bucket = tenant.bucket(&operation.bucket);
        let upload_id = &operation.upload_id;
        let turn = self.0.uploads.turns.take(&bucket, upload_id).await;
        let state = self
            .state(tenant, &bucket, upload_id, &operation.key)
            .await?;
        if let Some(completed) = state.completed {
            return Ok(completed);
        }
        let open = state.open.ok_or_else(|| no_such_upload(upload_id))?;
        check_order(&operation.parts)?;
        let (token, key) = (&tenant.hub_token, &operation.key);
        let foreseen = self
            .0
            .committer
            .foresee(token, &bucket, key, &operation.conditions);
        if let Err(refusal) = foreseen.await {
            return self
                .unless_completed(tenant, &bucket, &operation, refusal)
                .await;
        }
        let layout = Layout::of(upload_id);
        let files = self.files_of(tenant, &bucket, &layout).await?;
        let found = find_parts(&layout, &files, &operation.parts)?;
        let checksum = verify(open.1.checksum, &operation, &found)?;
        let kept = checksum.clone().filter(|_| self.0.keeps_checksums);
        let checksums = match kept {
            Some(_) => checksums_of(open.1.checksum, &found),
            None => Vec::new(),
        };
        let mut parts = self.joint(tenant, &bucket, found).await?;
        parts.parts.checksums = checksums;

        let (provider, tenant) = (self.clone(), tenant.clone());
        self.finish(async move {
            let (_turn, withdrawal) = (turn, guards.withdrawal());
            let joint = (parts, checksum);
            let joined = provider
                .join(&tenant, &bucket, &operation, open, joint, withdrawal)
                .await;
            let completed = match joined {
                Ok(completed) => completed,
                Err(error) => {
                    return provider
                        .unless_completed(&tenant, &bucket, &operation, error)
                        .await;
                }
            };
            let metrics = &provider.0.uploads.metrics;
            metrics.multipart_upload(UploadEvent::Completed);
            provider.clean_up(tenant, bucket, operation.upload_id, files);
            Ok(completed)
        })
        .await
    }

    /// Composes the object, registers it, and leaves the mark of completion.
    async fn join(
        &self,
        tenant: &Tenant,
        bucket: &BucketId,
        operation: &CompleteUpload,
        (record_hash, record): (ContentHash, Arc<Record>),
        (parts, checksum): (Joint, Option<ObjectChecksum>),
        withdrawal: &Withdrawal,
    ) -> Result<UploadCompleted, StorageError> {
        let layout = Layout::of(&operation.upload_id);
        let access = self.access(tenant, bucket);
        let stamp = Stamp::new(record.metadata.clone());
        let composed = parts.whole.finish();
        let completed = UploadCompleted {
            hash: composed.hash(),
            size: composed.size(),
            checksum,
        };

        let mut lines = stamp.lines(&operation.key, &composed);
        let mut staged = vec![composed];
        let kept = (completed.checksum.clone()).filter(|_| self.0.keeps_checksums);
        let (sidecar, content_type) = stamp.sidecar_of_parts(kept, parts.parts, &completed.hash);
        let sidecar = self.0.cas.upload_bytes(&access, bucket, sidecar).await?;
        lines.push(stamp.sidecar_line(&operation.key, sidecar.hash(), content_type));
        staged.push(sidecar);

        self.0.cas.register(&access, bucket, staged).await?;
        let change = Change::of_object(&operation.key, operation.conditions.clone(), lines);
        self.0
            .committer
            .commit_unless(&tenant.hub_token, bucket, change, withdrawal)
            .await?;
        // Both are files that the bucket holds already, so marking costs no upload. It waits for the object's verdict: a
        // mark that landed without its object would answer for one that never came. The object stands without it too, but
        // then the upload cannot be completed again.
        let mark = Change::new(vec![
            hidden_file(layout.done_record(), record_hash),
            BatchLine::AddFile {
                path: layout.done_object(),
                hash: completed.hash,
                mtime: None,
                content_type: type_of_mark(completed.checksum.as_ref()),
            },
        ]);
        let marked = self.0.committer.commit(&tenant.hub_token, bucket, mark);
        if let Err(error) = marked.await {
            let upload_id = &operation.upload_id;
            tracing::warn!(%bucket, %upload_id, %error, "failed to mark an upload as completed");
        }
        Ok(completed)
    }

    /// Returns the answer to a completion that failed, unless it is the repetition of one that took effect while its
    /// answer was lost: then what stands in its conditions' way is its own object.
    async fn unless_completed(
        &self,
        tenant: &Tenant,
        bucket: &BucketId,
        operation: &CompleteUpload,
        error: StorageError,
    ) -> Result<UploadCompleted, StorageError> {
        let is_refusal = matches!(
            error,
            StorageError::PreconditionFailed { .. } | StorageError::NoSuchKey { .. }
        );
        if !is_refusal {
            return Err(error);
        }
        let upload = self
            .state(tenant, bucket, &operation.upload_id, &operation.key)
            .await?;
        upload.completed.ok_or(error)
    }

    /// Joins the manifests of parts in their order, many read at the same time but none kept.
    async fn joint(
        &self,
        tenant: &Tenant,
        bucket: &BucketId,
        parts: Vec<FoundPart>,
    ) -> Result<Joint, StorageError> {
        let reads = stream::iter(parts).map(|part| self.manifest(tenant, bucket, part));
        let mut manifests = std::pin::pin!(reads.buffered(MANIFEST_READS));
        let mut joint = Joint::default();
        while let Some(manifest) = manifests.try_next().await? {
            joint.whole.push(&manifest)?;
            joint.parts.sizes.push(manifest.size());
        }
        Ok(joint)
    }

    /// Returns the manifest of a part: the one remembered, or read from the bucket.
    async fn manifest(
        &self,
        tenant: &Tenant,
        bucket: &BucketId,
        part: FoundPart,
    ) -> Result<Arc<Manifest>, StorageError> {
        let manifest = match self.0.uploads.manifests.get(bucket, &part.hash) {
            Some(remembered) => remembered,
            None => {
                let content = self
                    .read_hidden(tenant, bucket, &part.manifest, MAX_MANIFEST_BYTES)
                    .await?;
                Arc::new(Manifest::from_bytes(&content)?)
            }
        };
        if manifest.hash() != part.hash {
            return Err(StorageError::internal(
                "a part's manifest describes other content",
            ));
        }
        Ok(manifest)
    }

    /// Removes the parts of a completed upload. Nobody waits for it, and what stays behind is swept later.
    fn clean_up(
        &self,
        tenant: Tenant,
        bucket: BucketId,
        upload_id: UploadId,
        files: Vec<FileRecord>,
    ) {
        let provider = self.clone();
        self.0.uploads.end(&bucket, &upload_id);
        self.0.finishing.spawn(async move {
            let removal = provider.remove_upload(&tenant, &bucket, &upload_id, &files);
            if let Err(error) = removal.await {
                tracing::warn!(%bucket, %upload_id, %error, "failed to remove the parts of a completed upload");
            }
        });
    }
}

/// Returns the checksums of parts to keep: those that the client asked for, if every part has one.
fn checksums_of(upload: UploadChecksum, parts: &[FoundPart]) -> Vec<Checksum> {
    let wanted = |part: &FoundPart| {
        let mut known = part.checksums.iter();
        let wanted = known.find(|checksum| checksum.algorithm == upload.algorithm);
        wanted.filter(|_| upload.is_declared).cloned()
    };
    let checksums: Option<Vec<_>> = parts.iter().map(wanted).collect();
    checksums.unwrap_or_default()
}

/// Errors: [`StorageError::InvalidPartOrder`] unless the numbers ascend; a list without parts is malformed.
fn check_order(parts: &[NamedPart]) -> Result<(), StorageError> {
    if parts.is_empty() {
        return Err(StorageError::InvalidRequest {
            reason: "You must specify at least one part".into(),
        });
    }
    let is_ascending = parts
        .windows(2)
        .all(|pair| pair[0].part_number < pair[1].part_number);
    if is_ascending {
        Ok(())
    } else {
        Err(StorageError::InvalidPartOrder)
    }
}

/// Finds each named part among the files of the upload.
///
/// Errors: [`StorageError::InvalidPart`] for one that is missing, was replaced, or has another entity tag;
/// [`StorageError::EntityTooSmall`] for one below 5 MiB that is not the last.
fn find_parts(
    layout: &Layout,
    files: &[FileRecord],
    named: &[NamedPart],
) -> Result<Vec<FoundPart>, StorageError> {
    let parts = CurrentParts::among(layout, files);
    let manifests: HashMap<_, _> = files
        .iter()
        .filter_map(|file| {
            let part = layout.parse(&file.path).filter(|part| part.is_manifest)?;
            Some(((part.part_number, part.part_hash), file))
        })
        .collect();
    let mut found = Vec::with_capacity(named.len());
    for (position, part) in named.iter().enumerate() {
        let number = part.part_number;
        let content = parts.find(number, &part.etag);
        let manifest = content.and_then(|content| manifests.get(&(number, content.hash)));
        let (Some(content), Some(manifest)) = (content, manifest) else {
            return Err(StorageError::InvalidPart {
                part_number: number.get(),
            });
        };
        let is_last = position + 1 == named.len();
        if content.size < MIN_PART_BYTES && !is_last {
            let (part_number, size) = (number.get(), content.size);
            return Err(StorageError::EntityTooSmall {
                part_number,
                size,
                minimum: MIN_PART_BYTES,
            });
        }
        found.push(FoundPart {
            hash: content.hash,
            size: content.size,
            manifest: (*manifest).clone(),
            checksums: content.checksums.clone(),
        });
    }
    Ok(found)
}

#[cfg(test)]
pub(super) mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::storage::PartNumber;

    pub(in crate::provider::multipart) fn hash(digit: char) -> ContentHash {
        digit.to_string().repeat(64).parse().unwrap()
    }

    fn layout() -> Layout {
        Layout::of(&"0123456789abcdef0123456789abcdef".parse().unwrap())
    }

    pub(in crate::provider::multipart) fn file(path: String, size: u64) -> FileRecord {
        FileRecord {
            path,
            size,
            hash: hash('f'),
            mtime: None,
            uploaded_at: OffsetDateTime::UNIX_EPOCH,
            content_type: None,
        }
    }

    fn files() -> Vec<FileRecord> {
        let layout = layout();
        let mut files = vec![file(layout.record(), 100)];
        for (number, digit, size) in [
            (1, 'a', MIN_PART_BYTES),
            (2, 'b', 7),
            (2, 'c', MIN_PART_BYTES),
            (9, 'd', 1),
        ] {
            let number = PartNumber::new(number).unwrap();
            files.push(file(layout.part(number, &hash(digit), &[]), size));
            files.push(file(layout.manifest(number, &hash(digit)), 50));
        }
        files
    }

    fn named(parts: &[(u32, char)]) -> Vec<NamedPart> {
        let named = |&(number, digit)| NamedPart {
            part_number: PartNumber::new(number).unwrap(),
            etag: hash(digit).etag(),
            checksums: Vec::new(),
        };
        parts.iter().map(named).collect()
    }

    fn find(parts: &[(u32, char)]) -> Result<Vec<ContentHash>, &'static str> {
        let found =
            find_parts(&layout(), &files(), &named(parts)).map_err(|error| error.outcome())?;
        Ok(found.into_iter().map(|part| part.hash).collect())
    }

    #[test]
    fn parts_are_found_by_number_and_tag() {
        assert_eq!(
            find(&[(1, 'a'), (2, 'c'), (9, 'd')]),
            Ok(vec![hash('a'), hash('c'), hash('d')])
        );
        assert_eq!(find(&[(1, 'b')]), Err("invalid_part"));
        assert_eq!(find(&[(3, 'a')]), Err("invalid_part"));
        assert_eq!(
            find(&[(1, 'a'), (2, 'b'), (9, 'd')]),
            Err("entity_too_small")
        );
        assert_eq!(find(&[(1, 'a'), (2, 'b')]), Ok(vec![hash('a'), hash('b')]));
    }

    #[test]
    fn part_numbers_must_ascend() {
        assert!(check_order(&named(&[(1, 'a'), (3, 'b')])).is_ok());
        assert!(matches!(
            check_order(&named(&[(1, 'a'), (1, 'b')])),
            Err(StorageError::InvalidPartOrder)
        ));
        assert!(matches!(
            check_order(&named(&[(2, 'a'), (1, 'b')])),
            Err(StorageError::InvalidPartOrder)
        ));
        assert!(matches!(
            check_order(&[]),
            Err(StorageError::InvalidRequest { .. })
        ));
    }
}
