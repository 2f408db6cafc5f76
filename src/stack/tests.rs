//! The whole stack over a provider in memory: what the order of the layers promises, shown by behaviour.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use tower::Service;

use super::*;
use crate::layers::Scope;
use crate::layers::auth::PasswordUser;
use crate::layers::testing::{delete, get, head, object, put};
use crate::storage::{
    AnyOperation, AnyOutput, BucketId, ByteStream, Changes, ContentHash, Credentials, Entitlement,
    Gateway, Namespace, ObjectData, ObjectDeleted, ObjectFound, ObjectKey, ObjectWritten,
    Operation, Protocol, RequestContext, Rights, Secret, StorageError, StorageRequest,
    StoredPassword,
};

/// Objects by full bucket id; an object's info has its size.
#[derive(Clone, Default)]
struct MemoryProvider(Arc<Memory>);

#[derive(Default)]
struct Memory {
    objects: Mutex<HashMap<(BucketId, ObjectKey), Bytes>>,
    calls: AtomicUsize,
    failures: Mutex<Vec<StorageError>>,
}

impl MemoryProvider {
    fn calls(&self) -> usize {
        self.0.calls.load(Ordering::SeqCst)
    }

    fn fail_next(&self, errors: impl IntoIterator<Item = StorageError>) {
        self.0.failures.lock().unwrap().extend(errors);
    }

    fn find(&self, bucket: BucketId, key: &ObjectKey) -> Result<Bytes, StorageError> {
        let objects = self.0.objects.lock().unwrap();
        let found = objects.get(&(bucket, key.clone())).cloned();
        found.ok_or_else(|| StorageError::NoSuchKey {
            key: key.to_string(),
        })
    }

    async fn answer(self, request: StorageRequest<Tenant>) -> Result<AnyOutput, StorageError> {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        if let Some(error) = self.0.failures.lock().unwrap().pop() {
            return Err(error);
        }
        let name = request.operation.bucket().unwrap();
        let bucket = request.caller.bucket(name);
        match request.operation {
            AnyOperation::PutObject(put) => {
                let bytes = put.payload.body.collect(1 << 20).await?;
                let size = bytes.len() as u64;
                let slot = (bucket, put.key);
                self.0.objects.lock().unwrap().insert(slot, bytes);
                let hash = ContentHash::EMPTY;
                Ok(AnyOutput::PutObject(ObjectWritten { size, hash }))
            }
            AnyOperation::HeadObject(head) => {
                let bytes = self.find(bucket, &head.key)?;
                let info = Arc::new(object(&head.key, bytes.len() as u64));
                Ok(AnyOutput::HeadObject(ObjectFound { info, part: None }))
            }
            AnyOperation::GetObject(get) => {
                let bytes = self.find(bucket, &get.key)?;
                Ok(AnyOutput::GetObject(ObjectData {
                    info: get.resolved.expect("the cache layer resolves it"),
                    range: None,
                    part: None,
                    body: ByteStream::from_bytes(bytes),
                }))
            }
            AnyOperation::DeleteObject(delete) => {
                self.0.objects.lock().unwrap().remove(&(bucket, delete.key));
                Ok(AnyOutput::DeleteObject(ObjectDeleted {}))
            }
            other => Err(StorageError::internal(other.name())),
        }
    }
}

impl Service<StorageRequest<Tenant>> for MemoryProvider {
    type Response = AnyOutput;
    type Error = StorageError;
    type Future = BoxFuture<'static, Result<AnyOutput, StorageError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StorageError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: StorageRequest<Tenant>) -> Self::Future {
        self.clone().answer(request).boxed()
    }
}

struct Bench {
    gateway: Gateway,
    provider: MemoryProvider,
    metrics: Metrics,
    tenancy: Tenancy,
}

impl Bench {
    fn new(max_in_flight: usize) -> Self {
        let (provider, metrics) = (MemoryProvider::default(), Metrics::new());
        let user = |name: &str, rights| PasswordUser {
            name: name.into(),
            password: StoredPassword::Plain(Secret::new("secret")),
            entitlement: Entitlement {
                rights,
                ..Entitlement::default()
            },
        };
        let users = [
            user("writer", Rights::All),
            user("reader", Rights::ReadOnly),
        ];
        let store = CredentialStore::new([], users);
        let tenancy = Tenancy::unresolved();
        tenancy.resolve(scope("org"));
        let settings = StackSettings {
            metrics: metrics.clone(),
            max_in_flight,
            deadlines: Deadlines::default(),
            credentials: Arc::new(ArcSwap::from_pointee(store)),
            quotas: Arc::default(),
            tenancy: tenancy.clone(),
            file_info: FileInfoLimits::default(),
            changes: Changes::default(),
            retry: RetryLimits::default(),
        };
        Self {
            gateway: Gateway::new(storage_stack(settings, provider.clone())),
            provider,
            metrics,
            tenancy,
        }
    }

    async fn call<O: Operation>(
        &self,
        user: &str,
        operation: O,
    ) -> Result<O::Output, StorageError> {
        let caller = Credentials::Password {
            user: user.into(),
            password: Secret::new("secret"),
        };
        let context = RequestContext::new(Protocol::Ftp, None);
        self.gateway.call(context, caller, operation).await
    }

