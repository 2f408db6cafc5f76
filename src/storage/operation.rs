//! The operations: one struct each, and one table that declares them all. Those of multipart uploads and of tags have their
//! structs in files of their own.
//!
//! A new operation is a struct, an output, and a line in `operations!`; the compiler then names every match that has to
//! know about it.

use std::sync::Arc;

use time::OffsetDateTime;

use crate::storage::body::ByteStream;
use crate::storage::condition::{ReadConditions, WriteConditions};
use crate::storage::error::StorageError;
use crate::storage::multipart::{
    AbortUpload, CompleteUpload, CreateUpload, ListParts, ListUploads, PartCopied, PartPage,
    PartUploaded, UploadAborted, UploadCompleted, UploadCreated, UploadPage, UploadPart,
    UploadPartCopy,
};
use crate::storage::name::{BucketName, ContentHash, ObjectKey, PartNumber};
use crate::storage::object::{
    BucketInfo, FoundPart, ListEntry, ObjectInfo, ObjectMetadata, Visibility,
};
use crate::storage::object_checksum::ObjectChecksum;
use crate::storage::object_parts::ObjectParts;
use crate::storage::payload::Payload;
use crate::storage::range::{ByteRange, ResolvedRange};
use crate::storage::request::Principal;
use crate::storage::session::{IssueSession, SessionIssued};
use crate::storage::tags::{DeleteTags, GetTags, PutTags, Tags, TagsDeleted, TagsFound, TagsPut};

/// What an operation does to the namespace; rights are checked against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reads an object or its metadata.
    Read,
    /// Creates, replaces, or removes objects.
    Write,
    /// Enumerates objects or buckets.
    List,
    /// Creates or deletes buckets.
    Admin,
}

/// An operation with its own output type.
pub trait Operation: Into<AnyOperation> {
    /// What it returns.
    type Output: TryFrom<AnyOutput, Error = AnyOutput>;
}

macro_rules! operations {
    ($( $operation:ident => $output:ident, idempotent: $idempotent:literal, access: $access:ident, name: $name:literal; )*) => {
        /// Any operation: what crosses the tower boundary.
        #[derive(Debug)]
        pub enum AnyOperation {
            $( #[doc = concat!("See [`", stringify!($operation), "`].")] $operation($operation), )*
        }

        /// Any output, tagged with the operation that it answers.
        #[derive(Debug)]
        pub enum AnyOutput {
            $( #[doc = concat!("Answers [`", stringify!($operation), "`].")] $operation($output), )*
        }

        impl AnyOperation {
            /// The names of all operations, for metrics that exist from the start.
            pub const NAMES: &[&str] = &[$( $name ),*];

            /// Returns the operation's name: `PascalCase`, a closed set.
            pub fn name(&self) -> &'static str {
                match self { $( Self::$operation(_) => $name, )* }
            }

            /// Reports whether doing it twice leaves the same state and gives the same answer, and no body is used up.
            pub fn is_idempotent(&self) -> bool {
                match self { $( Self::$operation(_) => $idempotent, )* }
            }

            /// Returns what the operation does to the namespace.
            pub fn access(&self) -> Access {
                if let Self::Announce(Announce(coming)) = self {
                    return coming.access();
                }
                match self { $( Self::$operation(_) => Access::$access, )* }
            }
        }

        impl AnyOutput {
            /// Returns the name of the operation that it answers.
            pub fn name(&self) -> &'static str {
                match self { $( Self::$operation(_) => $name, )* }
            }
        }

        $(
            impl From<$operation> for AnyOperation {
                fn from(operation: $operation) -> Self { Self::$operation(operation) }
            }

            impl TryFrom<AnyOutput> for $output {
                type Error = AnyOutput;

                fn try_from(output: AnyOutput) -> Result<Self, AnyOutput> {
                    match output { AnyOutput::$operation(output) => Ok(output), other => Err(other) }
                }
            }

            impl Operation for $operation { type Output = $output; }
        )*
    };
}

