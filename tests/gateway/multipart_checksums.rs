//! Checksums of multipart uploads: composed of those of the parts, whichever process completes.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::RequestChecksumCalculation;
use aws_sdk_s3::operation::complete_multipart_upload::CompleteMultipartUploadOutput;
use aws_sdk_s3::operation::complete_multipart_upload::builders::CompleteMultipartUploadFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hugbucket::devhub::Route;
use hugbucket::storage::{Checksum, ChecksumAlgorithm as Algorithm, Digester};

use crate::stand::{BUCKET, Stand, get, random_bytes};

const MIB: usize = 1 << 20;

fn parts() -> [Vec<u8>; 3] {
    [
        random_bytes(1, 5 * MIB),
        random_bytes(2, 5 * MIB),
        random_bytes(3, 7),
    ]
}

fn of(algorithm: Algorithm, bytes: &[u8]) -> Checksum {
    let mut digester = Digester::new(algorithm);
    digester.update(bytes);
    digester.finish()
}

fn base64(checksum: &Checksum) -> String {
    BASE64.encode(&checksum.value)
}

/// The value that S3 gives the object, computed from its bytes and not as the gateway does.
fn expected(algorithm: Algorithm, kind: &ChecksumType) -> String {
    if *kind == ChecksumType::FullObject {
        return base64(&of(algorithm, &parts().concat()));
    }
    let checksums: Vec<u8> = parts()
        .iter()
        .flat_map(|part| of(algorithm, part).value.to_vec())
        .collect();
    format!("{}-3", base64(&of(algorithm, &checksums)))
}

async fn begin(s3: &Client, declared: Option<(ChecksumAlgorithm, ChecksumType)>) -> String {
    let mut begin = s3.create_multipart_upload().bucket(BUCKET).key("big");
    if let Some((algorithm, kind)) = declared {
        begin = begin.checksum_algorithm(algorithm).checksum_type(kind);
    }
    begin.send().await.unwrap().upload_id().unwrap().to_owned()
}

async fn send_parts(
    s3: &Client,
    upload: &str,
    algorithm: &ChecksumAlgorithm,
) -> Vec<CompletedPart> {
    let mut sent = Vec::new();
    for (number, part) in (1..).zip(parts()) {
        let part = s3
            .upload_part()
            .bucket(BUCKET)
            .key("big")
            .upload_id(upload)
            .part_number(number)
            .checksum_algorithm(algorithm.clone())
            .body(ByteStream::from(part));
        let answer = part.send().await.unwrap();
        let part = CompletedPart::builder()
            .part_number(number)
            .set_e_tag(answer.e_tag)
            .set_checksum_crc32(answer.checksum_crc32)
            .set_checksum_crc32_c(answer.checksum_crc32_c)
            .set_checksum_crc64_nvme(answer.checksum_crc64_nvme)
            .set_checksum_sha1(answer.checksum_sha1)
            .set_checksum_sha256(answer.checksum_sha256);
        sent.push(part.build());
    }
    sent
}

fn completion(
    s3: &Client,
    upload: &str,
    parts: Vec<CompletedPart>,
) -> CompleteMultipartUploadFluentBuilder {
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts));
    s3.complete_multipart_upload()
        .bucket(BUCKET)
        .key("big")
        .upload_id(upload)
        .multipart_upload(parts.build())
}

fn value(completed: &CompleteMultipartUploadOutput) -> Option<&str> {
    completed
        .checksum_crc32()
        .or(completed.checksum_crc32_c())
        .or(completed.checksum_crc64_nvme())
        .or(completed.checksum_sha1())
        .or(completed.checksum_sha256())
}

