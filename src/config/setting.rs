//! The table of all settings: the one place that names a variable, its default, and its meaning.

/// A setting: one line of the configuration table.
#[derive(Debug)]
pub struct Setting {
    /// The environment variable; the file's key and the flag follow from it.
    pub variable: &'static str,
    /// The value without any source, as text; empty for none.
    pub default: &'static str,
    /// The default where the development Hub is used, if it differs.
    pub development_default: Option<&'static str>,
    /// Meaning, unit, and effect of zero, in one sentence for `--help`.
    pub meaning: &'static str,
    /// How the value is written.
    pub kind: Kind,
}

/// How the value of a setting is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text; the parser knows more.
    Text,
    /// `true` or `false`; the flag needs no value.
    Switch,
    /// A text that may also lie in a file named by the variable with `_FILE` behind it.
    TextOrFile,
    /// As [`Kind::TextOrFile`], never shown, and without a flag, because other users see a process's flags.
    Secret,
}

impl Setting {
    const fn new(variable: &'static str, default: &'static str, meaning: &'static str) -> Self {
        Self {
            variable,
            default,
            development_default: None,
            meaning,
            kind: Kind::Text,
        }
    }

    const fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    const fn in_development(mut self, default: &'static str) -> Self {
        self.development_default = Some(default);
        self
    }

    /// Returns the key in the configuration file: the variable in lower case, without `HUGBUCKET_`.
    pub fn key(&self) -> String {
        let name = self.variable.strip_prefix("HUGBUCKET_");
        name.unwrap_or(self.variable).to_ascii_lowercase()
    }

    /// Returns the flag without its dashes; secrets have none.
    pub fn flag(&self) -> Option<String> {
        (!self.is_secret()).then(|| self.key().replace('_', "-"))
    }

    /// Returns the variable that names a file with the value, for kinds that have one.
    pub fn file_variable(&self) -> Option<String> {
        matches!(self.kind, Kind::TextOrFile | Kind::Secret)
            .then(|| format!("{}_FILE", self.variable))
    }

    /// Reports whether the value must never be shown.
    pub fn is_secret(&self) -> bool {
        self.kind == Kind::Secret
    }
}

/// The variable, key, and flag that name the configuration file itself; it cannot lie in that file.
pub const CONFIG_VARIABLE: &str = "HUGBUCKET_CONFIG";

