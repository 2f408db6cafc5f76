//! Parts that are copies: composed of what is stored already, whoever stored it.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::CompletedPart;
use hugbucket::devhub::{Effect, Fault, Route};

use crate::multipart::{begin, complete, send_part};
use crate::stand::{BUCKET, Stand, get, put, random_bytes};

const MIB: usize = 1 << 20;

/// What a chunk can have at most: an edge is less than two of them.
const CHUNK: u64 = 128 << 10;

/// What is to be copied, and from where.
#[derive(Clone, Copy)]
struct Source<'a> {
    bucket: &'a str,
    key: &'a str,
    /// `first-last`, both inclusive; everything if `None`.
    range: Option<(usize, usize)>,
}

impl<'a> Source<'a> {
    fn of(key: &'a str, range: Option<(usize, usize)>) -> Self {
        Self {
            bucket: BUCKET,
            key,
            range,
        }
    }
}

/// Copies a part. Errors: status, code, and message.
async fn copy_part(
    s3: &Client,
    upload_id: &str,
    number: i32,
    source: Source<'_>,
) -> Result<CompletedPart, (u16, String, String)> {
    let range = source
        .range
        .map(|(first, last)| format!("bytes={first}-{last}"));
    let request = s3
        .upload_part_copy()
        .bucket(BUCKET)
        .key("copy")
        .upload_id(upload_id)
        .part_number(number)
        .copy_source(format!("{}/{}", source.bucket, source.key))
        .set_copy_source_range(range);
    answered(request.send().await, number)
}

fn answered(
    answer: Result<
        aws_sdk_s3::operation::upload_part_copy::UploadPartCopyOutput,
        aws_sdk_s3::error::SdkError<aws_sdk_s3::operation::upload_part_copy::UploadPartCopyError>,
    >,
    number: i32,
) -> Result<CompletedPart, (u16, String, String)> {
    match answer {
        Ok(copied) => {
            let result = copied.copy_part_result().unwrap();
            assert!(result.last_modified().is_some());
            Ok(CompletedPart::builder()
                .part_number(number)
                .e_tag(result.e_tag().unwrap())
                .build())
        }
        Err(error) => {
            let status = error.raw_response().map_or(0, |raw| raw.status().as_u16());
            let error = error.into_service_error();
            let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
            Err((status, text(error.code()), text(error.message())))
        }
    }
}

fn slice(bytes: &[u8], range: Option<(usize, usize)>) -> Vec<u8> {
    range.map_or_else(
        || bytes.to_vec(),
        |(first, last)| bytes[first..=last].to_vec(),
    )
}

/// Ranges that begin and end everywhere: at the borders of the object, close to them, and in the middle of chunks.
fn ranges(len: usize) -> [Option<(usize, usize)>; 6] {
    [
        Some((0, 5 * MIB - 1)),
        Some((123, 7 * MIB + 77)),
        Some((len - 6 * MIB, len - 1)),
        None,
        Some((5 * MIB + 4321, 12 * MIB)),
        Some((len - 1, len - 1)),
    ]
}

