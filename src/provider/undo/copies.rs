//! Finding copies.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use crate::provider::HfProvider;
use crate::provider::hub::FileRecord;
use crate::provider::undo::place;
use crate::storage::{BucketId, ObjectKey, StorageError, Tenant};

/// Copies looked at in one listing at most, some 500 bytes each.
const MAX_COPIES: usize = 200_000;

/// Whose copies are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopiesOf {
    /// Those of one key.
    Key(ObjectKey),
    /// Those of all keys that begin with this text; empty for the whole bucket. Keys of more than about 930 bytes are not
    /// among them: they are found by their whole name only.
    Prefix(String),
}

/// What stood under a key until it was overwritten or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptCopy {
    /// The key.
    pub key: ObjectKey,
    /// When the content was written, by the Hub's clock.
    pub written_at: OffsetDateTime,
    /// Its content: hash, size, modification time, content type; `uploaded_at` is when it was replaced.
    pub content: FileRecord,
    /// The sidecar that lay beside it.
    pub sidecar: Option<FileRecord>,
}

impl KeptCopy {
    /// Returns when it was replaced, by the Hub's clock.
    pub fn replaced_at(&self) -> OffsetDateTime {
        self.content.uploaded_at
    }

    /// Returns until when it is kept; `None` for ever.
    pub fn expires_at(&self) -> Option<OffsetDateTime> {
        place::expiry_of(&self.content)
    }
}

impl HfProvider {
    /// Lists copies, by key and then from the oldest to the newest: a call for 5,000 files.
    ///
    /// Errors: `NoSuchBucket`; `Unavailable` for more than 200,000.
    pub async fn kept_copies(
        &self,
        tenant: &Tenant,
        bucket: &BucketId,
        of: &CopiesOf,
    ) -> Result<Vec<KeptCopy>, StorageError> {
        let prefix = match of {
            CopiesOf::Key(key) => place::of_key(key),
            CopiesOf::Prefix(prefix) => place::under(prefix),
        };
        let mut files = Vec::new();
        self.scan(tenant, bucket, prefix, |file| {
            files.push(file);
            if files.len() > 2 * MAX_COPIES {
                return Err(StorageError::Unavailable {
                    service: "hub",
                    reason: format!("more than {MAX_COPIES} copies lie here: name a directory"),
                    is_safe_to_retry: false,
                });
            }
            Ok(())
        })
        .await?;
        Ok(copies(files, of))
    }
}

/// Puts files together. Of copies that were made twice of one content, because the first write of the two never landed, the
/// newest counts.
fn copies(files: Vec<FileRecord>, of: &CopiesOf) -> Vec<KeptCopy> {
    let mut by_place: BTreeMap<String, (Option<FileRecord>, Option<FileRecord>)> = BTreeMap::new();
    for file in files {
        let Some(parsed) = place::parse(&file.path) else {
            continue;
        };
        let slot = by_place.entry(parsed.directory.to_owned()).or_default();
        match parsed.is_sidecar {
            false => slot.0 = Some(file),
            true => slot.1 = Some(file),
        }
    }
    let mut by_age: BTreeMap<_, KeptCopy> = BTreeMap::new();
    for (content, sidecar) in by_place.into_values() {
        // A sidecar without content is the rest of a copy that is being removed.
        let Some(copy) = content.and_then(|content| copy(content, sidecar, of)) else {
            continue;
        };
        let age = (
            copy.key.as_str().to_owned(),
            copy.written_at,
            copy.content.hash,
        );
        let earlier = by_age.get(&age);
        if earlier.is_none_or(|earlier| earlier.replaced_at() <= copy.replaced_at()) {
            by_age.insert(age, copy);
        }
    }
    by_age.into_values().collect()
}

fn copy(content: FileRecord, sidecar: Option<FileRecord>, of: &CopiesOf) -> Option<KeptCopy> {
    let parsed = place::parse(&content.path)?;
    let key = match of {
        CopiesOf::Key(key) if place::is_owner(parsed.owner, key) => key.clone(),
        CopiesOf::Key(_) => return None,
        CopiesOf::Prefix(_) => ObjectKey::new(parsed.owner).ok()?,
    };
    Some(KeptCopy {
        key,
        written_at: parsed.written_at,
        content,
        sidecar,
    })
}

