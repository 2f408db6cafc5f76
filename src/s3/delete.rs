//! DeleteObjects: up to 1,000 keys, one verdict each.

use axum::response::{IntoResponse, Response};

use crate::s3::exchange::Exchange;
use crate::s3::fault::Fault;
use crate::s3::xml::Document;
use crate::s3::xml_reader::Element;
use crate::s3::{condition, integrity};
use crate::sigv4::ContentSha256;
use crate::storage::{BucketName, DeleteObjects, ObjectKey};

/// The most keys in one request. Source: AWS, "DeleteObjects".
const MAX_KEYS: usize = 1000;

/// The longest document: 1,000 keys of 1,024 bytes in which half of the characters are escaped.
const MAX_DOCUMENT_BYTES: usize = 4 << 20;

/// `POST /bucket?delete`
pub(super) async fn delete_objects(
    exchange: Exchange,
    bucket: BucketName,
) -> Result<Response, Fault> {
    condition::refuse_on_write(&exchange.headers)?;
    let announced = integrity::announced(&exchange.headers)?;
    let is_vouched_for = announced.md5.is_some()
        || announced.checksum.is_some()
        || matches!(exchange.signed_payload(), ContentSha256::Digest(_));
    if !is_vouched_for {
        return Err(Fault::invalid_request(
            "Missing required header for this request: Content-MD5",
        ));
    }
    let (caller, document) = exchange
        .read_document(MAX_DOCUMENT_BYTES, announced)
        .await?;
    let batch = Batch::parse(&document)?;
    // Keys that cannot exist never travel; the others do even if none is left, for the stack judges who asks.
    let keys = batch
        .keys
        .iter()
        .filter_map(|(_, key)| key.as_ref().ok().cloned())
        .collect();
    let deleted = caller.call(DeleteObjects { bucket, keys }).await?;
    let mut verdicts = deleted.verdicts.into_iter();
    let result = Document::result("DeleteResult", |root| {
        for (name, key) in batch.keys {
            let verdict = match key {
                Ok(_) => verdicts
                    .next()
                    .map_or_else(|| Err(Fault::internal()), |v| v.map_err(Fault::from)),
                Err(fault) => Err(fault),
            };
            match verdict {
                Ok(()) if batch.is_quiet => {}
                Ok(()) => root.element("Deleted", |deleted| deleted.text("Key", &name)),
                Err(fault) => root.element("Error", |error| {
                    error.text("Key", &name);
                    error.text("Code", fault.code);
                    error.text("Message", &fault.message);
                }),
            }
        }
    });
    Ok(result.into_response())
}

/// What a client wants deleted.
#[derive(Debug)]
struct Batch {
    is_quiet: bool,
    /// Each key as written, and as checked.
    keys: Vec<(String, Result<ObjectKey, Fault>)>,
}

impl Batch {
    /// Errors: MalformedXML, also for no key and for more than 1,000; NotImplemented for conditions.
    fn parse(document: &[u8]) -> Result<Self, Fault> {
        let root = Element::parse(document, "Delete")?;
        let keys = root
            .all("Object")
            .map(read_object)
            .collect::<Result<Vec<_>, _>>()?;
        if !(1..=MAX_KEYS).contains(&keys.len()) {
            return Err(Fault::malformed_xml(
                "it names no object, or more than 1000",
            ));
        }
        Ok(Self {
            is_quiet: root
                .child_text("Quiet")
                .is_some_and(|quiet| quiet.eq_ignore_ascii_case("true")),
            keys,
        })
    }
}

