//! The listener: connections in, sessions out, and the end of both.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ftp::backend::{Backend, BackendSettings};
use crate::ftp::census::{Census, Seat};
use crate::ftp::command;
use crate::ftp::config::FtpConfig;
use crate::ftp::control::Control;
use crate::ftp::data::PassivePorts;
use crate::ftp::links::Links;
use crate::ftp::proxy;
use crate::ftp::reply::Reply;
use crate::ftp::session::{Ends, Session};
use crate::ftp::tls::FtpTls;
use crate::storage::Gateway;
use crate::telemetry::{Metrics, SessionStart};

/// How long the listener waits before it accepts again when the process is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a proxy may take for its header: it has it ready before it connects.
const PROXY_TIMEOUT: Duration = Duration::from_secs(5);

/// What all sessions share, whichever listener they come by.
#[derive(Debug)]
pub struct Ftp {
    pub(super) gateway: Gateway,
    pub(super) config: FtpConfig,
    pub(super) tls: Option<FtpTls>,
    pub(super) metrics: Metrics,
    pub(super) ports: PassivePorts,
    pub(super) closing: CancellationToken,
    census: Census,
}

/// How a connection to a listener begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// In the clear; the client may ask for encryption.
    Plain,
    /// With a TLS handshake.
    Tls,
}

impl Ftp {
    /// Puts the adapter over the stack. `closing` is cancelled when the process begins to end.
    pub fn new(
        gateway: Gateway,
        config: FtpConfig,
        tls: Option<FtpTls>,
        metrics: Metrics,
        closing: CancellationToken,
    ) -> Arc<Self> {
        metrics.ftp_verbs(command::verbs());
        metrics.ftp_passive_ports(config.passive_ports.len());
        let ports = PassivePorts::new(config.passive_ports.clone(), metrics.clone());
        let census = Census::new(config.limits);
        Arc::new(Self {
            gateway,
            config,
            tls,
            metrics,
            ports,
            closing,
            census,
        })
    }

    pub(super) fn backend(&self, links: Links) -> Backend {
        let settings = BackendSettings {
            max_list_entries: self.config.limits.max_list_entries,
            metrics: self.metrics.clone(),
        };
        Backend::new(self.gateway.clone(), links, settings)
    }

    /// Serves `listener` until the process begins to end, then lets transfers under way finish.
    ///
    /// # Behaviour
    /// - A connection beyond a limit is answered with 421 and closed; it costs no task.
    /// - After the end began, no connection is accepted, sessions without a transfer are closed with 421, and the others
    ///   after their transfer. The function returns when the last one is gone, or after the time to drain.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, opening: Opening) {
        let sessions = TaskTracker::new();
        loop {
            let (stream, peer) = tokio::select! {
                biased;
                () = self.closing.cancelled() => break,
                accepted = accept(&listener) => accepted,
            };
            match self.census.admit() {
                Ok(seat) => {
                    let ftp = Arc::clone(&self);
                    sessions.spawn(ftp.attend(stream, peer, opening, seat));
                }
                Err(full) => {
                    self.metrics.ftp_session(SessionStart::Refused);
                    refuse(stream, opening, full.text());
                }
            }
        }
        drop(listener);
        sessions.close();
        let limit = self.config.limits.drain_timeout;
        if tokio::time::timeout(limit, sessions.wait()).await.is_err() {
            tracing::warn!(after = ?limit, sessions = sessions.len(), "FTP sessions are cut off");
        }
    }

    /// Turns a connection into a session.
    async fn attend(
        self: Arc<Self>,
        mut stream: TcpStream,
        peer: SocketAddr,
        opening: Opening,
        mut seat: Seat,
    ) {
        let ends = match self.ends(&mut stream, peer).await {
            Ok(ends) => ends,
            Err(error) => return tracing::debug!(%peer, %error, "a connection is of no use"),
        };
        if let Err(full) = seat.at(ends.client.ip()) {
            self.metrics.ftp_session(SessionStart::Refused);
            return refuse(stream, opening, full.text());
        }
        self.metrics.ftp_session(SessionStart::Served);
        let _active = self.metrics.ftp_session_active();
        let mut control = Control::new(stream);
        if opening == Opening::Tls {
            let Some(tls) = &self.tls else {
                return tracing::error!("there is no certificate for implicit TLS");
            };
            let patience = self.config.limits.data_timeout;
            if let Err(error) = control.encrypt(tls, patience).await {
                return tracing::debug!(peer = %ends.client, %error, "a handshake failed");
            }
        }
        Session::new(Arc::clone(&self), control, ends, seat)
            .run()
            .await;
    }

    /// Finds out who is at the other end.
    async fn ends(&self, stream: &mut TcpStream, peer: SocketAddr) -> io::Result<Ends> {
        stream.set_nodelay(true)?;
        let transport = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let local = stream.local_addr()?.ip().to_canonical();
        let (mut client, mut called) = (transport, local);
        if self.config.proxies.contain(transport.ip()) {
            let header = tokio::time::timeout(PROXY_TIMEOUT, proxy::read_header(stream)).await;
            if let Some((source, target)) = header.map_err(|_| io::ErrorKind::TimedOut)?? {
                (client, called) = (source, target.ip());
            }
        }
        Ok(Ends {
            client,
            transport,
            local,
            called,
        })
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
                let is_of_one_connection = matches!(
                    error.kind(),
                    ConnectionAborted | ConnectionRefused | ConnectionReset
                );
                if !is_of_one_connection {
                    tracing::error!(%error, "failed to accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Says why and closes the connection, all at once: one line fits into the buffer of a connection that is new. A client that
/// expects a handshake would not understand it.
fn refuse(stream: TcpStream, opening: Opening, text: &str) {
    if opening == Opening::Tls {
        return;
    }
    if let Ok(mut stream) = stream.into_std() {
        let reply = Reply::new(421, text).to_string();
        // Whoever is gone needs no reason.
        let _ = stream.write(reply.as_bytes());
    }
}
