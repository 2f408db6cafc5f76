//! ListObjectVersions: every object has one version, `null`, and it is the latest.

use axum::response::{IntoResponse, Response};

use crate::s3::exchange::Exchange;
use crate::s3::fault::Fault;
use crate::s3::header::{OWNER_ID, iso_date, quoted};
use crate::s3::list::ListQuery;
use crate::s3::params::Params;
use crate::s3::xml::Document;
use crate::storage::{BucketName, ListEntry, ListStart, ObjectPage, ObjectSummary};

/// The id of the one version.
const NULL: &str = "null";

/// `GET /bucket?versions`
pub(super) async fn list(exchange: Exchange, bucket: BucketName) -> Result<Response, Fault> {
    let query = ListQuery::read(&exchange.params, "max-keys")?;
    let markers = Markers::read(&exchange.params)?;
    let operation = query.operation(&bucket, markers.start());
    let page = exchange.caller.call(operation).await?;
    Ok(document(&bucket, &query, &markers, &page).into_response())
}

/// Where the client wants to go on.
#[derive(Debug)]
struct Markers {
    key: String,
    version_id: String,
}

impl Markers {
    /// Errors: InvalidArgument for the marker of a version without that of a key, and for a version that is not there.
    fn read(params: &Params) -> Result<Self, Fault> {
        let text = |name| params.get(name).unwrap_or_default().to_owned();
        let markers = Self {
            key: text("key-marker"),
            version_id: text("version-id-marker"),
        };
        let refuse = |reason| Err(Fault::invalid_argument("version-id-marker", reason));
        match (markers.key.as_str(), markers.version_id.as_str()) {
            (_, "") => Ok(markers),
            ("", _) => refuse("A version-id marker cannot be specified without a key marker."),
            (_, NULL) => Ok(markers),
            _ => refuse("Invalid version id specified"),
        }
    }

    /// With one version a key, what follows a version is what follows its key.
    fn start(&self) -> ListStart {
        match self.key.as_str() {
            "" => ListStart::Beginning,
            key => ListStart::After(key.to_owned()),
        }
    }
}

fn document(
    bucket: &BucketName,
    query: &ListQuery,
    markers: &Markers,
    page: &ObjectPage,
) -> Document {
    let encoding = query.encoding;
    let is_truncated = query.next(page).is_some();
    let last = page.entries.last().filter(|_| is_truncated);
    Document::result("ListVersionsResult", |root| {
        root.text("Name", bucket.as_str());
        root.text("Prefix", &encoding.apply(&query.prefix));
        root.text("KeyMarker", &encoding.apply(&markers.key));
        root.text("VersionIdMarker", &markers.version_id);
        if let Some(last) = last {
            root.text("NextKeyMarker", &encoding.apply(last.name()));
        }
        // Behind a common prefix, S3 goes on by the key marker alone.
        if let Some(ListEntry::Object(_)) = last {
            root.text("NextVersionIdMarker", NULL);
        }
        root.text("MaxKeys", &query.max_entries.to_string());
        if let Some(delimiter) = &query.delimiter {
            root.text("Delimiter", &encoding.apply(delimiter));
        }
        root.optional("EncodingType", encoding.name());
        root.text("IsTruncated", if is_truncated { "true" } else { "false" });
        for entry in &page.entries {
            if let ListEntry::Object(object) = entry {
                write_version(root, query, object);
            }
        }
        for entry in &page.entries {
            if let ListEntry::Prefix(prefix) = entry {
                query.write_prefix(root, &prefix.name);
            }
        }
    })
}

fn write_version(root: &mut Document, query: &ListQuery, object: &ObjectSummary) {
    root.element("Version", |version| {
        version.text("Key", &query.encoding.apply(&object.key));
        version.text("VersionId", NULL);
        version.text("IsLatest", "true");
        version.text("LastModified", &iso_date(object.last_modified));
        version.text("ETag", &quoted(&object.hash.etag()));
        version.text("Size", &object.size.to_string());
        version.text("StorageClass", "STANDARD");
        version.element("Owner", |owner| owner.text("ID", OWNER_ID));
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::testing::{Stage, ordinary};
    use crate::storage::{AnyOperation, AnyOutput};

    #[tokio::test]
    async fn every_object_is_one_latest_version() {
        let stage = Stage::new();
        let line = "GET /b?versions&prefix=a%2Fb&delimiter=/&key-marker=m&version-id-marker=null&max-keys=5";
        let answer = stage.ask(line, &[]).await;
        let AnyOperation::ListObjects(list) = stage.only_call().operation else {
            panic!()
        };
        assert_eq!(
            (list.prefix.as_str(), list.start, list.max_entries),
            ("a/b", ListStart::After("m".into()), 5)
        );
        insta::assert_snapshot!(answer.text());
    }

    #[tokio::test]
    async fn a_truncated_page_names_where_to_go_on() {
        let next = |entry: fn(ListEntry) -> ListEntry| async move {
            let stage = Stage::answering(move |operation| {
                let mut output = ordinary(operation);
                if let AnyOutput::ListObjects(page) = &mut output {
                    page.next = Some("token".into());
                    page.entries = page.entries.drain(..).map(entry).collect();
                }
                Ok(output)
            });
            let answer = stage.ask("GET /b?versions", &[]).await;
            let next = |name| answer.element(name).to_owned();
            (next("NextKeyMarker"), next("NextVersionIdMarker"))
        };
        assert_eq!(next(|entry| entry).await, ("k".into(), "null".into()));
        let prefix = next(|_| ListEntry::Prefix("p/".to_owned().into())).await;
        assert_eq!(prefix, ("p/".into(), String::new()));
    }

    #[tokio::test]
    async fn versions_that_do_not_exist_are_refused() {
        for query in [
            "version-id-marker=null",
            "key-marker=k&version-id-marker=x",
            "max-keys=-1",
            "encoding-type=x",
        ] {
            let answer = Stage::new()
                .ask(&format!("GET /b?versions&{query}"), &[])
                .await;
            assert_eq!(answer.verdict(), (400, "InvalidArgument"), "{query}");
        }
        for line in ["GET /b/k?versionId=x", "DELETE /b/k?versionId=x"] {
            let stage = Stage::new();
            let answer = stage.ask(line, &[]).await;
            assert_eq!(answer.verdict(), (404, "NoSuchVersion"), "{line}");
            assert_eq!(stage.call_count(), 0);
        }
        let stage = Stage::new();
        assert_eq!(
            stage.ask("DELETE /b/k?versionId=null", &[]).await.status,
            204
        );
    }
}
