//! What a completion says: of which parts the object consists, and what must hold for it.

use http::HeaderMap;

use crate::s3::fault::Fault;
use crate::s3::header::text;
use crate::s3::xml_reader::Element;
use crate::s3::{checksum, integrity};
use crate::storage::{Checksum, ChecksumAlgorithm, NamedPart, ObjectClaims, PartNumber};

/// The most parts of an upload. Source: AWS, "Amazon S3 multipart upload limits".
const MAX_PARTS: usize = 10_000;

/// The longest completion: 10,000 parts with a SHA-256 each, indented, have about 2.5 MiB.
pub(super) const MAX_BYTES: usize = 4 << 20;

/// Reads what the headers say of the object.
///
/// Errors: InvalidRequest for what is malformed, NotImplemented for an unknown checksum.
pub(super) fn claims(headers: &HeaderMap) -> Result<ObjectClaims, Fault> {
    let size = match text(headers, "x-amz-mp-object-size") {
        None => None,
        Some(size) => Some(size.parse().map_err(|_| {
            Fault::invalid_request("Value for x-amz-mp-object-size header is invalid.")
        })?),
    };
    Ok(ObjectClaims {
        checksum: integrity::claimed(headers)?,
        kind: checksum::kind(headers)?,
        size,
    })
}

/// Reads the parts in the client's order, with the checksums that they must have.
///
/// Errors: MalformedXML, also for no part and for more than 10,000; InvalidArgument for a part number out of range;
/// InvalidRequest for a malformed checksum, NotImplemented for an unknown one.
pub(super) fn named_parts(document: &[u8]) -> Result<Vec<NamedPart>, Fault> {
    let root = Element::parse(document, "CompleteMultipartUpload")?;
    let parts = root
        .all("Part")
        .map(named_part)
        .collect::<Result<Vec<_>, _>>()?;
    if !(1..=MAX_PARTS).contains(&parts.len()) {
        return Err(Fault::malformed_xml("it names no part, or more than 10000"));
    }
    Ok(parts)
}

fn named_part(part: &Element) -> Result<NamedPart, Fault> {
    let number = part
        .child_text("PartNumber")
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| Fault::malformed_xml("a part has no number"))?;
    let etag = part
        .child_text("ETag")
        .ok_or_else(|| Fault::malformed_xml("a part has no entity tag"))?;
    let checksums = part.children.iter().filter_map(named_checksum);
    Ok(NamedPart {
        part_number: PartNumber::new(number)?,
        etag: etag.trim_matches('"').to_owned(),
        checksums: checksums.collect::<Result<_, _>>()?,
    })
}

/// Reads `<ChecksumCRC32>` and its like; `None` for other elements, and for empty ones, which some clients write.
fn named_checksum(element: &Element) -> Option<Result<Checksum, Fault>> {
    let algorithm = element.name.strip_prefix("Checksum")?;
    let value = Some(element.text.trim()).filter(|value| !value.is_empty())?;
    Some(match ChecksumAlgorithm::from_name(algorithm) {
        Some(algorithm) => integrity::parse_value(algorithm, value.as_bytes(), &element.name),
        None => Err(Fault::header_not_implemented(&element.name)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_in_order_with_or_without_quotes() {
        let document = "<CompleteMultipartUpload><Part><ETag>&quot;aa-1&quot;</ETag><PartNumber>2</PartNumber>\
                        <ChecksumCRC32>AAAAAA==</ChecksumCRC32></Part>\n<Part><PartNumber> 1 </PartNumber>\
                        <ETag>bb-1</ETag><ChecksumSHA1/></Part></CompleteMultipartUpload>";
        let parts: Vec<_> = named_parts(document.as_bytes())
            .unwrap()
            .into_iter()
            .map(|part| (part.part_number.get(), part.etag, part.checksums))
            .collect();
        let zero = vec!["crc32-00000000".parse().unwrap()];
        assert_eq!(
            parts,
            [(2, "aa-1".to_owned(), zero), (1, "bb-1".to_owned(), vec![])]
        );
    }

    #[test]
    fn wrong_completions_are_refused() {
        let code = |parts: &str| {
            let document = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
            named_parts(document.as_bytes()).unwrap_err().code
        };
        assert_eq!(code(""), "MalformedXML");
        assert_eq!(code("<Part><ETag>a</ETag></Part>"), "MalformedXML");
        assert_eq!(
            code("<Part><PartNumber>1</PartNumber></Part>"),
            "MalformedXML"
        );
        assert_eq!(
            code("<Part><ETag>a</ETag><PartNumber>10001</PartNumber></Part>"),
            "InvalidArgument"
        );
        let part = "<Part><ETag>a</ETag><PartNumber>1</PartNumber></Part>";
        assert_eq!(code(&part.repeat(10_001)), "MalformedXML");
    }

    #[test]
    fn the_largest_completion_fits() {
        let part = format!(
            "  <Part>\n    <PartNumber>10000</PartNumber>\n    <ETag>&quot;{}-1&quot;</ETag>\n    \
             <ChecksumSHA256>{}</ChecksumSHA256>\n  </Part>\n",
            "a".repeat(32),
            "A".repeat(44)
        );
        assert!(part.len() * MAX_PARTS < MAX_BYTES);
    }

    #[test]
    fn claims_are_read_from_the_headers() {
        let read = |name: &'static str, value: &str| {
            let headers = [(http::HeaderName::from_static(name), value.parse().unwrap())];
            claims(&headers.into_iter().collect()).map_err(|fault| fault.code)
        };
        assert_eq!(read("x-amz-mp-object-size", "7").unwrap().size, Some(7));
        assert!(
            read("x-amz-checksum-sha1", "98O8HYCOBHMq32eZZczDTKeuNEE=-3")
                .unwrap()
                .checksum
                .is_some()
        );
        assert!(
            read("x-amz-checksum-type", "COMPOSITE")
                .unwrap()
                .kind
                .is_some()
        );
        assert_eq!(claims(&HeaderMap::new()).unwrap(), ObjectClaims::default());
        for (name, value, code) in [
            ("x-amz-mp-object-size", "-7", "InvalidRequest"),
            ("x-amz-checksum-type", "x", "InvalidRequest"),
            ("x-amz-checksum-crc32", "x", "InvalidRequest"),
            ("x-amz-checksum-sha512", "AAAA", "NotImplemented"),
        ] {
            assert_eq!(read(name, value), Err(code), "{name}");
        }
    }
}
