//! Conditional writes: what conditions protect, and what a client is told when they fail.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{
    CompletedMultipartUpload, CompletedPart, Delete, MetadataDirective, ObjectIdentifier,
    StorageClass,
};

use crate::stand::{BUCKET, Stand, get, put};

pub(crate) type Verdict = Result<(), (u16, String)>;

/// Returns the status and the code of an error.
pub(crate) fn verdict<T, E: ProvideErrorMetadata>(
    answer: Result<T, SdkError<E, aws_sdk_s3::config::http::HttpResponse>>,
) -> Verdict {
    let Err(error) = answer else {
        return Ok(());
    };
    let status = error
        .raw_response()
        .map_or(0, |response| response.status().as_u16());
    Err((status, error.code().unwrap_or_default().to_owned()))
}

pub(crate) fn refused(status: u16, code: &str) -> Verdict {
    Err((status, code.to_owned()))
}

pub(crate) fn failed() -> Verdict {
    refused(412, "PreconditionFailed")
}

pub(crate) fn write(s3: &Client, key: &str, bytes: &str) -> PutObjectFluentBuilder {
    let body = ByteStream::from(bytes.as_bytes().to_vec());
    s3.put_object().bucket(BUCKET).key(key).body(body)
}

async fn tag(s3: &Client, key: &str) -> String {
    let head = s3.head_object().bucket(BUCKET).key(key).send().await;
    head.unwrap().e_tag().unwrap().to_owned()
}

