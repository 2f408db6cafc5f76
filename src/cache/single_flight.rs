//! Single flight: concurrent callers with the same key share one piece of work.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};

type Running<V, E> = Shared<BoxFuture<'static, Option<Result<V, E>>>>;

/// Work under way by key; the ticket tells one piece of work from its successor under the same key.
type Table<K, V, E> = HashMap<K, (u64, Running<V, E>)>;

/// How a caller came by its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flight {
    /// It started the work.
    Led,
    /// It joined work that somebody else had started.
    Joined,
}

/// Work under way, by key.
///
/// # Behaviour
/// - At most one piece of work per key is under way; callers that come meanwhile wait for it and share its outcome,
///   errors included. Nothing is kept afterwards.
/// - The work runs in a task of its own: a caller that leaves cancels neither the work nor the others.
/// - [`SingleFlight::detach`] makes later callers start anew, while those already waiting still get the old outcome.
pub struct SingleFlight<K, V, E> {
    running: Arc<Mutex<Table<K, V, E>>>,
    /// What callers get when the work panicked.
    lost: E,
}

impl<K, V, E> SingleFlight<K, V, E>
where
    K: Eq + Hash + Clone + Send + 'static,
    V: Clone + Send + Sync + 'static,
    E: Clone + Send + Sync + 'static,
{
    /// Creates an empty table; callers get `lost` when the work they wait for panicked.
    pub fn new(lost: E) -> Self {
        Self {
            running: Arc::default(),
            lost,
        }
    }

    /// Returns the outcome of the work under way for `key`, or starts `work` and returns its outcome.
    pub async fn run<F>(&self, key: K, work: impl FnOnce() -> F) -> (Result<V, E>, Flight)
    where
        F: Future<Output = Result<V, E>> + Send + 'static,
    {
        let (running, flight) = self.join_or_start(key, work);
        (
            running.await.unwrap_or_else(|| Err(self.lost.clone())),
            flight,
        )
    }

    /// Forgets the work under way for `key`: callers that come later do not join it.
    pub fn detach(&self, key: &K) {
        self.lock().remove(key);
    }

    fn join_or_start<F>(&self, key: K, work: impl FnOnce() -> F) -> (Running<V, E>, Flight)
    where
        F: Future<Output = Result<V, E>> + Send + 'static,
    {
        let mut running = self.lock();
        if let Some((_, under_way)) = running.get(&key) {
            return (under_way.clone(), Flight::Joined);
        }
        let ticket = rand::random();
        let done = Done {
            running: self.running.clone(),
            key: key.clone(),
            ticket,
        };
        let work = work();
        let task = tokio::spawn(async move {
            let _done = done;
            work.await
        });
        let started = task.map(Result::ok).boxed().shared();
        running.insert(key, (ticket, started.clone()));
        (started, Flight::Led)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Table<K, V, E>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, V, E> std::fmt::Debug for SingleFlight<K, V, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SingleFlight")
    }
}

/// Takes a finished piece of work out of the table, also when it panicked; a successor under the same key stays.
struct Done<K: Eq + Hash, V, E> {
    running: Arc<Mutex<Table<K, V, E>>>,
    key: K,
    ticket: u64,
}

impl<K: Eq + Hash, V, E> Drop for Done<K, V, E> {
    fn drop(&mut self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running
            .get(&self.key)
            .is_some_and(|(ticket, _)| *ticket == self.ticket)
        {
            running.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn concurrent_callers_share_one_piece_of_work() {
        let flights = Arc::new(SingleFlight::<_, _, ()>::new(()));
        let (count, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let caller = || {
            let (flights, count, gate) = (flights.clone(), count.clone(), gate.clone());
            async move {
                flights
                    .run("k", || async move {
                        gate.notified().await;
                        Ok(count.fetch_add(1, Ordering::SeqCst))
                    })
                    .await
            }
        };
        let open = async {
            tokio::task::yield_now().await;
            gate.notify_one();
        };
        let (first, second, ()) = tokio::join!(caller(), caller(), open);
        assert_eq!(
            (first, second),
            ((Ok(0), Flight::Led), (Ok(0), Flight::Joined))
        );
        assert_eq!(
            flights.run("k", || async { Ok(7) }).await,
            (Ok(7), Flight::Led)
        );
    }

    #[tokio::test]
    async fn a_caller_that_leaves_does_not_cancel_the_work() {
        let flights = Arc::new(SingleFlight::<_, _, ()>::new(()));
        let gate = Arc::new(Notify::new());
        let work = |gate: Arc<Notify>| async move {
            gate.notified().await;
            Ok(1)
        };
        let leaving = tokio::spawn({
            let (flights, gate) = (flights.clone(), gate.clone());
            async move { flights.run("k", || work(gate)).await }
        });
        tokio::task::yield_now().await;
        leaving.abort();
        let _ = leaving.await;
        let (joined, ()) = tokio::join!(flights.run("k", || async { Ok(2) }), async {
            gate.notify_one();
        });
        assert_eq!(joined, (Ok(1), Flight::Joined));
    }

    #[tokio::test]
    async fn detached_work_is_not_joined_any_more() {
        let flights = Arc::new(SingleFlight::<_, _, ()>::new(()));
        let gate = Arc::new(Notify::new());
        let old = tokio::spawn({
            let (flights, gate) = (flights.clone(), gate.clone());
            async move {
                flights
                    .run("k", || async move {
                        gate.notified().await;
                        Ok("old")
                    })
                    .await
            }
        });
        tokio::task::yield_now().await;
        flights.detach(&"k");
        assert_eq!(
            flights.run("k", || async { Ok("new") }).await,
            (Ok("new"), Flight::Led)
        );
        gate.notify_one();
        assert_eq!(old.await.unwrap(), (Ok("old"), Flight::Led));
    }

    #[tokio::test]
    async fn panicking_work_is_an_error_and_is_forgotten() {
        let flights = SingleFlight::<_, u8, _>::new("lost");
        assert_eq!(
            flights.run("k", || async { panic!("on purpose") }).await,
            (Err("lost"), Flight::Led)
        );
        assert_eq!(
            flights.run("k", || async { Ok(1) }).await,
            (Ok(1), Flight::Led)
        );
    }
}
