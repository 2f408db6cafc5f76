//! Every variable has an effect: what each of them does to the configuration, as a table.

use std::collections::BTreeSet;

use crate::config::resolve::tests::{REMOTE, resolve};
use crate::config::setting::SETTINGS;
use crate::config::{Config, HubChoice};
use crate::storage::{Secret, StoredPassword};

fn endpoint_of(config: &Config) -> String {
    match &config.hub {
        HubChoice::Remote { endpoint, token } => format!("{endpoint} {}", token.expose()),
        HubChoice::Development { dir } => dir.display().to_string(),
    }
}

/// A variable, a text, what else is set, a view of the configuration, and what it must show.
type Case = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    fn(&Config) -> String,
    &'static str,
);

const CASES: &[Case] = &[
    (
        "HF_TOKEN",
        "hf_y",
        &REMOTE,
        endpoint_of,
        "https://huggingface.co/ hf_y",
    ),
    (
        "HF_ENDPOINT",
        "http://hub.test/x/",
        &REMOTE,
        endpoint_of,
        "http://hub.test/x hf_x",
    ),
    (
        "HUGBUCKET_NAMESPACE",
        "org",
        &[],
        |c| format!("{:?}", c.namespace),
        "Some(Namespace(\"org\"))",
    ),
    (
        "HUGBUCKET_EXTRA_NAMESPACES",
        "a, b",
        &[],
        |c| c.extra_namespaces.len().to_string(),
        "2",
    ),
    (
        "HUGBUCKET_REQUIRE_TOKEN",
        "true",
        &REMOTE,
        endpoint_of,
        "https://huggingface.co/ hf_x",
    ),
    (
        "HUGBUCKET_DEV",
        "true",
        &[("HUGBUCKET_S3_ADDR", "0.0.0.0:1")],
        endpoint_of,
        ".hugbucket-dev",
    ),
    ("HUGBUCKET_DEV_DIR", "/data", &[], endpoint_of, "/data"),
    (
        "AWS_ACCESS_KEY_ID",
        "own",
        &REMOTE,
        |c| c.s3.credentials[0].access_key_id.clone(),
        "own",
    ),
    (
        "AWS_SECRET_ACCESS_KEY",
        "t",
        &REMOTE,
        |c| c.s3.credentials[0].secret.expose().into(),
        "t",
    ),
    (
        "FTP_USERNAME",
        "u",
        &[("FTP_PASSWORD", "p")],
        |c| c.ftp.users[0].name.clone(),
        "u",
    ),
    (
        "FTP_PASSWORD",
        "q",
        &[("FTP_USERNAME", "u")],
        |c| {
            format!(
                "{}",
                c.ftp.users[0].password == StoredPassword::Plain(Secret::new("q"))
            )
        },
        "true",
    ),
    (
        "HUGBUCKET_S3_ADDR",
        "127.0.0.1:7",
        &[],
        |c| format!("{:?}", c.listeners.s3),
        "Some(127.0.0.1:7)",
    ),
    (
        "HUGBUCKET_FTP_ADDR",
        "127.0.0.1:7",
        &[],
        |c| format!("{:?}", c.listeners.ftp),
        "Some(127.0.0.1:7)",
    ),
    (
        "HUGBUCKET_ADMIN_ADDR",
        "off",
        &[],
        |c| format!("{:?}", c.listeners.admin),
        "None",
    ),
    (
        "HUGBUCKET_TLS_CERT_FILE",
        "/run/tls.crt",
        &[("HUGBUCKET_TLS_KEY_FILE", "/run/tls.key")],
        |c| format!("{:?}", c.tls.as_ref().map(|tls| &tls.certificate)),
        "Some(\"/run/tls.crt\")",
    ),
    (
        "HUGBUCKET_TLS_KEY_FILE",
        "/run/tls.key",
        &[("HUGBUCKET_TLS_CERT_FILE", "/run/tls.crt")],
        |c| format!("{:?}", c.tls.as_ref().map(|tls| &tls.key)),
        "Some(\"/run/tls.key\")",
    ),
    (
        "HUGBUCKET_FTP_TLS_CERT_FILE",
        "/run/ftp.crt",
        &[("HUGBUCKET_FTP_TLS_KEY_FILE", "/run/ftp.key")],
        |c| format!("{:?}", c.ftp.tls.as_ref().map(|tls| &tls.certificate)),
        "Some(\"/run/ftp.crt\")",
    ),
    (
        "HUGBUCKET_FTP_TLS_KEY_FILE",
        "/run/ftp.key",
        &[("HUGBUCKET_FTP_TLS_CERT_FILE", "/run/ftp.crt")],
        |c| format!("{:?}", c.ftp.tls.as_ref().map(|tls| &tls.key)),
        "Some(\"/run/ftp.key\")",
    ),
    (
        "HUGBUCKET_S3_DOMAIN",
        "a.test,b",
        &[],
        |c| c.s3.domains.join(" "),
        "a.test b",
    ),
    (
        "HUGBUCKET_S3_REGION",
        "eu-west-1",
        &[],
        |c| c.s3.region.clone(),
        "eu-west-1",
    ),
    (
        "HUGBUCKET_S3_STRICT_REGION",
        "true",
        &[],
        |c| c.s3.requires_region.to_string(),
        "true",
    ),
    (
        "HUGBUCKET_DEFAULT_VISIBILITY",
        "public",
        &[],
        |c| format!("{:?}", c.s3.default_visibility),
        "Public",
    ),
    (
        "HUGBUCKET_ANONYMOUS_READ",
        "true",
        &[],
        |c| c.s3.anonymous_read.to_string(),
        "true",
    ),
    (
        "HUGBUCKET_STORE_CHECKSUMS",
        "true",
        &[],
        |c| c.s3.stores_checksums.to_string(),
        "true",
    ),
    (
        "HUGBUCKET_CORS",
        "off",
        &[],
        |c| format!("{:?}", c.s3.cors),
        "Off",
    ),
    (
        "HUGBUCKET_TRUSTED_PROXIES",
        "10.0.0.0/8",
        &[],
        |c| c.s3.trusted_proxies.len().to_string(),
        "1",
    ),
    (
        "HUGBUCKET_FTP_PASSIVE_PORTS",
        "5-6",
        &[],
        |c| c.ftp.passive_ports.last.to_string(),
        "6",
    ),
    (
        "HUGBUCKET_FTPS_ADDR",
        "127.0.0.1:990",
        &[
            ("HUGBUCKET_TLS_CERT_FILE", "/run/tls.crt"),
            ("HUGBUCKET_TLS_KEY_FILE", "/run/tls.key"),
        ],
        |c| format!("{:?}", c.listeners.ftps),
        "Some(127.0.0.1:990)",
    ),
    (
        "HUGBUCKET_FTP_ACTIVE",
        "true",
        &[],
        |c| c.ftp.allows_active.to_string(),
        "true",
    ),
    (
        "HUGBUCKET_FTP_PLAINTEXT",
        "always",
        &[],
        |c| format!("{:?}", c.ftp.plaintext),
        "Always",
    ),
    (
        "HUGBUCKET_FTP_PROXY_PROTOCOL",
        "true",
        &[],
        |c| c.ftp.expects_proxy_header.to_string(),
        "true",
    ),
    (
        "HUGBUCKET_FTP_MAX_SESSIONS",
        "7",
        &[],
        |c| c.ftp.max_sessions.to_string(),
        "7",
    ),
    (
        "HUGBUCKET_FTP_MAX_SESSIONS_PER_ADDRESS",
        "7",
        &[],
        |c| c.ftp.max_sessions_per_address.to_string(),
        "7",
    ),
    (
        "HUGBUCKET_FTP_MAX_LIST_ENTRIES",
        "7",
        &[],
        |c| c.ftp.max_list_entries.to_string(),
        "7",
    ),
    (
        "HUGBUCKET_FTP_IDLE_TIMEOUT",
        "0",
        &[],
        |c| format!("{:?}", c.ftp.idle_timeout),
        "None",
    ),
    (
        "HUGBUCKET_FTP_PASSIVE_HOST",
        "192.0.2.1",
        &[],
        |c| format!("{:?}", c.ftp.passive_host),
        "Some(192.0.2.1)",
    ),
    (
        "HUGBUCKET_XORB_CACHE_MAX_BYTES",
        "1 KiB",
        &[],
        |c| c.caches.xorb_max_bytes.to_string(),
        "1024",
    ),
    (
        "HUGBUCKET_RECON_CACHE_MAX_ENTRIES",
        "0",
        &[],
        |c| c.caches.recon_max_entries.to_string(),
        "0",
    ),
    (
        "HUGBUCKET_RECON_CACHE_TTL",
        "1 m",
        &[],
        |c| format!("{:?}", c.caches.recon_ttl),
        "60s",
    ),
    (
        "HUGBUCKET_FILE_INFO_CACHE_MAX_ENTRIES",
        "9",
        &[],
        |c| c.caches.file_info_max_entries.to_string(),
        "9",
    ),
    (
        "HUGBUCKET_FILE_INFO_CACHE_TTL",
        "0",
        &[],
        |c| format!("{:?}", c.caches.file_info_ttl),
        "0ns",
    ),
    (
        "HUGBUCKET_CHANGE_FEED",
        "required",
        &[],
        |c| format!("{:?}", c.caches.change_feed),
        "Required",
    ),
    (
        "HUGBUCKET_DISK_CACHE_DIR",
        "/cache",
        &[],
        |c| format!("{:?}", c.caches.disk_dir),
        "Some(\"/cache\")",
    ),
    (
        "HUGBUCKET_DISK_CACHE_MAX_BYTES",
        "1 GiB",
        &[],
        |c| c.caches.disk_max_bytes.to_string(),
        "1073741824",
    ),
    (
        "HUGBUCKET_INGEST_MAX_BYTES",
        "64 MiB",
        &[],
        |c| c.budgets.ingest_max_bytes.to_string(),
        "67108864",
    ),
    (
        "HUGBUCKET_LOOKAHEAD_MAX_BYTES",
        "16 MiB",
        &[],
        |c| c.budgets.lookahead_max_bytes.to_string(),
        "16777216",
    ),
    (
        "HUGBUCKET_MAX_REQUESTS",
        "3",
        &[],
        |c| c.limits.max_requests.to_string(),
        "3",
    ),
    (
        "HUGBUCKET_CREDENTIAL_MAX_REQUESTS",
        "7",
        &[],
        |c| format!("{:?}", c.quotas.general.max_requests),
        "Some(7)",
    ),
    (
        "HUGBUCKET_CREDENTIAL_DOWNLOAD_RATE",
        "1 MiB",
        &[],
        |c| format!("{:?}", c.quotas.general.download_rate),
        "Some(1048576)",
    ),
    (
        "HUGBUCKET_CREDENTIAL_UPLOAD_RATE",
        "2 MiB",
        &[],
        |c| format!("{:?}", c.quotas.general.upload_rate),
        "Some(2097152)",
    ),
    (
        "HUGBUCKET_S3_MAX_CONNECTIONS",
        "7",
        &[],
        |c| c.limits.max_connections.to_string(),
        "7",
    ),
    (
        "HUGBUCKET_S3_MAX_CONNECTIONS_PER_ADDRESS",
        "0",
        &[],
        |c| c.limits.max_connections_per_address.to_string(),
        "0",
    ),
    (
        "HUGBUCKET_S3_HEADER_TIMEOUT",
        "5 s",
        &[],
        |c| format!("{:?}", c.limits.header_timeout),
        "5s",
    ),
    (
        "HUGBUCKET_S3_MAX_HEADER_BYTES",
        "16 KiB",
        &[],
        |c| c.limits.max_header_bytes.to_string(),
        "16384",
    ),
    (
        "HUGBUCKET_S3_MAX_HEADERS",
        "50",
        &[],
        |c| c.limits.max_headers.to_string(),
        "50",
    ),
    (
        "HUGBUCKET_HEAD_TIMEOUT",
        "0",
        &[],
        |c| format!("{:?}", c.limits.head_timeout),
        "None",
    ),
    (
        "HUGBUCKET_IDLE_TIMEOUT",
        "5 s",
        &[],
        |c| format!("{:?}", c.limits.idle_timeout),
        "Some(5s)",
    ),
    (
        "HUGBUCKET_MAX_UPLOADS_PER_BUCKET",
        "9",
        &[],
        |c| c.limits.max_uploads_per_bucket.to_string(),
        "9",
    ),
    (
        "HUGBUCKET_UPLOAD_EXPIRY",
        "2 d",
        &[],
        |c| format!("{:?}", c.limits.upload_expiry),
        "Some(172800s)",
    ),
    (
        "HUGBUCKET_SHUTDOWN_DELAY",
        "5 s",
        &[],
        |c| format!("{:?}", c.drain.delay),
        "5s",
    ),
    (
        "HUGBUCKET_SHUTDOWN_TIMEOUT",
        "0",
        &[],
        |c| format!("{:?}", c.drain.timeout),
        "0ns",
    ),
    (
        "HUGBUCKET_LOG",
        "warn,hugbucket=debug",
        &[],
        |c| c.log.filter.clone(),
        "warn,hugbucket=debug",
    ),
    (
        "HUGBUCKET_LOG_FORMAT",
        "json",
        &[],
        |c| format!("{:?}", c.log.format),
        "Json",
    ),
    (
        "HUGBUCKET_AUDIT_LOG",
        "true",
        &[],
        |c| c.log.audits.to_string(),
        "true",
    ),
    (
        "HUGBUCKET_READY_FILE",
        "/run/ready",
        &[],
        |c| format!("{:?}", c.ready_file),
        "Some(\"/run/ready\")",
    ),
];

#[test]
fn every_variable_reaches_the_configuration() {
    for (variable, text, others, view, expected) in CASES {
        let mut pairs = others.to_vec();
        pairs.retain(|(name, _)| name != variable);
        pairs.push((variable, text));
        let config = resolve(&pairs).unwrap();
        assert_eq!(view(&config), *expected, "{variable}");
    }
    let tried: BTreeSet<_> = CASES.iter().map(|case| case.0).collect();
    let declared: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.variable).collect();
    assert_eq!(tried, declared);
}
