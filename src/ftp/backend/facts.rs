//! What is told of a file or a directory.

use std::time::SystemTime;

use time::OffsetDateTime;
use unftp_core::storage::{ErrorKind, Metadata, Permissions, Result};

use crate::ftp::user::User;
use crate::storage::{ObjectInfo, ObjectSummary};

/// What is told of a file or a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ftp) struct Facts {
    /// What it is.
    pub(super) kind: Kind,
    /// When it was changed last; `None` for directories of which nobody knows.
    pub(super) modified: Option<OffsetDateTime>,
    /// Whether the user may change it.
    pub(super) is_writable: bool,
}

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file of so many bytes.
    File(u64),
    /// A directory.
    Directory,
}

impl Facts {
    /// Tells what is known of a file.
    pub(super) fn of_object(user: &User, info: &ObjectInfo) -> Self {
        Self {
            kind: Kind::File(info.size),
            modified: Some(info.mtime.unwrap_or(info.last_modified)),
            is_writable: user.may_write(),
        }
    }

    /// Tells what a listing knows of a file.
    pub(super) fn of_summary(user: &User, summary: &ObjectSummary) -> Self {
        Self {
            kind: Kind::File(summary.size),
            modified: Some(modified(summary)),
            is_writable: user.may_write(),
        }
    }

    /// Tells that there is a directory, whose newest child is of this time.
    pub(super) fn of_directory(user: &User, newest: Option<OffsetDateTime>) -> Self {
        Self {
            kind: Kind::Directory,
            modified: newest,
            is_writable: user.may_write(),
        }
    }
}

/// Returns when a file was changed: as its writer says, else when the Hub got it.
pub(super) fn modified(summary: &ObjectSummary) -> OffsetDateTime {
    summary.mtime.unwrap_or(summary.last_modified)
}

impl Metadata for Facts {
    fn len(&self) -> u64 {
        match self.kind {
            Kind::File(size) => size,
            Kind::Directory => 0,
        }
    }

    fn is_dir(&self) -> bool {
        self.kind == Kind::Directory
    }

    fn is_file(&self) -> bool {
        !self.is_dir()
    }

    fn is_symlink(&self) -> bool {
        false
    }

    /// An error leaves the fact `modify` out.
    fn modified(&self) -> Result<SystemTime> {
        let modified = self.modified.map(SystemTime::from);
        modified.ok_or_else(|| ErrorKind::PermanentFileNotAvailable.into())
    }

    fn gid(&self) -> u32 {
        0
    }

    fn uid(&self) -> u32 {
        0
    }

    fn permissions(&self) -> Permissions {
        Permissions(match (self.is_dir(), self.is_writable) {
            (true, true) => 0o755,
            (true, false) => 0o555,
            (false, true) => 0o644,
            (false, false) => 0o444,
        })
    }
}
