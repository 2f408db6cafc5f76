//! From texts to the typed configuration, and the rules about what belongs together.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::cors;
use crate::config::credential;
use crate::config::error::ConfigError;
use crate::config::ftp;
use crate::config::parse;
use crate::config::quota;
use crate::config::settings::{
    Budgets, Caches, ChangeFeed, Config, DrainTimes, HubChoice, Limits, Listeners, S3Settings,
    TlsFiles,
};
use crate::config::source::Values;
use crate::config::undo;
use crate::storage::Secret;
use crate::telemetry::{LogFormat, LogSettings};

impl Config {
    /// Turns the winning texts into types and checks what belongs together.
    ///
    /// Errors: one sentence about the first thing that is wrong.
    pub fn resolve(values: &Values) -> Result<Self, ConfigError> {
        let hub = hub(values)?;
        let users = credential::ftp_users(values)?;
        let tls = tls(values, "HUGBUCKET_TLS_CERT_FILE", "HUGBUCKET_TLS_KEY_FILE")?;
        let mut config = Self {
            namespace: values.parse("HUGBUCKET_NAMESPACE", |text| {
                optional(text).map(parse::namespace).transpose()
            })?,
            extra_namespaces: values.parse("HUGBUCKET_EXTRA_NAMESPACES", |text| {
                let names = parse::list(text);
                names.iter().map(|name| parse::namespace(name)).collect()
            })?,
            listeners: listeners(values, users.is_empty())?,
            s3: s3(values)?,
            ftp: ftp::settings(values, users, tls.clone())?,
            tls,
            caches: caches(values)?,
            budgets: Budgets {
                ingest_max_bytes: values.parse("HUGBUCKET_INGEST_MAX_BYTES", |text| {
                    at_least(64 << 20, text)
                })?,
                lookahead_max_bytes: values.parse("HUGBUCKET_LOOKAHEAD_MAX_BYTES", |text| {
                    at_least(16 << 20, text)
                })?,
            },
            quotas: quota::quotas(values)?,
            undo: undo::undo_periods(values)?,
            limits: limits(values)?,
            drain: DrainTimes {
                delay: values.parse("HUGBUCKET_SHUTDOWN_DELAY", parse::duration)?,
                timeout: values.parse("HUGBUCKET_SHUTDOWN_TIMEOUT", parse::duration)?,
            },
            log: log(values)?,
            ready_file: values.parse("HUGBUCKET_READY_FILE", |text| Ok(path(text)))?,
            warnings: warnings(values, &hub),
            hub,
        };
        config.check_credentials()?;
        ftp::check(&config.ftp, &config.listeners)?;
        let warning = ftp::warning(&config.ftp, &config.listeners);
        config.warnings.extend(warning);
        Ok(config)
    }

    /// A gateway to somebody's data that nobody can log in to is a broken deployment: say so now, not with a 403 later.
    fn check_credentials(&self) -> Result<(), ConfigError> {
        if self.listeners.s3.is_some() && self.s3.credentials.is_empty() {
            return Err(ConfigError::new(
                "there is no S3 credential: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to keys of your choice, \
                 or HUGBUCKET_S3_ADDR to `off`",
            ));
        }
        Ok(())
    }
}

/// Chooses the Hub. The rules keep a deployment that lost its token from silently serving an empty development Hub.
fn hub(values: &Values) -> Result<HubChoice, ConfigError> {
    let endpoint = values.parse("HF_ENDPOINT", parse::endpoint)?;
    let is_forced = values.parse("HUGBUCKET_DEV", parse::switch)?;
    let is_token_required = values.parse("HUGBUCKET_REQUIRE_TOKEN", parse::switch)?;
    let token = values.get("HF_TOKEN");
    let refuse = |sentence: &str| Err(ConfigError::new(sentence));
    if values.is_given("HF_TOKEN") {
        if token.text.expose().trim().is_empty() {
            let sentence = "is set but empty: give a token, or unset it to use the development Hub";
            return refuse(&format!("{} {sentence}", token.origin));
        }
        if is_forced {
            return refuse("HF_TOKEN and HUGBUCKET_DEV are both set: choose one Hub");
        }
        let token = Secret::new(token.text.expose().trim());
        return Ok(HubChoice::Remote { endpoint, token });
    }
    if is_token_required {
        return refuse("HF_TOKEN is not set, and HUGBUCKET_REQUIRE_TOKEN asks for it");
    }
    if cfg!(not(feature = "devhub")) {
        return refuse("HF_TOKEN is not set, and this build has no development Hub");
    }
    let dir = PathBuf::from(values.get("HUGBUCKET_DEV_DIR").text.expose());
    Ok(HubChoice::Development { dir })
}

