//! The vocabulary that every other part of hugbucket speaks: what can be asked of object storage, by whom, about what,
//! and what can come back.
//!
//! Nothing in here does I/O, and nothing in here knows S3, FTP, the Hub, or Xet. The adapters translate their protocols
//! into these types, the layers decide over them, and the provider acts on them.
//!
//! | file | holds |
//! |---|---|
//! | [`operation`] | one struct per operation, and the table that declares them all |
//! | [`multipart`], [`tags`] | the operations of multipart uploads, and those on tags |
//! | [`entitlement`], [`touch`], [`pattern`] | what a caller may do, what an operation does, and names in general |
//! | [`session`], [`policy`] | temporary credentials, and what narrows them |
//! | [`request`] | who asks ([`Credentials`] → [`Principal`] → [`Tenant`]) and the envelope at the tower boundary |
//! | [`withdrawal`] | how a write is given up |
//! | [`gateway`] | the typed façade that the adapters call |
//! | [`name`] | bucket names, keys, namespaces, content hashes: checked once, trusted afterwards |
//! | [`object`] | what is known of buckets and objects |
//! | [`body`], [`payload`], [`checksum`] | byte streams, and how a client vouches for them |
//! | [`object_checksum`], [`object_parts`] | the checksum that an object keeps, and the parts it was uploaded in |
//! | [`changes`] | what other writers do |
//! | [`range`], [`condition`] | byte ranges and preconditions |
//! | [`error`] | the one error type, with its retry class |

pub mod body;
pub mod changes;
pub mod checksum;
pub mod condition;
mod crc_join;
pub mod entitlement;
pub mod error;
pub mod gateway;
pub mod multipart;
pub mod name;
pub mod object;
pub mod object_checksum;
pub mod object_parts;
pub mod operation;
pub mod pattern;
pub mod payload;
pub mod policy;
pub mod quota;
pub mod range;
pub mod request;
pub mod secret;
pub mod session;
pub mod tags;
pub mod touch;
pub mod withdrawal;

pub use body::{ByteStream, Guarded};
pub use changes::{Changes, KeyTest, Notice, ObjectVersion};
pub use checksum::{Checksum, ChecksumAlgorithm, Digester};
pub use condition::{EtagMatch, ReadConditions, Standing, WriteConditions};
pub use entitlement::{Action, Actions, Entitlement, Grant, Home, Reach, Rights};
pub use error::{Retry, SignatureMismatch, StorageError};
pub use gateway::{Gateway, StorageService, StorageStack};
pub use multipart::*;
pub use name::{BucketId, BucketName, ContentHash, Namespace, ObjectKey, PartNumber, UploadId};
pub use object::{
    BucketInfo, CommonPrefix, FoundPart, ListEntry, ObjectInfo, ObjectMetadata, ObjectSummary,
    PartSummary, PartsFile, UploadEntry, UploadSummary, Visibility,
};
pub use object_checksum::{ChecksumKind, ObjectChecksum, UploadChecksum};
pub use object_parts::ObjectParts;
pub use operation::*;
pub use pattern::Pattern;
pub use payload::{ExpectedChecksum, Integrity, MeasuredDigests, Payload};
pub use policy::{Demand, MalformedPolicy, Policy};
pub use quota::Quota;
pub use range::{ByteRange, ResolvedRange};
pub use request::{
    Credentials, Guards, Principal, Protocol, RequestContext, StorageRequest, Tenant,
};
pub use secret::{Secret, SecretId, StoredPassword};
pub use session::{IssueSession, SessionIssued};
pub use tags::*;
pub use touch::{Extent, Touch};
pub use withdrawal::Withdrawal;
