//! Listings of what is under way: the uploads of a bucket, and the parts of an upload.

use axum::response::{IntoResponse, Response};

use crate::s3::checksum;
use crate::s3::encoding::Encoding;
use crate::s3::exchange::Exchange;
use crate::s3::fault::Fault;
use crate::s3::header::{OWNER_ID, iso_date, quoted};
use crate::s3::list::{ListQuery, MAX_ENTRIES};
use crate::s3::multipart::upload_id;
use crate::s3::params::Params;
use crate::s3::xml::Document;
use crate::storage::{
    BucketName, ListParts, ListUploads, ObjectKey, PartPage, UploadEntry, UploadMarker, UploadPage,
    UploadSummary,
};

/// `GET /bucket?uploads`
pub(super) async fn list(exchange: Exchange, bucket: BucketName) -> Result<Response, Fault> {
    let query = ListQuery::read(&exchange.params, "max-uploads")?;
    let markers = Markers::read(&exchange.params);
    let operation = ListUploads {
        bucket: bucket.clone(),
        prefix: query.prefix.clone(),
        delimiter: query.delimiter.clone(),
        after: markers.after(),
        max_entries: query.max_entries as usize,
    };
    let page = exchange.caller.call(operation).await?;
    Ok(uploads_document(&bucket, &query, &markers, &page).into_response())
}

/// Where the client wants to go on.
#[derive(Debug)]
struct Markers {
    key: String,
    upload_id: String,
}

impl Markers {
    fn read(params: &Params) -> Self {
        let text = |name| params.get(name).unwrap_or_default().to_owned();
        Self {
            key: text("key-marker"),
            upload_id: text("upload-id-marker"),
        }
    }

    /// The marker of an upload means nothing without that of a key. Source: AWS, "ListMultipartUploads".
    fn after(&self) -> Option<UploadMarker> {
        let upload_id = self.upload_id.clone();
        (!self.key.is_empty()).then(|| UploadMarker {
            key: self.key.clone(),
            upload_id: Some(upload_id).filter(|id| !id.is_empty()),
        })
    }
}

fn uploads_document(
    bucket: &BucketName,
    query: &ListQuery,
    markers: &Markers,
    page: &UploadPage,
) -> Document {
    let encoding = query.encoding;
    let last = page.entries.last().filter(|_| page.has_more);
    Document::result("ListMultipartUploadsResult", |root| {
        root.text("Bucket", bucket.as_str());
        root.text("KeyMarker", &encoding.apply(&markers.key));
        root.text("UploadIdMarker", &markers.upload_id);
        match last {
            Some(UploadEntry::Upload(upload)) => {
                root.text("NextKeyMarker", &encoding.apply(&upload.key));
                root.text("NextUploadIdMarker", upload.upload_id.as_str());
            }
            Some(UploadEntry::Prefix(prefix)) => {
                root.text("NextKeyMarker", &encoding.apply(prefix));
                root.text("NextUploadIdMarker", "");
            }
            None => {}
        }
        if let Some(delimiter) = &query.delimiter {
            root.text("Delimiter", &encoding.apply(delimiter));
        }
        root.text("Prefix", &encoding.apply(&query.prefix));
        root.text("MaxUploads", &query.max_entries.to_string());
        root.optional("EncodingType", encoding.name());
        root.text("IsTruncated", if last.is_some() { "true" } else { "false" });
        for entry in &page.entries {
            if let UploadEntry::Upload(upload) = entry {
                write_upload(root, encoding, upload);
            }
        }
        for entry in &page.entries {
            if let UploadEntry::Prefix(prefix) = entry {
                query.write_prefix(root, prefix);
            }
        }
    })
}

fn write_upload(root: &mut Document, encoding: Encoding, upload: &UploadSummary) {
    root.element("Upload", |element| {
        element.text("Key", &encoding.apply(&upload.key));
        element.text("UploadId", upload.upload_id.as_str());
        write_owners(element);
        element.text("StorageClass", "STANDARD");
        element.text("Initiated", &iso_date(upload.initiated_at));
    });
}

