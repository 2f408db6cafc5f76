//! The one table from [`StorageError`] to FTP's reply codes and to the engine's kinds of errors.

use unftp_core::storage::{Error, ErrorKind};

use crate::ftp::refusal::{Refusal, RefusalSlot};
use crate::storage::StorageError;

/// The longest text of a reply, in characters; names make up most of it.
const MAX_TEXT: usize = 300;

/// Why the backend does not do what it was asked: the reply, and how the engine calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    refusal: Refusal,
    kind: ErrorKind,
}

impl Failure {
    /// Refuses for good, because of what the path is or is not (550).
    pub(super) fn not_available(text: impl AsRef<str>) -> Self {
        Self::new(550, ErrorKind::PermanentFileNotAvailable, text)
    }

    /// Refuses a directory that is not empty (550).
    pub(super) fn not_empty(text: impl AsRef<str>) -> Self {
        Self::new(550, ErrorKind::PermanentDirectoryNotEmpty, text)
    }

    /// Refuses a name that nothing can have here (553).
    pub(super) fn name_not_allowed(text: impl AsRef<str>) -> Self {
        Self::new(553, ErrorKind::FileNameNotAllowedError, text)
    }

    /// Refuses for now: the same may work when it is tried again (450).
    pub(super) fn transient(text: impl AsRef<str>) -> Self {
        Self::new(450, ErrorKind::TransientFileNotAvailable, text)
    }

    /// Refuses because the data connection failed, or the client does not take what it asked for (426).
    pub(super) fn connection_closed(text: impl AsRef<str>) -> Self {
        Self::new(426, ErrorKind::ConnectionClosed, text)
    }

    fn new(code: u16, kind: ErrorKind, text: impl AsRef<str>) -> Self {
        let text = text.as_ref().chars().take(MAX_TEXT);
        let line = text.map(|c| if c.is_control() { ' ' } else { c });
        Self {
            refusal: Refusal {
                code,
                text: line.collect(),
            },
            kind,
        }
    }

    /// Leaves the reason for the session, and returns the engine's error.
    pub(super) fn leave(self, slot: &RefusalSlot) -> Error {
        let text = self.refusal.text.clone();
        slot.leave(self.refusal);
        Error::new(self.kind, text)
    }

    /// Returns the reply.
    #[cfg(test)]
    pub(super) fn refusal(&self) -> &Refusal {
        &self.refusal
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        let (code, kind) = verdict(&error);
        let text = match &error {
            StorageError::NoSuchKey { key } => format!("no such file or directory: `{key}`"),
            StorageError::PreconditionFailed { .. } => "the file was changed meanwhile".into(),
            StorageError::IncompleteBody => "the transfer did not end well: nothing changed".into(),
            error => error.to_string(),
        };
        Self::new(code, kind, text)
    }
}

