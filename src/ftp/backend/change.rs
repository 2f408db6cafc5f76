//! Directories, deletions, and times. A directory is a marker, or anything that lies below it.

use time::OffsetDateTime;

use crate::ftp::backend::Backend;
use crate::ftp::error::Failure;
use crate::ftp::path::{Directory, Entry, Place};
use crate::ftp::user::User;
use crate::storage::{
    BucketName, ByteStream, CopyObject, CreateBucket, DeleteBucket, DeleteObject, EtagMatch,
    HeadBucket, ListEntry, ObjectKey, ObjectMetadata, Payload, PutObject, ReadConditions,
    StorageError, WriteConditions,
};

impl Backend {
    /// Makes a directory; in the list of buckets, a bucket. Errors: 550 if something is there already.
    pub(super) async fn make_directory(&self, user: &User, place: &Place) -> Result<(), Failure> {
        match place {
            Place::Buckets => Err(exists()),
            Place::Bucket(bucket) => self.make_bucket(user, bucket).await,
            Place::Entry(entry) => self.make_entry(user, entry).await,
        }
    }

    async fn make_bucket(&self, user: &User, bucket: &BucketName) -> Result<(), Failure> {
        let head = HeadBucket {
            bucket: bucket.clone(),
        };
        match user.call(&self.gateway, head).await {
            Ok(_) => return Err(exists()),
            Err(StorageError::NoSuchBucket { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let create = CreateBucket {
            bucket: bucket.clone(),
            visibility: None,
        };
        user.call(&self.gateway, create).await?;
        Ok(())
    }

    async fn make_entry(&self, user: &User, entry: &Entry) -> Result<(), Failure> {
        self.sight.forget();
        // What no file can be called is no name for a directory either.
        entry.key()?;
        let directory = entry.directory();
        let (file, is_directory) =
            futures::try_join!(self.file(user, entry), self.is_directory(user, &directory))?;
        if file.is_some() || is_directory {
            return Err(exists());
        }
        match self.mark(user, &directory).await {
            Err(StorageError::PreconditionFailed { .. }) => Err(exists()),
            marked => Ok(marked?),
        }
    }

    /// Removes an empty directory or bucket. Errors: 550 if it is missing, not empty, or the user's root.
    pub(super) async fn remove_directory(&self, user: &User, place: &Place) -> Result<(), Failure> {
        if self.is_root(user, place) {
            return Err(Failure::not_available("the root directory stays"));
        }
        match place {
            Place::Buckets => Err(Failure::not_available("the list of buckets stays")),
            Place::Bucket(bucket) => {
                let bucket = bucket.clone();
                user.call(&self.gateway, DeleteBucket { bucket }).await?;
                Ok(())
            }
            Place::Entry(entry) => self.remove_entry(user, entry).await,
        }
    }

    async fn remove_entry(&self, user: &User, entry: &Entry) -> Result<(), Failure> {
        self.sight.forget();
        let directory = entry.directory();
        let children = self.first_children(user, &directory, 2).await?;
        let is_marker = |child: &ListEntry| child.name() == directory.prefix;
        match children.as_slice() {
            [] => {
                let name = entry.name();
                return Err(Failure::not_available(format!(
                    "no such directory: `{name}`"
                )));
            }
            [only] if is_marker(only) => {}
            _ => return Err(Failure::not_empty("the directory is not empty")),
        }
        if let Some(marker) = directory.marker()? {
            let delete = deletion(&directory.bucket, marker, WriteConditions::default());
            user.call(&self.gateway, delete).await?;
        }
        self.keep(user, &entry.parent()).await;
        Ok(())
    }

    /// Removes a file. Its directory stays. Errors: 550 if there is none.
    pub(super) async fn remove_file(&self, user: &User, place: &Place) -> Result<(), Failure> {
        let Place::Entry(entry) = place else {
            return Err(is_a_directory());
        };
        self.sight.forget();
        let is_there = WriteConditions {
            if_match: Some(EtagMatch::Any),
            ..WriteConditions::default()
        };
        let delete = deletion(&entry.bucket, entry.present_key()?, is_there);
        user.call(&self.gateway, delete).await?;
        self.keep(user, &entry.parent()).await;
        Ok(())
    }

    /// Sets the modification time of a file. Errors: 550 if there is none, 501 for a time that cannot be kept.
    pub(super) async fn touch(
        &self,
        user: &User,
        place: &Place,
        modified: OffsetDateTime,
    ) -> Result<(), Failure> {
        let Place::Entry(entry) = place else {
            return Err(is_a_directory());
        };
        let key = entry.present_key()?;
        let Some(info) = self.file(user, entry).await? else {
            return Err(entry.missing().into());
        };
        // The copy is of this content, and must not bring it back over another one.
        let same = || Some(EtagMatch::Tags(vec![info.etag()]));
        let copy = CopyObject {
            source_bucket: entry.bucket.clone(),
            source_key: key.clone(),
            source_conditions: ReadConditions {
                if_match: same(),
                ..ReadConditions::default()
            },
            bucket: entry.bucket.clone(),
            key,
            conditions: WriteConditions {
                if_match: same(),
                ..WriteConditions::default()
            },
            replace_metadata: None,
            replace_tags: None,
            mtime: Some(modified),
        };
        user.call(&self.gateway, copy).await?;
        Ok(())
    }

    /// Sees to it that a directory stays from which something was taken: what nothing speaks for any more gets a marker.
    ///
    /// What was taken is gone whether or not this works, so a failure is only logged.
    pub(super) async fn keep(&self, user: &User, directory: &Directory) {
        if directory.prefix.is_empty() {
            return;
        }
        let kept = async {
            if self.is_directory(user, directory).await? {
                return Ok(());
            }
            match self.mark(user, directory).await {
                Err(StorageError::PreconditionFailed { .. }) => Ok(()),
                marked => marked,
            }
        };
        if let Err(error) = kept.await {
            tracing::warn!(%error, "an empty directory could not be kept");
        }
    }

    /// Writes the marker of a directory. Errors: `PreconditionFailed` if there is one.
    async fn mark(&self, user: &User, directory: &Directory) -> Result<(), StorageError> {
        let Some(marker) = directory.marker()? else {
            return Ok(());
        };
        let put = PutObject {
            bucket: directory.bucket.clone(),
            key: marker,
            conditions: WriteConditions {
                if_none_match: Some(EtagMatch::Any),
                ..WriteConditions::default()
            },
            payload: Payload::unchecked(ByteStream::empty()),
            metadata: ObjectMetadata::default(),
        };
        user.call(&self.gateway, put).await.map(|_| ())
    }
}

/// Returns the deletion of one object.
pub(super) fn deletion(
    bucket: &BucketName,
    key: ObjectKey,
    conditions: WriteConditions,
) -> DeleteObject {
    DeleteObject {
        bucket: bucket.clone(),
        key,
        conditions,
    }
}

fn exists() -> Failure {
    Failure::not_available("it is there already")
}

fn is_a_directory() -> Failure {
    Failure::not_available("this is a directory, not a file")
}
