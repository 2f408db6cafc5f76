//! Listings, a page at a time.

use url::{Url, form_urlencoded};

use crate::provider::hub::call::Call;
use crate::provider::hub::client::HubClient;
use crate::provider::hub::error;
use crate::provider::hub::record::TreeEntry;
use crate::provider::hub::wire::WireEntry;
use crate::storage::{BucketId, Secret, StorageError};

/// Entries that the Hub puts into a page at most.
const MAX_LIMIT: usize = 5000;

/// What to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeQuery {
    /// Only paths that begin with this text; a raw prefix, not a directory. Empty for all.
    pub prefix: String,
    /// Whether files below directories are listed themselves; else directories stand for them.
    pub is_recursive: bool,
    /// Entries a page at most, 1 to 5,000. Pages may hold fewer and still not be the last.
    pub limit: usize,
}

/// A page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreePage {
    /// The entries, usually in byte order of their paths; the Hub does not promise it.
    pub entries: Vec<TreeEntry>,
    /// What to ask for next; `None` on the last page. Opaque, but printable ASCII.
    pub next: Option<String>,
}

impl HubClient {
    /// Returns a page: the first without a cursor, else the one that [`TreePage::next`] of an earlier page named.
    ///
    /// A prefix that an address cannot carry (`.` and `..`) lists everything: callers filter by prefix in any case.
    ///
    /// Errors: `NoSuchBucket`; `InvalidRequest` for a cursor that the Hub refuses.
    pub async fn tree_page(
        &self,
        token: &Secret,
        bucket: &BucketId,
        query: &TreeQuery,
        cursor: Option<&str>,
    ) -> Result<TreePage, StorageError> {
        let url = self.tree_url(bucket, query, cursor);
        let answer = self.send(token, Call::get("tree", url)).await?;
        if error::is_entry_not_found(&answer) {
            return Ok(TreePage {
                entries: Vec::new(),
                next: None,
            });
        }
        let answer = answer.accepted(bucket)?;
        let entries: Vec<WireEntry> = answer.json()?;
        Ok(TreePage {
            entries: entries
                .into_iter()
                .filter_map(TreeEntry::from_wire)
                .collect(),
            next: answer
                .next_page()
                .filter(|next| cursor != Some(next.as_str())),
        })
    }

    fn tree_url(&self, bucket: &BucketId, query: &TreeQuery, cursor: Option<&str>) -> Url {
        let mut url = match query.prefix.as_str() {
            // Every URL parser resolves these as dot segments, percent-encoded or not.
            "" | "." | ".." => self.bucket_url(bucket, &["tree"]),
            prefix => self.bucket_url(bucket, &["tree", prefix]),
        };
        let is_ours = |name: &str| matches!(name, "recursive" | "limit");
        url.query_pairs_mut()
            .append_pair("recursive", &query.is_recursive.to_string())
            .append_pair("limit", &query.limit.clamp(1, MAX_LIMIT).to_string())
            // The link repeats the whole query; a page may nevertheless have another size than the one before.
            .extend_pairs(
                form_urlencoded::parse(cursor.unwrap_or_default().as_bytes())
                    .filter(|(name, _)| !is_ours(name)),
            );
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::hub::fake::{FakeHub, Reply, bucket_id, token};
    use crate::provider::hub::record::DirectoryRecord;

    fn query(prefix: &str) -> TreeQuery {
        TreeQuery {
            prefix: prefix.into(),
            is_recursive: false,
            limit: 7,
        }
    }

    #[tokio::test]
    async fn pages_follow_the_link_but_never_to_another_origin() {
        let first = serde_json::json!([
            {"type": "directory", "path": "a/d", "uploadedAt": "2026-01-02T03:04:05.000Z"},
            {"type": "file", "path": "a/f", "size": 0, "uploadedAt": "2026-01-02T03:04:05.000Z"}
        ]);
        let (hub, fake) = FakeHub::start(vec![
            Reply::json(200, &first).header(
                "link",
                "<https://evil.example/x?recursive=false&cursor=c%3D>; rel=\"next\"",
            ),
            Reply::json(200, &serde_json::json!([])),
        ])
        .await;
        let query = query("a/ü%");
        let page = hub
            .tree_page(&token(), &bucket_id(), &query, None)
            .await
            .unwrap();
        let directory = DirectoryRecord {
            path: "a/d".into(),
            uploaded_at: Some(time::macros::datetime!(2026-01-02 03:04:05 UTC)),
        };
        assert_eq!(page.entries[0], TreeEntry::Directory(directory));
        assert_eq!(page.entries.len(), 2);
        let next = page.next.unwrap();
        let page = hub
            .tree_page(&token(), &bucket_id(), &query, Some(&next))
            .await
            .unwrap();
        assert_eq!(page.next, None);
        assert_eq!(
            fake.lines(),
            [
                "GET /api/buckets/me/data/tree/a%2F%C3%BC%25?recursive=false&limit=7",
                "GET /api/buckets/me/data/tree/a%2F%C3%BC%25?recursive=false&limit=7&cursor=c%3D"
            ]
        );
    }

    #[tokio::test]
    async fn a_prefix_that_no_address_can_carry_lists_everything() {
        for prefix in ["", ".", ".."] {
            let (hub, fake) = FakeHub::start(vec![Reply::json(200, &serde_json::json!([]))]).await;
            hub.tree_page(&token(), &bucket_id(), &query(prefix), None)
                .await
                .unwrap();
            assert_eq!(
                fake.lines(),
                ["GET /api/buckets/me/data/tree?recursive=false&limit=7"]
            );
        }
    }

    #[tokio::test]
    async fn a_missing_prefix_is_empty_and_a_missing_bucket_is_not() {
        let (hub, _) = FakeHub::start(vec![
            Reply::empty(404).header("x-error-code", "EntryNotFound"),
            Reply::empty(404).header("x-error-code", "RepoNotFound"),
        ])
        .await;
        let page = hub
            .tree_page(&token(), &bucket_id(), &query("x"), None)
            .await;
        assert!(page.unwrap().entries.is_empty());
        let page = hub
            .tree_page(&token(), &bucket_id(), &query("x"), None)
            .await;
        assert_eq!(page.unwrap_err().outcome(), "no_such_bucket");
    }

    #[tokio::test]
    async fn a_page_that_names_itself_as_the_next_is_the_last() {
        let reply = Reply::json(200, &serde_json::json!([]))
            .header("link", "</api?cursor=c>; rel=\"next\"");
        let (hub, _) = FakeHub::start(vec![reply]).await;
        let page = hub
            .tree_page(&token(), &bucket_id(), &query(""), Some("cursor=c"))
            .await;
        assert_eq!(page.unwrap().next, None);
    }
}
