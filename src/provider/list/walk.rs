//! One answer of a listing, page by page, without I/O.

use std::collections::HashMap;

use crate::provider::hub::{FileRecord, TreeEntry, TreePage};
use crate::provider::list::item::{Item, raw_path};
use crate::provider::list::listing::HUB_DELIMITER;
use crate::provider::list::marker;
use crate::provider::list::selection::Selection;
use crate::provider::list::sequence::{OutOfOrder, Sequence};
use crate::provider::list::token::{Position, Scope};
use crate::storage::ListEntry;

/// Entries of an ordinary tree page at most: the largest answer that anybody asks for.
const PAGE_LIMIT: usize = 1000;

/// Entries of a tree page after one that showed nothing, hidden state or what comes before the start, and of those who list
/// on: the Hub's maximum.
const FULL_PAGE_LIMIT: usize = 5000;

/// Tree pages of one answer, once it shows something: what is folded together may go on for very long.
const MAX_PAGES: usize = 20;

/// Answers of at least this many entries may be left a quarter short rather than fetch a small page, and several of them
/// are made of one page.
const SHORT_ANSWER_FROM: usize = 100;

/// An answer, and where it ended unless it is the last.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) entries: Vec<ListEntry>,
    pub(super) position: Option<Position>,
}

/// What a page did.
#[derive(Debug)]
pub(super) enum Step {
    /// There is room: fetch another.
    More,
    /// The answer is complete.
    Done(Ended),
    /// The Hub's pages are not sorted.
    OutOfOrder,
}

/// The answer under way.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    scope: Scope<'a>,
    selection: Selection<'a>,
    max_entries: usize,
    /// Where the page to be fetched begins.
    position: Position,
    entries: Vec<ListEntry>,
    pages: usize,
    is_barren: bool,
}

impl<'a> Walk<'a> {
    /// Starts an answer of at most `max_entries`, which is not zero.
    pub(super) fn new(scope: Scope<'a>, position: Position, max_entries: usize) -> Self {
        Self {
            selection: Selection::new(scope, position.after.clone()),
            scope,
            max_entries,
            position,
            entries: Vec::new(),
            pages: 0,
            is_barren: false,
        }
    }

    /// Returns the cursor of the page to fetch.
    pub(super) fn cursor(&self) -> Option<&str> {
        self.position.cursor.as_deref()
    }

    /// Returns the name behind which the listing begins.
    pub(super) fn after(&self) -> Option<&str> {
        self.selection.after()
    }

    /// Returns the size of the page to fetch: what still fits, so that nothing is fetched twice. Where many entries become
    /// few, by folding or because they are not shown, it is a full page, and so it is for those who list on, since the next
    /// answers go on within it.
    pub(super) fn limit(&self) -> usize {
        let is_folding = self
            .scope
            .delimiter
            .is_some_and(|delimiter| delimiter != HUB_DELIMITER);
        let is_restarting = self.position.cursor.is_none() && self.selection.after().is_some();
        let is_listing_on = self.position.cursor.is_some() && self.max_entries >= SHORT_ANSWER_FROM;
        if self.is_barren || is_listing_on {
            return FULL_PAGE_LIMIT;
        }
        if is_folding || is_restarting {
            return PAGE_LIMIT;
        }
        let taken = self.entries.len() + self.position.held.len();
        self.max_entries.saturating_sub(taken).clamp(1, PAGE_LIMIT)
    }

    /// Returns the paths of directory markers that must be looked up before the page is taken.
    pub(super) fn wanted_markers(&self, page: &TreePage) -> Vec<String> {
        marker::wanted(
            &self.position.previous,
            &page.entries,
            self.scope.prefix,
            self.selection.after(),
        )
    }

    /// Takes a page in, with the markers that were found.
    pub(super) fn take(&mut self, page: TreePage, markers: Vec<FileRecord>) -> Step {
        self.pages += 1;
        let shown_before = self.entries.len();
        let last = self
            .position
            .after
            .clone()
            .filter(|_| !self.position.is_within_page);
        let mut sequence = Sequence::resume(&self.position.held, last);
        let previous = page
            .entries
            .last()
            .map_or(self.position.previous.as_str(), raw_path)
            .to_owned();

        for item in self.items(page.entries, markers) {
            let ready = match sequence.push(item) {
                Ok(ready) => ready,
                Err(OutOfOrder) => return Step::OutOfOrder,
            };
            if !self.offer(ready) {
                return self.end_within_page();
            }
        }
        let Some(cursor) = page.next else {
            return match self.offer(sequence.finish()) {
                true => self.end(None),
                false => self.end_within_page(),
            };
        };
        self.is_barren = self.entries.len() == shown_before;
        self.position = Position {
            cursor: Some(cursor),
            previous,
            after: self.last_name(),
            held: sequence.held(),
            // Until something was shown, `after` is where the client wants to start, not where the walk is.
            is_within_page: self.entries.is_empty() && self.position.is_within_page,
            is_unsorted: false,
        };
        if self.is_enough() {
            return self.end(Some(self.position.clone()));
        }
        Step::More
    }

