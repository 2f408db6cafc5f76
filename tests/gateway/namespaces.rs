//! One endpoint for several namespaces: `<namespace>.<bucket>` for those that are listed, and a plain dotted name otherwise.

use crate::stand::{BUCKET, Stand, put};

/// An organisation of the Hub's user, and one of its buckets as the gateway names it.
const ORGANISATION: &str = "tester-org";
const SHARED: &str = "tester-org.shared";

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_namespace_has_its_buckets_beside_ones_own() {
    let stand = Stand::start_with(&[("HUGBUCKET_EXTRA_NAMESPACES", ORGANISATION)]).await;
    let s3 = stand.s3();
    s3.create_bucket().bucket(SHARED).send().await.unwrap();
    let listed = s3.list_buckets().send().await.unwrap();
    let names = listed.buckets().iter().filter_map(|bucket| bucket.name());
    assert_eq!(names.collect::<Vec<_>>(), [BUCKET, SHARED]);
    put(&s3, "k", "copied across").await;
    let copy = s3.copy_object().copy_source(format!("{BUCKET}/k"));
    copy.bucket(SHARED).key("d/k").send().await.unwrap();
    let back = s3.copy_object().copy_source(format!("{SHARED}/d/k"));
    back.bucket(BUCKET).key("back").send().await.unwrap();
    for (bucket, key) in [(SHARED, "d/k"), (BUCKET, "back")] {
        let object = s3
            .get_object()
            .bucket(bucket)
            .key(key)
            .send()
            .await
            .unwrap();
        let bytes = object.body.collect().await.unwrap().into_bytes();
        assert_eq!(bytes, "copied across", "{bucket}/{key}");
    }
    let listed = s3.list_objects_v2().bucket(SHARED).send().await.unwrap();
    assert_eq!(listed.contents().len(), 1);

    // Without the list, the same name is that of a bucket of one's own, which does not exist.
    let plain = stand.another_gateway(&[]).await;
    let found = plain.s3().head_bucket().bucket(SHARED).send().await;
    assert!(found.unwrap_err().into_service_error().is_not_found());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dotted_bucket_stays_a_bucket() {
    for settings in [&[][..], &[("HUGBUCKET_EXTRA_NAMESPACES", "others")]] {
        let stand = Stand::start_with(settings).await;
        let s3 = stand.s3();
        s3.create_bucket().bucket(SHARED).send().await.unwrap();
        let body = b"x".to_vec().into();
        let write = s3.put_object().bucket(SHARED).key("k").body(body);
        write.send().await.unwrap();
        let plain = stand.another_gateway(&[]).await;
        let object = plain
            .s3()
            .head_object()
            .bucket(SHARED)
            .key("k")
            .send()
            .await;
        assert_eq!(object.unwrap().content_length(), Some(1));
    }
}
