//! DeleteObjects: up to 1,000 keys, one verdict each.

use axum::response::{IntoResponse, Response};

use crate::s3::exchange::Exchange;
use crate::s3::fault::Fault;
use crate::s3::xml::Document;
use crate::s3::xml_reader::Element;
use crate::s3::{condition, integrity};
use crate::sigv4::ContentSha256;
use crate::storage::{BucketName, DeleteObjects, Deletion, EtagMatch, ObjectKey, WriteConditions};

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
    let coming = DeleteObjects {
        bucket: bucket.clone(),
        deletions: Vec::new(),
    };
    let (caller, document) = exchange
        .read_document(MAX_DOCUMENT_BYTES, announced, coming)
        .await?;
    let batch = Batch::parse(&document)?;
    // Keys that cannot exist never travel; the others do even if none is left, for the stack judges who asks.
    let deletions = batch
        .objects
        .iter()
        .filter_map(|(_, deletion)| deletion.as_ref().ok().cloned())
        .collect();
    let deleted = caller.call(DeleteObjects { bucket, deletions }).await?;
    let mut verdicts = deleted.verdicts.into_iter();
    let result = Document::result("DeleteResult", |root| {
        for (name, deletion) in batch.objects {
            let verdict = match deletion {
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
pub(super) struct Batch {
    is_quiet: bool,
    /// Each key as written, and what to delete once checked.
    pub(super) objects: Vec<(String, Result<Deletion, Fault>)>,
}

impl Batch {
    /// Errors: MalformedXML, also for no key, for more than 1,000, and for conditions that cannot be read.
    pub(super) fn parse(document: &[u8]) -> Result<Self, Fault> {
        let root = Element::parse(document, "Delete")?;
        let objects = root
            .all("Object")
            .map(read_object)
            .collect::<Result<Vec<_>, _>>()?;
        if !(1..=MAX_KEYS).contains(&objects.len()) {
            return Err(Fault::malformed_xml(
                "it names no object, or more than 1000",
            ));
        }
        Ok(Self {
            is_quiet: root
                .child_text("Quiet")
                .is_some_and(|quiet| quiet.eq_ignore_ascii_case("true")),
            objects,
        })
    }
}

fn read_object(object: &Element) -> Result<(String, Result<Deletion, Fault>), Fault> {
    let name = object
        .child_raw("Key")
        .ok_or_else(|| Fault::malformed_xml("an object has no key"))?;
    let conditions = read_conditions(object)?;
    let key = match object.child_text("VersionId") {
        None | Some("" | "null") => ObjectKey::new(name).map_err(Fault::from),
        Some(version) => Err(Fault::no_such_version(name, version)),
    };
    let deletion = key.map(|key| Deletion { key, conditions });
    Ok((name.to_owned(), deletion))
}

/// Reads the conditions on one object. An empty tag is one that no object has.
fn read_conditions(object: &Element) -> Result<WriteConditions, Fault> {
    let given = |name| object.child_text(name);
    let unreadable = |what| move || Fault::malformed_xml(what);
    let size = given("Size").map(|text| {
        condition::size(text).ok_or_else(unreadable("the size of an object is no number"))
    });
    let time = given("LastModifiedTime").map(|text| {
        condition::moment(text).ok_or_else(unreadable("the time of an object is no date"))
    });
    Ok(WriteConditions {
        if_match: given("ETag").map(EtagMatch::parse),
        if_size: size.transpose()?,
        if_last_modified: time.transpose()?,
        ..WriteConditions::default()
    })
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
            .objects
            .iter()
            .map(|(name, deletion)| {
                let outcome = deletion.as_ref().map_or_else(|fault| fault.code, |_| "ok");
                (name.as_str(), outcome)
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
        for condition in ["<Size>x</Size>", "<LastModifiedTime>now</LastModifiedTime>"] {
            let document = format!("<Delete><Object><Key>k</Key>{condition}</Object></Delete>");
            assert_eq!(code(&document), "MalformedXML", "{condition}");
        }
    }

    #[test]
    fn each_object_has_its_own_conditions() {
        let document = "<Delete><Object><Key>a</Key><ETag>\"x\"</ETag><Size>7</Size>\
                        <LastModifiedTime>Sun, 06 Nov 1994 08:49:37 GMT</LastModifiedTime></Object>\
                        <Object><Key>b</Key></Object></Delete>";
        let batch = Batch::parse(document.as_bytes()).unwrap();
        let conditions: Vec<_> = batch
            .objects
            .iter()
            .map(|(_, deletion)| deletion.as_ref().unwrap().conditions.clone())
            .collect();
        let wanted = WriteConditions {
            if_match: Some(EtagMatch::Tags(vec!["x".into()])),
            if_size: Some(7),
            if_last_modified: Some(time::macros::datetime!(1994-11-06 08:49:37 UTC)),
            ..WriteConditions::default()
        };
        assert_eq!(conditions, [wanted, WriteConditions::default()]);
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
        let keys: Vec<_> = delete
            .deletions
            .iter()
            .map(|deletion| deletion.key.as_str())
            .collect();
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