operations! {
    // operation     => output,             idempotent,        access,        name
    ListBuckets      => BucketList,         idempotent: true,  access: List,  name: "ListBuckets";
    CreateBucket     => BucketCreated,      idempotent: false, access: Admin, name: "CreateBucket";
    HeadBucket       => BucketFound,        idempotent: true,  access: List,  name: "HeadBucket";
    DeleteBucket     => BucketDeleted,      idempotent: false, access: Admin, name: "DeleteBucket";
    ListObjects      => ObjectPage,         idempotent: true,  access: List,  name: "ListObjects";
    HeadObject       => ObjectFound,        idempotent: true,  access: Read,  name: "HeadObject";
    GetObject        => ObjectData,         idempotent: true,  access: Read,  name: "GetObject";
    PutObject        => ObjectWritten,      idempotent: false, access: Write, name: "PutObject";
    AppendObject     => ObjectAppended,     idempotent: false, access: Write, name: "AppendObject";
    CopyObject       => ObjectCopied,       idempotent: false, access: Write, name: "CopyObject";
    DeleteObject     => ObjectDeleted,      idempotent: false, access: Write, name: "DeleteObject";
    DeleteObjects    => ObjectsDeleted,     idempotent: false, access: Write, name: "DeleteObjects";
    CreateUpload     => UploadCreated,      idempotent: false, access: Write, name: "CreateMultipartUpload";
    UploadPart       => PartUploaded,       idempotent: false, access: Write, name: "UploadPart";
    UploadPartCopy   => PartCopied,         idempotent: false, access: Write, name: "UploadPartCopy";
    CompleteUpload   => UploadCompleted,    idempotent: false, access: Write, name: "CompleteMultipartUpload";
    AbortUpload      => UploadAborted,      idempotent: false, access: Write, name: "AbortMultipartUpload";
    ListParts        => PartPage,           idempotent: true,  access: List,  name: "ListParts";
    ListUploads      => UploadPage,         idempotent: true,  access: List,  name: "ListMultipartUploads";
    DescribeObject   => ObjectDescription,  idempotent: true,  access: Read,  name: "GetObjectAttributes";
    Identify         => Identity,           idempotent: true,  access: List,  name: "Identify";
    IssueSession     => SessionIssued,      idempotent: false, access: List,  name: "IssueSession";
    Announce         => Announced,          idempotent: false, access: List,  name: "Announce";
    GetTags          => TagsFound,          idempotent: true,  access: Read,  name: "GetObjectTagging";
    PutTags          => TagsPut,            idempotent: false, access: Write, name: "PutObjectTagging";
    DeleteTags       => TagsDeleted,        idempotent: false, access: Write, name: "DeleteObjectTagging";
}

impl AnyOperation {
    /// Returns a copy of an idempotent operation; `None` for all others, which the retry layer must not repeat.
    pub fn try_clone(&self) -> Option<Self> {
        match self {
            Self::ListBuckets(operation) => Some(operation.clone().into()),
            Self::HeadBucket(operation) => Some(operation.clone().into()),
            Self::ListObjects(operation) => Some(operation.clone().into()),
            Self::HeadObject(operation) => Some(operation.clone().into()),
            Self::GetObject(operation) => Some(operation.clone().into()),
            Self::ListParts(operation) => Some(operation.clone().into()),
            Self::ListUploads(operation) => Some(operation.clone().into()),
            Self::DescribeObject(operation) => Some(operation.clone().into()),
            Self::Identify(operation) => Some(operation.clone().into()),
            Self::GetTags(operation) => Some(operation.clone().into()),
            Self::CreateBucket(_)
            | Self::DeleteBucket(_)
            | Self::PutObject(_)
            | Self::AppendObject(_)
            | Self::CopyObject(_)
            | Self::DeleteObject(_)
            | Self::DeleteObjects(_)
            | Self::CreateUpload(_)
            | Self::UploadPart(_)
            | Self::UploadPartCopy(_)
            | Self::CompleteUpload(_)
            | Self::AbortUpload(_)
            | Self::IssueSession(_)
            | Self::PutTags(_)
            | Self::DeleteTags(_)
            | Self::Announce(_) => None,
        }
    }

