//! The command line: flags for every setting that is no secret, and the subcommands.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches, Subcommand};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::app::credentials::CredentialsArguments;
use crate::app::warm::WarmArguments;
use crate::config::parse;
use crate::config::setting::{CONFIG_VARIABLE, Kind, SETTINGS, Setting};

/// What the command line asks for.
#[derive(Debug)]
pub struct Invocation {
    /// Settings given as flags: variable and text.
    pub flags: BTreeMap<&'static str, String>,
    /// The configuration file given as a flag.
    pub config: Option<PathBuf>,
    /// What to do.
    pub command: Command,
}

/// What to do.
#[derive(Debug)]
pub enum Command {
    /// Serve; what the command does without a subcommand.
    Serve,
    /// Say whether the configuration can be used.
    CheckConfig,
    /// Show the effective configuration.
    PrintConfig,
    /// Run the development Hub alone.
    #[cfg(feature = "devhub")]
    DevHub(DevHubArguments),
    /// Ask a running gateway whether it is ready.
    HealthCheck(HealthCheckArguments),
    /// Bring back what was overwritten or deleted.
    Undelete(UndeleteArguments),
    /// Add, list, or revoke credentials of the configuration file.
    Credentials(CredentialsArguments),
    /// Fill the disk cache.
    Warm(WarmArguments),
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Run the development Hub alone, without a gateway in front.
    #[cfg(feature = "devhub")]
    #[command(name = "devhub")]
    DevHub(DevHubArguments),
    /// Ask the gateway of the same configuration whether it is ready; exit code 0 or 1.
    #[command(name = "healthcheck")]
    HealthCheck(HealthCheckArguments),
    /// Bring back what was overwritten or deleted, in buckets that keep it (`undo` in the configuration file).
    #[command(name = "undelete")]
    Undelete(UndeleteArguments),
    /// Add, list, or revoke S3 credentials and FTP users of the configuration file; a running gateway follows by itself.
    #[command(name = "credentials")]
    Credentials(CredentialsArguments),
    /// Read objects into the disk cache of the configuration, before somebody asks for them; exit code 1 if one is missing.
    Warm(WarmArguments),
}

/// Arguments of `hugbucket devhub`.
#[cfg(feature = "devhub")]
#[derive(Debug, Clone, Args)]
pub struct DevHubArguments {
    /// Loopback address and port to listen on; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub addr: std::net::SocketAddr,
    /// Where the data is kept.
    #[arg(long, default_value = ".hugbucket-dev")]
    pub dir: PathBuf,
    /// Token of the one user.
    #[arg(long, default_value = super::devhub::TOKEN)]
    pub token: String,
    /// Name of the one user.
    #[arg(long, default_value = super::devhub::NAMESPACE)]
    pub namespace: String,
    /// Time added to every call of the Hub, such as `60 ms`.
    #[arg(long, default_value = "0", value_parser = parse::duration)]
    pub hub_latency: Duration,
    /// Time added to every call of the CAS, such as `30 ms`.
    #[arg(long, default_value = "0", value_parser = parse::duration)]
    pub cas_latency: Duration,
    /// File that is written once calls are served: JSON with the address and the token.
    #[arg(long)]
    pub ready_file: Option<PathBuf>,
}

/// Arguments of `hugbucket healthcheck`.
#[derive(Debug, Clone, Args)]
pub struct HealthCheckArguments {
    /// Admin listener of another gateway, as host and port; by default, that of this configuration.
    #[arg(long, value_name = "HOST:PORT")]
    pub addr: Option<String>,
    /// How long to wait for the answer.
    #[arg(long, default_value = "3 s", value_parser = parse::duration)]
    pub timeout: Duration,
}

