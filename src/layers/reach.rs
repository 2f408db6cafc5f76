//! Reach: where in the namespace a principal's rights count.
//!
//! Auth has judged what a principal may do, and in which buckets at all. Some see even less: one bucket or one directory,
//! which a protocol with paths shows them as the root. Nothing outside of it exists for them, in no operation and no answer.

use std::task::{Context, Poll};

use futures::future::{BoxFuture, Either, Ready, ready};
use futures::{FutureExt as _, TryFutureExt as _};
use tower::{Layer, Service};

use crate::storage::{
    Access, AnyOperation, AnyOutput, BucketName, Entitlement, Extent, Principal, Reach, Rights,
    StorageError, StorageRequest, StorageService,
};
use crate::telemetry::{AuthFailure, Metrics, RefusedBy};

/// Keeps principals within their reach.
///
/// # Behaviour
/// - A principal with a root names no object outside of it, as a source neither, and lists none; nor does it create or
///   delete buckets. Such an operation reaches nothing below.
/// - The list of buckets holds those within reach, and of those the ones into which some right goes.
/// - A principal without limits passes, and so does a question for one's own identity.
#[derive(Debug, Clone)]
pub struct ReachLayer {
    metrics: Metrics,
}

impl ReachLayer {
    /// Creates the layer.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            metrics: metrics.clone(),
        }
    }
}

impl<S> Layer<S> for ReachLayer {
    type Service = Reaching<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Reaching {
            inner,
            metrics: self.metrics.clone(),
        }
    }
}

/// See [`ReachLayer`].
#[derive(Debug, Clone)]
pub struct Reaching<S> {
    inner: S,
    metrics: Metrics,
}

type Answer = Result<AnyOutput, StorageError>;

impl<S: StorageService<Principal>> Service<StorageRequest<Principal>> for Reaching<S> {
    type Response = AnyOutput;
    type Error = StorageError;
    type Future = Either<S::Future, Either<BoxFuture<'static, Answer>, Ready<Answer>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StorageError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: StorageRequest<Principal>) -> Self::Future {
        let Entitlement { rights, reach, .. } = &request.caller.entitlement;
        if *reach == Reach::default() && !matches!(rights, Rights::Granted { .. }) {
            return Either::Left(self.inner.call(request));
        }
        if let Err(refusal) = check(reach, &request.operation) {
            let protocol = request.context.protocol.name();
            self.metrics.request_rejected(RefusedBy::Auth, protocol);
            self.metrics.auth_failure(protocol, AuthFailure::Forbidden);
            return Either::Right(Either::Right(ready(Err(refusal))));
        }
        if !matches!(request.operation, AnyOperation::ListBuckets(_)) {
            return Either::Left(self.inner.call(request));
        }
        let (rights, reach) = (rights.clone(), reach.clone());
        let answer = self.inner.call(request);
        let shown = answer.map_ok(move |output| within(&rights, &reach, output));
        Either::Right(Either::Left(shown.boxed()))
    }
}

/// Removes from a list of buckets those that are out of reach, and those into which no right goes.
fn within(rights: &Rights, reach: &Reach, mut output: AnyOutput) -> AnyOutput {
    let root = Root::of(reach);
    if let AnyOutput::ListBuckets(list) = &mut output {
        list.buckets.retain(|bucket| {
            let is_in_root = root.is_none_or(|root| root.bucket == bucket.name.as_str());
            is_in_root && reach.includes(&bucket.name) && rights.see(&bucket.name)
        });
    }
    output
}

/// Errors: [`StorageError::AccessDenied`] for another bucket than the root's, and for what lies beside the root.
fn check(reach: &Reach, operation: &AnyOperation) -> Result<(), StorageError> {
    let Some(root) = Root::of(reach) else {
        return Ok(());
    };
    if operation.access() == Access::Admin {
        return Err(StorageError::denied("buckets are out of reach"));
    }
    for touch in operation.touches() {
        if let Some(bucket) = touch.bucket {
            root.check_bucket(bucket)?;
        }
        if touch.extent != Extent::Bucket && !root.holds(touch.name) {
            let name = touch.name;
            return Err(StorageError::denied(format!("`{name}` is out of reach")));
        }
    }
    Ok(())
}

/// What a principal sees as the root: a bucket, or a directory of one.
#[derive(Debug, Clone, Copy)]
struct Root<'a> {
    bucket: &'a str,
    /// Without a slash at its end; empty for the bucket.
    directory: &'a str,
}

impl<'a> Root<'a> {
    /// Returns the root of those who have one.
    fn of(reach: &'a Reach) -> Option<Self> {
        let (bucket, directory) = reach.root.split_once('/').unwrap_or((&reach.root, ""));
        (!bucket.is_empty()).then_some(Self { bucket, directory })
    }

    fn check_bucket(&self, bucket: &BucketName) -> Result<(), StorageError> {
        if bucket.as_str() == self.bucket {
            return Ok(());
        }
        Err(StorageError::denied(format!(
            "the bucket `{bucket}` is out of reach"
        )))
    }

