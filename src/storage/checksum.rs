//! The checksums a client can vouch for a body with.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crc_fast::CrcAlgorithm;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::storage::StorageError;

/// A checksum algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChecksumAlgorithm {
    /// CRC-32 (ISO-HDLC), 4 bytes.
    Crc32,
    /// CRC-32C (Castagnoli, iSCSI), 4 bytes.
    Crc32c,
    /// CRC-64/NVME, 8 bytes.
    Crc64Nvme,
    /// SHA-1, 20 bytes.
    Sha1,
    /// SHA-256, 32 bytes.
    Sha256,
}

impl ChecksumAlgorithm {
    /// All algorithms.
    pub const ALL: [Self; 5] = [
        Self::Crc32,
        Self::Crc32c,
        Self::Crc64Nvme,
        Self::Sha1,
        Self::Sha256,
    ];

    /// Returns the name in capitals without punctuation: `CRC32C`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// Returns the algorithm with this name, whatever its case; `None` for others.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// Returns the length of a value in bytes.
    pub fn len_bytes(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// Reports whether checksums of pieces can be joined to that of the whole.
    pub fn is_crc(self) -> bool {
        self.crc().is_some()
    }

    pub(super) fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Self::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Self::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Self::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            Self::Sha1 | Self::Sha256 => None,
        }
    }
}

/// A checksum's value, big-endian for CRCs. Its text, in file names and documents of our own, is `crc32-cbf43926`.
#[derive(Clone, PartialEq, Eq)]
pub struct Checksum {
    /// How it was computed.
    pub algorithm: ChecksumAlgorithm,
    /// The value; [`ChecksumAlgorithm::len_bytes`] long.
    pub value: Arc<[u8]>,
}

impl Checksum {
    pub(super) fn of_crc(algorithm: ChecksumAlgorithm, crc: u64) -> Self {
        let wide = crc.to_be_bytes();
        Self {
            algorithm,
            value: wide[8 - algorithm.len_bytes()..].into(),
        }
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.algorithm.name().to_ascii_lowercase();
        write!(f, "{name}-{}", hex::encode(&self.value))
    }
}

impl FromStr for Checksum {
    type Err = StorageError;

    /// Reads the text that `Display` writes. Errors: [`StorageError::Internal`] for any other.
    fn from_str(text: &str) -> Result<Self, StorageError> {
        let read = text.split_once('-').and_then(|(name, value)| {
            let algorithm = ChecksumAlgorithm::from_name(name)?;
            let value = hex::decode(value).ok()?;
            (value.len() == algorithm.len_bytes()).then(|| Self {
                algorithm,
                value: value.into(),
            })
        });
        read.ok_or_else(|| StorageError::internal("a kept checksum is malformed"))
    }
}

/// Computes one checksum over frames as they pass.
pub struct Digester {
    algorithm: ChecksumAlgorithm,
    state: State,
}

enum State {
    Crc(crc_fast::Digest),
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
}

impl Digester {
    /// Starts a checksum.
    pub fn new(algorithm: ChecksumAlgorithm) -> Self {
        let state = match algorithm {
            ChecksumAlgorithm::Crc32 => {
                State::Crc(crc_fast::Digest::new(CrcAlgorithm::Crc32IsoHdlc))
            }
            ChecksumAlgorithm::Crc32c => {
                State::Crc(crc_fast::Digest::new(CrcAlgorithm::Crc32Iscsi))
            }
            ChecksumAlgorithm::Crc64Nvme => {
                State::Crc(crc_fast::Digest::new(CrcAlgorithm::Crc64Nvme))
            }
            ChecksumAlgorithm::Sha1 => State::Sha1(sha1::Sha1::new()),
            ChecksumAlgorithm::Sha256 => State::Sha256(sha2::Sha256::new()),
        };
        Self { algorithm, state }
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Crc(digest) => digest.update(bytes),
            State::Sha1(digest) => digest.update(bytes),
            State::Sha256(digest) => digest.update(bytes),
        }
    }

    /// Returns the checksum of everything added.
    pub fn finish(self) -> Checksum {
        let value: Arc<[u8]> = match self.state {
            State::Crc(digest) => return Checksum::of_crc(self.algorithm, digest.finalize()),
            State::Sha1(digest) => digest.finalize().as_slice().into(),
            State::Sha256(digest) => digest.finalize().as_slice().into(),
        };
        Checksum {
            algorithm: self.algorithm,
            value,
        }
    }
}

impl fmt::Debug for Digester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Digester")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check values of "123456789": the CRC catalogue of reveng for the CRCs, FIPS 180 tools for SHA.
    #[test]
    fn known_answers() {
        let expected = [
            (ChecksumAlgorithm::Crc32, "cbf43926"),
            (ChecksumAlgorithm::Crc32c, "e3069283"),
            (ChecksumAlgorithm::Crc64Nvme, "ae8b14860a799888"),
            (
                ChecksumAlgorithm::Sha1,
                "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
            ),
            (
                ChecksumAlgorithm::Sha256,
                "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
            ),
        ];
        for (algorithm, value) in expected {
            let mut digester = Digester::new(algorithm);
            digester.update(b"1234");
            digester.update(b"56789");
            let checksum = digester.finish();
            assert_eq!(hex::encode(&checksum.value), value, "{algorithm:?}");
            assert_eq!(checksum.value.len(), algorithm.len_bytes());
        }
    }

    #[test]
    fn the_text_of_a_checksum_reads_back() {
        let mut digester = Digester::new(ChecksumAlgorithm::Crc64Nvme);
        digester.update(b"123456789");
        let checksum = digester.finish();
        assert_eq!(checksum.to_string(), "crc64nvme-ae8b14860a799888");
        assert_eq!(checksum.to_string().parse::<Checksum>().unwrap(), checksum);
        for odd in [
            "",
            "crc32",
            "crc32-cbf439",
            "crc32-cbf4392x",
            "md5-cbf43926",
        ] {
            assert!(odd.parse::<Checksum>().is_err(), "{odd}");
        }
    }

    #[test]
    fn names_are_found_whatever_their_case() {
        assert_eq!(
            ChecksumAlgorithm::from_name("crc64nvme"),
            Some(ChecksumAlgorithm::Crc64Nvme)
        );
        assert_eq!(ChecksumAlgorithm::from_name("MD4"), None);
    }
}
