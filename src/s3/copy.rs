//! CopyObject: by reference, inside a bucket or across.

use axum::response::Response;
use http::HeaderMap;
use time::OffsetDateTime;

use crate::s3::commit::{self, Finish};
use crate::s3::exchange::Exchange;
use crate::s3::fault::Fault;
use crate::s3::header::{iso_date, quoted, text};
use crate::s3::params::{Plus, decode};
use crate::s3::xml::Document;
use crate::s3::{checksum, condition, metadata, tagging, unsupported};
use crate::storage::{
    BucketName, ContentHash, CopyObject, ObjectCopied, ObjectKey, ObjectMetadata, ReadConditions,
};

/// `PUT /bucket/key` with `x-amz-copy-source`
pub(super) async fn copy(
    exchange: Exchange,
    bucket: BucketName,
    key: ObjectKey,
) -> Result<Response, Fault> {
    let headers = &exchange.headers;
    let conditions = condition::of_write(headers)?;
    unsupported::refuse_on_object_write(headers)?;
    let source = Source::read(headers)?;
    let replace_metadata = replacement(headers)?;
    // S3 takes a storage class, even the same one, for a change, and tools touch objects that way.
    let changes_something =
        replace_metadata.is_some() || headers.contains_key("x-amz-storage-class");
    if !changes_something && (&source.bucket, &source.key) == (&bucket, &key) {
        return Err(Fault::invalid_request(
            "This copy request is illegal because it is trying to copy an object to itself without changing the object's \
             metadata, storage class, website redirect location or encryption attributes.",
        ));
    }
    let operation = CopyObject {
        source_bucket: source.bucket,
        source_key: source.key,
        source_conditions: source.conditions,
        bucket,
        key,
        conditions,
        replace_metadata,
        mtime: None,
        replace_tags: tagging::replacement(headers)?,
    };
    let finish = Finish::of(&exchange);
    let caller = exchange.caller;
    commit::answer(
        finish,
        caller.call(operation),
        |copied: ObjectCopied, document| {
            document.root("CopyObjectResult", |root| {
                write_copied(root, &copied.hash, copied.last_modified);
                if let Some(kept) = &copied.checksum {
                    checksum::write_elements(kept, root);
                }
            });
        },
    )
    .await
}

/// Writes what S3 says of every copy, of an object or a part.
pub(super) fn write_copied(root: &mut Document, hash: &ContentHash, last_modified: OffsetDateTime) {
    root.text("LastModified", &iso_date(last_modified));
    root.text("ETag", &quoted(&hash.etag()));
}

/// What is copied, if it is what the client expects.
pub(super) struct Source {
    pub(super) bucket: BucketName,
    pub(super) key: ObjectKey,
    pub(super) conditions: ReadConditions,
}

impl Source {
    /// Reads the source of a copy. Errors: InvalidArgument, InvalidURI.
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, Fault> {
        let (bucket, key) = address(headers)?;
        Ok(Self {
            bucket,
            key,
            conditions: condition::of_copy_source(headers),
        })
    }
}

/// Reads `x-amz-copy-source`: `bucket/key` or `/bucket/key`, percent-encoded, with `?versionId=null` at most.
fn address(headers: &HeaderMap) -> Result<(BucketName, ObjectKey), Fault> {
    let refuse = |reason: &str| Err(Fault::invalid_argument("x-amz-copy-source", reason));
    let Some(raw) = text(headers, "x-amz-copy-source") else {
        return refuse("Copy Source must be printable ASCII: percent-encode it.");
    };
    // A `?` in a key is percent-encoded, so the first one begins the version.
    let (path, version) = raw.split_once('?').map_or((raw, None), |(path, query)| {
        (
            path,
            Some(query.strip_prefix("versionId=").unwrap_or(query)),
        )
    });
    if version.is_some_and(|version| version != "null") {
        return refuse("Invalid version id specified");
    }
    // S3 reads this header as a form: clients that mean a plus escape it, and some write a blank as one.
    let decoded = decode(path, Plus::IsSpace)?;
    let decoded = decoded.strip_prefix('/').unwrap_or(&decoded);
    match decoded.split_once('/') {
        Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() => {
            Ok((BucketName::new(bucket)?, ObjectKey::new(key)?))
        }
        _ => refuse("Copy Source must mention the source bucket and key: sourcebucket/sourcekey"),
    }
}

