//! Multipart uploads: the operations of their life, from the beginning to the completion.

use time::OffsetDateTime;

use crate::storage::checksum::Checksum;
use crate::storage::condition::{ReadConditions, WriteConditions};
use crate::storage::name::{BucketName, ContentHash, ObjectKey, PartNumber, UploadId};
use crate::storage::object::{ObjectMetadata, PartSummary, UploadEntry};
use crate::storage::object_checksum::{ChecksumKind, ObjectChecksum, UploadChecksum};
use crate::storage::payload::Payload;
use crate::storage::range::ByteRange;

/// Begins a multipart upload.
#[derive(Debug, Clone)]
pub struct CreateUpload {
    /// The bucket.
    pub bucket: BucketName,
    /// The key that the completed object will have.
    pub key: ObjectKey,
    /// Headers to keep.
    pub metadata: ObjectMetadata,
    /// The checksum that the completed object will have.
    pub checksum: UploadChecksum,
}

/// The upload may take parts now.
#[derive(Debug, Clone)]
pub struct UploadCreated {
    /// Its id.
    pub upload_id: UploadId,
}

/// Stores one part. A part sent again replaces the earlier one.
///
/// Errors: `NoSuchUpload`, `InvalidRequest` for a checksum with another algorithm than the upload was declared with.
#[derive(Debug)]
pub struct UploadPart {
    /// The bucket.
    pub bucket: BucketName,
    /// The key given at the beginning.
    pub key: ObjectKey,
    /// The upload.
    pub upload_id: UploadId,
    /// Which part.
    pub part_number: PartNumber,
    /// The bytes, and what the client vouches for.
    pub payload: Payload,
}

/// The part is durable now.
#[derive(Debug, Clone)]
pub struct PartUploaded {
    /// Xet hash of the part's content; its entity tag has the same form as an object's.
    pub hash: ContentHash,
    /// Size in bytes.
    pub size: u64,
    /// The checksum that the client vouched for, else one with the algorithm that the upload was declared with.
    pub checksum: Option<Checksum>,
}

/// Stores one part that is an object or a range of one, by reference: at most the edges of the range are uploaded. A part
/// sent again replaces the earlier one.
///
/// Errors: `NoSuchUpload`, `NoSuchKey`, `PreconditionFailed`; `InvalidRange` if the range does not lie within the source, or
/// if that is empty; `EntityTooLarge` for more than 5 GiB.
#[derive(Debug, Clone)]
pub struct UploadPartCopy {
    /// The bucket to copy from.
    pub source_bucket: BucketName,
    /// The key to copy from.
    pub source_key: ObjectKey,
    /// The range to copy; `None` for the whole object. Unlike a read's, it is never clipped to the source.
    pub source_range: Option<ByteRange>,
    /// Preconditions on the source.
    pub source_conditions: ReadConditions,
    /// The bucket of the upload.
    pub bucket: BucketName,
    /// The key given at the beginning.
    pub key: ObjectKey,
    /// The upload.
    pub upload_id: UploadId,
    /// Which part.
    pub part_number: PartNumber,
}

/// The part is durable now.
#[derive(Debug, Clone)]
pub struct PartCopied {
    /// Xet hash of the part's content; its entity tag has the same form as an object's.
    pub hash: ContentHash,
    /// Size in bytes.
    pub size: u64,
    /// When the part was registered.
    pub last_modified: OffsetDateTime,
}

/// Joins parts into an object, by reference: no byte is uploaded again.
///
/// Errors: `NoSuchUpload`, `InvalidPart`, `InvalidPartOrder`, `EntityTooSmall`, `PreconditionFailed`, `NoSuchKey`. The upload
/// stays as it is after each of them.
#[derive(Debug, Clone)]
pub struct CompleteUpload {
    /// The bucket.
    pub bucket: BucketName,
    /// The key given at the beginning.
    pub key: ObjectKey,
    /// The upload.
    pub upload_id: UploadId,
    /// Preconditions on what the object replaces.
    pub conditions: WriteConditions,
    /// The parts in the order given by the client.
    pub parts: Vec<NamedPart>,
    /// What must hold for the object.
    pub claims: ObjectClaims,
}

/// What a client says of the object that it completes; nothing where it says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectClaims {
    /// Its checksum. One over checksums may leave out over how many.
    pub checksum: Option<ObjectChecksum>,
    /// What its checksum is computed over.
    pub kind: Option<ChecksumKind>,
    /// Its size in bytes.
    pub size: Option<u64>,
}

/// A part as a completion names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPart {
    /// Its number.
    pub part_number: PartNumber,
    /// Its entity tag without quotes.
    pub etag: String,
    /// Checksums that it must have; usually none or one.
    pub checksums: Vec<Checksum>,
}

/// The object exists now.
#[derive(Debug, Clone)]
pub struct UploadCompleted {
    /// Xet hash of the whole content.
    pub hash: ContentHash,
    /// Size in bytes.
    pub size: u64,
    /// The checksum of the object, if it follows from those of its parts.
    pub checksum: Option<ObjectChecksum>,
}

/// Discards an upload and its parts. Errors: `NoSuchUpload`.
#[derive(Debug, Clone)]
pub struct AbortUpload {
    /// The bucket.
    pub bucket: BucketName,
    /// The key given at the beginning.
    pub key: ObjectKey,
    /// The upload.
    pub upload_id: UploadId,
}

/// The upload is gone.
#[derive(Debug, Clone)]
pub struct UploadAborted {}

/// Lists the parts of an upload by number. Errors: `NoSuchUpload`.
#[derive(Debug, Clone)]
pub struct ListParts {
    /// The bucket.
    pub bucket: BucketName,
    /// The key given at the beginning.
    pub key: ObjectKey,
    /// The upload.
    pub upload_id: UploadId,
    /// Only parts with a greater number; 0 for all.
    pub after: u32,
    /// At most this many parts, 0 to 1,000.
    pub max_parts: usize,
}

/// A page of parts.
#[derive(Debug, Clone)]
pub struct PartPage {
    /// By number, each once: of a part that was sent again, what was registered last.
    pub parts: Vec<PartSummary>,
    /// The checksum that the upload was declared with; `None` if the client asked for none.
    pub declared: Option<UploadChecksum>,
    /// Whether further parts follow.
    pub has_more: bool,
}

/// Lists the uploads under way, by key, and those of one key by the time of their beginning.
#[derive(Debug, Clone)]
pub struct ListUploads {
    /// The bucket.
    pub bucket: BucketName,
    /// Only keys with this prefix; empty for all.
    pub prefix: String,
    /// Rolls keys up to the first occurrence of this text after the prefix; never empty.
    pub delimiter: Option<String>,
    /// Where to begin; `None` for the first.
    pub after: Option<UploadMarker>,
    /// At most this many entries, uploads and common prefixes together, 0 to 1,000.
    pub max_entries: usize,
}

/// An entry behind which a listing of uploads begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadMarker {
    /// Its key, or a common prefix.
    pub key: String,
    /// Its id: further uploads of the same key may follow. `None` to begin behind all uploads of the key.
    pub upload_id: Option<String>,
}

/// A page of uploads.
#[derive(Debug, Clone)]
pub struct UploadPage {
    /// In byte order of keys and common prefixes, then of ids.
    pub entries: Vec<UploadEntry>,
    /// Whether further entries follow.
    pub has_more: bool,
}
