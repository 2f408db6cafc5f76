//! The layer as a whole, against the signer of AWS's own SDK.

use std::net::IpAddr;
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
    Action, AnyOperation, AnyOutput, BucketName, ByteStream, Checksum, ChecksumAlgorithm,
    ContentHash, CopyObject, CreateBucket, Credentials, DeleteBucket, DeleteObject, Entitlement,
    ExpectedChecksum, GetObject, Grant, HeadBucket, Integrity, IssueSession, ListBuckets,
    ObjectKey, ObjectMetadata, ObjectWritten, Pattern, Payload, Policy, Principal, Protocol,
    PutObject, Reach, ReadConditions, RequestContext, Rights, Secret, SessionIssued, StorageError,
    StorageRequest, StoredPassword, WriteConditions,
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
        entitlement: Entitlement {
            rights,
            ..Entitlement::default()
        },
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
            entitlement: Entitlement {
                reach: Reach {
                    buckets: Some([BucketName::new("b").unwrap()].into()),
                    manages_buckets: false,
                    ..Reach::default()
                },
                ..Entitlement::default()
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
        self.call_from(None, caller, operation).await
    }

    /// The same for a caller from an address.
    async fn call_from(
        &self,
        peer: Option<IpAddr>,
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
            context: RequestContext::new(Protocol::S3, peer),
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

/// Replaces all credentials by one key and one user who are entitled to this.
fn entitle(scene: &Scene, entitlement: &Entitlement) {
    let key = S3Key {
        entitlement: entitlement.clone(),
        ..key("writer", SECRET, Rights::All)
    };
    let user = PasswordUser {
        name: "ann".into(),
        password: StoredPassword::Plain(Secret::new("pass")),
        entitlement: entitlement.clone(),
    };
    let store = CredentialStore::new([key], [user]);
    scene.credentials.store(Arc::new(store));
}

fn ann() -> Credentials {
    Credentials::Password {
        user: "ann".into(),
        password: Secret::new("pass"),
    }
}

#[tokio::test]
async fn an_expired_key_is_not_known_any_more() {
    let (scene, signing) = (Scene::new(), Signing::default());
    let ending = |expires_at| Entitlement {
        expires_at: Some(expires_at),
        ..Entitlement::default()
    };
    entitle(&scene, &ending(NOW + Duration::from_secs(1)));
    reached(scene.call(get(&signing, "/"), get_object()).await);
    reached(scene.call(ann(), get_object()).await);
    entitle(&scene, &ending(NOW));
    let denied = scene.call(get(&signing, "/"), get_object()).await;
    assert!(matches!(
        denied,
        Err(StorageError::InvalidAccessKeyId { .. })
    ));
    // A password that was right a moment ago does not help.
    let denied = scene.call(ann(), get_object()).await;
    assert!(matches!(denied, Err(StorageError::AccessDenied { .. })));
    assert_eq!(scene.calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_key_that_is_bound_to_networks_counts_from_there_only() {
    let (scene, signing) = (Scene::new(), Signing::default());
    entitle(
        &scene,
        &Entitlement {
            source_networks: Some(Arc::new(["10.0.0.0/8".parse().unwrap()])),
            ..Entitlement::default()
        },
    );
    let inside = Some("10.9.8.7".parse().unwrap());
    reached(
        scene
            .call_from(inside, get(&signing, "/"), get_object())
            .await,
    );
    reached(scene.call_from(inside, ann(), get_object()).await);
    for peer in [
        None,
        Some("192.0.2.1".parse().unwrap()),
        Some("::1".parse().unwrap()),
    ] {
        for caller in [get(&signing, "/"), ann()] {
            let denied = scene.call_from(peer, caller, get_object()).await;
            assert!(
                matches!(denied, Err(StorageError::AccessDenied { .. })),
                "{peer:?}"
            );
        }
    }
    assert_eq!(scene.calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn rights_that_are_granted_in_places_count_there_only() {
    let (scene, signing) = (Scene::new(), Signing::default());
    let grant = |bucket, prefix: &str, actions: &[Action]| Grant {
        bucket: Pattern::new(bucket),
        prefix: prefix.into(),
        actions: actions.iter().copied().collect(),
    };
    let rights = Rights::Granted {
        everywhere: [Action::List].into_iter().collect(),
        grants: Arc::new([
            grant("b", "k", &[Action::Read]),
            grant("own", "", &[Action::Write, Action::CreateBucket]),
        ]),
    };
    entitle(
        &scene,
        &Entitlement {
            rights,
            ..Entitlement::default()
        },
    );
    let bucket = |name: &str| BucketName::new(name).unwrap();
    let read = |name: &str, key: &str| GetObject {
        bucket: bucket(name),
        key: ObjectKey::new(key).unwrap(),
        ..get_object()
    };
    let create = |name: &str| CreateBucket {
        bucket: bucket(name),
        visibility: None,
    };
    let ask = async |operation: AnyOperation| scene.call(get(&signing, "/"), operation).await;
    for allowed in [
        AnyOperation::from(read("b", "k/x")),
        ListBuckets {}.into(),
        HeadBucket {
            bucket: bucket("other"),
        }
        .into(),
        create("own").into(),
    ] {
        reached(ask(allowed).await);
    }
    let calls = scene.calls.load(Ordering::SeqCst);
    for denied in [
        AnyOperation::from(read("b", "j")),
        read("own", "k").into(),
        create("b").into(),
        DeleteBucket {
            bucket: bucket("own"),
        }
        .into(),
        DeleteObject {
            bucket: bucket("own"),
            key: ObjectKey::new("k").unwrap(),
            conditions: WriteConditions::default(),
        }
        .into(),
        scene.put(vec!["abc".into()], Integrity::default()).into(),
    ] {
        let answer = ask(denied).await;
        assert!(
            matches!(answer, Err(StorageError::AccessDenied { .. })),
            "{answer:?}"
        );
    }
    assert_eq!(scene.calls.load(Ordering::SeqCst), calls, "nothing went on");
}

// === temporary credentials ===

fn session(policy: Option<&str>, life: time::Duration) -> IssueSession {
    IssueSession {
        name: "job".into(),
        policy: policy.map(|text| Policy::parse(text).unwrap()),
        life,
    }
}

async fn issued(scene: &Scene, asked: IssueSession) -> SessionIssued {
    match scene.call(get(&Signing::default(), "/"), asked).await {
        Ok(AnyOutput::IssueSession(issued)) => issued,
        other => panic!("not issued: {other:?}"),
    }
}

fn temporary(issued: &SessionIssued) -> Signing<'_> {
    Signing {
        access_key_id: &issued.access_key_id,
        secret: issued.secret.expose(),
        token: Some(issued.token.expose()),
        ..Signing::default()
    }
}

#[tokio::test]
async fn temporary_credentials_get_in_as_a_part_of_their_issuer_and_nothing_is_kept() {
    let scene = Scene::new();
    let issued = issued(&scene, session(None, time::Duration::HOUR)).await;
    assert_eq!(issued.expires_at, NOW + time::Duration::HOUR);
    assert_eq!(
        scene.calls.load(Ordering::SeqCst),
        0,
        "the operation goes no further"
    );
    let presigned = Signing {
        presigned_for: Some(Duration::from_secs(60)),
        ..temporary(&issued)
    };
    // Another replica knows the same keys, and nothing else.
    for replica in [&scene, &Scene::new()] {
        for signing in [&temporary(&issued), &presigned] {
            let result = replica.call(get(signing, "/b/k"), get_object()).await;
            assert_eq!(reached(result), "writer/job");
        }
    }
}

#[tokio::test]
async fn a_session_may_do_what_its_issuer_and_its_policy_both_allow() {
    let scene = Scene::new();
    let allow = r#"{"Statement":{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::b/*"}}"#;
    let asked = session(Some(allow), time::Duration::HOUR);
    let writing = issued(&scene, asked.clone()).await;
    let reader = Signing {
        access_key_id: "team/reader",
        ..Signing::default()
    };
    let Ok(AnyOutput::IssueSession(reading)) = scene.call(get(&reader, "/"), asked).await else {
        panic!("not issued");
    };
    for (issued, may_write) in [(&writing, true), (&reading, false)] {
        let caller = || get(&temporary(issued), "/b/k");
        reached(scene.call(caller(), get_object()).await);
        let put = scene.put(vec!["abc".into()], Integrity::default());
        assert_eq!(scene.call(caller(), put).await.is_ok(), may_write);
        let calls = scene.calls.load(Ordering::SeqCst);
        let list = scene.call(caller(), ListBuckets {}).await;
        assert!(matches!(list, Err(StorageError::AccessDenied { .. })));
        let head = HeadBucket {
            bucket: BucketName::new("b").unwrap(),
        };
        let head = scene.call(caller(), head).await;
        assert!(matches!(head, Err(StorageError::AccessDenied { .. })));
        let again = scene
            .call(caller(), session(None, time::Duration::HOUR))
            .await;
        assert!(matches!(again, Err(StorageError::AccessDenied { .. })));
        assert_eq!(scene.calls.load(Ordering::SeqCst), calls, "nothing went on");
    }
}

#[tokio::test]
async fn a_session_ends_in_time_and_with_its_issuer() {
    let scene = Scene::new();
    let long = issued(&scene, session(None, time::Duration::HOUR)).await;
    let over = issued(&scene, session(None, time::Duration::ZERO)).await;
    let ask = async |issued: &SessionIssued| {
        scene
            .call(get(&temporary(issued), "/b/k"), get_object())
            .await
    };
    assert!(matches!(ask(&over).await, Err(StorageError::ExpiredToken)));
    reached(ask(&long).await);
    let ending = Entitlement {
        expires_at: Some(NOW + time::Duration::MINUTE),
        ..Entitlement::default()
    };
    entitle(&scene, &ending);
    let short = issued(&scene, session(None, time::Duration::HOUR)).await;
    assert_eq!(
        short.expires_at,
        NOW + time::Duration::MINUTE,
        "not longer than its issuer"
    );
    reached(ask(&long).await);
    entitle(
        &scene,
        &Entitlement {
            expires_at: Some(NOW),
            ..Entitlement::default()
        },
    );
    assert!(matches!(ask(&long).await, Err(StorageError::ExpiredToken)));
    for keys in [vec![], vec![key("writer", "rotated", Rights::All)]] {
        let store = CredentialStore::new(keys, []);
        scene.credentials.store(Arc::new(store));
        assert!(matches!(ask(&long).await, Err(StorageError::InvalidToken)));
    }
}

#[tokio::test]
async fn whoever_has_not_both_halves_and_the_token_stays_out() {
    let scene = Scene::new();
    let (one, other) = (
        issued(&scene, session(None, time::Duration::HOUR)).await,
        issued(&scene, session(None, time::Duration::HOUR)).await,
    );
    let ask = async |signing: Signing<'_>| scene.call(get(&signing, "/b/k"), get_object()).await;
    let without = Signing {
        token: None,
        ..temporary(&one)
    };
    assert!(matches!(
        ask(without).await,
        Err(StorageError::InvalidAccessKeyId { .. })
    ));
    let changed = format!("{}A", one.token.expose());
    for token in [other.token.expose(), "", "x", &changed] {
        let wrong = Signing {
            token: Some(token),
            ..temporary(&one)
        };
        let denied = ask(wrong).await;
        // An empty token is none.
        let is_right = match token {
            "" => matches!(denied, Err(StorageError::InvalidAccessKeyId { .. })),
            _ => matches!(denied, Err(StorageError::InvalidToken)),
        };
        assert!(is_right, "{denied:?}");
    }
    let long_term = Signing {
        token: Some(one.token.expose()),
        ..Signing::default()
    };
    assert!(matches!(
        ask(long_term).await,
        Err(StorageError::InvalidToken)
    ));
    let guessed = Signing {
        secret: SECRET,
        ..temporary(&one)
    };
    assert!(matches!(
        ask(guessed).await,
        Err(StorageError::SignatureDoesNotMatch(_))
    ));
    let stranger = scene
        .call(Credentials::Anonymous, session(None, time::Duration::HOUR))
        .await;
    assert!(matches!(stranger, Err(StorageError::AccessDenied { .. })));
    let user = scene.call(ann(), session(None, time::Duration::HOUR)).await;
    assert!(matches!(user, Err(StorageError::AccessDenied { .. })));
    assert_eq!(scene.calls.load(Ordering::SeqCst), 0);
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
