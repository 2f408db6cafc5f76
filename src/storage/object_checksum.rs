//! The checksum that an object keeps, and how the checksums of parts become that of their object.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::storage::StorageError;
use crate::storage::checksum::{Checksum, ChecksumAlgorithm, Digester};
use crate::storage::crc_join;

/// What a checksum is computed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChecksumKind {
    /// The object's own bytes.
    FullObject,
    /// The checksums of its parts, in their order.
    Composite,
}

impl ChecksumKind {
    /// Returns the name in capitals: `FULL_OBJECT`.
    pub fn name(self) -> &'static str {
        match self {
            Self::FullObject => "FULL_OBJECT",
            Self::Composite => "COMPOSITE",
        }
    }

    /// Returns the kind with this name, whatever its case; `None` for others.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::FullObject, Self::Composite]
            .into_iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(name))
    }
}

/// A checksum that an object keeps. Its text is `crc32-cbf43926`, or `crc32-cbf43926-3` over the checksums of three parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectChecksum {
    /// Algorithm and value.
    pub checksum: Checksum,
    /// Over the checksums of how many parts it is computed; `None` if over the object's own bytes.
    pub part_count: Option<u32>,
}

impl ObjectChecksum {
    /// Returns the checksum of an object's own bytes.
    pub fn full(checksum: Checksum) -> Self {
        Self {
            checksum,
            part_count: None,
        }
    }

    /// Returns what it is computed over.
    pub fn kind(&self) -> ChecksumKind {
        match self.part_count {
            None => ChecksumKind::FullObject,
            Some(_) => ChecksumKind::Composite,
        }
    }
}

impl fmt::Display for ObjectChecksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part_count {
            None => write!(f, "{}", self.checksum),
            Some(count) => write!(f, "{}-{count}", self.checksum),
        }
    }
}

impl FromStr for ObjectChecksum {
    type Err = StorageError;

    /// Reads the text that `Display` writes. Errors: [`StorageError::Internal`] for any other.
    fn from_str(text: &str) -> Result<Self, StorageError> {
        let malformed = |_| StorageError::internal("a kept checksum is malformed");
        match text.match_indices('-').nth(1) {
            None => Ok(Self::full(text.parse()?)),
            Some((end, _)) => Ok(Self {
                checksum: text[..end].parse()?,
                part_count: Some(text[end + 1..].parse().map_err(malformed)?),
            }),
        }
    }
}

impl TryFrom<String> for ObjectChecksum {
    type Error = StorageError;

    fn try_from(text: String) -> Result<Self, StorageError> {
        text.parse()
    }
}

impl From<ObjectChecksum> for String {
    fn from(checksum: ObjectChecksum) -> Self {
        checksum.to_string()
    }
}

/// The checksum that a multipart upload gives its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadChecksum {
    /// The algorithm, of the parts' checksums too.
    pub algorithm: ChecksumAlgorithm,
    /// What it is computed over.
    pub kind: ChecksumKind,
    /// Whether the client asked for it. If it did, parts with another algorithm are refused.
    pub is_declared: bool,
}

/// What an object gets for whose upload the client asked for nothing.
impl Default for UploadChecksum {
    fn default() -> Self {
        Self {
            algorithm: ChecksumAlgorithm::Crc64Nvme,
            kind: ChecksumKind::FullObject,
            is_declared: false,
        }
    }
}

