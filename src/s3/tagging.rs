//! Tags: the operations on them alone, and how a write carries them.

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};

use crate::s3::exchange::Exchange;
use crate::s3::fault::Fault;
use crate::s3::header::text;
use crate::s3::params::Params;
use crate::s3::xml::Document;
use crate::s3::xml_reader::Element;
use crate::s3::{condition, integrity};
use crate::storage::{
    BucketName, DeleteTags, GetTags, MAX_TAGS, ObjectKey, PutTags, TagError, Tags,
};

/// Carries the tags of an object that is written.
const TAGGING: &str = "x-amz-tagging";

/// The longest document: ten tags of the longest keys and values, every character escaped, and then some.
pub(super) const MAX_DOCUMENT_BYTES: usize = 64 << 10;

/// `GET /bucket/key?tagging`
pub(super) async fn get(
    exchange: Exchange,
    bucket: BucketName,
    key: ObjectKey,
) -> Result<Response, Fault> {
    let found = exchange.caller.call(GetTags { bucket, key }).await?;
    Ok(document(&found.tags).into_response())
}

/// Writes tags as [`of_document`] reads them.
pub(super) fn document(tags: &Tags) -> Document {
    Document::result("Tagging", |root| {
        root.element("TagSet", |set| {
            for (key, value) in tags.iter() {
                set.element("Tag", |tag| {
                    tag.text("Key", key);
                    tag.text("Value", value);
                });
            }
        });
    })
}

/// `PUT /bucket/key?tagging`
pub(super) async fn put(
    exchange: Exchange,
    bucket: BucketName,
    key: ObjectKey,
) -> Result<Response, Fault> {
    condition::refuse_on_write(&exchange.headers)?;
    let announced = integrity::announced(&exchange.headers)?;
    let mut operation = PutTags {
        bucket,
        key,
        tags: Tags::default(),
    };
    let (caller, document) = exchange
        .read_document(MAX_DOCUMENT_BYTES, announced, operation.clone())
        .await?;
    operation.tags = of_document(&document)?;
    caller.call(operation).await?;
    Ok(StatusCode::OK.into_response())
}

