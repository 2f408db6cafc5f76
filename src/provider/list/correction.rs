//! Our own writes of the last minute, merged into folded listings.
//!
//! The Hub promises nothing about the freshness of a listing that is folded by directories, and clients expect to find what
//! they have just written. Where an answer contradicts what this process wrote lately, the paths in question are looked up,
//! which is always fresh; the answer says what the look-up says, since somebody else may have written them since. An answer
//! that contradicts nothing costs no call.

use std::collections::{BTreeMap, HashMap};

use tokio::time::Instant;

use crate::provider::hub::FileRecord;
use crate::provider::list::item::{Item, marked_directory};
use crate::provider::list::selection::Selection;
use crate::provider::list::token::Position;
use crate::provider::list::walk::Ended;
use crate::provider::recent::Write;
use crate::storage::ListEntry;

/// Paths looked up for one answer at most: one call.
const MAX_PATHS: usize = 1000;

/// Paths looked up for a directory that is missing: one would do, had nobody else deleted it since.
const PATHS_OF_DIRECTORY: usize = 3;

/// Entries that an answer may have wrong.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    /// By the name of the entry in doubt.
    entries: BTreeMap<String, Doubt>,
    /// Directories that are shown, and in which something was deleted: when that was. They may be empty now.
    pub(super) directories: BTreeMap<String, Instant>,
    /// Beyond this name there is more doubt than one call can settle.
    cut: Option<String>,
}

/// An entry that may be wrong.
#[derive(Debug, Default)]
struct Doubt {
    /// Whether it is a common prefix.
    is_folded: bool,
    /// The paths that decide on it.
    paths: Vec<String>,
}

impl Doubts {
    /// Compares an answer with our writes; `start` is the name behind which the answer begins.
    pub(super) fn new(
        selection: &Selection<'_>,
        start: Option<&str>,
        ended: &Ended,
        writes: &[Write],
    ) -> Self {
        let end = ended.position.as_ref().and(ended.entries.last());
        let shown: HashMap<&str, &ListEntry> = ended
            .entries
            .iter()
            .map(|entry| (entry.name(), entry))
            .collect();
        let mut doubts = Self::default();
        let mut filled = Vec::new();
        for write in writes {
            let name = marked_directory(&write.path).unwrap_or(&write.path);
            let Some(folded) = selection.common_prefix(name) else {
                continue;
            };
            let entry_name = folded.as_deref().unwrap_or(name);
            let is_within = start.is_none_or(|start| entry_name > start)
                && end.is_none_or(|end| entry_name <= end.name());
            if !is_within {
                continue;
            }
            let is_wrong = match (write.hash, &folded, shown.get(entry_name)) {
                (Some(hash), None, Some(ListEntry::Object(object))) => object.hash != hash,
                (Some(_), None, _) | (None, None, Some(_)) => true,
                (Some(_), Some(directory), shown) => {
                    filled.push(directory.clone());
                    shown.is_none()
                }
                (None, Some(directory), Some(_)) => {
                    let last = doubts
                        .directories
                        .entry(directory.clone())
                        .or_insert(write.at);
                    *last = write.at.max(*last);
                    false
                }
                (None, _, None) => false,
            };
            if is_wrong {
                doubts.add(entry_name, &write.path, folded.is_some());
            }
        }
        // Where we wrote something too, there is no doubt that something is left.
        for directory in filled {
            doubts.directories.remove(&directory);
        }
        doubts.limit();
        doubts
    }

    fn add(&mut self, entry_name: &str, path: &str, is_folded: bool) {
        let doubt = self.entries.entry(entry_name.to_owned()).or_default();
        doubt.is_folded = is_folded;
        if !is_folded || doubt.paths.len() < PATHS_OF_DIRECTORY {
            doubt.paths.push(path.to_owned());
        }
    }

    /// Leaves what one call can settle.
    fn limit(&mut self) {
        let mut count = 0;
        let mut last_settled = None;
        let mut beyond = None;
        for (name, doubt) in &self.entries {
            count += doubt.paths.len();
            if count > MAX_PATHS {
                beyond = Some(name.clone());
                break;
            }
            last_settled = Some(name.clone());
        }
        if let Some(beyond) = beyond {
            self.entries.split_off(&beyond);
            self.cut = last_settled;
        }
    }

    /// Returns the paths to look up.
    pub(super) fn paths(&self) -> Vec<String> {
        let paths = self.entries.values().flat_map(|doubt| &doubt.paths);
        paths.cloned().collect()
    }

