//! Objects through the AWS SDK with its default settings (checksum trailers included).

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketLocationConstraint, CreateBucketConfiguration, Delete, MetadataDirective,
    ObjectIdentifier,
};

use crate::stand::{BUCKET, Stand, get, put, random_bytes};

#[tokio::test(flavor = "multi_thread")]
async fn bytes_come_back_whatever_the_size() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    const MIB: usize = 1 << 20;
    for (n, size) in [
        0,
        1,
        65_535,
        65_536,
        65_537,
        5 * MIB,
        64 * MIB - 1,
        64 * MIB,
        64 * MIB + 1,
    ]
    .into_iter()
    .enumerate()
    {
        let bytes = random_bytes(n as u64, size);
        let key = format!("size/{size}");
        let body = ByteStream::from(bytes.clone());
        let put = s3
            .put_object()
            .bucket(BUCKET)
            .key(&key)
            .body(body)
            .send()
            .await
            .unwrap();
        let head = s3
            .head_object()
            .bucket(BUCKET)
            .key(&key)
            .send()
            .await
            .unwrap();
        assert_eq!(head.content_length(), Some(size as i64));
        assert_eq!(head.e_tag(), put.e_tag(), "one entity tag everywhere");
        assert!(
            get(&s3, &key).await.as_deref() == Some(&bytes),
            "{size} bytes"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_taken_as_they_are() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    let keys = [
        "with space",
        "plus+plus",
        "per%cent",
        "per%20cent",
        "hash#",
        "question?mark",
        "amp&equals=",
        "ünï/日本語/🚀",
        "-dash",
        "quote'\"",
        "a:b;c,d",
        "~tilde(paren)*!",
        "trailing.",
        "deep/er/and/deeper/still",
    ];
    for key in keys {
        put(&s3, key, key.as_bytes()).await;
    }
    for key in keys {
        assert_eq!(
            get(&s3, key).await.as_deref(),
            Some(key.as_bytes()),
            "{key}"
        );
    }
    let listed = s3.list_objects_v2().bucket(BUCKET).send().await.unwrap();
    let mut expected: Vec<&str> = keys.to_vec();
    expected.sort_unstable();
    let found: Vec<&str> = listed
        .contents()
        .iter()
        .filter_map(|object| object.key())
        .collect();
    assert_eq!(found, expected, "in UTF-8 byte order");
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_are_exact() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    let bytes = random_bytes(7, 10_000_000);
    put(&s3, "ranged", bytes.clone()).await;
    let cases = [
        ("bytes=0-0", 0..1),
        ("bytes=100-199", 100..200),
        ("bytes=9999999-", 9_999_999..10_000_000),
        ("bytes=-5", 9_999_995..10_000_000),
        ("bytes=131071-131073", 131_071..131_074),
        ("bytes=1000000-8999999", 1_000_000..9_000_000),
        ("bytes=9999990-20000000", 9_999_990..10_000_000),
    ];
    for (range, expected) in cases {
        let part = s3
            .get_object()
            .bucket(BUCKET)
            .key("ranged")
            .range(range)
            .send()
            .await
            .unwrap();
        let content_range = format!("bytes {}-{}/10000000", expected.start, expected.end - 1);
        assert_eq!(part.content_range(), Some(content_range.as_str()));
        assert!(
            part.body.collect().await.unwrap().to_vec() == bytes[expected],
            "{range}"
        );
    }
    let beyond = s3
        .get_object()
        .bucket(BUCKET)
        .key("ranged")
        .range("bytes=10000000-")
        .send()
        .await
        .unwrap_err();
    assert_eq!(beyond.raw_response().unwrap().status().as_u16(), 416);
    let head = s3
        .head_object()
        .bucket(BUCKET)
        .key("ranged")
        .send()
        .await
        .unwrap();
    let pinned = s3
        .get_object()
        .bucket(BUCKET)
        .key("ranged")
        .range("bytes=5-9")
        .if_match(head.e_tag().unwrap());
    assert_eq!(
        pinned
            .send()
            .await
            .unwrap()
            .body
            .collect()
            .await
            .unwrap()
            .to_vec(),
        bytes[5..10]
    );
    put(&s3, "ranged", "new").await;
    let stale = s3
        .get_object()
        .bucket(BUCKET)
        .key("ranged")
        .if_match(head.e_tag().unwrap())
        .send()
        .await
        .unwrap_err();
    assert_eq!(stale.raw_response().unwrap().status().as_u16(), 412);
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_comes_back_and_never_outlives_its_object() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    let put = s3
        .put_object()
        .bucket(BUCKET)
        .key("m")
        .body(ByteStream::from_static(b"one"));
    let put = put
        .content_type("text/x-test")
        .cache_control("no-store")
        .content_language("de");
    put.metadata("mtime", "1700000000.123456789")
        .metadata("colour", "blue")
        .send()
        .await
        .unwrap();
    let head = s3
        .head_object()
        .bucket(BUCKET)
        .key("m")
        .send()
        .await
        .unwrap();
    assert_eq!(
        (head.content_type(), head.cache_control()),
        (Some("text/x-test"), Some("no-store"))
    );
    assert_eq!(head.content_language(), Some("de"));
    let metadata = head.metadata().unwrap();
    assert_eq!(metadata["mtime"], "1700000000.123456789");
    assert_eq!((metadata["colour"].as_str(), metadata.len()), ("blue", 2));

    // A copy takes the metadata along, or replaces it.
    let copy = s3
        .copy_object()
        .bucket(BUCKET)
        .key("copy")
        .copy_source(format!("{BUCKET}/m"));
    let copied = copy.send().await.unwrap();
    assert_eq!(copied.copy_object_result().unwrap().e_tag(), head.e_tag());
    let head_copy = s3
        .head_object()
        .bucket(BUCKET)
        .key("copy")
        .send()
        .await
        .unwrap();
    assert_eq!(head_copy.metadata().unwrap(), metadata);
    assert_eq!(head_copy.content_type(), Some("text/x-test"));
    let replace = s3
        .copy_object()
        .bucket(BUCKET)
        .key("m")
        .copy_source(format!("{BUCKET}/m"));
    let replace = replace
        .metadata_directive(MetadataDirective::Replace)
        .metadata("colour", "red");
    replace.send().await.unwrap();
    let head = s3
        .head_object()
        .bucket(BUCKET)
        .key("m")
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            head.metadata().unwrap()["colour"].as_str(),
            head.cache_control()
        ),
        ("red", None)
    );

    // The same bytes written without metadata have none.
    crate::stand::put(&s3, "m", "one").await;
    let head = s3
        .head_object()
        .bucket(BUCKET)
        .key("m")
        .send()
        .await
        .unwrap();
    assert!(
        head.metadata()
            .is_none_or(std::collections::HashMap::is_empty),
        "{head:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_come_and_go_but_not_with_objects_inside() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    let place = CreateBucketConfiguration::builder()
        .location_constraint(BucketLocationConstraint::EuWest1)
        .build();
    s3.create_bucket()
        .bucket("second")
        .create_bucket_configuration(place)
        .send()
        .await
        .unwrap();
    s3.create_bucket()
        .bucket("second")
        .send()
        .await
        .expect("creating one's own bucket again succeeds");
    let buckets = s3.list_buckets().send().await.unwrap();
    let names: Vec<&str> = buckets
        .buckets()
        .iter()
        .filter_map(|bucket| bucket.name())
        .collect();
    assert_eq!(names, [BUCKET, "second"]);
    s3.head_bucket().bucket("second").send().await.unwrap();
    s3.get_bucket_location()
        .bucket("second")
        .send()
        .await
        .unwrap();

    let object = s3
        .put_object()
        .bucket("second")
        .key("k")
        .body(ByteStream::from_static(b"x"))
        .metadata("a", "b");
    object.send().await.unwrap();
    let refused = s3
        .delete_bucket()
        .bucket("second")
        .send()
        .await
        .unwrap_err();
    assert_eq!(refused.raw_response().unwrap().status().as_u16(), 409);
    assert!(
        s3.copy_object()
            .bucket(BUCKET)
            .key("k")
            .copy_source("second/k")
            .send()
            .await
            .is_ok()
    );
    s3.delete_object()
        .bucket("second")
        .key("k")
        .send()
        .await
        .unwrap();
    s3.delete_bucket().bucket("second").send().await.unwrap();
    let gone = s3.head_bucket().bucket("second").send().await.unwrap_err();
    assert_eq!(gone.raw_response().unwrap().status().as_u16(), 404);
    // What was copied across lives on, metadata included.
    let copy = s3
        .get_object()
        .bucket(BUCKET)
        .key("k")
        .send()
        .await
        .unwrap();
    assert_eq!(copy.metadata().unwrap()["a"], "b");
    assert_eq!(copy.body.collect().await.unwrap().to_vec(), b"x");
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_answer_for_each_key() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    for key in ["a", "b", "dir/c"] {
        put(&s3, key, key).await;
    }
    s3.delete_object()
        .bucket(BUCKET)
        .key("never-there")
        .send()
        .await
        .unwrap();
    let keys = ["a", "dir/c", "never-there"]
        .map(|key| ObjectIdentifier::builder().key(key).build().unwrap());
    let request = Delete::builder()
        .set_objects(Some(keys.to_vec()))
        .build()
        .unwrap();
    let deleted = s3
        .delete_objects()
        .bucket(BUCKET)
        .delete(request)
        .send()
        .await
        .unwrap();
    assert_eq!((deleted.deleted().len(), deleted.errors().len()), (3, 0));
    assert_eq!(get(&s3, "a").await, None);
    assert_eq!(get(&s3, "b").await.as_deref(), Some(&b"b"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_page_fold_and_hide() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    let keys = [
        "a/ first",
        "a/!second",
        "a/1",
        "a/2",
        "a-b",
        "a0",
        "b/c/d",
        "b/c/e",
        "z",
    ];
    for key in keys {
        put(&s3, key, "x").await;
    }
    put(&s3, "a/", "").await;
    // Its sidecar lies under the hidden prefix.
    s3.put_object()
        .bucket(BUCKET)
        .key("y")
        .metadata("k", "v")
        .body(ByteStream::from_static(b"x"))
        .send()
        .await
        .unwrap();

    let mut expected: Vec<&str> = keys.into_iter().chain(["a/", "y"]).collect();
    expected.sort_unstable();
    let mut pages = s3
        .list_objects_v2()
        .bucket(BUCKET)
        .max_keys(2)
        .into_paginator()
        .send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        assert!(page.contents().len() <= 2);
        found.extend(
            page.contents()
                .iter()
                .filter_map(|object| object.key().map(str::to_owned)),
        );
    }
    assert_eq!(found, expected);

    let folded = s3
        .list_objects_v2()
        .bucket(BUCKET)
        .delimiter("/")
        .send()
        .await
        .unwrap();
    let objects: Vec<&str> = folded
        .contents()
        .iter()
        .filter_map(|object| object.key())
        .collect();
    let prefixes: Vec<&str> = folded
        .common_prefixes()
        .iter()
        .filter_map(|prefix| prefix.prefix())
        .collect();
    assert_eq!(
        (objects, prefixes),
        (vec!["a-b", "a0", "y", "z"], vec!["a/", "b/"])
    );

    let inside = s3
        .list_objects()
        .bucket(BUCKET)
        .prefix("a/")
        .delimiter("/")
        .send()
        .await
        .unwrap();
    let inside: Vec<&str> = inside
        .contents()
        .iter()
        .filter_map(|object| object.key())
        .collect();
    assert_eq!(inside, ["a/", "a/ first", "a/!second", "a/1", "a/2"]);

    let after = s3
        .list_objects_v2()
        .bucket(BUCKET)
        .start_after("a/2")
        .delimiter("c")
        .send()
        .await
        .unwrap();
    let objects: Vec<&str> = after
        .contents()
        .iter()
        .filter_map(|object| object.key())
        .collect();
    let prefixes: Vec<&str> = after
        .common_prefixes()
        .iter()
        .filter_map(|prefix| prefix.prefix())
        .collect();
    assert_eq!((objects, prefixes), (vec!["a0", "y", "z"], vec!["b/c"]));
}