/// Returns the copy of one key's that stood at a moment, or, without a moment, the one that was replaced last.
pub fn copy_at(copies: &[KeptCopy], at: Option<OffsetDateTime>) -> Option<&KeptCopy> {
    match at {
        None => copies.iter().max_by_key(|copy| copy.replaced_at()),
        Some(at) => copies
            .iter()
            .filter(|copy| copy.written_at <= at && at < copy.replaced_at())
            .max_by_key(|copy| copy.written_at),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use time::macros::datetime;

    use super::*;
    use crate::provider::undo::lines_that_keep;
    use crate::storage::ContentHash;

    const DAY: OffsetDateTime = datetime!(2026-01-02 00:00 UTC);

    fn hours(hours: i64) -> OffsetDateTime {
        DAY + time::Duration::hours(hours)
    }

    fn record(path: &str, uploaded_at: OffsetDateTime) -> FileRecord {
        FileRecord {
            path: path.into(),
            size: 1,
            hash: ContentHash::EMPTY,
            mtime: None,
            uploaded_at,
            content_type: None,
        }
    }

    /// The files of a copy of what was written and replaced at these hours.
    fn kept(key: &str, written: i64, replaced: i64, has_sidecar: bool) -> Vec<FileRecord> {
        let (object, beside) = (record(key, hours(written)), record("s", hours(written)));
        let beside = has_sidecar.then_some(&beside);
        let key = ObjectKey::new(key).unwrap();
        let lines = lines_that_keep(&key, &object, beside, Duration::from_secs(3600));
        let lines = lines.iter();
        lines
            .map(|line| record(line.path(), hours(replaced)))
            .collect()
    }

    fn shown(files: &[Vec<FileRecord>], of: &CopiesOf) -> Vec<(String, i64, bool)> {
        let found = copies(files.concat(), of).into_iter();
        found
            .map(|copy| {
                let written = (copy.written_at - DAY).whole_hours();
                (copy.key.to_string(), written, copy.sidecar.is_some())
            })
            .collect()
    }

    #[test]
    fn copies_are_found_by_key_and_by_prefix() {
        let files = [
            kept("d/b", 3, 4, true),
            kept("d/a", 5, 6, false),
            kept("d/a", 1, 5, false),
            kept("d/a/below", 1, 2, false),
        ];
        let below = ("d/a/below".to_owned(), 1, false);
        let (a1, a5) = (("d/a".to_owned(), 1, false), ("d/a".to_owned(), 5, false));
        let all = [a1.clone(), a5.clone(), below, ("d/b".to_owned(), 3, true)];
        assert_eq!(shown(&files, &CopiesOf::Prefix("d/".into())), all);
        let key = CopiesOf::Key(ObjectKey::new("d/a").unwrap());
        assert_eq!(shown(&files, &key), [a1, a5]);
    }

    #[test]
    fn what_was_kept_twice_or_is_half_gone_shows_once_or_not_at_all() {
        let mut half = kept("k", 7, 8, true);
        half.remove(0);
        let files = [kept("k", 1, 2, false), kept("k", 1, 3, true), half];
        let of = CopiesOf::Prefix(String::new());
        assert_eq!(shown(&files, &of), [("k".to_owned(), 1, true)]);
        assert_eq!(copies(files.concat(), &of)[0].replaced_at(), hours(3));
    }

    #[test]
    fn a_moment_names_what_stood_then() {
        let files = [kept("k", 1, 3, false), kept("k", 3, 6, false)].concat();
        let copies = copies(files, &CopiesOf::Prefix(String::new()));
        let at = |hour: Option<i64>| {
            let copy = copy_at(&copies, hour.map(hours))?;
            Some((copy.written_at - DAY).whole_hours())
        };
        assert_eq!(
            (at(None), at(Some(2)), at(Some(3))),
            (Some(3), Some(1), Some(3))
        );
        assert_eq!((at(Some(0)), at(Some(6))), (None, None));
        assert_eq!(copy_at(&[], None), None);
    }
}