/// Arguments of `hugbucket undelete`.
#[derive(Debug, Clone, Args)]
pub struct UndeleteArguments {
    /// What to bring back: `s3://bucket/key`, or `s3://bucket/directory/` for everything below it.
    #[arg(value_name = "s3://BUCKET/KEY")]
    pub target: String,
    /// Bring back what stood at this time, such as 2026-01-02T03:04:05Z, and not what was replaced last.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub at: Option<OffsetDateTime>,
    /// Show the copies that are kept, and change nothing.
    #[arg(long)]
    pub list: bool,
    /// Replace what stands there now.
    #[arg(long)]
    pub force: bool,
}

fn moment(text: &str) -> Result<OffsetDateTime, String> {
    OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| format!("`{text}` is not a time such as 2026-01-02T03:04:05Z"))
}

/// Reads the process's command line. Ends the process for `--help` and `--version` (0), and for what is malformed (2).
pub fn invocation() -> Invocation {
    let matches = command().get_matches();
    from_matches(&matches).unwrap_or_else(|error| error.exit())
}

fn command() -> clap::Command {
    let flags = SETTINGS.iter().filter_map(setting_flag);
    let command = clap::Command::new("hugbucket")
        .version(env!("CARGO_PKG_VERSION"))
        .about("The S3 endpoint for Hugging Face Storage Buckets. Without a subcommand, it serves.")
        .after_help(secrets_help())
        .subcommand_negates_reqs(true)
        .arg(
            Arg::new(CONFIG_VARIABLE)
                .long("config")
                .value_name("FILE")
                .value_parser(clap::value_parser!(PathBuf))
                .help(format!("configuration file, TOML [env: {CONFIG_VARIABLE}]")),
        )
        .args(flags)
        .arg(action_flag(
            "check-config",
            "say whether the configuration can be used, and exit",
        ))
        .arg(action_flag(
            "print-config",
            "show the effective configuration without secrets, and exit",
        ));
    Subcommands::augment_subcommands(command).subcommand_required(false)
}

fn action_flag(name: &'static str, help: &'static str) -> Arg {
    let flag = Arg::new(name).long(name).help(help);
    flag.action(ArgAction::SetTrue)
}

fn setting_flag(setting: &'static Setting) -> Option<Arg> {
    let flag = setting.flag()?;
    let mut help = format!("{} [env: {}]", setting.meaning, setting.variable);
    if !setting.default.is_empty() {
        help.push_str(&format!(" [default: {}]", setting.default));
    }
    let arg = Arg::new(setting.variable).long(flag).help(help);
    Some(match setting.kind {
        Kind::Switch => arg
            .value_name("BOOL")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        Kind::Text | Kind::TextOrFile | Kind::Secret => arg.value_name("VALUE"),
    })
}

fn secrets_help() -> String {
    let secrets = SETTINGS.iter().filter(|setting| setting.is_secret());
    let lines: Vec<String> = secrets
        .map(|setting| format!("  {:<22} {}", setting.variable, setting.meaning))
        .collect();
    format!(
        "Secrets have no flags, because other users see a process's flags; each may also lie in a file named by the \
         variable with _FILE behind it:\n{}",
        lines.join("\n")
    )
}