    /// Reports whether all keys that begin with `name` lie below the directory.
    fn holds(&self, name: &str) -> bool {
        let rest = name.strip_prefix(self.directory);
        self.directory.is_empty() || rest.is_some_and(|rest| rest.starts_with('/'))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use time::OffsetDateTime;
    use tower::{ServiceExt as _, service_fn};

    use super::*;
    use crate::layers::testing::{
        Script, copy, copy_part, delete, delete_all, get, head, principal, put, request,
    };
    use crate::storage::{
        Actions, BucketInfo, BucketList, CreateBucket, DeleteBucket, Grant, HeadBucket,
        ListBuckets, ListObjects, ListStart, Pattern, Visibility,
    };

    fn reach(root: &str) -> Reach {
        Reach {
            root: root.into(),
            ..Reach::default()
        }
    }

    fn list(prefix: &str) -> ListObjects {
        ListObjects {
            bucket: bucket("b"),
            prefix: prefix.into(),
            delimiter: None,
            start: ListStart::Beginning,
            max_entries: 1,
        }
    }

    fn bucket(name: &str) -> BucketName {
        BucketName::new(name).unwrap()
    }

    /// Returns the outcome's name, and whether the operation went on.
    async fn ask(root: &str, operation: impl Into<AnyOperation>) -> (&'static str, bool) {
        let script = Script::new();
        let service = ReachLayer::new(&Metrics::new()).layer(script.clone());
        let caller = Principal {
            entitlement: Entitlement {
                reach: reach(root),
                ..Entitlement::default()
            },
            ..principal()
        };
        let answer = service.oneshot(request(caller, operation)).await;
        let outcome = answer.map_or_else(|error| error.outcome(), |_| "ok");
        (outcome, script.calls() == 1)
    }

    #[tokio::test]
    async fn what_lies_below_the_root_goes_on() {
        for root in ["", "b", "b/team"] {
            let pair = delete_all(&["team/a", "team/"]);
            assert_eq!(ask(root, get("team/a")).await, ("ok", true), "{root}");
            assert_eq!(ask(root, put("team/", "")).await, ("ok", true), "{root}");
            assert_eq!(ask(root, copy("team/a", "team/b")).await, ("ok", true));
            assert_eq!(ask(root, pair).await, ("ok", true), "{root}");
            // The script knows no listings, but is asked.
            assert!(ask(root, list("team/")).await.1, "{root}");
        }
    }

    #[tokio::test]
    async fn what_lies_beside_the_root_reaches_nothing() {
        let denied = ("access_denied", false);
        for name in ["team", "teams/a", "a", "other/team/a"] {
            assert_eq!(ask("b/team", get(name)).await, denied, "{name}");
            assert_eq!(ask("b/team", head(name)).await, denied, "{name}");
            assert_eq!(ask("b/team", put(name, "x")).await, denied, "{name}");
            assert_eq!(ask("b/team", delete(name)).await, denied, "{name}");
            assert_eq!(ask("b/team", copy(name, "team/a")).await, denied);
            assert_eq!(ask("b/team", copy("team/a", name)).await, denied);
            assert_eq!(ask("b/team", copy_part(name, "team/a")).await, denied);
            let pair = delete_all(&["team/a", name]);
            assert_eq!(ask("b/team", pair).await, denied, "{name}");
        }
        for prefix in ["", "t", "team", "teams/"] {
            assert_eq!(ask("b/team", list(prefix)).await, denied, "{prefix}");
        }
    }

    #[tokio::test]
    async fn another_bucket_is_out_of_reach_and_none_is_created() {
        let missing = ("access_denied", false);
        for root in ["other", "other/team"] {
            assert_eq!(ask(root, get("team/a")).await, missing, "{root}");
            assert_eq!(ask(root, list("team/")).await, missing, "{root}");
            let found = HeadBucket {
                bucket: bucket("b"),
            };
            assert_eq!(ask(root, found).await, missing, "{root}");
        }
        for root in ["b", "b/team"] {
            let create = CreateBucket {
                bucket: bucket("b"),
                visibility: None,
            };
            let delete = DeleteBucket {
                bucket: bucket("b"),
            };
            assert_eq!(ask(root, create).await, ("access_denied", false));
            assert_eq!(ask(root, delete).await, ("access_denied", false));
        }
    }

    #[tokio::test]
    async fn the_list_of_buckets_holds_what_is_within_reach() {
        let inner = service_fn(|_: StorageRequest<Principal>| {
            let info = |name| BucketInfo {
                name: bucket(name),
                created_at: OffsetDateTime::UNIX_EPOCH,
                visibility: Visibility::Private,
            };
            ready(Ok(AnyOutput::ListBuckets(BucketList {
                owner: "me".into(),
                buckets: ["a", "b", "c"].map(info).into(),
            })))
        });
        let limited = Reach {
            buckets: Some(Arc::new([bucket("c"), bucket("a"), bucket("x")])),
            ..Reach::default()
        };
        let granted = Rights::Granted {
            everywhere: Actions::default(),
            grants: Arc::new([Grant {
                bucket: Pattern::new("c"),
                prefix: "team/".into(),
                actions: Actions::READ_ONLY,
            }]),
        };
        for (reach, rights, expected) in [
            (Reach::default(), Rights::All, "abc"),
            (Reach::default(), granted.clone(), "c"),
            (limited.clone(), granted, "c"),
            (limited, Rights::All, "ac"),
            (reach("b"), Rights::All, "b"),
            (reach("b/team"), Rights::All, "b"),
            (reach("x"), Rights::All, ""),
        ] {
            let service = ReachLayer::new(&Metrics::new()).layer(inner);
            let caller = Principal {
                entitlement: Entitlement {
                    reach,
                    rights,
                    ..Entitlement::default()
                },
                ..principal()
            };
            let answer = service.oneshot(request(caller, ListBuckets {})).await;
            let Ok(AnyOutput::ListBuckets(list)) = answer else {
                panic!("no list");
            };
            let names = list.buckets.iter().map(|bucket| bucket.name.to_string());
            assert_eq!(names.collect::<String>(), expected);
        }
    }
}
