//! Where the CAS of a bucket is, and the token that opens it.
//!
//! The Hub hands both out; this module only knows how to ask for them, so that it need not know the Hub.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use url::Url;

use crate::storage::{Secret, SecretId, StorageError};

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Reconstruction plans and reads.
    Read,
    /// Xorbs and shards; it also reads.
    Write,
}

/// A CAS endpoint with a token that is valid for it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CasAccess {
    /// Base address, without a trailing slash in its path.
    pub url: Url,
    /// Bearer token.
    pub token: Secret,
}

/// Hands out [`CasAccess`] for one bucket: from a cache, or freshly from the Hub.
#[derive(Clone)]
pub struct AccessSource {
    reader: SecretId,
    fetch: Arc<Fetch>,
}

/// The second argument is the access that the CAS refused: the answer must be another one.
type Fetch = dyn Fn(Scope, Option<CasAccess>) -> BoxFuture<'static, Result<CasAccess, StorageError>>
    + Send
    + Sync;

impl AccessSource {
    /// Wraps the function that fetches access for whoever `reader` tells apart from others: what is learnt with this
    /// access is not shown to those with another one.
    pub fn new(
        reader: SecretId,
        fetch: impl Fn(Scope, Option<CasAccess>) -> BoxFuture<'static, Result<CasAccess, StorageError>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self {
            reader,
            fetch: Arc::new(fetch),
        }
    }

    /// Returns access that is believed to be valid.
    pub async fn get(&self, scope: Scope) -> Result<CasAccess, StorageError> {
        (self.fetch)(scope, None).await
    }

    /// Returns new access after the CAS has refused `stale` with 401 or 403. Call it once per request, not in a loop.
    pub async fn refresh(&self, scope: Scope, stale: CasAccess) -> Result<CasAccess, StorageError> {
        (self.fetch)(scope, Some(stale)).await
    }

    /// Returns what tells those apart who have access.
    pub fn reader(&self) -> SecretId {
        self.reader
    }
}

impl fmt::Debug for AccessSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessSource")
    }
}
