//! Metadata that the Hub has no field for, in a small file beside the object.
//!
//! The Hub keeps an object's content type and modification time. Everything else a writer attaches (user metadata,
//! Cache-Control, and so on) goes into a sidecar under the hidden prefix, registered in the same batch as the object and
//! bound to the content hash **and** the modification time that this batch wrote. A sidecar whose binding differs belongs to
//! content that was since replaced past this gateway, and is ignored.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};

use crate::storage::name::HIDDEN_PREFIX;
use crate::storage::{ContentHash, ObjectChecksum, ObjectKey, ObjectMetadata, StorageError};

/// The largest sidecar that is read: S3 allows 2 KiB of user metadata, headers are bounded by the adapter, and 10,000 parts
/// of different sizes take some 150 KiB.
pub const MAX_SIDECAR_BYTES: usize = 256 << 10;

/// The content type of a sidecar that holds nothing but the sizes of parts, so that readers who want no part need not open
/// it. A Hub that forgets it costs them a look, and nothing else.
pub const PARTS_ONLY: &str = "application/x-hugbucket-parts";

/// The user metadata entry in which rclone and others keep a file's own modification time, in seconds.
const MTIME_ENTRY: &str = "mtime";

/// Returns the path of the sidecar of a key: named by a hash, because a key of 1,024 bytes does not fit into a hidden path.
pub fn path(key: &ObjectKey) -> String {
    let digest = hex::encode(Sha256::digest(key.as_str().as_bytes()));
    let (shard, rest) = digest.split_at(2);
    format!("{HIDDEN_PREFIX}meta/{shard}/{rest}")
}

/// What is attached to an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// Headers and user metadata.
    pub metadata: ObjectMetadata,
    /// The checksum to keep. It is one of the content that the sidecar is bound to, so it is never a stale one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<ObjectChecksum>,
    /// Sizes of the parts that the object was uploaded in; empty for one that was uploaded whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "runs")]
    pub part_sizes: Vec<u64>,
}

impl Attached {
    /// Reports whether it holds anything that the Hub has no field for, and that every reader wants to know.
    pub fn needs_sidecar(&self) -> bool {
        let native = ObjectMetadata {
            content_type: self.metadata.content_type.clone(),
            ..ObjectMetadata::default()
        };
        self.metadata != native || self.checksum.is_some()
    }
}

/// Part sizes as pairs of a size and the number of parts in a row that have it: hardly more than one pair for most objects.
mod runs {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// The most parts of an object.
    const MAX_PARTS: u64 = 10_000;

