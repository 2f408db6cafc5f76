//! One request for a page: all the I/O of listings.

use crate::provider::hub::{HubClient, TreeQuery};
use crate::provider::list::token::{self, Position, Scope};
use crate::provider::list::unsorted::{self, Smallest};
use crate::provider::list::walk::{Ended, Step, Walk};
use crate::storage::name::HIDDEN_PREFIX;
use crate::storage::{Secret, StorageError};

/// The delimiter that the Hub itself can fold by.
pub(super) const HUB_DELIMITER: &str = "/";

/// One request for a page.
pub(super) struct Listing<'a> {
    pub(super) hub: &'a HubClient,
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
        let (hub, token, bucket) = (self.hub, self.token, self.scope.bucket);
        let is_resumed = position.cursor.is_some();
        let mut walk = Walk::new(self.scope, position, self.max_entries);
        loop {
            let query = self.query(walk.limit());
            let page = hub
                .tree_page(token, bucket, &query, walk.cursor())
                .await
                .map_err(|error| match error {
                    StorageError::InvalidRequest { .. } if is_resumed => token::invalid(),
                    other => other,
                })?;
            let wanted = walk.wanted_markers(&page);
            let markers = hub.paths_info(token, bucket, &wanted).await?;
            match walk.take(page, markers) {
                Step::More => {}
                Step::Done(ended) => return Ok(Some(ended)),
                Step::OutOfOrder => return Ok(None),
            }
        }
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
