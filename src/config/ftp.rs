//! The FTP protocol: its settings, and what belongs together among them.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::config::credential::FtpUser;
use crate::config::error::ConfigError;
use crate::config::parse::{self, PortRange};
use crate::config::resolve;
use crate::config::settings::{Listeners, TlsFiles};
use crate::config::source::Values;

/// The FTP protocol.
#[derive(Debug, Clone)]
pub struct FtpSettings {
    /// `FTP_USERNAME` and `FTP_PASSWORD`, then `[[ftp_users]]` of the file.
    pub users: Vec<FtpUser>,
    /// `HUGBUCKET_FTP_PASSIVE_PORTS`, 30000-30199: ports of passive data connections.
    pub passive_ports: PortRange,
    /// `HUGBUCKET_FTP_PASSIVE_HOST`, none: address told to passive clients instead of that of their connection.
    pub passive_host: Option<Ipv4Addr>,
    /// `HUGBUCKET_FTP_ACTIVE`, false: the server may connect to clients.
    pub allows_active: bool,
    /// `HUGBUCKET_FTP_TLS_CERT_FILE` and `HUGBUCKET_FTP_TLS_KEY_FILE`: the certificate; without one of its own, that of S3.
    pub tls: Option<TlsFiles>,
    /// `HUGBUCKET_FTP_PLAINTEXT`, `loopback`: who may go without TLS.
    pub plaintext: PlaintextFtp,
    /// `HUGBUCKET_FTP_PROXY_PROTOCOL`, false: connections of trusted proxies begin with a PROXY header.
    pub expects_proxy_header: bool,
    /// `HUGBUCKET_FTP_MAX_SESSIONS`, 1000, at least 1.
    pub max_sessions: usize,
    /// `HUGBUCKET_FTP_MAX_SESSIONS_PER_ADDRESS`, 200, at least 1.
    pub max_sessions_per_address: usize,
    /// `HUGBUCKET_FTP_MAX_LIST_ENTRIES`, 100000, at least 1: a listing lies in memory as a whole.
    pub max_list_entries: usize,
    /// `HUGBUCKET_FTP_IDLE_TIMEOUT`, 300 s: time without a command; none for 0.
    pub idle_timeout: Option<Duration>,
}

/// Who may use FTP without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaintextFtp {
    /// Clients on this machine.
    Loopback,
    /// Everybody.
    Always,
    /// Nobody.
    Never,
}

/// Returns the settings; `of_s3` is the certificate of the S3 listener.
///
/// Errors: one of them cannot be read.
pub(super) fn settings(
    values: &Values,
    users: Vec<FtpUser>,
    of_s3: Option<TlsFiles>,
) -> Result<FtpSettings, ConfigError> {
    let (certificate, key) = ("HUGBUCKET_FTP_TLS_CERT_FILE", "HUGBUCKET_FTP_TLS_KEY_FILE");
    let passive_host = |text: &str| match text {
        "" => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|_| format!("`{text}` is not an IPv4 address")),
    };
    let plaintext = |text: &str| match text {
        "loopback" => Ok(PlaintextFtp::Loopback),
        "always" => Ok(PlaintextFtp::Always),
        "never" => Ok(PlaintextFtp::Never),
        _ => Err(format!("`{text}` is none of `loopback`, `always`, `never`")),
    };
    Ok(FtpSettings {
        users,
        passive_ports: values.parse("HUGBUCKET_FTP_PASSIVE_PORTS", parse::port_range)?,
        passive_host: values.parse("HUGBUCKET_FTP_PASSIVE_HOST", passive_host)?,
        allows_active: values.parse("HUGBUCKET_FTP_ACTIVE", parse::switch)?,
        tls: resolve::tls(values, certificate, key)?.or(of_s3),
        plaintext: values.parse("HUGBUCKET_FTP_PLAINTEXT", plaintext)?,
        expects_proxy_header: values.parse("HUGBUCKET_FTP_PROXY_PROTOCOL", parse::switch)?,
        max_sessions: values.parse("HUGBUCKET_FTP_MAX_SESSIONS", parse::positive)?,
        max_sessions_per_address: values
            .parse("HUGBUCKET_FTP_MAX_SESSIONS_PER_ADDRESS", parse::positive)?,
        max_list_entries: values.parse("HUGBUCKET_FTP_MAX_LIST_ENTRIES", parse::positive)?,
        idle_timeout: values.parse("HUGBUCKET_FTP_IDLE_TIMEOUT", parse::unless_zero)?,
    })
}

/// Checks the listeners against the certificate.
///
/// Errors: encryption is asked for, and there is nothing to encrypt with.
pub(super) fn check(settings: &FtpSettings, listeners: &Listeners) -> Result<(), ConfigError> {
    let needs =
        "needs a certificate: set HUGBUCKET_FTP_TLS_CERT_FILE and HUGBUCKET_FTP_TLS_KEY_FILE";
    if settings.tls.is_some() {
        return Ok(());
    }
    if listeners.ftps.is_some() {
        return Err(ConfigError::new(format!("HUGBUCKET_FTPS_ADDR {needs}")));
    }
    if listeners.ftp.is_some() && settings.plaintext == PlaintextFtp::Never {
        let sentence = format!("HUGBUCKET_FTP_PLAINTEXT=never {needs}");
        return Err(ConfigError::new(sentence));
    }
    Ok(())
}

/// Returns what the start should say: that clients on other machines cannot log in, for example.
pub(super) fn warning(settings: &FtpSettings, listeners: &Listeners) -> Option<String> {
    let is_reachable = listeners
        .ftp
        .is_some_and(|address| !address.ip().is_loopback());
    match settings.plaintext {
        PlaintextFtp::Loopback if is_reachable && settings.tls.is_none() => Some(
            "FTP serves clients on this machine only: set HUGBUCKET_FTP_TLS_CERT_FILE and _KEY_FILE for others, \
             or HUGBUCKET_FTP_PLAINTEXT=always to let passwords and data cross the network in the clear"
                .to_owned(),
        ),
        PlaintextFtp::Always if is_reachable => Some(
            "HUGBUCKET_FTP_PLAINTEXT=always lets FTP passwords and data cross the network in the clear"
                .to_owned(),
        ),
        _ => None,
    }
}