fn from_matches(matches: &ArgMatches) -> Result<Invocation, clap::Error> {
    let given = |setting: &'static Setting| {
        setting.flag()?; // There is no argument to ask for where there is no flag.
        let text = matches.get_one::<String>(setting.variable)?;
        Some((setting.variable, text.clone()))
    };
    let command = match matches.subcommand() {
        Some(_) => match Subcommands::from_arg_matches(matches)? {
            #[cfg(feature = "devhub")]
            Subcommands::DevHub(arguments) => Command::DevHub(arguments),
            Subcommands::HealthCheck(arguments) => Command::HealthCheck(arguments),
            Subcommands::Undelete(arguments) => Command::Undelete(arguments),
            Subcommands::Credentials(arguments) => Command::Credentials(arguments),
            Subcommands::Warm(arguments) => Command::Warm(arguments),
        },
        None if matches.get_flag("check-config") => Command::CheckConfig,
        None if matches.get_flag("print-config") => Command::PrintConfig,
        None => Command::Serve,
    };
    Ok(Invocation {
        flags: SETTINGS.iter().filter_map(given).collect(),
        config: matches.get_one::<PathBuf>(CONFIG_VARIABLE).cloned(),
        command,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invoke(arguments: &[&str]) -> Result<Invocation, clap::Error> {
        let arguments = std::iter::once("hugbucket").chain(arguments.iter().copied());
        from_matches(&command().try_get_matches_from(arguments)?)
    }

    #[test]
    fn the_command_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn without_a_subcommand_it_serves() {
        let invocation = invoke(&[]).unwrap();
        assert!(matches!(invocation.command, Command::Serve));
        assert!(invocation.flags.is_empty());
    }

    #[test]
    fn every_setting_that_is_no_secret_has_a_flag() {
        for setting in SETTINGS {
            match setting.flag() {
                Some(flag) => {
                    let invocation = invoke(&[&format!("--{flag}=true")]).unwrap();
                    assert_eq!(invocation.flags[setting.variable], "true");
                }
                None => {
                    let flag = format!("--{}=x", setting.key().replace('_', "-"));
                    assert!(invoke(&[&flag]).is_err(), "{flag}");
                }
            }
        }
    }

    #[test]
    fn what_is_warmed_is_named_as_s3_tools_do() {
        let Command::Warm(warm) = invoke(&["warm", "s3://a/b/c", "s3://d"]).unwrap().command else {
            panic!("another command");
        };
        assert_eq!((warm.targets.len(), warm.concurrency), (2, 8));
        assert_eq!(warm.targets[0].prefix, "b/c");
        for arguments in [
            &["warm"][..],
            &["warm", "bucket"],
            &["warm", "--concurrency=0", "s3://a"],
        ] {
            assert_eq!(invoke(arguments).unwrap_err().exit_code(), 2);
        }
    }

    #[test]
    fn switches_need_no_value() {
        let flags = invoke(&["--dev", "--require-token=false"]).unwrap().flags;
        assert_eq!(flags["HUGBUCKET_DEV"], "true");
        assert_eq!(flags["HUGBUCKET_REQUIRE_TOKEN"], "false");
    }

    #[test]
    fn unknown_flags_and_subcommands_are_refused() {
        for arguments in [["--s3-adr", "off"], ["serve", "now"]] {
            assert_eq!(invoke(&arguments).unwrap_err().exit_code(), 2);
        }
    }

    #[test]
    fn subcommands_take_their_arguments_and_the_file() {
        let invocation =
            invoke(&["--config", "/c.toml", "healthcheck", "--timeout", "1s"]).unwrap();
        assert_eq!(invocation.config, Some("/c.toml".into()));
        assert!(matches!(
            invocation.command,
            Command::HealthCheck(HealthCheckArguments { timeout, .. }) if timeout == Duration::from_secs(1)
        ));
    }

    #[test]
    fn undelete_takes_a_time_and_refuses_what_is_none() {
        let invocation = invoke(&["undelete", "s3://b/k", "--at", "2026-01-02T03:04:05Z"]);
        let Command::Undelete(arguments) = invocation.unwrap().command else {
            panic!()
        };
        assert_eq!(arguments.target, "s3://b/k");
        assert_eq!(arguments.at.unwrap().unix_timestamp(), 1_767_323_045);
        assert!(!arguments.list && !arguments.force);
        assert!(invoke(&["undelete"]).is_err());
        assert!(invoke(&["undelete", "s3://b/k", "--at", "yesterday"]).is_err());
    }

    #[cfg(feature = "devhub")]
    #[test]
    fn the_development_hub_takes_latencies() {
        let invocation =
            invoke(&["devhub", "--hub-latency", "60ms", "--addr", "127.0.0.1:5"]).unwrap();
        assert!(matches!(
            invocation.command,
            Command::DevHub(DevHubArguments { hub_latency, .. }) if hub_latency == Duration::from_millis(60)
        ));
    }
}
