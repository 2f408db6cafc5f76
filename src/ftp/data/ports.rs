//! The passive ports: one for each data connection that is being waited for.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::ftp::data::Peers;
use crate::telemetry::{InFlight, Metrics};

/// The range of passive ports.
#[derive(Debug, Clone)]
pub(in crate::ftp) struct PassivePorts {
    range: RangeInclusive<u16>,
    metrics: Metrics,
}

impl PassivePorts {
    /// Takes a range that is not empty.
    pub(in crate::ftp) fn new(range: RangeInclusive<u16>, metrics: Metrics) -> Self {
        Self { range, metrics }
    }

    /// Listens at `ip` on a port that is free. The search begins anywhere, so that ports cannot be guessed, and ends after
    /// the whole range, so that all of it can be used.
    ///
    /// Errors: no port is free, or the address is not this machine's.
    pub(in crate::ftp) fn listen(&self, ip: IpAddr) -> io::Result<PassiveListener> {
        let (first, last) = (u32::from(*self.range.start()), u32::from(*self.range.end()));
        let len = last - first + 1;
        let start = rand::random_range(0..len);
        let mut taken = io::Error::from(io::ErrorKind::AddrInUse);
        for step in 0..len {
            let port = first + (start + step) % len;
            let port = u16::try_from(port).expect("it lies in a range of ports");
            match listen(SocketAddr::new(ip, port)) {
                Ok(listener) => {
                    return Ok(PassiveListener {
                        port: listener.local_addr()?.port(),
                        listener,
                        _in_use: self.metrics.ftp_passive_port(),
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => taken = error,
                Err(error) => return Err(error),
            }
        }
        Err(taken)
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A port stays usable while old connections of it linger; one that is listened on stays taken.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(4)
}

/// A passive port that waits for its connection.
#[derive(Debug)]
pub(in crate::ftp) struct PassiveListener {
    listener: TcpListener,
    port: u16,
    _in_use: InFlight,
}

impl PassiveListener {
    /// Returns the port.
    pub(in crate::ftp) fn port(&self) -> u16 {
        self.port
    }

    /// Waits for the client, and gives the port back.
    pub(super) async fn accept(self, peers: Peers) -> io::Result<TcpStream> {
        loop {
            let (stream, peer) = self.listener.accept().await?;
            if peers.contain(peer.ip()) {
                return Ok(stream);
            }
            tracing::warn!(%peer, client = %peers.client, "a stranger connected to a passive port");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::ftp::data::DataSource;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// Finds ports in a row that nobody uses, at an address of its own.
    fn ports(ip: IpAddr, len: u16) -> PassivePorts {
        let free = |first: u16| {
            (first..first + len).all(|port| std::net::TcpListener::bind((ip, port)).is_ok())
        };
        let first = (20_000..60_000)
            .step_by(usize::from(len))
            .find(|first| free(*first));
        let first = first.unwrap();
        PassivePorts::new(first..=first + len - 1, Metrics::new())
    }

    #[tokio::test]
    async fn the_whole_range_can_be_used_and_is_counted() {
        let ports = ports("127.77.1.1".parse().unwrap(), 8);
        let listen = || ports.listen("127.77.1.1".parse().unwrap());
        let held: Vec<_> = (0..8).map(|_| listen().unwrap()).collect();
        let in_use = |metrics: &Metrics| {
            let line = "hugbucket_ftp_passive_ports_in_use ";
            let text = metrics.render();
            let found = text.lines().find_map(|found| found.strip_prefix(line));
            found.unwrap().to_owned()
        };
        assert_eq!(in_use(&ports.metrics), "8");
        assert_eq!(listen().unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(held);
        assert_eq!(in_use(&ports.metrics), "0");
        listen().unwrap();
    }

    #[tokio::test]
    async fn a_stranger_gets_no_data_connection() {
        let ports = PassivePorts::new(0..=0, Metrics::new());
        let listener = ports.listen(HERE).unwrap();
        let address = SocketAddr::new(HERE, listener.port());
        let client: IpAddr = "127.77.2.2".parse().unwrap();
        let peers = Peers {
            transport: client,
            client,
        };
        let opening =
            tokio::spawn(DataSource::Passive(listener).open(peers, Duration::from_secs(30)));
        let mut stranger = TcpStream::connect(address).await.unwrap();
        // Closed without a byte, one way or the other.
        assert!(matches!(stranger.read(&mut [0]).await, Ok(0) | Err(_)));
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(client, 0)).unwrap();
        let ours = socket.connect(address).await.unwrap();
        let opened = opening.await.unwrap().unwrap();
        assert_eq!(opened.peer_addr().unwrap(), ours.local_addr().unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_waited_for_without_end() {
        let ports = PassivePorts::new(0..=0, Metrics::new());
        let source = DataSource::Passive(ports.listen(HERE).unwrap());
        let peers = Peers {
            transport: HERE,
            client: HERE,
        };
        let opened = source.open(peers, Duration::from_secs(30)).await;
        assert_eq!(opened.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
