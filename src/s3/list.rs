//! ListObjects, versions 1 and 2.

use axum::response::{IntoResponse, Response};

use crate::s3::encoding::Encoding;
use crate::s3::exchange::Exchange;
use crate::s3::fault::Fault;
use crate::s3::header::{OWNER_ID, iso_date, quoted};
use crate::s3::params::Params;
use crate::s3::xml::Document;
use crate::storage::{BucketName, ListEntry, ListObjects, ListStart, ObjectPage, ObjectSummary};

/// The most entries on a page. Source: AWS, "ListObjectsV2".
pub(super) const MAX_ENTRIES: u32 = 1000;

/// `GET /bucket`
pub(super) async fn v1(exchange: Exchange, bucket: BucketName) -> Result<Response, Fault> {
    let query = ListQuery::read(&exchange.params, "max-keys")?;
    let marker = exchange.params.get("marker").unwrap_or_default().to_owned();
    let start = match marker.as_str() {
        "" => ListStart::Beginning,
        marker => ListStart::After(marker.to_owned()),
    };
    let page = exchange
        .caller
        .call(query.operation(&bucket, start))
        .await?;
    Ok(query.document_v1(&bucket, &marker, &page).into_response())
}

/// `GET /bucket?list-type=2`
pub(super) async fn v2(exchange: Exchange, bucket: BucketName) -> Result<Response, Fault> {
    let query = ListQuery::read(&exchange.params, "max-keys")?;
    let second = SecondVersion::read(&exchange.params)?;
    let page = exchange
        .caller
        .call(query.operation(&bucket, second.start()))
        .await?;
    Ok(query.document_v2(&bucket, &second, &page).into_response())
}

/// What every listing of keys asks.
#[derive(Debug)]
pub(super) struct ListQuery {
    pub(super) prefix: String,
    pub(super) delimiter: Option<String>,
    pub(super) max_entries: u32,
    pub(super) encoding: Encoding,
}

/// What only the second version asks.
#[derive(Debug)]
struct SecondVersion {
    token: Option<String>,
    start_after: Option<String>,
    fetches_owner: bool,
}

impl SecondVersion {
    fn read(params: &Params) -> Result<Self, Fault> {
        if params.get("continuation-token") == Some("") {
            return Err(Fault::invalid_argument(
                "continuation-token",
                "The continuation token provided is incorrect",
            ));
        }
        Ok(Self {
            token: params.get("continuation-token").map(str::to_owned),
            start_after: params.non_empty("start-after").map(str::to_owned),
            fetches_owner: params.get("fetch-owner") == Some("true"),
        })
    }

    /// A token goes on where an earlier page ended, so it overrules the beginning of the first page.
    fn start(&self) -> ListStart {
        match (&self.token, &self.start_after) {
            (Some(token), _) => ListStart::Token(token.clone()),
            (None, Some(key)) => ListStart::After(key.clone()),
            (None, None) => ListStart::Beginning,
        }
    }
}

impl ListQuery {
    /// Reads the query; `max_name` is the parameter that bounds the entries.
    ///
    /// Errors: InvalidArgument.
    pub(super) fn read(params: &Params, max_name: &'static str) -> Result<Self, Fault> {
        Ok(Self {
            prefix: params.get("prefix").unwrap_or_default().to_owned(),
            delimiter: params.non_empty("delimiter").map(str::to_owned),
            max_entries: params
                .count(max_name)?
                .unwrap_or(MAX_ENTRIES)
                .min(MAX_ENTRIES),
            encoding: Encoding::read(params)?,
        })
    }

    pub(super) fn operation(&self, bucket: &BucketName, start: ListStart) -> ListObjects {
        ListObjects {
            bucket: bucket.clone(),
            prefix: self.prefix.clone(),
            delimiter: self.delimiter.clone(),
            start,
            max_entries: self.max_entries as usize,
        }
    }

