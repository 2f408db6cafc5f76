//! Tags of objects, which lie beside them.

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{MetadataDirective, Tag, Tagging, TaggingDirective};
use futures::future::join_all;
use hugbucket::devhub::Route;

use crate::beside::Beside;
use crate::conditions::{begin, refused, verdict};
use crate::stand::{BUCKET, Stand, get, put};

/// Returns the tags of an object as `key=value`, in the order of the answer.
async fn tags(s3: &Client, key: &str) -> Vec<String> {
    let found = s3.get_object_tagging().bucket(BUCKET).key(key).send().await;
    let tags = found.unwrap().tag_set;
    tags.iter()
        .map(|tag| format!("{}={}", tag.key, tag.value))
        .collect()
}

fn tagging(pairs: &[(&str, &str)]) -> Tagging {
    let tags = pairs
        .iter()
        .map(|(key, value)| Tag::builder().key(*key).value(*value).build().unwrap());
    Tagging::builder()
        .set_tag_set(Some(tags.collect()))
        .build()
        .unwrap()
}

async fn tag(s3: &Client, key: &str, pairs: &[(&str, &str)]) {
    let request = s3.put_object_tagging().bucket(BUCKET).key(key);
    request.tagging(tagging(pairs)).send().await.unwrap();
}

async fn untag(s3: &Client, key: &str) {
    let request = s3.delete_object_tagging().bucket(BUCKET).key(key);
    request.send().await.unwrap();
}

