//! Checksums in answers: as headers, and as elements of documents.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::s3::header::{self as s3_header, text};
use crate::s3::xml::Document;
use crate::storage::{Checksum, ChecksumAlgorithm, ObjectChecksum};

/// Reports whether a read asks for the checksum that is kept with the object.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    text(headers, "x-amz-checksum-mode").is_some_and(|mode| mode.eq_ignore_ascii_case("ENABLED"))
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
