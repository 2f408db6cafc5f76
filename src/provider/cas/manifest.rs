//! What has to be kept of a file so that another process can compose it with others, without its bytes.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use xet_core_structures::merklehash::MerkleHash;
use xet_core_structures::merklehash::data_hash::hex::serde as hex_hash;

use super::file_hash::{content_hash, file_hash};
use super::hash_fold::HashFold;
use super::xorb::{MAX_CHUNK_BYTES, MAX_CHUNKS};
use crate::storage::{ContentHash, StorageError};

/// The only version there is. A reader refuses others rather than guess.
const VERSION: u8 = 1;

/// A file as terms over xorbs, with a fold of its chunk hashes.
///
/// # Behaviour
/// - It serialises to JSON of about 10 KiB for a large part, whatever the size of its chunks.
/// - Reading validates it whole: sizes add up, and the fold has the hash that the manifest claims.
/// - It names xorbs but keeps none alive: something that the Hub knows must refer to the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct Manifest {
    pub(super) hash: MerkleHash,
    pub(super) size: u64,
    pub(super) terms: Vec<Term>,
    pub(super) chunks: HashFold,
}

/// A range of chunks of one xorb, end exclusive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Term {
    #[serde(with = "hex_hash")]
    pub(super) xorb: MerkleHash,
    pub(super) start: u32,
    pub(super) end: u32,
    /// Bytes of the chunks, decompressed.
    pub(super) bytes: u32,
    /// Proves to the CAS that the writer knows the chunks, in place of their bytes.
    #[serde(with = "hex_hash")]
    pub(super) range_hash: MerkleHash,
}

impl Manifest {
    /// Joins terms with the fold of the same chunks.
    pub(super) fn new(terms: Vec<Term>, chunks: HashFold) -> Self {
        Self {
            hash: file_hash(&chunks),
            size: terms.iter().map(|term| u64::from(term.bytes)).sum(),
            terms,
            chunks,
        }
    }

    /// Returns the hash of the file.
    pub fn hash(&self) -> ContentHash {
        content_hash(self.hash)
    }

    /// Returns the size of the file in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns roughly what the manifest occupies in memory, in bytes.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(self.terms.as_slice()) + self.chunks.memory_bytes()
    }

    /// Returns the serialised manifest.
    ///
    /// Errors: [`StorageError::Internal`], which would be a defect.
    pub fn to_bytes(&self) -> Result<Bytes, StorageError> {
        serde_json::to_vec(self)
            .map(Bytes::from)
            .map_err(|error| StorageError::internal(format!("manifest: {error}")))
    }

    /// Reads a serialised manifest.
    ///
    /// Errors: [`StorageError::Internal`] for anything that [`Manifest::to_bytes`] cannot have written.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StorageError> {
        serde_json::from_slice(bytes)
            .map_err(|error| StorageError::internal(format!("manifest: {error}")))
    }
}

/// The serialised form.
#[derive(Serialize, Deserialize)]
struct Wire {
    version: u8,
    #[serde(with = "hex_hash")]
    hash: MerkleHash,
    size: u64,
    terms: Vec<Term>,
    chunks: HashFold,
}

impl From<Manifest> for Wire {
    fn from(manifest: Manifest) -> Self {
        Self {
            version: VERSION,
            hash: manifest.hash,
            size: manifest.size,
            terms: manifest.terms,
            chunks: manifest.chunks,
        }
    }
}

impl TryFrom<Wire> for Manifest {
    type Error = String;

    fn try_from(wire: Wire) -> Result<Self, String> {
        if wire.version != VERSION {
            return Err(format!("unknown version {}", wire.version));
        }
        if !wire.terms.iter().all(Term::is_sound) {
            return Err("a term is out of bounds".into());
        }
        if wire.chunks.size() != Some(wire.size) {
            return Err("the chunks have another size".into());
        }
        let read = Self::new(wire.terms, wire.chunks);
        if read.size != wire.size {
            return Err("the terms have another size".into());
        }
        if read.hash != wire.hash {
            return Err("the chunks have another hash".into());
        }
        Ok(read)
    }
}

impl Term {
    fn is_sound(&self) -> bool {
        let chunks = u64::from(self.end.saturating_sub(self.start));
        self.start < self.end
            && self.end as usize <= MAX_CHUNKS
            && self.bytes > 0
            && u64::from(self.bytes) <= chunks * MAX_CHUNK_BYTES as u64
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use xet_core_structures::merklehash::compute_data_hash;

    use super::super::file_hash::FileHasher;
    use super::*;

    fn manifest(chunks: u32) -> Manifest {
        let mut hasher = FileHasher::default();
        for n in 0..chunks {
            hasher.push((compute_data_hash(&n.to_le_bytes()), 65_536));
        }
        let terms = (0..chunks).step_by(1000).map(|start| {
            let end = chunks.min(start + 1000);
            Term {
                xorb: compute_data_hash(b"xorb"),
                start: 0,
                end: end - start,
                bytes: (end - start) * 65_536,
                range_hash: compute_data_hash(b"range"),
            }
        });
        Manifest::new(terms.collect(), hasher.finish())
    }

    fn altered(change: impl Fn(&mut Value)) -> Result<Manifest, StorageError> {
        let mut value = serde_json::to_value(manifest(1500)).unwrap();
        change(&mut value);
        Manifest::from_bytes(&serde_json::to_vec(&value).unwrap())
    }

    #[test]
    fn a_manifest_survives_its_serialised_form() {
        for chunks in [0, 1, 2, 50, 5000] {
            let written = manifest(chunks);
            let bytes = written.to_bytes().unwrap();
            assert_eq!(Manifest::from_bytes(&bytes).unwrap(), written);
            assert_eq!(written.size(), u64::from(chunks) * 65_536);
            assert!(bytes.len() < 16 << 10, "{} bytes", bytes.len());
        }
    }

    #[test]
    fn nothing_that_was_altered_is_accepted() {
        assert!(altered(|_| ()).is_ok());
        assert!(altered(|value| value["version"] = json!(2)).is_err());
        assert!(altered(|value| value["size"] = json!(1)).is_err());
        assert!(altered(|value| value["hash"] = json!("0".repeat(64))).is_err());
        assert!(altered(|value| value["terms"] = json!([])).is_err());
        assert!(altered(|value| value["terms"][0]["end"] = json!(9000)).is_err());
        assert!(altered(|value| value["terms"][0]["start"] = json!(1000)).is_err());
        assert!(altered(|value| value["terms"][0]["bytes"] = json!(1)).is_err());
        assert!(altered(|value| value["chunks"]["flanks"] = json!([])).is_err());
        assert!(altered(|value| value["chunks"]["top"][0][1] = json!(3)).is_err());
        assert!(altered(|value| value["chunks"]["top"][0][1] = json!(u64::MAX)).is_err());
        assert!(altered(|value| value["chunks"]["top"][0][0] = json!("0".repeat(64))).is_err());
    }
}
