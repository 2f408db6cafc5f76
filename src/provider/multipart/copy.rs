//! Taking a part that is an object, or a range of one.

use std::sync::Arc;

use time::OffsetDateTime;

use crate::provider::HfProvider;
use crate::provider::cas::{
    AccessSource, FileRef, RegisterError, SliceSource, StagedFile, UploadOptions,
};
use crate::provider::multipart::part::{PartChecksums, PartPlace};
use crate::storage::{
    ByteRange, Guards, PartCopied, ResolvedRange, StorageError, Tenant, UploadPartCopy,
};
use crate::telemetry::PartSource;

/// S3's maximum size of a part, and of what one call may copy, in bytes.
const MAX_PART_BYTES: u64 = 5 << 30;

impl HfProvider {
    /// Stores a part by reference to the source's chunks; at most the edges of the range are uploaded.
    ///
    /// If the CAS does not let this bucket refer to the source's xorbs, or if the source is too fragmented to be referred
    /// to, the bytes pass through as if the client had sent them.
    pub(in crate::provider) async fn upload_part_copy(
        &self,
        tenant: &Tenant,
        operation: UploadPartCopy,
        guards: Guards,
    ) -> Result<PartCopied, StorageError> {
        let place = PartPlace {
            bucket: tenant.bucket(&operation.bucket),
            upload_id: operation.upload_id,
            part_number: operation.part_number,
        };
        let (access, _) = self.open_place(tenant, &place, &operation.key).await?;
        let source_bucket = tenant.bucket(&operation.source_bucket);
        let source = self
            .resolve(tenant, &source_bucket, &operation.source_key)
            .await?;
        operation.source_conditions.check_copy_source(&source)?;
        let source = Source {
            access: self.access(tenant, &source_bucket),
            file: FileRef {
                hash: source.hash,
                size: source.size,
            },
            span: span_of(operation.source_range, source.size)?,
        };

        let guards = Arc::new(guards);
        if let Some(part) = self
            .0
            .cas
            .slice(&source.to_slice(), &access, &place.bucket)
            .await?
            && let Some(copied) = self
                .keep_copy(tenant, &access, &place, part, &guards)
                .await?
        {
            return Ok(copied);
        }
        let part = self.moved(&source, &access, &place).await?;
        let kept = self
            .keep_copy(tenant, &access, &place, part, &guards)
            .await?;
        kept.ok_or_else(|| StorageError::internal("the CAS refuses what was uploaded to it"))
    }

    /// Registers the part, whether or not somebody waits; `None` if the CAS refuses what it refers to.
    async fn keep_copy(
        &self,
        tenant: &Tenant,
        access: &AccessSource,
        place: &PartPlace,
        part: StagedFile,
        guards: &Arc<Guards>,
    ) -> Result<Option<PartCopied>, StorageError> {
        let (provider, tenant, access) = (self.clone(), tenant.clone(), access.clone());
        let (place, guards) = (place.clone(), guards.clone());
        self.finish(async move {
            let _guards = guards;
            match provider.keep_part(&tenant, &access, &place, part, PartChecksums::default()).await {
                Ok(stored) => {
                    let metrics = &provider.0.uploads.metrics;
                    metrics.multipart_part(PartSource::Copy);
                    Ok(Some(PartCopied {
                        hash: stored.hash,
                        size: stored.size,
                        last_modified: OffsetDateTime::now_utc(),
                    }))
                }
                Err(RegisterError::Refused(reason)) => {
                    tracing::warn!(bucket = %place.bucket, %reason, "a copied part was refused by reference");
                    Ok(None)
                }
                Err(RegisterError::Failed(error)) => Err(error),
            }
        })
        .await
    }

    /// Stages the part by moving its bytes, in bounded memory.
    async fn moved(
        &self,
        source: &Source,
        access: &AccessSource,
        place: &PartPlace,
    ) -> Result<StagedFile, StorageError> {
        let cas = &self.0.cas;
        let body = cas
            .open(&source.access, source.file, Some(source.span))
            .await?;
        let options = UploadOptions {
            companion: None,
            is_part: true,
        };
        cas.upload(access, &place.bucket, body, options).await
    }
}

/// What is copied.
struct Source {
    access: AccessSource,
    file: FileRef,
    span: ResolvedRange,
}

impl Source {
    fn to_slice(&self) -> SliceSource<'_> {
        SliceSource {
            access: &self.access,
            file: self.file,
            span: self.span,
        }
    }
}

/// Returns the bytes to copy of a source of `size` bytes.
///
/// Errors: [`StorageError::InvalidRange`] if the range does not lie within the source, or if that is empty;
/// [`StorageError::EntityTooLarge`] for more than a part may have.
fn span_of(range: Option<ByteRange>, size: u64) -> Result<ResolvedRange, StorageError> {
    let whole = ByteRange::From { first: 0 };
    let span = range.unwrap_or(whole).resolve_within(size)?;
    if span.len_bytes() > MAX_PART_BYTES {
        return Err(StorageError::EntityTooLarge {
            limit_bytes: MAX_PART_BYTES,
        });
    }
    Ok(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_copied_lies_within_the_source_and_is_no_more_than_a_part() {
        let span = |range, size| {
            span_of(range, size)
                .map(|span| (span.start, span.end))
                .map_err(|error| error.outcome())
        };
        let exact = |first, last| Some(ByteRange::Exact { first, last });
        assert_eq!(span(None, 10), Ok((0, 10)));
        assert_eq!(span(exact(3, 9), 10), Ok((3, 10)));
        assert_eq!(span(exact(3, 10), 10), Err("invalid_range"));
        assert_eq!(span(exact(10, 10), 10), Err("invalid_range"));
        assert_eq!(span(None, 0), Err("invalid_range"));
        assert_eq!(span(None, MAX_PART_BYTES), Ok((0, MAX_PART_BYTES)));
        assert_eq!(span(None, MAX_PART_BYTES + 1), Err("entity_too_large"));
        assert_eq!(
            span(exact(1, MAX_PART_BYTES), MAX_PART_BYTES + 1),
            Ok((1, MAX_PART_BYTES + 1))
        );
    }
}