    /// Reports whether the provider may have to move an object's bytes before it can answer, so that no fixed time bounds
    /// the answer. Every single call that it makes is bounded all the same.
    pub fn may_move_bytes(&self) -> bool {
        matches!(self, Self::UploadPartCopy(_) | Self::AppendObject(_))
    }

    /// Returns the body that the client sends with this operation, if it has one.
    pub fn payload_mut(&mut self) -> Option<&mut Payload> {
        match self {
            Self::PutObject(operation) => Some(&mut operation.payload),
            Self::AppendObject(operation) => Some(&mut operation.payload),
            Self::UploadPart(operation) => Some(&mut operation.payload),
            _ => None,
        }
    }

    /// Returns the bucket that the operation names, if it names one.
    pub fn bucket(&self) -> Option<&BucketName> {
        match self {
            Self::ListBuckets(_) | Self::Identify(_) | Self::IssueSession(_) => None,
            Self::Announce(Announce(coming)) => coming.bucket(),
            Self::CreateBucket(operation) => Some(&operation.bucket),
            Self::HeadBucket(operation) => Some(&operation.bucket),
            Self::DeleteBucket(operation) => Some(&operation.bucket),
            Self::ListObjects(operation) => Some(&operation.bucket),
            Self::HeadObject(operation) => Some(&operation.bucket),
            Self::GetObject(operation) => Some(&operation.bucket),
            Self::PutObject(operation) => Some(&operation.bucket),
            Self::AppendObject(operation) => Some(&operation.bucket),
            Self::CopyObject(operation) => Some(&operation.bucket),
            Self::DeleteObject(operation) => Some(&operation.bucket),
            Self::DeleteObjects(operation) => Some(&operation.bucket),
            Self::CreateUpload(operation) => Some(&operation.bucket),
            Self::UploadPart(operation) => Some(&operation.bucket),
            Self::UploadPartCopy(operation) => Some(&operation.bucket),
            Self::CompleteUpload(operation) => Some(&operation.bucket),
            Self::AbortUpload(operation) => Some(&operation.bucket),
            Self::ListParts(operation) => Some(&operation.bucket),
            Self::ListUploads(operation) => Some(&operation.bucket),
            Self::DescribeObject(operation) => Some(&operation.bucket),
            Self::GetTags(operation) => Some(&operation.bucket),
            Self::PutTags(operation) => Some(&operation.bucket),
            Self::DeleteTags(operation) => Some(&operation.bucket),
        }
    }

    /// Returns the bucket that the operation copies from, if it copies.
    pub fn source_bucket(&self) -> Option<&BucketName> {
        match self {
            Self::Announce(Announce(coming)) => coming.source_bucket(),
            Self::CopyObject(operation) => Some(&operation.source_bucket),
            Self::UploadPartCopy(operation) => Some(&operation.source_bucket),
            _ => None,
        }
    }

    /// Returns the one object that the operation is about, if it is about one: for a copy, the destination.
    pub fn key(&self) -> Option<&ObjectKey> {
        match self {
            Self::Announce(Announce(coming)) => coming.key(),
            Self::HeadObject(operation) => Some(&operation.key),
            Self::GetObject(operation) => Some(&operation.key),
            Self::PutObject(operation) => Some(&operation.key),
            Self::AppendObject(operation) => Some(&operation.key),
            Self::CopyObject(operation) => Some(&operation.key),
            Self::DeleteObject(operation) => Some(&operation.key),
            Self::CreateUpload(operation) => Some(&operation.key),
            Self::UploadPart(operation) => Some(&operation.key),
            Self::UploadPartCopy(operation) => Some(&operation.key),
            Self::CompleteUpload(operation) => Some(&operation.key),
            Self::AbortUpload(operation) => Some(&operation.key),
            Self::ListParts(operation) => Some(&operation.key),
            Self::DescribeObject(operation) => Some(&operation.key),
            Self::GetTags(operation) => Some(&operation.key),
            Self::PutTags(operation) => Some(&operation.key),
            Self::DeleteTags(operation) => Some(&operation.key),
            Self::ListBuckets(_)
            | Self::CreateBucket(_)
            | Self::HeadBucket(_)
            | Self::DeleteBucket(_)
            | Self::ListObjects(_)
            | Self::ListUploads(_)
            | Self::DeleteObjects(_)
            | Self::Identify(_)
            | Self::IssueSession(_) => None,
        }
    }
}

