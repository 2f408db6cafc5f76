//! A queue of byte pieces between a window and its reader, bounded by bytes.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Creates a queue that holds at most `max_bytes` (and at least one piece, however large).
pub(super) fn bounded(max_bytes: u32) -> (Sink, Source) {
    let (pieces, queue) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(max_bytes as usize));
    let sink = Sink {
        pieces,
        room: room.clone(),
        max_bytes,
    };
    (sink, Source { queue, room })
}

/// The filling end.
#[derive(Debug)]
pub(super) struct Sink {
    pieces: mpsc::UnboundedSender<(Bytes, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
    max_bytes: u32,
}

/// The emptying end. Dropping it fails the sink.
#[derive(Debug)]
pub(super) struct Source {
    queue: mpsc::UnboundedReceiver<(Bytes, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
}

/// Nobody reads any more.
#[derive(Debug)]
pub(super) struct Closed;

impl Sink {
    /// Waits for room and queues the piece.
    pub(super) async fn send(&self, piece: Bytes) -> Result<(), Closed> {
        let len = u32::try_from(piece.len()).unwrap_or(u32::MAX);
        let len = len.min(self.max_bytes);
        let room = self.room.clone().acquire_many_owned(len).await;
        let room = room.map_err(|_| Closed)?;
        self.pieces.send((piece, room)).map_err(|_| Closed)
    }
}

impl Source {
    /// Returns the next piece, or `None` after the last.
    pub(super) async fn recv(&mut self) -> Option<Bytes> {
        self.queue.recv().await.map(|(piece, _room)| piece)
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.room.close();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_full_queue_waits_for_its_reader() {
        let (sink, mut source) = bounded(10);
        sink.send(Bytes::from_static(b"123456")).await.unwrap();
        let mut waiting = Box::pin(sink.send(Bytes::from_static(b"abcdef")));
        assert!((&mut waiting).now_or_never().is_none());
        assert_eq!(source.recv().await.unwrap(), "123456");
        waiting.await.unwrap();
        assert_eq!(source.recv().await.unwrap(), "abcdef");
        drop(sink);
        assert!(source.recv().await.is_none());
    }

    #[tokio::test]
    async fn a_piece_larger_than_the_queue_passes_alone() {
        let (sink, mut source) = bounded(4);
        sink.send(Bytes::from_static(b"123456")).await.unwrap();
        assert!(sink.send(Bytes::from_static(b"7")).now_or_never().is_none());
        assert_eq!(source.recv().await.unwrap(), "123456");
    }

    #[tokio::test]
    async fn a_sink_fails_once_its_reader_left() {
        let (sink, source) = bounded(4);
        sink.send(Bytes::from_static(b"1234")).await.unwrap();
        let waiting = sink.send(Bytes::from_static(b"5"));
        drop(source);
        assert!(waiting.await.is_err());
    }
}
