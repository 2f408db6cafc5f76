//! Tree pages of which an answer has taken only a part.
//!
//! A page of the Hub's costs one call whatever its size, and holds up to five times as much as an answer. Who lists on takes
//! the rest from here. It is help only: a replica that does not have a page fetches it again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::provider::hub::{FileRecord, TreeEntry, TreePage};
use crate::provider::list::item::raw_path;
use crate::provider::list::token::Scope;
use crate::provider::recent::RecentWrites;
use crate::storage::Secret;
use crate::telemetry::{CacheName, CacheResult, Metrics};

/// Bytes of all pages together, about.
const MAX_BYTES: usize = 16 << 20;

/// How long a page is good: what other writers do meanwhile, its readers do not see.
const LIFE: Duration = Duration::from_secs(30);

/// Which page: the listing, the cursor, and who may read it.
type PageKey = [u8; 16];

/// The pages, the one used last at the end.
#[derive(Debug)]
pub(super) struct Pages {
    kept: Mutex<VecDeque<Kept>>,
    recent: RecentWrites,
    metrics: Metrics,
}

#[derive(Debug)]
struct Kept {
    key: PageKey,
    fetched: Arc<Fetched>,
    len_bytes: usize,
}

/// A tree page with what was looked up for it.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) page: TreePage,
    /// Directory markers that would come late.
    pub(super) markers: Vec<FileRecord>,
    /// Markers were looked up for names behind this one.
    pub(super) after: Option<String>,
    /// When the page was asked for.
    pub(super) at: Instant,
}

impl Pages {
    pub(super) fn new(recent: RecentWrites, metrics: Metrics) -> Self {
        Self {
            kept: Mutex::default(),
            recent,
            metrics,
        }
    }

    /// Returns the page behind a cursor for an answer that begins behind `after`, unless this process has written under the
    /// listing's prefix since it was fetched.
    pub(super) fn take(
        &self,
        token: &Secret,
        scope: &Scope<'_>,
        cursor: &str,
        after: Option<&str>,
    ) -> Option<Arc<Fetched>> {
        let found = self.find(token, scope, cursor, after);
        let result = match found {
            Some(_) => CacheResult::Hit,
            None => CacheResult::Miss,
        };
        self.metrics.cache_request(CacheName::Listing, result);
        found
    }

    fn find(
        &self,
        token: &Secret,
        scope: &Scope<'_>,
        cursor: &str,
        after: Option<&str>,
    ) -> Option<Arc<Fetched>> {
        let key = key(token, scope, cursor);
        let mut kept = self.lock();
        let place = kept.iter().position(|kept| kept.key == key)?;
        let found = kept.remove(place)?;
        drop(kept);
        let fetched = found.fetched.clone();
        let is_good = fetched.at.elapsed() < LIFE
            && fetched.after.as_deref() <= after
            && !self
                .recent
                .is_touched_since(scope.bucket, scope.prefix, fetched.at);
        if !is_good {
            return None;
        }
        self.lock().push_back(found);
        Some(fetched)
    }

    /// Keeps a page for those who list on; the least used go when there is no room.
    pub(super) fn keep(
        &self,
        token: &Secret,
        scope: &Scope<'_>,
        cursor: &str,
        fetched: Arc<Fetched>,
    ) {
        let len_bytes = fetched.page.entries.iter().map(entry_bytes).sum();
        let key = key(token, scope, cursor);
        let mut kept = self.lock();
        kept.retain(|kept| kept.key != key);
        kept.push_back(Kept {
            key,
            fetched,
            len_bytes,
        });
        let mut total: usize = kept.iter().map(|kept| kept.len_bytes).sum();
        while total > MAX_BYTES {
            total -= kept.pop_front().map_or(total, |kept| kept.len_bytes);
            self.metrics.cache_evicted(CacheName::Listing, 1);
        }
        self.show(&kept);
    }

    /// Drops a page that was read to its end.
    pub(super) fn forget(&self, token: &Secret, scope: &Scope<'_>, cursor: &str) {
        let key = key(token, scope, cursor);
        let mut kept = self.lock();
        kept.retain(|kept| kept.key != key);
        self.show(&kept);
    }

