//! Checksums of objects: what an upload is to get, and what answers show, in headers and in documents.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::s3::fault::Fault;
use crate::s3::header::{self as s3_header, text};
use crate::s3::xml::Document;
use crate::storage::{Checksum, ChecksumAlgorithm, ChecksumKind, ObjectChecksum, UploadChecksum};

/// Reports whether a read asks for the checksum that is kept with the object.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    text(headers, "x-amz-checksum-mode").is_some_and(|mode| mode.eq_ignore_ascii_case("ENABLED"))
}

/// Reads the checksum that an upload is to give its object. Source: AWS, "Checking object integrity": CRC64NVME is always of
/// the full object, SHA always composite, and the other CRCs either, composite by default.
///
/// Errors: InvalidRequest for unknown names, and for a kind that the algorithm does not have.
pub(super) fn of_upload(headers: &HeaderMap) -> Result<UploadChecksum, Fault> {
    let kind = kind(headers)?;
    let Some(name) = text(headers, "x-amz-checksum-algorithm") else {
        return match kind {
            None => Ok(UploadChecksum::default()),
            Some(_) => Err(Fault::invalid_request(
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
            )),
        };
    };
    let algorithm = ChecksumAlgorithm::from_name(name).ok_or_else(|| {
        Fault::invalid_request(
            "Checksum algorithm provided is unsupported. Please try again with any of the valid types: \
             [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]",
        )
    })?;
    let kinds: &[ChecksumKind] = match algorithm {
        ChecksumAlgorithm::Crc32 | ChecksumAlgorithm::Crc32c => {
            &[ChecksumKind::Composite, ChecksumKind::FullObject]
        }
        ChecksumAlgorithm::Crc64Nvme => &[ChecksumKind::FullObject],
        ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256 => &[ChecksumKind::Composite],
    };
    let kind = kind.unwrap_or(kinds[0]);
    if !kinds.contains(&kind) {
        return Err(Fault::invalid_request(format!(
            "The {} checksum type cannot be used with the {} checksum algorithm.",
            kind.name(),
            algorithm.name().to_ascii_lowercase()
        )));
    }
    Ok(UploadChecksum {
        algorithm,
        kind,
        is_declared: true,
    })
}

/// Reads what a checksum is computed over.
///
/// Errors: InvalidRequest.
pub(super) fn kind(headers: &HeaderMap) -> Result<Option<ChecksumKind>, Fault> {
    let Some(name) = headers.get(s3_header::CHECKSUM_TYPE) else {
        return Ok(None);
    };
    let kind = name.to_str().ok().and_then(ChecksumKind::from_name);
    kind.map(Some)
        .ok_or_else(|| Fault::invalid_request("Value for x-amz-checksum-type header is invalid."))
}

/// Writes what an upload was declared with into the answer to its creation.
pub(super) fn write_declared(upload: UploadChecksum, headers: &mut HeaderMap) {
    if upload.is_declared {
        let algorithm = HeaderValue::from_static(upload.algorithm.name());
        headers.insert(s3_header::CHECKSUM_ALGORITHM, algorithm);
        let kind = HeaderValue::from_static(upload.kind.name());
        headers.insert(s3_header::CHECKSUM_TYPE, kind);
    }
}

/// Writes a checksum's value and kind into an answer.
pub(super) fn write(checksum: &ObjectChecksum, headers: &mut HeaderMap) {
    headers.insert(
        name(checksum.checksum.algorithm),
        s3_header::value(&shown(checksum)),
    );
    let kind = HeaderValue::from_static(checksum.kind().name());
    headers.insert(s3_header::CHECKSUM_TYPE, kind);
}

/// Writes the checksum of a part, which has no kind, into an answer.
pub(super) fn write_of_part(checksum: &Checksum, headers: &mut HeaderMap) {
    let value = BASE64.encode(&checksum.value);
    headers.insert(name(checksum.algorithm), s3_header::value(&value));
}

/// Writes a checksum's value and kind into a document.
pub(super) fn write_elements(checksum: &ObjectChecksum, document: &mut Document) {
    let algorithm = checksum.checksum.algorithm.name();
    document.text(&format!("Checksum{algorithm}"), &shown(checksum));
    document.text("ChecksumType", checksum.kind().name());
}

/// Writes the checksum of a part into a document.
pub(super) fn write_element_of_part(checksum: &Checksum, document: &mut Document) {
    let name = format!("Checksum{}", checksum.algorithm.name());
    document.text(&name, &BASE64.encode(&checksum.value));
}

