//! The Hub that is really used: one elsewhere, or the development Hub inside this process.

use url::Url;

use crate::app::Failure;
#[cfg(feature = "devhub")]
use crate::app::devhub;
use crate::config::{Config, HubChoice};
use crate::storage::Secret;

/// An opened Hub.
pub(super) struct Upstream {
    /// Where it is.
    pub(super) endpoint: Url,
    /// What to show it.
    pub(super) token: Secret,
    #[cfg(feature = "devhub")]
    development: Option<crate::devhub::DevHub>,
}

impl Upstream {
    /// Opens what the configuration chose; for the development Hub, its directory and a loopback port.
    ///
    /// Errors: the development Hub's directory is in use or damaged.
    pub(super) async fn open(config: &Config) -> Result<Self, Failure> {
        match &config.hub {
            HubChoice::Remote { endpoint, token } => Ok(Self {
                endpoint: endpoint.clone(),
                token: token.clone(),
                #[cfg(feature = "devhub")]
                development: None,
            }),
            #[cfg(feature = "devhub")]
            HubChoice::Development { dir } => {
                let development = devhub::start_embedded(config, dir).await?;
                Ok(Self {
                    endpoint: development.url(),
                    token: Secret::new(devhub::TOKEN),
                    development: Some(development),
                })
            }
            #[cfg(not(feature = "devhub"))]
            HubChoice::Development { .. } => {
                Err(Failure::configuration("this build has no development Hub"))
            }
        }
    }

    /// Returns the token if it is the well-known one of the development Hub.
    pub(super) fn development_token(&self) -> Option<&str> {
        #[cfg(feature = "devhub")]
        let is_development = self.development.is_some();
        #[cfg(not(feature = "devhub"))]
        let is_development = false;
        is_development.then(|| self.token.expose())
    }

    /// Lets the development Hub write what it holds. Nothing for any other.
    pub(super) async fn close(self) {
        #[cfg(feature = "devhub")]
        if let Some(development) = self.development {
            development.shutdown().await;
        }
    }
}
