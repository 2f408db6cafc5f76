//! Whose the Hub tokens of single callers are: asked when the first of them calls, and remembered.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;

use crate::cache::{ExpiringMap, SingleFlight};
use crate::storage::{Namespace, Secret, SecretId, StorageError};

/// Asks the Hub whose a token is.
///
/// Errors: [`StorageError::AccessDenied`] if the Hub refuses the token, and whatever keeps it from answering.
pub type AskOwner =
    dyn Fn(Secret) -> BoxFuture<'static, Result<Namespace, StorageError>> + Send + Sync;

/// How long the Hub is not asked again after a failure: it limits this question strictly, and a client that is refused
/// tries again at once.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Failures that are remembered: there are no more tokens than somebody wrote into a file.
const MAX_FAILURES: usize = 4096;

/// The owners of tokens, as far as they are known.
///
/// # Behaviour
/// - Callers that ask for one token at the same time share one question; nobody waits for the question of another token.
/// - An owner is remembered for as long as the token is in use, and a failure for ten seconds.
pub(super) struct Owners {
    ask: Option<Arc<AskOwner>>,
    known: Arc<Mutex<HashMap<SecretId, Namespace>>>,
    failures: ExpiringMap<SecretId, StorageError>,
    questions: SingleFlight<SecretId, Namespace, StorageError>,
}

impl Owners {
    /// Knows nobody yet. Without somebody to ask, nobody ever gets known.
    pub(super) fn new(ask: Option<Arc<AskOwner>>) -> Self {
        let lost = StorageError::internal("the question whose a token is was lost");
        Self {
            ask,
            known: Arc::default(),
            failures: ExpiringMap::new(MAX_FAILURES, ASK_AGAIN_AFTER),
            questions: SingleFlight::new(lost),
        }
    }

    /// Returns the owner of a token, if it is known.
    pub(super) fn known(&self, token: &Secret) -> Option<Namespace> {
        lock(&self.known).get(&token.id()).cloned()
    }

    /// Returns the owner of a token, which may take a call.
    ///
    /// Errors: [`StorageError::Unavailable`] if the Hub does not say, or refuses the token: that is no fault of the client.
    pub(super) async fn find(&self, token: &Secret) -> Result<Namespace, StorageError> {
        let id = token.id();
        if let Some(owner) = self.known(token) {
            return Ok(owner);
        }
        if let Some(failure) = self.failures.get(&id) {
            return Err(failure);
        }
        let Some(ask) = &self.ask else {
            return Err(unavailable("there is nobody to ask whose token this is"));
        };
        let work = || {
            let (question, known) = (ask(token.clone()), self.known.clone());
            async move {
                let owner = question.await?;
                lock(&known).insert(id, owner.clone());
                Ok(owner)
            }
        };
        let (found, _) = self.questions.run(id, work).await;
        found.map_err(|error| {
            let error = told(error);
            self.failures.insert(id, error.clone());
            error
        })
    }

    /// Forgets the owners of all other tokens.
    pub(super) fn keep_only(&self, tokens: &HashSet<SecretId>) {
        lock(&self.known).retain(|id, _| tokens.contains(id));
    }
}

fn lock(
    known: &Mutex<HashMap<SecretId, Namespace>>,
) -> MutexGuard<'_, HashMap<SecretId, Namespace>> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns what a client is told: that its own credential is good, and ours is not.
fn told(error: StorageError) -> StorageError {
    match error {
        StorageError::AccessDenied { .. } => {
            unavailable("it refuses the token that this credential is served with")
        }
        other => other,
    }
}

fn unavailable(reason: &str) -> StorageError {
    StorageError::Unavailable {
        service: "hub",
        reason: reason.into(),
        is_safe_to_retry: false,
    }
}

impl fmt::Debug for Owners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Owners")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::FutureExt as _;
    use futures::future::join_all;
    use tokio::sync::Notify;

    use super::*;

    /// Answers with a namespace of the token's own name; `bad` is refused, and `slow` waits until it is let go.
    fn owners() -> (Arc<Owners>, Arc<AtomicUsize>, Arc<Notify>) {
        let (asked, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let (count, wait) = (asked.clone(), gate.clone());
        let ask = move |token: Secret| {
            count.fetch_add(1, Ordering::SeqCst);
            let wait = wait.clone();
            async move {
                match token.expose() {
                    "bad" => return Err(StorageError::denied("the hub says no")),
                    "slow" => wait.notified().await,
                    _ => {}
                }
                Namespace::new(token.expose())
            }
            .boxed()
        };
        (Arc::new(Owners::new(Some(Arc::new(ask)))), asked, gate)
    }

    #[tokio::test]
    async fn an_owner_is_asked_for_once_and_for_each_token() {
        let (owners, asked, _) = owners();
        let token = Secret::new("ada");
        assert_eq!(owners.known(&token), None);
        let found = join_all((0..8).map(|_| owners.find(&token))).await;
        assert!(
            found
                .iter()
                .all(|owner| owner.as_ref().unwrap().as_str() == "ada")
        );
        assert_eq!(owners.find(&token).await.unwrap().as_str(), "ada");
        assert_eq!(
            owners.find(&Secret::new("bob")).await.unwrap().as_str(),
            "bob"
        );
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        owners.keep_only(&[Secret::new("bob").id()].into());
        assert_eq!(owners.known(&token), None);
        assert!(owners.known(&Secret::new("bob")).is_some());
    }

    #[tokio::test]
    async fn nobody_waits_for_the_question_of_another_token() {
        let (owners, _, gate) = owners();
        let slow = {
            let owners = owners.clone();
            tokio::spawn(async move { owners.find(&Secret::new("slow")).await })
        };
        assert_eq!(
            owners.find(&Secret::new("ada")).await.unwrap().as_str(),
            "ada"
        );
        gate.notify_one();
        assert_eq!(slow.await.unwrap().unwrap().as_str(), "slow");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_token_is_unavailable_and_asked_for_again_after_a_while() {
        let (owners, asked, _) = owners();
        let token = Secret::new("bad");
        for _ in 0..3 {
            let error = owners.find(&token).await.unwrap_err();
            assert_eq!(error.outcome(), "unavailable");
            assert!(!error.to_string().contains("bad"));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        tokio::time::advance(ASK_AGAIN_AFTER).await;
        assert!(owners.find(&token).await.is_err());
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }
}
