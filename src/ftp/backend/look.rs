//! Looking at single paths: is there something, and what?

use std::sync::Arc;

use crate::ftp::backend::Backend;
use crate::ftp::backend::facts::{Facts, modified};
use crate::ftp::backend::sight::Seen;
use crate::ftp::error::Failure;
use crate::ftp::path::{Directory, Entry, Place};
use crate::ftp::user::User;
use crate::storage::{
    HeadBucket, HeadObject, ListEntry, ListObjects, ListStart, ObjectInfo, ReadConditions,
    StorageError,
};

/// The most entries that one call lists.
pub(super) const PAGE: usize = 1000;

impl Backend {
    /// Tells what a path leads to, and remembers the content that it saw.
    ///
    /// Errors: 550 if there is nothing.
    pub(super) async fn stat(&self, user: &User, place: &Place) -> Result<Facts, Failure> {
        match place {
            Place::Buckets => Ok(Facts::of_directory(user, None)),
            Place::Bucket(bucket) => {
                let bucket = bucket.clone();
                let found = user.call(&self.gateway, HeadBucket { bucket }).await?;
                Ok(Facts::of_directory(user, Some(found.info.created_at)))
            }
            // What a user sees as the root is there, whether or not anything lies in it.
            Place::Entry(entry) if self.is_root(user, place) => {
                let found = self.directory(user, &entry.directory()).await?;
                Ok(found.unwrap_or_else(|| Facts::of_directory(user, None)))
            }
            Place::Entry(entry) => self.stat_entry(user, entry).await,
        }
    }

    async fn stat_entry(&self, user: &User, entry: &Entry) -> Result<Facts, Failure> {
        // Whoever leaves before the answer knows as little as whoever gets an error.
        self.sight.note(entry, Seen::Unknown);
        let file = match self.file(user, entry).await {
            // Where there is no bucket, there is no file.
            Err(missing @ StorageError::NoSuchBucket { .. }) => {
                self.sight.note(entry, Seen::Nothing);
                return Err(missing.into());
            }
            file => file?,
        };
        if let Some(info) = file {
            self.sight.note(entry, Seen::file(&info));
            return Ok(Facts::of_object(user, &info));
        }
        self.sight.note(entry, Seen::Nothing);
        let directory = self.directory(user, &entry.directory()).await?;
        directory.ok_or_else(|| entry.missing().into())
    }

    /// Returns what is known of a file; `None` if there is none.
    ///
    /// Errors: the bucket is missing, or nobody knows.
    pub(super) async fn file(
        &self,
        user: &User,
        entry: &Entry,
    ) -> Result<Option<Arc<ObjectInfo>>, StorageError> {
        let key = match entry.present_key() {
            Ok(key) => key,
            Err(StorageError::NoSuchKey { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let head = HeadObject {
            bucket: entry.bucket.clone(),
            key,
            part: None,
            conditions: ReadConditions::default(),
        };
        match user.call(&self.gateway, head).await {
            Ok(found) => Ok(Some(found.info)),
            Err(StorageError::NoSuchKey { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Tells what is known of a directory below a bucket: there is one if anything lies below its prefix. Its time is that
    /// of the newest of its first children.
    async fn directory(
        &self,
        user: &User,
        directory: &Directory,
    ) -> Result<Option<Facts>, StorageError> {
        let first = self.first_children(user, directory, PAGE).await?;
        let times = first.iter().filter_map(|child| match child {
            ListEntry::Object(object) => Some(modified(object)),
            ListEntry::Prefix(directory) => directory.last_modified,
        });
        let newest = times.max();
        Ok((!first.is_empty()).then(|| Facts::of_directory(user, newest)))
    }

    /// Reports whether anything lies in a directory, be it its own marker.
    pub(super) async fn is_directory(
        &self,
        user: &User,
        directory: &Directory,
    ) -> Result<bool, StorageError> {
        let first = self.first_children(user, directory, 1).await?;
        Ok(!first.is_empty())
    }

    /// Returns the first files and directories in a directory, its own marker among them.
    pub(super) async fn first_children(
        &self,
        user: &User,
        directory: &Directory,
        max_entries: usize,
    ) -> Result<Vec<ListEntry>, StorageError> {
        let list = ListObjects {
            bucket: directory.bucket.clone(),
            prefix: directory.prefix.clone(),
            delimiter: Some("/".into()),
            start: ListStart::Beginning,
            max_entries,
        };
        Ok(user.call(&self.gateway, list).await?.entries)
    }

    /// Checks that a path leads to a directory. Errors: 550.
    pub(super) async fn enter_directory(&self, user: &User, place: &Place) -> Result<(), Failure> {
        let entry = match place {
            Place::Entry(entry) if !self.is_root(user, place) => entry,
            Place::Entry(_) | Place::Bucket(_) | Place::Buckets => {
                return self.stat(user, place).await.map(|_| ());
            }
        };
        if self.is_directory(user, &entry.directory()).await? {
            return Ok(());
        }
        let name = entry.name();
        Err(Failure::not_available(format!(
            "no such directory: `{name}`"
        )))
    }
}
