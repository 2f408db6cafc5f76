//! The typed configuration: what the rest of the process sees.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use crate::config::cors::BucketCors;
use crate::config::credential::S3Credential;
use crate::config::ftp::FtpSettings;
use crate::config::parse::Cors;
use crate::config::quota::QuotaSettings;
use crate::storage::{Namespace, Secret, Visibility};
use crate::telemetry::LogSettings;

/// Everything that the process is told at its start. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which Hub holds the data.
    pub hub: HubChoice,
    /// `HUGBUCKET_NAMESPACE`: user or organisation that owns the buckets. Without one, the owner of the token.
    pub namespace: Option<Namespace>,
    /// `HUGBUCKET_EXTRA_NAMESPACES`, empty: namespaces whose buckets are named `<namespace>.<bucket>`.
    pub extra_namespaces: Vec<Namespace>,
    /// Where to listen.
    pub listeners: Listeners,
    /// The certificate of the listeners that speak TLS.
    pub tls: Option<TlsFiles>,
    /// The S3 protocol.
    pub s3: S3Settings,
    /// The FTP protocol.
    pub ftp: FtpSettings,
    /// What is kept to save upstream calls.
    pub caches: Caches,
    /// Memory that transfers may use.
    pub budgets: Budgets,
    /// What each credential may take.
    pub quotas: QuotaSettings,
    /// `[undo]` of the file, empty: how long what is overwritten or deleted is kept, by `namespace/bucket`, `bucket`, or
    /// `*`; zero is off.
    pub undo: BTreeMap<String, Duration>,
    /// What a single client may take.
    pub limits: Limits,
    /// How the process ends.
    pub drain: DrainTimes,
    /// What the process says.
    pub log: LogSettings,
    /// `HUGBUCKET_READY_FILE`, none: written once requests are served, with the bound addresses as JSON.
    pub ready_file: Option<PathBuf>,
    /// Sentences to be logged at the start: settings that mean nothing, or have no effect.
    pub warnings: Vec<String>,
}

/// Which Hub holds the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HubChoice {
    /// A Hub that exists outside this process.
    Remote {
        /// `HF_ENDPOINT`, `https://huggingface.co`: base address without a trailing slash.
        endpoint: Url,
        /// `HF_TOKEN`: never empty.
        token: Secret,
    },
    /// The development Hub inside this process, on a loopback port of its own.
    Development {
        /// `HUGBUCKET_DEV_DIR`, `.hugbucket-dev`: where it keeps its data.
        dir: PathBuf,
    },
}

impl HubChoice {
    /// Reports whether the development Hub is used.
    pub fn is_development(&self) -> bool {
        matches!(self, Self::Development { .. })
    }
}

/// Where to listen; nothing where a listener is `off`. Port 0 lets the system choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listeners {
    /// `HUGBUCKET_S3_ADDR`, 0.0.0.0:9000; with the development Hub 127.0.0.1:9000.
    pub s3: Option<SocketAddr>,
    /// `HUGBUCKET_FTP_ADDR`, 0.0.0.0:2121; with the development Hub 127.0.0.1:2121. Off without any FTP user.
    pub ftp: Option<SocketAddr>,
    /// `HUGBUCKET_FTPS_ADDR`, off: FTP with TLS from the first byte on. Off without any FTP user.
    pub ftps: Option<SocketAddr>,
    /// `HUGBUCKET_ADMIN_ADDR`, 0.0.0.0:9464; with the development Hub 127.0.0.1:9464.
    pub admin: Option<SocketAddr>,
}

/// Files of the server's certificate, which is read again whenever they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// `HUGBUCKET_TLS_CERT_FILE`, none: the chain in PEM form, the server's own certificate first.
    pub certificate: PathBuf,
    /// `HUGBUCKET_TLS_KEY_FILE`, none: its private key in PEM form.
    pub key: PathBuf,
}

/// The S3 protocol.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, then `[[s3_credentials]]` of the file. Never empty while the
    /// listener is on.
    pub credentials: Vec<S3Credential>,
    /// `HUGBUCKET_S3_DOMAIN`, empty: domains below which `<bucket>.<domain>` names a bucket; lower case.
    pub domains: Vec<String>,
    /// `HUGBUCKET_S3_REGION`, `us-east-1`: the region that answers report.
    pub region: String,
    /// `HUGBUCKET_S3_STRICT_REGION`, false: requests must be signed for that region.
    pub requires_region: bool,
    /// `HUGBUCKET_DEFAULT_VISIBILITY`, `private`: of buckets created without an ACL.
    pub default_visibility: Visibility,
    /// `HUGBUCKET_ANONYMOUS_READ`, false: requests without a signature may read and list public buckets.
    pub anonymous_read: bool,
    /// `HUGBUCKET_STORE_CHECKSUMS`, false: keep a checksum with each object.
    pub stores_checksums: bool,
    /// `HUGBUCKET_CORS`, `*`: origins that browsers may call from.
    pub cors: Cors,
    /// `[[cors_rules]]` of the file, empty: buckets to which other rules apply.
    pub bucket_cors: Vec<BucketCors>,
    /// `HUGBUCKET_TRUSTED_PROXIES`, empty: whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<IpNet>,
}