    /// Returns the token of the next page. A page of no entries has none: asking again would never end.
    pub(super) fn next<'a>(&self, page: &'a ObjectPage) -> Option<&'a str> {
        page.next.as_deref().filter(|_| self.max_entries > 0)
    }

    fn document_v1(&self, bucket: &BucketName, marker: &str, page: &ObjectPage) -> Document {
        let is_truncated = self.next(page).is_some();
        // Without a delimiter the last key is the next marker, and S3 leaves it to the client to see that.
        let next_marker = page
            .entries
            .last()
            .filter(|_| is_truncated && self.delimiter.is_some());
        Document::result("ListBucketResult", |root| {
            root.text("Name", bucket.as_str());
            root.text("Prefix", &self.encoding.apply(&self.prefix));
            root.text("Marker", &self.encoding.apply(marker));
            if let Some(entry) = next_marker {
                root.text("NextMarker", &self.encoding.apply(entry.name()));
            }
            self.write_page(root, page, is_truncated, true);
        })
    }

    fn document_v2(
        &self,
        bucket: &BucketName,
        second: &SecondVersion,
        page: &ObjectPage,
    ) -> Document {
        let next = self.next(page);
        Document::result("ListBucketResult", |root| {
            root.text("Name", bucket.as_str());
            root.text("Prefix", &self.encoding.apply(&self.prefix));
            if let Some(key) = &second.start_after {
                root.text("StartAfter", &self.encoding.apply(key));
            }
            root.optional("ContinuationToken", second.token.as_deref());
            root.optional("NextContinuationToken", next);
            root.text("KeyCount", &page.entries.len().to_string());
            self.write_page(root, page, next.is_some(), second.fetches_owner);
        })
    }

    fn write_page(
        &self,
        root: &mut Document,
        page: &ObjectPage,
        is_truncated: bool,
        shows_owner: bool,
    ) {
        root.text("MaxKeys", &self.max_entries.to_string());
        if let Some(delimiter) = &self.delimiter {
            root.text("Delimiter", &self.encoding.apply(delimiter));
        }
        root.optional("EncodingType", self.encoding.name());
        root.text("IsTruncated", if is_truncated { "true" } else { "false" });
        for entry in &page.entries {
            if let ListEntry::Object(object) = entry {
                self.write_object(root, object, shows_owner);
            }
        }
        for entry in &page.entries {
            if let ListEntry::Prefix(prefix) = entry {
                self.write_prefix(root, &prefix.name);
            }
        }
    }

    fn write_object(&self, root: &mut Document, object: &ObjectSummary, shows_owner: bool) {
        root.element("Contents", |contents| {
            contents.text("Key", &self.encoding.apply(&object.key));
            contents.text("LastModified", &iso_date(object.last_modified));
            contents.text("ETag", &quoted(&object.hash.etag()));
            contents.text("Size", &object.size.to_string());
            contents.text("StorageClass", "STANDARD");
            if shows_owner {
                contents.element("Owner", |owner| owner.text("ID", OWNER_ID));
            }
        });
    }

    pub(super) fn write_prefix(&self, root: &mut Document, prefix: &str) {
        root.element("CommonPrefixes", |common| {
            common.text("Prefix", &self.encoding.apply(prefix));
        });
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::s3::testing::Stage;
    use crate::storage::AnyOperation;

    fn page(next: Option<&str>) -> ObjectPage {
        let object = |key: &str| {
            ListEntry::Object(ObjectSummary {
                key: key.into(),
                size: 3,
                hash: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
                    .parse()
                    .unwrap(),
                last_modified: datetime!(2026-01-02 03:04:05.678 UTC),
                mtime: None,
            })
        };
        ObjectPage {
            entries: vec![
                object("a b+<日>"),
                ListEntry::Prefix("d/".to_owned().into()),
                object("e"),
            ],
            next: next.map(str::to_owned),
        }
    }

    fn bucket() -> BucketName {
        BucketName::new("b").unwrap()
    }

    fn query(query: &str) -> ListQuery {
        ListQuery::read(&Params::parse(Some(query)).unwrap(), "max-keys").unwrap()
    }

    #[test]
    fn the_second_version_counts_and_continues() {
        let params = Params::parse(Some(
            "list-type=2&start-after=x&continuation-token=t&prefix=p",
        ))
        .unwrap();
        let second = SecondVersion::read(&params).unwrap();
        assert_eq!(second.start(), ListStart::Token("t".into()));
        let document = ListQuery::read(&params, "max-keys").unwrap().document_v2(
            &bucket(),
            &second,
            &page(Some("n")),
        );
        insta::assert_snapshot!(document.to_string());
    }

    #[test]
    fn the_first_version_marks_and_encodes() {
        let query = query("delimiter=/&encoding-type=url&max-keys=3");
        let document = query.document_v1(&bucket(), "a b", &page(Some("n")));
        insta::assert_snapshot!(document.to_string());
    }

    #[test]
    fn the_first_version_names_the_next_marker_only_with_a_delimiter() {
        let has_marker = |text: &str, next| {
            query(text)
                .document_v1(&bucket(), "", &page(next))
                .to_string()
                .contains("<NextMarker>")
        };
        assert!(has_marker("delimiter=/", Some("n")));
        assert!(!has_marker("", Some("n")));
        assert!(!has_marker("delimiter=/", None));
    }

    #[test]
    fn pages_of_no_entries_are_never_truncated() {
        let query = query("max-keys=0");
        let page = ObjectPage {
            entries: vec![],
            next: Some("n".into()),
        };
        let document = query.document_v1(&bucket(), "", &page).to_string();
        assert!(document.contains("<IsTruncated>false</IsTruncated>"));
    }

    #[test]
    fn counts_are_capped_and_checked() {
        assert_eq!(query("max-keys=2000").max_entries, 1000);
        assert_eq!(query("max-keys=0").max_entries, 0);
        for wrong in ["max-keys=-1", "max-keys=x", "encoding-type=xml"] {
            let params = Params::parse(Some(wrong)).unwrap();
            assert_eq!(
                ListQuery::read(&params, "max-keys").unwrap_err().code,
                "InvalidArgument",
                "{wrong}"
            );
        }
        let params = Params::parse(Some("continuation-token=")).unwrap();
        assert_eq!(
            SecondVersion::read(&params).unwrap_err().code,
            "InvalidArgument"
        );
    }

    #[tokio::test]
    async fn both_versions_become_one_operation() {
        let stage = Stage::new();
        let answer = stage
            .ask("GET /b?prefix=a%2Fb&delimiter=/&marker=m&max-keys=5", &[])
            .await;
        assert_eq!(
            (answer.element("Key"), answer.element("Marker")),
            ("k", "m")
        );
        let AnyOperation::ListObjects(list) = stage.only_call().operation else {
            panic!()
        };
        let expected = ListObjects {
            bucket: bucket(),
            prefix: "a/b".into(),
            delimiter: Some("/".into()),
            start: ListStart::After("m".into()),
            max_entries: 5,
        };
        assert_eq!(list, expected);

        let line =
            "GET /b?list-type=2&prefix=a%2Fb&delimiter=/&start-after=m&max-keys=5&fetch-owner=true";
        let answer = stage.ask(line, &[]).await;
        assert_eq!(
            (answer.element("KeyCount"), answer.element("ID")),
            ("1", OWNER_ID)
        );
        let AnyOperation::ListObjects(list) = stage.only_call().operation else {
            panic!()
        };
        assert_eq!(list, expected);
    }
}
