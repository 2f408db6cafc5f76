//! Going on with an object: its first bytes stay where they are, and only what follows is uploaded.
//!
//! What stays is a slice of the present content, by reference; at most its last chunk is uploaded anew, because only the
//! end of a file may have a short one. The slice and the new bytes make up the new content, which takes the object's place
//! only if that has not changed until the commit.

use futures::{StreamExt, try_join};

use crate::provider::HfProvider;
use crate::provider::cas::{
    AccessSource, Composition, FileRef, Scope, SliceSource, StagedFile, UploadOptions,
};
use crate::provider::commit::Change;
use crate::provider::sidecar;
use crate::provider::write::Stamp;
use crate::storage::{
    AppendObject, BucketId, ByteStream, ContentHash, EtagMatch, Guards, KeptPart, ObjectAppended,
    ObjectInfo, ResolvedRange, StorageError, Tenant, WriteConditions,
};

/// What stays is read and uploaded together with the new bytes if it is shorter than this: a reference would not save more
/// than the one chunk at its end that has to be uploaded anyway, and a short chunk must not come to lie inside a file.
const SHORTEST_SLICE_BYTES: u64 = 128 << 10;

impl HfProvider {
    /// Replaces the end of an object.
    ///
    /// Until the whole body is in and verified, nothing names what was uploaded: dropping the future leaves no trace. From
    /// then on the shard and the batch run to their end in a task of their own.
    pub(super) async fn append_object(
        &self,
        tenant: &Tenant,
        operation: AppendObject,
        guards: Guards,
    ) -> Result<ObjectAppended, StorageError> {
        let bucket = tenant.bucket(&operation.bucket);
        let access = self.access(tenant, &bucket);
        access.get(Scope::Write).await?;
        let key = operation.key;
        let present = self.resolve(tenant, &bucket, &key).await?;
        let kept = Kept::of(&present, operation.kept)?;
        let content = self
            .continued(&access, &bucket, kept, operation.payload.body)
            .await?;

        let stamp = Stamp::new(sidecar::without_mtime(present.metadata.clone()));
        let conditions = WriteConditions {
            if_match: Some(EtagMatch::Tags(vec![present.etag()])),
            ..WriteConditions::default()
        };
        let (provider, token) = (self.clone(), tenant.hub_token.clone());
        self.finish(async move {
            let withdrawal = guards.withdrawal();
            let cas = &provider.0.cas;
            let (hash, size) = (content.hash(), content.size());
            let mut lines = vec![stamp.object_line(&key, hash)];
            let mut staged: Vec<StagedFile> = content.into_new().into_iter().collect();
            if let Some(sidecar) = stamp.sidecar(&hash) {
                let sidecar = cas.upload_bytes(&access, &bucket, sidecar).await?;
                lines.push(stamp.sidecar_line(&key, sidecar.hash(), None));
                staged.push(sidecar);
            }
            cas.register(&access, &bucket, staged).await?;
            let change = Change::of_object(&key, conditions, lines);
            let committer = &provider.0.committer;
            let committed = committer.commit_unless(&token, &bucket, change, withdrawal);
            committed.await?;
            Ok(ObjectAppended {
                size,
                kept_bytes: kept.len_bytes,
                hash,
            })
        })
        .await
    }

    /// Uploads what follows, and joins it to what stays.
    async fn continued(
        &self,
        access: &AccessSource,
        bucket: &BucketId,
        kept: Kept,
        body: ByteStream,
    ) -> Result<Content, StorageError> {
        let cas = &self.0.cas;
        let whole = UploadOptions::default;
        let Some(source) = kept.slice(access) else {
            let before = kept.read(|span| cas.open(access, kept.file, Some(span)));
            let bytes = before.await?.chain(body);
            let upload = cas.upload(access, bucket, ByteStream::new(bytes, None), whole());
            return Ok(Content::New(upload.await?));
        };
        let (before, after) = try_join!(
            self.referred(&source, bucket),
            cas.upload(access, bucket, body, whole()),
        )?;
        if after.size() == 0 && kept.is_all() {
            return Ok(Content::Same(kept.file));
        }
        let mut joined = Composition::default();
        joined.push_staged(&before)?;
        joined.push_staged(&after)?;
        Ok(Content::New(joined.finish()))
    }

    /// Returns what stays as a file of its own: by reference, or by moving its bytes if it is too fragmented for that.
    async fn referred(
        &self,
        source: &SliceSource<'_>,
        bucket: &BucketId,
    ) -> Result<StagedFile, StorageError> {
        let (cas, access) = (&self.0.cas, source.access);
        if let Some(slice) = cas.slice(source, access, bucket).await? {
            return Ok(slice);
        }
        let options = UploadOptions {
            companion: None,
            is_part: true,
        };
        let body = cas.open(access, source.file, Some(source.span)).await?;
        cas.upload(access, bucket, body, options).await
    }
}

