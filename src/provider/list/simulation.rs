//! A bucket in memory that answers tree pages as the Hub may, and what S3 would list of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::provider::hub::fake::bucket_id;
use crate::provider::hub::{DirectoryRecord, FileRecord, TreeEntry, TreePage};
use crate::provider::list::item::file;
use crate::provider::list::listing::HUB_DELIMITER;
use crate::provider::list::token::{Position, Scope};
use crate::provider::list::walk::{Step, Walk};

/// How the Hub sorts directories among files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// As `dir/`.
    ByName,
    /// As `dir`.
    ByPath,
}

#[derive(Debug)]
pub(super) struct Simulation {
    pub(super) paths: BTreeSet<String>,
    pub(super) order: Order,
    /// Entries in a page, whatever is asked for.
    pub(super) max_page: usize,
}

/// A whole listing, answer by answer.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// Names in the order they came.
    pub(super) names: Vec<String>,
    /// Entries of each answer.
    pub(super) answers: Vec<usize>,
    /// How often each cursor was asked for.
    pub(super) fetched: BTreeMap<Option<String>, usize>,
    /// Markers looked up.
    pub(super) looked_up: usize,
}

impl Simulation {
    pub(super) fn new(paths: &[&str], order: Order) -> Self {
        Self {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            order,
            max_page: usize::MAX,
        }
    }

    /// Returns what S3 lists: computed straight from the definition.
    pub(super) fn expected(
        &self,
        prefix: &str,
        delimiter: Option<&str>,
        after: &str,
    ) -> Vec<String> {
        let is_visible = |path: &&String| {
            !path.starts_with(".hugbucket/") && *path != ".hugbucket" && *path != ".hugbucket_keep"
        };
        let keys = self.paths.iter().filter(is_visible).map(|path| {
            match path.strip_suffix("/.hugbucket_keep") {
                Some(directory) => format!("{directory}/"),
                None => path.clone(),
            }
        });
        let shown: BTreeSet<String> = keys
            .filter(|key| key.starts_with(prefix) && key.as_str() > after)
            .map(
                |key| match delimiter.and_then(|d| Some(key[prefix.len()..].find(d)? + d.len())) {
                    Some(end) => key[..prefix.len() + end].to_owned(),
                    None => key,
                },
            )
            .filter(|name| name != after)
            .collect();
        shown.into_iter().collect()
    }

    /// Lists everything, following tokens.
    pub(super) fn list(
        &self,
        prefix: &str,
        delimiter: Option<&str>,
        after: Option<&str>,
        max_entries: usize,
    ) -> Listed {
        let bucket = bucket_id();
        let scope = Scope {
            bucket: &bucket,
            prefix,
            delimiter,
        };
        let mut listed = Listed::default();
        let mut position = Position::beginning(after.map(str::to_owned));
        loop {
            let mut walk = Walk::new(scope, position, max_entries);
            let answer = loop {
                let cursor = walk.cursor().map(str::to_owned);
                let page = self.page(&scope, walk.limit(), cursor.as_deref());
                *listed.fetched.entry(cursor).or_default() += 1;
                let wanted = walk.wanted_markers(&page);
                listed.looked_up += wanted.len();
                match walk.take(page, self.look_up(&wanted)) {
                    Step::More => {}
                    Step::Done(answer) => break answer,
                    Step::OutOfOrder => panic!("the simulation is sorted"),
                }
            };
            assert!(answer.entries.len() <= max_entries);
            assert!(!answer.entries.is_empty() || answer.position.is_none());
            listed.answers.push(answer.entries.len());
            let names = answer.entries.iter().map(|entry| entry.name().to_owned());
            listed.names.extend(names);
            match answer.position {
                Some(ended) => {
                    let token = ended.to_token(&scope);
                    position = Position::from_token(&token, &scope).unwrap();
                }
                None => return listed,
            }
        }
    }

    fn look_up(&self, wanted: &[String]) -> Vec<FileRecord> {
        let found = wanted.iter().filter(|path| self.paths.contains(*path));
        found.map(|path| file(path)).collect()
    }

    fn page(&self, scope: &Scope<'_>, limit: usize, cursor: Option<&str>) -> TreePage {
        let entries = self.tree(scope.prefix, scope.delimiter != Some(HUB_DELIMITER));
        let begin: usize = cursor.map_or(0, |cursor| cursor.parse().unwrap());
        let end = (begin + limit.min(self.max_page)).min(entries.len());
        TreePage {
            next: (end < entries.len()).then(|| end.to_string()),
            entries: entries[begin..end].to_vec(),
        }
    }

    fn tree(&self, prefix: &str, is_recursive: bool) -> Vec<TreeEntry> {
        let mut entries: BTreeMap<String, TreeEntry> = BTreeMap::new();
        for path in self.paths.iter().filter(|path| path.starts_with(prefix)) {
            let slash = path[prefix.len()..].find('/').filter(|_| !is_recursive);
            let (name, entry) = match slash {
                None => (path.clone(), TreeEntry::File(file(path))),
                Some(slash) => {
                    let directory = &path[..prefix.len() + slash];
                    let entry = TreeEntry::Directory(DirectoryRecord {
                        path: directory.to_owned(),
                        uploaded_at: None,
                    });
                    (format!("{directory}/"), entry)
                }
            };
            entries.insert(name, entry);
        }
        let mut entries: Vec<_> = entries.into_iter().collect();
        if self.order == Order::ByPath {
            entries.sort_by(|(a, _), (b, _)| a.trim_end_matches('/').cmp(b.trim_end_matches('/')));
        }
        entries.into_iter().map(|(_, entry)| entry).collect()
    }
}