    /// Returns the items of a page: entries that are not hidden, each late marker where its directory is entered.
    fn items(&self, entries: Vec<TreeEntry>, markers: Vec<FileRecord>) -> Vec<Item> {
        let mut markers: HashMap<String, FileRecord> = markers
            .into_iter()
            .map(|file| (file.path.clone(), file))
            .collect();
        let mut previous = self.position.previous.clone();
        let mut items = Vec::with_capacity(entries.len());
        for entry in entries {
            let path = raw_path(&entry).to_owned();
            for directory in marker::entered(&previous, &path) {
                let late = markers.remove(&marker::path(directory));
                items.extend(late.map(Item::object));
            }
            if !marker::is_dealt_with(&previous, &entry) {
                items.extend(Item::new(entry));
            }
            previous = path;
        }
        items
    }

    /// Shows items until the answer is full. Returns false if one did not fit.
    fn offer(&mut self, items: Vec<Item>) -> bool {
        for item in items {
            let Some(entry) = self.selection.show(item) else {
                continue;
            };
            if self.entries.last().map(ListEntry::name) == Some(entry.name()) {
                continue;
            }
            if self.entries.len() == self.max_entries {
                return false;
            }
            self.entries.push(entry);
        }
        true
    }

    fn is_enough(&self) -> bool {
        let shown = self.entries.len();
        let is_nearly_full =
            self.max_entries >= SHORT_ANSWER_FROM && shown * 4 >= self.max_entries * 3;
        shown == self.max_entries || is_nearly_full || (shown > 0 && self.pages >= MAX_PAGES)
    }

    /// Ends the answer so that the next one takes the current page again, from behind the last name shown.
    fn end_within_page(&mut self) -> Step {
        let position = Position {
            after: self.last_name(),
            is_within_page: true,
            ..self.position.clone()
        };
        self.end(Some(position))
    }

    fn end(&mut self, position: Option<Position>) -> Step {
        Step::Done(Ended {
            entries: std::mem::take(&mut self.entries),
            position,
        })
    }

