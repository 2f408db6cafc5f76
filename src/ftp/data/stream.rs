//! An open data connection, and how it ends.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// How long a client may take to close its end of an encrypted download.
const FAREWELL: Duration = Duration::from_secs(2);

/// A data connection. Dropped, it is reset: only [`Self::finish`] makes its end a clean one.
#[derive(Debug)]
pub(in crate::ftp) enum DataStream {
    /// In the clear.
    Plain(TcpStream),
    /// Encrypted.
    Tls(Box<TlsStream<TcpStream>>),
}

impl DataStream {
    /// Reports whether the connection is encrypted, so that its end cannot be forged.
    pub(in crate::ftp) fn is_encrypted(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Ends the connection cleanly: all that was written arrives, and the client sees that nothing more comes.
    ///
    /// Errors: the client is gone.
    pub(in crate::ftp) async fn finish(mut self) -> io::Result<()> {
        end_with_fin(self.tcp())?;
        self.shutdown().await?;
        if let Self::Tls(mut stream) = self {
            // The client's farewell, arriving at a closed socket, would be answered with a reset, which can overtake the
            // last bytes on the client's side.
            tokio::spawn(async move {
                let mut rest = [0; 256];
                let reading = async { while let Ok(1..) = stream.read(&mut rest).await {} };
                let _ = tokio::time::timeout(FAREWELL, reading).await;
            });
        }
        Ok(())
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

/// Makes the end of a connection a FIN again, where a drop would have been a reset.
///
/// Errors: the system refuses.
#[expect(
    deprecated,
    reason = "blocking on drop is what a linger time above zero does; this one takes the time away"
)]
pub(in crate::ftp) fn end_with_fin(stream: &TcpStream) -> io::Result<()> {
    stream.set_linger(None)
}

impl AsyncRead for DataStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for DataStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
