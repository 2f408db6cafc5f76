//! The other end of the feed: has batches worked on, and xorbs sent, until the body has ended.

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tracing::Instrument;

use super::assemble::{Assembled, ReadyXorb};
use super::lane::{Batch, Lane};
use super::staged::{Companion, StagedFile};
use crate::provider::cas::access::AccessSource;
use crate::provider::cas::client::CasClient;
use crate::storage::{BucketId, StorageError};

/// Xorbs of one upload that are on their way at once. The ingest budget bounds their bytes.
const MAX_IN_FLIGHT: usize = 4;

/// Bytes up to which a batch is worked on at once: half a millisecond, less than it takes to change threads under load.
const INLINE_BYTES: usize = 256 << 10;

/// A batch, and whom to tell when everything up to it was sent.
#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) batch: Batch,
    pub(super) is_sent: Option<oneshot::Sender<()>>,
}

impl From<Batch> for Inbound {
    fn from(batch: Batch) -> Self {
        Self {
            batch,
            is_sent: None,
        }
    }
}

/// Sends what the lane produces.
pub(super) struct Drain {
    client: CasClient,
    access: AccessSource,
    bucket: BucketId,
    sends: JoinSet<Result<(), StorageError>>,
    waiting: Vec<oneshot::Sender<()>>,
}

impl Drain {
    pub(super) fn new(client: CasClient, access: AccessSource, bucket: BucketId) -> Self {
        Self {
            client,
            access,
            bucket,
            sends: JoinSet::new(),
            waiting: Vec::new(),
        }
    }

    /// Runs until the body has ended and the CAS has all xorbs. Dropping it stops the sends that are under way.
    ///
    /// Errors: the first failure of a send.
    pub(super) async fn run(
        mut self,
        mut lane: Lane,
        mut inbox: mpsc::Receiver<Inbound>,
        companion: Option<Companion>,
    ) -> Result<StagedFile, StorageError> {
        loop {
            tokio::select! {
                Some(sent) = self.sends.join_next() => sent.map_err(|error| lost(&error))??,
                inbound = inbox.recv(), if self.sends.len() < MAX_IN_FLIGHT => {
                    let Some(Inbound { batch, is_sent }) = inbound else { break };
                    let ready;
                    (lane, ready) = self.work(lane, batch).await?;
                    self.waiting.extend(is_sent);
                    self.send(ready);
                }
            }
            self.tell();
        }
        let staged = match lane.finish(companion)? {
            Assembled::Sealed(staged, ready) => {
                self.send(ready);
                staged
            }
            Assembled::Small(upload) => {
                let Self {
                    client,
                    access,
                    bucket,
                    ..
                } = &self;
                client.send_together(access, bucket, *upload).await?
            }
        };
        while let Some(sent) = self.sends.join_next().await {
            sent.map_err(|error| lost(&error))??;
        }
        Ok(staged)
    }

    async fn work(
        &self,
        mut lane: Lane,
        batch: Batch,
    ) -> Result<(Lane, Vec<ReadyXorb>), StorageError> {
        if batch.len_bytes <= INLINE_BYTES {
            let ready = lane.take(batch)?;
            return Ok((lane, ready));
        }
        let _core = self.client.0.ingest.core().await;
        let work = spawn_blocking(move || {
            let ready = lane.take(batch)?;
            Ok((lane, ready))
        });
        work.await.map_err(|error| lost(&error))?
    }

    fn send(&mut self, ready: Vec<ReadyXorb>) {
        for ReadyXorb { xorb, charge } in ready {
            let (client, access) = (self.client.clone(), self.access.clone());
            let send = async move {
                let sent = client.send_xorb(&access, &xorb).await;
                drop((xorb, charge));
                sent
            };
            self.sends.spawn(send.in_current_span());
        }
    }

    /// Tells those who wait for everything to be sent.
    fn tell(&mut self) {
        if self.sends.is_empty() {
            for waiting in self.waiting.drain(..) {
                // Whoever does not wait any more has got its memory.
                let _ = waiting.send(());
            }
        }
    }
}

fn lost(error: &JoinError) -> StorageError {
    StorageError::internal(format!("upload task: {error}"))
}
