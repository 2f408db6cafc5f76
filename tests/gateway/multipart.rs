//! Multipart uploads: composed by reference, by whichever process.

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use hugbucket::devhub::Route;

use crate::stand::{BUCKET, Stand, get, put, random_bytes};

pub(crate) const MIB: usize = 1 << 20;

pub(crate) async fn begin(s3: &Client, key: &str) -> String {
    let begun = s3
        .create_multipart_upload()
        .bucket(BUCKET)
        .key(key)
        .content_type("text/x-parts")
        .send()
        .await
        .unwrap();
    begun.upload_id().unwrap().to_owned()
}

pub(crate) async fn send_part(
    s3: &Client,
    key: &str,
    upload_id: &str,
    number: i32,
    bytes: Vec<u8>,
) -> CompletedPart {
    let body = ByteStream::from(bytes);
    let part = s3
        .upload_part()
        .bucket(BUCKET)
        .key(key)
        .upload_id(upload_id)
        .part_number(number)
        .body(body);
    let tag = part.send().await.unwrap().e_tag().unwrap().to_owned();
    CompletedPart::builder()
        .part_number(number)
        .e_tag(tag)
        .build()
}

pub(crate) async fn complete(
    s3: &Client,
    key: &str,
    upload_id: &str,
    parts: Vec<CompletedPart>,
) -> Result<String, (u16, String)> {
    let parts = CompletedMultipartUpload::builder()
        .set_parts(Some(parts))
        .build();
    let request = s3
        .complete_multipart_upload()
        .bucket(BUCKET)
        .key(key)
        .upload_id(upload_id)
        .multipart_upload(parts);
    match request.send().await {
        Ok(completed) => Ok(completed.e_tag().unwrap().to_owned()),
        Err(error) => {
            let status = error
                .raw_response()
                .map_or(0, |response| response.status().as_u16());
            let code = error
                .into_service_error()
                .meta()
                .code()
                .unwrap_or_default()
                .to_owned();
            Err((status, code))
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_come_in_any_order_and_more_than_once() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    let upload = begin(&s3, "big").await;
    let parts: Vec<Vec<u8>> = [5 * MIB, 5 * MIB + 1, 9 * MIB, 1]
        .into_iter()
        .enumerate()
        .map(|(n, size)| random_bytes(n as u64, size))
        .collect();
    let mut sent = Vec::new();
    for (number, n) in [(4, 3), (1, 0), (3, 2), (2, 1)] {
        if number == 3 {
            send_part(&s3, "big", &upload, number, random_bytes(99, 6 * MIB)).await;
        }
        sent.push(send_part(&s3, "big", &upload, number, parts[n].clone()).await);
    }
    sent.sort_by_key(CompletedPart::part_number);
    assert_eq!(
        get(&s3, "big").await,
        None,
        "nothing is visible before completion"
    );
    stand.hub.calls().reset();
    let tag = complete(&s3, "big", &upload, sent.clone()).await.unwrap();
    let uploaded = stand.hub.calls().of(Route::XorbPost);
    assert!(
        uploaded.calls == 1 && uploaded.received_bytes < 1024,
        "no part is uploaded again, only their sizes are: {uploaded:?}"
    );
    assert_eq!(
        stand.hub.calls().count(Route::XorbGet),
        0,
        "no part is read"
    );
    let head = s3
        .head_object()
        .bucket(BUCKET)
        .key("big")
        .send()
        .await
        .unwrap();
    assert_eq!(
        (head.e_tag(), head.content_type()),
        (Some(tag.as_str()), Some("text/x-parts"))
    );
    assert!(get(&s3, "big").await.unwrap() == parts.concat());
    // Over a join.
    let range = s3
        .get_object()
        .bucket(BUCKET)
        .key("big")
        .range("bytes=5242870-5242890")
        .send()
        .await
        .unwrap();
    assert_eq!(
        range.body.collect().await.unwrap().to_vec(),
        parts.concat()[5_242_870..=5_242_890]
    );
    // Repeated, it gives the same answer and writes nothing, even if the object was overwritten since.
    put(&s3, "big", "other").await;
    assert_eq!(complete(&s3, "big", &upload, sent).await.unwrap(), tag);
    assert_eq!(get(&s3, "big").await.as_deref(), Some(&b"other"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_completes_after_this_one_was_killed() {
    let mut stand = Stand::start().await;
    let s3 = stand.s3();
    let upload = begin(&s3, "big").await;
    let parts = [random_bytes(1, 12 * MIB), random_bytes(2, 700_000)];
    let first = send_part(&s3, "big", &upload, 1, parts[0].clone()).await;
    stand.gateway.kill();
    stand.restart_gateway().await;
    let s3 = stand.s3();
    let second = send_part(&s3, "big", &upload, 2, parts[1].clone()).await;
    stand.gateway.kill();
    stand.restart_gateway().await;
    let s3 = stand.s3();
    stand.hub.calls().reset();
    complete(&s3, "big", &upload, vec![first, second])
        .await
        .unwrap();
    let uploaded = stand.hub.calls().of(Route::XorbPost);
    assert!(
        uploaded.calls == 1 && uploaded.received_bytes < 1024,
        "no part is uploaded again, only their sizes are: {uploaded:?}"
    );
    assert!(get(&s3, "big").await.unwrap() == parts.concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_completions_change_nothing() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    put(&s3, "big", "old").await;
    let upload = begin(&s3, "big").await;
    let one = send_part(&s3, "big", &upload, 1, random_bytes(1, 1000)).await;
    let two = send_part(&s3, "big", &upload, 2, random_bytes(2, 1000)).await;
    let wrong = CompletedPart::builder()
        .part_number(1)
        .e_tag(two.e_tag().unwrap())
        .build();
    let cases = [
        (vec![two.clone(), one.clone()], (400, "InvalidPartOrder")),
        (vec![wrong], (400, "InvalidPart")),
        (vec![one.clone(), two.clone()], (400, "EntityTooSmall")),
    ];
    for (parts, (status, code)) in cases {
        assert_eq!(
            complete(&s3, "big", &upload, parts).await,
            Err((status, code.to_owned()))
        );
    }
    let nowhere = "0123456789abcdef0123456789abcdef";
    assert_eq!(
        complete(&s3, "big", nowhere, vec![one.clone()]).await,
        Err((404, "NoSuchUpload".to_owned()))
    );
    assert_eq!(
        complete(&s3, "other", &upload, vec![one.clone()]).await,
        Err((404, "NoSuchUpload".to_owned()))
    );
    assert_eq!(get(&s3, "big").await.as_deref(), Some(&b"old"[..]));

    s3.abort_multipart_upload()
        .bucket(BUCKET)
        .key("big")
        .upload_id(&upload)
        .send()
        .await
        .unwrap();
    assert_eq!(
        complete(&s3, "big", &upload, vec![two]).await,
        Err((404, "NoSuchUpload".to_owned()))
    );
    let again = s3
        .abort_multipart_upload()
        .bucket(BUCKET)
        .key("big")
        .upload_id(&upload)
        .send()
        .await
        .unwrap_err();
    assert_eq!(again.raw_response().unwrap().status().as_u16(), 404);
    // Nothing of the upload is left, so the bucket is empty once its object is gone.
    s3.delete_object()
        .bucket(BUCKET)
        .key("big")
        .send()
        .await
        .unwrap();
    s3.delete_bucket().bucket(BUCKET).send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completed_upload_takes_no_part_even_after_its_completion_was_repeated() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    let upload = begin(&s3, "k").await;
    let parts = vec![send_part(&s3, "k", &upload, 1, b"content".to_vec()).await];
    let tag = complete(&s3, "k", &upload, parts.clone()).await.unwrap();
    // A process that knows the upload only from its mark refuses as well.
    let other = stand.another_gateway(&[]).await;
    for s3 in [&s3, &other.s3()] {
        assert_eq!(
            complete(s3, "k", &upload, parts.clone()).await,
            Ok(tag.clone())
        );
        let part = s3.upload_part().bucket(BUCKET).key("k").upload_id(&upload);
        let part = part.part_number(2).body(ByteStream::from_static(b"late"));
        let refused = part.send().await.unwrap_err();
        assert_eq!(refused.raw_response().unwrap().status().as_u16(), 404);
    }
    assert_eq!(get(&s3, "k").await.unwrap(), b"content");
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_parts_are_sent_once_and_joined_in_a_few_calls() {
    const PARTS: i32 = 24;
    let stand = Stand::start().await;
    let s3 = stand.s3();
    let part = random_bytes(3, 5 * MIB);
    let upload = begin(&s3, "k").await;
    let mut parts = vec![send_part(&s3, "k", &upload, 1, part.clone()).await];
    stand.hub.calls().reset();
    for number in 2..=PARTS {
        parts.push(send_part(&s3, "k", &upload, number, part.clone()).await);
    }
    let sent = || {
        let calls = stand.hub.calls();
        let of = |route| calls.of(route).received_bytes;
        of(Route::XorbPost) + of(Route::GrantPut) + of(Route::Shard)
    };
    // A manifest and a shard each.
    let allowed = PARTS as u64 * (16 << 10);
    assert!(sent() < allowed, "{} bytes", sent());
    stand.hub.calls().reset();
    complete(&s3, "k", &upload, parts).await.unwrap();
    assert!(sent() < 64 << 10, "{} bytes", sent());
    let calls = stand.hub.calls();
    // The parts are removed behind the answer.
    assert!(calls.count(Route::Batch) <= 4, "{:?}", calls.snapshot());
    assert_eq!(
        (calls.count(Route::PathsInfo), calls.count(Route::Tree)),
        (1, 1)
    );
    let read = get(&s3, "k").await.unwrap();
    assert!(read == part.repeat(PARTS as usize));
}
