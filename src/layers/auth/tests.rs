//! The layer as a whole, against the signer of AWS's own SDK.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use time::OffsetDateTime;
use time::macros::datetime;
use tower::{Layer, ServiceExt, service_fn};

use crate::layers::auth::{AuthLayer, CredentialStore, PasswordUser, S3Key};
use crate::sigv4::{ClaimOptions, claim};
use crate::storage::{
    AnyOperation, AnyOutput, BucketName, ByteStream, Checksum, ChecksumAlgorithm, ContentHash,
    CopyObject, Credentials, DeleteBucket, DeleteObject, ExpectedChecksum, GetObject, HeadBucket,
    Integrity, ListBuckets, ObjectKey, ObjectMetadata, ObjectWritten, Payload, Principal, Protocol,
    PutObject, Reach, ReadConditions, RequestContext, Rights, Secret, StorageError, StorageRequest,
    StoredPassword, WriteConditions,
};
use crate::telemetry::Metrics;

const NOW: OffsetDateTime = datetime!(2026-01-02 03:04:05 UTC);
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

// === the signer ===

/// How a test signs.
struct Signing<'a> {
    access_key_id: &'a str,
    secret: &'a str,
    at: OffsetDateTime,
    token: Option<&'a str>,
    /// Signs into the query, for this long.
    presigned_for: Option<Duration>,
}

impl Default for Signing<'_> {
    fn default() -> Self {
        Self {
            access_key_id: "writer",
            secret: SECRET,
            at: NOW,
            token: None,
            presigned_for: None,
        }
    }
}

fn settings(signing: &Signing<'_>) -> SigningSettings {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    if signing.presigned_for.is_some() {
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = signing.presigned_for;
    } else {
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    }
    settings
}

/// Signs a request, and returns what it claims together with its signature.
fn signed(
    signing: &Signing<'_>,
    mut request: http::Request<()>,
    body: SignableBody<'_>,
) -> (Credentials, String) {
    let token = signing.token.map(str::to_owned);
    let identity = aws_sdk_s3::config::Credentials::new(
        signing.access_key_id,
        signing.secret,
        token,
        None,
        "test",
    )
    .into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("eu-north-1")
        .name("s3")
        .time(SystemTime::from(signing.at))
        .settings(settings(signing))
        .build()
        .unwrap()
        .into();
    let uri = request.uri().to_string();
    let headers = request.headers().iter();
    let headers = headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
    let signable = SignableRequest::new(request.method().as_str(), uri, headers, body).unwrap();
    let (instructions, signature) = sign(signable, &params).unwrap().into_parts();
    instructions.apply_to_request_http1x(&mut request);
    let (mut head, ()) = request.into_parts();
    // What a server sees: a path, and a host header.
    let authority = head.uri.authority().unwrap().to_string();
    head.headers.insert("host", authority.parse().unwrap());
    head.uri = head.uri.path_and_query().unwrap().as_str().parse().unwrap();
    let claim = claim(&head, ClaimOptions::default()).unwrap();
    (claim.into(), signature)
}

fn get(signing: &Signing<'_>, path: &str) -> Credentials {
    let uri = format!("http://s3.example.com:9000{path}");
    let request = http::Request::get(uri).body(()).unwrap();
    signed(signing, request, SignableBody::UnsignedPayload).0
}

// === the stack around the layer ===

/// What happened behind the layer and in front of it.
#[derive(Clone)]
struct Scene {
    layer: AuthLayer,
    credentials: Arc<ArcSwap<CredentialStore>>,
    metrics: Metrics,
    calls: Arc<AtomicUsize>,
    polls: Arc<AtomicUsize>,
}

fn key(access_key_id: &str, secret: &str, rights: Rights) -> S3Key {
    S3Key {
        access_key_id: access_key_id.into(),
        secret: Secret::new(secret),
        rights,
        reach: Reach::default(),
    }
}

