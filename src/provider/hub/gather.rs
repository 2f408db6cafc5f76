//! Concurrent look-ups in one bucket become one call.
//!
//! Each `paths-info` costs as much of the budget for one path as for a thousand. A look-up leaves at once if none is under
//! way in its bucket; those that come meanwhile wait for its answer and then leave together. They never join a call that
//! was sent before they came, so whoever has just written sees what it wrote.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::{Instrument, Span};

use crate::cache::{Gatherer, Turn};
use crate::provider::hub::client::HubClient;
use crate::provider::hub::record::FileRecord;
use crate::storage::{BucketId, Secret, SecretId, StorageError};

/// Paths in one call: as many as the Hub's own client sends, half of what the API takes.
pub(super) const MAX_PATHS: usize = 1000;

/// Longest time that look-ups wait for a call under way; one that is stuck in retries must not hold up the others.
const MAX_HOLD: Duration = Duration::from_millis(250);

type Outcome = Result<Vec<FileRecord>, StorageError>;
type Key = (SecretId, BucketId);

/// Look-ups that wait, by token and bucket. One call at a time, so that the others have company.
pub(super) type LookupGatherer = Gatherer<Key, Lookup>;

/// Paths that somebody waits for.
pub(super) struct Lookup {
    paths: Vec<String>,
    /// Who waits: its span gets the call.
    span: Span,
    answer: oneshot::Sender<Outcome>,
}

