//! Manifests of parts, in memory.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use crate::provider::cas::Manifest;
use crate::storage::{BucketId, ContentHash};

/// Memory of all manifests together: those of about 10,000 parts of 8 MiB, the most that an upload may have.
const MAX_BYTES: u64 = 64 << 20;

/// How long a manifest is kept. Its part may be completed later all the same: then it is read from the bucket.
const LIFE: Duration = Duration::from_secs(3600);

/// The manifests of the parts that this process took, by the content of the part; the least used ones make room.
#[derive(Debug)]
pub(super) struct Manifests(Cache<(BucketId, ContentHash), Arc<Manifest>>);

impl Default for Manifests {
    fn default() -> Self {
        Self::with_max_bytes(MAX_BYTES)
    }
}

impl Manifests {
    fn with_max_bytes(max_bytes: u64) -> Self {
        let weigh =
            |manifest: &Manifest| u32::try_from(manifest.memory_bytes()).unwrap_or(u32::MAX);
        let manifests = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(move |_, manifest: &Arc<Manifest>| weigh(manifest))
            .time_to_live(LIFE);
        Self(manifests.build())
    }

    /// Remembers the manifest of a part that was registered.
    pub(super) fn insert(&self, bucket: &BucketId, manifest: Manifest) {
        let key = (bucket.clone(), manifest.hash());
        self.0.insert(key, Arc::new(manifest));
    }

    /// Returns the manifest of a part, if it is remembered.
    pub(super) fn get(&self, bucket: &BucketId, part: &ContentHash) -> Option<Arc<Manifest>> {
        self.0.get(&(bucket.clone(), *part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::cas::Composition;
    use crate::storage::{BucketName, Namespace};

    fn bucket(name: &str) -> BucketId {
        BucketId {
            namespace: Namespace::new("acme").unwrap(),
            name: BucketName::new(name).unwrap(),
        }
    }

    fn manifest() -> Manifest {
        Composition::default().finish().manifest()
    }

    #[test]
    fn a_manifest_is_remembered_for_its_bucket_alone() {
        let manifests = Manifests::default();
        manifests.insert(&bucket("one"), manifest());
        assert!(manifests.get(&bucket("one"), &ContentHash::EMPTY).is_some());
        assert!(manifests.get(&bucket("two"), &ContentHash::EMPTY).is_none());
    }

    #[test]
    fn memory_is_bounded() {
        let each = manifest().memory_bytes() as u64;
        let manifests = Manifests::with_max_bytes(10 * each);
        for n in 0..100 {
            manifests.insert(&bucket(&format!("b-{n}")), manifest());
        }
        manifests.0.run_pending_tasks();
        assert!((1..=10).contains(&manifests.0.entry_count()));
    }
}
