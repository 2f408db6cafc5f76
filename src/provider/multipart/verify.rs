//! What a completion claims of its parts and of the object, compared with what is known of the parts.
//!
//! It happens before anything is composed, and without a byte of content: a claim that fails leaves the upload as it was.

use crate::provider::multipart::complete::FoundPart;
use crate::storage::{
    ChecksumKind, CompleteUpload, ObjectChecksum, ObjectClaims, StorageError, UploadChecksum,
};

/// Returns the checksum of the object, if it follows from those of its parts.
///
/// Errors: [`StorageError::InvalidPart`] for a part with another checksum than the one named;
/// [`StorageError::ChecksumMismatch`] for an object with another; [`StorageError::InvalidRequest`] for another size or kind,
/// and for a checksum that cannot be judged, since a claim is never ignored.
pub(super) fn verify(
    upload: UploadChecksum,
    operation: &CompleteUpload,
    parts: &[FoundPart],
) -> Result<Option<ObjectChecksum>, StorageError> {
    for (named, part) in operation.parts.iter().zip(parts) {
        let is_known = |claimed| part.checksums.contains(claimed);
        if !named.checksums.iter().all(is_known) {
            return Err(StorageError::InvalidPart {
                part_number: named.part_number.get(),
            });
        }
    }
    check_size(&operation.claims, parts)?;
    check_kind(&operation.claims, upload)?;
    if let Some(claimed) = &operation.claims.checksum {
        check_checksum(claimed, upload, parts)?;
    }
    Ok(join(upload, parts))
}

fn check_size(claims: &ObjectClaims, parts: &[FoundPart]) -> Result<(), StorageError> {
    let size: u64 = parts.iter().map(|part| part.size).sum();
    match claims.size {
        Some(claimed) if claimed != size => Err(invalid(format!(
            "The provided 'x-amz-mp-object-size' header value {claimed} does not match what was computed: {size}"
        ))),
        Some(_) | None => Ok(()),
    }
}

fn check_kind(claims: &ObjectClaims, upload: UploadChecksum) -> Result<(), StorageError> {
    match claims.kind {
        Some(claimed) if claimed != upload.kind => Err(invalid(format!(
            "The upload was created using the {} checksum mode. The complete request must use the same checksum mode.",
            upload.kind.name()
        ))),
        Some(_) | None => Ok(()),
    }
}

fn check_checksum(
    claimed: &ObjectChecksum,
    upload: UploadChecksum,
    parts: &[FoundPart],
) -> Result<(), StorageError> {
    let algorithm = claimed.checksum.algorithm;
    upload.check_part(Some(algorithm))?;
    // Where nothing was declared, the parts may have come with checksums from which this one follows.
    let kind = match algorithm {
        same if same == upload.algorithm => upload.kind,
        other if other.is_crc() => ChecksumKind::FullObject,
        _ => ChecksumKind::Composite,
    };
    let judged = UploadChecksum {
        algorithm,
        kind,
        ..upload
    };
    let Some(actual) = join(judged, parts) else {
        return Err(invalid(format!(
            "The {} of the object cannot be verified: not every part was uploaded with one.",
            algorithm.name()
        )));
    };
    let has_count = claimed.part_count.is_none() || claimed.part_count == actual.part_count;
    if claimed.checksum == actual.checksum && has_count {
        Ok(())
    } else {
        Err(StorageError::ChecksumMismatch { algorithm })
    }
}

fn join(upload: UploadChecksum, parts: &[FoundPart]) -> Option<ObjectChecksum> {
    upload.join(
        parts
            .iter()
            .map(|part| (part.checksums.as_slice(), part.size)),
    )
}

