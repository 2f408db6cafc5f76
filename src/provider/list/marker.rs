//! Directory markers that would come too late.
//!
//! The marker `dir/` is the first key of its directory, but its file `dir/.hugbucket_keep` sorts behind names that begin
//! with a space, `!`, `-`, and others. Where a directory's first entry sorts before its marker's file, the marker is looked
//! up when the directory is entered, and its file is passed over when it comes.

use crate::provider::hub::TreeEntry;
use crate::provider::list::item::{marked_directory, raw_path};
use crate::storage::name::{HIDDEN_PREFIX, MARKER_NAME};

/// Returns the directories, each with its trailing slash and outermost first, that a walk enters when it comes to `path`
/// from `previous`.
pub(super) fn entered<'a>(previous: &'a str, path: &'a str) -> impl Iterator<Item = &'a str> {
    path.match_indices('/')
        .map(|(slash, _)| &path[..=slash])
        .filter(|directory| !previous.starts_with(*directory))
}

/// Returns the path of a directory's marker; the directory has its trailing slash.
pub(super) fn path(directory: &str) -> String {
    format!("{directory}{MARKER_NAME}")
}

/// Reports whether the file of a directory's marker, if there is one, comes only after `path`, the directory's first.
fn comes_late(directory: &str, path: &str) -> bool {
    &path[directory.len()..] < MARKER_NAME
}

/// Returns the paths of the markers to look up for a page that follows `previous`: of directories under `prefix` whose
/// name sorts behind `after`.
pub(super) fn wanted(
    previous: &str,
    entries: &[TreeEntry],
    prefix: &str,
    after: Option<&str>,
) -> Vec<String> {
    let mut paths = Vec::new();
    let mut previous = previous;
    for path in entries.iter().map(raw_path) {
        let late = entered(previous, path).filter(|directory| {
            directory.starts_with(prefix)
                && after.is_none_or(|after| *directory > after)
                && !directory.starts_with(HIDDEN_PREFIX)
                && comes_late(directory, path)
        });
        paths.extend(late.map(self::path));
        previous = path;
    }
    paths
}

/// Reports whether an entry is a marker's file that was dealt with when its directory was entered.
pub(super) fn is_dealt_with(previous: &str, entry: &TreeEntry) -> bool {
    match entry {
        TreeEntry::File(file) => {
            marked_directory(&file.path).is_some_and(|directory| previous.starts_with(directory))
        }
        TreeEntry::Directory(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::list::item::file;

    fn look_up(previous: &str, paths: &[&str], prefix: &str, after: Option<&str>) -> Vec<String> {
        let entries: Vec<_> = paths
            .iter()
            .map(|path| TreeEntry::File(file(path)))
            .collect();
        wanted(previous, &entries, prefix, after)
    }

    #[test]
    fn directories_are_entered_once() {
        let from = |previous, path| entered(previous, path).collect::<Vec<_>>();
        assert_eq!(from("", "a/b/c"), ["a/", "a/b/"]);
        assert_eq!(from("a/b/c", "a/b/d"), [""; 0]);
        assert_eq!(from("a/b", "a/b/c"), ["a/b/"]);
        assert_eq!(from("x", "a"), [""; 0]);
    }

    #[test]
    fn only_markers_that_would_come_late_are_looked_up() {
        assert_eq!(
            look_up(
                "",
                &["a/-", "a/.hugbucket_keep", "b/.hugbucket_keep", "c/x"],
                "",
                None
            ),
            ["a/.hugbucket_keep"]
        );
        assert_eq!(
            look_up("", &["a/ /!/x"], "", None),
            ["a/.hugbucket_keep", "a/ /.hugbucket_keep"]
        );
        assert_eq!(look_up("a/!", &["a/-"], "", None), [""; 0]);
        assert_eq!(look_up("", &["a/-"], "a/-", None), [""; 0]);
        assert_eq!(look_up("", &["a/-"], "", Some("a/")), [""; 0]);
        assert_eq!(look_up("", &[".hugbucket/-"], "", None), [""; 0]);
    }
}