/// What stays of the present content.
#[derive(Debug, Clone, Copy)]
struct Kept {
    file: FileRef,
    len_bytes: u64,
}

impl Kept {
    /// Errors: [`StorageError::PreconditionFailed`] unless the object has the content to go on with;
    /// [`StorageError::InvalidRange`] if that is shorter than what is to stay.
    fn of(present: &ObjectInfo, part: KeptPart) -> Result<Self, StorageError> {
        let ObjectInfo { hash, size, .. } = *present;
        let len_bytes = match part {
            KeptPart::All => size,
            KeptPart::First { base, .. } if base != hash => {
                return Err(StorageError::PreconditionFailed {
                    condition: "If-Match",
                });
            }
            KeptPart::First { len_bytes, .. } if len_bytes > size => {
                return Err(StorageError::InvalidRange { size });
            }
            KeptPart::First { len_bytes, .. } => len_bytes,
        };
        let file = FileRef { hash, size };
        Ok(Self { file, len_bytes })
    }

    fn span(&self) -> ResolvedRange {
        ResolvedRange {
            start: 0,
            end: self.len_bytes,
        }
    }

    fn is_all(&self) -> bool {
        self.len_bytes == self.file.size
    }

    /// Returns what to refer to; `None` if it is too short for that.
    fn slice<'a>(&self, access: &'a AccessSource) -> Option<SliceSource<'a>> {
        (self.len_bytes >= SHORTEST_SLICE_BYTES).then(|| SliceSource {
            access,
            file: self.file,
            span: self.span(),
        })
    }

    /// Opens it with `open`, unless it is empty.
    async fn read<F>(&self, open: impl FnOnce(ResolvedRange) -> F) -> F::Output
    where
        F: Future<Output = Result<ByteStream, StorageError>>,
    {
        match self.len_bytes {
            0 => Ok(ByteStream::empty()),
            _ => open(self.span()).await,
        }
    }
}

/// The new content of the object.
enum Content {
    New(StagedFile),
    /// Nothing follows, and everything stays.
    Same(FileRef),
}

impl Content {
    fn hash(&self) -> ContentHash {
        match self {
            Self::New(file) => file.hash(),
            Self::Same(file) => file.hash,
        }
    }

    fn size(&self) -> u64 {
        match self {
            Self::New(file) => file.size(),
            Self::Same(file) => file.size,
        }
    }

    /// Returns what is to be registered.
    fn into_new(self) -> Option<StagedFile> {
        match self {
            Self::New(file) => Some(file),
            Self::Same(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::future::ready;
    use time::OffsetDateTime;

    use super::*;
    use crate::storage::{ObjectKey, ObjectMetadata, Secret};

    fn hash(digit: char) -> ContentHash {
        digit.to_string().repeat(64).parse().unwrap()
    }

    fn present(size: u64) -> Arc<ObjectInfo> {
        Arc::new(ObjectInfo {
            key: ObjectKey::new("k").unwrap(),
            size,
            hash: hash('a'),
            last_modified: OffsetDateTime::UNIX_EPOCH,
            mtime: None,
            metadata: ObjectMetadata::default(),
            checksum: None,
            has_sidecar: false,
            parts_file: None,
        })
    }

    fn kept(size: u64, base: char, len_bytes: u64) -> Result<Kept, &'static str> {
        let base = hash(base);
        let part = KeptPart::First { len_bytes, base };
        Kept::of(&present(size), part).map_err(|error| error.outcome())
    }

    #[test]
    fn only_the_expected_content_is_gone_on_with_and_no_more_of_it_than_there_is() {
        assert_eq!(kept(10, 'b', 5).unwrap_err(), "precondition_failed");
        assert_eq!(kept(10, 'a', 11).unwrap_err(), "invalid_range");
        assert!(kept(10, 'a', 10).unwrap().is_all());
        assert!(!kept(10, 'a', 9).unwrap().is_all());
        assert!(kept(0, 'a', 0).unwrap().is_all());
        assert!(Kept::of(&present(10), KeptPart::All).unwrap().is_all());
    }

    #[test]
    fn what_is_shorter_than_a_chunk_is_not_referred_to() {
        let access = AccessSource::new(Secret::new("").id(), |_, _| {
            Box::pin(ready(Err(StorageError::internal("not asked for"))))
        });
        let spans = |len_bytes| {
            let kept = kept(1 << 30, 'a', len_bytes).unwrap();
            kept.slice(&access).map(|slice| slice.span.end)
        };
        assert_eq!(spans(SHORTEST_SLICE_BYTES - 1), None);
        assert_eq!(spans(SHORTEST_SLICE_BYTES), Some(SHORTEST_SLICE_BYTES));
    }

    #[tokio::test]
    async fn nothing_that_stays_is_not_opened() {
        let kept = kept(10, 'a', 0).unwrap();
        let body = kept.read(|_| ready(Err(StorageError::internal("not asked for"))));
        assert_eq!(body.await.unwrap().len_bytes(), Some(0));
    }
}