/// Copies all ranges into one object and compares its bytes.
async fn copy_all(s3: &Client, bytes: &[u8]) {
    let upload = begin(s3, "copy").await;
    let (mut parts, mut expected) = (Vec::new(), Vec::new());
    for (number, range) in (1..).zip(ranges(bytes.len())) {
        parts.push(
            copy_part(s3, &upload, number, Source::of("source", range))
                .await
                .unwrap(),
        );
        expected.extend(slice(bytes, range));
    }
    complete(s3, "copy", &upload, parts).await.unwrap();
    assert!(get(s3, "copy").await.unwrap() == expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_edges_of_a_range_are_uploaded() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    let bytes = random_bytes(1, 40 * MIB);
    put(&s3, "source", bytes.clone()).await;
    let upload = begin(&s3, "copy").await;
    let calls = stand.hub.calls();
    let (mut parts, mut expected) = (Vec::new(), Vec::new());
    for (number, range) in (1..).zip(ranges(bytes.len())) {
        calls.reset();
        parts.push(
            copy_part(&s3, &upload, number, Source::of("source", range))
                .await
                .unwrap(),
        );
        expected.extend(slice(&bytes, range));
        let (sent, read) = (calls.of(Route::XorbPost), calls.of(Route::XorbGet));
        // Two edges, and the manifest. This process wrote the source, so it knows the chunks between.
        assert!(sent.received_bytes < 5 * CHUNK, "{range:?}: {sent:?}");
        assert!(read.served_bytes < 6 * CHUNK, "{range:?}: {read:?}");
        assert_eq!(calls.count(Route::Grant), 0);
    }
    calls.reset();
    complete(&s3, "copy", &upload, parts).await.unwrap();
    // The sizes of the parts, and no byte of them.
    let uploaded = calls.of(Route::XorbPost);
    assert!(
        uploaded.calls == 1 && uploaded.received_bytes < 1024,
        "{uploaded:?}"
    );
    assert!(get(&s3, "copy").await.unwrap() == expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_this_process_did_not_write_is_read_once_and_not_uploaded() {
    let mut stand = Stand::start().await;
    let bytes = random_bytes(1, 40 * MIB);
    put(&stand.s3(), "source", bytes.clone()).await;
    stand.restart_gateway().await;
    let s3 = stand.s3();
    let upload = begin(&s3, "copy").await;
    let calls = stand.hub.calls();
    calls.reset();
    let range = Some((5 * MIB + 4321, 25 * MIB + 99));
    let first = copy_part(&s3, &upload, 1, Source::of("source", range))
        .await
        .unwrap();
    let (sent, read) = (calls.of(Route::XorbPost), calls.of(Route::XorbGet));
    assert!(sent.received_bytes < 5 * CHUNK, "{sent:?}");
    assert!(read.served_bytes < 20 * MIB as u64 + 6 * CHUNK, "{read:?}");
    // The same chunks again, in another range.
    calls.reset();
    let within = Some((6 * MIB, 24 * MIB));
    let second = copy_part(&s3, &upload, 2, Source::of("source", within))
        .await
        .unwrap();
    let read = calls.of(Route::XorbGet);
    assert!(read.served_bytes < 6 * CHUNK, "{read:?}");
    complete(&s3, "copy", &upload, vec![first, second])
        .await
        .unwrap();
    let expected = [slice(&bytes, range), slice(&bytes, within)].concat();
    assert!(get(&s3, "copy").await.unwrap() == expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_repeats_itself_is_read_once() {
    let mut stand = Stand::start().await;
    let s3 = stand.s3();
    let upload = begin(&s3, "source").await;
    let bytes = random_bytes(1, 6 * MIB);
    let mut parts = Vec::new();
    for number in 1..=12 {
        parts.push(send_part(&s3, "source", &upload, number, bytes.clone()).await);
    }
    complete(&s3, "source", &upload, parts).await.unwrap();
    stand.restart_gateway().await;
    let s3 = stand.s3();
    let upload = begin(&s3, "copy").await;
    let calls = stand.hub.calls();
    calls.reset();
    let part = copy_part(&s3, &upload, 1, Source::of("source", None))
        .await
        .unwrap();
    let (sent, read) = (calls.of(Route::XorbPost), calls.of(Route::XorbGet));
    assert!(sent.received_bytes < CHUNK, "only the manifest: {sent:?}");
    assert!(read.served_bytes < 7 * MIB as u64, "{read:?}");
    complete(&s3, "copy", &upload, vec![part]).await.unwrap();
    assert!(get(&s3, "copy").await.unwrap() == bytes.repeat(12));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_may_be_a_copy_or_end_in_a_few_bytes() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    let bytes = random_bytes(1, 14 * MIB);
    put(&s3, "source", bytes.clone()).await;
    copy_all(&s3, &bytes).await;
    let copied = get(&s3, "copy").await.unwrap();
    assert_eq!(copied.last(), bytes.last());
    // The last part of `copy` is a single byte: inside the next object it may not be a chunk of its own.
    let upload = begin(&s3, "copy").await;
    let mut parts = Vec::new();
    for number in 1..=3 {
        parts.push(
            copy_part(&s3, &upload, number, Source::of("copy", None))
                .await
                .unwrap(),
        );
    }
    complete(&s3, "copy", &upload, parts).await.unwrap();
    assert!(get(&s3, "copy").await.unwrap() == copied.repeat(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_may_be_in_another_bucket() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    s3.create_bucket().bucket("elsewhere").send().await.unwrap();
    let bytes = random_bytes(1, 12 * MIB);
    let stored = s3.put_object().bucket("elsewhere").key("source");
    stored.body(bytes.clone().into()).send().await.unwrap();
    let range = Some((1000, 11 * MIB));
    let source = Source {
        bucket: "elsewhere",
        key: "source",
        range,
    };
    let calls = stand.hub.calls();
    for is_refused in [false, true] {
        let upload = begin(&s3, "copy").await;
        calls.reset();
        if is_refused {
            // As a CAS that keeps buckets apart would answer: then the bytes move.
            let effect = Effect::ShardError { retryable: false };
            stand.hub.faults().inject(Fault::once(Route::Shard, effect));
        }
        let part = copy_part(&s3, &upload, 1, source).await.unwrap();
        let sent =
            calls.of(Route::XorbPost).received_bytes + calls.of(Route::GrantPut).received_bytes;
        assert_eq!(
            sent > 10 * MIB as u64,
            is_refused,
            "{sent} bytes were uploaded"
        );
        complete(&s3, "copy", &upload, vec![part]).await.unwrap();
        assert!(get(&s3, "copy").await.unwrap() == slice(&bytes, range));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_copied_again_is_replaced_and_survives_a_kill() {
    let mut stand = Stand::start().await;
    let s3 = stand.s3();
    let bytes = random_bytes(1, 20 * MIB);
    put(&s3, "source", bytes.clone()).await;
    let upload = begin(&s3, "copy").await;
    let ranges = [
        Some((0, 6 * MIB)),
        Some((777, 8 * MIB)),
        Some((9 * MIB, 20 * MIB - 1)),
    ];
    let replaced = copy_part(&s3, &upload, 1, Source::of("source", ranges[0]))
        .await
        .unwrap();
    let first = copy_part(&s3, &upload, 1, Source::of("source", ranges[1]))
        .await
        .unwrap();
    assert_ne!(replaced.e_tag(), first.e_tag());
    stand.gateway.kill();
    stand.restart_gateway().await;
    let s3 = stand.s3();
    let second = copy_part(&s3, &upload, 2, Source::of("source", ranges[2]))
        .await
        .unwrap();
    let third = send_part(&s3, "copy", &upload, 3, b"the end".to_vec()).await;
    stand.gateway.kill();
    stand.restart_gateway().await;
    let s3 = stand.s3();
    // The source is gone by now, but its chunks belong to the parts too.
    s3.delete_object()
        .bucket(BUCKET)
        .key("source")
        .send()
        .await
        .unwrap();
    complete(&s3, "copy", &upload, vec![first, second, third])
        .await
        .unwrap();
    let expected = [
        slice(&bytes, ranges[1]),
        slice(&bytes, ranges[2]),
        b"the end".to_vec(),
    ]
    .concat();
    assert!(get(&s3, "copy").await.unwrap() == expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_sources_are_refused_and_change_nothing() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    put(&s3, "source", "12345").await;
    put(&s3, "empty", "").await;
    let upload = begin(&s3, "copy").await;
    let refused = |(status, code, message): (u16, String, String)| {
        (
            status,
            code,
            message.rsplit(' ').next().unwrap_or_default().to_owned(),
        )
    };
    for (key, range, size) in [
        ("source", Some((0, 21)), "5"),
        ("source", Some((5, 5)), "5"),
        ("empty", Some((0, 0)), "0"),
        ("empty", None, "0"),
    ] {
        let answer = copy_part(&s3, &upload, 1, Source::of(key, range)).await;
        let expected = (400, "InvalidArgument".to_owned(), size.to_owned());
        assert_eq!(answer.map_err(refused), Err(expected), "{key} {range:?}");
    }
    let code = |answer: Result<_, (u16, String, String)>| {
        answer.map(|_| ()).map_err(|error| (error.0, error.1))
    };
    let absent = copy_part(&s3, &upload, 1, Source::of("absent", None)).await;
    assert_eq!(code(absent), Err((404, "NoSuchKey".into())));
    let nowhere = Source {
        bucket: "nowhere",
        ..Source::of("source", None)
    };
    let nowhere = copy_part(&s3, &upload, 1, nowhere).await;
    assert_eq!(code(nowhere), Err((404, "NoSuchBucket".into())));
    let unknown = "0123456789abcdef0123456789abcdef";
    let unknown = copy_part(&s3, unknown, 1, Source::of("source", None)).await;
    assert_eq!(code(unknown), Err((404, "NoSuchUpload".into())));
    let part = CompletedPart::builder().part_number(1).e_tag("x").build();
    let completed = complete(&s3, "copy", &upload, vec![part]).await;
    assert_eq!(
        completed,
        Err((400, "InvalidPart".into())),
        "no part was kept"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_are_judged_on_the_source() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    put(&s3, "source", "12345").await;
    let upload = begin(&s3, "copy").await;
    let head = s3.head_object().bucket(BUCKET).key("source");
    let tag = head.send().await.unwrap().e_tag().unwrap().to_owned();
    let request = || {
        s3.upload_part_copy()
            .bucket(BUCKET)
            .key("copy")
            .upload_id(&upload)
            .part_number(1)
            .copy_source(format!("{BUCKET}/source"))
    };
    let long_ago = aws_sdk_s3::primitives::DateTime::from_secs(1_000_000_000);
    let in_future = aws_sdk_s3::primitives::DateTime::from_secs(4_000_000_000);
    for (request, holds) in [
        (request().copy_source_if_match(&tag), true),
        (request().copy_source_if_match("\"other\""), false),
        (request().copy_source_if_none_match("\"other\""), true),
        (request().copy_source_if_none_match(&tag), false),
        (request().copy_source_if_modified_since(long_ago), true),
        (request().copy_source_if_modified_since(in_future), false),
        (request().copy_source_if_unmodified_since(in_future), true),
        (request().copy_source_if_unmodified_since(long_ago), false),
    ] {
        match answered(request.send().await, 1) {
            Ok(_) => assert!(holds),
            Err((status, code, _)) => {
                assert_eq!(
                    (status, code.as_str(), holds),
                    (412, "PreconditionFailed", false)
                );
            }
        }
    }
}
