//! What all handlers share.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::budget::Budgets;
use super::calls::Calls;
use super::clock::now_secs;
use super::config::{DevHubConfig, DevHubError, DevUser};
use super::faults::Faults;
use super::grants::Grants;
use super::identity::Revoked;
use super::registry::Registry;
use super::signer::Signer;
use super::store::Store;

/// State of the server, behind one [`Arc`].
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) hub_url: Url,
    /// CAS, storage, and CDN: another origin than the Hub's.
    pub(crate) storage_url: Url,
    /// The main user first.
    pub(crate) users: Vec<DevUser>,
    pub(crate) revoked: Revoked,
    pub(crate) registry: Arc<Registry>,
    pub(crate) store: Arc<Store>,
    pub(crate) signer: Arc<Signer>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) calls: Arc<Calls>,
    pub(crate) budgets: Budgets,
    pub(crate) grants: Grants,
}

pub(crate) type Shared = Arc<State>;

impl State {
    /// Opens the data in the configured directory.
    pub(super) fn open(
        config: &DevHubConfig,
        hub_url: Url,
        storage_url: Url,
    ) -> Result<Self, DevHubError> {
        let signer = Arc::new(Signer::new(signing_key(&config.dir.join("signing.key"))?));
        Ok(Self {
            hub_url,
            storage_url,
            users: config.users(),
            revoked: Revoked::default(),
            registry: Arc::new(Registry::open(&config.dir.join("hub.journal"))?),
            store: Arc::new(Store::open(&config.dir)?),
            faults: Arc::new(Faults::new(config.knobs.clone(), signer.clone())),
            signer,
            calls: Arc::default(),
            budgets: Budgets::default(),
            grants: Grants::default(),
        })
    }

    /// Returns an address below the Hub; `path` begins with a slash and is already encoded.
    pub(crate) fn hub_address(&self, path: &str) -> String {
        format!("{}{path}", self.hub_url.as_str().trim_end_matches('/'))
    }

    /// Returns an address below storage; `path` begins with a slash and is already encoded.
    pub(crate) fn storage_address(&self, path: &str) -> String {
        format!("{}{path}", self.storage_url.as_str().trim_end_matches('/'))
    }

    /// Returns a signed address below storage. `target` is a path with a query.
    pub(crate) fn signed_address(&self, target: &str) -> String {
        let expires = now_secs() + whole_secs(self.faults.knobs().url_life);
        self.storage_address(&self.signer.sign_url(target, expires))
    }
}

/// Rounds up, so that a short life is not none.
pub(crate) fn whole_secs(life: Duration) -> u64 {
    life.as_secs() + u64::from(life.subsec_nanos() > 0)
}

/// Runs work that reads or writes files on a blocking thread.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)
}

/// Reads the key of the directory, or makes one.
fn signing_key(path: &Path) -> io::Result<[u8; 32]> {
    if let Ok(bytes) = std::fs::read(path)
        && let Ok(key) = <[u8; 32]>::try_from(bytes)
    {
        return Ok(key);
    }
    let key: [u8; 32] = rand::random();
    std::fs::write(path, key)?;
    Ok(key)
}