impl Scene {
    fn new() -> Self {
        let keys = [
            key("writer", SECRET, Rights::All),
            key("team/reader", SECRET, Rights::ReadOnly),
        ];
        let user = PasswordUser {
            name: "ann".into(),
            password: StoredPassword::Plain(Secret::new("pass")),
            rights: Rights::All,
            reach: Reach {
                buckets: Some([BucketName::new("b").unwrap()].into()),
                manages_buckets: false,
                ..Reach::default()
            },
        };
        let credentials = Arc::new(ArcSwap::from_pointee(CredentialStore::new(keys, [user])));
        let metrics = Metrics::new();
        Self {
            layer: AuthLayer::new(credentials.clone(), || NOW, metrics.clone()),
            credentials,
            metrics,
            calls: Arc::default(),
            polls: Arc::default(),
        }
    }

    /// Calls through the layer; the inner service reads bodies to their end, and names the principal in its error for
    /// everything but PutObject.
    async fn call(
        &self,
        caller: Credentials,
        operation: impl Into<AnyOperation>,
    ) -> Result<AnyOutput, StorageError> {
        let calls = self.calls.clone();
        let inner = service_fn(move |request: StorageRequest<Principal>| {
            calls.fetch_add(1, Ordering::SeqCst);
            async move {
                let AnyOperation::PutObject(put) = request.operation else {
                    return Err(StorageError::internal(&*request.caller.id));
                };
                let announced = put.payload.body.len_bytes();
                let size = put.payload.body.collect(1 << 20).await?.len() as u64;
                assert!(announced.is_none_or(|len_bytes| len_bytes == size));
                let hash = ContentHash::EMPTY;
                Ok(AnyOutput::PutObject(ObjectWritten { size, hash }))
            }
        });
        let request = StorageRequest {
            context: RequestContext::new(Protocol::S3, None),
            caller,
            operation: operation.into(),
            guards: Default::default(),
        };
        self.layer.layer(inner).oneshot(request).await
    }

    /// Returns a PutObject whose frames are counted as they are polled.
    fn put(&self, frames: Vec<Bytes>, integrity: Integrity) -> PutObject {
        let polls = self.polls.clone();
        let frames = stream::iter(frames).map(move |frame| {
            polls.fetch_add(1, Ordering::SeqCst);
            Ok(frame)
        });
        PutObject {
            bucket: BucketName::new("b").unwrap(),
            key: ObjectKey::new("k").unwrap(),
            conditions: WriteConditions::default(),
            payload: Payload {
                body: ByteStream::new(frames, None),
                integrity,
            },
            metadata: ObjectMetadata::default(),
        }
    }

    fn failures(&self, reason: &str) -> bool {
        let series =
            format!("hugbucket_auth_failures_total{{protocol=\"s3\",reason=\"{reason}\"}} 1");
        self.metrics.render().contains(&series)
    }
}

fn get_object() -> GetObject {
    GetObject {
        bucket: BucketName::new("b").unwrap(),
        key: ObjectKey::new("k").unwrap(),
        range: None,
        part: None,
        conditions: ReadConditions::default(),
        resolved: None,
    }
}

fn reached(result: Result<AnyOutput, StorageError>) -> String {
    match result {
        Err(StorageError::Internal { reason }) => reason,
        other => panic!("denied: {other:?}"),
    }
}

fn size(result: Result<AnyOutput, StorageError>) -> u64 {
    match result {
        Ok(AnyOutput::PutObject(written)) => written.size,
        other => panic!("not written: {other:?}"),
    }
}

// === who gets in ===

#[tokio::test]
async fn requests_signed_by_the_sdk_get_in_as_their_principal() {
    let scene = Scene::new();
    let presigned = Signing {
        presigned_for: Some(Duration::from_secs(60)),
        ..Signing::default()
    };
    for path in [
        "/",
        "/b/k",
        "/b//a/../c/./%20d%2B%C3%A4~",
        "/b/a%28b%29%21%27%2Ac%3Dd%3Ae%40f%2Cg%3Bh",
        "/b?list-type=2&prefix=a%2Fb%20c&delimiter=%2F",
        "/b/k?uploads",
        "/b/k?partNumber=1&uploadId=x%3D%3D",
    ] {
        for signing in [&Signing::default(), &presigned] {
            let result = scene.call(get(signing, path), get_object()).await;
            assert_eq!(reached(result), "writer", "{path}");
        }
    }
    let reader = Signing {
        access_key_id: "team/reader",
        ..Signing::default()
    };
    let result = scene.call(get(&reader, "/b/k"), get_object()).await;
    assert_eq!(reached(result), "team/reader");
}

