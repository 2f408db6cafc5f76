//! The digest lane: polls the body and pays for its frames.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::drain::Inbound;
use super::lane::{Batch, Flush};
use crate::provider::cas::ingest::{Charge, IngestBudget, PATIENCE};
use crate::storage::{ByteStream, StorageError};

/// Bytes that are collected before they are handed on, unless the body ends.
const MIN_BATCH_BYTES: usize = 256 << 10;

/// Bytes that are collected while the lane is busy; then the body waits.
const MAX_BATCH_BYTES: usize = 1 << 20;

/// Sends the whole body, in batches, to the other end of `batches`. Ends early when that is gone.
///
/// Errors: the body's own. Then nothing more is sent, and the caller must drop everything.
pub(super) async fn feed(
    budget: &Arc<IngestBudget>,
    mut body: ByteStream,
    batches: mpsc::Sender<Inbound>,
) -> Result<(), StorageError> {
    let mut feeder = Feeder::new(budget, batches);
    let mut pressure = budget.pressure();
    loop {
        tokio::select! {
            biased;
            slot = feeder.batches.clone().reserve_owned(), if feeder.len_bytes >= MIN_BATCH_BYTES => {
                let Ok(slot) = slot else { return Ok(()) };
                slot.send(feeder.batch(Flush::No).into());
            }
            Ok(()) = pressure.changed() => feeder.send(Flush::IfLarge, None).await,
            frame = body.next(), if feeder.len_bytes < MAX_BATCH_BYTES => match frame {
                Some(frame) => feeder.add(frame?).await,
                None => break,
            },
        }
    }
    feeder.send(Flush::No, None).await;
    Ok(())
}

/// Frames that were paid for, until they are sent as a batch.
struct Feeder<'a> {
    budget: &'a Arc<IngestBudget>,
    batches: mpsc::Sender<Inbound>,
    frames: Vec<Bytes>,
    len_bytes: usize,
    charge: Charge,
}

impl<'a> Feeder<'a> {
    fn new(budget: &'a Arc<IngestBudget>, batches: mpsc::Sender<Inbound>) -> Self {
        Self {
            budget,
            batches,
            frames: Vec::new(),
            len_bytes: 0,
            charge: Charge::nothing(budget),
        }
    }

    async fn add(&mut self, frame: Bytes) {
        let charge = self.pay(frame.len()).await;
        self.charge.merge(charge);
        self.len_bytes += frame.len();
        self.frames.push(frame);
    }

    /// Waits for memory. Holding on to a half-filled xorb while waiting could lock all streams up, so after a while
    /// everything is sent; and when nothing is held any more, one frame beyond the budget keeps the stream going.
    async fn pay(&mut self, len_bytes: usize) -> Charge {
        if let Some(charge) = self.budget.try_charge(len_bytes) {
            return charge;
        }
        let mut in_line = pin!(self.budget.charge(len_bytes));
        if let Ok(charge) = timeout(PATIENCE, &mut in_line).await {
            return charge;
        }
        self.budget.press();
        let (is_sent, sent) = oneshot::channel();
        self.send(Flush::Now, Some(is_sent)).await;
        tokio::select! {
            biased;
            charge = &mut in_line => charge,
            // Sent, or the other end is gone and nobody will ask for the frame.
            _ = sent => match timeout(PATIENCE, &mut in_line).await {
                Ok(charge) => charge,
                Err(_) => self.budget.overdraw(len_bytes),
            },
        }
    }

    async fn send(&mut self, flush: Flush, is_sent: Option<oneshot::Sender<()>>) {
        let batch = self.batch(flush);
        // An error means that the upload has failed at the other end, which reports it.
        let _ = self.batches.send(Inbound { batch, is_sent }).await;
    }

    fn batch(&mut self, flush: Flush) -> Batch {
        Batch {
            frames: std::mem::take(&mut self.frames),
            len_bytes: std::mem::take(&mut self.len_bytes),
            charge: std::mem::replace(&mut self.charge, Charge::nothing(self.budget)),
            flush,
        }
    }
}
