//! Objects that go on where others end: nothing of what stays is uploaded again, and nothing changes halfway.

use aws_sdk_s3::Client;
use bytes::Bytes;
use futures::{StreamExt, stream};
use hugbucket::devhub::{Effect, Fault, Route};
use hugbucket::provider::HfProvider;
use hugbucket::provider::multipart::SweepConfig;
use hugbucket::storage::{
    AnyOperation, AnyOutput, AppendObject, BucketName, ByteStream, ContentHash, CopyObject, Guards,
    HeadObject, KeptPart, ObjectAppended, ObjectKey, Payload, Protocol, ReadConditions,
    RequestContext, StorageError, StorageRequest, Tenant, WriteConditions,
};
use tower::Service;

use crate::stand::{BUCKET, Stand, get, put, random_bytes};
use crate::uploads::provider;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// A provider that remembers nothing of what the stand's gateway wrote.
struct Bench {
    provider: HfProvider,
    tenant: Tenant,
}

impl Bench {
    fn new(stand: &Stand) -> Self {
        let (provider, tenant) = provider(stand, SweepConfig::default());
        Self { provider, tenant }
    }

    async fn call(&self, operation: impl Into<AnyOperation>) -> Result<AnyOutput, StorageError> {
        let request = StorageRequest {
            context: RequestContext::new(Protocol::Ftp, None),
            caller: self.tenant.clone(),
            operation: operation.into(),
            guards: Guards::default(),
        };
        self.provider.clone().call(request).await
    }

    async fn hash(&self, key: &str) -> ContentHash {
        let head = HeadObject {
            bucket: bucket(),
            key: ObjectKey::new(key).unwrap(),
            part: None,
            conditions: ReadConditions::default(),
        };
        let Ok(AnyOutput::HeadObject(found)) = self.call(head).await else {
            panic!("no object");
        };
        found.info.hash
    }

    async fn append(
        &self,
        base: ContentHash,
        kept_bytes: usize,
        body: ByteStream,
    ) -> Result<ObjectAppended, StorageError> {
        let append = AppendObject {
            bucket: bucket(),
            key: ObjectKey::new("k").unwrap(),
            kept: KeptPart::First {
                len_bytes: kept_bytes as u64,
                base,
            },
            payload: Payload::unchecked(body),
        };
        match self.call(append).await? {
            AnyOutput::AppendObject(appended) => Ok(appended),
            other => panic!("{other:?}"),
        }
    }

    /// Appends behind what is there, and returns the new content's hash.
    async fn append_bytes(&self, kept_bytes: usize, bytes: &[u8]) -> ContentHash {
        let base = self.hash("k").await;
        let body = ByteStream::from_bytes(bytes.to_vec());
        let appended = self.append(base, kept_bytes, body).await.unwrap();
        assert_eq!(appended.size, (kept_bytes + bytes.len()) as u64);
        appended.hash
    }
}

fn bucket() -> BucketName {
    BucketName::new(BUCKET).unwrap()
}

/// Returns the bytes of xorbs that were uploaded and that were read since the last reset.
fn moved(stand: &Stand) -> (u64, u64) {
    let calls = stand.hub.calls();
    let sent = calls.of(Route::XorbPost).received_bytes + calls.of(Route::GrantPut).received_bytes;
    let read = calls.of(Route::XorbGet).served_bytes;
    calls.reset();
    (sent, read)
}

/// A body that does something before its last frame.
fn body_that(
    first: &'static str,
    meanwhile: impl Future<Output = ()> + Send + 'static,
    last: Result<&'static str, StorageError>,
) -> ByteStream {
    let frames = stream::once(async move { Ok(Bytes::from(first)) }).chain(stream::once(async {
        meanwhile.await;
        last.map(Bytes::from)
    }));
    ByteStream::new(frames, None)
}

