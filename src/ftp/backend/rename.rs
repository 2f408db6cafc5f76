//! RNTO: files and directories under another name, by reference. No byte of them is read.
//!
//! Storage knows no renaming: everything is added under its new name first, and taken away under the old one only when all
//! of that is done. So a renaming that breaks off loses nothing, and done again it goes on: what has arrived already is
//! recognised by its content.

use std::collections::HashMap;

use futures::{StreamExt as _, stream};

use crate::ftp::backend::Backend;
use crate::ftp::backend::change::deletion;
use crate::ftp::error::Failure;
use crate::ftp::path::{Directory, Entry, Place};
use crate::ftp::user::User;
use crate::storage::{
    BucketName, ContentHash, CopyObject, DeleteObjects, Deletion, EtagMatch, ObjectKey,
    ObjectSummary, ReadConditions, StorageError, WriteConditions,
};

/// The most files that may lie below a directory to be renamed.
const MAX_OBJECTS: usize = 10_000;

/// Copies under way at once; the stack joins them into few calls.
const COPIES_AT_ONCE: usize = 128;

/// The most deletions of one operation.
const DELETIONS_AT_ONCE: usize = 1000;

impl Backend {
    /// Renames a file or a directory, also into another bucket. A file takes the place of another one.
    ///
    /// Errors: 550 if there is nothing; if a directory would lie in itself, or replace something; for buckets; and for a
    /// directory of more than 10,000 files. 450 if a file was changed meanwhile: then it stays under its old name too.
    pub(super) async fn move_to(
        &self,
        user: &User,
        from: &Place,
        to: &Place,
    ) -> Result<(), Failure> {
        if self.is_root(user, from) || self.is_root(user, to) {
            return Err(Failure::not_available("the root directory keeps its name"));
        }
        let (Place::Entry(from), Place::Entry(to)) = (from, to) else {
            return Err(Failure::not_available("a bucket keeps its name"));
        };
        if from == to {
            let place = Place::Entry(from.clone());
            return self.stat(user, &place).await.map(|_| ());
        }
        if to.is_below(from) {
            return Err(Failure::not_available("nothing can be moved into itself"));
        }
        self.sight.forget();
        to.key()?;
        match self.file(user, from).await? {
            Some(info) => self.move_file(user, from, to, info.hash).await?,
            None => self.move_directory(user, from, to).await?,
        }
        self.keep(user, &from.parent()).await;
        Ok(())
    }