/// What of an object its tags must never touch, and how many tags it has.
async fn head(s3: &Client, key: &str) -> (String, String, Option<String>, Option<i32>) {
    let head = s3.head_object().bucket(BUCKET).key(key);
    let head = head.send().await.unwrap();
    (
        format!("{:?} {:?}", head.e_tag(), head.last_modified()),
        format!("{:?}", head.content_type()),
        head.metadata().and_then(|all| all.get("state").cloned()),
        head.tag_count(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_change_and_nothing_else_of_the_object_does() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    let write = s3.put_object().bucket(BUCKET).key("k");
    let write = write.body(ByteStream::from_static(b"content"));
    let write = write.content_type("text/x-test").metadata("state", "kept");
    write.tagging("a=1&b=%C3%BC").send().await.unwrap();
    assert_eq!(tags(&s3, "k").await, ["a=1", "b=ü"]);
    let before = head(&s3, "k").await;
    assert_eq!(before.3, Some(2));
    let beside = Beside::of(&stand);
    let registered = beside.file("k").await.unwrap();

    stand.hub.calls().reset();
    tag(&s3, "k", &[("c", "3")]).await;
    let calls = stand.hub.calls();
    assert_eq!(calls.count(Route::Batch), 1);
    assert!(
        calls.count(Route::PathsInfo) <= 2,
        "one to prepare, one to judge"
    );
    assert_eq!(tags(&s3, "k").await, ["c=3"]);
    let after = head(&s3, "k").await;
    assert_eq!(after.3, Some(1));
    assert_eq!(
        (&after.0, &after.1, &after.2),
        (&before.0, &before.1, &before.2)
    );
    assert_eq!(
        beside.file("k").await.unwrap(),
        registered,
        "its line is not written"
    );

    // The same tags again are no change.
    stand.hub.calls().reset();
    tag(&s3, "k", &[("c", "3")]).await;
    assert_eq!(stand.hub.calls().count(Route::Batch), 0);

    untag(&s3, "k").await;
    untag(&s3, "k").await;
    assert_eq!(tags(&s3, "k").await, Vec::<String>::new());
    let after = head(&s3, "k").await;
    assert_eq!(
        (&after.0, &after.1, &after.2, after.3),
        (&before.0, &before.1, &before.2, None)
    );
    assert_eq!(get(&s3, "k").await.unwrap(), b"content");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_without_anything_else_has_a_sidecar_only_while_it_has_tags() {
    let stand = Stand::start().await;
    let (s3, beside) = (stand.s3(), Beside::of(&stand));
    put(&s3, "k", "content").await;
    tag(&s3, "k", &[("a", "1")]).await;
    assert_eq!(beside.hidden_paths().await.len(), 1);
    // Another process knows them too.
    let other = stand.another_gateway(&[]).await;
    assert_eq!(tags(&other.s3(), "k").await, ["a=1"]);
    untag(&s3, "k").await;
    assert_eq!(beside.hidden_paths().await, Vec::<String>::new());
    tag(&s3, "k", &[("a", "1")]).await;
    // A write without tags leaves none, and neither does a deletion.
    put(&s3, "k", "content").await;
    assert_eq!(tags(&s3, "k").await, Vec::<String>::new());
    tag(&s3, "k", &[("a", "1")]).await;
    s3.delete_object()
        .bucket(BUCKET)
        .key("k")
        .send()
        .await
        .unwrap();
    put(&s3, "k", "content").await;
    assert_eq!(tags(&s3, "k").await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_take_tags_along_or_replace_them_whatever_becomes_of_the_metadata() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    let write = s3
        .put_object()
        .bucket(BUCKET)
        .key("k")
        .metadata("state", "old");
    write.tagging("a=1").send().await.unwrap();
    let copy = |key: &str| {
        let copy = s3.copy_object().bucket(BUCKET).key(key);
        copy.copy_source(format!("{BUCKET}/k"))
    };
    copy("plain").send().await.unwrap();
    assert_eq!(tags(&s3, "plain").await, ["a=1"]);
    let replaces = copy("tags").tagging_directive(TaggingDirective::Replace);
    replaces.tagging("b=2").send().await.unwrap();
    assert_eq!(tags(&s3, "tags").await, ["b=2"]);
    assert_eq!(head(&s3, "tags").await.2.as_deref(), Some("old"));
    let replaces = copy("metadata").metadata_directive(MetadataDirective::Replace);
    replaces.metadata("state", "new").send().await.unwrap();
    assert_eq!(tags(&s3, "metadata").await, ["a=1"]);
    assert_eq!(head(&s3, "metadata").await.2.as_deref(), Some("new"));
    let removes = copy("none").tagging_directive(TaggingDirective::Replace);
    removes.send().await.unwrap();
    assert_eq!(tags(&s3, "none").await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_parts_keeps_them_while_its_tags_come_and_go() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    let part_count = async || {
        let part = s3.head_object().bucket(BUCKET).key("k").part_number(1);
        part.send().await.unwrap().parts_count()
    };
    let complete = async |upload: &str, parts| {
        let complete = s3.complete_multipart_upload().bucket(BUCKET).key("k");
        let complete = complete.upload_id(upload).multipart_upload(parts);
        complete.send().await.unwrap();
    };
    let (upload, parts) = begin(&s3, "k", "content").await;
    complete(&upload, parts).await;
    assert_eq!(part_count().await, Some(1));
    tag(&s3, "k", &[("a", "1")]).await;
    assert_eq!(
        (part_count().await, tags(&s3, "k").await),
        (Some(1), vec!["a=1".to_owned()])
    );
    untag(&s3, "k").await;
    assert_eq!(
        (part_count().await, tags(&s3, "k").await),
        (Some(1), vec![])
    );

    let create = s3.create_multipart_upload().bucket(BUCKET).key("k");
    let upload = create.tagging("b=2").send().await.unwrap();
    let upload = upload.upload_id().unwrap().to_owned();
    let part = s3.upload_part().bucket(BUCKET).key("k").upload_id(&upload);
    let part = part.part_number(1).body(ByteStream::from_static(b"x"));
    let part = part.send().await.unwrap();
    let part = aws_sdk_s3::types::CompletedPart::builder()
        .part_number(1)
        .e_tag(part.e_tag().unwrap())
        .set_checksum_crc32(part.checksum_crc32().map(str::to_owned))
        .build();
    let parts = aws_sdk_s3::types::CompletedMultipartUpload::builder()
        .parts(part)
        .build();
    complete(&upload, parts).await;
    assert_eq!(
        (part_count().await, tags(&s3, "k").await),
        (Some(1), vec!["b=2".to_owned()])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_belong_to_one_content_even_if_its_writer_gave_it_no_time() {
    let stand = Stand::start_with(&[("HUGBUCKET_FILE_INFO_CACHE_TTL", "0")]).await;
    let (s3, beside) = (stand.s3(), Beside::of(&stand));
    put(&s3, "one", "first content").await;
    put(&s3, "two", "second content").await;
    let timeless = async |path: &str| {
        let mut file = beside.file(path).await.unwrap();
        file.mtime = None;
        file
    };
    let (one, two) = (timeless("one").await, timeless("two").await);
    beside.overwrite("k", &one).await;
    assert_eq!(beside.file("k").await.unwrap().mtime, None);
    tag(&s3, "k", &[("a", "1")]).await;
    assert_eq!(tags(&s3, "k").await, ["a=1"]);
    assert_eq!(head(&s3, "k").await.3, Some(1));
    beside.overwrite("k", &two).await;
    assert_eq!(tags(&s3, "k").await, Vec::<String>::new());
    assert_eq!(head(&s3, "k").await.3, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_tags_is_refused_and_changes_nothing() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    let write = s3.put_object_tagging().bucket(BUCKET).key("absent");
    let write = write.tagging(tagging(&[("a", "1")])).send().await;
    assert_eq!(verdict(write), refused(404, "NoSuchKey"));
    let read = s3
        .get_object_tagging()
        .bucket(BUCKET)
        .key("absent")
        .send()
        .await;
    assert_eq!(verdict(read), refused(404, "NoSuchKey"));
    let delete = s3
        .delete_object_tagging()
        .bucket(BUCKET)
        .key("absent")
        .send()
        .await;
    assert_eq!(verdict(delete), refused(404, "NoSuchKey"));
    assert_eq!(stand.hub.calls().count(Route::Batch), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_tags_never_undo_what_a_write_has_done() {
    const ROUNDS: usize = 6;
    let stand = Stand::start().await;
    let s3 = stand.s3();
    put(&s3, "k", "0").await;
    let taggers = (0..4).map(|n: usize| {
        let s3 = stand.s3();
        async move {
            for round in 0..ROUNDS {
                let value = format!("{n} {round}");
                tag(&s3, "k", &[("by", &value)]).await;
            }
        }
    });
    let writer = async {
        for round in 1..=ROUNDS {
            let write = s3.put_object().bucket(BUCKET).key("k");
            let write = write.metadata("state", round.to_string());
            let body = ByteStream::from(round.to_string().into_bytes());
            write.body(body).send().await.unwrap();
        }
    };
    futures::join!(join_all(taggers), writer);
    let last = ROUNDS.to_string();
    assert_eq!(get(&s3, "k").await.unwrap(), last.as_bytes());
    assert_eq!(head(&s3, "k").await.2, Some(last));
}