async fn read(s3: &Client) -> Vec<u8> {
    get(s3, "k").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kibibyte_behind_64_mebibytes_uploads_hardly_more_than_itself() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    let mut content = random_bytes(1, 64 * MIB);
    put(&s3, "k", content.clone()).await;
    let bench = Bench::new(&stand);
    moved(&stand);
    // The first one reads once what this process does not know, the others do not even read.
    for (round, longest_read) in [(0, 66 * MIB), (1, 300 * KIB), (2, 300 * KIB)] {
        let line = random_bytes(100 + round, KIB);
        let before = content.len();
        content.extend_from_slice(&line);
        bench.append_bytes(before, &line).await;
        let (sent, read) = moved(&stand);
        assert!(sent < 200 * KIB as u64, "round {round}: {sent} bytes sent");
        assert!(
            read < longest_read as u64,
            "round {round}: {read} bytes read"
        );
    }
    assert!(read(&stand.s3()).await == content);
    // Whoever has no memory of it reads the same.
    let fresh = stand.another_gateway(&[]).await;
    assert!(get(&fresh.s3(), "k").await.unwrap() == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_length_may_stay_and_any_length_may_follow() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    let bench = Bench::new(&stand);
    let sizes = [0, 1, 8191, 128 * KIB - 1, 128 * KIB, 300_000, 3 * MIB + 5];
    let mut seed = 1;
    for size in sizes {
        let content = random_bytes(7, size);
        for kept in [0, 1, 9000, 128 * KIB, size / 2 + 70_000, size] {
            if kept > size {
                continue;
            }
            for more in [0, 1, 200 * KIB] {
                put(&s3, "k", content.clone()).await;
                seed += 1;
                let tail = random_bytes(seed, more);
                bench.append_bytes(kept, &tail).await;
                let expected = [&content[..kept], &tail].concat();
                assert!(read(&s3).await == expected, "{kept} of {size}, and {more}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_short_appends_make_one_whole() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    let bench = Bench::new(&stand);
    put(&s3, "k", "").await;
    let mut content = Vec::new();
    for round in 0..60 {
        let line = random_bytes(round, 1 + usize::try_from(round).unwrap() * 331);
        bench.append_bytes(content.len(), &line).await;
        content.extend_from_slice(&line);
    }
    assert!(content.len() > 512 * KIB);
    assert!(read(&s3).await == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_behind_all_of_it_changes_no_byte() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    let bench = Bench::new(&stand);
    for size in [0, 5, 400 * KIB] {
        put(&s3, "k", random_bytes(3, size)).await;
        let hash = bench.hash("k").await;
        assert_eq!(bench.append_bytes(size, b"").await, hash, "{size}");
        assert!(read(&s3).await == random_bytes(3, size));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_content_than_the_expected_is_not_gone_on_with() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    let bench = Bench::new(&stand);
    put(&s3, "k", "old").await;
    let base = bench.hash("k").await;
    put(&s3, "k", "new").await;
    moved(&stand);
    let unread = || ByteStream::new(stream::once(async { panic!("the body is read") }), None);
    let changed = bench.append(base, 3, unread()).await.unwrap_err();
    assert_eq!(changed.outcome(), "precondition_failed");
    let now = bench.hash("k").await;
    let too_long = bench.append(now, 4, unread()).await.unwrap_err();
    assert_eq!(too_long.outcome(), "invalid_range");
    let request = s3.delete_object().bucket(BUCKET).key("k");
    request.send().await.unwrap();
    let gone = bench.append(now, 3, unread()).await.unwrap_err();
    assert_eq!(gone.outcome(), "no_such_key");
    assert_eq!(moved(&stand), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_during_the_upload_wins() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    let bench = Bench::new(&stand);
    for size in [3, 300 * KIB] {
        put(&s3, "k", random_bytes(1, size)).await;
        let base = bench.hash("k").await;
        let writer = stand.s3();
        let meanwhile = async move { put(&writer, "k", "another").await };
        let body = body_that("first", meanwhile, Ok("last"));
        let lost = bench.append(base, size, body).await.unwrap_err();
        assert_eq!(lost.outcome(), "precondition_failed");
        assert_eq!(read(&s3).await, b"another");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_fails_or_a_refused_shard_changes_nothing() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    let bench = Bench::new(&stand);
    let content = random_bytes(1, 300 * KIB);
    put(&s3, "k", content.clone()).await;
    let base = bench.hash("k").await;
    let body = body_that("first", async {}, Err(StorageError::IncompleteBody));
    let cut = bench.append(base, 300 * KIB, body).await.unwrap_err();
    assert_eq!(cut.outcome(), "incomplete_body");
    let effect = Effect::ShardError { retryable: false };
    stand.hub.faults().inject(Fault::once(Route::Shard, effect));
    let body = ByteStream::from_bytes("more");
    let refused = bench.append(base, 300 * KIB, body).await.unwrap_err();
    assert_eq!(refused.outcome(), "unavailable");
    assert_eq!(bench.hash("k").await, base);
    assert!(read(&s3).await == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_stay_and_the_modification_time_does_not() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    let bench = Bench::new(&stand);
    let request = s3.put_object().bucket(BUCKET).key("k");
    let request = request
        .body(random_bytes(1, 300 * KIB).into())
        .content_type("text/x-log")
        .cache_control("no-store")
        .metadata("owner", "ann")
        .metadata("mtime", "1700000000");
    request.send().await.unwrap();
    bench.append_bytes(300 * KIB, b"more").await;
    let fresh = stand.another_gateway(&[]).await;
    let head = fresh.s3().head_object().bucket(BUCKET).key("k");
    let head = head.send().await.unwrap();
    assert_eq!(head.content_type(), Some("text/x-log"));
    assert_eq!(head.cache_control(), Some("no-store"));
    let metadata = head.metadata().unwrap();
    assert_eq!(metadata.get("owner").map(String::as_str), Some("ann"));
    assert_eq!(metadata.get("mtime"), None);
    assert_eq!(head.content_length(), Some(300 * 1024 + 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_onto_itself_sets_the_time_and_keeps_everything_else() {
    let stand = Stand::start().await;
    let s3 = stand.s3();
    let bench = Bench::new(&stand);
    let request = s3.put_object().bucket(BUCKET).key("k");
    let request = request.body(random_bytes(1, 1000).into());
    let request = request
        .cache_control("no-store")
        .metadata("mtime", "1700000000");
    request.send().await.unwrap();
    let hash = bench.hash("k").await;
    let key = ObjectKey::new("k").unwrap();
    let touch = |secs: i64| CopyObject {
        source_bucket: bucket(),
        source_key: key.clone(),
        source_conditions: ReadConditions::default(),
        bucket: bucket(),
        key: key.clone(),
        conditions: WriteConditions::default(),
        replace_metadata: None,
        replace_tags: None,
        mtime: Some(time::OffsetDateTime::from_unix_timestamp(secs).unwrap()),
    };
    moved(&stand);
    bench.call(touch(1_650_000_000)).await.unwrap();
    let (sent, read) = moved(&stand);
    assert!(sent < 1024 && read < 1024, "no byte of the object moves");
    let refused = bench.call(touch(900_000_000)).await.unwrap_err();
    assert_eq!(refused.outcome(), "invalid_argument");
    let fresh = stand.another_gateway(&[]).await;
    let head = fresh.s3().head_object().bucket(BUCKET).key("k");
    let head = head.send().await.unwrap();
    assert_eq!(head.cache_control(), Some("no-store"));
    assert_eq!(head.metadata().unwrap()["mtime"], "1650000000.000");
    assert_eq!(bench.hash("k").await, hash);
}
