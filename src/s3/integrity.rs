//! What a client announces about a body: Content-MD5 and the `x-amz-checksum-*` family.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use md5::{Digest as _, Md5};

use crate::s3::fault::Fault;
use crate::s3::header::text;
use crate::storage::{
    Checksum, ChecksumAlgorithm, Digester, ExpectedChecksum, Integrity, ObjectChecksum,
};

const CHECKSUM_PREFIX: &str = "x-amz-checksum-";

/// Headers of the checksum family that carry no value.
const NOT_VALUES: [&str; 3] = [
    "x-amz-checksum-algorithm",
    "x-amz-checksum-mode",
    "x-amz-checksum-type",
];

/// Reads what the headers announce about the body.
///
/// Errors: InvalidDigest, InvalidRequest for malformed, missing, or several checksums, NotImplemented for an algorithm that
/// the gateway does not know: an announced checksum is never ignored.
pub(super) fn announced(headers: &HeaderMap) -> Result<Integrity, Fault> {
    Ok(Integrity {
        md5: content_md5(headers)?,
        checksum: checksum(headers)?,
        ..Integrity::default()
    })
}

fn content_md5(headers: &HeaderMap) -> Result<Option<[u8; 16]>, Fault> {
    let Some(value) = headers.get("content-md5") else {
        return Ok(None);
    };
    let digest = BASE64
        .decode(value.as_bytes())
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(Fault::invalid_digest)?;
    Ok(Some(digest))
}

fn checksum(headers: &HeaderMap) -> Result<Option<ExpectedChecksum>, Fault> {
    let known = known_checksum(headers)?;
    let in_trailer = trailer_algorithm(headers)?;
    let expected = match (known, in_trailer) {
        // Java v2 announces a trailer that it does not send, and puts the value into a header: the header counts.
        (Some(known), _) => Some(ExpectedChecksum::Known(known)),
        (None, Some(algorithm)) => Some(ExpectedChecksum::InTrailer(algorithm)),
        (None, None) => None,
    };
    if expected.is_none() && headers.contains_key("x-amz-sdk-checksum-algorithm") {
        return Err(Fault::invalid_request(
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.",
        ));
    }
    Ok(expected)
}

fn known_checksum(headers: &HeaderMap) -> Result<Option<Checksum>, Fault> {
    let Some((algorithm, name, value)) = only_value(headers)? else {
        return Ok(None);
    };
    parse_value(algorithm, value.as_bytes(), name.as_str()).map(Some)
}

/// Reads the checksum of an object that is about to be completed. One over the checksums of parts may say over how many:
/// `<base64>-<count>`.
///
/// Errors: as [`announced`].
pub(super) fn claimed(headers: &HeaderMap) -> Result<Option<ObjectChecksum>, Fault> {
    let Some((algorithm, name, value)) = only_value(headers)? else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    let (value, count) = match text.split_once('-') {
        None => (text, None),
        Some((value, count)) => (
            value,
            Some(count.parse().map_err(|_| invalid_value(name.as_str()))?),
        ),
    };
    Ok(Some(ObjectChecksum {
        checksum: parse_value(algorithm, value.as_bytes(), name.as_str())?,
        part_count: count,
    }))
}

/// Returns the one header with a checksum's value.
fn only_value(
    headers: &HeaderMap,
) -> Result<Option<(ChecksumAlgorithm, &HeaderName, &HeaderValue)>, Fault> {
    let mut known = None;
    for (name, value) in headers {
        let Some(algorithm) = name.as_str().strip_prefix(CHECKSUM_PREFIX) else {
            continue;
        };
        if NOT_VALUES.contains(&name.as_str()) {
            continue;
        }
        if known.is_some() {
            return Err(Fault::invalid_request(
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
            ));
        }
        let algorithm = ChecksumAlgorithm::from_name(algorithm)
            .ok_or_else(|| Fault::header_not_implemented(name.as_str()))?;
        known = Some((algorithm, name, value));
    }
    Ok(known)
}

