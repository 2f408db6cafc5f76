//! Tells people and programs that the gateway is there.

use std::fmt::Write;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::app::listen::Addresses;
use crate::config::{Config, FtpUser, HubChoice};
use crate::storage::{Namespace, StoredPassword};

/// What is known once requests are served.
pub(super) struct Announcement<'a> {
    pub(super) config: &'a Config,
    pub(super) addresses: Addresses,
    pub(super) namespace: &'a Namespace,
    /// Address of the Hub that is really used.
    pub(super) hub: &'a str,
    /// Token of the development Hub, which is public; nothing for any other.
    pub(super) development_token: Option<&'a str>,
}

impl Announcement<'_> {
    /// Returns the text for people: listeners, Hub, namespace, and commands to paste.
    ///
    /// Secrets are shown only if they are the built-in ones of the development Hub.
    pub(super) fn banner(&self) -> String {
        let mut text = format!("hugbucket {}\n", env!("CARGO_PKG_VERSION"));
        let mut line = |name: &str, value: &str| push(&mut text, &format!("  {name:<10} {value}"));
        match self.addresses.s3 {
            Some(address) => line("S3", &self.s3_url(address)),
            None => line("S3", "off"),
        }
        match self.addresses.ftp {
            Some(address) => line("FTP", &host_url("ftp", address)),
            None if self.config.ftp.users.is_empty() => {
                line(
                    "FTP",
                    "off: there is no FTP user (FTP_USERNAME, FTP_PASSWORD)",
                );
            }
            None => line("FTP", "off"),
        }
        if let Some(address) = self.addresses.ftps {
            line("FTPS", &host_url("ftps", address));
        }
        match self.addresses.admin {
            Some(address) => line("admin", &format!("{}/readyz, /metrics", url(address))),
            None => line("admin", "off"),
        }
        line("Hub", self.hub);
        line("namespace", self.namespace.as_str());
        if let HubChoice::Development { dir } = &self.config.hub {
            line("data", &dir.display().to_string());
            push(&mut text, DEVELOPMENT_NOTICE);
        }
        if let Some(address) = self.addresses.s3 {
            push(&mut text, &self.commands(address));
        }
        if let Some(address) = self.addresses.ftp {
            push(&mut text, &self.ftp_commands(address));
        }
        text
    }

    /// Returns commands for FTP. The certificate is not checked where there is one: it names a host, and here is an address.
    fn ftp_commands(&self, address: SocketAddr) -> String {
        let user = self.config.ftp.users.first();
        let name = user.map_or("<user>", |user| user.name.as_str());
        let password = match user {
            Some(FtpUser {
                password: StoredPassword::Plain(secret),
                is_built_in: true,
                ..
            }) => secret.expose(),
            _ => "<its password>",
        };
        let (curl_tls, lftp_tls) = match &self.config.ftp.tls {
            Some(_) => ("--ssl-reqd --insecure ", "set ssl:verify-certificate no; "),
            None => ("", ""),
        };
        let host = host_url("ftp", address);
        format!(
            "\n\x20 curl {curl_tls}--ftp-create-dirs -T README.md --user '{name}:{password}' {host}/demo/docs/\n\
             \x20 lftp -u '{name},{password}' -e '{lftp_tls}ls demo/docs; bye' {host}"
        )
    }

    /// Returns commands that work when pasted into a shell. The endpoint is an IP address, so that the clients put the
    /// bucket into the path without being told.
    fn commands(&self, address: SocketAddr) -> String {
        let endpoint = self.s3_url(address);
        let region = &self.config.s3.region;
        let built_in = self
            .config
            .s3
            .credentials
            .iter()
            .find(|one| one.is_built_in);
        let (id, secret) = match (built_in, self.config.s3.credentials.first()) {
            (Some(one), _) => (one.access_key_id.as_str(), one.secret.expose()),
            (None, Some(one)) => (one.access_key_id.as_str(), "<its secret>"),
            (None, None) => ("<id>", "<secret>"),
        };
        format!(
            "\nTry it:\n\
             \x20 export AWS_ACCESS_KEY_ID={id} AWS_SECRET_ACCESS_KEY={secret} AWS_REGION={region}\n\
             \x20 export AWS_ENDPOINT_URL={endpoint}\n\
             \x20 aws s3 mb s3://demo\n\
             \x20 aws s3 cp README.md s3://demo/\n\
             \x20 aws s3 ls s3://demo/"
        )
    }

    fn s3_url(&self, address: SocketAddr) -> String {
        let url = url(address);
        match &self.config.tls {
            Some(_) => url.replacen("http://", "https://", 1),
            None => url,
        }
    }

    /// Writes the facts for programs as one JSON object, whole or not at all.
    pub(super) fn write_ready_file(&self, path: &Path) -> io::Result<()> {
        let facts = serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "s3": self.addresses.s3.map(|address| self.s3_url(address)),
            "ftp": self.addresses.ftp.map(|address| host_url("ftp", address)),
            "ftps": self.addresses.ftps.map(|address| host_url("ftps", address)),
            "admin": self.addresses.admin.map(url),
            "hub": self.hub,
            "namespace": self.namespace.as_str(),
            "development_token": self.development_token,
        });
        replace_file(path, &facts)
    }
}

