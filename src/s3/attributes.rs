//! GetObjectAttributes: what a client chooses to know of an object, in a document.

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, header};

use crate::s3::exchange::Exchange;
use crate::s3::fault::Fault;
use crate::s3::header as s3_header;
use crate::s3::list::MAX_ENTRIES;
use crate::s3::xml::Document;
use crate::s3::{checksum, condition, unsupported};
use crate::storage::{BucketName, DescribeObject, ObjectDescription, ObjectKey, ObjectParts};

/// `GET /bucket/key?attributes`
pub(super) async fn get(
    exchange: Exchange,
    bucket: BucketName,
    key: ObjectKey,
) -> Result<Response, Fault> {
    unsupported::refuse_on_read(&exchange.headers)?;
    let wanted = Wanted::read(&exchange.headers)?;
    let parts = PartWindow::read(&exchange.headers)?;
    let operation = DescribeObject {
        bucket,
        key,
        conditions: condition::of_read(&exchange.headers),
        wants_parts: wanted.parts,
    };
    let found = exchange.caller.call(operation).await?;
    let last_modified = s3_header::http_date(found.info.last_modified);
    let mut response = document(&wanted, &parts, &found).into_response();
    response
        .headers_mut()
        .insert(header::LAST_MODIFIED, s3_header::value(&last_modified));
    Ok(response)
}

/// The attributes that a client asks for.
#[derive(Debug, Default)]
struct Wanted {
    etag: bool,
    checksum: bool,
    parts: bool,
    storage_class: bool,
    size: bool,
}

impl Wanted {
    /// Reads `x-amz-object-attributes`: a comma list, or several headers, or both.
    ///
    /// Errors: InvalidArgument for no attribute, and for one that S3 does not know.
    fn read(headers: &HeaderMap) -> Result<Self, Fault> {
        let mut wanted = Self::default();
        let refuse = |reason: &str| Err(Fault::invalid_argument("x-amz-object-attributes", reason));
        let values = headers.get_all("x-amz-object-attributes").iter();
        let names = values.flat_map(|value| value.to_str().unwrap_or_default().split(','));
        let mut is_empty = true;
        for name in names.map(str::trim).filter(|name| !name.is_empty()) {
            is_empty = false;
            match name {
                "ETag" => wanted.etag = true,
                "Checksum" => wanted.checksum = true,
                "ObjectParts" => wanted.parts = true,
                "StorageClass" => wanted.storage_class = true,
                "ObjectSize" => wanted.size = true,
                _ => return refuse("Invalid attribute name specified."),
            }
        }
        if is_empty {
            return refuse("The x-amz-object-attributes header must name at least one attribute.");
        }
        Ok(wanted)
    }
}

/// Which parts a client wants to see.
#[derive(Debug)]
struct PartWindow {
    after: u32,
    max_parts: u32,
}

impl PartWindow {
    /// Errors: InvalidArgument for what is no count.
    fn read(headers: &HeaderMap) -> Result<Self, Fault> {
        let count = |name: &'static str| match s3_header::text(headers, name) {
            None => Ok(None),
            Some(text) => text.parse::<u32>().map(Some).map_err(|_| {
                let reason = format!("Provided {name} not an integer or within integer range");
                Fault::invalid_argument(name, reason)
            }),
        };
        Ok(Self {
            after: count("x-amz-part-number-marker")?.unwrap_or(0),
            max_parts: count("x-amz-max-parts")?
                .unwrap_or(MAX_ENTRIES)
                .min(MAX_ENTRIES),
        })
    }
}

fn document(wanted: &Wanted, parts: &PartWindow, found: &ObjectDescription) -> Document {
    Document::result("GetObjectAttributesResponse", |root| {
        if wanted.etag {
            // The one place where S3 writes a tag without quotes.
            root.text("ETag", &found.info.etag());
        }
        if let Some(kept) = found.info.checksum.as_ref().filter(|_| wanted.checksum) {
            root.element("Checksum", |element| {
                checksum::write_elements(kept, element);
            });
        }
        if let Some(found) = &found.parts {
            root.element("ObjectParts", |element| write_parts(element, parts, found));
        }
        if wanted.storage_class {
            root.text("StorageClass", "STANDARD");
        }
        if wanted.size {
            root.text("ObjectSize", &found.info.size.to_string());
        }
    })
}