/// Reads a checksum's value, which `name` says.
///
/// Errors: InvalidRequest.
pub(super) fn parse_value(
    algorithm: ChecksumAlgorithm,
    value: &[u8],
    name: &str,
) -> Result<Checksum, Fault> {
    match BASE64.decode(value) {
        Ok(bytes) if bytes.len() == algorithm.len_bytes() => Ok(Checksum {
            algorithm,
            value: Arc::from(bytes),
        }),
        _ => Err(invalid_value(name)),
    }
}

fn invalid_value(name: &str) -> Fault {
    Fault::invalid_request(format!("Value for {name} header is invalid."))
}

fn trailer_algorithm(headers: &HeaderMap) -> Result<Option<ChecksumAlgorithm>, Fault> {
    let Some(trailer) = text(headers, "x-amz-trailer") else {
        return Ok(None);
    };
    let algorithm = trailer
        .to_ascii_lowercase()
        .strip_prefix(CHECKSUM_PREFIX)
        .and_then(ChecksumAlgorithm::from_name);
    match algorithm {
        Some(algorithm) => Ok(Some(algorithm)),
        None => Err(Fault::header_not_implemented(format!(
            "x-amz-trailer: {trailer}"
        ))),
    }
}

/// Reads what is announced about the document of a completion: Content-MD5. A checksum there is [`claimed`] of the object.
///
/// Errors: InvalidDigest.
pub(super) fn announced_of_completion(headers: &HeaderMap) -> Result<Integrity, Fault> {
    Ok(Integrity {
        md5: content_md5(headers)?,
        ..Integrity::default()
    })
}

/// Checks a document, which was read whole, against what was announced of it.
///
/// Errors: BadDigest; NotImplemented for a checksum in a trailer, which documents do not have.
pub(super) fn check_document(integrity: &Integrity, document: &[u8]) -> Result<(), Fault> {
    if let Some(announced) = integrity.md5
        && announced != <[u8; 16]>::from(Md5::digest(document))
    {
        return Err(crate::storage::StorageError::BadDigest.into());
    }
    match &integrity.checksum {
        None => {}
        Some(ExpectedChecksum::Known(announced)) => {
            let mut digester = Digester::new(announced.algorithm);
            digester.update(document);
            if digester.finish() != *announced {
                let algorithm = announced.algorithm;
                return Err(crate::storage::StorageError::ChecksumMismatch { algorithm }.into());
            }
        }
        Some(ExpectedChecksum::InTrailer(_)) => {
            return Err(Fault::header_not_implemented("x-amz-trailer"));
        }
    }
    Ok(())
}

/// Clients that take the entity tag of a plain PUT for the body's MD5 whatever it looks like, and fail when it is not.
///
/// `aws-sdk-java/2.` (2.24 and 2.29 throw on a dash), `Boto/2`, `libcloud/`: seen failing in trials of November 2026.
const MD5_BELIEVERS: [&str; 3] = ["aws-sdk-java/2.", "Boto/2", "libcloud/"];