/// The table: reply code and kind of every outcome.
fn verdict(error: &StorageError) -> (u16, ErrorKind) {
    use ErrorKind as K;
    use StorageError as E;
    match error {
        E::NoSuchBucket { .. } => (550, K::PermanentDirectoryNotAvailable),
        E::NoSuchKey { .. }
        | E::NoSuchUpload { .. }
        | E::NoSuchPart { .. }
        | E::BucketAlreadyExists { .. }
        | E::InvalidRange { .. }
        | E::NotModified { .. } => (550, K::PermanentFileNotAvailable),
        E::BucketNotEmpty { .. } => (550, K::PermanentDirectoryNotEmpty),
        E::InvalidBucketName { .. }
        | E::InvalidKey { .. }
        | E::KeyTooLong { .. }
        | E::InvalidUri => (553, K::FileNameNotAllowedError),
        // The engine has no kind for 501.
        E::InvalidArgument { .. }
        | E::InvalidRequest { .. }
        | E::InvalidPart { .. }
        | E::InvalidPartOrder
        | E::EntityTooSmall { .. }
        | E::BodyTooSmall { .. } => (501, K::PermanentFileNotAvailable),
        E::EntityTooLarge { .. } => (552, K::ExceededStorageAllocationError),
        E::QuotaExceeded => (452, K::InsufficientStorageSpaceError),
        E::BadDigest
        | E::ChecksumMismatch { .. }
        | E::PayloadHashMismatch { .. }
        | E::MalformedTrailer { .. }
        | E::MalformedChunk { .. }
        | E::IncompleteBody
        | E::MissingContentLength
        | E::ClientTimeout { .. } => (426, K::ConnectionClosed),
        // At login these are 530, which the session says.
        E::AccessDenied { .. }
        | E::HeadersNotSigned { .. }
        | E::InvalidAccessKeyId { .. }
        | E::SignatureDoesNotMatch(_)
        | E::MalformedAuthorization { .. }
        | E::WrongRegion { .. }
        | E::RequestExpired { .. }
        | E::RequestTimeTooSkewed { .. }
        | E::InvalidToken
        | E::ExpiredToken => (550, K::PermissionDenied),
        // What changed meanwhile may be looked at and tried again.
        E::PreconditionFailed { .. }
        | E::ConditionalRequestConflict
        | E::Overloaded
        | E::RateLimited { .. } => (450, K::TransientFileNotAvailable),
        E::NotImplemented { .. } => (502, K::CommandNotImplemented),
        E::Timeout { .. } | E::Unavailable { .. } | E::Internal { .. } => (451, K::LocalError),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn reply(error: StorageError) -> String {
        let Failure { refusal, kind } = error.into();
        format!("{} {} ({kind:?})", refusal.code, refusal.text)
    }

    #[test]
    fn replies_say_what_happened_in_words_of_files() {
        let key = "a/b".to_owned();
        for (error, expected) in [
            (
                StorageError::NoSuchKey { key },
                "550 no such file or directory: `a/b` (PermanentFileNotAvailable)",
            ),
            (
                StorageError::InvalidKey {
                    reason: "a path is UTF-8",
                },
                "553 invalid key: a path is UTF-8 (FileNameNotAllowedError)",
            ),
            (
                StorageError::KeyTooLong { len_bytes: 1025 },
                "553 key is 1025 bytes long, more than 1024 (FileNameNotAllowedError)",
            ),
            (
                StorageError::denied("`ann` may only read"),
                "550 access denied: `ann` may only read (PermissionDenied)",
            ),
            (
                StorageError::QuotaExceeded,
                "452 storage quota of the namespace is exceeded (InsufficientStorageSpaceError)",
            ),
            (
                StorageError::PreconditionFailed {
                    condition: "If-Match",
                },
                "450 the file was changed meanwhile (TransientFileNotAvailable)",
            ),
            (
                StorageError::Overloaded,
                "450 too many requests in flight (TransientFileNotAvailable)",
            ),
            (
                StorageError::Timeout {
                    after: Duration::from_secs(2),
                },
                "451 timed out after 2s (LocalError)",
            ),
            (
                StorageError::IncompleteBody,
                "426 the transfer did not end well: nothing changed (ConnectionClosed)",
            ),
        ] {
            assert_eq!(reply(error), expected);
        }
    }

    #[test]
    fn a_reply_is_one_line_of_bounded_length() {
        let key = format!("a\r\n226 all is well\u{1b}{}", "x".repeat(5000));
        let failure = Failure::from(StorageError::NoSuchKey { key });
        assert!(!failure.refusal.text.contains(char::is_control));
        assert_eq!(failure.refusal.text.chars().count(), MAX_TEXT);
    }

    #[test]
    fn a_failure_leaves_its_reply_for_the_session() {
        let slot = RefusalSlot::default();
        let error = Failure::not_empty("the directory is not empty").leave(&slot);
        assert_eq!(error.kind(), ErrorKind::PermanentDirectoryNotEmpty);
        let left = slot.take().unwrap();
        assert_eq!(
            (left.code, left.text.as_str()),
            (550, "the directory is not empty")
        );
        assert_eq!(slot.take(), None);
    }
}
