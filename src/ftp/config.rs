//! What the FTP adapter needs to know.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// Settings of the FTP adapter.
#[derive(Debug, Clone)]
pub struct FtpConfig {
    /// Ports of passive data connections: one port a connection.
    pub passive_ports: RangeInclusive<u16>,
    /// The address told to passive clients instead of that of their connection.
    pub passive_host: Option<Ipv4Addr>,
    /// Whether the server may open data connections to clients (PORT, EPRT).
    pub allows_active: bool,
    /// Who may log in without encryption.
    pub plaintext: Plaintext,
    /// Peers whose connections begin with a PROXY header.
    pub proxies: ProxySources,
    /// Bounds on what clients may take.
    pub limits: FtpLimits,
}

/// Who may log in, and transfer, without encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plaintext {
    /// Everybody.
    Always,
    /// Clients on this machine.
    Loopback,
    /// Nobody.
    Never,
}

impl Plaintext {
    /// Reports whether a client at `peer` may.
    pub(super) fn permits(self, peer: IpAddr) -> bool {
        match self {
            Self::Always => true,
            Self::Loopback => peer.is_loopback(),
            Self::Never => false,
        }
    }
}

/// Bounds on what clients may take, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FtpLimits {
    /// Sessions at once.
    pub max_sessions: usize,
    /// Sessions at once from one address.
    pub max_sessions_per_address: usize,
    /// Sessions at once that did not log in yet.
    pub max_logging_in: usize,
    /// The same from one address, so that nobody can keep all others out.
    pub max_logging_in_per_address: usize,
    /// Time that a client has to log in.
    pub login_timeout: Duration,
    /// Time without a command until a session is closed; none for no limit.
    pub idle_timeout: Option<Duration>,
    /// Time without a byte until a transfer is cut; none for no limit.
    pub stall_timeout: Option<Duration>,
    /// Time that a client has to open a data connection, and to complete a handshake.
    pub data_timeout: Duration,
    /// Time that storage has for its answer once a transfer's bytes have passed; beyond the stack's own deadlines.
    pub verdict_timeout: Duration,
    /// Time that running transfers have to end once the process drains.
    pub drain_timeout: Duration,
    /// Entries that a listing may have: it is held in memory as a whole.
    pub max_list_entries: usize,
    /// Delay of the answer to a failed login.
    pub login_penalty: Duration,
}

impl Default for FtpLimits {
    fn default() -> Self {
        Self {
            max_sessions: 1000,
            max_sessions_per_address: 200,
            max_logging_in: 400,
            max_logging_in_per_address: 100,
            login_timeout: Duration::from_secs(60),
            idle_timeout: Some(Duration::from_secs(300)),
            stall_timeout: Some(Duration::from_secs(60)),
            data_timeout: Duration::from_secs(30),
            verdict_timeout: Duration::from_secs(300),
            drain_timeout: Duration::from_secs(30),
            max_list_entries: 100_000,
            login_penalty: Duration::from_secs(1),
        }
    }
}

/// Tells connections that come through a proxy, which says in a PROXY header whose they are, from those that do not.
#[derive(Clone)]
pub struct ProxySources(Arc<dyn Fn(IpAddr) -> bool + Send + Sync>);

impl ProxySources {
    /// Believes the peers for which `is_proxy` holds.
    pub fn new(is_proxy: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_proxy))
    }

    /// Believes nobody.
    pub fn none() -> Self {
        Self::new(|_| false)
    }

    /// Reports whether a connection from this peer begins with a PROXY header.
    pub(super) fn contain(&self, peer: IpAddr) -> bool {
        (self.0)(peer)
    }
}

impl fmt::Debug for ProxySources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxySources(…)")
    }
}