/// Reports whether the client needs the MD5 as the entity tag of a PUT. One that sends a checksum does not.
pub(super) fn wants_md5(headers: &HeaderMap, integrity: &Integrity) -> bool {
    integrity.checksum.is_none()
        && text(headers, "user-agent").is_some_and(|agent| {
            MD5_BELIEVERS
                .iter()
                .any(|believer| agent.contains(believer))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[(&'static str, &str)]) -> Result<Integrity, (u16, &'static str)> {
        let headers = headers(lines);
        announced(&headers).map_err(|fault| (fault.status.as_u16(), fault.code))
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn announcements_are_read() {
        let integrity = read(&[
            ("content-md5", "JfnnlDI7RTiF9RgfG2JNCw=="),
            ("x-amz-checksum-crc32", "y/Q5Jg=="),
            ("x-amz-sdk-checksum-algorithm", "CRC32"),
            ("x-amz-checksum-type", "FULL_OBJECT"),
        ])
        .unwrap();
        assert_eq!(
            hex::encode(integrity.md5.unwrap()),
            "25f9e794323b453885f5181f1b624d0b"
        );
        assert!(check_document(&integrity, b"123456789").is_ok());
        assert_eq!(
            check_document(&integrity, b"12345678").unwrap_err().code,
            "BadDigest"
        );

        let trailer = read(&[("x-amz-trailer", "X-Amz-Checksum-CRC64NVME")]).unwrap();
        assert_eq!(
            trailer.checksum,
            Some(ExpectedChecksum::InTrailer(ChecksumAlgorithm::Crc64Nvme))
        );
        let java = read(&[
            ("x-amz-trailer", "x-amz-checksum-crc32"),
            ("x-amz-checksum-crc32", "y/Q5Jg=="),
        ])
        .unwrap();
        assert!(matches!(java.checksum, Some(ExpectedChecksum::Known(_))));
        assert!(check_document(&read(&[]).unwrap(), b"").is_ok());
    }

    #[test]
    fn malformed_announcements_are_refused() {
        for (lines, answer) in [
            (&[("content-md5", "")][..], (400, "InvalidDigest")),
            (&[("content-md5", "YWJj")], (400, "InvalidDigest")),
            (&[("x-amz-checksum-crc32", "y/Q5")], (400, "InvalidRequest")),
            (&[("x-amz-checksum-crc32", "!")], (400, "InvalidRequest")),
            (
                &[
                    ("x-amz-checksum-crc32", "y/Q5Jg=="),
                    ("x-amz-checksum-crc32c", "4waSgw=="),
                ],
                (400, "InvalidRequest"),
            ),
            (
                &[("x-amz-sdk-checksum-algorithm", "CRC32")],
                (400, "InvalidRequest"),
            ),
            (
                &[("x-amz-checksum-sha512", "AAAA")],
                (501, "NotImplemented"),
            ),
            (
                &[("x-amz-trailer", "x-amz-meta-later")],
                (501, "NotImplemented"),
            ),
        ] {
            assert_eq!(read(lines).unwrap_err(), answer, "{lines:?}");
        }
    }

    #[test]
    fn a_checksum_of_a_completion_is_not_that_of_its_document() {
        let lines = headers(&[
            ("content-md5", "JfnnlDI7RTiF9RgfG2JNCw=="),
            ("x-amz-checksum-crc32", "y/Q5Jg==-2"),
            ("x-amz-checksum-type", "COMPOSITE"),
        ]);
        let announced = announced_of_completion(&lines).unwrap();
        assert!(announced.md5.is_some() && announced.checksum.is_none());
        let claim = |value| {
            let claimed = claimed(&headers(&[("x-amz-checksum-crc32", value)]));
            let text = claimed.map(|claimed| claimed.unwrap().to_string());
            text.map_err(|fault| fault.code)
        };
        assert_eq!(claim("y/Q5Jg==-2"), Ok("crc32-cbf43926-2".into()));
        assert_eq!(claim("y/Q5Jg=="), Ok("crc32-cbf43926".into()));
        for odd in ["", "-2", "y/Q5Jg==-", "y/Q5Jg==-x", "y/Q5-2"] {
            assert_eq!(claim(odd), Err("InvalidRequest"), "{odd}");
        }
        assert!(claimed(&headers(&[])).unwrap().is_none());
    }

    #[test]
    fn only_some_clients_without_a_checksum_want_an_md5() {
        let wants = |agent: &str, lines: &[(&'static str, &str)]| {
            let mut lines = lines.to_vec();
            lines.push(("user-agent", agent));
            let headers = headers(&lines);
            wants_md5(&headers, &announced(&headers).unwrap())
        };
        assert!(wants("aws-sdk-java/2.24.0 Linux", &[]));
        assert!(wants("Boto/2.49.0 Python/2.7", &[]));
        assert!(!wants("Boto3/1.44.5", &[]));
        assert!(!wants("aws-sdk-java/1.12", &[]));
        assert!(!wants(
            "aws-sdk-java/2.30.0",
            &[("x-amz-checksum-crc32", "y/Q5Jg==")]
        ));
    }
}
