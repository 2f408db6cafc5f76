//! Whose fault an error is: one table, for metrics and spans.

use crate::storage::StorageError;
use crate::telemetry::Status;

/// The name under which a client that left early is counted; it is no [`StorageError`], since nobody is there to be told.
pub(super) const CLIENT_DISCONNECT: &str = "client_disconnect";

/// Returns who is to blame. Alerts look at [`Status::ServerError`] only, so whatever a client can cause at will is its own.
pub(super) fn status(error: &StorageError) -> Status {
    match error {
        StorageError::NotModified { .. } => Status::Ok,
        StorageError::NoSuchBucket { .. }
        | StorageError::NoSuchKey { .. }
        | StorageError::NoSuchUpload { .. }
        | StorageError::BucketAlreadyExists { .. }
        | StorageError::BucketNotEmpty { .. }
        | StorageError::InvalidBucketName { .. }
        | StorageError::InvalidKey { .. }
        | StorageError::KeyTooLong { .. }
        | StorageError::InvalidArgument { .. }
        | StorageError::InvalidRequest { .. }
        | StorageError::InvalidUri
        | StorageError::MissingContentLength
        | StorageError::HeadersNotSigned { .. }
        | StorageError::InvalidPart { .. }
        | StorageError::NoSuchPart { .. }
        | StorageError::InvalidPartOrder
        | StorageError::EntityTooSmall { .. }
        | StorageError::EntityTooLarge { .. }
        | StorageError::BodyTooSmall { .. }
        | StorageError::InvalidRange { .. }
        | StorageError::BadDigest
        | StorageError::ChecksumMismatch { .. }
        | StorageError::PayloadHashMismatch { .. }
        | StorageError::MalformedTrailer { .. }
        | StorageError::MalformedChunk { .. }
        | StorageError::IncompleteBody
        | StorageError::QuotaExceeded
        | StorageError::AccessDenied { .. }
        | StorageError::InvalidAccessKeyId { .. }
        | StorageError::SignatureDoesNotMatch(_)
        | StorageError::MalformedAuthorization { .. }
        | StorageError::WrongRegion { .. }
        | StorageError::RequestExpired { .. }
        | StorageError::RequestTimeTooSkewed { .. }
        | StorageError::InvalidToken
        | StorageError::ExpiredToken
        | StorageError::PreconditionFailed { .. }
        | StorageError::ConditionalRequestConflict
        | StorageError::NotImplemented { .. }
        | StorageError::ClientTimeout { .. } => Status::ClientError,
        StorageError::Overloaded
        | StorageError::RateLimited { .. }
        | StorageError::Timeout { .. }
        | StorageError::Unavailable { .. }
        | StorageError::Internal { .. } => Status::ServerError,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_slow_client_is_not_the_gateways_fault_but_a_slow_provider_is() {
        let idle = Duration::from_secs(1);
        assert_eq!(
            status(&StorageError::ClientTimeout { idle }),
            Status::ClientError
        );
        assert_eq!(
            status(&StorageError::Timeout { after: idle }),
            Status::ServerError
        );
    }
}
