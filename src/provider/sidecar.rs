//! Metadata that the Hub has no field for, in a small file beside the object.
//!
//! The Hub keeps an object's content type and modification time. Everything else a writer attaches (user metadata,
//! Cache-Control, tags, and so on) goes into a sidecar under the hidden prefix, registered in the same batch as the object and
//! bound to the content hash **and** the modification time that this batch wrote. A sidecar whose binding differs belongs to
//! content that was since replaced past this gateway, and is ignored.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};

use crate::provider::hub::FileRecord;
use crate::storage::name::HIDDEN_PREFIX;
use crate::storage::{
    ContentHash, ObjectChecksum, ObjectInfo, ObjectKey, ObjectMetadata, ObjectParts, StorageError,
};

/// The largest sidecar that is read: S3 allows 2 KiB of user metadata and ten tags, headers are bounded by the adapter, and
/// 10,000 parts of different sizes, each with a SHA-256, take some 600 KiB.
pub const MAX_SIDECAR_BYTES: usize = 1 << 20;

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

/// Reports whether a file of a bucket is a sidecar.
pub fn is_path(path: &str) -> bool {
    let own = path.strip_prefix(HIDDEN_PREFIX);
    own.is_some_and(|own| own.starts_with("meta/"))
}

/// What a sidecar is bound to: one content, written at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Content hash of the object.
    hash: String,
    /// The object's `mtime`, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mtime_ms: Option<i64>,
    /// When the object was registered, if its writer gave it no `mtime`: another client's, for ours always do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uploaded_ms: Option<i64>,
}

impl Binding {
    /// Binds to content that is being written with this `mtime`.
    pub fn of_write(hash: &ContentHash, mtime: OffsetDateTime) -> Self {
        Self::new(hash, Some(mtime), mtime)
    }

    /// Binds to an object as the Hub knows it.
    pub fn of_record(object: &FileRecord) -> Self {
        Self::new(&object.hash, object.mtime, object.uploaded_at)
    }

    /// Binds to an object as a look-up has found it.
    pub fn of_info(info: &ObjectInfo) -> Self {
        Self::new(&info.hash, info.mtime, info.last_modified)
    }

    fn new(hash: &ContentHash, mtime: Option<OffsetDateTime>, uploaded_at: OffsetDateTime) -> Self {
        Self {
            hash: hash.to_string(),
            mtime_ms: mtime.map(millis),
            uploaded_ms: mtime.is_none().then(|| millis(uploaded_at)),
        }
    }
}

/// What is attached to an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// Headers, user metadata, and tags.
    pub metadata: ObjectMetadata,
    /// The checksum to keep. It is one of the content that the sidecar is bound to, so it is never a stale one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<ObjectChecksum>,
    /// The parts that the object was uploaded in; none for one that was uploaded whole.
    #[serde(flatten)]
    pub parts: ObjectParts,
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

    /// Reports whether it tells nothing but parts, given the content type that the Hub keeps with the object.
    pub fn tells_only_parts(&self, native_type: Option<&str>) -> bool {
        let own_type = self.metadata.content_type.as_deref();
        !self.needs_sidecar() && (own_type.is_none() || own_type == native_type)
    }

    /// Returns the content type of its file, which tells readers who want no part that they need not open it.
    pub fn file_type(&self, native_type: Option<&str>) -> Option<String> {
        self.tells_only_parts(native_type)
            .then(|| PARTS_ONLY.to_owned())
    }
}

/// The content of a sidecar file.
#[derive(Debug, Serialize, Deserialize)]
struct Document {
    version: u32,
    #[serde(flatten)]
    binding: Binding,
    #[serde(flatten)]
    attached: Attached,
}

/// Returns the bytes of a sidecar.
pub fn encode(attached: Attached, binding: Binding) -> Bytes {
    let document = Document {
        version: 1,
        binding,
        attached,
    };
    serde_json::to_vec(&document)
        .expect("strings and numbers serialise, and parts have one algorithm")
        .into()
}