fn write_parts(element: &mut Document, window: &PartWindow, parts: &ObjectParts) {
    let sizes = parts.sizes.as_slice();
    let numbered = (1_u32..).zip(sizes);
    let shown: Vec<_> = numbered
        .filter(|(number, _)| *number > window.after)
        .take(window.max_parts as usize)
        .collect();
    let last = shown.last().map_or(window.after, |(number, _)| *number);
    let is_truncated = !shown.is_empty() && (last as usize) < sizes.len();
    element.text("PartsCount", &sizes.len().to_string());
    element.text("PartNumberMarker", &window.after.to_string());
    element.text("NextPartNumberMarker", &last.to_string());
    element.text("MaxParts", &window.max_parts.to_string());
    element.text("IsTruncated", if is_truncated { "true" } else { "false" });
    for (number, size) in shown {
        element.element("Part", |part| {
            part.text("PartNumber", &number.to_string());
            part.text("Size", &size.to_string());
            if let Some(checksum) = parts.checksums.get(number as usize - 1) {
                checksum::write_element_of_part(checksum, part);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::s3::testing::{Stage, object};
    use crate::storage::{AnyOperation, AnyOutput};

    fn stage() -> Stage {
        Stage::answering(|operation| match operation {
            AnyOperation::DescribeObject(describe) => {
                Ok(AnyOutput::DescribeObject(ObjectDescription {
                    info: Arc::new(object()),
                    parts: describe.wants_parts.then(|| parts(&[]).into()),
                }))
            }
            other => panic!("{other:?}"),
        })
    }

    fn parts(checksums: &[&str]) -> ObjectParts {
        ObjectParts {
            sizes: vec![4, 4, 2],
            checksums: checksums.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    async fn ask(headers: &[(&str, &str)]) -> crate::s3::testing::Answer {
        stage().ask("GET /b/k?attributes", headers).await
    }

    #[tokio::test]
    async fn everything_comes_as_s3_writes_it() {
        let all = "ETag,Checksum, ObjectParts,StorageClass";
        let answer = ask(&[
            ("x-amz-object-attributes", all),
            ("x-amz-object-attributes", "ObjectSize"),
        ])
        .await;
        assert_eq!(
            answer.header("last-modified"),
            "Fri, 02 Jan 2026 03:04:05 GMT"
        );
        insta::assert_snapshot!(answer.text());
    }

    #[tokio::test]
    async fn a_kept_checksum_comes_with_its_kind() {
        let stage = Stage::answering(|_| {
            let info = crate::storage::ObjectInfo {
                checksum: Some("crc32-cbf43926-3".parse().unwrap()),
                ..object()
            };
            Ok(AnyOutput::DescribeObject(ObjectDescription {
                info: Arc::new(info),
                parts: None,
            }))
        });
        let ask = async |attribute| {
            let headers = [("x-amz-object-attributes", attribute)];
            let answer = stage.ask("GET /b/k?attributes", &headers).await;
            let text = |name| answer.element(name).to_owned();
            (text("ChecksumCRC32"), text("ChecksumType"))
        };
        let kept = ("y/Q5Jg==-3".to_owned(), "COMPOSITE".to_owned());
        assert_eq!(ask("Checksum").await, kept);
        assert_eq!(ask("ETag").await, (String::new(), String::new()));
    }

    #[tokio::test]
    async fn parts_come_with_the_checksums_that_are_kept_of_them() {
        let stage = Stage::answering(|_| {
            let kept = ["crc32-00000001", "crc32-00000002", "crc32-00000003"];
            Ok(AnyOutput::DescribeObject(ObjectDescription {
                info: Arc::new(object()),
                parts: Some(parts(&kept).into()),
            }))
        });
        let headers = [
            ("x-amz-object-attributes", "ObjectParts"),
            ("x-amz-part-number-marker", "1"),
            ("x-amz-max-parts", "1"),
        ];
        let answer = stage.ask("GET /b/k?attributes", &headers).await;
        assert_eq!(
            answer.element("Part"),
            "<PartNumber>2</PartNumber><Size>4</Size><ChecksumCRC32>AAAAAg==</ChecksumCRC32>"
        );
    }

    #[tokio::test]
    async fn only_what_was_asked_for_comes() {
        let answer = ask(&[("x-amz-object-attributes", "ObjectSize")]).await;
        assert_eq!(answer.element("ObjectSize"), "10");
        assert!(!answer.text().contains("ETag") && !answer.text().contains("ObjectParts"));
    }

    #[tokio::test]
    async fn parts_come_in_pages() {
        let page = |after: &'static str, max: &'static str| async move {
            let answer = ask(&[
                ("x-amz-object-attributes", "ObjectParts"),
                ("x-amz-part-number-marker", after),
                ("x-amz-max-parts", max),
            ])
            .await;
            let number = |name| answer.element(name).to_owned();
            let parts = answer.text().matches("<Part>").count();
            (number("NextPartNumberMarker"), number("IsTruncated"), parts)
        };
        assert_eq!(page("0", "2").await, ("2".into(), "true".into(), 2));
        assert_eq!(page("2", "2").await, ("3".into(), "false".into(), 1));
        assert_eq!(page("3", "2").await, ("3".into(), "false".into(), 0));
        assert_eq!(page("0", "0").await, ("0".into(), "false".into(), 0));
    }

    #[tokio::test]
    async fn wrong_questions_are_refused() {
        for headers in [
            &[][..],
            &[("x-amz-object-attributes", "")],
            &[("x-amz-object-attributes", "ETag,Color")],
            &[("x-amz-object-attributes", "etag")],
            &[
                ("x-amz-object-attributes", "ObjectParts"),
                ("x-amz-max-parts", "x"),
            ],
        ] {
            assert_eq!(ask(headers).await.verdict(), (400, "InvalidArgument"));
        }
    }
}
