//! Collecting what a read brings from the network until it is worth a file.

use std::sync::Arc;

use xet_core_structures::merklehash::MerkleHash;

use crate::provider::cas::chunk::Chunk;
use crate::provider::cas::disk::keeper::{Order, Run};
use crate::provider::cas::disk::tier::Disk;

/// Takes chunks in the order in which they are decoded, and gives runs of them to the keeper; the last one when dropped.
#[derive(Debug, Default)]
pub(in crate::provider::cas) struct Spill {
    disk: Option<Arc<Disk>>,
    run: Option<Run>,
}

impl Spill {
    pub(super) fn new(disk: Option<Arc<Disk>>) -> Self {
        Self { disk, run: None }
    }

    /// Takes a chunk, unless it is on disk already, or there is no room in memory for chunks that wait to be written.
    ///
    /// Waits only where the tier was told to keep everything.
    pub(in crate::provider::cas) async fn add(
        &mut self,
        xorb: MerkleHash,
        index: u32,
        chunk: &Chunk,
    ) {
        let Some(disk) = self.disk.clone() else {
            return;
        };
        let goes_on = |run: &Run| run.xorb == xorb && run.end() == index;
        if !self.run.as_ref().is_some_and(goes_on) {
            self.submit();
        }
        if disk.core.index.holds(&xorb, index) {
            return;
        }
        let len_bytes = u32::try_from(chunk.len_bytes()).unwrap_or(u32::MAX);
        if !disk.core.health.writes.is_open() {
            disk.core.metrics.disk_cache_skipped(len_bytes.into());
            return;
        }
        let budget = match disk.budget.clone().try_acquire_many_owned(len_bytes) {
            Ok(budget) => budget,
            Err(_) => {
                // First gives away what it holds: if all held on and waited, nothing would ever be written.
                self.submit();
                if !disk.keeps_all {
                    disk.core.metrics.disk_cache_skipped(len_bytes.into());
                    return;
                }
                let waiting = disk.budget.clone().acquire_many_owned(len_bytes);
                let Ok(budget) = waiting.await else {
                    return;
                };
                budget
            }
        };
        match &mut self.run {
            Some(run) => {
                run.budget.merge(budget);
                run.chunks.push(chunk.clone());
                run.len_bytes += chunk.len_bytes();
            }
            None => {
                self.run = Some(Run {
                    xorb,
                    start: index,
                    chunks: vec![chunk.clone()],
                    len_bytes: chunk.len_bytes(),
                    budget,
                });
            }
        }
        let is_full = |run: &Run| run.len_bytes >= disk.file_bytes;
        if self.run.as_ref().is_some_and(is_full) {
            self.submit();
        }
    }

    fn submit(&mut self) {
        if let (Some(disk), Some(run)) = (&self.disk, self.run.take()) {
            disk.order(Order::Write(run));
        }
    }
}

impl Drop for Spill {
    fn drop(&mut self) {
        self.submit();
    }
}
