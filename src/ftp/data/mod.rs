//! Data connections: opened by the client (passive) or, if that is allowed, by the server (active).
//!
//! | file | holds |
//! |---|---|
//! | `ports` | the passive ports |
//! | `stream` | an open data connection, and how it ends |

mod ports;
mod stream;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};

pub(super) use ports::{PassiveListener, PassivePorts};
pub(super) use stream::{DataStream, end_with_fin};

/// Where the next data connection comes from. One connection each.
#[derive(Debug)]
pub(super) enum DataSource {
    /// The client connects to a port of ours.
    Passive(PassiveListener),
    /// We connect to a port of the client's.
    Active(SocketAddr),
}

/// Whom a data connection may come from: the machine at the other end of the control connection, and nobody else. Behind a
/// proxy these are two addresses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peers {
    /// The other end of the control connection.
    pub(super) transport: IpAddr,
    /// The client, as far as known.
    pub(super) client: IpAddr,
}

impl Peers {
    fn contain(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip == self.transport || ip == self.client
    }
}

impl DataSource {
    /// Opens the connection within `patience`. Connections from strangers are closed and not counted.
    ///
    /// Errors: the client did not connect in time, or does not listen.
    pub(super) async fn open(self, peers: Peers, patience: Duration) -> io::Result<TcpStream> {
        let opening = async {
            match self {
                Self::Passive(listener) => listener.accept(peers).await,
                Self::Active(address) => connect(address).await,
            }
        };
        let stream = match tokio::time::timeout(patience, opening).await {
            Ok(opened) => opened?,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        };
        stream.set_nodelay(true)?;
        // Until it ends well, its end is a reset: what is cut must not look complete.
        stream.set_zero_linger()?;
        Ok(stream)
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.connect(address).await
}
