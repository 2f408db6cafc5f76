//! What the provider calls.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::cache::ExpiringMap;
use crate::provider::hub::HubClient;
use crate::provider::list::hints::Hints;
use crate::provider::list::listing::Listing;
use crate::provider::list::pages::Pages;
use crate::provider::list::token::{Position, Scope};
use crate::provider::list::walk::Ended;
use crate::provider::recent::RecentWrites;
use crate::storage::{BucketId, ListObjects, ListStart, ObjectPage, Secret, StorageError};

/// Lists objects. Clones share what they remember.
#[derive(Debug, Clone)]
pub struct Lister {
    hub: HubClient,
    memory: Arc<Memory>,
}

/// What is remembered between answers. All of it is help only: without it, the same answers cost more calls.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) hints: Hints,
    pub(super) pages: Pages,
    pub(super) recent: RecentWrites,
    /// Directories that held something when they were looked into, and when that was.
    pub(super) seen_filled: ExpiringMap<(BucketId, String), Instant>,
}

impl Lister {
    /// Creates a lister that remembers nothing yet; `recent` is what this process wrote lately.
    pub fn new(hub: HubClient, recent: RecentWrites) -> Self {
        let memory = Memory {
            hints: Hints::new(),
            pages: Pages::new(recent.clone(), hub.metrics().clone()),
            recent,
            seen_filled: ExpiringMap::new(1024, Duration::from_secs(60)),
        };
        Self {
            hub,
            memory: Arc::new(memory),
        }
    }

    /// Returns a page of a listing.
    ///
    /// # Behaviour
    /// - Entries come in byte order of their names; objects and common prefixes count alike towards the bound.
    /// - A page may hold fewer entries than the bound and still not be the last; it is never empty unless it is the last.
    /// - After a token, or after the last name of an answer given lately, the walk goes on at the Hub's own cursor. After
    ///   any other name it restarts at the beginning and passes over what comes before: the Hub has no start-after.
    /// - What this process wrote is seen at once, also where the Hub's own answer lags behind. What others wrote may be
    ///   missed, in the further pages of a listing, for half a minute.
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
            memory: &self.memory,
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
            self.memory.hints.keep(scope, position);
        }
        Ok(ObjectPage {
            next: ended.position.map(|position| position.to_token(scope)),
            entries: ended.entries,
        })
    }

    /// Goes on after a name: where an earlier answer ended with it, if that is still known.
    async fn after(&self, listing: &Listing<'_>, name: &str) -> Result<Ended, StorageError> {
        if let Some(position) = self.memory.hints.find(&listing.scope, name) {
            match listing.go_on(position).await {
                Err(StorageError::InvalidArgument { .. }) => {
                    self.memory.hints.forget(&listing.scope, name);
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
    use crate::provider::hub::BatchLine;
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
        let lister = Lister::new(hub, RecentWrites::default());
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

    /// Lists on to the end; returns the number of entries on each page.
    async fn list_all(lister: &Lister, operation: &mut ListObjects) -> Vec<usize> {
        let mut sizes = Vec::new();
        loop {
            let page = lister
                .list_objects(&token(), &bucket_id(), operation)
                .await
                .unwrap();
            sizes.push(page.entries.len());
            match page.next {
                Some(next) => operation.start = ListStart::Token(next),
                None => return sizes,
            }
        }
    }

    fn numbered(range: std::ops::Range<usize>) -> Reply {
        let paths: Vec<String> = range.map(|n| format!("k{n:04}")).collect();
        files(&paths.iter().map(String::as_str).collect::<Vec<_>>())
    }

    #[tokio::test]
    async fn several_answers_are_made_of_one_page() {
        let replies = vec![
            numbered(0..100).header("link", next("2")),
            numbered(100..450).header("link", next("3")),
            numbered(450..460),
        ];
        let (hub, fake) = FakeHub::start(replies).await;
        let lister = Lister::new(hub, RecentWrites::default());
        let mut operation = operation("", None, 100);
        let sizes = list_all(&lister, &mut operation).await;
        assert_eq!(sizes, [100, 100, 100, 100, 60]);
        assert_eq!(
            fake.lines(),
            [
                "GET /api/buckets/me/data/tree?recursive=true&limit=100",
                "GET /api/buckets/me/data/tree?recursive=true&limit=5000&cursor=2",
                "GET /api/buckets/me/data/tree?recursive=true&limit=5000&cursor=3"
            ]
        );
    }

    #[tokio::test]
    async fn a_page_is_fetched_again_where_we_have_written_since() {
        let replies = vec![
            numbered(0..100).header("link", next("2")),
            numbered(100..300),
            numbered(100..301),
        ];
        let (hub, fake) = FakeHub::start(replies).await;
        let recent = RecentWrites::default();
        let lister = Lister::new(hub, recent.clone());
        let mut operation = operation("", None, 100);
        for expected in ["k0099", "k0199", "k0299"] {
            let page = lister
                .list_objects(&token(), &bucket_id(), &operation)
                .await
                .unwrap();
            assert_eq!(names(&page).last(), Some(&expected));
            operation.start = ListStart::Token(page.next.unwrap_or_default());
            if expected == "k0199" {
                let path = "k0300".into();
                recent.note(&bucket_id(), &[BatchLine::DeleteFile { path }]);
            }
        }
        assert_eq!(fake.asked().len(), 3);
    }

    #[tokio::test]
    async fn a_folded_listing_that_lags_shows_what_we_wrote() {
        let entry = |path: &str| serde_json::json!({"type": "file", "path": path, "size": 0, "uploadedAt": "2026-01-02T03:04:05.000Z"});
        let directory = |path: &str| serde_json::json!({"type": "directory", "path": path});
        let listing = || Reply::json(200, &serde_json::json!([directory("d"), entry("old")]));
        let replies = vec![
            listing(),
            Reply::json(200, &serde_json::json!([entry("new")])),
            Reply::json(200, &serde_json::json!([])),
            listing(),
            Reply::json(200, &serde_json::json!([entry("new")])),
            files(&["d/2"]),
            listing(),
            Reply::json(200, &serde_json::json!([entry("new")])),
        ];
        let (hub, fake) = FakeHub::start(replies).await;
        let recent = RecentWrites::default();
        let lister = Lister::new(hub, recent.clone());
        let delete = |path: &str| BatchLine::DeleteFile { path: path.into() };
        let add = BatchLine::AddFile {
            path: "new".into(),
            hash: crate::storage::ContentHash::EMPTY,
            mtime: None,
            content_type: None,
        };
        recent.note(&bucket_id(), &[add, delete("old"), delete("d/1")]);
        for shown in [&["new"][..], &["d/", "new"], &["d/", "new"]] {
            let page = lister
                .list_objects(&token(), &bucket_id(), &operation("", Some("/"), 10))
                .await
                .unwrap();
            assert_eq!(names(&page), shown);
        }
        let looked_up = &fake.asked()[1].body;
        assert_eq!(looked_up, "{\"paths\":[\"new\",\"old\"]}");
        // What was found filled after the deletion is not looked into again.
        assert_eq!(fake.asked().len(), 8);
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
        let lister = Lister::new(hub, RecentWrites::default());
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
        let lister = Lister::new(hub, RecentWrites::default());
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
            let lister = Lister::new(hub, RecentWrites::default());
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
        let lister = Lister::new(hub, RecentWrites::default());
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
        let lister = Lister::new(hub, RecentWrites::default());
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
            let page = Lister::new(hub, RecentWrites::default())
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
