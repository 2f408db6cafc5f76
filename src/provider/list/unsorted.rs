//! The way out when the Hub's pages are not sorted: read everything, keep the smallest names.

use std::collections::BTreeMap;

use crate::provider::hub::TreeEntry;
use crate::provider::list::item::Item;
use crate::provider::list::selection::Selection;
use crate::provider::list::token::{Position, Scope};
use crate::provider::list::walk::Ended;
use crate::storage::{ListEntry, StorageError};

/// Entries of a tree page: as many as the Hub gives.
pub(super) const PAGE_LIMIT: usize = 5000;

/// Entries that are read for one answer at most: 200 calls of the Hub.
const MAX_READ: usize = 1_000_000;

/// Keeps the first entries of a listing that comes in any order. Memory is bounded by the answer, not by the listing.
#[derive(Debug)]
pub(super) struct Smallest<'a> {
    selection: Selection<'a>,
    max_entries: usize,
    read: usize,
    /// One more than the answer holds, which tells whether there is more.
    kept: BTreeMap<String, ListEntry>,
}

impl<'a> Smallest<'a> {
    /// Starts an answer of at most `max_entries` behind `after`.
    pub(super) fn new(scope: Scope<'a>, after: Option<String>, max_entries: usize) -> Self {
        Self {
            selection: Selection::new(scope, after),
            max_entries,
            read: 0,
            kept: BTreeMap::new(),
        }
    }

    /// Takes a page in. Errors: `Unavailable` once the listing is too long to be read for each answer.
    pub(super) fn take(&mut self, entries: Vec<TreeEntry>) -> Result<(), StorageError> {
        self.read += entries.len();
        if self.read > MAX_READ {
            return Err(StorageError::Unavailable {
                service: "hub",
                reason: format!(
                    "it lists this bucket unsorted, and more than {MAX_READ} entries are too many to sort; \
                     list by narrower prefixes"
                ),
                is_safe_to_retry: false,
            });
        }
        for item in entries.into_iter().filter_map(Item::new) {
            if let Some(entry) = self.selection.show(item) {
                self.kept.insert(entry.name().to_owned(), entry);
                if self.kept.len() > self.max_entries + 1 {
                    self.kept.pop_last();
                }
            }
        }
        Ok(())
    }

    /// Returns the answer.
    pub(super) fn finish(mut self) -> Ended {
        let has_more = self.kept.len() > self.max_entries;
        if has_more {
            self.kept.pop_last();
        }
        let after = self.kept.last_key_value().map(|(name, _)| name.clone());
        let position = has_more.then(|| Position {
            after,
            is_unsorted: true,
            ..Position::default()
        });
        Ended {
            entries: self.kept.into_values().collect(),
            position,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::hub::fake::bucket_id;
    use crate::provider::list::item::file;

    fn answer(after: Option<&str>, max_entries: usize, paths: &[&str]) -> (Vec<String>, bool) {
        let bucket = bucket_id();
        let scope = Scope {
            bucket: &bucket,
            prefix: "",
            delimiter: Some("-"),
        };
        let mut smallest = Smallest::new(scope, after.map(Into::into), max_entries);
        let entries = paths.iter().map(|path| TreeEntry::File(file(path)));
        smallest.take(entries.collect()).unwrap();
        let ended = smallest.finish();
        let names = ended.entries.iter().map(|entry| entry.name().to_owned());
        (names.collect(), ended.position.is_some())
    }

    #[test]
    fn the_smallest_names_are_kept_and_more_is_told() {
        let paths = ["d", "c-2", "b/.hugbucket_keep", "c-1", ".hugbucket/x", "a"];
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(answer(None, 2, &paths), (names(&["a", "b/"]), true));
        assert_eq!(answer(Some("b/"), 2, &paths), (names(&["c-", "d"]), false));
        assert_eq!(answer(Some("c-"), 2, &paths), (names(&["d"]), false));
    }

    #[test]
    fn what_is_too_long_to_sort_is_refused() {
        let bucket = bucket_id();
        let scope = Scope {
            bucket: &bucket,
            prefix: "",
            delimiter: None,
        };
        let mut smallest = Smallest::new(scope, None, 1);
        smallest.read = MAX_READ - 1;
        let entry = || vec![TreeEntry::File(file("a"))];
        assert!(smallest.take(entry()).is_ok());
        let refused = smallest.take(entry()).unwrap_err();
        assert_eq!(refused.outcome(), "unavailable");
    }
}