    /// Corrects the answer by what was found at those paths, and by the directories that turned out to be empty. `begun_at`
    /// is where the answer began: an answer that gets too long ends earlier, and the next one begins there again, behind the
    /// last name shown.
    pub(super) fn settle(
        self,
        ended: Ended,
        found: Vec<FileRecord>,
        empty: &[String],
        begun_at: &Position,
        max_entries: usize,
    ) -> Ended {
        let mut entries: BTreeMap<String, ListEntry> = ended
            .entries
            .into_iter()
            .map(|entry| (entry.name().to_owned(), entry))
            .collect();
        let mut found: HashMap<String, FileRecord> = found
            .into_iter()
            .map(|file| (file.path.clone(), file))
            .collect();
        for (name, doubt) in self.entries {
            let file = doubt.paths.iter().find_map(|path| found.remove(path));
            let entry = match (file, doubt.is_folded) {
                (None, _) => None,
                (Some(_), true) => Some(ListEntry::Prefix(name.clone().into())),
                (Some(file), false) => Item::object(file).object.map(ListEntry::Object),
            };
            match entry {
                Some(entry) => entries.insert(name, entry),
                None => entries.remove(&name),
            };
        }
        for directory in empty {
            entries.remove(directory);
        }
        let mut cut = self.cut;
        if let Some(cut) = &cut {
            entries.retain(|name, _| name <= cut);
        }
        if entries.len() > max_entries {
            let last = entries.keys().nth(max_entries.saturating_sub(1)).cloned();
            entries.retain(|name, _| last.as_ref().is_some_and(|last| name <= last));
            cut = last;
        }
        let position = match cut {
            None => ended.position,
            Some(cut) => Some(Position {
                after: Some(cut),
                is_within_page: true,
                ..begun_at.clone()
            }),
        };
        Ended {
            entries: entries.into_values().collect(),
            position,
        }
    }

    /// Reports whether nothing is in doubt.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.directories.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::provider::hub::fake::bucket_id;
    use crate::provider::list::item::file;
    use crate::provider::list::token::Scope;
    use crate::storage::ContentHash;

    fn entries(names: &[&str]) -> Vec<ListEntry> {
        let entry = |name: &&str| match name.ends_with('/') {
            true => ListEntry::Prefix((*name).to_owned().into()),
            false => ListEntry::Object(Item::object(file(name)).object.unwrap()),
        };
        names.iter().map(entry).collect()
    }

    /// Our writes: a deletion begins with `-`, a write of other content than all files of these tests with `+`.
    fn writes(texts: &[&str]) -> Vec<Write> {
        let write = |text: &&str| {
            let (path, hash) = match text.split_at(1) {
                ("-", path) => (path, None),
                ("+", path) => (path, Some("1".repeat(64).parse().unwrap())),
                _ => (*text, Some(ContentHash::EMPTY)),
            };
            Write {
                path: path.into(),
                hash,
                at: Instant::now(),
            }
        };
        texts.iter().map(write).collect()
    }

