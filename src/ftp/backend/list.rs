//! Listings: what lies in a directory, one page of the stack after the other.

use time::OffsetDateTime;

use crate::ftp::backend::Backend;
use crate::ftp::backend::facts::Facts;
use crate::ftp::backend::format::push_line;
use crate::ftp::backend::look::PAGE;
use crate::ftp::error::Failure;
use crate::ftp::path::{Directory, Place, is_showable};
use crate::ftp::user::User;
use crate::storage::{ListBuckets, ListEntry, ListObjects, ListStart, ObjectSummary, StorageError};

/// A line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Child {
    pub(super) name: String,
    pub(super) facts: Facts,
}

/// What a listing found.
#[derive(Debug, Default)]
struct Listing {
    children: Vec<Child>,
    /// Whether anything speaks for the directory, be it its own marker alone.
    is_there: bool,
}

impl Backend {
    /// Returns what lies in a directory; nothing if it is not there, as if it were empty.
    ///
    /// Errors: 550 for a file, 450 for more entries than are listed.
    pub(super) async fn children(&self, user: &User, place: &Place) -> Result<Vec<Child>, Failure> {
        let listing = self.listing(user, place).await?;
        if !listing.is_there && self.only_child(user, place).await?.is_some() {
            return Err(Failure::not_available("this is a file, not a directory"));
        }
        Ok(listing.children)
    }

    /// Returns what lies in a directory, or the file itself if the path leads to one; nothing if nothing is there.
    ///
    /// Errors: 450 for more entries than are listed.
    pub(super) async fn children_or_file(
        &self,
        user: &User,
        place: &Place,
    ) -> Result<Vec<Child>, Failure> {
        let listing = self.listing(user, place).await?;
        if listing.is_there {
            return Ok(listing.children);
        }
        Ok(Vec::from_iter(self.only_child(user, place).await?))
    }

    async fn only_child(&self, user: &User, place: &Place) -> Result<Option<Child>, Failure> {
        let entry = match place {
            Place::Entry(entry) if !self.is_root(user, place) => entry,
            Place::Entry(_) | Place::Bucket(_) | Place::Buckets => return Ok(None),
        };
        let found = match self.file(user, entry).await {
            Err(StorageError::NoSuchBucket { .. }) => None,
            found => found?,
        };
        Ok(found.map(|info| Child {
            name: entry.name().to_owned(),
            facts: Facts::of_object(user, &info),
        }))
    }

    async fn listing(&self, user: &User, place: &Place) -> Result<Listing, Failure> {
        match place.directory() {
            None => self.buckets(user).await,
            Some(directory) => self.pages(user, &directory).await,
        }
    }

    async fn buckets(&self, user: &User) -> Result<Listing, Failure> {
        let found = user.call(&self.gateway, ListBuckets {}).await?;
        let children = found.buckets.into_iter().map(|bucket| Child {
            name: bucket.name.to_string(),
            facts: Facts::of_directory(user, Some(bucket.created_at)),
        });
        Ok(Listing {
            children: children.collect(),
            is_there: true,
        })
    }

    async fn pages(&self, user: &User, directory: &Directory) -> Result<Listing, Failure> {
        let mut listing = Listing::default();
        let mut left_out = 0;
        let mut start = Some(ListStart::Beginning);
        while let Some(from) = start {
            let list = page_of(directory, Some("/"), from);
            let page = match user.call(&self.gateway, list).await {
                Err(StorageError::NoSuchBucket { .. }) => return Ok(Listing::default()),
                page => page?,
            };
            for entry in page.entries {
                listing.is_there = true;
                match child(user, directory, &entry) {
                    Shown::Child(child) => listing.children.push(child),
                    Shown::Itself => {}
                    Shown::Never => left_out += 1,
                }
            }
            self.check_size(listing.children.len())?;
            start = page.next.map(ListStart::Token);
        }
        self.settings.metrics.ftp_names_left_out(left_out);
        Ok(listing)
    }

    fn check_size(&self, entries: usize) -> Result<(), Failure> {
        let max_entries = self.settings.max_list_entries;
        if entries <= max_entries {
            return Ok(());
        }
        tracing::warn!(
            max_entries,
            "a directory has more entries than are listed over ftp"
        );
        Err(Failure::transient(format!(
            "the directory has more than {max_entries} entries"
        )))
    }

    /// Returns all objects below a directory, its marker among them, in the order of their keys.
    ///
    /// Errors: 550 if there are more than `max_objects`.
    pub(super) async fn all_below(
        &self,
        user: &User,
        directory: &Directory,
        max_objects: usize,
    ) -> Result<Vec<ObjectSummary>, Failure> {
        let mut objects = Vec::new();
        let mut start = Some(ListStart::Beginning);
        while let Some(from) = start {
            let list = page_of(directory, None, from);
            let page = user.call(&self.gateway, list).await?;
            objects.extend(page.entries.into_iter().filter_map(|entry| match entry {
                ListEntry::Object(object) => Some(object),
                ListEntry::Prefix(_) => None,
            }));
            if objects.len() > max_objects {
                return Err(Failure::not_available(format!(
                    "more than {max_objects} files lie below the directory, too many to be renamed at once"
                )));
            }
            start = page.next.map(ListStart::Token);
        }
        Ok(objects)
    }
}

fn page_of(directory: &Directory, delimiter: Option<&str>, start: ListStart) -> ListObjects {
    ListObjects {
        bucket: directory.bucket.clone(),
        prefix: directory.prefix.clone(),
        delimiter: delimiter.map(str::to_owned),
        start,
        max_entries: PAGE,
    }
}

/// What becomes of an entry in a listing.
enum Shown {
    Child(Child),
    /// It is the directory's own marker.
    Itself,
    /// Its name would break the listing.
    Never,
}

fn child(user: &User, directory: &Directory, entry: &ListEntry) -> Shown {
    let Some(name) = entry.name().strip_prefix(&directory.prefix) else {
        return Shown::Never;
    };
    let (name, facts) = match entry {
        ListEntry::Object(_) if name.is_empty() => return Shown::Itself,
        ListEntry::Object(object) => (name, Facts::of_summary(user, object)),
        ListEntry::Prefix(directory) => {
            let name = name.strip_suffix('/').unwrap_or(name);
            (name, Facts::of_directory(user, directory.last_modified))
        }
    };
    if !is_showable(name) {
        return Shown::Never;
    }
    let name = name.to_owned();
    Shown::Child(Child { name, facts })
}

/// Returns the lines of LIST.
pub(super) fn long(children: &[Child]) -> String {
    let now = OffsetDateTime::now_utc();
    let mut text = String::new();
    for child in children {
        push_line(&mut text, &child.name, &child.facts, now);
    }
    text
}

/// Returns the lines of NLST.
pub(super) fn short(children: &[Child]) -> String {
    let lines = children.iter().map(|child| format!("{}\r\n", child.name));
    lines.collect()
}