fn write_owners(element: &mut Document) {
    for role in ["Initiator", "Owner"] {
        element.element(role, |owner| {
            owner.text("ID", OWNER_ID);
            owner.text("DisplayName", OWNER_ID);
        });
    }
}

/// `GET /bucket/key?uploadId=…`
pub(super) async fn list_parts(
    exchange: Exchange,
    bucket: BucketName,
    key: ObjectKey,
) -> Result<Response, Fault> {
    let params = &exchange.params;
    let encoding = Encoding::read(params)?;
    let after = params.count("part-number-marker")?.unwrap_or(0);
    let max_parts = params.count("max-parts")?.unwrap_or(MAX_ENTRIES);
    let operation = ListParts {
        bucket,
        key,
        upload_id: upload_id(params)?,
        after,
        max_parts: max_parts.min(MAX_ENTRIES) as usize,
    };
    let page = exchange.caller.call(operation.clone()).await?;
    Ok(parts_document(&operation, encoding, &page).into_response())
}

fn parts_document(asked: &ListParts, encoding: Encoding, page: &PartPage) -> Document {
    let last = page.parts.last().map(|part| part.part_number.get());
    let is_truncated = page.has_more && last.is_some();
    Document::result("ListPartsResult", |root| {
        root.text("Bucket", asked.bucket.as_str());
        root.text("Key", &encoding.apply(asked.key.as_str()));
        root.text("UploadId", asked.upload_id.as_str());
        root.text("PartNumberMarker", &asked.after.to_string());
        let next = last.unwrap_or(asked.after);
        root.text("NextPartNumberMarker", &next.to_string());
        root.text("MaxParts", &asked.max_parts.to_string());
        root.optional("EncodingType", encoding.name());
        root.text("IsTruncated", if is_truncated { "true" } else { "false" });
        if let Some(declared) = page.declared {
            root.text("ChecksumAlgorithm", declared.algorithm.name());
            root.text("ChecksumType", declared.kind.name());
        }
        for part in &page.parts {
            root.element("Part", |element| {
                element.text("PartNumber", &part.part_number.get().to_string());
                element.text("LastModified", &iso_date(part.last_modified));
                element.text("ETag", &quoted(&part.hash.etag()));
                element.text("Size", &part.size.to_string());
                if let Some(checksum) = &part.checksum {
                    checksum::write_element_of_part(checksum, element);
                }
            });
        }
        write_owners(root);
        root.text("StorageClass", "STANDARD");
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::testing::{Stage, UPLOAD_ID, ordinary};
    use crate::storage::{
        AnyOperation, AnyOutput, ChecksumAlgorithm, ChecksumKind, StorageError, UploadChecksum,
    };

    #[tokio::test]
    async fn uploads_are_listed_from_behind_a_marker() {
        let stage = Stage::new();
        let line = "GET /b?uploads&prefix=p%2F&delimiter=/&key-marker=p%2Fa&upload-id-marker=u\
                    &max-uploads=2000&encoding-type=url";
        let answer = stage.ask(line, &[]).await;
        let AnyOperation::ListUploads(list) = stage.only_call().operation else {
            panic!()
        };
        assert_eq!((list.prefix.as_str(), list.max_entries), ("p/", 1000));
        assert_eq!(
            list.after,
            Some(UploadMarker {
                key: "p/a".into(),
                upload_id: Some("u".into())
            })
        );
        insta::assert_snapshot!(answer.text());
    }

    #[tokio::test]
    async fn the_marker_of_an_upload_needs_that_of_a_key() {
        let after = |query: &'static str| async move {
            let stage = Stage::new();
            stage.ask(&format!("GET /b?uploads&{query}"), &[]).await;
            match stage.only_call().operation {
                AnyOperation::ListUploads(list) => list.after,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(after("upload-id-marker=u").await, None);
        let marker = after("key-marker=k").await.unwrap();
        assert_eq!((marker.key.as_str(), marker.upload_id), ("k", None));
    }

    #[tokio::test]
    async fn a_truncated_listing_of_uploads_names_where_to_go_on() {
        let next = |ends_with_prefix: bool| async move {
            let stage = Stage::answering(move |operation| {
                let mut output = ordinary(operation);
                if let AnyOutput::ListUploads(page) = &mut output {
                    page.has_more = true;
                    if ends_with_prefix {
                        page.entries.push(UploadEntry::Prefix("p/".into()));
                    }
                }
                Ok(output)
            });
            let answer = stage.ask("GET /b?uploads", &[]).await;
            assert_eq!(answer.element("IsTruncated"), "true");
            let next = |name| answer.element(name).to_owned();
            (next("NextKeyMarker"), next("NextUploadIdMarker"))
        };
        assert_eq!(next(false).await, ("k".to_owned(), UPLOAD_ID.to_owned()));
        assert_eq!(next(true).await, ("p/".to_owned(), String::new()));
    }

    #[tokio::test]
    async fn parts_are_listed_from_behind_a_number() {
        let stage = Stage::new();
        let line = format!(
            "GET /b/k?uploadId={UPLOAD_ID}&part-number-marker=6&max-parts=3&x-id=ListParts"
        );
        let answer = stage.ask(&line, &[]).await;
        let AnyOperation::ListParts(list) = stage.only_call().operation else {
            panic!()
        };
        assert_eq!((list.after, list.max_parts), (6, 3));
        insta::assert_snapshot!(answer.text());
    }

    #[tokio::test]
    async fn parts_of_an_upload_that_was_declared_with_a_checksum_show_theirs() {
        let stage = Stage::answering(|operation| {
            let mut output = ordinary(operation);
            if let AnyOutput::ListParts(page) = &mut output {
                page.declared = Some(UploadChecksum {
                    algorithm: ChecksumAlgorithm::Crc32,
                    kind: ChecksumKind::Composite,
                    is_declared: true,
                });
                page.parts[0].checksum = Some("crc32-cbf43926".parse().unwrap());
            }
            Ok(output)
        });
        let line = format!("GET /b/k?uploadId={UPLOAD_ID}");
        let answer = stage.ask(&line, &[]).await;
        assert_eq!(answer.element("ChecksumAlgorithm"), "CRC32");
        assert_eq!(answer.element("ChecksumType"), "COMPOSITE");
        let part = answer.element("Part");
        assert!(
            part.ends_with("<ChecksumCRC32>y/Q5Jg==</ChecksumCRC32>"),
            "{part}"
        );
        let plain = Stage::new().ask(&line, &[]).await;
        assert!(!plain.text().contains("Checksum"), "{}", plain.text());
    }

    #[tokio::test]
    async fn a_listing_of_no_parts_ends_where_it_began() {
        let stage = Stage::answering(|operation| {
            let mut output = ordinary(operation);
            if let AnyOutput::ListParts(page) = &mut output {
                page.parts.clear();
                page.has_more = true;
            }
            Ok(output)
        });
        let line = format!("GET /b/k?uploadId={UPLOAD_ID}&part-number-marker=6&max-parts=0");
        let answer = stage.ask(&line, &[]).await;
        assert_eq!(
            (
                answer.element("NextPartNumberMarker"),
                answer.element("IsTruncated")
            ),
            ("6", "false")
        );
    }

    #[tokio::test]
    async fn wrong_listings_are_refused() {
        let gone = StorageError::NoSuchUpload {
            upload_id: UPLOAD_ID.into(),
        };
        let line = format!("GET /b/k?uploadId={UPLOAD_ID}");
        let answer = Stage::failing(gone).ask(&line, &[]).await;
        assert_eq!(answer.verdict(), (404, "NoSuchUpload"));
        for (line, verdict) in [
            ("GET /b/k?uploadId=x".to_owned(), (404, "NoSuchUpload")),
            (format!("{line}&max-parts=x"), (400, "InvalidArgument")),
            (
                format!("{line}&part-number-marker=-1"),
                (400, "InvalidArgument"),
            ),
            (
                "GET /b?uploads&max-uploads=x".into(),
                (400, "InvalidArgument"),
            ),
            (
                "GET /b?uploads&encoding-type=x".into(),
                (400, "InvalidArgument"),
            ),
        ] {
            let stage = Stage::new();
            assert_eq!(stage.ask(&line, &[]).await.verdict(), verdict, "{line}");
            assert_eq!(stage.call_count(), 0);
        }
    }
}