    struct Case<'a> {
        shown: &'a [&'a str],
        has_more: bool,
        written: &'a [&'a str],
        exist: &'a [&'a str],
        start: Option<&'a str>,
        max_entries: usize,
    }

    impl Case<'_> {
        /// Returns the paths looked up, the directories in doubt, the names shown in the end, and where the next answer
        /// begins.
        fn run(&self) -> (Vec<String>, Vec<String>, Vec<String>, Option<String>) {
            let bucket = bucket_id();
            let scope = Scope {
                bucket: &bucket,
                prefix: "",
                delimiter: Some("/"),
            };
            let ended = Ended {
                entries: entries(self.shown),
                position: self.has_more.then(|| Position {
                    cursor: Some("next".into()),
                    after: self.shown.last().map(|name| (*name).to_owned()),
                    ..Position::default()
                }),
            };
            let begun_at = Position::beginning(self.start.map(str::to_owned));
            let selection = Selection::new(scope, begun_at.after.clone());
            let doubts = Doubts::new(&selection, self.start, &ended, &writes(self.written));
            let exist: BTreeSet<&str> = self.exist.iter().copied().collect();
            let paths = doubts.paths();
            let found = paths.iter().filter(|path| exist.contains(path.as_str()));
            let found = found.map(|path| file(path)).collect();
            let directories: Vec<String> = doubts.directories.keys().cloned().collect();
            let is_empty =
                |directory: &&String| !exist.iter().any(|path| path.starts_with(*directory));
            let empty: Vec<String> = directories.iter().filter(is_empty).cloned().collect();
            let ended = doubts.settle(ended, found, &empty, &begun_at, self.max_entries);
            for entry in &ended.entries {
                let is_prefix = matches!(entry, ListEntry::Prefix(_));
                assert_eq!(is_prefix, entry.name().ends_with('/'), "{entry:?}");
            }
            let names = ended.entries.iter().map(|entry| entry.name().to_owned());
            (
                paths,
                directories,
                names.collect(),
                ended.position.and_then(|position| position.after),
            )
        }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    const CASE: Case<'static> = Case {
        shown: &["a", "d/", "m"],
        has_more: false,
        written: &[],
        exist: &[],
        start: None,
        max_entries: 10,
    };

    #[test]
    fn an_answer_that_contradicts_nothing_costs_nothing() {
        let written = ["a", "d/1", "-b", "-x/1", "d/.hugbucket_keep"];
        let case = Case {
            written: &written,
            ..CASE
        };
        let (paths, directories, shown, next) = case.run();
        assert_eq!((paths, directories), (vec![], vec![]));
        assert_eq!((shown, next), (names(CASE.shown), None));
    }

    #[test]
    fn what_is_missing_is_looked_up_and_shown_if_it_is_there() {
        let case = Case {
            written: &[
                "b",
                "c",
                "x/1",
                "x/2",
                "x/3",
                "x/4",
                "y/1",
                "z/.hugbucket_keep",
            ],
            exist: &["b", "x/3", "z/.hugbucket_keep"],
            ..CASE
        };
        let (paths, _, shown, _) = case.run();
        let asked = ["b", "c", "x/1", "x/2", "x/3", "y/1", "z/.hugbucket_keep"];
        assert_eq!(paths, asked);
        assert_eq!(shown, names(&["a", "b", "d/", "m", "x/", "z/"]));
    }

    #[test]
    fn what_is_shown_though_it_was_deleted_or_overwritten_is_looked_up() {
        let case = Case {
            written: &["-a", "+m"],
            exist: &["m"],
            ..CASE
        };
        let (paths, _, shown, _) = case.run();
        assert_eq!(paths, ["a", "m"]);
        assert_eq!(shown, names(&["d/", "m"]));
    }

    #[test]
    fn a_directory_is_in_doubt_where_we_deleted_and_did_not_write() {
        let case = Case {
            written: &["-d/1"],
            ..CASE
        };
        let (_, directories, shown, _) = case.run();
        assert_eq!((directories, shown), (names(&["d/"]), names(&["a", "m"])));
        let case = Case {
            written: &["-d/1", "d/2"],
            ..CASE
        };
        assert_eq!(case.run().1, [""; 0]);
    }

    #[test]
    fn only_what_lies_within_the_answer_counts() {
        let case = Case {
            has_more: true,
            written: &["0", "b", "z", "0/1", "z/1"],
            exist: &["0", "b", "z", "0/1", "z/1"],
            start: Some("1"),
            ..CASE
        };
        let (paths, _, shown, next) = case.run();
        assert_eq!(paths, ["b"]);
        assert_eq!(shown, names(&["a", "b", "d/", "m"]));
        assert_eq!(next.as_deref(), Some("m"));
    }

    #[test]
    fn an_answer_that_gets_too_long_ends_earlier_and_loses_nothing() {
        let case = Case {
            has_more: true,
            written: &["b", "c"],
            exist: &["b", "c"],
            max_entries: 3,
            ..CASE
        };
        let (_, _, shown, next) = case.run();
        assert_eq!(
            (shown, next.as_deref()),
            (names(&["a", "b", "c"]), Some("c"))
        );
    }

    #[test]
    fn more_doubt_than_one_call_can_settle_ends_the_answer_earlier() {
        let many: Vec<String> = (0..1500).map(|n| format!("k{n:04}")).collect();
        let written: Vec<&str> = many.iter().map(String::as_str).collect();
        let case = Case {
            written: &written,
            exist: &written,
            max_entries: 1000,
            ..CASE
        };
        let (paths, _, shown, next) = case.run();
        assert_eq!(paths.len(), 1000);
        assert_eq!(shown.len(), 1000);
        assert_eq!(shown.last(), next.as_ref());
        assert_eq!(next.as_deref(), Some("k0997"));
    }
}