/// What is kept to save upstream calls. Zero turns a cache off, as bytes, as entries, or as a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caches {
    /// `HUGBUCKET_XORB_CACHE_MAX_BYTES`, 512 MiB: object data in memory.
    pub xorb_max_bytes: u64,
    /// `HUGBUCKET_RECON_CACHE_MAX_ENTRIES`, 1024: reconstruction plans.
    pub recon_max_entries: usize,
    /// `HUGBUCKET_RECON_CACHE_TTL`, 300 s: life of a plan.
    pub recon_ttl: Duration,
    /// `HUGBUCKET_FILE_INFO_CACHE_MAX_ENTRIES`, 256: file infos.
    pub file_info_max_entries: usize,
    /// `HUGBUCKET_FILE_INFO_CACHE_TTL`, 30 s: life of a file info, and the time until writes of others are seen.
    pub file_info_ttl: Duration,
    /// `HUGBUCKET_CHANGE_FEED`, auto: whether the Hub is asked to tell what others write.
    pub change_feed: ChangeFeed,
    /// `HUGBUCKET_DISK_CACHE_DIR`, none: object data on disk.
    pub disk_dir: Option<PathBuf>,
    /// `HUGBUCKET_DISK_CACHE_MAX_BYTES`, 10 GiB.
    pub disk_max_bytes: u64,
}

/// What is done with the Hub's change feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeFeed {
    /// It is followed where the Hub offers it.
    Auto,
    /// It is not followed.
    Off,
    /// It is followed, and nothing is remembered of files of buckets whose feed is not connected.
    Required,
}

/// Memory that transfers may use, all of them together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budgets {
    /// `HUGBUCKET_INGEST_MAX_BYTES`, 256 MiB, at least 64 MiB: bytes of uploads.
    pub ingest_max_bytes: u64,
    /// `HUGBUCKET_LOOKAHEAD_MAX_BYTES`, 256 MiB, at least 16 MiB: bytes that downloads read ahead.
    pub lookahead_max_bytes: u64,
}

/// What clients may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// `HUGBUCKET_MAX_REQUESTS`, 1024, at least 1: requests in flight, bodies included.
    pub max_requests: usize,
    /// `HUGBUCKET_HEAD_TIMEOUT`, 120 s: time to the response head, counted from the last request byte; none for 0.
    pub head_timeout: Option<Duration>,
    /// `HUGBUCKET_IDLE_TIMEOUT`, 60 s: time that a transfer may stand still; none for 0.
    pub idle_timeout: Option<Duration>,
    /// `HUGBUCKET_S3_MAX_CONNECTIONS`, 10000, at least 1: connections of the S3 listener.
    pub max_connections: usize,
    /// `HUGBUCKET_S3_MAX_CONNECTIONS_PER_ADDRESS`, 5000: of these, from one address; 0 for no limit.
    pub max_connections_per_address: usize,
    /// `HUGBUCKET_S3_HEADER_TIMEOUT`, 75 s: time to the end of a request's head; also that of idle connections.
    pub header_timeout: Duration,
    /// `HUGBUCKET_S3_MAX_HEADER_BYTES`, 32 KiB, 8 to 64 KiB: names and values of a request's headers.
    pub max_header_bytes: usize,
    /// `HUGBUCKET_S3_MAX_HEADERS`, 100, 20 to 1,000: headers of a request.
    pub max_headers: usize,
    /// `HUGBUCKET_MAX_UPLOADS_PER_BUCKET`, 0: multipart uploads under way in a bucket; no limit for 0.
    pub max_uploads_per_bucket: usize,
    /// `HUGBUCKET_UPLOAD_EXPIRY`, 7 d: time after its newest part until a multipart upload that nobody completes is removed;
    /// none for 0.
    pub upload_expiry: Option<Duration>,
}

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainTimes {
    /// `HUGBUCKET_SHUTDOWN_DELAY`, 0 s: how long connections are still accepted after the signal, so that load balancers
    /// notice.
    pub delay: Duration,
    /// `HUGBUCKET_SHUTDOWN_TIMEOUT`, 30 s: how long running transfers may then take; 0 cuts them at once.
    pub timeout: Duration,
}