/// Returns the value as S3 shows it: base64, and how many parts it is composed of.
fn shown(checksum: &ObjectChecksum) -> String {
    let value = BASE64.encode(&checksum.checksum.value);
    match checksum.part_count {
        None => value,
        Some(count) => format!("{value}-{count}"),
    }
}

fn name(algorithm: ChecksumAlgorithm) -> HeaderName {
    HeaderName::from_static(match algorithm {
        ChecksumAlgorithm::Crc32 => "x-amz-checksum-crc32",
        ChecksumAlgorithm::Crc32c => "x-amz-checksum-crc32c",
        ChecksumAlgorithm::Crc64Nvme => "x-amz-checksum-crc64nvme",
        ChecksumAlgorithm::Sha1 => "x-amz-checksum-sha1",
        ChecksumAlgorithm::Sha256 => "x-amz-checksum-sha256",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_shown_in_base64_with_the_count_of_its_parts() {
        for (kept, value, kind) in [
            ("crc32-cbf43926", "y/Q5Jg==", "FULL_OBJECT"),
            ("crc32-cbf43926-3", "y/Q5Jg==-3", "COMPOSITE"),
        ] {
            let kept: ObjectChecksum = kept.parse().unwrap();
            let mut headers = HeaderMap::new();
            write(&kept, &mut headers);
            assert_eq!(headers["x-amz-checksum-crc32"], value);
            assert_eq!(headers["x-amz-checksum-type"], kind);
            let mut document = Document::fragment();
            write_elements(&kept, &mut document);
            assert_eq!(
                document.to_string(),
                format!(
                    "<ChecksumCRC32>{value}</ChecksumCRC32><ChecksumType>{kind}</ChecksumType>"
                )
            );
        }
    }

    #[test]
    fn an_upload_gets_what_its_algorithm_allows() {
        let read = |algorithm: &'static str, kind: &'static str| {
            let lines = [
                ("x-amz-checksum-algorithm", algorithm),
                ("x-amz-checksum-type", kind),
            ];
            let headers = lines.iter().filter(|(_, value)| !value.is_empty());
            let headers = headers.map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            });
            of_upload(&headers.collect())
                .map(|upload| {
                    (
                        upload.algorithm.name(),
                        upload.kind.name(),
                        upload.is_declared,
                    )
                })
                .map_err(|fault| (fault.code, fault.message))
        };
        for (algorithm, kind, outcome) in [
            ("", "", ("CRC64NVME", "FULL_OBJECT", false)),
            ("CRC32", "", ("CRC32", "COMPOSITE", true)),
            ("crc32c", "", ("CRC32C", "COMPOSITE", true)),
            ("CRC32C", "FULL_OBJECT", ("CRC32C", "FULL_OBJECT", true)),
            ("CRC32", "COMPOSITE", ("CRC32", "COMPOSITE", true)),
            ("CRC64NVME", "", ("CRC64NVME", "FULL_OBJECT", true)),
            ("SHA1", "", ("SHA1", "COMPOSITE", true)),
            ("SHA256", "COMPOSITE", ("SHA256", "COMPOSITE", true)),
        ] {
            assert_eq!(read(algorithm, kind), Ok(outcome), "{algorithm} {kind}");
        }
        for (algorithm, kind) in [
            ("CRC64NVME", "COMPOSITE"),
            ("SHA1", "FULL_OBJECT"),
            ("SHA256", "FULL_OBJECT"),
            ("MD4", ""),
            ("CRC32", "HALF"),
            ("", "COMPOSITE"),
        ] {
            let (code, _) = read(algorithm, kind).unwrap_err();
            assert_eq!(code, "InvalidRequest", "{algorithm} {kind}");
        }
        assert_eq!(
            read("SHA256", "FULL_OBJECT").unwrap_err().1,
            "The FULL_OBJECT checksum type cannot be used with the sha256 checksum algorithm."
        );
    }

    #[test]
    fn a_read_asks_for_it_by_name() {
        let asks = |mode: &'static str| {
            let mode = HeaderValue::from_static(mode);
            is_wanted(
                &[(HeaderName::from_static("x-amz-checksum-mode"), mode)]
                    .into_iter()
                    .collect(),
            )
        };
        assert!(asks("ENABLED") && asks("enabled"));
        assert!(!asks("DISABLED") && !is_wanted(&HeaderMap::new()));
    }
}