impl AnyOutput {
    /// Returns the body that goes to the client, if the output has one.
    pub fn body_mut(&mut self) -> Option<&mut ByteStream> {
        match self {
            Self::GetObject(output) => Some(&mut output.body),
            _ => None,
        }
    }

    /// Replaces the body that goes to the client, if the output has one.
    #[must_use]
    pub fn map_body(mut self, wrap: impl FnOnce(ByteStream) -> ByteStream) -> Self {
        if let Some(body) = self.body_mut() {
            *body = wrap(std::mem::replace(body, ByteStream::empty()));
        }
        self
    }
}

// === buckets ===

/// Lists the tenant's buckets.
#[derive(Debug, Clone)]
pub struct ListBuckets {}

/// All buckets of the namespace, by name in byte order.
#[derive(Debug, Clone)]
pub struct BucketList {
    /// The namespace that owns them.
    pub owner: String,
    /// The buckets.
    pub buckets: Vec<BucketInfo>,
}

/// Creates a bucket. Creating one's own bucket again succeeds and changes nothing.
///
/// Errors: `InvalidBucketName`, `BucketAlreadyExists` (somebody else's).
#[derive(Debug, Clone)]
pub struct CreateBucket {
    /// Its name.
    pub bucket: BucketName,
    /// Who may read it; `None` for the configured default.
    pub visibility: Option<Visibility>,
}

/// The bucket exists now.
#[derive(Debug, Clone)]
pub struct BucketCreated {}

/// Looks a bucket up. Errors: `NoSuchBucket`.
#[derive(Debug, Clone)]
pub struct HeadBucket {
    /// Its name.
    pub bucket: BucketName,
}

/// The bucket.
#[derive(Debug, Clone)]
pub struct BucketFound {
    /// What is known of it.
    pub info: BucketInfo,
}

/// Deletes an empty bucket. A bucket that holds nothing but hugbucket's hidden state counts as empty.
///
/// Errors: `NoSuchBucket`, `BucketNotEmpty`.
#[derive(Debug, Clone)]
pub struct DeleteBucket {
    /// Its name.
    pub bucket: BucketName,
}

/// The bucket is gone.
#[derive(Debug, Clone)]
pub struct BucketDeleted {}

// === listings ===

/// Lists objects in UTF-8 byte order of their keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ListObjects {
    /// The bucket.
    pub bucket: BucketName,
    /// Only keys with this prefix; empty for all.
    pub prefix: String,
    /// Rolls keys up to the first occurrence of this text after the prefix; never empty.
    pub delimiter: Option<String>,
    /// Where to begin.
    pub start: ListStart,
    /// At most this many entries, objects and common prefixes together, 0 to 1,000.
    pub max_entries: usize,
}

/// Where a listing begins.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListStart {
    /// At the first key.
    Beginning,
    /// At the first entry after this key or common prefix (`start-after`, `marker`).
    After(String),
    /// Where an earlier page ended: a token from [`ObjectPage::next`].
    Token(String),
}

/// A page of a listing.
#[derive(Debug, Clone)]
pub struct ObjectPage {
    /// In byte order of [`ListEntry::name`].
    pub entries: Vec<ListEntry>,
    /// A printable token for the next page; `None` on the last.
    pub next: Option<String>,
}

// === reads ===

/// Looks an object up. Errors: `NoSuchKey`, `NoSuchBucket`, `NoSuchPart`, `PreconditionFailed`, `NotModified`.
#[derive(Debug, Clone)]
pub struct HeadObject {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: ObjectKey,
    /// The part wanted; `None` for the whole object.
    pub part: Option<PartNumber>,
    /// Preconditions.
    pub conditions: ReadConditions,
}

/// The object.
#[derive(Debug, Clone)]
pub struct ObjectFound {
    /// What is known of it; shared with the file-info cache.
    pub info: Arc<ObjectInfo>,
    /// The part that was asked for; `None` if none was.
    pub part: Option<FoundPart>,
}

