//! How much is read from a connection at once: much where there are few of them, little where there are many.
//!
//! A read buffer grows to what the reads fill, and a body on its way holds several of its size: in the protocol's machine,
//! in the queue behind it, and where it waits for memory. With a share each, all connections together hold about as much
//! as a few do.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf, Take};

/// What all connections together read at once.
const TOTAL_BYTES: usize = 16 << 20;
/// What every connection may read at once in any case.
const LEAST_BYTES: usize = 16 << 10;

/// Counts the connections among which reads are shared.
#[derive(Debug, Clone, Default)]
pub(super) struct ReadShares(Arc<AtomicUsize>);

/// A connection whose reads are bounded by its share.
#[derive(Debug)]
pub(super) struct Shared<T> {
    inner: Take<T>,
    shares: ReadShares,
}

impl ReadShares {
    /// Gives the connection a share, until it is dropped.
    pub(super) fn join<T: AsyncRead + Unpin>(&self, connection: T) -> Shared<T> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Shared {
            inner: connection.take(0),
            shares: self.clone(),
        }
    }

    fn share_bytes(&self) -> usize {
        let connections = self.0.load(Ordering::Relaxed).max(1);
        (TOTAL_BYTES / connections).max(LEAST_BYTES)
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        self.shares.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Shared<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let share = self.shares.share_bytes() as u64;
        self.inner.set_limit(share);
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Shared<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.inner.get_mut()).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.inner.get_mut()).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.get_ref().is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.inner.get_mut()).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.inner.get_mut()).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn the_more_connections_the_less_is_read_at_once() {
        let shares = ReadShares::default();
        let content = vec![7; 1 << 20];
        let mut buffer = vec![0; 400 << 10];
        let mut alone = shares.join(&content[..]);
        assert_eq!(alone.read(&mut buffer).await.unwrap(), 400 << 10);
        let others: Vec<_> = (0..199).map(|_| shares.join(&content[..])).collect();
        assert_eq!(alone.read(&mut buffer).await.unwrap(), TOTAL_BYTES / 200);
        drop(others);
        assert_eq!(alone.read(&mut buffer).await.unwrap(), 400 << 10);
    }

    #[tokio::test]
    async fn a_connection_is_read_to_its_end_and_written_to() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut shared = ReadShares::default().join(near);
        let (sent, received) = tokio::join!(
            async {
                far.write_all(b"question").await.unwrap();
                let mut answer = [0; 6];
                far.read_exact(&mut answer).await.unwrap();
                drop(far);
                answer
            },
            async {
                shared.write_all(b"answer").await.unwrap();
                let mut all = Vec::new();
                shared.read_to_end(&mut all).await.unwrap();
                all
            }
        );
        assert_eq!((&sent, received.as_slice()), (b"answer", &b"question"[..]));
    }
}
