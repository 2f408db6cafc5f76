//! What is known of buckets and objects.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use crate::storage::checksum::Checksum;
use crate::storage::name::{BucketName, ContentHash, ObjectKey, PartNumber, UploadId};
use crate::storage::object_checksum::ObjectChecksum;
use crate::storage::range::ResolvedRange;
use crate::storage::tags::Tags;

/// Who may read a bucket on the Hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// Only those with access to the namespace.
    Private,
    /// Everybody.
    Public,
}

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketInfo {
    /// The bucket's name without its namespace.
    pub name: BucketName,
    /// When it was created.
    pub created_at: OffsetDateTime,
    /// Who may read it.
    pub visibility: Visibility,
}

/// Everything about an object but its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// The key.
    pub key: ObjectKey,
    /// Size in bytes.
    pub size: u64,
    /// Xet hash of the content; the source of the entity tag.
    pub hash: ContentHash,
    /// When the Hub registered this content (`uploadedAt`): S3's Last-Modified.
    pub last_modified: OffsetDateTime,
    /// The file's own modification time, where the writer gave one (`mtime`).
    pub mtime: Option<OffsetDateTime>,
    /// Headers and user metadata.
    pub metadata: ObjectMetadata,
    /// The checksum that is kept with the object, if one is.
    pub checksum: Option<ObjectChecksum>,
    /// Whether a sidecar file exists for this key, current or stale.
    pub has_sidecar: bool,
    /// The file that tells of its parts; `None` if it was uploaded whole.
    pub parts_file: Option<PartsFile>,
}

/// Where is kept what is known of an object's parts. It is read only when somebody asks for a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartsFile {
    /// Xet hash of the file.
    pub hash: ContentHash,
    /// Size of the file in bytes.
    pub size: u64,
}

/// A part of an object that a reader asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundPart {
    /// Its bytes; `None` if the object is empty.
    pub range: Option<ResolvedRange>,
    /// How many parts the object has; `None` if it was uploaded whole, which makes it its own first part.
    pub count: Option<u32>,
}

impl ObjectInfo {
    /// Returns the entity tag without quotes.
    pub fn etag(&self) -> String {
        self.hash.etag()
    }
}

/// The headers and tags that a writer attaches to an object. All empty by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct ObjectMetadata {
    /// `Content-Type`; the Hub keeps it natively.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// `Cache-Control`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
    /// `Content-Disposition`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_disposition: Option<String>,
    /// `Content-Encoding`, without `aws-chunked`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    /// `Content-Language`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_language: Option<String>,
    /// `Expires`, as the client wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// User metadata: names in lower case without `x-amz-meta-`. A client's `mtime` lies here too, exactly as written.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub user: BTreeMap<String, String>,
    /// Tags.
    #[serde(skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
}

/// A line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListEntry {
    /// An object, or a directory marker (its key ends in `/`).
    Object(ObjectSummary),
    /// A common prefix.
    Prefix(CommonPrefix),
}

/// What a listing tells of the keys that begin alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommonPrefix {
    /// Their common prefix, with its trailing delimiter.
    pub name: String,
    /// When the latest of them was registered; `None` where that was not found out.
    pub last_modified: Option<OffsetDateTime>,
}

impl From<String> for CommonPrefix {
    fn from(name: String) -> Self {
        Self {
            name,
            last_modified: None,
        }
    }
}

impl ListEntry {
    /// Returns the text that listings are ordered by: the key or the prefix.
    pub fn name(&self) -> &str {
        match self {
            Self::Object(object) => &object.key,
            Self::Prefix(prefix) => &prefix.name,
        }
    }
}

/// What a listing tells of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectSummary {
    /// The key; a plain text, since objects written past this gateway may have keys that it would not create.
    pub key: String,
    /// Size in bytes.
    pub size: u64,
    /// Xet hash of the content.
    pub hash: ContentHash,
    /// When the Hub registered this content.
    pub last_modified: OffsetDateTime,
    /// The file's own modification time, where the writer gave one.
    pub mtime: Option<OffsetDateTime>,
}

/// What a listing tells of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartSummary {
    /// Its number.
    pub part_number: PartNumber,
    /// Size in bytes.
    pub size: u64,
    /// Xet hash of the content.
    pub hash: ContentHash,
    /// When the Hub registered it.
    pub last_modified: OffsetDateTime,
    /// The checksum with the algorithm that the upload was declared with; `None` if it was declared with none, or if the
    /// part's is not known.
    pub checksum: Option<Checksum>,
}

/// A line of a listing of uploads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadEntry {
    /// An upload under way.
    Upload(UploadSummary),
    /// A common prefix, with its trailing delimiter.
    Prefix(String),
}

/// What a listing tells of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadSummary {
    /// The key that the completed object will have.
    pub key: String,
    /// Its id.
    pub upload_id: UploadId,
    /// When it was begun.
    pub initiated_at: OffsetDateTime,
}
