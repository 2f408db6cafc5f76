//! What a development Hub is started with, and why it may not start.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::storage::Secret;

use super::knobs::Knobs;

/// What a user's token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenRole {
    /// Read what the user may read.
    Read,
    /// Everything the user may do.
    Write,
}

impl TokenRole {
    /// Returns the role as `whoami-v2` names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// A user of the development Hub, known by one token.
#[derive(Debug, Clone)]
pub struct DevUser {
    /// The user's name and own namespace.
    pub name: String,
    /// The token that identifies the user.
    pub token: Secret,
    /// What the token may do.
    pub role: TokenRole,
    /// Organisations in whose namespaces the user may read and write.
    pub organizations: Vec<String>,
}

/// Settings of a development Hub.
#[derive(Debug, Clone)]
pub struct DevHubConfig {
    /// Where everything is kept. Created if missing; used by one process at a time.
    pub dir: PathBuf,
    /// Where the Hub listens; loopback only. Port 0 takes a free one. The CAS and CDN take another free port of the
    /// same address, so that they are another origin, as in production.
    pub listen: SocketAddr,
    /// Token of the main user, with all rights. It also opens `/devhub/faults` and `/devhub/calls`.
    pub token: Secret,
    /// Name of the main user.
    pub namespace: String,
    /// Organisations of the main user.
    pub organizations: Vec<String>,
    /// Further users, for tests of what is not allowed.
    pub others: Vec<DevUser>,
    /// Latency, page sizes, and other behaviour; changeable while running.
    pub knobs: Knobs,
}

impl DevHubConfig {
    /// Returns settings for a free port, one organisation named `<namespace>-org`, and no further users.
    pub fn new(dir: impl Into<PathBuf>, token: Secret, namespace: impl Into<String>) -> Self {
        let namespace = namespace.into();
        Self {
            dir: dir.into(),
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            token,
            organizations: vec![format!("{namespace}-org")],
            namespace,
            others: Vec::new(),
            knobs: Knobs::default(),
        }
    }

    /// Returns all users, the main one first.
    pub(super) fn users(&self) -> Vec<DevUser> {
        let main = DevUser {
            name: self.namespace.clone(),
            token: self.token.clone(),
            role: TokenRole::Write,
            organizations: self.organizations.clone(),
        };
        std::iter::once(main)
            .chain(self.others.iter().cloned())
            .collect()
    }
}

/// Why a development Hub did not start.
#[derive(Debug, thiserror::Error)]
pub enum DevHubError {
    /// Another process holds the directory.
    #[error("directory {0} is in use by another development hub")]
    InUse(PathBuf),
    /// The listener would be reachable from elsewhere.
    #[error("the development hub listens on loopback only, not on {0}")]
    NotLoopback(SocketAddr),
    /// The address is taken or not allowed.
    #[error("failed to listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The directory cannot be read or written, or holds damaged data.
    #[error("failed to open the development hub's data: {0}")]
    Io(#[from] io::Error),
}