/// `DELETE /bucket/key?tagging`
pub(super) async fn delete(
    exchange: Exchange,
    bucket: BucketName,
    key: ObjectKey,
) -> Result<Response, Fault> {
    condition::refuse_on_write(&exchange.headers)?;
    exchange.caller.call(DeleteTags { bucket, key }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Reads the tags that a write carries in `x-amz-tagging`: a query, `key=value&key=value`.
///
/// Errors: InvalidArgument for what is no such query; as [`Tags::new`].
pub(super) fn of_headers(headers: &HeaderMap) -> Result<Tags, Fault> {
    if !headers.contains_key(TAGGING) {
        return Ok(Tags::default());
    }
    let refused = || {
        Fault::invalid_argument(
            TAGGING,
            "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name \
             duplicates.",
        )
        .with("ArgumentValue", text(headers, TAGGING).unwrap_or_default())
    };
    let query = text(headers, TAGGING).ok_or_else(refused)?;
    let params = Params::parse(Some(query)).map_err(|_| refused())?;
    let pairs = params
        .iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
    match Tags::new(pairs) {
        Err(TagError::DuplicateKey) => Err(refused()),
        tags => Ok(tags?),
    }
}

/// Reads the tags that replace those of a copy's source; `None` to copy the source's.
///
/// Errors: InvalidArgument for an unknown directive; as [`of_headers`].
pub(super) fn replacement(headers: &HeaderMap) -> Result<Option<Tags>, Fault> {
    const DIRECTIVE: &str = "x-amz-tagging-directive";
    match text(headers, DIRECTIVE) {
        None | Some("COPY") => Ok(None),
        Some("REPLACE") => of_headers(headers).map(Some),
        Some(_) => Err(Fault::invalid_argument(
            DIRECTIVE,
            "Unknown tagging directive.",
        )),
    }
}

/// Reads a document of tags, as PutObjectTagging and forms have it.
///
/// Errors: MalformedXML; as [`Tags::new`].
pub(super) fn of_document(document: &[u8]) -> Result<Tags, Fault> {
    let root = Element::parse(document, "Tagging")?;
    let set = only(&root, "TagSet")?;
    let mut pairs = Vec::new();
    for tag in set.all("Tag") {
        let (key, value) = (only(tag, "Key")?, only(tag, "Value")?);
        pairs.push((key.text.clone(), value.text.clone()));
    }
    Ok(Tags::new(pairs)?)
}

fn only<'a>(parent: &'a Element, name: &'static str) -> Result<&'a Element, Fault> {
    let mut found = parent.all(name);
    match (found.next(), found.next()) {
        (Some(child), None) => Ok(child),
        _ => Err(Fault::malformed_xml(format_args!(
            "{} does not have exactly one {name}",
            parent.name
        ))),
    }
}

impl From<TagError> for Fault {
    fn from(error: TagError) -> Self {
        let invalid = |message| Self::new(StatusCode::BAD_REQUEST, "InvalidTag", message);
        match error {
            TagError::InvalidKey => invalid("The TagKey you have provided is invalid"),
            TagError::InvalidValue => invalid("The TagValue you have provided is invalid"),
            TagError::SystemKey => invalid("System tags cannot be added/updated by requester"),
            TagError::DuplicateKey => invalid("Cannot provide multiple Tags with the same key"),
            TagError::TooMany => Self::new(
                StatusCode::BAD_REQUEST,
                "BadRequest",
                format!("Object tags cannot be greater than {MAX_TAGS}"),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::S3Config;
    use crate::s3::testing::{Stage, object};
    use crate::storage::{AnyOperation, AnyOutput, StorageError, TagsFound};

    fn tags(pairs: &[(&str, &str)]) -> Tags {
        let owned = |&(key, value): &(&str, &str)| (key.to_owned(), value.to_owned());
        Tags::new(pairs.iter().map(owned)).unwrap()
    }

    fn document(tags: &str) -> String {
        format!("<Tagging xmlns=\"urn:x\"><TagSet>{tags}</TagSet></Tagging>")
    }

    fn tag(key: &str, value: &str) -> String {
        format!("<Tag><Key>{key}</Key><Value>{value}</Value></Tag>")
    }

    #[tokio::test]
    async fn tags_are_written_read_and_removed() {
        let stage = Stage::answering(|operation| match operation {
            AnyOperation::GetTags(_) => Ok(AnyOutput::GetTags(TagsFound {
                tags: tags(&[("a b", "1+1=2"), ("z", "")]),
            })),
            other => Ok(crate::s3::testing::ordinary(other)),
        });
        let answer = stage.ask("GET /b/k?tagging&versionId=null", &[]).await;
        assert!(
            answer.text().ends_with(
                "<TagSet><Tag><Key>a b</Key><Value>1+1=2</Value></Tag><Tag><Key>z</Key><Value></Value></Tag></TagSet>\
                 </Tagging>"
            ),
            "{}",
            answer.text()
        );
        stage.only_call();

        let sent = document(&(tag(" a ", "1") + &tag("b", "")));
        let answer = stage.send("PUT /b/k?tagging", &[], sent).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, ""));
        let AnyOperation::PutTags(put) = stage.only_call().operation else {
            panic!()
        };
        assert_eq!(put.key.as_str(), "k");
        assert_eq!(put.tags, tags(&[(" a ", "1"), ("b", "")]));

        let answer = stage.ask("DELETE /b/k?tagging", &[]).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (204, ""));
        assert!(matches!(
            stage.only_call().operation,
            AnyOperation::DeleteTags(_)
        ));
    }

    #[tokio::test]
    async fn wrong_tags_reach_no_service() {
        let stage = Stage::new();
        let many: String = (0..11).map(|n| tag(&n.to_string(), "")).collect();
        for (sent, verdict) in [
            (document(&tag("", "v")), (400, "InvalidTag")),
            (document(&tag("aws:a", "v")), (400, "InvalidTag")),
            (document(&tag("a", "&lt;")), (400, "InvalidTag")),
            (document(&tag("a", "1").repeat(2)), (400, "InvalidTag")),
            (document(&many), (400, "BadRequest")),
            (document("<Tag><Key>a</Key></Tag>"), (400, "MalformedXML")),
            ("<Tagging/>".into(), (400, "MalformedXML")),
            (String::new(), (400, "MalformedXML")),
            ("<TagSet/>".into(), (400, "MalformedXML")),
        ] {
            let answer = stage.send("PUT /b/k?tagging", &[], sent.clone()).await;
            assert_eq!(answer.verdict(), verdict, "{sent}");
        }
        for (line, header, verdict) in [
            (
                "PUT /b/k?tagging&versionId=7",
                ("accept", "*/*"),
                (404, "NoSuchVersion"),
            ),
            (
                "GET /b/k?tagging&versionId=7",
                ("accept", "*/*"),
                (404, "NoSuchVersion"),
            ),
            (
                "DELETE /b/k?tagging&versionId=7",
                ("accept", "*/*"),
                (404, "NoSuchVersion"),
            ),
            (
                "PUT /b/k?tagging",
                ("if-match", "*"),
                (501, "NotImplemented"),
            ),
            (
                "DELETE /b/k?tagging",
                ("if-match", "*"),
                (501, "NotImplemented"),
            ),
            (
                "PUT /b/k?tagging",
                ("content-md5", "AAAAAAAAAAAAAAAAAAAAAA=="),
                (400, "BadDigest"),
            ),
        ] {
            let answer = stage.send(line, &[header], document("")).await;
            assert_eq!(answer.verdict(), verdict, "{line} {header:?}");
        }
        assert_eq!(stage.call_count(), 0);
    }

    #[test]
    fn the_header_is_a_query() {
        let read = |value: &str| {
            let headers: HeaderMap = [(
                http::HeaderName::from_static(TAGGING),
                value.parse().unwrap(),
            )]
            .into_iter()
            .collect();
            of_headers(&headers).map_err(|fault| fault.code)
        };
        assert_eq!(
            read("a=1&b+c=%C3%BC%2B&d"),
            Ok(tags(&[("a", "1"), ("b c", "ü+"), ("d", "")]))
        );
        assert_eq!(read(""), Ok(Tags::default()));
        assert_eq!(of_headers(&HeaderMap::new()).unwrap(), Tags::default());
        for (value, code) in [
            ("a=1&a=2", "InvalidArgument"),
            ("a=%zz", "InvalidArgument"),
            ("=1", "InvalidTag"),
            ("a=%3C", "InvalidTag"),
            ("a&b&c&d&e&f&g&h&i&j&k", "BadRequest"),
        ] {
            assert_eq!(read(value), Err(code), "{value}");
        }
    }

    #[tokio::test]
    async fn every_write_carries_its_tags() {
        let stage = Stage::new();
        let header = ("x-amz-tagging", "a=1");
        let length = ("content-length", "1");
        stage.send("PUT /b/k", &[length, header], "x").await;
        let AnyOperation::PutObject(put) = stage.only_call().operation else {
            panic!()
        };
        assert_eq!(put.metadata.tags, tags(&[("a", "1")]));
        stage.ask("POST /b/k?uploads", &[header]).await;
        let AnyOperation::CreateUpload(create) = stage.only_call().operation else {
            panic!()
        };
        assert_eq!(create.metadata.tags, tags(&[("a", "1")]));
        let line = "PUT /b/k?x-amz-tagging=a%3D2";
        stage.send(line, &[length], "x").await;
        let AnyOperation::PutObject(put) = stage.only_call().operation else {
            panic!()
        };
        assert_eq!(put.metadata.tags, tags(&[("a", "2")]), "presigned");
    }

    #[tokio::test]
    async fn a_copy_replaces_tags_only_when_told() {
        let stage = Stage::new();
        let copy = async |directive: &'static str| {
            let headers = [
                ("x-amz-copy-source", "/b/other"),
                ("x-amz-tagging", "a=1"),
                ("x-amz-tagging-directive", directive),
            ];
            stage.ask("PUT /b/k", &headers).await.verdict().1.to_owned()
        };
        for (directive, replaced) in [("COPY", None), ("REPLACE", Some(tags(&[("a", "1")])))] {
            assert_eq!(copy(directive).await, "");
            let AnyOperation::CopyObject(copied) = stage.only_call().operation else {
                panic!()
            };
            assert_eq!(copied.replace_tags, replaced);
            assert_eq!(copied.replace_metadata, None);
        }
        assert_eq!(copy("MERGE").await, "InvalidArgument");
        assert_eq!(stage.call_count(), 0);
    }

    #[tokio::test]
    async fn reads_tell_members_how_many_tags_there_are() {
        let tagged = |operation: &AnyOperation| {
            let mut answer = crate::s3::testing::ordinary(operation);
            let mut info = object();
            info.metadata.tags = tags(&[("a", "1"), ("b", "2")]);
            match &mut answer {
                AnyOutput::GetObject(data) => data.info = info.into(),
                AnyOutput::HeadObject(found) => found.info = info.into(),
                _ => panic!(),
            }
            Ok(answer)
        };
        let members_only = S3Config {
            lets_strangers_read: true,
            ..S3Config::default()
        };
        for (stage, count) in [
            (Stage::answering(tagged), "2"),
            (Stage::configured(members_only, tagged), ""),
            (Stage::new(), ""),
        ] {
            for method in ["GET", "HEAD"] {
                let answer = stage.ask(&format!("{method} /b/k"), &[]).await;
                assert_eq!(answer.header("x-amz-tagging-count"), count);
            }
        }
    }

    #[tokio::test]
    async fn an_object_that_changes_all_the_time_is_a_conflict() {
        let stage = Stage::failing(StorageError::ConditionalRequestConflict);
        let answer = stage.send("PUT /b/k?tagging", &[], document("")).await;
        assert_eq!(answer.verdict(), (409, "ConditionalRequestConflict"));
    }
}