impl HubClient {
    /// Looks at most [`MAX_PATHS`] paths up, together with those of others who ask at the same time.
    pub(super) async fn look_up_together(
        &self,
        token: &Secret,
        bucket: &BucketId,
        paths: Vec<String>,
    ) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        let key = (token.id(), bucket.clone());
        let lookup = Lookup {
            paths,
            span: Span::current(),
            answer,
        };
        if let Some(turn) = self.shared.gatherer.join(&key, lookup) {
            let (hub, token, bucket) = (self.clone(), token.clone(), bucket.clone());
            tokio::spawn(async move { hub.send_groups(turn, &token, &bucket).await });
        }
        outcome
            .await
            .unwrap_or_else(|_| Err(StorageError::internal("a look-up's task ended")))
    }

    /// Sends one group after the other until nobody waits.
    async fn send_groups(&self, mut turn: Turn<Key, Lookup>, token: &Secret, bucket: &BucketId) {
        loop {
            let group = turn.next_group(MAX_PATHS, |lookup| lookup.paths.len());
            let Some(first) = group.first() else {
                return;
            };
            let span = first.span.clone();
            let (hub, token, bucket) = (self.clone(), token.clone(), bucket.clone());
            let call = async move { hub.send_group(&token, &bucket, group).await };
            let under_way = tokio::spawn(call.instrument(span));
            // Late or lost, the next group leaves; a panic was already reported to those who waited.
            let _ = tokio::time::timeout(MAX_HOLD, under_way).await;
        }
    }

    async fn send_group(&self, token: &Secret, bucket: &BucketId, group: Vec<Lookup>) {
        let mut seen = HashSet::new();
        let paths: Vec<String> = group
            .iter()
            .flat_map(|lookup| &lookup.paths)
            .filter(|path| seen.insert(path.as_str()))
            .cloned()
            .collect();
        let outcome = self.send_lookup(token, bucket, &paths).await;
        if group.len() > 1 && matches!(outcome, Err(StorageError::InvalidRequest { .. })) {
            // One of them asks for something impossible; the others must not suffer for it.
            for lookup in group {
                let alone = self.send_lookup(token, bucket, &lookup.paths).await;
                let _ = lookup.answer.send(alone);
            }
            return;
        }
        let outcome = outcome.map(|found| {
            let by_path = found.into_iter().map(|file| (file.path.clone(), file));
            by_path.collect::<HashMap<_, _>>()
        });
        for lookup in group {
            let own = outcome.as_ref().map(|found| {
                let paths: HashSet<&String> = lookup.paths.iter().collect();
                paths
                    .into_iter()
                    .filter_map(|path| found.get(path).cloned())
                    .collect()
            });
            // Who has left needs no answer.
            let _ = lookup.answer.send(own.map_err(Clone::clone));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;
    use crate::provider::hub::fake::{FakeHub, Reply, bucket_id, token};

    fn files(paths: &[&str]) -> Reply {
        let entries: Vec<_> = paths
            .iter()
            .map(|path| serde_json::json!({"type": "file", "path": path, "size": 0}))
            .collect();
        Reply::json(200, &entries.into())
    }

    async fn look_up(hub: &HubClient, paths: &[&str]) -> Result<Vec<String>, StorageError> {
        let paths: Vec<_> = paths.iter().map(|path| (*path).to_owned()).collect();
        let found = hub.paths_info(&token(), &bucket_id(), &paths).await?;
        let mut found: Vec<_> = found.into_iter().map(|file| file.path).collect();
        found.sort();
        Ok(found)
    }

    #[tokio::test]
    async fn lookups_that_come_while_one_is_under_way_leave_together() {
        let (hub, fake) = FakeHub::start(vec![files(&["a"]), files(&["b", "c"])]).await;
        let (a, b, c, d) = tokio::join!(
            look_up(&hub, &["a"]),
            async {
                tokio::task::yield_now().await;
                look_up(&hub, &["b", "x"]).await
            },
            async {
                tokio::task::yield_now().await;
                look_up(&hub, &["c", "b", "b"]).await
            },
            async {
                tokio::task::yield_now().await;
                look_up(&hub, &["y"]).await
            },
        );
        assert_eq!(a.unwrap(), ["a"]);
        assert_eq!(b.unwrap(), ["b"]);
        assert_eq!(c.unwrap(), ["b", "c"]);
        assert_eq!(d.unwrap(), [""; 0]);
        let bodies: Vec<_> = fake.asked().into_iter().map(|asked| asked.body).collect();
        assert_eq!(
            bodies,
            [
                "{\"paths\":[\"a\"]}",
                "{\"paths\":[\"b\",\"x\",\"c\",\"y\"]}"
            ]
        );
    }

    #[tokio::test]
    async fn other_buckets_and_later_lookups_do_not_wait() {
        let (hub, fake) = FakeHub::start(vec![files(&["a"]), files(&["a"])]).await;
        assert_eq!(look_up(&hub, &["a"]).await.unwrap(), ["a"]);
        assert_eq!(look_up(&hub, &["a"]).await.unwrap(), ["a"]);
        assert_eq!(fake.asked().len(), 2);
        assert!(hub.shared.gatherer.is_idle());
    }

    #[tokio::test]
    async fn an_impossible_path_does_not_fail_the_others() {
        let (hub, fake) = FakeHub::start(vec![
            files(&["a"]),
            Reply::empty(400),
            files(&["b"]),
            Reply::empty(400),
        ])
        .await;
        let later = |path: &'static str| {
            let hub = hub.clone();
            async move {
                tokio::task::yield_now().await;
                look_up(&hub, &[path]).await
            }
        };
        let first = look_up(&hub, &["a"]);
        let (_, good, bad) = tokio::join!(first, later("b"), later("//"));
        assert_eq!(good.unwrap(), ["b"]);
        assert_eq!(bad.unwrap_err().outcome(), "invalid_request");
        assert_eq!(fake.asked().len(), 4);
    }

    #[tokio::test]
    async fn a_group_never_exceeds_one_call_and_a_caller_may_leave() {
        let (hub, fake) = FakeHub::start((0..4).map(|_| files(&[])).collect()).await;
        let paths: Vec<_> = (0..700).map(|n| n.to_string()).collect();
        let paths: Vec<_> = paths.iter().map(String::as_str).collect();
        drop(tokio::time::timeout(Duration::ZERO, look_up(&hub, &["left"])).await);
        let all = join_all((0..3).map(|_| look_up(&hub, &paths))).await;
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(fake.asked().len(), 4);
    }
}