    pub(super) fn serialize<S: Serializer>(sizes: &[u64], to: S) -> Result<S::Ok, S::Error> {
        let runs = sizes.chunk_by(|one, next| one == next);
        let runs: Vec<(u64, usize)> = runs.map(|run| (run[0], run.len())).collect();
        runs.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u64>, D::Error> {
        let runs: Vec<(u64, u32)> = Vec::deserialize(from)?;
        let count: u64 = runs.iter().map(|(_, times)| u64::from(*times)).sum();
        if count > MAX_PARTS {
            return Err(D::Error::custom("too many parts"));
        }
        let sizes = runs
            .into_iter()
            .flat_map(|(size, times)| std::iter::repeat_n(size, times as usize));
        Ok(sizes.collect())
    }
}

/// The content of a sidecar file.
#[derive(Debug, Serialize, Deserialize)]
struct Document {
    version: u32,
    /// Content hash of the object.
    hash: String,
    /// The object's `mtime`, milliseconds since 1970.
    mtime_ms: i64,
    #[serde(flatten)]
    attached: Attached,
}

/// Returns the bytes of a sidecar bound to a content hash and a modification time.
pub fn encode(attached: Attached, hash: &ContentHash, mtime: OffsetDateTime) -> Bytes {
    let document = Document {
        version: 1,
        hash: hash.to_string(),
        mtime_ms: millis(mtime),
        attached,
    };
    serde_json::to_vec(&document)
        .expect("strings and numbers serialise")
        .into()
}

/// Returns what a sidecar attaches, or `None` if it is malformed or bound to other content.
pub fn decode(bytes: &[u8], hash: &ContentHash, mtime: Option<OffsetDateTime>) -> Option<Attached> {
    let document: Document = serde_json::from_slice(bytes).ok()?;
    let is_bound = document.version == 1
        && document.hash == hash.as_str()
        && mtime.is_some_and(|mtime| millis(mtime) == document.mtime_ms);
    is_bound.then_some(document.attached)
}

/// Returns the modification time to register, in whole milliseconds: the client's own, if its metadata names one, else
/// `now`.
pub fn mtime(metadata: &ObjectMetadata, now: OffsetDateTime) -> OffsetDateTime {
    let named = metadata
        .user
        .get(MTIME_ENTRY)
        .and_then(|text| parse_seconds(text));
    named.unwrap_or_else(|| now.replace_millisecond(now.millisecond()).unwrap_or(now))
}

/// Returns the metadata without the modification time that it may name, for content that was changed since.
pub fn without_mtime(mut metadata: ObjectMetadata) -> ObjectMetadata {
    metadata.user.remove(MTIME_ENTRY);
    metadata
}

/// Returns the metadata, and the modification time in whole milliseconds, of an object that is given this one. If its
/// metadata names another, that follows.
///
/// Errors: [`StorageError::InvalidArgument`] for times that the Hub's clients take for a mistake.
pub fn touched(
    mut metadata: ObjectMetadata,
    mtime: OffsetDateTime,
) -> Result<(ObjectMetadata, OffsetDateTime), StorageError> {
    if !(YEAR_2001..YEAR_10000).contains(&mtime.unix_timestamp()) {
        return Err(StorageError::InvalidArgument {
            name: "mtime",
            reason: "a modification time lies in 2001 or later".into(),
        });
    }
    let mtime = mtime
        .replace_millisecond(mtime.millisecond())
        .unwrap_or(mtime);
    if let Some(entry) = metadata.user.get_mut(MTIME_ENTRY) {
        let (seconds, millis) = (mtime.unix_timestamp(), mtime.millisecond());
        *entry = format!("{seconds}.{millis:03}");
    }
    Ok((metadata, mtime))
}

/// Returns a time as whole milliseconds since 1970.
fn millis(time: OffsetDateTime) -> i64 {
    time.unix_timestamp() * 1000 + i64::from(time.millisecond())
}

/// Seconds from 1970 to the first modification time that counts: the Hub's other clients take earlier ones for a mistake
/// in the unit.
const YEAR_2001: i64 = 978_307_200;

/// Seconds from 1970 to the first modification time that has no date of four digits.
const YEAR_10000: i64 = 253_402_300_800;

/// Parses `1700000000` or `1700000000.123456789`, truncating to milliseconds.
fn parse_seconds(text: &str) -> Option<OffsetDateTime> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = !whole.is_empty()
        && whole.len() <= 12
        && whole
            .bytes()
            .chain(fraction.bytes())
            .all(|digit| digit.is_ascii_digit());
    if !is_number {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let millis: i64 = format!("{fraction:0<3}")[..3].parse().ok()?;
    let whole = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    (YEAR_2001..YEAR_10000)
        .contains(&seconds)
        .then(|| whole + Duration::milliseconds(millis))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn with_user(name: &str, value: &str) -> ObjectMetadata {
        ObjectMetadata {
            user: [(name.to_owned(), value.to_owned())].into(),
            ..ObjectMetadata::default()
        }
    }

    fn attached(metadata: ObjectMetadata) -> Attached {
        Attached {
            metadata,
            ..Attached::default()
        }
    }

    #[test]
    fn only_what_the_hub_cannot_hold_needs_a_sidecar() {
        let is_needed = |metadata| attached(metadata).needs_sidecar();
        assert!(!is_needed(ObjectMetadata::default()));
        assert!(!is_needed(ObjectMetadata {
            content_type: Some("text/plain".into()),
            ..ObjectMetadata::default()
        }));
        assert!(is_needed(ObjectMetadata {
            cache_control: Some("no-store".into()),
            ..ObjectMetadata::default()
        }));
        assert!(is_needed(with_user("a", "b")));
        let checksum = Attached {
            checksum: Some("crc32-cbf43926".parse().unwrap()),
            ..Attached::default()
        };
        assert!(checksum.needs_sidecar());
    }

    #[test]
    fn a_sidecar_is_bound_to_hash_and_time() {
        let hash: ContentHash = HASH.parse().unwrap();
        let mtime = datetime!(2026-01-02 03:04:05.678 UTC);
        let written = Attached {
            metadata: with_user("a", "ü"),
            checksum: Some("crc32-cbf43926-2".parse().unwrap()),
            part_sizes: vec![5, 5, 7],
        };
        let bytes = encode(written.clone(), &hash, mtime);
        assert_eq!(decode(&bytes, &hash, Some(mtime)), Some(written));
        assert_eq!(decode(&bytes, &ContentHash::EMPTY, Some(mtime)), None);
        assert_eq!(
            decode(&bytes, &hash, Some(mtime + Duration::milliseconds(1))),
            None
        );
        assert_eq!(decode(&bytes, &hash, None), None);
        assert_eq!(decode(b"{}", &hash, Some(mtime)), None);
    }

    #[test]
    fn a_sidecar_without_a_checksum_is_read_and_one_with_a_malformed_checksum_is_not() {
        let mtime = datetime!(2026-01-02 03:04:05.678 UTC);
        let read = |checksum: &str| {
            let document = format!(
                r#"{{"version":1,"hash":"{HASH}","mtime_ms":{},"metadata":{{}}{checksum}}}"#,
                millis(mtime)
            );
            decode(document.as_bytes(), &HASH.parse().unwrap(), Some(mtime))
        };
        assert_eq!(read(""), Some(Attached::default()));
        assert!(read(r#","checksum":"crc32-cbf43926""#).is_some());
        assert_eq!(read(r#","checksum":"crc32-cbf439""#), None);
    }

    #[test]
    fn part_sizes_come_back_as_they_were() {
        let hash: ContentHash = HASH.parse().unwrap();
        let mtime = datetime!(2026-01-02 03:04:05.678 UTC);
        let read = |sizes: &[u64]| {
            let written = Attached {
                part_sizes: sizes.to_vec(),
                ..Attached::default()
            };
            let bytes = encode(written, &hash, mtime);
            decode(&bytes, &hash, Some(mtime)).map(|attached| attached.part_sizes)
        };
        for sizes in [&[][..], &[0], &[5, 5, 7, 5], &[u64::MAX], &[1; 10_000]] {
            assert_eq!(read(sizes).as_deref(), Some(sizes));
        }
        assert_eq!(read(&[1; 10_001]), None);
    }

    #[test]
    fn the_largest_sidecar_can_be_read() {
        let written = Attached {
            metadata: with_user("a", &"b".repeat(2048)),
            part_sizes: (0..10_000).map(|n| (5 << 30) - (n % 2)).collect(),
            ..Attached::default()
        };
        let bytes = encode(written, &ContentHash::EMPTY, OffsetDateTime::now_utc());
        assert!(bytes.len() < MAX_SIDECAR_BYTES, "{}", bytes.len());
    }

    #[test]
    fn the_client_s_modification_time_counts() {
        let now = datetime!(2026-01-02 03:04:05.678_9 UTC);
        let of = |text: &str| millis(mtime(&with_user("mtime", text), now));
        assert_eq!(
            mtime(&ObjectMetadata::default(), now),
            datetime!(2026-01-02 03:04:05.678 UTC)
        );
        assert_eq!(of("1700000000.123999999"), 1_700_000_000_123);
        assert_eq!(of("1700000000.5"), 1_700_000_000_500);
        assert_eq!(of("1700000000"), 1_700_000_000_000);
        for odd in ["", "x", "-5", "1700000000.1e3", "17", "99999999999999"] {
            assert_eq!(of(odd), millis(now), "{odd}");
        }
    }

    #[test]
    fn a_touched_object_tells_one_time_everywhere() {
        let at = datetime!(2024-05-06 07:08:09.123_456 UTC);
        let (metadata, mtime) = touched(with_user("mtime", "1700000000.5"), at).unwrap();
        assert_eq!(mtime, datetime!(2024-05-06 07:08:09.123 UTC));
        assert_eq!(metadata.user["mtime"], "1714979289.123");
        assert_eq!(super::mtime(&metadata, at), mtime);
        let (metadata, _) = touched(ObjectMetadata::default(), at).unwrap();
        assert!(metadata.user.is_empty(), "nothing is added");
        for odd in [
            datetime!(2000-12-31 23:59:59 UTC),
            datetime!(1970-01-01 0:00 UTC),
        ] {
            let refused = touched(ObjectMetadata::default(), odd).unwrap_err();
            assert_eq!(refused.outcome(), "invalid_argument");
        }
        assert!(without_mtime(with_user("mtime", "1")).user.is_empty());
    }

    #[test]
    fn the_path_is_short_and_hidden_whatever_the_key() {
        let key = ObjectKey::new(&"k".repeat(1024)).unwrap();
        assert!(path(&key).starts_with(".hugbucket/meta/"));
        assert_eq!(path(&key).len(), ".hugbucket/meta/".len() + 65);
    }
}
