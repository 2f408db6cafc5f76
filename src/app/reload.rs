//! What counts without a restart: credentials and their quotas, the Hub token, and the log level. Their files are read again every few
//! seconds, and at once on SIGHUP.
//!
//! Kubernetes renews a mounted Secret by swapping a symbolic link, and other tools write in place, so the files are simply
//! read and compared, as those of the certificate are.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::signal::unix::Signal;
use tokio::time::MissedTickBehavior;

use crate::app::assemble::{credentials, own_tokens, quotas};
use crate::config::setting::{CONFIG_VARIABLE, SETTINGS};
use crate::config::source::Environment;
use crate::config::{Config, ConfigError, HubChoice, Values};
use crate::layers::auth::CredentialStore;
use crate::layers::{Quotas, Scope, Tenancy};
use crate::provider::hub::HubClient;
use crate::storage::StorageError;
use crate::telemetry::{ConfigPart, LogFilter, Metrics};

/// How often the files are read.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Settings that are followed. A change of any other is told, and counts after a restart.
const FOLLOWED: [&str; 9] = [
    "HUGBUCKET_CREDENTIAL_MAX_REQUESTS",
    "HUGBUCKET_CREDENTIAL_DOWNLOAD_RATE",
    "HUGBUCKET_CREDENTIAL_UPLOAD_RATE",
    "HF_TOKEN",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "FTP_USERNAME",
    "FTP_PASSWORD",
    "HUGBUCKET_LOG",
];

/// Where the configuration comes from. The environment and the flags of a process stay what they are; the files that they
/// name may change.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The environment.
    pub environment: Environment,
    /// Settings given as flags: variable and text.
    pub flags: BTreeMap<&'static str, String>,
    /// The configuration file given as a flag.
    pub file: Option<PathBuf>,
}

impl Sources {
    /// Reads all of them.
    ///
    /// Errors: a file cannot be read, or a value is given in two ways at once.
    pub fn values(&self) -> Result<Values, ConfigError> {
        Values::gather(&self.environment, &self.flags, self.file.as_deref())
    }

    /// Returns the configuration file, if one is named.
    pub(super) fn file_path(&self) -> Option<PathBuf> {
        let named = self.environment.get(CONFIG_VARIABLE);
        let named = named.filter(|path| !path.is_empty()).map(PathBuf::from);
        self.file.clone().or(named)
    }
}

/// What follows the configuration.
pub(super) struct Followers {
    /// Who is let in.
    pub(super) credentials: Arc<ArcSwap<CredentialStore>>,
    /// What each of them may take.
    pub(super) quotas: Arc<ArcSwap<Quotas>>,
    /// What is logged.
    pub(super) log: LogFilter,
    /// The Hub, asked whether it accepts a new token.
    pub(super) hub: HubClient,
    /// Which token is shown to the Hub.
    pub(super) tenancy: Tenancy,
    /// Where it is told how a look at the files went.
    pub(super) metrics: Metrics,
}

/// Follows the files of the configuration.
pub(super) struct Reloader {
    sources: Sources,
    followers: Followers,
    /// What is in use.
    config: Config,
    values: Values,
    /// The scope that requests are served in, with the token in use.
    scope: Scope,
    /// The last problem, told once however long it lasts.
    told: Option<String>,
}

/// What a look at the files found.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Unchanged,
    /// These are in use now.
    Renewed(Vec<&'static str>),
}