/// Every setting, in the order of `--help` and `--print-config`.
pub static SETTINGS: &[Setting] = &[
    Setting::new(
        "HF_TOKEN",
        "",
        "token of the Hub; without one, the embedded development Hub is used",
    )
    .kind(Kind::Secret),
    Setting::new(
        "HF_ENDPOINT",
        "https://huggingface.co",
        "address of the Hub; plain http only if it says so",
    ),
    Setting::new(
        "HUGBUCKET_NAMESPACE",
        "",
        "user or organisation that owns the buckets; by default the owner of the token",
    ),
    Setting::new(
        "HUGBUCKET_EXTRA_NAMESPACES",
        "",
        "comma list of further namespaces, whose buckets are named `<namespace>.<bucket>`",
    ),
    Setting::new(
        "HUGBUCKET_REQUIRE_TOKEN",
        "false",
        "refuse to start without HF_TOKEN instead of using the development Hub",
    )
    .kind(Kind::Switch),
    Setting::new(
        "HUGBUCKET_DEV",
        "false",
        "use the development Hub even where listeners can be reached from other machines",
    )
    .kind(Kind::Switch),
    Setting::new(
        "HUGBUCKET_DEV_DIR",
        ".hugbucket-dev",
        "where the development Hub keeps its data",
    ),
    Setting::new(
        "AWS_ACCESS_KEY_ID",
        "",
        "access key id of the first S3 credential, which has all rights",
    )
    .kind(Kind::TextOrFile)
    .in_development("hugbucket"),
    Setting::new(
        "AWS_SECRET_ACCESS_KEY",
        "",
        "secret of the first S3 credential",
    )
    .kind(Kind::Secret)
    .in_development("hugbucket"),
    Setting::new(
        "FTP_USERNAME",
        "",
        "name of the first FTP user, which has all rights",
    )
    .kind(Kind::TextOrFile)
    .in_development("hugbucket"),
    Setting::new("FTP_PASSWORD", "", "password of the first FTP user")
        .kind(Kind::Secret)
        .in_development("hugbucket"),
    Setting::new(
        "HUGBUCKET_S3_ADDR",
        "0.0.0.0:9000",
        "address and port of the S3 listener, or `off`",
    )
    .in_development("127.0.0.1:9000"),
    Setting::new(
        "HUGBUCKET_FTP_ADDR",
        "0.0.0.0:2121",
        "address and port of the FTP listener, or `off`; off without any FTP user",
    )
    .in_development("127.0.0.1:2121"),
    Setting::new(
        "HUGBUCKET_FTPS_ADDR",
        "off",
        "address and port of a further FTP listener that speaks TLS from the first byte on (implicit FTPS), or `off`",
    ),
    Setting::new(
        "HUGBUCKET_ADMIN_ADDR",
        "0.0.0.0:9464",
        "address and port of the admin listener (health and metrics), or `off`",
    )
    .in_development("127.0.0.1:9464"),
    Setting::new(
        "HUGBUCKET_TLS_CERT_FILE",
        "",
        "PEM file with the certificate chain; with it, the S3 listener speaks HTTPS, and only that, and FTP clients may encrypt",
    ),
    Setting::new(
        "HUGBUCKET_TLS_KEY_FILE",
        "",
        "PEM file with the certificate's private key",
    ),
    Setting::new(
        "HUGBUCKET_FTP_TLS_CERT_FILE",
        "",
        "PEM file with the certificate chain of the FTP listeners, where it is another one, or S3 goes without",
    ),
    Setting::new(
        "HUGBUCKET_FTP_TLS_KEY_FILE",
        "",
        "PEM file with that certificate's private key",
    ),
    Setting::new(
        "HUGBUCKET_S3_DOMAIN",
        "",
        "comma list of domains below which `<bucket>.<domain>` names a bucket",
    ),
    Setting::new(
        "HUGBUCKET_S3_REGION",
        "us-east-1",
        "region that S3 answers report; requests may be signed for any, unless the next says otherwise",
    ),
    Setting::new(
        "HUGBUCKET_S3_STRICT_REGION",
        "false",
        "refuse requests that are signed for another region",
    )
    .kind(Kind::Switch),
    Setting::new(
        "HUGBUCKET_DEFAULT_VISIBILITY",
        "private",
        "`private` or `public`: who may read buckets created without an ACL",
    ),
    Setting::new(
        "HUGBUCKET_ANONYMOUS_READ",
        "false",
        "let S3 requests without a signature read and list public buckets",
    )
    .kind(Kind::Switch),
    Setting::new(
        "HUGBUCKET_STORE_CHECKSUMS",
        "false",
        "keep a checksum with each object that is written, and return it where a client asks for it",
    )
    .kind(Kind::Switch),
    Setting::new(
        "HUGBUCKET_CORS",
        "*",
        "origins that browsers may call from: `*`, a comma list, or `off`; the file may say otherwise for single buckets",
    ),
    Setting::new(
        "HUGBUCKET_TRUSTED_PROXIES",
        "",
        "comma list of addresses or networks whose X-Forwarded headers are believed, and PROXY headers if they are expected",
    ),
    Setting::new(
        "HUGBUCKET_FTP_PASSIVE_PORTS",
        "30000-30199",
        "first and last port of passive FTP data connections; each takes one port until it is open",
    ),
    Setting::new(
        "HUGBUCKET_FTP_PASSIVE_HOST",
        "",
        "IPv4 address told to passive FTP clients; by default that of the connection",
    ),
    Setting::new(
        "HUGBUCKET_FTP_ACTIVE",
        "false",
        "let FTP clients have the server connect to them (PORT, EPRT), to their own address and ports from 1024 on",
    )
    .kind(Kind::Switch),
    Setting::new(
        "HUGBUCKET_FTP_PLAINTEXT",
        "loopback",
        "who may use FTP without TLS: clients on this machine (`loopback`), `always`, or `never`",
    ),
    Setting::new(
        "HUGBUCKET_FTP_PROXY_PROTOCOL",
        "false",
        "expect a PROXY header on FTP connections from HUGBUCKET_TRUSTED_PROXIES",
    )
    .kind(Kind::Switch),
    Setting::new(
        "HUGBUCKET_FTP_MAX_SESSIONS",
        "1000",
        "FTP sessions at most; further ones are refused with 421; at least 1",
    ),
    Setting::new(
        "HUGBUCKET_FTP_MAX_SESSIONS_PER_ADDRESS",
        "200",
        "FTP sessions at most from one address; at least 1",
    ),
    Setting::new(
        "HUGBUCKET_FTP_MAX_LIST_ENTRIES",
        "100000",
        "entries of a directory that FTP lists at most; more are answered with 450; at least 1",
    ),
    Setting::new(
        "HUGBUCKET_FTP_IDLE_TIMEOUT",
        "300 s",
        "time without a command until an FTP session is closed; 0 sets no limit",
    ),
    Setting::new(
        "HUGBUCKET_XORB_CACHE_MAX_BYTES",
        "512 MiB",
        "memory for cached object data; 0 turns this cache off",
    ),
    Setting::new(
        "HUGBUCKET_RECON_CACHE_MAX_ENTRIES",
        "1024",
        "cached reconstruction plans; 0 turns this cache off",
    ),
    Setting::new(
        "HUGBUCKET_RECON_CACHE_TTL",
        "300 s",
        "life of a cached reconstruction plan; 0 turns this cache off",
    ),
    Setting::new(
        "HUGBUCKET_FILE_INFO_CACHE_MAX_ENTRIES",
        "256",
        "cached file infos; 0 turns this cache off",
    ),
    Setting::new(
        "HUGBUCKET_FILE_INFO_CACHE_TTL",
        "30 s",
        "life of a cached file info, and thus the time until writes of others are seen; 0 turns this cache off",
    ),
    Setting::new(
        "HUGBUCKET_CHANGE_FEED",
        "auto",
        "follow the Hub's change feed, so that writes of others are seen within a second: `auto` where it is offered; `off`; \
         `required` also caches file infos only while it is connected",
    ),
    Setting::new(
        "HUGBUCKET_DISK_CACHE_DIR",
        "",
        "directory for cached object data on disk, which several processes may share; off by default",
    ),
    Setting::new(
        "HUGBUCKET_DISK_CACHE_MAX_BYTES",
        "10 GiB",
        "disk space for cached object data; 0 turns this cache off",
    ),
    Setting::new(
        "HUGBUCKET_INGEST_MAX_BYTES",
        "256 MiB",
        "memory for the bytes of all uploads together; at least 64 MiB",
    ),
    Setting::new(
        "HUGBUCKET_LOOKAHEAD_MAX_BYTES",
        "256 MiB",
        "memory for bytes that downloads read ahead, together; at least 16 MiB",
    ),
    Setting::new(
        "HUGBUCKET_MAX_REQUESTS",
        "1024",
        "requests in flight at most, bodies included; further ones are refused with 503; at least 1",
    ),
    Setting::new(
        "HUGBUCKET_CREDENTIAL_MAX_REQUESTS",
        "0",
        "of these, requests of one credential at most, unless the file says otherwise for it; 0 sets no limit",
    ),
    Setting::new(
        "HUGBUCKET_CREDENTIAL_DOWNLOAD_RATE",
        "0",
        "bytes a second that all downloads of one credential may take, such as `50 MiB`; 0 sets no limit",
    ),
    Setting::new(
        "HUGBUCKET_CREDENTIAL_UPLOAD_RATE",
        "0",
        "bytes a second that all uploads of one credential may bring; 0 sets no limit",
    ),
    Setting::new(
        "HUGBUCKET_S3_MAX_CONNECTIONS",
        "10000",
        "connections of the S3 listener at most; further ones are refused with 503; at least 1",
    ),
    Setting::new(
        "HUGBUCKET_S3_MAX_CONNECTIONS_PER_ADDRESS",
        "5000",
        "of these, connections from one address that is no trusted proxy; 0 sets no limit",
    ),
    Setting::new(
        "HUGBUCKET_S3_HEADER_TIMEOUT",
        "75 s",
        "time to the end of a request's head, and of a connection without a request; at least 1 s",
    ),
    Setting::new(
        "HUGBUCKET_S3_MAX_HEADER_BYTES",
        "32 KiB",
        "names and values of all headers of a request together; 8 KiB to 64 KiB",
    ),
    Setting::new(
        "HUGBUCKET_S3_MAX_HEADERS",
        "100",
        "headers of a request at most; 20 to 1000",
    ),
    Setting::new(
        "HUGBUCKET_HEAD_TIMEOUT",
        "120 s",
        "time to the response head, counted from the last request byte; 0 sets no limit",
    ),
    Setting::new(
        "HUGBUCKET_IDLE_TIMEOUT",
        "60 s",
        "time that a transfer may stand still before it is cut; 0 sets no limit",
    ),
    Setting::new(
        "HUGBUCKET_MAX_UPLOADS_PER_BUCKET",
        "0",
        "multipart uploads under way in a bucket at most; 0 sets no limit",
    ),
    Setting::new(
        "HUGBUCKET_UPLOAD_EXPIRY",
        "7 d",
        "time after its newest part until a multipart upload that nobody completes is removed; 0 keeps it for ever",
    ),
    Setting::new(
        "HUGBUCKET_SHUTDOWN_DELAY",
        "0 s",
        "time between the signal and the moment from which no connection is accepted; 0 for none",
    ),
    Setting::new(
        "HUGBUCKET_SHUTDOWN_TIMEOUT",
        "30 s",
        "time that running transfers get to end after that; 0 cuts them at once",
    ),
    Setting::new(
        "HUGBUCKET_LOG",
        "info",
        "log level, or directives such as `warn,hugbucket=debug`",
    ),
    Setting::new("HUGBUCKET_LOG_FORMAT", "text", "`text` or `json`"),
    Setting::new(
        "HUGBUCKET_AUDIT_LOG",
        "false",
        "a line of the target `hugbucket::audit` for whatever changes something or is denied, whatever the log level",
    )
    .kind(Kind::Switch),
    Setting::new(
        "HUGBUCKET_READY_FILE",
        "",
        "file that is written once requests are served: JSON with the bound addresses",
    ),
];

/// Returns the setting of a variable.
pub fn of_variable(variable: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.variable == variable)
}

/// Returns the setting of a key in the configuration file.
pub fn of_key(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key() == key)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn keys_and_flags_follow_from_the_variable() {
        let setting = of_variable("HUGBUCKET_S3_ADDR").unwrap();
        assert_eq!(setting.key(), "s3_addr");
        assert_eq!(setting.flag().unwrap(), "s3-addr");
        assert_eq!(setting.file_variable(), None);
        assert_eq!(
            of_key("aws_access_key_id").unwrap().variable,
            "AWS_ACCESS_KEY_ID"
        );
    }

    #[test]
    fn secrets_have_a_file_variable_but_no_flag() {
        for setting in SETTINGS.iter().filter(|setting| setting.is_secret()) {
            assert_eq!(setting.flag(), None, "{}", setting.variable);
            assert!(setting.file_variable().is_some(), "{}", setting.variable);
        }
    }

    #[test]
    fn no_two_settings_share_a_key() {
        let keys: BTreeSet<_> = SETTINGS.iter().map(Setting::key).collect();
        assert_eq!(keys.len(), SETTINGS.len());
    }
}
