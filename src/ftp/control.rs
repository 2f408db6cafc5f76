//! The control connection: lines in, replies out, encrypted or not.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use crate::ftp::reply::Reply;
use crate::ftp::tls::FtpTls;
use crate::ftp::wire::{Line, LineReader};

/// How long a client may take to read a reply. Replies fit into the kernel's buffers, unless a client never reads.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection of any kind.
pub(super) trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}

impl<C: AsyncRead + AsyncWrite + Unpin + Send> Connection for C {}

/// A control connection.
pub(super) struct Control {
    /// Nothing only while a handshake takes it.
    connection: Option<Box<dyn Connection>>,
    lines: LineReader,
    is_encrypted: bool,
}

impl Control {
    /// Takes a connection over which nothing was read yet.
    pub(super) fn new(connection: impl Connection + 'static) -> Self {
        Self {
            connection: Some(Box::new(connection)),
            lines: LineReader::new(),
            is_encrypted: false,
        }
    }

    /// Returns the next line, or nothing at the end of the connection. Nothing is lost if the future is dropped.
    ///
    /// Errors: the connection broke, or, encrypted, ended without saying so.
    pub(super) async fn next_line(&mut self) -> io::Result<Option<Line>> {
        let connection = self.connection.as_mut().ok_or_else(gone)?;
        self.lines.next(connection).await
    }

    /// Sends a reply, whole.
    ///
    /// Errors: the connection broke, or the client does not read.
    pub(super) async fn send(&mut self, reply: &Reply) -> io::Result<()> {
        let connection = self.connection.as_mut().ok_or_else(gone)?;
        let text = reply.to_string();
        let sending = async {
            connection.write_all(text.as_bytes()).await?;
            connection.flush().await
        };
        match tokio::time::timeout(REPLY_TIMEOUT, sending).await {
            Ok(sent) => sent,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Encrypts the connection from here on.
    ///
    /// Errors: as [`FtpTls::accept_control`]; the connection is gone then.
    pub(super) async fn encrypt(&mut self, tls: &FtpTls, patience: Duration) -> io::Result<()> {
        let plain = self.connection.take().ok_or_else(gone)?;
        let encrypted = tls.accept_control(plain, patience).await?;
        self.connection = Some(Box::new(encrypted));
        self.is_encrypted = true;
        Ok(())
    }

    /// Reports whether the connection is encrypted.
    pub(super) fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }

    /// Reports whether nothing was read beyond the last line: bytes that came in the clear must not count as encrypted.
    pub(super) fn has_read_ahead(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Ends the connection, politely.
    pub(super) async fn close(mut self) {
        if let Some(mut connection) = self.connection.take() {
            // Whoever is gone needs no farewell.
            let _ = tokio::time::timeout(REPLY_TIMEOUT, connection.shutdown()).await;
        }
    }
}

fn gone() -> io::Error {
    io::ErrorKind::NotConnected.into()
}
