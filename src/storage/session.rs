//! Temporary credentials: the operation that issues them.

use time::{Duration, OffsetDateTime};

use crate::storage::policy::Policy;
use crate::storage::secret::Secret;

/// Issues temporary credentials, which may do what their issuer may and their policy allows. Nothing is kept of them: they are
/// verified by the issuer's own secret, and end with it.
///
/// Errors: `AccessDenied` for whoever has temporary credentials itself, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssueSession {
    /// What the issuer calls it; fit for logs.
    pub name: String,
    /// What narrows its rights; nothing for all rights of its issuer.
    pub policy: Option<Policy>,
    /// How long it counts, at most as long as its issuer.
    pub life: Duration,
}

/// Temporary credentials.
#[derive(Debug, Clone)]
pub struct SessionIssued {
    /// Whose they are a part of.
    pub issuer: String,
    /// The public half.
    pub access_key_id: String,
    /// The secret half.
    pub secret: Secret,
    /// What has to come along with each request.
    pub token: Secret,
    /// When they end.
    pub expires_at: OffsetDateTime,
}