fn listeners(values: &Values, has_no_ftp_user: bool) -> Result<Listeners, ConfigError> {
    let is_development = !values.is_given("HF_TOKEN");
    let is_open_development = values.parse("HUGBUCKET_DEV", parse::switch)?;
    let listener = |variable| {
        let address = values.parse(variable, parse::listener)?;
        let is_reachable = address.is_some_and(|address| !address.ip().is_loopback());
        if is_development && is_reachable && !is_open_development {
            let origin = &values.get(variable).origin;
            return Err(ConfigError::new(format!(
                "{origin} can be reached from other machines, but HF_TOKEN is not set: set it, \
                 or HUGBUCKET_DEV=true to offer the development Hub there"
            )));
        }
        Ok(address)
    };
    Ok(Listeners {
        s3: listener("HUGBUCKET_S3_ADDR")?,
        ftp: listener("HUGBUCKET_FTP_ADDR")?.filter(|_| !has_no_ftp_user),
        ftps: listener("HUGBUCKET_FTPS_ADDR")?.filter(|_| !has_no_ftp_user),
        admin: listener("HUGBUCKET_ADMIN_ADDR")?,
    })
}

/// Returns a certificate by the variables of its two files. Half of one would silently leave a listener without TLS.
pub(super) fn tls(
    values: &Values,
    certificate: &'static str,
    key: &'static str,
) -> Result<Option<TlsFiles>, ConfigError> {
    let file = |variable| values.parse(variable, |text| Ok(path(text)));
    let half = |given: &str, missing: &str| {
        let origin = &values.get(given).origin;
        let sentence = format!("{origin} is set, but {missing} is not");
        Err(ConfigError::new(sentence))
    };
    match (file(certificate)?, file(key)?) {
        (Some(certificate), Some(key)) => Ok(Some(TlsFiles { certificate, key })),
        (None, None) => Ok(None),
        (Some(_), None) => half(certificate, key),
        (None, Some(_)) => half(key, certificate),
    }
}

fn s3(values: &Values) -> Result<S3Settings, ConfigError> {
    Ok(S3Settings {
        credentials: credential::s3_credentials(values)?,
        domains: values.parse("HUGBUCKET_S3_DOMAIN", parse::domains)?,
        region: values.parse("HUGBUCKET_S3_REGION", parse::region)?,
        requires_region: values.parse("HUGBUCKET_S3_STRICT_REGION", parse::switch)?,
        default_visibility: values.parse("HUGBUCKET_DEFAULT_VISIBILITY", parse::visibility)?,
        anonymous_read: values.parse("HUGBUCKET_ANONYMOUS_READ", parse::switch)?,
        stores_checksums: values.parse("HUGBUCKET_STORE_CHECKSUMS", parse::switch)?,
        cors: values.parse("HUGBUCKET_CORS", parse::cors)?,
        bucket_cors: cors::cors_rules(values)?,
        trusted_proxies: values.parse("HUGBUCKET_TRUSTED_PROXIES", parse::networks)?,
    })
}

fn caches(values: &Values) -> Result<Caches, ConfigError> {
    Ok(Caches {
        xorb_max_bytes: values.parse("HUGBUCKET_XORB_CACHE_MAX_BYTES", parse::size)?,
        recon_max_entries: values.parse("HUGBUCKET_RECON_CACHE_MAX_ENTRIES", parse::count)?,
        recon_ttl: values.parse("HUGBUCKET_RECON_CACHE_TTL", parse::duration)?,
        file_info_max_entries: values
            .parse("HUGBUCKET_FILE_INFO_CACHE_MAX_ENTRIES", parse::count)?,
        file_info_ttl: values.parse("HUGBUCKET_FILE_INFO_CACHE_TTL", parse::duration)?,
        change_feed: values.parse("HUGBUCKET_CHANGE_FEED", |text| match text {
            "auto" => Ok(ChangeFeed::Auto),
            "off" => Ok(ChangeFeed::Off),
            "required" => Ok(ChangeFeed::Required),
            _ => Err(format!("`{text}` is none of `auto`, `off`, and `required`")),
        })?,
        disk_dir: values.parse("HUGBUCKET_DISK_CACHE_DIR", |text| Ok(path(text)))?,
        disk_max_bytes: values.parse("HUGBUCKET_DISK_CACHE_MAX_BYTES", parse::size)?,
    })
}

