//! Proof: what was learnt with one Hub token is shown with another only where that one could have learnt it.
//!
//! Everything below remembers what the Hub has said of a bucket: file infos, listings, uploads and their parts, sidecars. None
//! of it says with whose token it was learnt, and it need not: on the Hub, whoever may read a bucket may read all of it. So
//! it is enough that a token has proven that it reads the bucket before anything that is remembered of that bucket is used
//! for it. As long as one token alone uses a bucket, there is nothing to prove.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Either};
use tower::{Layer, Service, ServiceExt as _};

use crate::cache::{ExpiringMap, SingleFlight};
use crate::layers::namespace::Tenancy;
use crate::storage::{
    AnyOperation, AnyOutput, BucketId, BucketName, Guards, HeadBucket, RequestContext, SecretId,
    StorageError, StorageRequest, StorageService, Tenant,
};

/// How long a proof counts: as long as file info is kept by default, so that a token that loses a bucket on the Hub is
/// found out as soon as a change of an object is.
const PROOF_LIFE: Duration = Duration::from_secs(30);

/// Proofs that are kept.
const MAX_PROOFS: usize = 16_384;

/// Buckets of which it is known who uses them. Of any further one, each token proves again and again that it reads it.
const MAX_BUCKETS: usize = 65_536;

type Answer = Result<AnyOutput, StorageError>;

/// A token and a bucket that it reads.
type Pair = (SecretId, BucketId);

/// Keeps apart what callers with different Hub tokens may read.
///
/// # Behaviour
/// - An operation on a bucket goes on only if nobody with another token uses the bucket, or if its own token has read the
///   bucket from the Hub within the last 30 seconds. If it has not, the bucket is looked up with it, once for all who ask at
///   the same time.
/// - An operation whose token does not read the bucket gets the Hub's own answer to that look-up, and reaches nothing below.
/// - Where all callers have one token, nothing is ever looked up.
/// - Operations whose answer is never remembered pass: those on the bucket itself, and the list of buckets.
#[derive(Debug, Clone)]
pub struct ProofLayer(Arc<Known>);

/// Who uses which bucket.
#[derive(Debug)]
struct Known {
    tenancy: Tenancy,
    users: Mutex<Users>,
    proofs: ExpiringMap<Pair, ()>,
    look_ups: SingleFlight<Pair, (), StorageError>,
}

#[derive(Debug, Default)]
struct Users {
    /// The set of tokens that the rest is about.
    generation: u64,
    first: First,
    buckets: HashMap<BucketId, User>,
}

/// The first token that was used at all: as long as there is no other, nobody has to write down which buckets it uses.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum First {
    #[default]
    NotYet,
    Token(SecretId),
    /// Tokens have come or gone since; nobody is first any more.
    Over,
}

/// Who uses a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum User {
    One(SecretId),
    Several,
}

impl ProofLayer {
    /// Creates the layer; `tenancy` tells when the set of tokens changes.
    pub fn new(tenancy: Tenancy) -> Self {
        let lost = StorageError::internal("the look-up of a bucket panicked");
        Self(Arc::new(Known {
            tenancy,
            users: Mutex::default(),
            proofs: ExpiringMap::new(MAX_PROOFS, PROOF_LIFE),
            look_ups: SingleFlight::new(lost),
        }))
    }
}

impl<S> Layer<S> for ProofLayer {
    type Service = Proof<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Proof {
            inner,
            known: self.0.clone(),
        }
    }
}

/// See [`ProofLayer`].
#[derive(Debug, Clone)]
pub struct Proof<S> {
    inner: S,
    known: Arc<Known>,
}

impl<S: StorageService<Tenant>> Service<StorageRequest<Tenant>> for Proof<S> {
    type Response = AnyOutput;
    type Error = StorageError;
    type Future = Either<S::Future, BoxFuture<'static, Answer>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StorageError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: StorageRequest<Tenant>) -> Self::Future {
        let token = request.caller.hub_token.id();
        let mut unproven = remembered_buckets(&request.operation);
        unproven.retain(|name| !self.known.passes(&(token, request.caller.bucket(name))));
        if unproven.is_empty() {
            return Either::Left(self.inner.call(request));
        }
        let unproven: Vec<BucketName> = unproven.into_iter().cloned().collect();
        let clone = self.clone();
        let mut ready = std::mem::replace(self, clone);
        Either::Right(
            async move {
                for bucket in unproven {
                    let (context, caller) = (request.context.clone(), request.caller.clone());
                    ready.prove(context, caller, bucket).await?;
                }
                ready.inner.call(request).await
            }
            .boxed(),
        )
    }
}

impl<S: StorageService<Tenant>> Proof<S> {
    /// Looks a bucket up with the caller's own token.
    async fn prove(
        &self,
        context: RequestContext,
        caller: Tenant,
        bucket: BucketName,
    ) -> Result<(), StorageError> {
        let pair = (caller.hub_token.id(), caller.bucket(&bucket));
        let (inner, known) = (self.inner.clone(), self.known.clone());
        let work = || look_up(inner, known, pair.clone(), context, caller, bucket);
        self.known.look_ups.run(pair.clone(), work).await.0
    }
}

