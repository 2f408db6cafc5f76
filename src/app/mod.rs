//! The process: what the command line asks for, and how the parts are put together to do it.
//!
//! | file | does |
//! |---|---|
//! | [`cli`] | reads the command line |
//! | [`serve`] | starts the gateway, and ends it |
//! | `assemble` | builds the gateway from its configuration |
//! | `upstream` | opens the Hub that is used |
//! | `identity` | finds out whose buckets these are |
//! | `listen` | binds listeners |
//! | [`reload`] | follows the files of the configuration |
//! | `announce` | tells people and programs that the gateway is there |
//! | `devhub` | runs the development Hub, alone or inside the gateway |
//! | `undelete` | brings back what was overwritten or deleted |
//! | `credentials` | changes the credentials of the configuration file |
//! | [`warm`] | fills the disk cache |
//! | `healthcheck` | asks a running gateway how it is |

pub mod cli;
pub mod credentials;
pub mod reload;
pub mod serve;
pub mod warm;

mod announce;
mod assemble;

#[cfg(feature = "devhub")]
mod devhub;
mod healthcheck;
mod identity;
mod listen;
mod undelete;
mod upstream;

use std::fmt;
use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use crate::app::cli::{Command, Invocation};
use crate::app::reload::Sources;
use crate::config::setting::CONFIG_VARIABLE;
use crate::config::{Config, ConfigError, print};
use crate::telemetry::{Metrics, Telemetry, TraceSettings};

/// How long the last spans may take to leave.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);

/// Why the process ends with something else than success.
#[derive(Debug)]
pub enum Failure {
    /// What it was told cannot be done: exit code 2, and trying again does not help.
    Configuration(ConfigError),
    /// Something went wrong that may be right next time: exit code 1.
    Runtime(String),
}

impl Failure {
    fn configuration(sentence: impl Into<String>) -> Self {
        Self::Configuration(ConfigError::new(sentence))
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(_) => 2,
            Self::Runtime(_) => 1,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration(error) => error.fmt(f),
            Self::Runtime(sentence) => f.write_str(sentence),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Configuration(error)
    }
}

/// Does what the command line asks for. Exit codes: 0 clean, 1 runtime, 2 configuration.
pub fn main() -> ExitCode {
    match run(cli::invocation()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("hugbucket: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(invocation: Invocation) -> Result<(), Failure> {
    let environment = std::env::vars_os()
        .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)))
        .collect();
    let sources = Sources {
        environment,
        flags: invocation.flags,
        file: invocation.config,
    };
    let values = || sources.values();
    match invocation.command {
        Command::Serve => {
            let config = Config::resolve(&values()?)?;
            let metrics = Metrics::new();
            let telemetry = start_telemetry(&config, &metrics)?;
            let log = telemetry.filter.clone();
            let outcome = block_on(serve::serve(config, sources, log, metrics));
            if let Some(traces) = telemetry.traces {
                traces.flush(FLUSH_LIMIT);
            }
            outcome
        }
        Command::CheckConfig => {
            let config = Config::resolve(&values()?)?;
            for warning in &config.warnings {
                eprintln!("hugbucket: {warning}");
            }
            println!("the configuration is valid");
            Ok(())
        }
        Command::PrintConfig => {
            let values = values()?;
            Config::resolve(&values)?;
            print!("{}", print::document(&values));
            Ok(())
        }
        #[cfg(feature = "devhub")]
        Command::DevHub(arguments) => block_on(devhub::run_alone(arguments)),
        Command::Credentials(arguments) => {
            let path = sources.file_path().ok_or_else(|| {
                Failure::configuration(format!(
                    "credentials are kept in the configuration file: name it by --config or {CONFIG_VARIABLE}"
                ))
            })?;
            print!("{}", credentials::run(&path, arguments)?);
            Ok(())
        }
        Command::Undelete(arguments) => {
            let config = Config::resolve(&values()?)?;
            block_on(async move { undelete::run(&config, &arguments).await })
        }
        Command::Warm(arguments) => {
            let mut sources = sources;
            let off = |variable| (variable, "off".to_owned());
            sources
                .flags
                .extend(warm::WITHOUT_LISTENERS.into_iter().map(off));
            let config = Config::resolve(&sources.values()?)?;
            let metrics = Metrics::new();
            let telemetry = start_telemetry(&config, &metrics)?;
            let outcome = block_on(warm::run(config, arguments, metrics));
            if let Some(traces) = telemetry.traces {
                traces.flush(FLUSH_LIMIT);
            }
            outcome
        }
        Command::HealthCheck(arguments) => block_on(healthcheck::run(&values()?, arguments)),
    }
}

/// Begins to log and to trace, outside of the runtime: the exporter of spans has threads of its own.
fn start_telemetry(config: &Config, metrics: &Metrics) -> Result<Telemetry, Failure> {
    let traces = TraceSettings::from_variables(|name| std::env::var(name).ok())
        .map_err(Failure::configuration)?;
    Telemetry::start(&config.log, traces, metrics).map_err(Failure::configuration)
}

fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Runtime(format!("cannot start the runtime: {error}")))?;
    let outcome = runtime.block_on(work);
    // What still runs after the drain was given up: nothing is waited for.
    runtime.shutdown_background();
    outcome
}