fn limits(values: &Values) -> Result<Limits, ConfigError> {
    Ok(Limits {
        max_requests: values.parse("HUGBUCKET_MAX_REQUESTS", parse::positive)?,
        head_timeout: values.parse("HUGBUCKET_HEAD_TIMEOUT", parse::unless_zero)?,
        idle_timeout: values.parse("HUGBUCKET_IDLE_TIMEOUT", parse::unless_zero)?,
        max_connections: values.parse("HUGBUCKET_S3_MAX_CONNECTIONS", parse::positive)?,
        max_connections_per_address: values
            .parse("HUGBUCKET_S3_MAX_CONNECTIONS_PER_ADDRESS", parse::count)?,
        header_timeout: values.parse(
            "HUGBUCKET_S3_HEADER_TIMEOUT",
            |text| match parse::duration(text)? {
                time if time < Duration::from_secs(1) => Err("must be at least 1 s".to_owned()),
                time => Ok(time),
            },
        )?,
        max_header_bytes: values.parse("HUGBUCKET_S3_MAX_HEADER_BYTES", |text| {
            match usize::try_from(parse::size(text)?) {
                Ok(size) if (8 << 10..=64 << 10).contains(&size) => Ok(size),
                _ => Err("must be 8 KiB to 64 KiB".to_owned()),
            }
        })?,
        max_headers: values.parse("HUGBUCKET_S3_MAX_HEADERS", |text| {
            match parse::count(text)? {
                count if (20..=1000).contains(&count) => Ok(count),
                _ => Err("must be 20 to 1000".to_owned()),
            }
        })?,
        max_uploads_per_bucket: values.parse("HUGBUCKET_MAX_UPLOADS_PER_BUCKET", parse::count)?,
        upload_expiry: values.parse("HUGBUCKET_UPLOAD_EXPIRY", parse::unless_zero)?,
    })
}

fn log(values: &Values) -> Result<LogSettings, ConfigError> {
    let filter = |text: &str| {
        let checked: Result<tracing_subscriber::EnvFilter, _> = text.parse();
        let refused = |_| format!("`{text}` is not a log level such as info");
        checked.map(|_| text.to_owned()).map_err(refused)
    };
    let format = |text: &str| match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("`{text}` is neither `text` nor `json`")),
    };
    Ok(LogSettings {
        filter: values.parse("HUGBUCKET_LOG", filter)?,
        format: values.parse("HUGBUCKET_LOG_FORMAT", format)?,
        audits: values.parse("HUGBUCKET_AUDIT_LOG", parse::switch)?,
    })
}

fn warnings(values: &Values, hub: &HubChoice) -> Vec<String> {
    let mut warnings = values.warnings.clone();
    if hub.is_development() && values.is_given("HF_ENDPOINT") {
        let origin = &values.get("HF_ENDPOINT").origin;
        warnings.push(format!(
            "{origin} has no effect without HF_TOKEN: the development Hub is used"
        ));
    }
    warnings
}

fn at_least(minimum: u64, text: &str) -> Result<u64, String> {
    match parse::size(text)? {
        size if size < minimum => Err(format!("must be at least {} MiB", minimum >> 20)),
        size => Ok(size),
    }
}

