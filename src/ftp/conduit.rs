//! The way past the engine: the bytes of files pass between the session and the backend without the engine's data
//! connection, which would copy each of them through the kernel twice more.
//!
//! The engine still carries out every transfer, and its data connection still says how an upload ended: what comes by the
//! conduit is complete only once that connection has ended cleanly, and the [`Gate`](crate::ftp::gate::Gate) lets it pass.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::Fuse;
use tokio::sync::{mpsc, oneshot};

use crate::ftp::error::Failure;
use crate::storage::{ByteStream, StorageError};

/// Frames that wait for the backend. Together with the one that the session holds, they are all that is in between.
const WAITING_FRAMES: usize = 1;

/// What a session and its backend share for the transfer that runs: one for every engine. A cheap clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Conduit(Arc<Mutex<Option<Way>>>);

/// The backend's end.
#[derive(Debug)]
enum Way {
    Up(mpsc::Receiver<Bytes>),
    Down(oneshot::Sender<Delivery>),
}

/// A file that the session is to send.
#[derive(Debug)]
pub(super) struct Delivery {
    /// May be asked again after its end.
    pub(super) body: Fuse<ByteStream>,
    done: oneshot::Sender<Result<u64, StorageError>>,
}

/// What became of a file that was to be delivered.
pub(super) enum Delivered {
    /// The session took it: this many bytes were sent, or it failed.
    Taken(Result<u64, Failure>),
    /// No session waits for a file.
    NotAsked(ByteStream),
}

impl Conduit {
    /// Opens the way for an upload that begins. The receiving end is gone once the backend wants no more.
    pub(super) fn open_up(&self) -> mpsc::Sender<Bytes> {
        let (frames, inflow) = mpsc::channel(WAITING_FRAMES);
        self.replace(Some(Way::Up(inflow)));
        frames
    }

    /// Opens the way for a download that begins. Nothing comes where the engine has the bytes itself, as with listings.
    pub(super) fn open_down(&self) -> oneshot::Receiver<Delivery> {
        let (hand_over, delivery) = oneshot::channel();
        self.replace(Some(Way::Down(hand_over)));
        delivery
    }

    /// Takes what the session sends for the upload that runs.
    pub(super) fn inflow(&self) -> Option<mpsc::Receiver<Bytes>> {
        match self.replace(None) {
            Some(Way::Up(inflow)) => Some(inflow),
            Some(Way::Down(_)) | None => None,
        }
    }

    /// Hands a file over to the session, and waits until it was sent.
    pub(super) async fn deliver(&self, body: ByteStream) -> Delivered {
        let Some(Way::Down(hand_over)) = self.replace(None) else {
            return Delivered::NotAsked(body);
        };
        let (done, sent) = oneshot::channel();
        let delivery = Delivery {
            body: body.fuse(),
            done,
        };
        if let Err(refused) = hand_over.send(delivery) {
            return Delivered::NotAsked(refused.body.into_inner());
        }
        Delivered::Taken(match sent.await {
            Ok(Ok(len_bytes)) => Ok(len_bytes),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(Failure::connection_closed("the data connection broke")),
        })
    }

    fn replace(&self, way: Option<Way>) -> Option<Way> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut slot, way)
    }
}

impl Delivery {
    /// Tells the backend how it ended. Dropped instead, it ended with the client's connection.
    pub(super) fn end(self, outcome: Result<u64, StorageError>) {
        // A backend that does not wait any more needs no answer.
        let _ = self.done.send(outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(delivered: Delivered) -> Result<u64, u16> {
        match delivered {
            Delivered::Taken(outcome) => outcome.map_err(|failure| failure.refusal().code),
            Delivered::NotAsked(_) => panic!("the session waits"),
        }
    }

    #[tokio::test]
    async fn a_file_is_handed_to_the_session_that_waits_and_its_end_comes_back() {
        let outcomes = [
            (Some(Ok(7)), Ok(7)),
            (Some(Err(StorageError::internal("x"))), Err(451)),
            (None, Err(426)),
        ];
        for (outcome, expected) in outcomes {
            let conduit = Conduit::default();
            let delivery = conduit.open_down();
            let session = async {
                let delivery = delivery.await.unwrap();
                if let Some(outcome) = outcome {
                    delivery.end(outcome);
                }
            };
            let (delivered, ()) = tokio::join!(conduit.deliver(ByteStream::empty()), session);
            assert_eq!(taken(delivered), expected);
        }
    }

    #[tokio::test]
    async fn without_a_session_that_waits_the_file_stays_with_the_backend() {
        let conduit = Conduit::default();
        let not_asked = |delivered| matches!(delivered, Delivered::NotAsked(_));
        assert!(not_asked(conduit.deliver(ByteStream::empty()).await));
        drop(conduit.open_down());
        assert!(not_asked(conduit.deliver(ByteStream::empty()).await));
        let _frames = conduit.open_up();
        assert!(not_asked(conduit.deliver(ByteStream::empty()).await));
    }

    #[tokio::test]
    async fn each_upload_has_a_way_of_its_own() {
        let conduit = Conduit::default();
        assert!(conduit.inflow().is_none());
        let old = conduit.open_up();
        let new = conduit.open_up();
        assert!(old.send(Bytes::from_static(b"old")).await.is_err());
        new.send(Bytes::from_static(b"new")).await.unwrap();
        let mut inflow = conduit.inflow().unwrap();
        assert_eq!(inflow.recv().await.unwrap(), "new");
        assert!(conduit.inflow().is_none());
        drop(new);
        assert!(inflow.recv().await.is_none());
    }
}
