//! One request for a page: all the I/O of listings.

use std::sync::Arc;

use tokio::time::Instant;

use crate::provider::hub::{HubClient, TreeEntry, TreeQuery};
use crate::provider::list::correction::Doubts;
use crate::provider::list::item::is_hidden_file;
use crate::provider::list::lister::Memory;
use crate::provider::list::pages::Fetched;
use crate::provider::list::selection::Selection;
use crate::provider::list::token::{self, Position, Scope};
use crate::provider::list::unsorted::{self, Smallest};
use crate::provider::list::walk::{Ended, Step, Walk};
use crate::storage::name::HIDDEN_PREFIX;
use crate::storage::{Secret, StorageError};

/// The delimiter that the Hub itself can fold by.
pub(super) const HUB_DELIMITER: &str = "/";

/// Directories that are looked into for one answer at most, to see whether anything is left in them.
const MAX_LOOKS: usize = 8;

/// One request for a page.
pub(super) struct Listing<'a> {
    pub(super) hub: &'a HubClient,
    pub(super) memory: &'a Memory,
    pub(super) token: &'a Secret,
    pub(super) scope: Scope<'a>,
    pub(super) max_entries: usize,
}

impl Listing<'_> {
    /// Returns the answer that begins at a position.
    pub(super) async fn go_on(&self, position: Position) -> Result<Ended, StorageError> {
        if self.max_entries == 0 || !can_match(self.scope.prefix) {
            self.hub.bucket(self.token, self.scope.bucket).await?;
            return Ok(Ended {
                entries: Vec::new(),
                position: None,
            });
        }
        if self.scope.delimiter != Some(HUB_DELIMITER) {
            return self.answer(position).await;
        }
        let mut position = position;
        loop {
            let ended = self.answer(position.clone()).await?;
            let ended = self.corrected(&position, ended).await?;
            match &ended.position {
                // Everything that was shown is gone; an answer must not be empty while more follows.
                Some(next) if ended.entries.is_empty() => position = next.clone(),
                _ => return Ok(ended),
            }
        }
    }

    /// Returns the answer as the Hub's pages have it.
    async fn answer(&self, position: Position) -> Result<Ended, StorageError> {
        if position.is_unsorted {
            return self.collect(position.after).await;
        }
        let after = position.after.clone();
        if let Some(ended) = self.stream(position).await? {
            return Ok(ended);
        }
        let bucket = self.scope.bucket;
        tracing::warn!(%bucket, "the hub's tree pages are not sorted; collecting the whole listing");
        self.collect(after).await
    }

    /// Corrects a folded answer by what this process wrote lately: the Hub's own may lag behind.
    async fn corrected(&self, begun_at: &Position, ended: Ended) -> Result<Ended, StorageError> {
        let Scope { bucket, prefix, .. } = self.scope;
        let writes = self.memory.recent.under(bucket, prefix);
        if writes.is_empty() {
            return Ok(ended);
        }
        let start = begun_at.after.as_deref();
        let selection = Selection::new(self.scope, begun_at.after.clone());
        let doubts = Doubts::new(&selection, start, &ended, &writes);
        if doubts.is_empty() {
            return Ok(ended);
        }
        let found = self
            .hub
            .paths_info(self.token, bucket, &doubts.paths())
            .await?;
        let mut empty = Vec::new();
        for (directory, deleted_at) in doubts.directories.iter().take(MAX_LOOKS) {
            if !self.holds_something(directory, *deleted_at).await? {
                empty.push(directory.clone());
            }
        }
        Ok(doubts.settle(ended, found, &empty, begun_at, self.max_entries))
    }

    /// Reports whether anything is left in a directory in which something was deleted. What was seen since is remembered.
    async fn holds_something(
        &self,
        directory: &str,
        deleted_at: Instant,
    ) -> Result<bool, StorageError> {
        let bucket = self.scope.bucket;
        let seen = &self.memory.seen_filled;
        let name = (bucket.clone(), directory.to_owned());
        if seen.get(&name).is_some_and(|seen_at| seen_at > deleted_at) {
            return Ok(true);
        }
        let query = TreeQuery {
            prefix: directory.to_owned(),
            is_recursive: true,
            limit: 1,
        };
        let looked_at = Instant::now();
        let mut cursor: Option<String> = None;
        loop {
            let page = self
                .hub
                .tree_page(self.token, bucket, &query, cursor.as_deref())
                .await?;
            let is_visible = |entry: &TreeEntry| matches!(entry, TreeEntry::File(file) if !is_hidden_file(&file.path));
            if page.entries.iter().any(is_visible) {
                seen.insert(name, looked_at);
                return Ok(true);
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(false);
            }
        }
    }

    /// Returns the name to start behind, for a client that asks for what follows `name`.
    ///
    /// Where `name` lies within a directory that the Hub folds, the folded listing does not tell whether anything in that
    /// directory follows; without it, the listing starts behind the whole directory.
    pub(super) async fn start_after(&self, name: &str) -> Result<String, StorageError> {
        let Some(directory) = self.folded_around(name) else {
            return Ok(name.to_owned());
        };
        let within = Listing {
            scope: Scope {
                prefix: directory,
                delimiter: None,
                ..self.scope
            },
            max_entries: 1,
            ..*self
        };
        let first = within.go_on(Position::beginning(Some(name.to_owned())));
        let start = match first.await?.entries.is_empty() {
            true => directory,
            false => name,
        };
        Ok(start.to_owned())
    }

    /// Returns the directory, with its slash, that the Hub folds and that `name` lies in.
    fn folded_around<'b>(&self, name: &'b str) -> Option<&'b str> {
        self.scope
            .delimiter
            .filter(|delimiter| *delimiter == HUB_DELIMITER)?;
        let rest = name.strip_prefix(self.scope.prefix)?;
        let end = self.scope.prefix.len() + rest.find(HUB_DELIMITER)? + 1;
        (end < name.len()).then(|| &name[..end])
    }

    fn query(&self, limit: usize) -> TreeQuery {
        TreeQuery {
            prefix: self.scope.prefix.to_owned(),
            is_recursive: self.scope.delimiter != Some(HUB_DELIMITER),
            limit,
        }
    }

    /// Goes on from a position as far as the answer reaches; `None` if the Hub's pages are not sorted.
    async fn stream(&self, position: Position) -> Result<Option<Ended>, StorageError> {
        let is_resumed = position.cursor.is_some();
        let mut walk = Walk::new(self.scope, position, self.max_entries);
        loop {
            let cursor = walk.cursor().map(str::to_owned);
            let fetched = self.fetch(&walk).await.map_err(|error| match error {
                StorageError::InvalidRequest { .. } if is_resumed => token::invalid(),
                other => other,
            })?;
            let step = walk.take(fetched.page.clone(), fetched.markers.clone());
            let ends_within =
                matches!(&step, Step::Done(Ended { position: Some(at), .. }) if at.is_within_page);
            if let Some(cursor) = &cursor {
                let pages = &self.memory.pages;
                match ends_within {
                    true => pages.keep(self.token, &self.scope, cursor, fetched),
                    false => pages.forget(self.token, &self.scope, cursor),
                }
            }
            match step {
                Step::More => {}
                Step::Done(ended) => return Ok(Some(ended)),
                Step::OutOfOrder => return Ok(None),
            }
        }
    }

    /// Returns the page that the walk comes to: what an earlier answer has left of it, or the Hub's.
    async fn fetch(&self, walk: &Walk<'_>) -> Result<Arc<Fetched>, StorageError> {
        let (hub, token, bucket) = (self.hub, self.token, self.scope.bucket);
        let left = walk.cursor().and_then(|cursor| {
            let pages = &self.memory.pages;
            pages.take(token, &self.scope, cursor, walk.after())
        });
        if let Some(fetched) = left {
            return Ok(fetched);
        }
        let at = Instant::now();
        let query = self.query(walk.limit());
        let page = hub.tree_page(token, bucket, &query, walk.cursor()).await?;
        let wanted = walk.wanted_markers(&page);
        let markers = hub.paths_info(token, bucket, &wanted).await?;
        Ok(Arc::new(Fetched {
            page,
            markers,
            after: walk.after().map(str::to_owned),
            at,
        }))
    }

    /// Reads the whole listing and returns the first entries after `after`.
    async fn collect(&self, after: Option<String>) -> Result<Ended, StorageError> {
        let mut smallest = Smallest::new(self.scope, after, self.max_entries);
        let query = self.query(unsorted::PAGE_LIMIT);
        let mut cursor: Option<String> = None;
        loop {
            let page = self
                .hub
                .tree_page(self.token, self.scope.bucket, &query, cursor.as_deref())
                .await?;
            smallest.take(page.entries)?;
            cursor = page.next;
            if cursor.is_none() {
                return Ok(smallest.finish());
            }
        }
    }
}

/// Reports whether a key may begin with this text; where none can, the Hub need not be asked.
fn can_match(prefix: &str) -> bool {
    let is_impossible = prefix.starts_with('/')
        || prefix.contains("//")
        || prefix.contains(['\\', '\0'])
        || prefix.starts_with(HIDDEN_PREFIX);
    !is_impossible
}