impl UploadChecksum {
    /// Checks the algorithm of the checksum that comes with a part.
    ///
    /// Errors: [`StorageError::InvalidRequest`] if the client declared another.
    pub fn check_part(&self, algorithm: Option<ChecksumAlgorithm>) -> Result<(), StorageError> {
        match algorithm {
            Some(actual) if self.is_declared && actual != self.algorithm => {
                let names = [self.algorithm, actual].map(|one| one.name().to_ascii_lowercase());
                Err(StorageError::InvalidRequest {
                    reason: format!(
                        "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
                        names[0], names[1]
                    ),
                })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Returns the checksum of an object from its parts, each with what is known of it and its size in bytes, in order.
    ///
    /// No byte of a part is needed: CRCs can be joined, and a composite checksum is one over checksums. `None` if a part
    /// has no checksum of this algorithm, or if there is no way to get from parts to the whole, as with SHA.
    pub fn join<'a>(
        &self,
        parts: impl IntoIterator<Item = (&'a [Checksum], u64)>,
    ) -> Option<ObjectChecksum> {
        let mut known = Vec::new();
        for (checksums, size) in parts {
            let checksum = checksums
                .iter()
                .find(|checksum| checksum.algorithm == self.algorithm)?;
            known.push((checksum, size));
        }
        match self.kind {
            ChecksumKind::FullObject => {
                crc_join::join(self.algorithm, &known).map(ObjectChecksum::full)
            }
            ChecksumKind::Composite => {
                let mut digester = Digester::new(self.algorithm);
                for (checksum, _) in &known {
                    digester.update(&checksum.value);
                }
                Some(ObjectChecksum {
                    checksum: digester.finish(),
                    part_count: Some(u32::try_from(known.len()).ok()?),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Checksum {
        let mut digester = Digester::new(algorithm);
        digester.update(bytes);
        digester.finish()
    }

    fn join(
        algorithm: ChecksumAlgorithm,
        kind: ChecksumKind,
        parts: &[&[u8]],
    ) -> Option<ObjectChecksum> {
        let upload = UploadChecksum {
            algorithm,
            kind,
            is_declared: true,
        };
        let known: Vec<_> = parts
            .iter()
            .map(|part| ([of(algorithm, part)], part.len() as u64))
            .collect();
        upload.join(known.iter().map(|(known, size)| (known.as_slice(), *size)))
    }

    #[test]
    fn the_text_of_an_object_s_checksum_reads_back() {
        for text in ["crc32-cbf43926", "crc32c-e3069283-10000"] {
            let read: ObjectChecksum = text.parse().unwrap();
            assert_eq!(read.to_string(), text);
        }
        for odd in ["crc32-cbf43926-", "crc32-cbf43926-x", "crc32-cbf43926-1-2"] {
            assert!(odd.parse::<ObjectChecksum>().is_err(), "{odd}");
        }
    }

    #[test]
    fn crcs_of_parts_become_that_of_the_whole_and_others_do_not() {
        let parts: [&[u8]; 2] = [b"1234", b"56789"];
        let full = |algorithm| join(algorithm, ChecksumKind::FullObject, &parts);
        let whole = full(ChecksumAlgorithm::Crc32).unwrap();
        assert_eq!(whole.to_string(), "crc32-cbf43926");
        assert_eq!(full(ChecksumAlgorithm::Sha256), None);
    }

    /// Computed with Python: `hashlib.sha256(sha256(b"abc").digest() + sha256(b"def").digest())`, and the same with zlib.
    #[test]
    fn a_composite_checksum_is_one_over_the_checksums_of_the_parts() {
        let parts: [&[u8]; 2] = [b"abc", b"def"];
        let composite = |algorithm| {
            let joined = join(algorithm, ChecksumKind::Composite, &parts);
            joined.unwrap().to_string()
        };
        assert_eq!(composite(ChecksumAlgorithm::Crc32), "crc32-658cefca-2");
        assert_eq!(
            composite(ChecksumAlgorithm::Sha256),
            "sha256-9c04d30057b754af1b2d2d4f5675782dd61a5a659c34ee6c2af47526b66cafa6-2"
        );
    }

    #[test]
    fn only_a_declared_algorithm_binds_the_parts() {
        let declared = UploadChecksum {
            is_declared: true,
            ..UploadChecksum::default()
        };
        assert!(declared.check_part(None).is_ok());
        let own = Some(ChecksumAlgorithm::Crc64Nvme);
        assert!(declared.check_part(own).is_ok());
        let other = Some(ChecksumAlgorithm::Crc32);
        let error = declared.check_part(other).unwrap_err();
        let text = "expected checksum Type: crc64nvme, actual checksum Type: crc32";
        assert!(error.to_string().ends_with(text), "{error}");
        assert!(UploadChecksum::default().check_part(other).is_ok());
    }

    #[test]
    fn a_part_without_a_checksum_leaves_its_object_without_one() {
        let known = [of(ChecksumAlgorithm::Crc32, b"abc")];
        let upload = UploadChecksum::default();
        assert_eq!(upload.join([(known.as_slice(), 3)]), None);
        let upload = UploadChecksum {
            algorithm: ChecksumAlgorithm::Crc32,
            ..upload
        };
        assert_eq!(upload.join([(known.as_slice(), 3), (&[], 3)]), None);
        assert!(upload.join([(known.as_slice(), 3)]).is_some());
    }
}