async fn refusal(request: CompleteMultipartUploadFluentBuilder) -> (u16, String) {
    let error = request.send().await.unwrap_err();
    let status = error.raw_response().unwrap().status().as_u16();
    let code = error.into_service_error().meta().code().map(str::to_owned);
    (status, code.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_is_returned_kept_and_the_same_from_another_process() {
    let settings = [("HUGBUCKET_STORE_CHECKSUMS", "true")];
    let mut stand = Stand::start_with(&settings).await;
    let (full, composite) = (ChecksumType::FullObject, ChecksumType::Composite);
    for (algorithm, kind, own) in [
        (ChecksumAlgorithm::Crc32, &full, Algorithm::Crc32),
        (ChecksumAlgorithm::Crc32, &composite, Algorithm::Crc32),
        (ChecksumAlgorithm::Crc32C, &full, Algorithm::Crc32c),
        (ChecksumAlgorithm::Crc32C, &composite, Algorithm::Crc32c),
        (ChecksumAlgorithm::Crc64Nvme, &full, Algorithm::Crc64Nvme),
        (ChecksumAlgorithm::Sha1, &composite, Algorithm::Sha1),
        (ChecksumAlgorithm::Sha256, &composite, Algorithm::Sha256),
    ] {
        let upload = begin(&stand.s3(), Some((algorithm.clone(), kind.clone()))).await;
        let sent = send_parts(&stand.s3(), &upload, &algorithm).await;
        stand.gateway = stand.another_gateway(&settings).await;
        let s3 = stand.s3();
        stand.hub.calls().reset();
        let completed = completion(&s3, &upload, sent.clone()).send().await.unwrap();
        let reads = stand.hub.calls().count(Route::XorbGet);
        assert_eq!(reads, 4, "the record and the manifests, but no part");
        let expected = expected(own, kind);
        let shown = (value(&completed), completed.checksum_type());
        assert_eq!(shown, (Some(expected.as_str()), Some(kind)), "{algorithm}");
        let repeated = completion(&s3, &upload, sent).send().await.unwrap();
        assert_eq!(value(&repeated), Some(expected.as_str()), "{algorithm}");

        let head = s3.head_object().bucket(BUCKET).key("big");
        let head = head.checksum_mode(ChecksumMode::Enabled).send().await;
        let head = head.unwrap();
        let kept = head
            .checksum_crc32()
            .or(head.checksum_crc32_c())
            .or(head.checksum_crc64_nvme())
            .or(head.checksum_sha1())
            .or(head.checksum_sha256());
        assert_eq!(
            (kept, head.checksum_type()),
            (Some(expected.as_str()), Some(kind))
        );
        assert!(get(&s3, "big").await.unwrap() == parts().concat());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undeclared_upload_gets_crc64nvme_and_keeps_nothing_unless_told_to() {
    let stand = Stand::start().await;
    // By default, the SDK declares CRC32.
    let config = stand.s3().config().to_builder();
    let config = config.request_checksum_calculation(RequestChecksumCalculation::WhenRequired);
    let upload = begin(&Client::from_conf(config.build()), None).await;
    let s3 = stand.s3();
    let sent = send_parts(&s3, &upload, &ChecksumAlgorithm::Crc32).await;
    let whole = base64(&of(Algorithm::Crc32, &parts().concat()));
    let wrong = completion(&s3, &upload, sent.clone()).checksum_crc32("AAAAAA==");
    assert_eq!(refusal(wrong).await, (400, "BadDigest".into()));
    let unknown =
        completion(&s3, &upload, sent.clone()).checksum_sha1(base64(&of(Algorithm::Sha1, b"")));
    assert_eq!(refusal(unknown).await, (400, "InvalidRequest".into()));
    let right = completion(&s3, &upload, sent).checksum_crc32(whole);
    let completed = right.send().await.unwrap();
    let expected = expected(Algorithm::Crc64Nvme, &ChecksumType::FullObject);
    assert_eq!(value(&completed), Some(expected.as_str()));
    let head = s3.head_object().bucket(BUCKET).key("big");
    let head = head.checksum_mode(ChecksumMode::Enabled).send().await;
    assert_eq!(head.unwrap().checksum_type(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_that_do_not_hold_store_nothing() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    let declared = (ChecksumAlgorithm::Crc32C, ChecksumType::Composite);
    let upload = begin(&s3, Some(declared)).await;
    let sent = send_parts(&s3, &upload, &ChecksumAlgorithm::Crc32C).await;
    let other = s3
        .upload_part()
        .bucket(BUCKET)
        .key("big")
        .upload_id(&upload)
        .part_number(4)
        .checksum_algorithm(ChecksumAlgorithm::Sha1)
        .body(ByteStream::from_static(b"x"));
    let error = other.send().await.unwrap_err().into_service_error();
    assert_eq!(error.meta().code(), Some("InvalidRequest"));

    let complete = || completion(&s3, &upload, sent.clone());
    let mut swapped = sent.clone();
    swapped[0]
        .checksum_crc32_c
        .clone_from(&sent[1].checksum_crc32_c);
    for (request, code) in [
        (completion(&s3, &upload, swapped), "InvalidPart"),
        (complete().checksum_crc32_c("AAAAAA==-3"), "BadDigest"),
        (complete().checksum_crc32("AAAAAA=="), "InvalidRequest"),
        (
            complete().checksum_type(ChecksumType::FullObject),
            "InvalidRequest",
        ),
        (complete().mpu_object_size(7), "InvalidRequest"),
    ] {
        assert_eq!(refusal(request).await, (400, code.to_owned()));
    }
    assert_eq!(get(&s3, "big").await, None);
    let right = complete()
        .checksum_crc32_c(expected(Algorithm::Crc32c, &ChecksumType::Composite))
        .checksum_type(ChecksumType::Composite)
        .mpu_object_size(10 * MIB as i64 + 7);
    right.send().await.unwrap();
    assert!(get(&s3, "big").await.unwrap() == parts().concat());
}