pub(crate) async fn text(s3: &Client, key: &str) -> Option<String> {
    Some(String::from_utf8(get(s3, key).await?).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_replaces_only_what_its_conditions_name() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    let put = |bytes: &str| write(&s3, "k", bytes);
    assert_eq!(
        verdict(put("x").if_match("*").send().await),
        refused(404, "NoSuchKey")
    );
    assert_eq!(verdict(put("one").if_none_match("*").send().await), Ok(()));
    let one = tag(&s3, "k").await;
    assert_eq!(verdict(put("x").if_none_match("*").send().await), failed());
    assert_eq!(verdict(put("x").if_none_match(&one).send().await), failed());
    assert_eq!(
        verdict(put("x").if_match("\"other\"").send().await),
        failed()
    );
    assert_eq!(text(&s3, "k").await.as_deref(), Some("one"));
    // Without quotes and among others, as some clients send it.
    let tags = format!("\"other\", {}", one.trim_matches('"'));
    assert_eq!(verdict(put("two").if_match(tags).send().await), Ok(()));
    assert_eq!(verdict(put("x").if_match(&one).send().await), failed());
    assert_eq!(
        verdict(put("three").if_none_match(&one).send().await),
        Ok(())
    );
    assert_eq!(text(&s3, "k").await.as_deref(), Some("three"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_replaces_only_what_its_conditions_name() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    put(&s3, "from", "new").await;
    put(&s3, "to", "old").await;
    let copy = |key: &str| {
        let source = format!("{BUCKET}/from");
        s3.copy_object().bucket(BUCKET).key(key).copy_source(source)
    };
    assert_eq!(
        verdict(copy("to").if_none_match("*").send().await),
        failed()
    );
    assert_eq!(
        verdict(copy("to").if_match("\"other\"").send().await),
        failed()
    );
    assert_eq!(
        verdict(copy("no").if_match("*").send().await),
        refused(404, "NoSuchKey")
    );
    assert_eq!(text(&s3, "to").await.as_deref(), Some("old"));
    assert_eq!(text(&s3, "no").await, None);
    let old = tag(&s3, "to").await;
    assert_eq!(verdict(copy("to").if_match(old).send().await), Ok(()));
    assert_eq!(verdict(copy("no").if_none_match("*").send().await), Ok(()));
    assert_eq!(text(&s3, "to").await.as_deref(), Some("new"));

    let wrong_source = copy("to").copy_source_if_match("\"other\"");
    assert_eq!(verdict(wrong_source.send().await), failed());
    let unchanged = refused(400, "InvalidRequest");
    assert_eq!(verdict(copy("from").send().await), unchanged);
    assert_eq!(
        verdict(
            copy("from")
                .storage_class(StorageClass::Standard)
                .send()
                .await
        ),
        Ok(())
    );
    let replace = copy("from").metadata_directive(MetadataDirective::Replace);
    assert_eq!(verdict(replace.if_match("*").send().await), Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_removes_only_what_its_conditions_name() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    put(&s3, "k", "bytes").await;
    let head = s3
        .head_object()
        .bucket(BUCKET)
        .key("k")
        .send()
        .await
        .unwrap();
    let (tag, modified) = (head.e_tag().unwrap(), *head.last_modified().unwrap());
    let long_ago = DateTime::from_secs(1_000_000_000);
    let delete = |key: &str| s3.delete_object().bucket(BUCKET).key(key);
    assert_eq!(
        verdict(delete("k").if_match("\"other\"").send().await),
        failed()
    );
    assert_eq!(verdict(delete("k").if_match_size(4).send().await), failed());
    assert_eq!(
        verdict(
            delete("k")
                .if_match_last_modified_time(long_ago)
                .send()
                .await
        ),
        failed()
    );
    assert_eq!(
        verdict(delete("no").if_match("*").send().await),
        refused(404, "NoSuchKey")
    );
    assert_eq!(verdict(delete("no").if_match_size(1).send().await), Ok(()));
    assert_eq!(text(&s3, "k").await.as_deref(), Some("bytes"));
    let right = delete("k").if_match(tag).if_match_size(5);
    assert_eq!(
        verdict(right.if_match_last_modified_time(modified).send().await),
        Ok(())
    );
    assert_eq!(text(&s3, "k").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_object_of_a_bulk_deletion_has_its_own_conditions() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    for key in ["a", "b", "c", "d"] {
        put(&s3, key, key).await;
    }
    let object = |key: &str| ObjectIdentifier::builder().key(key);
    let objects = [
        object("a").e_tag(tag(&s3, "a").await),
        object("b").e_tag("\"other\""),
        object("c").size(1),
        object("d").size(2),
        object("no").e_tag("*"),
    ];
    let objects = objects.map(|object| object.build().unwrap()).to_vec();
    let delete = Delete::builder()
        .set_objects(Some(objects))
        .build()
        .unwrap();
    let answer = s3
        .delete_objects()
        .bucket(BUCKET)
        .delete(delete)
        .send()
        .await
        .unwrap();
    let deleted: Vec<_> = answer
        .deleted()
        .iter()
        .filter_map(|one| one.key())
        .collect();
    assert_eq!(deleted, ["a", "c"]);
    let errors = answer
        .errors()
        .iter()
        .map(|one| (one.key().unwrap(), one.code().unwrap()));
    let expected = [
        ("b", "PreconditionFailed"),
        ("d", "PreconditionFailed"),
        ("no", "NoSuchKey"),
    ];
    assert_eq!(errors.collect::<Vec<_>>(), expected);
    let mut left = Vec::new();
    for key in ["a", "b", "c", "d"] {
        left.extend(text(&s3, key).await);
    }
    assert_eq!(left, ["b", "d"]);
}

/// Begins an upload of one part.
pub(crate) async fn begin(
    s3: &Client,
    key: &str,
    bytes: &str,
) -> (String, CompletedMultipartUpload) {
    let begun = s3
        .create_multipart_upload()
        .bucket(BUCKET)
        .key(key)
        .send()
        .await
        .unwrap();
    let upload = begun.upload_id().unwrap().to_owned();
    let body = ByteStream::from(bytes.as_bytes().to_vec());
    let part = s3
        .upload_part()
        .bucket(BUCKET)
        .key(key)
        .upload_id(&upload)
        .part_number(1)
        .body(body);
    let part = CompletedPart::builder()
        .part_number(1)
        .set_e_tag(part.send().await.unwrap().e_tag)
        .build();
    (
        upload,
        CompletedMultipartUpload::builder().parts(part).build(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_replaces_only_what_its_conditions_name() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    put(&s3, "k", "old").await;
    let (upload, parts) = begin(&s3, "k", "new").await;
    let complete = || {
        let request = s3.complete_multipart_upload().bucket(BUCKET).key("k");
        request.upload_id(&upload).multipart_upload(parts.clone())
    };
    assert_eq!(
        verdict(complete().if_none_match("*").send().await),
        failed()
    );
    assert_eq!(
        verdict(complete().if_match("\"other\"").send().await),
        failed()
    );
    assert_eq!(text(&s3, "k").await.as_deref(), Some("old"));
    // The upload is still there, and may yet be completed.
    let old = tag(&s3, "k").await;
    let once = complete().if_match(&old).send().await.unwrap();
    assert_eq!(text(&s3, "k").await.as_deref(), Some("new"));
    // Repeated, it has the same answer, although its own object now stands in the way.
    let twice = complete().if_match(&old).send().await.unwrap();
    assert_eq!(once.e_tag(), twice.e_tag());
}
