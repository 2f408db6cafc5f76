//! Closed label sets. Nothing in here can grow with keys, users, or addresses.

/// An upstream that hugbucket calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upstream {
    /// The Hub's REST API.
    Hub,
    /// The Xet content-addressed store's API.
    Cas,
    /// The storage behind signed URLs.
    Xorb,
}

impl Upstream {
    /// All upstreams.
    pub const ALL: [Self; 3] = [Self::Hub, Self::Cas, Self::Xorb];

    /// Returns the label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hub => "hub",
            Self::Cas => "cas",
            Self::Xorb => "xorb",
        }
    }
}

/// A cache with series of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheName {
    /// Decoded chunks.
    Xorb,
    /// Decoded chunks on disk.
    Disk,
    /// File info.
    FileInfo,
    /// Reconstruction plans.
    Reconstruction,
    /// Xet tokens.
    Token,
    /// Pages of listings under way.
    Listing,
}

impl CacheName {
    /// All caches.
    pub const ALL: [Self; 6] = [
        Self::Xorb,
        Self::Disk,
        Self::FileInfo,
        Self::Reconstruction,
        Self::Token,
        Self::Listing,
    ];

    /// Returns the label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Xorb => "xorb",
            Self::Disk => "disk",
            Self::FileInfo => "file_info",
            Self::Reconstruction => "reconstruction",
            Self::Token => "token",
            Self::Listing => "listing",
        }
    }
}

/// What a cache said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheResult {
    /// It was there.
    Hit,
    /// It was fetched.
    Miss,
    /// Somebody else was fetching it, and the result was shared.
    Coalesced,
    /// The cache was not asked.
    Bypass,
}

impl CacheResult {
    /// All results.
    pub const ALL: [Self; 4] = [Self::Hit, Self::Miss, Self::Coalesced, Self::Bypass];

    /// Returns the label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Coalesced => "coalesced",
            Self::Bypass => "bypass",
        }
    }
}

/// What a change feed told, or what happened to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedSign {
    /// It is connected.
    Ready,
    /// Files were changed.
    Changes,
    /// What happened is not known.
    Reset,
    /// It ended in order, and is opened again.
    Reconnect,
    /// It broke off, fell silent, or made no sense.
    Cut,
}

impl FeedSign {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Ready,
        Self::Changes,
        Self::Reset,
        Self::Reconnect,
        Self::Cut,
    ];

    /// Returns the label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Changes => "changes",
            Self::Reset => "reset",
            Self::Reconnect => "reconnect",
            Self::Cut => "cut",
        }
    }
}

/// What does not work with the disk cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFailure {
    /// A file or directory cannot be read, or not in time.
    Read,
    /// A file cannot be written or removed.
    Write,
    /// A file is not what it should be.
    Damaged,
}

impl DiskFailure {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Damaged];

    /// Returns the label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Damaged => "damaged",
        }
    }
}

/// What became of a multipart upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadEvent {
    /// It was begun.
    Created,
    /// Its parts were joined.
    Completed,
    /// The client gave it up.
    Aborted,
    /// Nobody completed it in time, and it was removed.
    Expired,
    /// It was not begun, because its bucket has too many.
    Refused,
}

impl UploadEvent {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Created,
        Self::Completed,
        Self::Aborted,
        Self::Expired,
        Self::Refused,
    ];

    /// Returns the label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Completed => "completed",
            Self::Aborted => "aborted",
            Self::Expired => "expired",
            Self::Refused => "refused",
        }
    }
}

/// Which limit a connection was refused for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionRefused {
    /// That of all connections.
    Total,
    /// That of its address.
    Address,
}

impl ConnectionRefused {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Total, Self::Address];

    /// Returns the label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Address => "address",
        }
    }
}

/// Which way a body goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To us.
    Upload,
    /// From us.
    Download,
}

impl Direction {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Upload, Self::Download];

    /// Returns the label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Download => "download",
        }
    }
}

/// What became of a copy of something that was overwritten or deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UndoEvent {
    /// It was made.
    Kept,
    /// It could not be made, so the write did not leave, or not yet.
    Failed,
    /// It was not made because the bucket is public.
    RefusedPublic,
    /// It was removed after its time.
    Expired,
}

impl UndoEvent {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Kept, Self::Failed, Self::RefusedPublic, Self::Expired];

    /// Returns the label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Failed => "failed",
            Self::RefusedPublic => "refused_public",
            Self::Expired => "expired",
        }
    }
}

/// Where a part came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartSource {
    /// The client sent it.
    Body,
    /// It is an object, or a range of one.
    Copy,
}

impl PartSource {
    /// All sources.
    pub const ALL: [Self; 2] = [Self::Body, Self::Copy];

    /// Returns the label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::Copy => "copy",
        }
    }
}

/// Why a caller was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthFailure {
    /// The access key id or the user name is unknown, or there was none.
    NoSuchKey,
    /// The signature is not the one that the secret gives, or is malformed.
    BadSignature,
    /// The presigned URL has expired.
    Expired,
    /// The request's time differs too much from ours.
    ClockSkew,
    /// The password is wrong.
    BadPassword,
    /// The caller is known, but may not do this.
    Forbidden,
    /// Too many failures from one address.
    Throttled,
}

impl AuthFailure {
    /// All reasons.
    pub const ALL: [Self; 7] = [
        Self::NoSuchKey,
        Self::BadSignature,
        Self::Expired,
        Self::ClockSkew,
        Self::BadPassword,
        Self::Forbidden,
        Self::Throttled,
    ];

    /// Returns the label.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoSuchKey => "no_such_key",
            Self::BadSignature => "bad_signature",
            Self::Expired => "expired",
            Self::ClockSkew => "clock_skew",
            Self::BadPassword => "bad_password",
            Self::Forbidden => "forbidden",
            Self::Throttled => "throttled",
        }
    }
}

/// A layer that refuses requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedBy {
    /// Too many operations are under way.
    Admission,
    /// Its credential has enough under way.
    Share,
    /// The caller is not let in.
    Auth,
    /// The namespace is not known yet.
    Namespace,
}

impl RefusedBy {
    /// All layers that refuse.
    pub const ALL: [Self; 4] = [Self::Admission, Self::Share, Self::Auth, Self::Namespace];

    /// Returns the label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admission => "admission",
            Self::Share => "share",
            Self::Auth => "auth",
            Self::Namespace => "namespace",
        }
    }
}

/// How a request ended, as far as blame goes. Alerts on the error ratio look at `server_error` only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It was answered as asked, not-modified answers included.
    Ok,
    /// The client asked for something that cannot be, or left early.
    ClientError,
    /// The gateway or an upstream could not do it.
    ServerError,
}

impl Status {
    /// Returns the label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ClientError => "client_error",
            Self::ServerError => "server_error",
        }
    }
}

/// The protocols that requests come by.
pub(super) const PROTOCOLS: [&str; 2] = ["s3", "ftp"];