/// Returns the new metadata if the client replaces it.
fn replacement(headers: &HeaderMap) -> Result<Option<ObjectMetadata>, Fault> {
    match text(headers, "x-amz-metadata-directive") {
        None | Some("COPY") => Ok(None),
        Some("REPLACE") => metadata::from_headers(headers).map(Some),
        Some(_) => Err(Fault::invalid_argument(
            "x-amz-metadata-directive",
            "Unknown metadata directive.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::testing::{ETAG, Stage};
    use crate::storage::{AnyOperation, EtagMatch, StorageError};

    #[test]
    fn sources_are_decoded_once() {
        let read = |raw: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-amz-copy-source", raw.parse().unwrap());
            address(&headers)
                .map(|(bucket, key)| format!("{bucket} {key}"))
                .map_err(|fault| fault.code)
        };
        assert_eq!(read("/b/d/k"), Ok("b d/k".into()));
        assert_eq!(read("b/k"), Ok("b k".into()));
        assert_eq!(read("b/a%20b%2Bc%3Fd%252F"), Ok("b a b+c?d%2F".into()));
        assert_eq!(read("b/a+b%2Bc"), Ok("b a b+c".into()));
        assert_eq!(read("%2Fb%2Fk?versionId=null"), Ok("b k".into()));
        for refused in [
            "b",
            "b/",
            "/b",
            "",
            "b/k?versionId=7",
            "b//k",
            "arn:aws:s3:::b/k",
        ] {
            assert!(read(refused).is_err(), "{refused}");
        }
    }

    #[tokio::test]
    async fn a_copy_names_source_and_metadata() {
        let stage = Stage::new();
        let headers = [
            ("x-amz-copy-source", "/b2/a%20b"),
            ("x-amz-copy-source-if-match", ETAG),
            ("if-none-match", "*"),
            ("x-amz-metadata-directive", "REPLACE"),
            ("x-amz-meta-color", "blue"),
        ];
        let answer = stage.ask("PUT /b/k", &headers).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.element("LastModified"), "2026-01-02T03:04:05.678Z");
        assert_eq!(answer.element("ETag"), ETAG.replace('"', "&quot;"));
        let AnyOperation::CopyObject(copy) = stage.only_call().operation else {
            panic!()
        };
        assert_eq!(
            (copy.source_bucket.as_str(), copy.source_key.as_str()),
            ("b2", "a b")
        );
        assert!(copy.source_conditions.if_match.is_some());
        assert_eq!(copy.conditions.if_none_match, Some(EtagMatch::Any));
        assert_eq!(copy.replace_metadata.unwrap().user["color"], "blue");
    }

    #[tokio::test]
    async fn a_copy_onto_itself_must_change_the_metadata() {
        let stage = Stage::new();
        let source = ("x-amz-copy-source", "/b/k");
        assert_eq!(
            stage.ask("PUT /b/k", &[source]).await.verdict(),
            (400, "InvalidRequest")
        );
        assert_eq!(stage.call_count(), 0);
        for change in [
            ("x-amz-metadata-directive", "REPLACE"),
            ("x-amz-storage-class", "STANDARD"),
        ] {
            assert_eq!(stage.ask("PUT /b/k", &[source, change]).await.status, 200);
        }
    }

    #[tokio::test]
    async fn a_failed_copy_is_an_error_like_any_other() {
        let stage = Stage::failing(StorageError::NoSuchKey { key: "x".into() });
        let answer = stage
            .ask("PUT /b/k", &[("x-amz-copy-source", "/b/x")])
            .await;
        assert_eq!(answer.verdict(), (404, "NoSuchKey"));
    }
}
