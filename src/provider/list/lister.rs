//! What the provider calls.

use std::sync::Arc;

use crate::provider::hub::HubClient;
use crate::provider::list::hints::Hints;
use crate::provider::list::listing::Listing;
use crate::provider::list::token::{Position, Scope};
use crate::provider::list::walk::Ended;
use crate::storage::{BucketId, ListObjects, ListStart, ObjectPage, Secret, StorageError};

/// Lists objects. Clones share what they remember.
#[derive(Debug, Clone)]
pub struct Lister {
    hub: HubClient,
    hints: Arc<Hints>,
}

impl Lister {
    /// Creates a lister that remembers nothing yet.
    pub fn new(hub: HubClient) -> Self {
        Self {
            hub,
            hints: Arc::new(Hints::new()),
        }
    }

    /// Returns a page of a listing.
    ///
    /// # Behaviour
    /// - Entries come in byte order of their names; objects and common prefixes count alike towards the bound.
    /// - A page may hold fewer entries than the bound and still not be the last; it is never empty unless it is the last.
    /// - After a token, or after the last name of an answer given lately, the walk goes on at the Hub's own cursor. After
    ///   any other name it restarts at the beginning and passes over what comes before: the Hub has no start-after.
    ///
    /// Errors: `NoSuchBucket`; `InvalidArgument` for a token that was not issued for this listing; `Unavailable` for an
    /// unsorted listing of more than 1,000,000 entries.
    pub async fn list_objects(
        &self,
        token: &Secret,
        bucket: &BucketId,
        operation: &ListObjects,
    ) -> Result<ObjectPage, StorageError> {
        let listing = Listing {
            hub: &self.hub,
            token,
            scope: Scope {
                bucket,
                prefix: &operation.prefix,
                delimiter: operation.delimiter.as_deref(),
            },
            max_entries: operation.max_entries,
        };
        let scope = &listing.scope;
        let ended = match &operation.start {
            ListStart::Beginning => listing.go_on(Position::beginning(None)).await?,
            ListStart::Token(text) => listing.go_on(Position::from_token(text, scope)?).await?,
            ListStart::After(name) => self.after(&listing, name).await?,
        };
        if let Some(position) = &ended.position {
            self.hints.keep(scope, position);
        }
        Ok(ObjectPage {
            next: ended.position.map(|position| position.to_token(scope)),
            entries: ended.entries,
        })
    }