/// Reads an object, a range, or a part of it. Errors: as [`HeadObject`], and `InvalidRange`.
#[derive(Debug, Clone)]
pub struct GetObject {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: ObjectKey,
    /// The range wanted; `None` for the whole object.
    pub range: Option<ByteRange>,
    /// The part wanted, instead of a range.
    pub part: Option<PartNumber>,
    /// Preconditions.
    pub conditions: ReadConditions,
    /// The object as the cache layer resolved it; adapters leave it `None`, and without it the provider looks it up.
    pub resolved: Option<Arc<ObjectInfo>>,
}

/// An object's bytes on their way out.
#[derive(Debug)]
pub struct ObjectData {
    /// What is known of the object.
    pub info: Arc<ObjectInfo>,
    /// The range that the body holds; `None` for the whole object.
    pub range: Option<ResolvedRange>,
    /// The part that was asked for; `None` if none was.
    pub part: Option<FoundPart>,
    /// The bytes; its length is known.
    pub body: ByteStream,
}

/// Looks an object up, with the parts that it was uploaded in. Errors: as [`HeadObject`].
#[derive(Debug, Clone)]
pub struct DescribeObject {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: ObjectKey,
    /// Preconditions.
    pub conditions: ReadConditions,
    /// Whether its parts are wanted, which costs a look into a further file.
    pub wants_parts: bool,
}

/// The object and its parts.
#[derive(Debug, Clone)]
pub struct ObjectDescription {
    /// What is known of it.
    pub info: Arc<ObjectInfo>,
    /// Its parts; `None` if they were not asked for, or if it was uploaded whole.
    pub parts: Option<Arc<ObjectParts>>,
}

// === the caller ===

/// Says who the caller is, and does nothing else: what a login asks.
///
/// Errors: `AccessDenied`.
#[derive(Debug, Clone)]
pub struct Identify;

/// Who the caller is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// As the stack knows it.
    pub principal: Principal,
}

/// Asks whether an operation whose document is still to come would be let through, and does nothing else: a client that waits for
/// `100 Continue` is refused before it is asked for the document.
///
/// The operation inside is the one to come, without what the document will say. Every layer judges it as if it were that.
///
/// Errors: those of the operation that need no document: of rights, of reach, and of conditions.
#[derive(Debug)]
pub struct Announce(pub Box<AnyOperation>);

/// The operation may come.
#[derive(Debug, Clone)]
pub struct Announced {}

// === writes ===

/// Stores an object; the whole body or nothing.
///
/// Errors: `NoSuchBucket`, `PreconditionFailed`, `NoSuchKey` (where the conditions want an object).
#[derive(Debug)]
pub struct PutObject {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: ObjectKey,
    /// Preconditions on what it replaces: looked at before the body is read, and binding at the commit.
    pub conditions: WriteConditions,
    /// The bytes, and what the client vouches for.
    pub payload: Payload,
    /// Headers and tags to keep.
    pub metadata: ObjectMetadata,
}

/// The object as it is stored now.
#[derive(Debug, Clone)]
pub struct ObjectWritten {
    /// Size in bytes.
    pub size: u64,
    /// Xet hash of the content.
    pub hash: ContentHash,
}

/// Goes on with an object: its first bytes stay, by reference, and the payload takes the place of the rest. The object is
/// replaced as a whole or not at all; it keeps its headers and gets a new modification time.
///
/// Errors: `NoSuchBucket`, `NoSuchKey`; `PreconditionFailed` if the object has another content than the one to go on with, at
/// the beginning or at the commit; `InvalidRange` if it has fewer bytes than are to stay.
#[derive(Debug)]
pub struct AppendObject {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: ObjectKey,
    /// What stays.
    pub kept: KeptPart,
    /// The bytes that follow, and what the client vouches for.
    pub payload: Payload,
}

/// What stays of an object that is gone on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptPart {
    /// All of the content that is there at the beginning.
    All,
    /// The first bytes of a content that the client knows.
    First {
        /// How many bytes: from zero up to all of them.
        len_bytes: u64,
        /// Xet hash of the content.
        base: ContentHash,
    },
}

