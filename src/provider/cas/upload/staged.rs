//! Files that are in the CAS but that nobody can see yet.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::provider::cas::manifest::Manifest;
use crate::provider::cas::xorb::XorbRecord;
use crate::storage::ContentHash;

/// Computes a second small file from the first one's hash and size.
pub type Companion = Box<dyn FnOnce(&ContentHash, u64) -> Bytes + Send>;

/// How a body is to be uploaded.
#[derive(Default)]
pub struct UploadOptions {
    /// A small file that depends on the hash and size of the body, for example its metadata. It rides in the same last
    /// xorb and in the same shard, so it costs no further call.
    pub companion: Option<Companion>,
    /// Whether the body is to be composed with others. Then no chunk below 8 KiB is left at its end, because only a file's
    /// last chunk may be that short.
    pub is_part: bool,
}

impl fmt::Debug for UploadOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadOptions")
            .field("companion", &self.companion.is_some())
            .field("is_part", &self.is_part)
            .finish()
    }
}

/// A file whose xorbs are durable in the CAS, but that no shard names yet. Clones are cheap.
#[derive(Debug, Clone)]
pub struct StagedFile {
    manifest: Arc<Manifest>,
    /// The xorbs that were created for it.
    xorbs: Arc<[Arc<XorbRecord>]>,
    companion: Option<Arc<StagedFile>>,
    saved_bytes: u64,
}

impl StagedFile {
    /// Returns the hash of the content: 64 zeros for the empty file.
    pub fn hash(&self) -> ContentHash {
        self.manifest.hash()
    }

    /// Returns the size in bytes.
    pub fn size(&self) -> u64 {
        self.manifest.size()
    }

    /// Returns what another process needs to compose the file with others.
    pub fn manifest(&self) -> Manifest {
        Manifest::clone(&self.manifest)
    }

    /// Returns the companion that was uploaded with it. It is registered together with this file.
    pub fn companion(&self) -> Option<&StagedFile> {
        self.companion.as_deref()
    }

    /// Makes a file of xorbs that the CAS holds already.
    pub(in crate::provider::cas) fn of_known_xorbs(manifest: Manifest) -> Self {
        Self::of_new_xorbs(manifest, Arc::default(), 0)
    }

    /// Makes a file of xorbs that were created for it, and of others.
    pub(in crate::provider::cas) fn of_new_xorbs(
        manifest: Manifest,
        xorbs: Arc<[Arc<XorbRecord>]>,
        saved_bytes: u64,
    ) -> Self {
        Self {
            manifest: Arc::new(manifest),
            xorbs,
            companion: None,
            saved_bytes,
        }
    }

    pub(super) fn with_companion(self, companion: Option<StagedFile>) -> Self {
        Self {
            companion: companion.map(Arc::new),
            ..self
        }
    }

    pub(in crate::provider::cas) fn xorbs(&self) -> &[Arc<XorbRecord>] {
        &self.xorbs
    }

    pub(in crate::provider::cas) fn manifest_ref(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns the bytes that needed no upload, the companion's included.
    pub(in crate::provider::cas) fn saved_bytes(&self) -> u64 {
        self.saved_bytes
    }
}