    fn show(&self, kept: &VecDeque<Kept>) {
        let len_bytes: usize = kept.iter().map(|kept| kept.len_bytes).sum();
        let entries = kept.len() as u64;
        self.metrics
            .cache_holds(CacheName::Listing, len_bytes as u64, entries);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn entry_bytes(entry: &TreeEntry) -> usize {
    let content_type = match entry {
        TreeEntry::File(file) => file.content_type.as_ref().map_or(0, String::len),
        TreeEntry::Directory(_) => 0,
    };
    size_of::<TreeEntry>() + raw_path(entry).len() + content_type
}

/// Neither tokens nor cursors contain a zero byte, so the parts cannot run into each other.
fn key(token: &Secret, scope: &Scope<'_>, cursor: &str) -> PageKey {
    let mut digest = Sha256::new();
    scope.write_to(&mut digest);
    digest.update(token.expose());
    digest.update([0]);
    digest.update(cursor);
    let mut key = PageKey::default();
    key.copy_from_slice(&digest.finalize()[..16]);
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::hub::BatchLine;
    use crate::provider::hub::fake::{bucket_id, token};
    use crate::provider::list::item::file;
    use crate::storage::BucketId;

    fn page(entries: usize) -> Arc<Fetched> {
        let entries = (0..entries).map(|n| TreeEntry::File(file(&format!("{n}"))));
        Arc::new(Fetched {
            page: TreePage {
                entries: entries.collect(),
                next: None,
            },
            markers: Vec::new(),
            after: Some("m".into()),
            at: Instant::now(),
        })
    }

    fn is_there(pages: &Pages, scope: &Scope<'_>, cursor: &str) -> bool {
        pages.take(&token(), scope, cursor, Some("n")).is_some()
    }

    fn scope<'a>(bucket: &'a BucketId, prefix: &'a str) -> Scope<'a> {
        Scope {
            bucket,
            prefix,
            delimiter: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_is_kept_for_its_listing_alone_and_for_a_while() {
        let bucket = bucket_id();
        let (here, there) = (scope(&bucket, "a"), scope(&bucket, "b"));
        let pages = Pages::new(RecentWrites::default(), Metrics::new());
        pages.keep(&token(), &here, "c", page(3));
        assert!(is_there(&pages, &here, "c"));
        assert!(!is_there(&pages, &here, "d"));
        assert!(!is_there(&pages, &there, "c"));
        let other = Secret::new("hf_other");
        assert!(pages.take(&other, &here, "c", Some("n")).is_none());
        assert!(is_there(&pages, &here, "c"));
        tokio::time::advance(LIFE).await;
        assert!(!is_there(&pages, &here, "c"));
    }

    #[tokio::test]
    async fn a_page_whose_markers_were_looked_up_from_further_on_is_not_good() {
        let bucket = bucket_id();
        let scope = scope(&bucket, "");
        let pages = Pages::new(RecentWrites::default(), Metrics::new());
        for (after, is_good) in [(Some("l"), false), (None, false), (Some("m"), true)] {
            pages.keep(&token(), &scope, "c", page(3));
            let found = pages.take(&token(), &scope, "c", after);
            assert_eq!(found.is_some(), is_good, "{after:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn our_own_writes_spoil_the_pages_they_may_belong_to() {
        let bucket = bucket_id();
        let recent = RecentWrites::default();
        let pages = Pages::new(recent.clone(), Metrics::new());
        let (here, there) = (scope(&bucket, "a"), scope(&bucket, "b"));
        for scope in [&here, &there] {
            pages.keep(&token(), scope, "c", page(3));
        }
        let path = "a/1".into();
        recent.note(&bucket, &[BatchLine::DeleteFile { path }]);
        assert!(!is_there(&pages, &here, "c"));
        assert!(is_there(&pages, &there, "c"));
    }

    #[tokio::test]
    async fn pages_stay_within_their_memory() {
        let bucket = bucket_id();
        let scope = scope(&bucket, "");
        let pages = Pages::new(RecentWrites::default(), Metrics::new());
        for n in 0..200 {
            pages.keep(&token(), &scope, &n.to_string(), page(2000));
        }
        let total: usize = pages.lock().iter().map(|kept| kept.len_bytes).sum();
        assert!(total <= MAX_BYTES && total > MAX_BYTES / 2, "{total}");
        assert!(!is_there(&pages, &scope, "0"));
        assert!(is_there(&pages, &scope, "199"));
        pages.forget(&token(), &scope, "199");
        assert!(!is_there(&pages, &scope, "199"));
    }
}