    fn counts(&self, line: &str) -> bool {
        self.metrics.render().lines().any(|found| found == line)
    }
}

fn scope(namespace: &str) -> Scope {
    Scope {
        namespace: Namespace::new(namespace).unwrap(),
        extra_namespaces: Arc::new([]),
        hub_token: Secret::new("hf_test"),
    }
}

fn unavailable() -> StorageError {
    StorageError::Unavailable {
        service: "hub",
        reason: "connection refused".into(),
        is_safe_to_retry: true,
    }
}

#[tokio::test]
async fn what_was_put_comes_back_under_the_tenants_namespace() {
    let bench = Bench::new(4);
    let written = bench.call("writer", put("k", "hello")).await.unwrap();
    assert_eq!(written.size, 5);
    let data = bench.call("writer", get("k")).await.unwrap();
    assert_eq!(data.info.size, 5);
    assert_eq!(data.body.collect(10).await.unwrap(), "hello");
    let objects = bench.provider.0.objects.lock().unwrap();
    let (id, _) = objects.keys().next().unwrap();
    assert_eq!(id.to_string(), "org/b");
}

#[tokio::test]
async fn a_denied_request_reaches_no_provider_but_is_counted() {
    let bench = Bench::new(4);
    let stranger = bench.call("stranger", get("k")).await;
    assert!(stranger.is_err());
    let reader = bench.call("reader", put("k", "x")).await;
    assert!(matches!(reader, Err(StorageError::AccessDenied { .. })));
    assert_eq!(bench.provider.calls(), 0);
    assert!(bench.counts(
        "hugbucket_requests_total{error=\"access_denied\",operation=\"PutObject\",protocol=\"ftp\",status=\"client_error\"} 1"
    ));
}

#[tokio::test]
async fn overload_is_refused_before_anybody_looks_at_credentials() {
    let bench = Bench::new(1);
    bench.call("writer", put("k", "hello")).await.unwrap();
    let open = bench.call("writer", get("k")).await.unwrap();
    let refused = bench.call("stranger", get("k")).await;
    assert!(matches!(refused, Err(StorageError::Overloaded)));
    assert!(
        bench.counts("hugbucket_auth_failures_total{protocol=\"ftp\",reason=\"no_such_key\"} 0")
    );
    assert!(bench.counts(
        "hugbucket_requests_total{error=\"overloaded\",operation=\"GetObject\",protocol=\"ftp\",status=\"server_error\"} 1"
    ));
    drop(open);
    assert!(bench.call("writer", get("k")).await.is_ok());
}

#[tokio::test]
async fn a_hit_costs_no_attempt_and_is_not_served_to_a_stranger() {
    let bench = Bench::new(4);
    bench.call("writer", put("k", "hello")).await.unwrap();
    bench.call("writer", head("k")).await.unwrap();
    let before = bench.provider.calls();
    bench.call("reader", head("k")).await.unwrap();
    assert!(bench.call("stranger", head("k")).await.is_err());
    assert_eq!(bench.provider.calls(), before);
    bench.tenancy.resolve(scope("other"));
    let elsewhere = bench.call("writer", head("k")).await;
    assert!(matches!(elsewhere, Err(StorageError::NoSuchKey { .. })));
    assert_eq!(bench.provider.calls(), before + 1);
}

#[tokio::test]
async fn reads_follow_the_processs_own_writes() {
    let bench = Bench::new(4);
    bench.call("writer", put("k", "hello")).await.unwrap();
    assert_eq!(bench.call("writer", head("k")).await.unwrap().info.size, 5);
    bench.call("writer", put("k", "hi")).await.unwrap();
    assert_eq!(bench.call("writer", head("k")).await.unwrap().info.size, 2);
    bench.call("writer", delete("k")).await.unwrap();
    assert!(bench.call("writer", head("k")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_read_is_tried_again_for_all_who_wait_and_each_attempt_counts() {
    let bench = Bench::new(64);
    bench.call("writer", put("k", "hello")).await.unwrap();
    bench.provider.fail_next([unavailable(), unavailable()]);
    let heads = join_all((0..16).map(|_| bench.call("writer", head("k")))).await;
    assert!(heads.iter().all(Result::is_ok));
    for line in [
        "hugbucket_provider_requests_total{operation=\"HeadObject\",outcome=\"unavailable\"} 2",
        "hugbucket_provider_requests_total{operation=\"HeadObject\",outcome=\"ok\"} 1",
        "hugbucket_requests_total{error=\"\",operation=\"HeadObject\",protocol=\"ftp\",status=\"ok\"} 16",
    ] {
        assert!(bench.counts(line), "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_reaches_the_provider_once_whatever_happens() {
    let bench = Bench::new(4);
    bench.provider.fail_next([unavailable()]);
    assert!(bench.call("writer", put("k", "x")).await.is_err());
    assert_eq!(bench.provider.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_stands_still_stores_nothing() {
    let bench = Bench::new(4);
    let mut silent = put("k", "");
    silent.payload.body = ByteStream::new(futures::stream::pending(), None);
    let result = bench.call("writer", silent).await;
    assert!(matches!(
        result,
        Err(StorageError::ClientTimeout { idle }) if idle == Duration::from_secs(60)
    ));
    assert!(bench.provider.0.objects.lock().unwrap().is_empty());
}
