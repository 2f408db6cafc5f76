//! Metadata that lies beside objects: it never outlives them, and never comes back.

use std::collections::HashMap;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::MetadataDirective;

use crate::beside::Beside;
use crate::stand::{BUCKET, Stand, get, put};

/// A stand whose gateway sees at once what others write.
async fn uncached() -> Stand {
    Stand::start_with(&[("HUGBUCKET_FILE_INFO_CACHE_TTL", "0")]).await
}

/// Returns the user metadata of an object.
async fn metadata(s3: &Client, key: &str) -> HashMap<String, String> {
    let head = s3.head_object().bucket(BUCKET).key(key).send().await;
    head.unwrap().metadata.unwrap_or_default()
}

async fn state(s3: &Client, key: &str) -> Option<String> {
    metadata(s3, key).await.remove("state")
}

async fn put_with_state(s3: &Client, key: &str, content: &str, state: &str) {
    let body = ByteStream::from(content.as_bytes().to_vec());
    let write = s3.put_object().bucket(BUCKET).key(key).body(body);
    write.metadata("state", state).send().await.unwrap();
}

async fn copy(s3: &Client, from: &str, to: &str) {
    let copy = s3.copy_object().bucket(BUCKET).key(to);
    let copy = copy.copy_source(format!("{BUCKET}/{from}"));
    copy.send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_without_metadata_never_brings_old_metadata_back() {
    let stand = uncached().await;
    let s3 = stand.s3();
    for _ in 0..3 {
        put_with_state(&s3, "k", "content", "old").await;
        assert_eq!(state(&s3, "k").await.as_deref(), Some("old"));
        put(&s3, "k", "content").await;
        assert_eq!(state(&s3, "k").await, None);
        s3.delete_object()
            .bucket(BUCKET)
            .key("k")
            .send()
            .await
            .unwrap();
        put(&s3, "k", "content").await;
        assert_eq!(state(&s3, "k").await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_without_metadata_never_brings_old_metadata_back() {
    let stand = uncached().await;
    let (s3, beside) = (stand.s3(), Beside::of(&stand));
    put_with_state(&s3, "source", "content", "old").await;
    copy(&s3, "source", "copy").await;
    assert_eq!(state(&s3, "copy").await.as_deref(), Some("old"));
    // `hf` uploads the same bytes with the same time, and knows nothing of the sidecar.
    let file = beside.file("source").await.unwrap();
    beside.overwrite("bare", &file).await;
    assert_eq!(state(&s3, "bare").await, None);
    copy(&s3, "bare", "copy").await;
    assert_eq!(state(&s3, "copy").await, None);
    assert_eq!(get(&s3, "copy").await.unwrap(), b"content");
    let kept = beside.file("copy").await.unwrap();
    assert_eq!((kept.hash, kept.mtime), (file.hash, file.mtime));
    assert_eq!(
        beside.hidden_paths().await.len(),
        1,
        "only the source's is left"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_onto_itself_replaces_all_metadata() {
    let stand = uncached().await;
    let s3 = stand.s3();
    put_with_state(&s3, "k", "content", "old").await;
    let onto_itself = || {
        let copy = s3.copy_object().bucket(BUCKET).key("k");
        let copy = copy.copy_source(format!("{BUCKET}/k"));
        copy.metadata_directive(MetadataDirective::Replace)
    };
    let replace = onto_itself()
        .metadata("other", "new")
        .cache_control("no-store");
    replace.send().await.unwrap();
    let head = s3
        .head_object()
        .bucket(BUCKET)
        .key("k")
        .send()
        .await
        .unwrap();
    assert_eq!(head.cache_control(), Some("no-store"));
    assert_eq!(head.metadata().unwrap().len(), 1);
    onto_itself().send().await.unwrap();
    let head = s3
        .head_object()
        .bucket(BUCKET)
        .key("k")
        .send()
        .await
        .unwrap();
    assert_eq!(head.cache_control(), None);
    assert!(head.metadata().unwrap().is_empty());
    assert_eq!(get(&s3, "k").await.unwrap(), b"content");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_or_deleted_beside_the_gateway_shows_no_stale_metadata() {
    let stand = uncached().await;
    let (s3, beside) = (stand.s3(), Beside::of(&stand));
    put(&s3, "other", "other content").await;
    let other = beside.file("other").await.unwrap();
    // Other content.
    put_with_state(&s3, "k", "content", "old").await;
    beside.overwrite("k", &other).await;
    assert_eq!(state(&s3, "k").await, None);
    assert_eq!(get(&s3, "k").await.unwrap(), b"other content");
    // The same content at another time.
    put_with_state(&s3, "k", "content", "old").await;
    let mut again = beside.file("k").await.unwrap();
    again.mtime = again.mtime.map(|mtime| mtime + time::Duration::seconds(1));
    beside.overwrite("k", &again).await;
    assert_eq!(state(&s3, "k").await, None);
    // Gone, and written again by a client that knows no metadata.
    put_with_state(&s3, "k", "content", "old").await;
    beside.delete("k").await;
    let head = s3.head_object().bucket(BUCKET).key("k").send().await;
    assert_eq!(
        head.unwrap_err().raw_response().unwrap().status().as_u16(),
        404
    );
    beside.overwrite("k", &other).await;
    assert_eq!(state(&s3, "k").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_takes_the_metadata_along() {
    let stand = Stand::start().await;
    let (s3, beside) = (stand.s3(), Beside::of(&stand));
    put_with_state(&s3, "one", "content", "old").await;
    put_with_state(&s3, "two", "content", "old").await;
    assert_eq!(beside.hidden_paths().await.len(), 2);
    s3.delete_object()
        .bucket(BUCKET)
        .key("one")
        .send()
        .await
        .unwrap();
    assert_eq!(beside.hidden_paths().await.len(), 1);
    let two = aws_sdk_s3::types::ObjectIdentifier::builder().key("two");
    let two = aws_sdk_s3::types::Delete::builder().objects(two.build().unwrap());
    let delete = s3.delete_objects().bucket(BUCKET);
    delete.delete(two.build().unwrap()).send().await.unwrap();
    assert_eq!(beside.hidden_paths().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_header_that_s3_keeps_is_kept_by_every_kind_of_write() {
    let stand = uncached().await;
    let s3 = stand.s3();
    let write = s3.put_object().bucket(BUCKET).key("put");
    write
        .body(ByteStream::from_static(b"x"))
        .content_type("text/x-test")
        .cache_control("max-age=7")
        .content_disposition("attachment; filename=\"a b.txt\"")
        .content_encoding("gzip")
        .content_language("de, en")
        .expires(DateTime::from_secs(1_700_000_000))
        .metadata("Mixed-Case", "Value")
        .metadata("mail", "=?UTF-8?B?w7w=?=")
        .send()
        .await
        .unwrap();
    copy(&s3, "put", "copy").await;
    let create = s3.create_multipart_upload().bucket(BUCKET).key("parts");
    let upload = create
        .content_type("text/x-test")
        .cache_control("max-age=7")
        .content_disposition("attachment; filename=\"a b.txt\"")
        .content_encoding("gzip")
        .content_language("de, en")
        .expires(DateTime::from_secs(1_700_000_000))
        .metadata("mixed-case", "Value")
        .metadata("mail", "=?UTF-8?B?w7w=?=")
        .send()
        .await
        .unwrap();
    let upload = upload.upload_id().unwrap();
    let part = s3
        .upload_part()
        .bucket(BUCKET)
        .key("parts")
        .upload_id(upload);
    let part = part.part_number(1).body(ByteStream::from_static(b"x"));
    let part = part.send().await.unwrap();
    let part = aws_sdk_s3::types::CompletedPart::builder()
        .part_number(1)
        .e_tag(part.e_tag().unwrap())
        .set_checksum_crc32(part.checksum_crc32().map(str::to_owned));
    let parts = aws_sdk_s3::types::CompletedMultipartUpload::builder().parts(part.build());
    let complete = s3.complete_multipart_upload().bucket(BUCKET).key("parts");
    let complete = complete.upload_id(upload).multipart_upload(parts.build());
    complete.send().await.unwrap();
    for key in ["put", "copy", "parts"] {
        let read = s3
            .get_object()
            .bucket(BUCKET)
            .key(key)
            .send()
            .await
            .unwrap();
        assert_eq!(read.content_type(), Some("text/x-test"), "{key}");
        assert_eq!(read.cache_control(), Some("max-age=7"), "{key}");
        let disposition = Some("attachment; filename=\"a b.txt\"");
        assert_eq!(read.content_disposition(), disposition, "{key}");
        assert_eq!(
            read.content_encoding(),
            Some("gzip"),
            "{key}: aws-chunked is not kept"
        );
        assert_eq!(read.content_language(), Some("de, en"), "{key}");
        let expires = Some("Tue, 14 Nov 2023 22:13:20 GMT");
        assert_eq!(read.expires_string(), expires, "{key}");
        let user = read.metadata().unwrap();
        assert_eq!(user["mixed-case"], "Value", "{key}");
        assert_eq!(user["mail"], "=?UTF-8?B?w7w=?=", "{key}");
    }
}
