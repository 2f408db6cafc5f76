//! Settings of the S3 adapter.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::s3::cors::CorsRules;

/// Settings of the S3 adapter.
#[derive(Debug, Clone)]
pub struct S3Config {
    /// Domains under which `<bucket>.<domain>` names a bucket; a port is ignored. Empty: path-style only.
    pub domains: Vec<String>,
    /// The region that is reported.
    pub region: String,
    /// Whether signatures must be for that region. Otherwise any is accepted.
    pub requires_region: bool,
    /// Whether objects keep checksums, so that one is computed where the client sends none.
    pub keeps_checksums: bool,
    /// Peers whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: TrustedProxies,
    /// Whether the stack lets callers without credentials read what is public. If it does, settings are refused to them
    /// here: the stack cannot tell reading a bucket's settings from looking it up.
    pub lets_strangers_read: bool,
    /// Which web pages may read answers.
    pub cors: CorsRules,
    /// The longest header section, names and values together, in bytes.
    pub max_header_bytes: usize,
    /// Headers of a request at most.
    pub max_headers: usize,
    /// How long a client may take to send an XML document.
    pub document_timeout: Duration,
    /// Of the unread rest of a refused upload, this much is taken from the client so that it reads the answer, in bytes.
    pub max_drained_bytes: u64,
    /// How long a commit may take before the answer begins with whitespace to keep the connection alive.
    pub keep_alive_after: Duration,
}

impl Default for S3Config {
    fn default() -> Self {
        Self {
            domains: Vec::new(),
            region: "us-east-1".into(),
            requires_region: false,
            keeps_checksums: false,
            trusted_proxies: TrustedProxies::none(),
            lets_strangers_read: false,
            cors: CorsRules::open_to(["*".to_owned()]),
            // 2 KiB of user metadata, a session token, a long policy: AWS allows 8 KiB, proxies add their own.
            max_header_bytes: 32 * 1024,
            max_headers: DEFAULT_MAX_HEADERS,
            document_timeout: Duration::from_secs(30),
            max_drained_bytes: 32 * 1024 * 1024,
            keep_alive_after: Duration::from_secs(5),
        }
    }
}

/// Tells which peers are proxies of ours. By default, none is.
#[derive(Clone)]
pub struct TrustedProxies(Arc<dyn Fn(IpAddr) -> bool + Send + Sync>);

impl TrustedProxies {
    /// Believes nobody.
    pub fn none() -> Self {
        Self::new(|_| false)
    }

    /// Believes the peers that `is_trusted` names.
    pub fn new(is_trusted: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_trusted))
    }

    /// Reports whether the peer's `X-Forwarded-*` headers are believed. An unknown peer's are not.
    pub(super) fn include(&self, peer: Option<IpAddr>) -> bool {
        peer.is_some_and(|peer| (self.0)(peer))
    }
}

impl Default for TrustedProxies {
    fn default() -> Self {
        Self::none()
    }
}

impl fmt::Debug for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TrustedProxies(…)")
    }
}

/// Headers of a request at most: what hyper takes without an allocation for each request.
pub(super) const DEFAULT_MAX_HEADERS: usize = 100;

/// Limits of the S3 listener.
#[derive(Debug, Clone)]
pub struct ServerLimits {
    /// Connections served at once; further ones are refused.
    pub max_connections: usize,
    /// Of these, those from one address; zero for no limit.
    pub max_connections_per_address: usize,
    /// Whose addresses have no limit of their own: they bring the connections of others.
    pub trusted_proxies: TrustedProxies,
    /// Headers of a request at most.
    pub max_headers: usize,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How long a client may take to send a request's head; also how long an idle HTTP/1.1 connection is kept.
    pub header_read_timeout: Duration,
    /// HTTP/2 streams at once on one connection.
    pub max_streams: u32,
    /// How long requests under way may take to finish after the shutdown began.
    pub drain_timeout: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_connections_per_address: 0,
            trusted_proxies: TrustedProxies::none(),
            max_headers: DEFAULT_MAX_HEADERS,
            handshake_timeout: Duration::from_secs(10),
            // Longer than the 60 s for which SDKs and load balancers pool idle connections: they close first.
            header_read_timeout: Duration::from_secs(75),
            max_streams: 256,
            drain_timeout: Duration::from_secs(30),
        }
    }
}