async fn look_up<S: StorageService<Tenant>>(
    inner: S,
    known: Arc<Known>,
    pair: Pair,
    context: RequestContext,
    caller: Tenant,
    bucket: BucketName,
) -> Result<(), StorageError> {
    let request = StorageRequest {
        context,
        caller,
        operation: HeadBucket { bucket }.into(),
        guards: Guards::default(),
    };
    match inner.oneshot(request).await? {
        AnyOutput::HeadBucket(_) => {
            known.note(pair);
            Ok(())
        }
        other => Err(StorageError::internal(format!(
            "a look-up was answered with {}",
            other.name()
        ))),
    }
}

/// Returns the buckets of which an operation may be answered from memory, each once.
fn remembered_buckets(operation: &AnyOperation) -> Vec<&BucketName> {
    match operation {
        AnyOperation::ListBuckets(_)
        | AnyOperation::CreateBucket(_)
        | AnyOperation::HeadBucket(_)
        | AnyOperation::DeleteBucket(_)
        | AnyOperation::Identify(_)
        | AnyOperation::IssueSession(_) => Vec::new(),
        other => {
            let mut buckets = Vec::with_capacity(2);
            buckets.extend(other.bucket());
            buckets.extend(other.source_bucket());
            buckets.dedup();
            buckets
        }
    }
}

impl Known {
    /// Reports whether what is remembered of the bucket may be used for the token.
    fn passes(&self, pair: &Pair) -> bool {
        let (token, bucket) = pair;
        let mut users = self.users();
        let is_alone = match users.buckets.get(bucket) {
            Some(User::One(other)) => other == token,
            Some(User::Several) => false,
            None => match users.first {
                First::NotYet => {
                    users.first = First::Token(*token);
                    true
                }
                First::Token(first) => first == *token,
                First::Over => false,
            },
        };
        drop(users);
        is_alone || self.proofs.get(pair).is_some()
    }

    /// Notes that the token has just read the bucket.
    fn note(&self, pair: Pair) {
        let (token, bucket) = &pair;
        let mut users = self.users();
        let has_room = users.buckets.len() < MAX_BUCKETS;
        match users.buckets.entry(bucket.clone()) {
            Entry::Occupied(mut user) if *user.get() != User::One(*token) => {
                user.insert(User::Several);
            }
            Entry::Vacant(free) if has_room => {
                free.insert(User::One(*token));
            }
            Entry::Occupied(_) | Entry::Vacant(_) => {}
        }
        drop(users);
        self.proofs.insert(pair, ());
    }

    /// Returns who uses what. It begins anew when tokens come or go: a token that is gone uses nothing any more.
    fn users(&self) -> MutexGuard<'_, Users> {
        let generation = self.tenancy.generation();
        // Every step leaves the table whole, so a poisoned one is as good.
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if users.generation != generation {
            let first = match users.first {
                First::NotYet => First::NotYet,
                First::Token(_) | First::Over => First::Over,
            };
            *users = Users {
                generation,
                first,
                buckets: HashMap::new(),
            };
            self.proofs.retain(|_, ()| false);
        }
        users
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use futures::future::join_all;
    use time::OffsetDateTime;
    use tower::service_fn;

    use super::*;
    use crate::layers::testing::{copy, head, object, request, tenant};
    use crate::storage::{BucketFound, BucketInfo, ListBuckets, ObjectFound, Secret, Visibility};

    /// A provider that remembers everything, for everybody; `readers` are the tokens that read the bucket.
    #[derive(Clone, Default)]
    struct Hub {
        readers: Arc<Mutex<HashSet<&'static str>>>,
        log: Arc<Mutex<Vec<String>>>,
    }

    impl Hub {
        fn reads(&self, token: &'static str, reads: bool) {
            let mut readers = self.readers.lock().unwrap();
            match reads {
                true => readers.insert(token),
                false => readers.remove(token),
            };
        }

        fn answer(&self, request: &StorageRequest<Tenant>) -> Answer {
            let token = request.caller.hub_token.expose();
            let name = request.operation.name();
            self.log.lock().unwrap().push(format!("{name} {token}"));
            match &request.operation {
                AnyOperation::HeadBucket(head) if self.readers.lock().unwrap().contains(token) => {
                    let info = BucketInfo {
                        name: head.bucket.clone(),
                        created_at: OffsetDateTime::UNIX_EPOCH,
                        visibility: Visibility::Private,
                    };
                    Ok(AnyOutput::HeadBucket(BucketFound { info }))
                }
                AnyOperation::HeadBucket(head) => Err(StorageError::NoSuchBucket {
                    bucket: head.bucket.to_string(),
                }),
                AnyOperation::HeadObject(head) => Ok(AnyOutput::HeadObject(ObjectFound {
                    info: Arc::new(object(&head.key, 1)),
                    part: None,
                })),
                _ => Err(StorageError::internal("only the call counts")),
            }
        }