fn optional(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn path(text: &str) -> Option<PathBuf> {
    optional(text).map(PathBuf::from)
}

#[cfg(test)]
pub(in crate::config) mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;

    pub(in crate::config) fn resolve(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let environment = pairs
            .iter()
            .map(|(name, text)| ((*name).into(), (*text).into()))
            .collect();
        Config::resolve(&Values::gather(&environment, &BTreeMap::new(), None)?)
    }

    fn refusal(pairs: &[(&str, &str)]) -> String {
        resolve(pairs).unwrap_err().to_string()
    }

    pub(in crate::config) const REMOTE: [(&str, &str); 3] = [
        ("HF_TOKEN", "hf_x"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];

    #[test]
    fn a_bad_text_is_refused_and_its_origin_named() {
        for (variable, text) in [
            ("HF_ENDPOINT", "huggingface.co"),
            ("HUGBUCKET_NAMESPACE", "a b"),
            ("HUGBUCKET_S3_ADDR", "9000"),
            ("HUGBUCKET_S3_REGION", "?"),
            ("HUGBUCKET_DEFAULT_VISIBILITY", "secret"),
            ("HUGBUCKET_STORE_CHECKSUMS", "maybe"),
            ("HUGBUCKET_FTP_PASSIVE_PORTS", "many"),
            ("HUGBUCKET_FTP_PASSIVE_HOST", "::1"),
            ("HUGBUCKET_FTP_PLAINTEXT", "sometimes"),
            ("HUGBUCKET_FTP_MAX_SESSIONS", "0"),
            ("HUGBUCKET_FTP_MAX_LIST_ENTRIES", "0"),
            ("HUGBUCKET_XORB_CACHE_MAX_BYTES", "512 MB"),
            ("HUGBUCKET_CHANGE_FEED", "on"),
            ("HUGBUCKET_INGEST_MAX_BYTES", "1 MiB"),
            ("HUGBUCKET_MAX_REQUESTS", "0"),
            ("HUGBUCKET_IDLE_TIMEOUT", "soon"),
            ("HUGBUCKET_LOG", "a=b=c"),
            ("HUGBUCKET_LOG_FORMAT", "xml"),
            ("HUGBUCKET_DEV", "perhaps"),
        ] {
            let refusal = refusal(&[(variable, text)]);
            assert!(refusal.starts_with(&format!("{variable}: ")), "{refusal}");
            assert!(!refusal.contains('\n'), "{refusal}");
        }
    }

    #[test]
    fn without_a_token_the_development_hub_listens_on_loopback_only() {
        let config = resolve(&[]).unwrap();
        assert!(config.hub.is_development());
        assert_eq!(config.listeners.s3, Some("127.0.0.1:9000".parse().unwrap()));
        assert!(config.s3.credentials[0].is_built_in);
        for variable in [
            "HUGBUCKET_S3_ADDR",
            "HUGBUCKET_FTP_ADDR",
            "HUGBUCKET_FTPS_ADDR",
            "HUGBUCKET_ADMIN_ADDR",
        ] {
            let refusal = refusal(&[(variable, "0.0.0.0:1")]);
            assert!(
                refusal.starts_with(variable) && refusal.contains("HF_TOKEN"),
                "{refusal}"
            );
        }
    }

    #[test]
    fn a_lost_token_never_starts_the_development_hub() {
        assert!(refusal(&[("HF_TOKEN", "")]).starts_with("HF_TOKEN is set but empty"));
        assert!(refusal(&[("HF_TOKEN", " ")]).starts_with("HF_TOKEN is set but empty"));
        assert!(refusal(&[("HUGBUCKET_REQUIRE_TOKEN", "true")]).contains("HF_TOKEN is not set"));
        let both = [&REMOTE[..], &[("HUGBUCKET_DEV", "true")]].concat();
        assert!(refusal(&both).contains("choose one Hub"));
    }

    #[test]
    fn with_a_token_s3_credentials_must_be_given() {
        assert!(refusal(&[("HF_TOKEN", "hf_x")]).contains("AWS_ACCESS_KEY_ID"));
        let without_s3 = resolve(&[("HF_TOKEN", "hf_x"), ("HUGBUCKET_S3_ADDR", "off")]).unwrap();
        assert_eq!(without_s3.listeners.s3, None);
    }

    #[test]
    fn half_a_certificate_is_refused() {
        let refused = refusal(&[("HUGBUCKET_TLS_CERT_FILE", "/run/tls.crt")]);
        assert!(
            refused.contains("HUGBUCKET_TLS_KEY_FILE is not"),
            "{refused}"
        );
        let refused = refusal(&[("HUGBUCKET_TLS_KEY_FILE", "/run/tls.key")]);
        assert!(
            refused.contains("HUGBUCKET_TLS_CERT_FILE is not"),
            "{refused}"
        );
        assert_eq!(resolve(&[]).unwrap().tls, None);
        let refused = refusal(&[("HUGBUCKET_FTP_TLS_KEY_FILE", "/run/ftp.key")]);
        assert!(
            refused.contains("HUGBUCKET_FTP_TLS_CERT_FILE is not"),
            "{refused}"
        );
    }

    #[test]
    fn ftp_has_the_certificate_of_s3_unless_it_has_its_own() {
        let of_both = [
            ("HUGBUCKET_TLS_CERT_FILE", "/run/tls.crt"),
            ("HUGBUCKET_TLS_KEY_FILE", "/run/tls.key"),
        ];
        let own = [
            ("HUGBUCKET_FTP_TLS_CERT_FILE", "/run/ftp.crt"),
            ("HUGBUCKET_FTP_TLS_KEY_FILE", "/run/ftp.key"),
        ];
        let shared = resolve(&of_both).unwrap();
        assert_eq!(shared.ftp.tls, shared.tls);
        let alone = resolve(&own).unwrap();
        assert!(alone.tls.is_none() && alone.ftp.tls.is_some());
        let two = resolve(&[of_both, own].concat()).unwrap();
        assert_ne!(two.ftp.tls, two.tls);
    }

    #[test]
    fn without_an_ftp_user_the_ftp_listener_is_off() {
        assert_eq!(resolve(&REMOTE).unwrap().listeners.ftp, None);
        let users = [("FTP_USERNAME", "u"), ("FTP_PASSWORD", "p")];
        let config = resolve(&[&REMOTE[..], &users].concat()).unwrap();
        assert_eq!(config.listeners.ftp, Some("0.0.0.0:2121".parse().unwrap()));
    }

    #[test]
    fn encrypted_ftp_needs_a_certificate() {
        for setting in [
            ("HUGBUCKET_FTPS_ADDR", "127.0.0.1:990"),
            ("HUGBUCKET_FTP_PLAINTEXT", "never"),
        ] {
            let refused = refusal(&[setting]);
            assert!(refused.contains("needs a certificate"), "{refused}");
            // Without a user there is nobody to encrypt for.
            assert!(resolve(&[&REMOTE[..], &[setting]].concat()).is_ok());
        }
    }

    #[test]
    fn ftp_in_the_clear_is_told_where_others_can_reach_it() {
        let users = [("FTP_USERNAME", "u"), ("FTP_PASSWORD", "p")];
        let warnings = |more: &[_]| {
            resolve(&[&REMOTE[..], &users, more].concat())
                .unwrap()
                .warnings
                .join(" ")
        };
        assert!(warnings(&[]).contains("clients on this machine only"));
        assert!(warnings(&[("HUGBUCKET_FTP_PLAINTEXT", "always")]).contains("in the clear"));
        assert_eq!(warnings(&[("HUGBUCKET_FTP_ADDR", "127.0.0.1:0")]), "");
    }

    #[test]
    fn defaults_are_those_of_the_documentation() {
        let config = resolve(&REMOTE).unwrap();
        assert_eq!(config.listeners.s3, Some("0.0.0.0:9000".parse().unwrap()));
        assert_eq!(
            config.listeners.admin,
            Some("0.0.0.0:9464".parse().unwrap())
        );
        assert_eq!(config.caches.xorb_max_bytes, 512 << 20);
        assert_eq!(config.caches.recon_ttl, Duration::from_secs(300));
        assert_eq!(config.caches.file_info_max_entries, 256);
        assert_eq!(config.budgets.ingest_max_bytes, 256 << 20);
        assert_eq!(config.drain.timeout, Duration::from_secs(30));
        assert_eq!(config.warnings, [] as [String; 0]);
    }

    #[test]
    fn settings_without_effect_are_told() {
        let config = resolve(&[("HF_ENDPOINT", "https://hub.test")]).unwrap();
        assert_eq!(config.warnings.len(), 1);
        assert!(config.warnings[0].starts_with("HF_ENDPOINT has no effect"));
    }

    #[test]
    fn debug_of_the_configuration_shows_no_secret() {
        let config = resolve(&[
            ("HF_TOKEN", "hush"),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "hush"),
        ]);
        assert!(!format!("{:?}", config.unwrap()).contains("hush"));
    }
}