impl Reloader {
    /// Begins with what is in use: `config` came from `sources`, and `scope` is served.
    ///
    /// Errors: the sources can no longer be read.
    pub(super) fn new(
        sources: Sources,
        config: Config,
        scope: Scope,
        followers: Followers,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            values: sources.values()?,
            sources,
            followers,
            config,
            scope,
            told: None,
        })
    }

    /// Looks at the files until it is dropped, every five seconds and after each signal of `hangups`.
    ///
    /// # Behaviour
    /// - What cannot be used changes nothing and is told once, however long it lies there.
    /// - A token is used only if the Hub accepts it, and it has access to the same namespace.
    pub(super) async fn follow(mut self, mut hangups: Signal) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                // Nothing more to hear once the runtime ends.
                Some(()) = hangups.recv() => self.told = None,
            }
            let found = self.look().await;
            let metrics = &self.followers.metrics;
            metrics.config_loaded(ConfigPart::Settings, found.is_ok());
            match found {
                Ok(Found::Unchanged) => self.told = None,
                Ok(Found::Renewed(what)) => {
                    self.told = None;
                    tracing::info!(what = what.join(", "), "the configuration was read again");
                }
                Err(problem) => {
                    let problem = problem.to_string();
                    if self.told.as_ref() != Some(&problem) {
                        tracing::error!(%problem, "the changed configuration cannot be used; the old one stays");
                        self.told = Some(problem);
                    }
                }
            }
        }
    }

    async fn look(&mut self) -> Result<Found, ConfigError> {
        let sources = self.sources.clone();
        let read = tokio::task::spawn_blocking(move || {
            let values = sources.values()?;
            let config = Config::resolve(&values)?;
            Ok((values, config))
        });
        let (values, config) = read
            .await
            .map_err(|lost| ConfigError::new(format!("the files were not read: {lost}")))??;
        let mut renewed = Vec::new();
        self.renew_token(&config, &mut renewed).await?;
        self.renew_log(&config, &mut renewed)?;
        self.renew_credentials(&config, &mut renewed);
        self.tell_unfollowed(&values);
        (self.values, self.config) = (values, config);
        Ok(match renewed.is_empty() {
            true => Found::Unchanged,
            false => Found::Renewed(renewed),
        })
    }

    async fn renew_token(
        &mut self,
        config: &Config,
        renewed: &mut Vec<&'static str>,
    ) -> Result<(), ConfigError> {
        let HubChoice::Remote { token, .. } = &config.hub else {
            return Ok(());
        };
        if *token == self.scope.hub_token {
            return Ok(());
        }
        let refused = |reason: String| Err(ConfigError::new(reason));
        let owner = match self.followers.hub.whoami(token).await {
            Ok(owner) => owner,
            Err(StorageError::AccessDenied { reason }) => {
                return refused(format!("the new HF_TOKEN does not work: {reason}"));
            }
            Err(error) => {
                return refused(format!(
                    "it is not known whose the new HF_TOKEN is: {error}"
                ));
            }
        };
        if config.namespace.is_none() && owner.name != self.scope.namespace {
            return refused(format!(
                "the new HF_TOKEN belongs to {}, but {} is served: restart, or set HUGBUCKET_NAMESPACE",
                owner.name, self.scope.namespace
            ));
        }
        self.scope.hub_token = token.clone();
        self.followers.tenancy.resolve(self.scope.clone());
        renewed.push("the Hub token");
        Ok(())
    }

    fn renew_log(
        &self,
        config: &Config,
        renewed: &mut Vec<&'static str>,
    ) -> Result<(), ConfigError> {
        if config.log.filter != self.config.log.filter {
            let set = self.followers.log.set(&config.log.filter);
            set.map_err(ConfigError::new)?;
            renewed.push("the log level");
        }
        Ok(())
    }

    fn renew_credentials(&self, config: &Config, renewed: &mut Vec<&'static str>) {
        let is_same = config.s3.credentials == self.config.s3.credentials
            && config.ftp.users == self.config.ftp.users;
        if !is_same {
            let store = Arc::new(credentials(config));
            self.followers.credentials.store(store);
            self.followers.tenancy.keep_only(&own_tokens(config));
            renewed.push("the credentials");
        }
        let quotas = quotas(config);
        if **self.followers.quotas.load() != quotas {
            self.followers.quotas.store(Arc::new(quotas));
            renewed.push("the quotas");
        }
    }

    /// Tells of changes that do not count yet, once each.
    fn tell_unfollowed(&self, values: &Values) {
        for setting in SETTINGS {
            let variable = setting.variable;
            let is_same = values.get(variable).text == self.values.get(variable).text;
            if !is_same && !FOLLOWED.contains(&variable) {
                let origin = &values.get(variable).origin;
                tracing::warn!("{origin} has changed, which counts after a restart");
            }
        }
    }
}