    /// Goes on after a name: where an earlier answer ended with it, if that is still known.
    async fn after(&self, listing: &Listing<'_>, name: &str) -> Result<Ended, StorageError> {
        if let Some(position) = self.hints.find(&listing.scope, name) {
            match listing.go_on(position).await {
                Err(StorageError::InvalidArgument { .. }) => {
                    self.hints.forget(&listing.scope, name);
                }
                outcome => return outcome,
            }
        }
        let start = listing.start_after(name).await?;
        listing.go_on(Position::beginning(Some(start))).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::hub::fake::{FakeHub, Reply, bucket_id, token};
    use crate::storage::BucketName;
    use crate::storage::ListEntry;

    fn operation(prefix: &str, delimiter: Option<&str>, max_entries: usize) -> ListObjects {
        ListObjects {
            bucket: BucketName::new("data").unwrap(),
            prefix: prefix.into(),
            delimiter: delimiter.map(Into::into),
            start: ListStart::Beginning,
            max_entries,
        }
    }

    fn files(paths: &[&str]) -> Reply {
        let entries: Vec<_> = paths
            .iter()
            .map(|path| {
                serde_json::json!({"type": "file", "path": path, "size": 0, "uploadedAt": "2026-01-02T03:04:05.000Z"})
            })
            .collect();
        Reply::json(200, &entries.into())
    }

    fn next(cursor: &str) -> String {
        format!("</x?recursive=true&limit=1&cursor={cursor}>; rel=\"next\"")
    }

    fn names(page: &ObjectPage) -> Vec<&str> {
        page.entries.iter().map(ListEntry::name).collect()
    }

    #[tokio::test]
    async fn a_full_listing_fetches_each_page_once_and_in_fitting_sizes() {
        let (hub, fake) = FakeHub::start(vec![
            files(&["a", "b"]).header("link", next("2")),
            files(&["c", "d"]).header("link", next("3")),
            files(&["e"]),
        ])
        .await;
        let lister = Lister::new(hub);
        let mut seen = Vec::new();
        let mut operation = operation("", None, 2);
        loop {
            let page = lister
                .list_objects(&token(), &bucket_id(), &operation)
                .await
                .unwrap();
            seen.extend(names(&page).into_iter().map(str::to_owned));
            match page.next {
                Some(next) => operation.start = ListStart::Token(next),
                None => break,
            }
        }
        assert_eq!(seen, ["a", "b", "c", "d", "e"]);
        assert_eq!(
            fake.lines(),
            [
                "GET /api/buckets/me/data/tree?recursive=true&limit=2",
                "GET /api/buckets/me/data/tree?recursive=true&limit=2&cursor=2",
                "GET /api/buckets/me/data/tree?recursive=true&limit=2&cursor=3"
            ]
        );
    }

    #[tokio::test]
    async fn a_marker_that_would_come_late_is_looked_up_once() {
        let marker = serde_json::json!([
            {"type": "file", "path": "d/.hugbucket_keep", "size": 1, "uploadedAt": "2026-01-02T03:04:05.000Z",
             "xetHash": "0".repeat(64)}
        ]);
        let (hub, fake) = FakeHub::start(vec![
            files(&["d/ x", "d/!", "d/-", "d/.hugbucket_keep", "d/a"]),
            Reply::json(200, &marker),
        ])
        .await;
        let lister = Lister::new(hub);
        let page = lister
            .list_objects(&token(), &bucket_id(), &operation("", None, 100))
            .await
            .unwrap();
        assert_eq!(names(&page), ["d/", "d/ x", "d/!", "d/-", "d/a"]);
        assert_eq!(fake.asked()[1].body, "{\"paths\":[\"d/.hugbucket_keep\"]}");
        assert_eq!(fake.asked().len(), 2);
    }

    #[tokio::test]
    async fn unsorted_pages_are_collected_and_sorted() {
        let unsorted = || files(&["b", "c", "a"]).header("link", next("2"));
        let (hub, fake) = FakeHub::start(vec![
            unsorted(),
            unsorted(),
            files(&["e", "d"]),
            unsorted(),
            files(&["e", "d"]),
        ])
        .await;
        let lister = Lister::new(hub);
        let mut operation = operation("", None, 3);
        let page = lister
            .list_objects(&token(), &bucket_id(), &operation)
            .await
            .unwrap();
        assert_eq!(names(&page), ["a", "b", "c"]);
        operation.start = ListStart::Token(page.next.unwrap());
        let page = lister
            .list_objects(&token(), &bucket_id(), &operation)
            .await
            .unwrap();
        assert_eq!(names(&page), ["d", "e"]);
        assert_eq!(page.next, None);
        assert_eq!(fake.asked().len(), 5);
    }

    #[tokio::test]
    async fn an_empty_or_impossible_listing_still_knows_its_bucket() {
        for (prefix, max_entries) in [("", 0), (".hugbucket/", 9), ("/a", 9), ("a//", 9)] {
            let found = serde_json::json!({"id": "me/data"});
            let (hub, fake) =
                FakeHub::start(vec![Reply::json(200, &found), Reply::empty(404)]).await;
            let lister = Lister::new(hub);
            let operation = operation(prefix, None, max_entries);
            let page = lister
                .list_objects(&token(), &bucket_id(), &operation)
                .await;
            assert!(page.unwrap().entries.is_empty());
            let missing = lister
                .list_objects(&token(), &bucket_id(), &operation)
                .await;
            assert_eq!(missing.unwrap_err().outcome(), "no_such_bucket");
            assert_eq!(fake.lines(), ["GET /api/buckets/me/data"; 2]);
        }
    }

    #[tokio::test]
    async fn a_token_that_is_not_ours_is_an_invalid_argument() {
        let (hub, fake) = FakeHub::start(vec![
            files(&["a"]).header("link", next("2")),
            Reply::empty(400),
        ])
        .await;
        let lister = Lister::new(hub);
        let mut operation = operation("", None, 1);
        let page = lister
            .list_objects(&token(), &bucket_id(), &operation)
            .await
            .unwrap();
        let issued = page.next.unwrap();
        for odd in ["", "x", "AAAA", &issued[1..], &format!("{issued}A")] {
            operation.start = ListStart::Token(odd.to_owned());
            let refused = lister
                .list_objects(&token(), &bucket_id(), &operation)
                .await;
            assert!(
                matches!(
                    refused,
                    Err(StorageError::InvalidArgument {
                        name: "continuation-token",
                        ..
                    })
                ),
                "{odd}"
            );
        }
        assert_eq!(fake.asked().len(), 1);
        operation.start = ListStart::Token(issued);
        let refused = lister
            .list_objects(&token(), &bucket_id(), &operation)
            .await;
        assert_eq!(refused.unwrap_err().outcome(), "invalid_argument");
    }

    #[tokio::test]
    async fn going_on_after_the_last_name_continues_where_the_answer_ended() {
        let (hub, fake) = FakeHub::start(vec![
            files(&["a"]).header("link", next("2")),
            files(&["b"]).header("link", next("3")),
            Reply::empty(400),
            files(&["a", "b", "c"]),
        ])
        .await;
        let lister = Lister::new(hub);
        let mut operation = operation("", None, 1);
        for (after, expected) in [(None, "a"), (Some("a"), "b"), (Some("b"), "c")] {
            if let Some(after) = after {
                operation.start = ListStart::After(after.into());
            }
            let page = lister
                .list_objects(&token(), &bucket_id(), &operation)
                .await;
            assert_eq!(names(&page.unwrap()), [expected]);
        }
        assert_eq!(
            fake.lines()[1..],
            [
                "GET /api/buckets/me/data/tree?recursive=true&limit=1&cursor=2",
                // The Hub does not know this cursor any more, so the walk restarts.
                "GET /api/buckets/me/data/tree?recursive=true&limit=1&cursor=3",
                "GET /api/buckets/me/data/tree?recursive=true&limit=1000"
            ]
        );
    }

    #[tokio::test]
    async fn a_folded_directory_around_the_start_is_shown_only_if_something_follows_in_it() {
        for (inner, expected) in [(&["b/a", "b/c"][..], &["b/", "d"][..]), (&["b/a"], &["d"])] {
            let folded = serde_json::json!([
                {"type": "file", "path": "a", "size": 0},
                {"type": "directory", "path": "b"},
                {"type": "file", "path": "d", "size": 0}
            ]);
            let (hub, fake) = FakeHub::start(vec![files(inner), Reply::json(200, &folded)]).await;
            let mut operation = operation("", Some("/"), 10);
            operation.start = ListStart::After("b/b".into());
            let page = Lister::new(hub)
                .list_objects(&token(), &bucket_id(), &operation)
                .await
                .unwrap();
            assert_eq!(names(&page), expected);
            assert_eq!(
                fake.lines()[0],
                "GET /api/buckets/me/data/tree/b%2F?recursive=true&limit=1000"
            );
        }
    }
}