    fn last_name(&self) -> Option<String> {
        let last = self.entries.last().map(|entry| entry.name().to_owned());
        last.or_else(|| self.selection.after().map(str::to_owned))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::provider::hub::fake::bucket_id;
    use crate::provider::list::item::file;
    use crate::provider::list::simulation::{Order, Simulation};

    #[test]
    fn every_tree_page_is_fetched_once() {
        let paths: Vec<_> = (0..25).map(|n| format!("k{n:02}")).collect();
        let paths: Vec<_> = paths.iter().map(String::as_str).collect();
        for max_entries in [1, 2, 7, 25, 1000] {
            let listed = Simulation::new(&paths, Order::ByName).list("", None, None, max_entries);
            assert_eq!(listed.names, paths);
            assert_eq!(listed.fetched.len(), 25_usize.div_ceil(max_entries));
            assert!(listed.fetched.values().all(|count| *count == 1));
            assert_eq!(listed.answers.len(), 25_usize.div_ceil(max_entries));
            assert_eq!(listed.looked_up, 0);
        }
    }

    #[test]
    fn who_lists_on_gets_the_largest_pages_unless_the_answers_are_small() {
        let bucket = bucket_id();
        let scope = Scope {
            bucket: &bucket,
            prefix: "",
            delimiter: None,
        };
        let limit = |cursor: Option<&str>, max_entries| {
            let position = Position {
                cursor: cursor.map(str::to_owned),
                ..Position::default()
            };
            Walk::new(scope, position, max_entries).limit()
        };
        assert_eq!((limit(None, 1000), limit(None, 20)), (1000, 20));
        assert_eq!((limit(Some("c"), 1000), limit(Some("c"), 20)), (5000, 20));
    }

    #[test]
    fn several_short_pages_make_one_answer() {
        let mut simulation = Simulation::new(&["a", "b", "c", "d", "e"], Order::ByName);
        simulation.max_page = 1;
        let listed = simulation.list("", None, None, 4);
        assert_eq!(listed.answers, [4, 1]);
        assert!(listed.fetched.values().all(|count| *count == 1));
    }

    #[test]
    fn a_large_answer_may_be_left_short_but_a_small_one_is_full() {
        let paths: Vec<_> = (0..400).map(|n| format!("k{n:03}")).collect();
        let paths: Vec<_> = paths.iter().map(String::as_str).collect();
        let mut simulation = Simulation::new(&paths, Order::ByName);
        simulation.max_page = 80;
        assert_eq!(simulation.list("", None, None, 100).answers, [80; 5]);
        assert_eq!(
            simulation.list("", None, None, 90).answers,
            [90, 90, 90, 90, 40]
        );
    }

    #[test]
    fn hidden_state_costs_pages_but_shows_nothing() {
        let hidden: Vec<_> = (0..3000).map(|n| format!(".hugbucket/{n:04}")).collect();
        let mut paths: Vec<_> = hidden.iter().map(String::as_str).collect();
        paths.extend(["-a", "b", "c"]);
        let listed = Simulation::new(&paths, Order::ByName).list("", None, None, 2);
        assert_eq!(listed.names, ["-a", "b", "c"]);
        assert!(listed.fetched.len() <= 4, "{:?}", listed.fetched);
        let listed = Simulation::new(&paths, Order::ByPath).list("", Some("/"), None, 2);
        assert_eq!(listed.names, ["-a", "b", "c"]);
    }

    #[test]
    fn a_common_prefix_may_fold_any_number_of_keys() {
        let folded: Vec<_> = (0..2500).map(|n| format!("a-{n:04}")).collect();
        let mut paths: Vec<_> = folded.iter().map(String::as_str).collect();
        paths.extend(["a", "b-1", "c"]);
        let listed = Simulation::new(&paths, Order::ByName).list("", Some("-"), None, 2);
        assert_eq!(listed.names, ["a", "a-", "b-", "c"]);
    }

    #[test]
    fn a_start_passes_over_what_comes_before_it() {
        let paths = ["a", "b/-", "b/.hugbucket_keep", "b/c", "b0", "c"];
        let list = |delimiter, after| {
            Simulation::new(&paths, Order::ByName)
                .list("", delimiter, Some(after), 10)
                .names
        };
        assert_eq!(list(None, "a"), ["b/", "b/-", "b/c", "b0", "c"]);
        assert_eq!(list(None, "b/"), ["b/-", "b/c", "b0", "c"]);
        assert_eq!(list(None, "b/-"), ["b/c", "b0", "c"]);
        assert_eq!(list(Some("/"), "b/"), ["b0", "c"]);
        assert_eq!(list(Some("/"), "b/a"), ["b/", "b0", "c"]);
        assert_eq!(list(None, "c"), [""; 0]);
    }

    #[test]
    fn disorder_is_told() {
        let bucket = bucket_id();
        let scope = Scope {
            bucket: &bucket,
            prefix: "",
            delimiter: None,
        };
        let mut walk = Walk::new(scope, Position::beginning(None), 9);
        let page = TreePage {
            entries: vec![TreeEntry::File(file("b")), TreeEntry::File(file("a"))],
            next: None,
        };
        assert!(matches!(walk.take(page, Vec::new()), Step::OutOfOrder));
    }

    fn paths() -> impl Strategy<Value = std::collections::BTreeSet<String>> {
        let segments = [
            "a",
            "b",
            "-",
            "!",
            " ",
            "0",
            ".a",
            "a-b",
            "a.txt",
            "ü",
            "~",
            ".hugbucket_keep",
            ".hugbucket",
        ];
        let path = prop::collection::vec(prop::sample::select(segments.to_vec()), 1..4)
            .prop_map(|segments| segments.join("/"));
        prop::collection::btree_set(path, 0..40)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1500))]

        #[test]
        fn listings_are_what_s3_lists(
            paths in paths(),
            order in prop::sample::select(vec![Order::ByName, Order::ByPath]),
            max_page in 1_usize..12,
            max_entries in 1_usize..12,
            prefix in prop::sample::select(vec!["", "a", "a/", "a/-", "b/", "-", " ", "a/a/", "ü"]),
            delimiter in prop::sample::select(vec![None, Some("/"), Some("-"), Some("a"), Some("/-")]),
            after in prop::sample::select(vec!["", "a", "a/", "b", "-/", "a-"]),
        ) {
            let simulation = Simulation { paths, order, max_page };
            let listed = simulation.list(prefix, delimiter, Some(after), max_entries);
            let expected = simulation.expected(prefix, delimiter, after);
            prop_assert_eq!(listed.names, expected);
        }
    }
}
