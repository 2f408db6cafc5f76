//! `hugbucket warm`: reads objects so that the disk cache has them before somebody asks.
//!
//! It uses the gateway's own provider, without listeners and credentials of clients: as an init container before a
//! gateway, as a job beside one that shares the directory, or by hand. What is on disk already is checked, and not fetched.
//!
//! | file | does |
//! |---|---|
//! | `target` | reads `s3://bucket/prefix` |
//! | `fill` | lists objects, and reads many at once |
//! | `progress` | shows how far it has come, and counts |

mod fill;
mod progress;
mod target;

use std::pin::pin;

use clap::Args;
use tower::ServiceBuilder;

use crate::app::assemble::provider_config;
use crate::app::upstream::Upstream;
use crate::app::warm::fill::Filler;
use crate::app::warm::progress::Progress;
pub use crate::app::warm::target::Target;
use crate::app::{Failure, identity};
use crate::config::Config;
use crate::layers::{RetryLimits, RetryPolicy};
use crate::provider::HfProvider;
use crate::provider::cas::DiskConfig;
use crate::shutdown;
use crate::storage::{Entitlement, Namespace, Principal, Rights, StorageError, Tenant};
use crate::telemetry::Metrics;

/// Settings that do not matter without listeners, and must not keep `warm` from running where they are not complete.
pub(super) const WITHOUT_LISTENERS: [&str; 4] = [
    "HUGBUCKET_S3_ADDR",
    "HUGBUCKET_FTP_ADDR",
    "HUGBUCKET_FTPS_ADDR",
    "HUGBUCKET_ADMIN_ADDR",
];

/// Arguments of `hugbucket warm`.
#[derive(Debug, Clone, Args)]
pub struct WarmArguments {
    /// What to read: a bucket, or what begins alike in it, as `s3://bucket/prefix`.
    #[arg(required = true, value_name = "s3://BUCKET/PREFIX")]
    pub targets: Vec<Target>,
    /// Objects that are read at once.
    #[arg(long, default_value = "8", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,
}

/// Fills the disk cache of the configuration.
///
/// Errors: [`Failure::Configuration`] without a disk cache, or if the Hub refuses the token; [`Failure::Runtime`] if
/// something could not be listed, read, or kept, or if it was interrupted.
pub(super) async fn run(
    config: Config,
    arguments: WarmArguments,
    metrics: Metrics,
) -> Result<(), Failure> {
    if config.caches.disk_dir.is_none() || config.caches.disk_max_bytes == 0 {
        return Err(Failure::configuration(
            "there is nothing to fill: set HUGBUCKET_DISK_CACHE_DIR to the directory of the gateway's disk cache",
        ));
    }
    let termination = shutdown::termination()
        .map_err(|error| Failure::Runtime(format!("cannot watch signals: {error}")))?;
    let upstream = Upstream::open(&config).await?;
    let mut settings = provider_config(&config, upstream.endpoint.clone());
    // Nobody reads anything twice here, so memory need not hold it.
    settings.cas.xorb_cache_max_bytes = 0;
    settings.cas.disk_cache = settings.cas.disk_cache.map(|disk| DiskConfig {
        keeps_all: true,
        ..disk
    });
    let provider = HfProvider::new(settings, &metrics)
        .map_err(|error| Failure::configuration(error.to_string()))?;
    let namespace = namespace(&provider, &upstream, &config).await?;
    let filler = Filler {
        service: ServiceBuilder::new()
            .layer(RetryPolicy::layer(RetryLimits::default()))
            .service(provider.clone()),
        tenant: tenant(&config, &upstream, namespace),
        concurrency: arguments.concurrency.into(),
        progress: Progress::start(),
    };
    let work = async {
        // What is there already need not be fetched: first find out.
        provider.flush_disk_cache().await;
        for target in &arguments.targets {
            filler.fill(target).await?;
        }
        provider.flush_disk_cache().await;
        Ok::<(), Failure>(())
    };
    let outcome = tokio::select! {
        outcome = pin!(work) => outcome,
        () = termination => Err(Failure::Runtime("interrupted; what was read so far is kept".into())),
    };
    let verdict = filler.progress.finish(metrics.disk_cache_totals());
    upstream.close().await;
    outcome.and(verdict)
}

/// Finds out whose buckets these are, with one question: a command that was called by hand should not wait for a Hub.
async fn namespace(
    provider: &HfProvider,
    upstream: &Upstream,
    config: &Config,
) -> Result<Namespace, Failure> {
    match provider.hub().whoami(&upstream.token).await {
        Ok(owner) => Ok(identity::choose(config.namespace.as_ref(), owner)),
        Err(StorageError::AccessDenied { reason }) => Err(Failure::configuration(format!(
            "HF_TOKEN does not work: {reason}"
        ))),
        Err(error) => Err(Failure::Runtime(error.to_string())),
    }
}

fn tenant(config: &Config, upstream: &Upstream, namespace: Namespace) -> Tenant {
    Tenant {
        principal: Principal {
            id: "warm".into(),
            entitlement: Entitlement {
                rights: Rights::ReadOnly,
                ..Entitlement::default()
            },
        },
        namespace,
        extra_namespaces: config.extra_namespaces.as_slice().into(),
        hub_token: upstream.token.clone(),
    }
}