fn read_object(object: &Element) -> Result<(String, Result<ObjectKey, Fault>), Fault> {
    for condition in ["ETag", "LastModifiedTime", "Size"] {
        if object.child_text(condition).is_some() {
            return Err(Fault::header_not_implemented(format!("Object/{condition}")));
        }
    }
    let name = object
        .child_raw("Key")
        .ok_or_else(|| Fault::malformed_xml("an object has no key"))?;
    let key = match object.child_text("VersionId") {
        None | Some("" | "null") => ObjectKey::new(name).map_err(Fault::from),
        Some(_) => Err(Fault::not_configured(
            "NoSuchVersion",
            "The specified version does not exist.",
        )),
    };
    Ok((name.to_owned(), key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::testing::Stage;
    use crate::storage::{AnyOperation, AnyOutput, ObjectsDeleted, StorageError};

    #[test]
    fn keys_are_read_as_written() {
        let document = "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Object><Key> a&amp;b </Key></Object>\
                        <Object><Key>/x</Key><VersionId>null</VersionId></Object>\
                        <Object><Key>c</Key><VersionId>7</VersionId></Object><Quiet>true</Quiet></Delete>";
        let batch = Batch::parse(document.as_bytes()).unwrap();
        assert!(batch.is_quiet);
        let outcomes: Vec<_> = batch
            .keys
            .iter()
            .map(|(name, key)| {
                (
                    name.as_str(),
                    key.as_ref().map_or_else(|fault| fault.code, |_| "ok"),
                )
            })
            .collect();
        assert_eq!(
            outcomes,
            [
                (" a&b ", "ok"),
                ("/x", "InvalidArgument"),
                ("c", "NoSuchVersion")
            ]
        );
    }

    #[test]
    fn wrong_batches_are_refused() {
        let code = |document: &str| Batch::parse(document.as_bytes()).unwrap_err().code;
        assert_eq!(code("<Delete/>"), "MalformedXML");
        assert_eq!(code("<Delete><Object/></Delete>"), "MalformedXML");
        let many = format!(
            "<Delete>{}</Delete>",
            "<Object><Key>k</Key></Object>".repeat(1001)
        );
        assert_eq!(code(&many), "MalformedXML");
        assert_eq!(
            code("<Delete><Object><Key>k</Key><ETag>x</ETag></Object></Delete>"),
            "NotImplemented"
        );
    }

    /// A batch of `k`, the impossible `/x`, and `z`.
    const BATCH: &str = "<Delete><Object><Key>k</Key></Object><Object><Key>/x</Key></Object>\
                         <Object><Key>z</Key></Object></Delete>";

    fn md5_of(document: &str) -> String {
        use base64::Engine as _;
        use md5::Digest as _;
        base64::engine::general_purpose::STANDARD.encode(md5::Md5::digest(document))
    }

    #[tokio::test]
    async fn every_key_gets_its_verdict_in_order() {
        let stage = Stage::answering(|_| {
            Ok(AnyOutput::DeleteObjects(ObjectsDeleted {
                verdicts: vec![Ok(()), Err(StorageError::Overloaded)],
            }))
        });
        let answer = stage
            .send("POST /b?delete", &[("content-md5", &md5_of(BATCH))], BATCH)
            .await;
        assert_eq!(answer.status, 200);
        let (_, verdicts) = answer.text().split_once("<Deleted>").unwrap();
        let codes: Vec<_> = verdicts
            .split("<Key>")
            .skip(1)
            .map(|part| part.split('<').next().unwrap())
            .collect();
        assert_eq!(codes, ["k", "/x", "z"]);
        assert!(
            verdicts.contains("<Key>/x</Key><Code>InvalidArgument</Code>"),
            "{verdicts}"
        );
        assert!(
            verdicts.contains("<Key>z</Key><Code>SlowDown</Code>"),
            "{verdicts}"
        );
        let AnyOperation::DeleteObjects(delete) = stage.only_call().operation else {
            panic!()
        };
        let keys: Vec<_> = delete.keys.iter().map(ObjectKey::as_str).collect();
        assert_eq!(keys, ["k", "z"]);
    }

    #[tokio::test]
    async fn a_quiet_batch_names_only_failures() {
        let stage = Stage::new();
        let document = BATCH.replace("<Delete>", "<Delete><Quiet>true</Quiet>");
        let answer = stage
            .send(
                "POST /b?delete",
                &[("content-md5", &md5_of(&document))],
                document,
            )
            .await;
        assert!(!answer.text().contains("<Deleted>"));
        assert!(answer.text().contains("<Key>/x</Key>"));
    }

    #[tokio::test]
    async fn a_batch_must_be_vouched_for_and_intact() {
        let stage = Stage::new();
        let send = async |headers: &[(&str, &str)]| {
            let answer = stage.send("POST /b?delete", headers, BATCH).await;
            (answer.status.as_u16(), answer.element("Code").to_owned())
        };
        assert_eq!(send(&[]).await, (400, "InvalidRequest".into()));
        assert_eq!(
            send(&[("content-md5", &md5_of("other"))]).await,
            (400, "BadDigest".into())
        );
        assert_eq!(
            send(&[("x-amz-checksum-crc32", "AAAAAA==")]).await,
            (400, "BadDigest".into())
        );
        assert_eq!(stage.call_count(), 0);
    }
}
