//! The development Hub: inside the gateway, or alone as `hugbucket devhub`.

use std::path::Path;

use crate::app::Failure;
use crate::app::announce::replace_file;
use crate::app::cli::DevHubArguments;
use crate::config::Config;
use crate::devhub::{DevHub, DevHubConfig, Knobs};
use crate::shutdown;
use crate::storage::Secret;

/// Token of the development Hub's user. It opens nothing but a loopback port of this machine, so it is no secret.
pub(super) const TOKEN: &str = "hf_development";

/// Name of the development Hub's user.
pub(super) const NAMESPACE: &str = "dev";

/// Starts the development Hub for a gateway, on a free loopback port.
///
/// It knows the configured namespaces, so that a configuration for the real Hub works against it.
///
/// Errors: the directory is in use, or cannot be read or written.
pub(super) async fn start_embedded(config: &Config, dir: &Path) -> Result<DevHub, Failure> {
    let namespace = config
        .namespace
        .as_ref()
        .map_or(NAMESPACE, |name| name.as_str());
    let mut settings = DevHubConfig::new(dir, Secret::new(TOKEN), namespace);
    let extra = config.extra_namespaces.iter();
    settings
        .organizations
        .extend(extra.map(ToString::to_string));
    start(settings).await
}

/// Runs the development Hub until a signal comes.
///
/// Errors: the address is taken or not loopback, or the directory cannot be used.
pub(super) async fn run_alone(arguments: DevHubArguments) -> Result<(), Failure> {
    let termination = shutdown::termination()
        .map_err(|error| Failure::Runtime(format!("cannot watch signals: {error}")))?;
    let token = Secret::new(arguments.token.as_str());
    let mut settings = DevHubConfig::new(&arguments.dir, token, &arguments.namespace);
    settings.listen = arguments.addr;
    settings.knobs = Knobs {
        hub_latency: arguments.hub_latency,
        cas_latency: arguments.cas_latency,
        ..Knobs::default()
    };
    let hub = start(settings).await?;
    let endpoint = hub.url();
    let endpoint = endpoint.as_str().trim_end_matches('/');
    if let Some(path) = &arguments.ready_file {
        let facts = serde_json::json!({ "hub": endpoint, "token": arguments.token });
        replace_file(path, &facts).map_err(|error| {
            Failure::Runtime(format!("cannot write {}: {error}", path.display()))
        })?;
    }
    println!(
        "hugbucket {}: development Hub, data in {}\n  \
         export HF_ENDPOINT={endpoint} HF_TOKEN={}",
        env!("CARGO_PKG_VERSION"),
        arguments.dir.display(),
        arguments.token
    );
    termination.await;
    hub.shutdown().await;
    Ok(())
}

async fn start(settings: DevHubConfig) -> Result<DevHub, Failure> {
    let started = DevHub::start(settings).await;
    started.map_err(|error| Failure::configuration(error.to_string()))
}