#[tokio::test]
async fn a_user_gets_in_with_the_right_password_only() {
    let scene = Scene::new();
    let password = |user: &str, password: &str| Credentials::Password {
        user: user.into(),
        password: Secret::new(password),
    };
    let result = scene.call(password("ann", "pass"), ListBuckets {}).await;
    assert_eq!(reached(result), "ann");
    assert_eq!(
        size(
            scene
                .call(
                    password("ann", "pass"),
                    scene.put(vec!["abc".into()], Integrity::default())
                )
                .await
        ),
        3
    );
    let wrong = scene
        .call(password("ann", "Pass"), ListBuckets {})
        .await
        .unwrap_err();
    let unknown = scene
        .call(password("bob", "pass"), ListBuckets {})
        .await
        .unwrap_err();
    assert!(matches!(wrong, StorageError::AccessDenied { .. }));
    assert_eq!(wrong.to_string(), unknown.to_string());
    assert!(scene.failures("bad_password") && scene.failures("no_such_key"));
    assert_eq!(scene.calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn rights_end_where_they_do_not_reach() {
    let scene = Scene::new();
    let ann = || Credentials::Password {
        user: "ann".into(),
        password: Secret::new("pass"),
    };
    let bucket = |name: &str| BucketName::new(name).unwrap();
    let found = scene
        .call(
            ann(),
            HeadBucket {
                bucket: bucket("b"),
            },
        )
        .await;
    assert_eq!(reached(found), "ann");
    let hidden = scene
        .call(
            ann(),
            HeadBucket {
                bucket: bucket("other"),
            },
        )
        .await;
    assert!(matches!(hidden, Err(StorageError::AccessDenied { .. })));
    let deleted = scene
        .call(
            ann(),
            DeleteBucket {
                bucket: bucket("b"),
            },
        )
        .await;
    assert!(matches!(deleted, Err(StorageError::AccessDenied { .. })));
    let copy = CopyObject {
        source_bucket: bucket("other"),
        source_key: ObjectKey::new("k").unwrap(),
        source_conditions: ReadConditions::default(),
        bucket: bucket("b"),
        key: ObjectKey::new("k").unwrap(),
        conditions: WriteConditions::default(),
        replace_metadata: None,
        mtime: None,
        replace_tags: None,
    };
    let copied = scene.call(ann(), copy).await;
    assert!(matches!(copied, Err(StorageError::AccessDenied { .. })));
    assert_eq!(scene.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_new_set_of_credentials_counts_at_once() {
    let scene = Scene::new();
    reached(
        scene
            .call(get(&Signing::default(), "/"), get_object())
            .await,
    );
    let rotated = key("writer", "rotated", Rights::All);
    scene
        .credentials
        .store(Arc::new(CredentialStore::new([rotated], [])));
    let old = scene
        .call(get(&Signing::default(), "/"), get_object())
        .await;
    assert!(matches!(old, Err(StorageError::SignatureDoesNotMatch(_))));
    let new = Signing {
        secret: "rotated",
        ..Signing::default()
    };
    reached(scene.call(get(&new, "/"), get_object()).await);
}

// === who does not ===

#[tokio::test]
async fn a_denied_request_reaches_no_inner_service_and_its_body_is_not_polled() {
    let minutes = time::Duration::minutes;
    let signing = Signing::default;
    let with = |at| Signing { at, ..signing() };
    let presigned = |at| Signing {
        presigned_for: Some(Duration::from_secs(60)),
        ..with(at)
    };
    let wrong_secret = Signing {
        secret: "wrong",
        ..signing()
    };
    let unknown_key = Signing {
        access_key_id: "nobody",
        ..with(NOW - minutes(60))
    };
    let with_token = Signing {
        token: Some("left over"),
        ..signing()
    };
    let reader = Signing {
        access_key_id: "team/reader",
        ..signing()
    };
    let cases = [
        (Credentials::Anonymous, "access_denied", "no_such_key"),
        (
            get(&unknown_key, "/b/k"),
            "invalid_access_key_id",
            "no_such_key",
        ),
        (get(&with_token, "/b/k"), "invalid_token", "no_such_key"),
        (
            get(&wrong_secret, "/b/k"),
            "signature_does_not_match",
            "bad_signature",
        ),
        (
            get(&with(NOW - minutes(16)), "/b/k"),
            "request_time_too_skewed",
            "clock_skew",
        ),
        (
            get(&with(NOW + minutes(16)), "/b/k"),
            "request_time_too_skewed",
            "clock_skew",
        ),
        (
            get(&presigned(NOW - minutes(2)), "/b/k"),
            "request_expired",
            "expired",
        ),
        (
            get(&presigned(NOW + minutes(16)), "/b/k"),
            "access_denied",
            "clock_skew",
        ),
        (get(&reader, "/b/k"), "access_denied", "forbidden"),
    ];
    for (caller, outcome, reason) in cases {
        let scene = Scene::new();
        let what = format!("{caller:?}");
        let put = scene.put(vec!["abc".into()], Integrity::default());
        let error = scene.call(caller, put).await.unwrap_err();
        assert_eq!(error.outcome(), outcome, "{what}");
        assert!(scene.failures(reason), "{what}");
        assert_eq!(scene.calls.load(Ordering::SeqCst), 0, "{what}");
        assert_eq!(scene.polls.load(Ordering::SeqCst), 0, "{what}");
    }
}

#[tokio::test]
async fn clocks_may_differ_by_a_quarter_of_an_hour() {
    let scene = Scene::new();
    for minutes in [-15, 15] {
        let signing = Signing {
            at: NOW + time::Duration::minutes(minutes),
            ..Signing::default()
        };
        reached(scene.call(get(&signing, "/b/k"), get_object()).await);
    }
}

#[tokio::test]
async fn a_reader_reads_and_lists_and_changes_nothing() {
    let scene = Scene::new();
    let reader = Signing {
        access_key_id: "team/reader",
        ..Signing::default()
    };
    reached(scene.call(get(&reader, "/"), ListBuckets {}).await);
    let delete = DeleteObject {
        bucket: BucketName::new("b").unwrap(),
        key: ObjectKey::new("k").unwrap(),
        conditions: WriteConditions::default(),
    };
    let denied = scene.call(get(&reader, "/"), delete).await;
    assert!(matches!(denied, Err(StorageError::AccessDenied { .. })));
    assert_eq!(scene.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_mismatch_tells_what_the_gateway_signed_and_no_secret() {
    let wrong = Signing {
        secret: "wrong",
        ..Signing::default()
    };
    let result = Scene::new().call(get(&wrong, "/b/k"), get_object()).await;
    let Err(StorageError::SignatureDoesNotMatch(mismatch)) = result else {
        panic!("let in: {result:?}");
    };
    assert_eq!(mismatch.access_key_id, "writer");
    assert!(mismatch.canonical_request.starts_with("GET\n/b/k\n\n"));
    assert!(
        mismatch
            .string_to_sign
            .contains("20260102/eu-north-1/s3/aws4_request")
    );
    assert!(!format!("{mismatch:?}").contains(SECRET));
}

// === bodies ===

fn put_request(headers: &[(&str, &str)]) -> http::Request<()> {
    let mut request = http::Request::put("http://s3.example.com:9000/b/k");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

#[tokio::test]
async fn a_signed_payload_must_have_the_signed_digest_and_length() {
    let scene = Scene::new();
    let sent = |frames: &[&'static str]| {
        let request = put_request(&[("content-length", "6")]);
        let (caller, _) = signed(&Signing::default(), request, SignableBody::Bytes(b"abcdef"));
        let frames = frames
            .iter()
            .map(|frame| Bytes::from_static(frame.as_bytes()));
        scene.call(caller, scene.put(frames.collect(), Integrity::default()))
    };
    assert_eq!(size(sent(&["abc", "def"]).await), 6);
    let changed = sent(&["abc", "deF"]).await;
    assert!(matches!(
        changed,
        Err(StorageError::PayloadHashMismatch { .. })
    ));
    assert!(matches!(
        sent(&["abc"]).await,
        Err(StorageError::IncompleteBody)
    ));
    assert!(matches!(
        sent(&["abc", "defg"]).await,
        Err(StorageError::IncompleteBody)
    ));
}

/// Returns the frames of a body in signed chunks, by the SDK's signer, and the claim that goes with them.
fn signed_chunks(chunks: &[&'static str]) -> (Credentials, Vec<Bytes>) {
    let decoded_length = chunks
        .iter()
        .map(|chunk| chunk.len())
        .sum::<usize>()
        .to_string();
    let request = put_request(&[("x-amz-decoded-content-length", &decoded_length)]);
    let signing = Signing::default();
    let body = SignableBody::Precomputed("STREAMING-AWS4-HMAC-SHA256-PAYLOAD".into());
    let (caller, mut running) = signed(&signing, request, body);
    let identity =
        aws_sdk_s3::config::Credentials::new("writer", SECRET, None, None, "test").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("eu-north-1")
        .name("s3")
        .time(SystemTime::from(NOW))
        .settings(())
        .build()
        .unwrap();
    let mut frames = Vec::new();
    for chunk in chunks.iter().copied().chain([""]) {
        let output = v4::sign_chunk(&Bytes::from_static(chunk.as_bytes()), &running, &params);
        running = output.unwrap().signature().to_owned();
        let header = format!("{:x};chunk-signature={running}\r\n", chunk.len());
        frames.push(format!("{header}{chunk}\r\n").into());
    }
    (caller, frames)
}

#[tokio::test]
async fn chunks_signed_by_the_sdk_are_decoded_and_a_changed_one_is_noticed() {
    let scene = Scene::new();
    let (caller, frames) = signed_chunks(&["hello ", "world"]);
    assert_eq!(
        size(
            scene
                .call(caller, scene.put(frames, Integrity::default()))
                .await
        ),
        11
    );
    let (caller, mut frames) = signed_chunks(&["hello ", "world"]);
    let text = String::from_utf8(frames[1].to_vec()).unwrap();
    frames[1] = text.replace("world", "World").into();
    let result = scene
        .call(caller, scene.put(frames, Integrity::default()))
        .await;
    assert!(matches!(
        result,
        Err(StorageError::SignatureDoesNotMatch(_))
    ));
    let (caller, mut frames) = signed_chunks(&["hello ", "world"]);
    frames.pop();
    let result = scene
        .call(caller, scene.put(frames, Integrity::default()))
        .await;
    assert!(matches!(result, Err(StorageError::IncompleteBody)));
}

#[tokio::test]
async fn an_unsigned_body_with_a_trailer_is_decoded_and_its_checksum_compared() {
    let scene = Scene::new();
    let sent = |trailer: &'static str| {
        let request = put_request(&[
            ("x-amz-decoded-content-length", "5"),
            ("x-amz-trailer", "x-amz-checksum-crc32"),
        ]);
        let body = SignableBody::StreamingUnsignedPayloadTrailer;
        let (caller, _) = signed(&Signing::default(), request, body);
        let integrity = Integrity {
            checksum: Some(ExpectedChecksum::InTrailer(ChecksumAlgorithm::Crc32)),
            ..Integrity::default()
        };
        let measured = integrity.measured.clone();
        let frames = vec!["5\r\nhel".into(), "lo\r\n0\r\n".into(), trailer.into()];
        let call = scene.call(caller, scene.put(frames, integrity));
        async move { (call.await, measured) }
    };
    let (result, measured) = sent("x-amz-checksum-crc32:NhCmhg==\r\n\r\n").await;
    assert_eq!(size(result), 5);
    let expected = Checksum {
        algorithm: ChecksumAlgorithm::Crc32,
        value: [0x36, 0x10, 0xa6, 0x86].into(),
    };
    assert_eq!(measured.checksum(), Some(&expected));
    let outcomes = [
        ("x-amz-checksum-crc32:NhCmhQ==\r\n\r\n", "checksum_mismatch"),
        ("x-amz-checksum-crc32:NhCmhg\r\n\r\n", "invalid_request"),
        (
            "x-amz-checksum-crc32c:NhCmhg==\r\n\r\n",
            "malformed_trailer",
        ),
        ("\r\n", "malformed_trailer"),
    ];
    for (trailer, outcome) in outcomes {
        let (result, measured) = sent(trailer).await;
        assert_eq!(result.unwrap_err().outcome(), outcome, "{trailer:?}");
        assert_eq!(measured.checksum(), None, "{trailer:?}");
    }
}
