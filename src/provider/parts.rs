//! The parts that an object was uploaded in.
//!
//! A completed upload leaves the sizes of its parts, and their checksums if these are kept, in the object's sidecar, bound to
//! its content like everything in there. They are read only when somebody asks for a part: nobody else pays for them.

use std::sync::Arc;

use crate::provider::HfProvider;
use crate::provider::cas::FileRef;
use crate::provider::sidecar::{self, Binding};
use crate::storage::{
    BucketId, DescribeObject, FoundPart, ObjectDescription, ObjectInfo, ObjectParts, PartNumber,
    ResolvedRange, StorageError, Tenant,
};

impl HfProvider {
    /// Looks an object up together with its parts.
    pub(super) async fn describe_object(
        &self,
        tenant: &Tenant,
        operation: DescribeObject,
    ) -> Result<ObjectDescription, StorageError> {
        let bucket = tenant.bucket(&operation.bucket);
        let info = self.resolve(tenant, &bucket, &operation.key).await?;
        operation.conditions.check(&info)?;
        let parts = match operation.wants_parts {
            true => self.parts_of(tenant, &bucket, &info).await?,
            false => None,
        };
        Ok(ObjectDescription {
            info,
            parts: parts.map(Arc::new),
        })
    }

    /// Returns a part of an object.
    ///
    /// Errors: [`StorageError::NoSuchPart`].
    pub(super) async fn find_part(
        &self,
        tenant: &Tenant,
        bucket: &BucketId,
        info: &ObjectInfo,
        number: PartNumber,
    ) -> Result<FoundPart, StorageError> {
        let parts = self.parts_of(tenant, bucket, info).await?;
        let sizes = parts.as_ref().map(|parts| parts.sizes.as_slice());
        part_of(info.size, sizes, number)
    }

    /// Returns an object's parts; `None` if it was uploaded whole.
    async fn parts_of(
        &self,
        tenant: &Tenant,
        bucket: &BucketId,
        info: &ObjectInfo,
    ) -> Result<Option<ObjectParts>, StorageError> {
        let Some(file) = info.parts_file else {
            return Ok(None);
        };
        let file = FileRef {
            hash: file.hash,
            size: file.size,
        };
        let access = self.access(tenant, bucket);
        let content = self.0.cas.open(&access, file, None).await?;
        let content = content.collect(sidecar::MAX_SIDECAR_BYTES).await?;
        let attached = sidecar::decode(&content, &Binding::of_info(info));
        let parts = attached.map(|attached| attached.parts);
        // A file that contradicts the object tells nothing about it.
        Ok(parts.filter(|parts| parts.are_of(info.size)))
    }
}

/// Finds a part by its number. An object that was uploaded whole is its own first part.
fn part_of(
    size: u64,
    sizes: Option<&[u64]>,
    number: PartNumber,
) -> Result<FoundPart, StorageError> {
    let whole = [size];
    let part_number = number.get();
    let index = part_number as usize - 1;
    let part_sizes = sizes.unwrap_or(&whole);
    let Some(len_bytes) = part_sizes.get(index) else {
        return Err(StorageError::NoSuchPart { part_number });
    };
    let start = part_sizes[..index].iter().sum();
    let end = start + len_bytes;
    Ok(FoundPart {
        range: (start < end).then_some(ResolvedRange { start, end }),
        count: sizes.and_then(|sizes| u32::try_from(sizes.len()).ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(size: u64, sizes: Option<&[u64]>, number: u32) -> Option<(u64, u64, Option<u32>)> {
        let found = part_of(size, sizes, PartNumber::new(number).unwrap()).ok()?;
        let range = found.range.map_or((0, 0), |range| (range.start, range.end));
        Some((range.0, range.1, found.count))
    }

    #[test]
    fn a_part_lies_behind_those_before_it() {
        let sizes = [5, 7, 1];
        assert_eq!(found(13, Some(&sizes), 1), Some((0, 5, Some(3))));
        assert_eq!(found(13, Some(&sizes), 2), Some((5, 12, Some(3))));
        assert_eq!(found(13, Some(&sizes), 3), Some((12, 13, Some(3))));
        assert_eq!(found(13, Some(&sizes), 4), None);
    }

    #[test]
    fn an_object_uploaded_whole_is_its_own_first_part() {
        assert_eq!(found(13, None, 1), Some((0, 13, None)));
        assert_eq!(found(13, None, 2), None);
        assert_eq!(found(0, None, 1), Some((0, 0, None)));
        assert_eq!(found(0, Some(&[0]), 1), Some((0, 0, Some(1))));
    }
}
