//! A client's body together with what the client vouches for.

use std::sync::{Arc, OnceLock};

use crate::storage::body::ByteStream;
use crate::storage::checksum::{Checksum, ChecksumAlgorithm};

/// The body of a write, and what must hold for it before anything is committed.
///
/// The auth layer turns the stream as received into the stream of the object's own bytes (framing removed, signatures
/// and digests verified); what reaches the provider ends with an error unless everything held.
#[derive(Debug)]
pub struct Payload {
    /// The bytes.
    pub body: ByteStream,
    /// What the client says about them.
    pub integrity: Integrity,
}

impl Payload {
    /// Wraps a body for which nothing was announced.
    pub fn unchecked(body: ByteStream) -> Self {
        Self {
            body,
            integrity: Integrity::default(),
        }
    }
}

/// What a client announces about a body.
#[derive(Debug, Default, Clone)]
pub struct Integrity {
    /// Content-MD5: computed and compared only when given.
    pub md5: Option<[u8; 16]>,
    /// A checksum given beforehand, or announced for the trailer.
    pub checksum: Option<ExpectedChecksum>,
    /// Computes an MD5 even without Content-MD5, for the few clients that insist on one in the answer.
    pub wants_md5: bool,
    /// Computes a checksum although none was announced, so that it can be kept with the object.
    pub wants_checksum: Option<ChecksumAlgorithm>,
    /// Where the verifying stream leaves what it computed, once the body has ended well.
    pub measured: MeasuredDigests,
}

impl Integrity {
    /// Returns the algorithm of the checksum that is computed: the announced one, else the wanted one.
    pub fn checksum_algorithm(&self) -> Option<ChecksumAlgorithm> {
        let announced = self.checksum.as_ref().map(ExpectedChecksum::algorithm);
        announced.or(self.wants_checksum)
    }
}

/// A checksum that the body must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExpectedChecksum {
    /// Given in a header.
    Known(Checksum),
    /// Announced; its value comes in the trailer.
    InTrailer(ChecksumAlgorithm),
}

impl ExpectedChecksum {
    /// Returns the algorithm.
    pub fn algorithm(&self) -> ChecksumAlgorithm {
        match self {
            Self::Known(checksum) => checksum.algorithm,
            Self::InTrailer(algorithm) => *algorithm,
        }
    }
}

/// Digests that were computed while a body passed: shared between the stream that fills it and the adapter that answers.
///
/// Empty until the body has ended well.
#[derive(Debug, Default, Clone)]
pub struct MeasuredDigests(Arc<Measured>);

#[derive(Debug, Default)]
struct Measured {
    md5: OnceLock<[u8; 16]>,
    checksum: OnceLock<Checksum>,
}

impl MeasuredDigests {
    /// Returns the MD5, if one was asked for and the body has ended well.
    pub fn md5(&self) -> Option<[u8; 16]> {
        self.0.md5.get().copied()
    }

    /// Returns the checksum, if one was announced or wanted and the body has ended well.
    pub fn checksum(&self) -> Option<&Checksum> {
        self.0.checksum.get()
    }

    /// Leaves the MD5. Only the first value counts.
    pub fn set_md5(&self, md5: [u8; 16]) {
        let _ = self.0.md5.set(md5);
    }

    /// Leaves the checksum. Only the first value counts.
    pub fn set_checksum(&self, checksum: Checksum) {
        let _ = self.0.checksum.set(checksum);
    }
}
