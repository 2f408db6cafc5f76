//! Every digest that a client vouches for a body with, computed as the bytes pass.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::Md5;
use sha2::{Digest, Sha256};

use crate::sigv4::Trailer;
use crate::storage::{
    Checksum, ChecksumAlgorithm, Digester, ExpectedChecksum, Integrity, StorageError,
};

/// What trailers with a checksum begin with.
const CHECKSUM_PREFIX: &str = "x-amz-checksum-";

/// The digests of one body. Nothing is computed that nobody asked for.
pub(super) struct Digests {
    signed_sha256: Option<([u8; 32], Sha256)>,
    md5: Option<Md5>,
    checksum: Option<Digester>,
    integrity: Integrity,
}

impl Digests {
    /// Starts the digests that `integrity` and a signed payload hash call for.
    pub(super) fn new(integrity: Integrity, signed_sha256: Option<[u8; 32]>) -> Self {
        let wants_md5 = integrity.md5.is_some() || integrity.wants_md5;
        let algorithm = integrity.checksum_algorithm();
        Self {
            signed_sha256: signed_sha256.map(|signed| (signed, Sha256::new())),
            md5: wants_md5.then(Md5::new),
            checksum: algorithm.map(Digester::new),
            integrity,
        }
    }

    /// Adds bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        if let Some((_, sha256)) = &mut self.signed_sha256 {
            sha256.update(bytes);
        }
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
        if let Some(checksum) = &mut self.checksum {
            checksum.update(bytes);
        }
    }

    /// Compares everything that was announced, and leaves what was computed in the integrity's measured digests if, and
    /// only if, all of it held.
    ///
    /// Errors: `PayloadHashMismatch`, `BadDigest`, `ChecksumMismatch`, `MalformedTrailer`, `InvalidRequest` for a trailer
    /// that is no checksum.
    pub(super) fn finish(self, trailers: &[Trailer]) -> Result<(), StorageError> {
        if let Some((signed, sha256)) = self.signed_sha256 {
            let computed: [u8; 32] = sha256.finalize().into();
            if computed != signed {
                return Err(StorageError::PayloadHashMismatch {
                    signed: hex::encode(signed),
                    computed: hex::encode(computed),
                });
            }
        }
        let md5: Option<[u8; 16]> = self.md5.map(|md5| md5.finalize().into());
        if self.integrity.md5.is_some() && md5 != self.integrity.md5 {
            return Err(StorageError::BadDigest);
        }
        let computed = self.checksum.map(Digester::finish);
        check_checksum(&self.integrity, computed.as_ref(), trailers)?;
        if let Some(md5) = md5 {
            self.integrity.measured.set_md5(md5);
        }
        if let Some(computed) = computed {
            self.integrity.measured.set_checksum(computed);
        }
        Ok(())
    }
}

/// Compares the computed checksum with the header's, and with each one in the trailers.
///
/// A client may announce a trailer, send the value in a header, and no trailer (AWS SDK for Java v2): the header counts.
fn check_checksum(
    integrity: &Integrity,
    computed: Option<&Checksum>,
    trailers: &[Trailer],
) -> Result<(), StorageError> {
    let mut was_compared = false;
    if let (Some(ExpectedChecksum::Known(expected)), Some(computed)) =
        (&integrity.checksum, computed)
    {
        compare(expected, computed)?;
        was_compared = true;
    }
    for trailer in trailers {
        let Some(name) = trailer.name.strip_prefix(CHECKSUM_PREFIX) else {
            continue;
        };
        let computed = computed
            .filter(|_| integrity.checksum.is_some())
            .filter(|computed| Some(computed.algorithm) == ChecksumAlgorithm::from_name(name))
            .ok_or(StorageError::MalformedTrailer {
                reason: "its checksum is not the announced one",
            })?;
        compare(&parse(computed.algorithm, trailer)?, computed)?;
        was_compared = true;
    }
    if integrity.checksum.is_some() && !was_compared {
        return Err(StorageError::MalformedTrailer {
            reason: "the announced checksum is missing",
        });
    }
    Ok(())
}

fn parse(algorithm: ChecksumAlgorithm, trailer: &Trailer) -> Result<Checksum, StorageError> {
    let value = BASE64.decode(&trailer.value).ok();
    let value = value.filter(|value| value.len() == algorithm.len_bytes());
    let value = value.ok_or_else(|| StorageError::InvalidRequest {
        reason: format!("Value for {} trailing header is invalid.", trailer.name),
    })?;
    Ok(Checksum {
        algorithm,
        value: value.into(),
    })
}