    async fn move_file(
        &self,
        user: &User,
        from: &Entry,
        to: &Entry,
        hash: ContentHash,
    ) -> Result<(), Failure> {
        if self.is_directory(user, &to.directory()).await? {
            return Err(Failure::not_available(
                "the new name is that of a directory",
            ));
        }
        let moved = Move {
            from: from.key()?,
            to: to.key()?,
            hash,
            has_arrived: false,
        };
        let copy = moved.copy(&from.bucket, &to.bucket);
        user.call(&self.gateway, copy).await?;
        let delete = deletion(&from.bucket, moved.from.clone(), moved.unchanged());
        match user.call(&self.gateway, delete).await {
            Ok(_) | Err(StorageError::NoSuchKey { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn move_directory(&self, user: &User, from: &Entry, to: &Entry) -> Result<(), Failure> {
        let (source, target) = (from.directory(), to.directory());
        let found = self.all_below(user, &source, MAX_OBJECTS).await?;
        if found.is_empty() {
            return Err(from.missing().into());
        }
        if from.is_below(to) {
            return Err(Failure::not_empty(
                "the new name is that of a directory above",
            ));
        }
        if self.file(user, to).await?.is_some() {
            return Err(Failure::not_available("the new name is that of a file"));
        }
        let standing = self.all_below(user, &target, MAX_OBJECTS).await?;
        let moves = plan((&source, &found), (&target, &standing))?;

        let copies = copies_of(&moves, &source.bucket, &target.bucket);
        let verdicts: Vec<_> = stream::iter(copies)
            .map(|copy| user.call(&self.gateway, copy))
            .buffer_unordered(COPIES_AT_ONCE)
            .collect()
            .await;
        // All of them have their verdicts before the first deletion leaves.
        for verdict in verdicts {
            verdict?;
        }
        for some in moves.chunks(DELETIONS_AT_ONCE) {
            self.delete_moved(user, &source.bucket, some).await?;
        }
        Ok(())
    }

    async fn delete_moved(
        &self,
        user: &User,
        bucket: &BucketName,
        moved: &[Move],
    ) -> Result<(), Failure> {
        let deletions = moved.iter().map(|one| Deletion {
            key: one.from.clone(),
            conditions: one.unchanged(),
        });
        let delete = DeleteObjects {
            bucket: bucket.clone(),
            deletions: deletions.collect(),
        };
        let deleted = user.call(&self.gateway, delete).await?;
        for verdict in deleted.verdicts {
            match verdict {
                Ok(()) | Err(StorageError::NoSuchKey { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// One object under its old and its new name.
#[derive(Debug)]
struct Move {
    from: ObjectKey,
    to: ObjectKey,
    hash: ContentHash,
    /// Whether an earlier attempt has brought it to its new name already.
    has_arrived: bool,
}

impl Move {
    fn same(&self) -> Option<EtagMatch> {
        Some(EtagMatch::Tags(vec![self.hash.etag()]))
    }

    /// Holds as long as the object is the one that was found.
    fn unchanged(&self) -> WriteConditions {
        WriteConditions {
            if_match: self.same(),
            ..WriteConditions::default()
        }
    }

    fn copy(&self, source_bucket: &BucketName, bucket: &BucketName) -> CopyObject {
        CopyObject {
            source_bucket: source_bucket.clone(),
            source_key: self.from.clone(),
            source_conditions: ReadConditions {
                if_match: self.same(),
                ..ReadConditions::default()
            },
            bucket: bucket.clone(),
            key: self.to.clone(),
            conditions: WriteConditions::default(),
            replace_metadata: None,
            replace_tags: None,
            mtime: None,
        }
    }
}

/// Returns the copies that are still to be made.
fn copies_of(moves: &[Move], source: &BucketName, target: &BucketName) -> Vec<CopyObject> {
    let missing = moves.iter().filter(|one| !one.has_arrived);
    missing.map(|one| one.copy(source, target)).collect()
}

/// Returns what is to be done for a directory, after a comparison with what stands under its new name: nothing but a
/// marker, or what an earlier attempt has left there. That is a part of the directory, as long as nothing was deleted, and
/// after that has the rest of it as a part.
///
/// Errors: 550 for anything else, and 553 for names that become too long.
fn plan(
    (source, found): (&Directory, &[ObjectSummary]),
    (target, standing): (&Directory, &[ObjectSummary]),
) -> Result<Vec<Move>, Failure> {
    let standing = standing
        .iter()
        .filter(|object| object.key != target.prefix)
        .map(|object| (&object.key[target.prefix.len()..], object.hash));
    let standing: HashMap<&str, ContentHash> = standing.collect();
    let mut moves = Vec::with_capacity(found.len());
    let (mut arrived, mut missing) = (0, 0);
    for object in found {
        let name = &object.key[source.prefix.len()..];
        let has_arrived = match standing.get(name) {
            Some(hash) if *hash == object.hash => true,
            Some(_) => return Err(is_taken()),
            None => false,
        };
        arrived += usize::from(has_arrived);
        missing += usize::from(!has_arrived && !name.is_empty());
        moves.push(Move {
            from: ObjectKey::new(&object.key)?,
            to: ObjectKey::new(&format!("{}{name}", target.prefix))?,
            hash: object.hash,
            has_arrived,
        });
    }
    let is_begun = arrived == standing.len();
    let is_nearly_done = missing == 0 && arrived > 0;
    if is_begun || is_nearly_done {
        Ok(moves)
    } else {
        Err(is_taken())
    }
}

fn is_taken() -> Failure {
    Failure::not_empty("the new name is that of a directory with other files in it")
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;

    fn directory(prefix: &str) -> Directory {
        Directory {
            bucket: BucketName::new("b").unwrap(),
            prefix: prefix.into(),
        }
    }

    /// Reads `name=content` words.
    fn objects(prefix: &str, words: &str) -> Vec<ObjectSummary> {
        let object = |word: &str| {
            let (name, content) = word.split_once('=').unwrap();
            ObjectSummary {
                key: format!("{prefix}{name}"),
                size: 1,
                hash: content.repeat(64).parse().unwrap(),
                last_modified: OffsetDateTime::UNIX_EPOCH,
                mtime: None,
            }
        };
        words.split_whitespace().map(object).collect()
    }

    /// Returns the names that are still to be added, and how many are to be deleted.
    fn planned(found: &str, standing: &str) -> Option<(String, usize)> {
        let (source, target) = (directory("old/"), directory("new/"));
        let found = objects(&source.prefix, found);
        let standing = objects(&target.prefix, standing);
        let moves = plan((&source, &found), (&target, &standing)).ok()?;
        let added = moves.iter().filter(|one| !one.has_arrived);
        let added: Vec<_> = added.map(|one| one.to.as_str()).collect();
        Some((added.join(" "), moves.len()))
    }

    #[test]
    fn a_directory_takes_a_free_name_or_that_of_an_empty_one() {
        let all = Some(("new/ new/a new/b/c".to_owned(), 3));
        assert_eq!(planned("=0 a=1 b/c=2", ""), all);
        assert_eq!(planned("=0 a=1 b/c=2", "=0"), all);
    }

    #[test]
    fn what_an_earlier_attempt_left_is_gone_on_with() {
        let rest = Some(("new/b".to_owned(), 2));
        assert_eq!(planned("a=1 b=2", "a=1"), rest);
        assert_eq!(planned("a=1 b=2", "a=1 b=2"), Some((String::new(), 2)));
        assert_eq!(planned("b=2", "a=1 b=2"), Some((String::new(), 1)));
        assert_eq!(planned("=0 b=2", "a=1 b=2"), Some(("new/".into(), 2)));
    }

    #[test]
    fn other_files_are_neither_replaced_nor_joined() {
        for (found, standing) in [
            ("a=1", "a=2"),
            ("a=1", "b=1"),
            ("a=1 b=2", "a=1 c=3"),
            ("=0", "a=1"),
        ] {
            assert_eq!(planned(found, standing), None, "{found} {standing}");
        }
    }

    #[test]
    fn a_name_that_becomes_too_long_is_found_out_first() {
        let (source, target) = (
            directory("o/"),
            directory(&format!("{}/", "n".repeat(1000))),
        );
        let found = objects(&source.prefix, &format!("a=1 {}=2", "x".repeat(50)));
        let refused = plan((&source, &found), (&target, &[])).unwrap_err();
        assert_eq!(refused.refusal().code, 553);
    }
}