const DEVELOPMENT_NOTICE: &str = "\n  \
    HF_TOKEN is not set: this is the DEVELOPMENT HUB, on this machine only.\n  \
    Nothing reaches huggingface.co. Set HF_TOKEN to use the real Hub.";

/// Returns the address to connect to over HTTP.
fn url(address: SocketAddr) -> String {
    host_url("http", address)
}

/// Returns the address to connect to; "every address" is shown as loopback.
fn host_url(scheme: &str, address: SocketAddr) -> String {
    let ip = match address.ip() {
        ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        ip => ip,
    };
    format!("{scheme}://{}", SocketAddr::new(ip, address.port()))
}

/// Writes beside the file and renames, so that whoever waits for the file never reads half of it.
pub(super) fn replace_file(path: &Path, facts: &serde_json::Value) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    std::fs::write(&beside, format!("{facts}\n"))?;
    std::fs::rename(&beside, path)
}

fn push(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("writing to a String does not fail");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::Values;

    fn config(pairs: &[(&str, &str)]) -> Config {
        let environment = pairs
            .iter()
            .map(|(name, text)| ((*name).into(), (*text).into()))
            .collect();
        Config::resolve(&Values::gather(&environment, &BTreeMap::new(), None).unwrap()).unwrap()
    }

    fn announcement<'a>(config: &'a Config, namespace: &'a Namespace) -> Announcement<'a> {
        Announcement {
            config,
            addresses: Addresses {
                s3: Some("0.0.0.0:9000".parse().unwrap()),
                ftp: Some("0.0.0.0:2121".parse().unwrap()),
                ftps: None,
                admin: None,
            },
            namespace,
            hub: "http://127.0.0.1:5",
            development_token: None,
        }
    }

    fn me() -> Namespace {
        Namespace::new("me").unwrap()
    }

    #[test]
    fn the_built_in_credential_is_shown_and_the_development_hub_announced_loudly() {
        let banner = announcement(&config(&[]), &me()).banner();
        assert!(
            banner.contains("AWS_SECRET_ACCESS_KEY=hugbucket"),
            "{banner}"
        );
        assert!(banner.contains("DEVELOPMENT HUB"), "{banner}");
        assert!(banner.contains("--user 'hugbucket:hugbucket' ftp://127.0.0.1:2121/demo/"));
        assert!(banner.contains("lftp -u 'hugbucket,hugbucket'"), "{banner}");
        assert!(
            banner.contains("AWS_ENDPOINT_URL=http://127.0.0.1:9000"),
            "{banner}"
        );
    }

    #[test]
    fn no_other_secret_is_shown() {
        let remote = config(&[
            ("HF_TOKEN", "hush"),
            ("AWS_ACCESS_KEY_ID", "own"),
            ("AWS_SECRET_ACCESS_KEY", "hush"),
            ("FTP_USERNAME", "ann"),
            ("FTP_PASSWORD", "hush"),
        ]);
        let banner = announcement(&remote, &me()).banner();
        assert!(banner.contains("AWS_ACCESS_KEY_ID=own"), "{banner}");
        assert!(
            !banner.contains("hush") && !banner.contains("DEVELOPMENT"),
            "{banner}"
        );
    }

    #[test]
    fn with_a_certificate_the_endpoint_is_https() {
        let files = [
            ("HUGBUCKET_TLS_CERT_FILE", "/run/tls.crt"),
            ("HUGBUCKET_TLS_KEY_FILE", "/run/tls.key"),
        ];
        let banner = announcement(&config(&files), &me()).banner();
        assert!(
            banner.contains("AWS_ENDPOINT_URL=https://127.0.0.1:9000"),
            "{banner}"
        );
    }

    #[test]
    fn the_ready_file_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ready.json");
        std::fs::write(
            &path,
            "old and longer than what comes; old and longer than what comes",
        )
        .unwrap();
        let written = announcement(&config(&[]), &me()).write_ready_file(&path);
        written.unwrap();
        let facts: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(facts["s3"], "http://127.0.0.1:9000");
        assert_eq!(facts["admin"], serde_json::Value::Null);
        assert_eq!(facts["namespace"], "me");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