fn compare(expected: &Checksum, computed: &Checksum) -> Result<(), StorageError> {
    if expected == computed {
        return Ok(());
    }
    Err(StorageError::ChecksumMismatch {
        algorithm: computed.algorithm,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CRC-32 of "hello", and its MD5 (RFC 1321 tools).
    const HELLO_CRC32: [u8; 4] = [0x36, 0x10, 0xa6, 0x86];
    const HELLO_MD5: &str = "5d41402abc4b2a76b9719d911017c592";

    fn md5(text: &str) -> [u8; 16] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    fn known(value: [u8; 4]) -> Option<ExpectedChecksum> {
        Some(ExpectedChecksum::Known(Checksum {
            algorithm: ChecksumAlgorithm::Crc32,
            value: value.into(),
        }))
    }

    fn trailer(name: &str, value: &str) -> Trailer {
        Trailer {
            name: name.into(),
            value: value.into(),
        }
    }

    fn of_hello(integrity: &Integrity, trailers: &[Trailer]) -> Result<(), StorageError> {
        let mut digests = Digests::new(integrity.clone(), None);
        digests.update(b"hel");
        digests.update(b"lo");
        digests.finish(trailers)
    }

    #[test]
    fn an_announced_md5_is_compared_and_measured() {
        let with = |md5| Integrity {
            md5: Some(md5),
            ..Integrity::default()
        };
        let right = with(md5(HELLO_MD5));
        assert!(of_hello(&right, &[]).is_ok());
        assert_eq!(right.measured.md5(), Some(md5(HELLO_MD5)));
        let wrong = with([0; 16]);
        assert!(matches!(
            of_hello(&wrong, &[]),
            Err(StorageError::BadDigest)
        ));
        assert_eq!(wrong.measured.md5(), None);
    }

    #[test]
    fn a_wanted_md5_is_only_measured_and_one_that_nobody_wants_is_not() {
        let wanted = Integrity {
            wants_md5: true,
            ..Integrity::default()
        };
        assert!(of_hello(&wanted, &[]).is_ok());
        assert_eq!(wanted.measured.md5(), Some(md5(HELLO_MD5)));
        let unwanted = Integrity::default();
        assert!(of_hello(&unwanted, &[]).is_ok());
        assert_eq!(unwanted.measured.md5(), None);
    }

    #[test]
    fn a_wanted_checksum_is_only_measured_and_an_announced_one_takes_its_place() {
        let wanted = Integrity {
            wants_checksum: Some(ChecksumAlgorithm::Crc32),
            ..Integrity::default()
        };
        assert!(of_hello(&wanted, &[]).is_ok());
        assert_eq!(&*wanted.measured.checksum().unwrap().value, HELLO_CRC32);
        let announced = Integrity {
            checksum: known(HELLO_CRC32),
            wants_checksum: Some(ChecksumAlgorithm::Crc64Nvme),
            ..Integrity::default()
        };
        assert!(of_hello(&announced, &[]).is_ok());
        assert_eq!(&*announced.measured.checksum().unwrap().value, HELLO_CRC32);
    }

    #[test]
    fn a_checksum_in_a_header_counts_without_its_trailer() {
        let right = Integrity {
            checksum: known(HELLO_CRC32),
            ..Integrity::default()
        };
        assert!(of_hello(&right, &[]).is_ok());
        assert_eq!(&*right.measured.checksum().unwrap().value, HELLO_CRC32);
        let wrong = Integrity {
            checksum: known([0; 4]),
            wants_md5: true,
            ..Integrity::default()
        };
        let error = of_hello(&wrong, &[]).unwrap_err();
        assert!(matches!(
            error,
            StorageError::ChecksumMismatch {
                algorithm: ChecksumAlgorithm::Crc32
            }
        ));
        assert_eq!(wrong.measured.md5(), None);
    }

    #[test]
    fn a_trailer_is_compared_even_beside_a_header() {
        let both = Integrity {
            checksum: known(HELLO_CRC32),
            ..Integrity::default()
        };
        let right = trailer("x-amz-checksum-crc32", "NhCmhg==");
        assert!(of_hello(&both, &[trailer("x-other", "1"), right]).is_ok());
        let wrong = trailer("x-amz-checksum-crc32", "AAAAAA==");
        let error = of_hello(&both, &[wrong]).unwrap_err();
        assert_eq!(error.outcome(), "checksum_mismatch");
    }

    #[test]
    fn a_checksum_trailer_that_nobody_announced_is_refused() {
        let right = [trailer("x-amz-checksum-crc32", "NhCmhg==")];
        let wanted = Integrity {
            wants_checksum: Some(ChecksumAlgorithm::Crc32),
            ..Integrity::default()
        };
        for integrity in [Integrity::default(), wanted] {
            let error = of_hello(&integrity, &right).unwrap_err();
            assert_eq!(error.outcome(), "malformed_trailer");
        }
    }
}