fn invalid(reason: String) -> StorageError {
    StorageError::InvalidRequest { reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::multipart::complete::tests::{file, hash};
    use crate::storage::{
        BucketName, ChecksumAlgorithm, NamedPart, ObjectKey, PartNumber, UploadId, WriteConditions,
    };

    /// CRC-32 of `1234` and of `56789`, which make the check value of the catalogue.
    const PARTS: [(&str, u64); 2] = [("crc32-9be3e0a3", 4), ("crc32-131da070", 5)];

    fn parts() -> Vec<FoundPart> {
        let part = |(checksum, size): (&str, u64)| FoundPart {
            hash: hash('a'),
            size,
            manifest: file("x".into(), 1),
            checksums: vec![checksum.parse().unwrap()],
        };
        PARTS.into_iter().map(part).collect()
    }

    fn crc32(kind: ChecksumKind) -> UploadChecksum {
        UploadChecksum {
            algorithm: ChecksumAlgorithm::Crc32,
            kind,
            is_declared: true,
        }
    }

    fn complete(of_parts: [&str; 2], claims: ObjectClaims) -> CompleteUpload {
        let named = of_parts
            .iter()
            .zip(1..)
            .map(|(checksum, number)| NamedPart {
                part_number: PartNumber::new(number).unwrap(),
                etag: "x".into(),
                checksums: checksum.parse().into_iter().collect(),
            });
        CompleteUpload {
            bucket: BucketName::new("b").unwrap(),
            key: ObjectKey::new("k").unwrap(),
            upload_id: UploadId::random(),
            conditions: WriteConditions::default(),
            parts: named.collect(),
            claims,
        }
    }

    fn outcome(upload: UploadChecksum, claims: ObjectClaims) -> Result<String, &'static str> {
        let verified = verify(upload, &complete(["", ""], claims), &parts());
        let shown = |checksum: Option<ObjectChecksum>| {
            checksum.map_or("none".to_owned(), |checksum| checksum.to_string())
        };
        verified.map(shown).map_err(|error| error.outcome())
    }

    fn claim(checksum: &str) -> ObjectClaims {
        ObjectClaims {
            checksum: Some(checksum.parse().unwrap()),
            ..ObjectClaims::default()
        }
    }

    #[test]
    fn named_checksums_of_parts_must_be_theirs() {
        let upload = crc32(ChecksumKind::Composite);
        let verdict = |of_parts| {
            let operation = complete(of_parts, ObjectClaims::default());
            verify(upload, &operation, &parts()).map_err(|error| error.outcome())
        };
        assert!(verdict([PARTS[0].0, PARTS[1].0]).is_ok());
        assert!(verdict([PARTS[0].0, ""]).is_ok());
        assert_eq!(verdict([PARTS[1].0, PARTS[0].0]), Err("invalid_part"));
        assert_eq!(
            verdict(["sha1-98f3bc1d808e04732adf679965ccc34ca7ae3441", ""]),
            Err("invalid_part")
        );
    }

    #[test]
    fn a_claimed_checksum_must_follow_from_the_parts() {
        let full = crc32(ChecksumKind::FullObject);
        let whole = "crc32-cbf43926".to_owned();
        assert_eq!(outcome(full, ObjectClaims::default()), Ok(whole.clone()));
        assert_eq!(outcome(full, claim("crc32-cbf43926")), Ok(whole));
        for wrong in ["crc32-cbf43927", "crc32-cbf43926-2"] {
            assert_eq!(outcome(full, claim(wrong)), Err("checksum_mismatch"));
        }
        assert_eq!(
            outcome(full, claim("crc32c-e3069283")),
            Err("invalid_request")
        );
        let composite = crc32(ChecksumKind::Composite);
        let over_two = outcome(composite, ObjectClaims::default()).unwrap();
        assert!(over_two.ends_with("-2"));
        assert_eq!(outcome(composite, claim(&over_two)), Ok(over_two.clone()));
        let without_count = &over_two[..over_two.len() - 2];
        assert_eq!(outcome(composite, claim(without_count)), Ok(over_two));
        assert_eq!(
            outcome(composite, claim("crc32-cbf43926")),
            Err("checksum_mismatch")
        );
    }

    #[test]
    fn an_undeclared_claim_is_judged_where_it_can_be_and_refused_where_not() {
        let upload = UploadChecksum::default();
        assert_eq!(
            outcome(upload, claim("crc32-cbf43926")),
            Ok("none".to_owned())
        );
        assert_eq!(
            outcome(upload, claim("crc32-00000000")),
            Err("checksum_mismatch")
        );
        assert_eq!(
            outcome(upload, claim("crc64nvme-ae8b14860a799888")),
            Err("invalid_request")
        );
    }

    #[test]
    fn size_and_kind_must_be_the_upload_s() {
        let upload = crc32(ChecksumKind::Composite);
        let size = |size| ObjectClaims {
            size: Some(size),
            ..ObjectClaims::default()
        };
        assert!(outcome(upload, size(9)).is_ok());
        assert_eq!(outcome(upload, size(10)), Err("invalid_request"));
        let kind = |kind| ObjectClaims {
            kind: Some(kind),
            ..ObjectClaims::default()
        };
        assert!(outcome(upload, kind(ChecksumKind::Composite)).is_ok());
        assert_eq!(
            outcome(upload, kind(ChecksumKind::FullObject)),
            Err("invalid_request")
        );
    }
}
