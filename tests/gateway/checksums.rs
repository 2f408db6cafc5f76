//! Checksums that are kept with objects, and those that are not.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::RequestChecksumCalculation;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, ChecksumType};
use hugbucket::devhub::Route;

use crate::beside::Beside;
use crate::stand::{BUCKET, Stand, get, put};

/// A stand whose gateway keeps checksums.
async fn keeping() -> Stand {
    Stand::start_with(&[("HUGBUCKET_STORE_CHECKSUMS", "true")]).await
}

async fn head(s3: &Client, key: &str) -> HeadObjectOutput {
    let head = s3.head_object().bucket(BUCKET).key(key);
    head.checksum_mode(ChecksumMode::Enabled)
        .send()
        .await
        .unwrap()
}

/// Returns the one checksum of an answer, whatever its algorithm.
fn value(head: &HeadObjectOutput) -> Option<&str> {
    head.checksum_crc32()
        .or(head.checksum_crc32_c())
        .or(head.checksum_crc64_nvme())
        .or(head.checksum_sha1())
        .or(head.checksum_sha256())
}

/// Checksums of "123456789": the CRC catalogue of reveng, FIPS 180 tools.
const CHECK: &[u8] = b"123456789";
const CHECK_VALUES: [(ChecksumAlgorithm, &str); 5] = [
    (ChecksumAlgorithm::Crc32, "y/Q5Jg=="),
    (ChecksumAlgorithm::Crc32C, "4waSgw=="),
    (ChecksumAlgorithm::Crc64Nvme, "rosUhgp5mIg="),
    (ChecksumAlgorithm::Sha1, "98O8HYCOBHMq32eZZczDTKeuNEE="),
    (
        ChecksumAlgorithm::Sha256,
        "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_algorithm_is_kept_and_shown_where_it_is_asked_for() {
    let mut stand = keeping().await;
    for (algorithm, _) in CHECK_VALUES {
        let put = stand
            .s3()
            .put_object()
            .bucket(BUCKET)
            .key(algorithm.as_str())
            .body(ByteStream::from_static(CHECK))
            .checksum_algorithm(algorithm);
        put.send().await.unwrap();
    }
    // Another process knows them too.
    stand.gateway = stand.another_gateway(&[]).await;
    let s3 = stand.s3();
    for (algorithm, expected) in CHECK_VALUES {
        let head = head(&s3, algorithm.as_str()).await;
        assert_eq!(value(&head), Some(expected), "{algorithm}");
        assert_eq!(head.checksum_type(), Some(&ChecksumType::FullObject));
        let unasked = s3.head_object().bucket(BUCKET).key(algorithm.as_str());
        assert_eq!(value(&unasked.send().await.unwrap()), None);
        // The SDK asks by default, and compares.
        assert_eq!(get(&s3, algorithm.as_str()).await.as_deref(), Some(CHECK));
        let range = s3.get_object().bucket(BUCKET).key(algorithm.as_str());
        let range = range
            .checksum_mode(ChecksumMode::Enabled)
            .range("bytes=0-3");
        assert_eq!(range.send().await.unwrap().checksum_type(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_checksum_gets_one_that_is_computed() {
    let stand = keeping().await;
    let config = stand.s3().config().to_builder();
    let config = config.request_checksum_calculation(RequestChecksumCalculation::WhenRequired);
    let s3 = Client::from_conf(config.build());
    let put = s3.put_object().bucket(BUCKET).key("k");
    let put = put
        .body(ByteStream::from_static(CHECK))
        .send()
        .await
        .unwrap();
    assert_eq!(put.checksum_crc64_nvme(), Some("rosUhgp5mIg="));
    let kept = head(&s3, "k").await;
    assert_eq!(kept.checksum_crc64_nvme(), Some("rosUhgp5mIg="));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_setting_none_is_kept_and_a_bare_object_has_no_sidecar() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    put(&s3, "k", CHECK).await;
    assert_eq!(value(&head(&s3, "k").await), None);
    let beside = Beside::of(&stand);
    assert_eq!(beside.hidden_paths().await, Vec::<String>::new());
    let keeping = stand
        .another_gateway(&[("HUGBUCKET_STORE_CHECKSUMS", "true")])
        .await;
    put(&keeping.s3(), "k", CHECK).await;
    assert_eq!(beside.hidden_paths().await.len(), 1);
    assert_eq!(stand.hub.calls().count(Route::Shard), 2, "it costs no call");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_keeps_and_states_the_checksum() {
    let stand = keeping().await;
    let s3 = stand.s3();
    put(&s3, "k", CHECK).await;
    let copy = s3.copy_object().bucket(BUCKET).key("copy");
    let copied = copy
        .copy_source(format!("{BUCKET}/k"))
        .send()
        .await
        .unwrap();
    let copied = copied.copy_object_result().unwrap();
    assert_eq!(copied.checksum_crc32(), Some("y/Q5Jg=="));
    assert_eq!(copied.checksum_type(), Some(&ChecksumType::FullObject));
    assert_eq!(value(&head(&s3, "copy").await), Some("y/Q5Jg=="));
    // What cannot be computed without reading the object is not claimed.
    let copy = s3.copy_object().bucket(BUCKET).key("copy");
    let copy = copy.checksum_algorithm(ChecksumAlgorithm::Sha256);
    let copied = copy
        .copy_source(format!("{BUCKET}/k"))
        .send()
        .await
        .unwrap();
    assert_eq!(copied.copy_object_result().unwrap().checksum_sha256(), None);
    assert_eq!(head(&s3, "copy").await.checksum_sha256(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_overwritten_past_the_gateway_shows_no_stale_checksum() {
    let stand = Stand::start_with(&[
        ("HUGBUCKET_STORE_CHECKSUMS", "true"),
        ("HUGBUCKET_FILE_INFO_CACHE_TTL", "0"),
    ])
    .await;
    let s3 = stand.s3();
    put(&s3, "k", CHECK).await;
    put(&s3, "other", "other content").await;
    let beside = Beside::of(&stand);
    let other = beside.file("other").await.unwrap();
    beside.overwrite("k", &other).await;
    assert_eq!(value(&head(&s3, "k").await), None);
    assert_eq!(get(&s3, "k").await.unwrap(), b"other content");
    // Gone, it is gone, although its sidecar is still there.
    beside.delete("k").await;
    assert_eq!(get(&s3, "k").await, None);
}
