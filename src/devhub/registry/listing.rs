//! Pages of a bucket's tree.

use std::collections::BTreeMap;
use std::ops::Bound;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::FileEntry;

/// What to list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listing<'a> {
    /// Raw prefix of the paths; it need not end at a directory.
    pub(crate) prefix: &'a str,
    /// Otherwise everything behind the next `/` after the prefix is one directory.
    pub(crate) recursive: bool,
    /// Entries in the page; at least 1.
    pub(crate) limit: usize,
}

/// Where a page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cursor {
    /// After this file.
    After(String),
    /// After everything in this directory, given without its slash.
    AfterDirectory(String),
}

/// A line of a listing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entry<'a> {
    File(&'a str, &'a FileEntry),
    /// Path without trailing slash, and the file in it that was uploaded last.
    Directory(&'a str, &'a FileEntry),
}

/// A page in byte order of the paths, a directory standing where its first file stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page<'a> {
    pub(crate) entries: Vec<Entry<'a>>,
    /// Present when there is more.
    pub(crate) next: Option<Cursor>,
}

impl Cursor {
    /// Returns the opaque text for clients.
    pub(crate) fn encode(&self) -> String {
        let text = match self {
            Self::After(path) => format!("f{path}"),
            Self::AfterDirectory(path) => format!("d{path}"),
        };
        URL_SAFE_NO_PAD.encode(text)
    }

    /// Reads what [`Cursor::encode`] wrote.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        match text.split_at_checked(1)? {
            ("f", path) => Some(Self::After(path.to_owned())),
            ("d", path) => Some(Self::AfterDirectory(path.to_owned())),
            _ => None,
        }
    }

    fn bound(&self) -> Bound<String> {
        match self {
            Self::After(path) => Bound::Excluded(path.clone()),
            // '0' follows '/' in byte order.
            Self::AfterDirectory(path) => Bound::Included(format!("{path}0")),
        }
    }
}

/// Returns the end of what comes before a directory's successor.
fn before(after: &Cursor) -> Bound<String> {
    match after.bound() {
        Bound::Included(next) => Bound::Excluded(next),
        bound => bound,
    }
}

impl Listing<'_> {
    /// Returns the page that begins at `from`, or the first one.
    pub(crate) fn page<'b>(
        &self,
        files: &'b BTreeMap<String, FileEntry>,
        from: Option<&Cursor>,
    ) -> Page<'b> {
        let mut entries = Vec::new();
        let mut last = None;
        let mut bound = from.map_or(Bound::Included(self.prefix.to_owned()), Cursor::bound);
        while let Some((path, file)) = files.range((bound, Bound::Unbounded)).next() {
            let Some(rest) = path.strip_prefix(self.prefix) else {
                break;
            };
            if entries.len() == self.limit {
                return Page {
                    entries,
                    next: last,
                };
            }
            let cursor = match rest.find('/').filter(|_| !self.recursive) {
                Some(slash) => {
                    let directory = &path[..self.prefix.len() + slash];
                    let cursor = Cursor::AfterDirectory(directory.to_owned());
                    let below = (Bound::Included(path.clone()), before(&cursor));
                    let newest = files.range(below).map(|(_, file)| file);
                    let newest = newest.max_by_key(|file| file.uploaded_at);
                    entries.push(Entry::Directory(directory, newest.unwrap_or(file)));
                    cursor
                }
                None => {
                    entries.push(Entry::File(path, file));
                    Cursor::After(path.clone())
                }
            };
            bound = cursor.bound();
            last = Some(cursor);
        }
        Page {
            entries,
            next: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(paths: &[&str]) -> BTreeMap<String, FileEntry> {
        let file = FileEntry {
            hash: String::new(),
            size: 1,
            mtime: None,
            uploaded_at: 0,
            content_type: None,
        };
        paths
            .iter()
            .map(|path| ((*path).to_owned(), file.clone()))
            .collect()
    }

    fn names(files: &BTreeMap<String, FileEntry>, prefix: &str, recursive: bool) -> Vec<String> {
        let listing = Listing {
            prefix,
            recursive,
            limit: 2,
        };
        let (mut names, mut from) = (Vec::new(), None);
        loop {
            let page = listing.page(files, from.as_ref());
            assert!(page.entries.len() <= 2);
            names.extend(page.entries.iter().map(|entry| match entry {
                Entry::File(path, _) => (*path).to_owned(),
                Entry::Directory(path, _) => format!("{path}/"),
            }));
            let Some(next) = page.next else { return names };
            from = Some(Cursor::decode(&next.encode()).unwrap());
        }
    }

    #[test]
    fn a_prefix_is_raw_and_directories_collapse() {
        let files = files(&["a", "logs.json", "logs/1", "logs/2", "logs_old/3", "z/y"]);
        assert_eq!(
            names(&files, "logs", false),
            ["logs.json", "logs/", "logs_old/"]
        );
        assert_eq!(names(&files, "logs/", false), ["logs/1", "logs/2"]);
        assert_eq!(
            names(&files, "", false),
            ["a", "logs.json", "logs/", "logs_old/", "z/"]
        );
    }

    #[test]
    fn a_recursive_listing_goes_through_all_pages() {
        let files = files(&["a", "b/c", "b/d/e", "f", "g"]);
        assert_eq!(names(&files, "", true), ["a", "b/c", "b/d/e", "f", "g"]);
    }

    #[test]
    fn a_file_and_a_directory_of_one_name_coexist() {
        let files = files(&["x", "x/y"]);
        assert_eq!(names(&files, "", false), ["x", "x/"]);
    }

    #[test]
    fn a_directory_is_as_new_as_its_newest_file() {
        let mut files = files(&["d/1", "d/2", "d/e/3", "d0"]);
        for (path, uploaded_at) in [("d/1", 1), ("d/2", 7), ("d/e/3", 5), ("d0", 9)] {
            files.get_mut(path).unwrap().uploaded_at = uploaded_at;
        }
        let listing = Listing {
            prefix: "",
            recursive: false,
            limit: 1,
        };
        let page = listing.page(&files, None);
        let Entry::Directory("d", newest) = page.entries[0] else {
            panic!("{:?}", page.entries);
        };
        assert_eq!(newest.uploaded_at, 7);
    }

    #[test]
    fn a_full_last_page_has_no_successor() {
        let files = files(&["a", "b"]);
        let listing = Listing {
            prefix: "",
            recursive: true,
            limit: 2,
        };
        assert_eq!(listing.page(&files, None).next, None);
    }
}
