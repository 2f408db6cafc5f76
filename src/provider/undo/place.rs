//! Where copies lie, and what their paths tell.

use std::time::Duration;

use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::provider::hub::{BatchLine, FileRecord};
use crate::storage::ObjectKey;
use crate::storage::name::{HIDDEN_PREFIX, MAX_KEY_BYTES};

/// Bytes that a stamp and the file's name take at most, slashes included.
const TAIL_BYTES: usize = 64;

/// Where a copy lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The path of both files up to their own names.
    directory: String,
}

/// What the path of a copy's file tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parsed<'p> {
    /// The path up to the file's own name, with its slash.
    pub(super) directory: &'p str,
    /// What stands for the key: the key, or the hash of one that is too long.
    pub(super) owner: &'p str,
    /// When the content was registered under its key.
    pub(super) written_at: OffsetDateTime,
    /// How long it is kept.
    pub(super) period: Duration,
    pub(super) is_sidecar: bool,
}

/// The prefix of all copies.
pub(super) fn all() -> String {
    format!("{HIDDEN_PREFIX}undo/")
}

/// The prefix of the copies of keys that begin with a text.
pub(super) fn under(key_prefix: &str) -> String {
    format!("{HIDDEN_PREFIX}undo/keys/{key_prefix}")
}

/// The prefix of the copies of a key; those of keys below it may lie there too.
pub(super) fn of_key(key: &ObjectKey) -> String {
    let place = under(key.as_str());
    if place.len() + TAIL_BYTES <= MAX_KEY_BYTES {
        return format!("{place}/");
    }
    format!("{HIDDEN_PREFIX}undo/long/{}/", digest(key))
}

/// Reports whether what a path names as owner is this key.
pub(super) fn is_owner(owner: &str, key: &ObjectKey) -> bool {
    owner == key.as_str() || owner == digest(key)
}

fn digest(key: &ObjectKey) -> String {
    hex::encode(Sha256::digest(key.as_str().as_bytes()))
}

impl Place {
    /// Returns a place that no other copy has.
    fn new(key: &ObjectKey, written_at: OffsetDateTime, period: Duration) -> Self {
        let millis = written_at.unix_timestamp() * 1000 + i64::from(written_at.millisecond());
        let (prefix, secs) = (of_key(key), period.as_secs());
        let nonce: u32 = rand::random();
        Self {
            directory: format!("{prefix}{:013}-{secs}-{nonce:08x}/", millis.max(0)),
        }
    }

    fn content(&self) -> String {
        format!("{}content", self.directory)
    }

    fn sidecar(&self) -> String {
        format!("{}sidecar", self.directory)
    }
}

/// Reads a path; `None` if it is none of a copy.
pub(super) fn parse(path: &str) -> Option<Parsed<'_>> {
    let place = path.strip_prefix(HIDDEN_PREFIX)?.strip_prefix("undo/")?;
    let place = place
        .strip_prefix("keys/")
        .or_else(|| place.strip_prefix("long/"))?;
    let (rest, name) = place.rsplit_once('/')?;
    let (owner, stamp) = rest.rsplit_once('/')?;
    let mut fields = stamp.splitn(3, '-');
    let millis: i64 = fields.next()?.parse().ok()?;
    let secs: u64 = fields.next()?.parse().ok()?;
    fields.next()?;
    Some(Parsed {
        directory: &path[..path.len() - name.len()],
        owner,
        written_at: OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000)
            .ok()?,
        period: Duration::from_secs(secs),
        is_sidecar: match name {
            "content" => false,
            "sidecar" => true,
            _ => return None,
        },
    })
}

/// Reports whether a file belongs to a copy.
pub(in crate::provider) fn is_copy(path: &str) -> bool {
    parse(path).is_some()
}

/// Returns when a file of a copy has been kept long enough; `None` if it is none of a copy, or is kept for ever.
pub(in crate::provider) fn expiry_of(file: &FileRecord) -> Option<OffsetDateTime> {
    let period = parse(&file.path)?.period;
    file.uploaded_at.checked_add(period.try_into().ok()?)
}

/// Returns the lines that keep what stands under a key; none for a directory marker.
pub(in crate::provider) fn lines_that_keep(
    key: &ObjectKey,
    object: &FileRecord,
    sidecar: Option<&FileRecord>,
    period: Duration,
) -> Vec<BatchLine> {
    if key.is_marker() {
        return Vec::new();
    }
    let place = Place::new(key, object.uploaded_at, period);
    let again = |path: String, file: &FileRecord| BatchLine::AddFile {
        path,
        hash: file.hash,
        mtime: file.mtime,
        content_type: file.content_type.clone(),
    };
    let content = again(place.content(), object);
    let sidecar = sidecar.map(|sidecar| again(place.sidecar(), sidecar));
    [Some(content), sidecar].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::storage::ContentHash;

    const WRITTEN: OffsetDateTime = datetime!(2026-01-02 03:04:05.678 UTC);
    const HOUR: Duration = Duration::from_secs(3600);

    fn key(text: &str) -> ObjectKey {
        ObjectKey::new(text).unwrap()
    }

    fn file(path: &str) -> FileRecord {
        FileRecord {
            path: path.into(),
            size: 3,
            hash: ContentHash::EMPTY,
            mtime: Some(datetime!(2025-01-01 00:00 UTC)),
            uploaded_at: WRITTEN,
            content_type: Some("a/b".into()),
        }
    }

    #[test]
    fn a_copy_says_whose_it_is_since_when_and_until_when() {
        let odd = "a/0000000000001-1-00000000/content";
        for text in ["k", "d/e f/ü", odd, ".hugbucketx"] {
            let lines = lines_that_keep(&key(text), &file(text), Some(&file("s")), HOUR);
            let [content, sidecar] = &lines[..] else {
                panic!("{lines:?}")
            };
            for (line, is_sidecar) in [(content, false), (sidecar, true)] {
                let parsed = parse(line.path()).unwrap();
                assert_eq!((parsed.owner, parsed.is_sidecar), (text, is_sidecar));
                assert_eq!((parsed.written_at, parsed.period), (WRITTEN, HOUR));
                assert!(line.path().starts_with(&of_key(&key(text))));
            }
            let kept = file(content.path());
            assert_eq!(expiry_of(&kept), Some(WRITTEN + HOUR));
        }
        assert_eq!(expiry_of(&file(".hugbucket/meta/12/34")), None);
        assert_eq!(parse(".hugbucket/undo/keys/k/1-2-3/other"), None);
        assert_eq!(parse("undo/keys/k/1-2-3/content"), None);
    }

    #[test]
    fn no_two_copies_share_a_place_and_markers_have_none() {
        let path = || {
            lines_that_keep(&key("k"), &file("k"), None, HOUR)[0]
                .path()
                .to_owned()
        };
        assert_ne!(path(), path());
        assert!(lines_that_keep(&key("d/"), &file("d/.hugbucket_keep"), None, HOUR).is_empty());
    }

    #[test]
    fn the_longest_keys_have_places_too() {
        for len in [900, 950, 960, 1024] {
            let key = key(&"k".repeat(len));
            let longest = Duration::from_secs(u64::from(u32::MAX));
            let lines = lines_that_keep(&key, &file("k"), Some(&file("s")), longest);
            for line in &lines {
                assert!(line.path().len() <= MAX_KEY_BYTES, "{len}");
                assert!(is_owner(parse(line.path()).unwrap().owner, &key));
                assert!(line.path().starts_with(&of_key(&key)));
            }
        }
        assert!(!is_owner("k", &key("kk")));
    }
}