        fn service(&self, layer: &ProofLayer) -> impl StorageService<Tenant> + use<> {
            let hub = self.clone();
            layer.layer(service_fn(move |request: StorageRequest<Tenant>| {
                let answer = hub.answer(&request);
                async move { answer }
            }))
        }

        fn log(&self) -> Vec<String> {
            std::mem::take(&mut self.log.lock().unwrap())
        }
    }

    fn with(token: &str) -> Tenant {
        Tenant {
            hub_token: Secret::new(token),
            ..tenant("org")
        }
    }

    struct Scene {
        hub: Hub,
        tenancy: Tenancy,
        layer: ProofLayer,
    }

    impl Scene {
        fn new() -> Self {
            let tenancy = Tenancy::unresolved();
            Self {
                hub: Hub::default(),
                layer: ProofLayer::new(tenancy.clone()),
                tenancy,
            }
        }

        /// Returns the outcome of a look-up, and what it cost.
        async fn ask(&self, token: &str) -> (String, Vec<String>) {
            let service = self.hub.service(&self.layer);
            let answer = service.oneshot(request(with(token), head("k"))).await;
            let outcome = answer.map_or_else(|error| error.outcome().to_owned(), |_| "ok".into());
            (outcome, self.hub.log())
        }
    }

    fn found(calls: &[&str]) -> (String, Vec<String>) {
        ("ok".into(), calls.iter().map(ToString::to_string).collect())
    }

    #[tokio::test]
    async fn one_token_alone_looks_nothing_up() {
        let scene = Scene::new();
        for _ in 0..3 {
            assert_eq!(scene.ask("one").await, found(&["HeadObject one"]));
        }
    }

    #[tokio::test]
    async fn a_token_that_does_not_read_the_bucket_gets_nothing_that_is_remembered() {
        let scene = Scene::new();
        assert_eq!(scene.ask("one").await.0, "ok");
        for _ in 0..2 {
            let refused = (
                "no_such_bucket".to_owned(),
                vec!["HeadBucket two".to_owned()],
            );
            assert_eq!(scene.ask("two").await, refused);
        }
        // The first one goes on as before.
        assert_eq!(scene.ask("one").await, found(&["HeadObject one"]));
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_that_share_a_bucket_prove_it_every_half_minute() {
        let scene = Scene::new();
        scene.hub.reads("one", true);
        scene.hub.reads("two", true);
        assert_eq!(scene.ask("one").await, found(&["HeadObject one"]));
        assert_eq!(
            scene.ask("two").await,
            found(&["HeadBucket two", "HeadObject two"])
        );
        // From now on the bucket is the second one's alone, until the first one comes again.
        tokio::time::advance(PROOF_LIFE).await;
        assert_eq!(scene.ask("two").await, found(&["HeadObject two"]));
        assert_eq!(
            scene.ask("one").await,
            found(&["HeadBucket one", "HeadObject one"])
        );
        assert_eq!(scene.ask("one").await, found(&["HeadObject one"]));
        assert_eq!(
            scene.ask("two").await,
            found(&["HeadBucket two", "HeadObject two"])
        );
        tokio::time::advance(PROOF_LIFE).await;
        scene.hub.reads("two", false);
        assert_eq!(
            scene.ask("one").await,
            found(&["HeadBucket one", "HeadObject one"])
        );
        assert_eq!(scene.ask("two").await.0, "no_such_bucket");
    }

    #[tokio::test]
    async fn a_token_that_is_new_after_a_change_is_not_taken_for_the_old_one() {
        let scene = Scene::new();
        scene.hub.reads("one", true);
        assert_eq!(scene.ask("one").await.0, "ok");
        scene.tenancy.keep_only(&HashSet::new());
        assert_eq!(scene.ask("two").await.0, "no_such_bucket");
        assert_eq!(
            scene.ask("one").await,
            found(&["HeadBucket one", "HeadObject one"])
        );
        assert_eq!(scene.ask("one").await, found(&["HeadObject one"]));
    }

    #[tokio::test]
    async fn both_buckets_of_a_copy_are_proven_and_equal_questions_share_one() {
        let scene = Scene::new();
        assert_eq!(scene.ask("one").await.0, "ok");
        let service = scene.hub.service(&scene.layer);
        scene.hub.reads("two", true);
        let asked = (0..4).map(|_| {
            service
                .clone()
                .oneshot(request(with("two"), copy("a", "b")))
        });
        join_all(asked).await;
        let mut counts = HashMap::new();
        for line in scene.hub.log() {
            *counts.entry(line).or_insert(0) += 1;
        }
        assert_eq!(counts["HeadBucket two"], 1, "{counts:?}");
        assert_eq!(counts["CopyObject two"], 4, "{counts:?}");
        let mut across = copy("a", "b");
        across.source_bucket = BucketName::new("other").unwrap();
        let operation = across.into();
        assert_eq!(remembered_buckets(&operation).len(), 2);
        let list = ListBuckets {}.into();
        assert!(remembered_buckets(&list).is_empty());
    }
}