/// Returns what a sidecar attaches, or `None` if it is malformed or bound to other content.
pub fn decode(bytes: &[u8], binding: &Binding) -> Option<Attached> {
    let document: Document = serde_json::from_slice(bytes).ok()?;
    let is_bound = document.version == 1 && document.binding == *binding;
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
    use crate::storage::Tags;

    const NOW: OffsetDateTime = datetime!(2026-01-02 03:04:05.678 UTC);
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

    fn hash() -> ContentHash {
        HASH.parse().unwrap()
    }

    #[test]
    fn a_sidecar_is_bound_to_hash_and_time() {
        let mtime = datetime!(2026-01-02 03:04:05.678 UTC);
        let written = Attached {
            metadata: with_user("a", "ü"),
            checksum: Some("crc32-cbf43926-2".parse().unwrap()),
            parts: ObjectParts {
                sizes: vec![5, 5, 7],
                ..ObjectParts::default()
            },
        };
        let bytes = encode(written.clone(), Binding::of_write(&hash(), mtime));
        let read = |hash: &ContentHash, mtime| decode(&bytes, &Binding::new(hash, mtime, NOW));
        assert_eq!(read(&hash(), Some(mtime)), Some(written));
        assert_eq!(read(&ContentHash::EMPTY, Some(mtime)), None);
        let later = mtime + Duration::milliseconds(1);
        assert_eq!(read(&hash(), Some(later)), None);
        assert_eq!(read(&hash(), None), None);
        assert_eq!(decode(b"{}", &Binding::of_write(&hash(), mtime)), None);
    }

    #[test]
    fn without_a_modification_time_the_registration_binds() {
        let bytes = encode(
            attached(with_user("a", "b")),
            Binding::new(&hash(), None, NOW),
        );
        let read = |mtime, uploaded_at| decode(&bytes, &Binding::new(&hash(), mtime, uploaded_at));
        assert!(read(None, NOW).is_some());
        assert!(read(None, NOW + Duration::milliseconds(1)).is_none());
        assert!(read(Some(NOW), NOW).is_none());
    }

    #[test]
    fn a_sidecar_without_a_checksum_is_read_and_one_with_a_malformed_checksum_is_not() {
        let read = |checksum: &str| {
            let document = format!(
                r#"{{"version":1,"hash":"{HASH}","mtime_ms":{},"metadata":{{}}{checksum}}}"#,
                millis(NOW)
            );
            decode(document.as_bytes(), &Binding::of_write(&hash(), NOW))
        };
        assert_eq!(read(""), Some(Attached::default()));
        assert!(read(r#","checksum":"crc32-cbf43926""#).is_some());
        assert_eq!(read(r#","checksum":"crc32-cbf439""#), None);
    }

    #[test]
    fn only_parts_make_a_file_for_readers_of_parts() {
        let parts = Attached {
            parts: ObjectParts {
                sizes: vec![5],
                ..ObjectParts::default()
            },
            ..Attached::default()
        };
        assert_eq!(parts.file_type(None).as_deref(), Some(PARTS_ONLY));
        let tagged = ObjectMetadata {
            tags: Tags::new([("a".to_owned(), "b".to_owned())]).unwrap(),
            ..ObjectMetadata::default()
        };
        assert_eq!(attached(tagged).file_type(None), None);
        let typed = attached(ObjectMetadata {
            content_type: Some("a/b".into()),
            ..ObjectMetadata::default()
        });
        assert!(typed.tells_only_parts(Some("a/b")));
        assert!(!typed.tells_only_parts(None) && !typed.tells_only_parts(Some("c/d")));
    }

    #[test]
    fn the_largest_sidecar_can_be_read() {
        let checksum: crate::storage::Checksum =
            format!("sha256-{}", "ab".repeat(32)).parse().unwrap();
        let longest = |n: u32| (format!("{n}{}", "ü".repeat(127)), "日".repeat(256));
        let written = Attached {
            metadata: ObjectMetadata {
                tags: Tags::new((0..10).map(longest)).unwrap(),
                ..with_user("a", &"b".repeat(2048))
            },
            parts: ObjectParts {
                sizes: (0..10_000).map(|n| (5 << 30) - (n % 2)).collect(),
                checksums: vec![checksum; 10_000],
            },
            ..Attached::default()
        };
        let bytes = encode(written, Binding::of_write(&ContentHash::EMPTY, NOW));
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
