//! TLS of control and data connections.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What the listeners encrypt with. It follows renewals of the certificate.
#[derive(Clone)]
pub struct FtpTls {
    control: TlsAcceptor,
    data: TlsAcceptor,
}

impl FtpTls {
    /// Uses the certificate of `config`, which offers TLS 1.2 and 1.3.
    ///
    /// Data connections get no tickets of TLS 1.3: they would arrive behind the handshake of an upload, where a client only
    /// writes, lie unread, and make the close of its connection a reset that takes the last bytes with it.
    pub fn new(config: &Arc<ServerConfig>) -> Self {
        let mut data = ServerConfig::clone(config);
        data.send_tls13_tickets = 0;
        Self {
            control: Arc::clone(config).into(),
            data: Arc::new(data).into(),
        }
    }

    /// Completes the handshake of a control connection within `patience`.
    ///
    /// Errors: the client is too slow, speaks something else, or accepts no common version or cipher.
    pub(super) async fn accept_control<C>(
        &self,
        connection: C,
        patience: Duration,
    ) -> io::Result<TlsStream<C>>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        accept(&self.control, connection, patience).await
    }

    /// Completes the handshake of a data connection within `patience`.
    ///
    /// Errors: as [`Self::accept_control`].
    pub(super) async fn accept_data<C>(
        &self,
        connection: C,
        patience: Duration,
    ) -> io::Result<TlsStream<C>>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        accept(&self.data, connection, patience).await
    }
}

impl std::fmt::Debug for FtpTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FtpTls")
    }
}

async fn accept<C>(
    acceptor: &TlsAcceptor,
    connection: C,
    patience: Duration,
) -> io::Result<TlsStream<C>>
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    match tokio::time::timeout(patience, acceptor.accept(connection)).await {
        Ok(accepted) => accepted,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the TLS handshake takes too long",
        )),
    }
}
