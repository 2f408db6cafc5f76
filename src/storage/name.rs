//! Names that were checked once and are trusted afterwards.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use time::OffsetDateTime;

use crate::storage::StorageError;

/// The hidden prefix under which hugbucket keeps its own state in each bucket, with its trailing slash.
pub const HIDDEN_PREFIX: &str = ".hugbucket/";

/// The name of the file that stands for a directory marker: S3's `dir/` is the Hub's `dir/.hugbucket_keep`.
pub const MARKER_NAME: &str = ".hugbucket_keep";

/// The longest key, in bytes of UTF-8; the same as in S3.
pub const MAX_KEY_BYTES: usize = 1024;

/// A user or organisation of the Hub that owns buckets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// Checks a namespace: letters, digits, `-`, `_`, `.`, 1 to 96 bytes.
    ///
    /// Errors: [`StorageError::InvalidArgument`].
    pub fn new(name: &str) -> Result<Self, StorageError> {
        if is_hub_name(name) {
            return Ok(Self(name.into()));
        }
        Err(StorageError::InvalidArgument {
            name: "namespace",
            reason: format!("`{name}` is not a Hub user or organisation"),
        })
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A bucket as a client names it, without its namespace.
///
/// Existing Hub buckets with capitals or `_` are reachable, so this accepts what the Hub accepts; the narrower S3 rules
/// apply to new buckets only: see [`BucketName::check_for_creation`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BucketName(Arc<str>);

impl BucketName {
    /// Checks a name that may exist on the Hub: letters, digits, `-`, `_`, `.`, 1 to 96 bytes.
    ///
    /// Errors: [`StorageError::InvalidBucketName`].
    pub fn new(name: &str) -> Result<Self, StorageError> {
        if is_hub_name(name) {
            return Ok(Self(name.into()));
        }
        Err(StorageError::InvalidBucketName {
            bucket: name.to_owned(),
            reason: "only letters, digits, `-`, `_` and `.` are allowed, 1 to 96 of them",
        })
    }

    /// Applies S3's rules for new buckets: 3 to 63 of `a-z0-9.-`, letter or digit at both ends, no `..`, not an IPv4
    /// address.
    ///
    /// Errors: [`StorageError::InvalidBucketName`].
    ///
    /// Source: AWS, "Bucket naming rules".
    pub fn check_for_creation(&self) -> Result<(), StorageError> {
        let name = self.as_str();
        let refuse = |reason| {
            Err(StorageError::InvalidBucketName {
                bucket: name.to_owned(),
                reason,
            })
        };
        if !(3..=63).contains(&name.len()) {
            return refuse("the name must be 3 to 63 characters long");
        }
        let is_edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        if !name.bytes().all(|b| is_edge(b) || b == b'-' || b == b'.') {
            return refuse(
                "only lower-case letters, digits, `-` and `.` are allowed in new buckets",
            );
        }
        let bytes = name.as_bytes();
        if !is_edge(bytes[0]) || !is_edge(bytes[bytes.len() - 1]) {
            return refuse("the name must begin and end with a letter or digit");
        }
        if name.contains("..") {
            return refuse("two dots in a row are not allowed");
        }
        if name.parse::<std::net::Ipv4Addr>().is_ok() {
            return refuse("the name must not be an IP address");
        }
        Ok(())
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_hub_name(name: &str) -> bool {
    (1..=96).contains(&name.len())
        && name != "."
        && name != ".."
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// A bucket as the Hub knows it: `namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BucketId {
    /// The owner.
    pub namespace: Namespace,
    /// The bucket's name.
    pub name: BucketName,
}

impl fmt::Display for BucketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A key that a Storage Bucket can hold, exactly as the client wrote it.
///
/// A key that ends in `/` is a directory marker; [`ObjectKey::hub_path`] says where it lies.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey(Arc<str>);

impl ObjectKey {
    /// Checks a key.
    ///
    /// Errors: [`StorageError::KeyTooLong`] above 1,024 bytes; [`StorageError::InvalidKey`] for what the Hub cannot hold
    /// (empty, leading `/`, `//`, a `.` or `..` segment, `\`, control characters) and for hugbucket's own hidden names.
    pub fn new(key: &str) -> Result<Self, StorageError> {
        let refuse = |reason| Err(StorageError::InvalidKey { reason });
        if key.len() > MAX_KEY_BYTES {
            return Err(StorageError::KeyTooLong {
                len_bytes: key.len(),
            });
        }
        if key.is_empty() {
            return refuse("the key is empty");
        }
        if key.starts_with('/') {
            return refuse("a Storage Bucket cannot hold a key with a leading `/`");
        }
        if key.contains("//") {
            return refuse("a Storage Bucket cannot hold a key with `//`");
        }
        if key.contains('\\') {
            return refuse("a Storage Bucket cannot hold a key with `\\`");
        }
        if key.chars().any(char::is_control) {
            return refuse("a Storage Bucket cannot hold a key with control characters");
        }
        if key.contains("../") || key.ends_with("..") {
            return refuse("a Storage Bucket cannot hold a key with `../` or a trailing `..`");
        }
        if key.split('/').any(|segment| segment == ".") {
            return refuse("a Storage Bucket cannot hold a key with a `.` segment");
        }
        if key.starts_with(HIDDEN_PREFIX) || key == ".hugbucket" {
            return refuse("the prefix `.hugbucket/` is reserved");
        }
        if key.rsplit('/').next() == Some(MARKER_NAME) {
            return refuse("the name `.hugbucket_keep` is reserved for directory markers");
        }
        Ok(Self(key.into()))
    }

    /// Returns the key as the client wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reports whether the key is a directory marker (`dir/`).
    pub fn is_marker(&self) -> bool {
        self.0.ends_with('/')
    }

    /// Returns the path of the Hub file that holds this key: the key itself, or `dir/.hugbucket_keep` for a marker.
    pub fn hub_path(&self) -> String {
        if self.is_marker() {
            format!("{}{MARKER_NAME}", self.0)
        } else {
            self.0.to_string()
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The Xet hash of a file's content: 64 lower-case hex digits, as the Hub's `xetHash` writes it.
///
/// Equal hashes mean equal bytes. Different hashes prove nothing: a composed file and a one-shot upload of the same bytes
/// differ.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentHash([u8; 64]);

impl ContentHash {
    /// The hash of the empty file: 64 zeros.
    pub const EMPTY: Self = Self([b'0'; 64]);

    /// Returns the 64 hex digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hex digits are UTF-8")
    }

    /// Returns the entity tag without quotes: `<first 32 hex digits>-1`.
    ///
    /// 32 digits because some parsers refuse more; the dash tells rclone, s3cmd, and others that it is no MD5.
    pub fn etag(&self) -> String {
        format!("{}-1", &self.as_str()[..32])
    }
}

impl FromStr for ContentHash {
    type Err = StorageError;

    fn from_str(text: &str) -> Result<Self, StorageError> {
        let is_hash = text.len() == 64
            && text
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if !is_hash {
            return Err(StorageError::internal(
                "a content hash is not 64 lower-case hex digits",
            ));
        }
        let mut digits = [0; 64];
        digits.copy_from_slice(text.as_bytes());
        Ok(Self(digits))
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The id of a multipart upload: 32 lower-case hex digits, of which the first 12 count the milliseconds since 1970 at its
/// beginning and the others are random. So the uploads of one key sort by the time of their beginning.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UploadId(Arc<str>);

impl UploadId {
    /// Draws a new id for an upload that begins now.
    pub fn random() -> Self {
        let millis = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
        let mut id = rand::random::<[u8; 16]>();
        // 48 bits of milliseconds last for 8,900 years.
        id[..6].copy_from_slice(&millis.to_be_bytes()[10..]);
        Self(hex::encode(id).into())
    }

    /// Returns the id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UploadId {
    type Err = StorageError;

    /// Errors: [`StorageError::NoSuchUpload`] for anything that this gateway could not have issued.
    fn from_str(text: &str) -> Result<Self, StorageError> {
        let is_id = text.len() == 32
            && text
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if is_id {
            Ok(Self(text.into()))
        } else {
            Err(StorageError::NoSuchUpload {
                upload_id: text.chars().take(128).collect(),
            })
        }
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number of a part, 1 to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartNumber(u16);

impl PartNumber {
    /// Checks a part number.
    ///
    /// Errors: [`StorageError::InvalidArgument`] outside 1 to 10,000.
    pub fn new(number: u32) -> Result<Self, StorageError> {
        match u16::try_from(number) {
            Ok(number @ 1..=10_000) => Ok(Self(number)),
            _ => Err(StorageError::InvalidArgument {
                name: "partNumber",
                reason: "Part number must be an integer between 1 and 10000, inclusive".into(),
            }),
        }
    }

    /// Returns the number.
    pub fn get(self) -> u32 {
        self.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_the_hub_cannot_hold_are_refused() {
        for key in [
            "",
            "/a",
            "a//b",
            "a/../b",
            "..",
            "a../b",
            "a..",
            "./a",
            "a/.",
            "a\\b",
            "a\0",
            "a\nb",
            ".hugbucket/x",
            ".hugbucket",
            "d/.hugbucket_keep",
        ] {
            assert!(
                matches!(ObjectKey::new(key), Err(StorageError::InvalidKey { .. })),
                "{key:?}"
            );
        }
        assert!(matches!(
            ObjectKey::new(&"k".repeat(1025)),
            Err(StorageError::KeyTooLong { len_bytes: 1025 })
        ));
    }

    #[test]
    fn ordinary_and_odd_keys_are_taken_as_they_are() {
        for key in [
            "a",
            "a b+c%20#?&",
            "ü/日本",
            ".hugbucketx",
            "a/...b",
            "a/..b",
            &"k".repeat(1024),
        ] {
            assert_eq!(ObjectKey::new(key).unwrap().as_str(), key);
        }
    }

    #[test]
    fn a_marker_lies_in_its_keep_file() {
        let marker = ObjectKey::new("a/b/").unwrap();
        assert!(marker.is_marker());
        assert_eq!(marker.hub_path(), "a/b/.hugbucket_keep");
        assert_eq!(ObjectKey::new("a/b").unwrap().hub_path(), "a/b");
    }

    #[test]
    fn hub_names_are_wider_than_names_for_new_buckets() {
        assert!(
            BucketName::new("My_Bucket")
                .unwrap()
                .check_for_creation()
                .is_err()
        );
        for name in ["ab", "-ab", "ab-", "a..b", "1.2.3.4", "Abc"] {
            assert!(
                BucketName::new(name).unwrap().check_for_creation().is_err(),
                "{name}"
            );
        }
        assert!(
            BucketName::new("my-bucket.v1")
                .unwrap()
                .check_for_creation()
                .is_ok()
        );
        for name in ["", "a/b", "a b", "..", "ü"] {
            assert!(BucketName::new(name).is_err(), "{name}");
        }
    }

    #[test]
    fn etags_have_32_digits_and_a_dash() {
        let hash: ContentHash = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
            .parse()
            .unwrap();
        assert_eq!(hash.etag(), "0123456789abcdef0123456789abcdef-1");
        assert!("xyz".parse::<ContentHash>().is_err());
    }
}