/// The object as it is stored now.
#[derive(Debug, Clone)]
pub struct ObjectAppended {
    /// Size in bytes, with what stayed.
    pub size: u64,
    /// How many bytes of it stayed.
    pub kept_bytes: u64,
    /// Xet hash of the content.
    pub hash: ContentHash,
}

/// Copies an object by its hash; no byte of it is read.
#[derive(Debug, Clone)]
pub struct CopyObject {
    /// The bucket to copy from.
    pub source_bucket: BucketName,
    /// The key to copy from.
    pub source_key: ObjectKey,
    /// Preconditions on the source.
    pub source_conditions: ReadConditions,
    /// The bucket to copy to.
    pub bucket: BucketName,
    /// The key to copy to.
    pub key: ObjectKey,
    /// Preconditions on what it replaces.
    pub conditions: WriteConditions,
    /// New metadata; `None` copies the source's. Its tags do not count.
    pub replace_metadata: Option<ObjectMetadata>,
    /// The copy's modification time, of which milliseconds count; `None` keeps the source's, or with new metadata takes
    /// what that says, else now.
    pub mtime: Option<OffsetDateTime>,
    /// New tags; `None` copies the source's.
    pub replace_tags: Option<Tags>,
}

/// The copy.
#[derive(Debug, Clone)]
pub struct ObjectCopied {
    /// Xet hash of the content.
    pub hash: ContentHash,
    /// The checksum that is kept with the copy, if one is.
    pub checksum: Option<ObjectChecksum>,
    /// When the copy was registered.
    pub last_modified: OffsetDateTime,
}

/// Deletes an object. Deleting what does not exist succeeds, unless the conditions want an object.
///
/// Errors: `NoSuchBucket`, `PreconditionFailed`, `NoSuchKey`.
#[derive(Debug, Clone)]
pub struct DeleteObject {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: ObjectKey,
    /// Preconditions on what it removes.
    pub conditions: WriteConditions,
}

/// The object is gone.
#[derive(Debug, Clone)]
pub struct ObjectDeleted {}

/// Deletes up to 1,000 objects.
#[derive(Debug, Clone)]
pub struct DeleteObjects {
    /// The bucket.
    pub bucket: BucketName,
    /// What to delete.
    pub deletions: Vec<Deletion>,
}

/// One object of a [`DeleteObjects`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// The key.
    pub key: ObjectKey,
    /// Preconditions on this object alone.
    pub conditions: WriteConditions,
}

/// One verdict for each deletion of the request, in its order.
#[derive(Debug, Clone)]
pub struct ObjectsDeleted {
    /// The verdicts.
    pub verdicts: Vec<Result<(), StorageError>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_idempotent_operations_clone() {
        let bucket = BucketName::new("b").unwrap();
        let key = ObjectKey::new("k").unwrap();
        let put = PutObject {
            bucket: bucket.clone(),
            key: key.clone(),
            conditions: WriteConditions::default(),
            payload: Payload::unchecked(ByteStream::empty()),
            metadata: ObjectMetadata::default(),
        };
        let delete = DeleteObject {
            bucket: bucket.clone(),
            key: key.clone(),
            conditions: WriteConditions::default(),
        };
        let head = HeadObject {
            bucket,
            key,
            part: None,
            conditions: ReadConditions::default(),
        };
        let announced = Announce(Box::new(delete.clone().into()));
        for operation in [
            AnyOperation::from(put),
            delete.into(),
            head.into(),
            announced.into(),
        ] {
            assert_eq!(
                operation.try_clone().is_some(),
                operation.is_idempotent(),
                "{}",
                operation.name()
            );
        }
    }

    #[test]
    fn an_announcement_is_judged_as_what_it_announces() {
        let delete: AnyOperation = DeleteObject {
            bucket: BucketName::new("b").unwrap(),
            key: ObjectKey::new("k").unwrap(),
            conditions: WriteConditions::default(),
        }
        .into();
        let announced: AnyOperation = Announce(Box::new(delete)).into();
        assert_eq!(announced.access(), Access::Write);
        assert_eq!(announced.bucket().map(BucketName::as_str), Some("b"));
        assert_eq!(announced.key().map(ObjectKey::as_str), Some("k"));
        assert_eq!(announced.name(), "Announce");
    }
}
