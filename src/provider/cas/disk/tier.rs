//! The tier as the rest of the client sees it.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};

use tokio::sync::{Semaphore, oneshot};
use xet_core_structures::merklehash::MerkleHash;

use crate::provider::cas::disk::extent::Extent;
use crate::provider::cas::disk::health::Health;
use crate::provider::cas::disk::index::Index;
use crate::provider::cas::disk::keeper::{Core, Keeper, Order};
use crate::provider::cas::disk::read::DiskRun;
use crate::provider::cas::disk::spill::Spill;
use crate::telemetry::{CacheName, CacheResult, Metrics};

/// Bytes of memory for chunks that wait to be written.
const WAITING_BYTES: usize = 32 << 20;
/// Bytes of chunks in a file, where a run is as long as that.
const FILE_BYTES: usize = 4 << 20;
/// A file takes no more than this part of the whole, so that evicting one is no loss.
const FILE_PART: u64 = 16;
/// Reads under way at once. A disk does no more at a time, and one that hangs must not take all threads.
const MAX_READS: usize = 16;

/// Where the tier lies, and how large it may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskConfig {
    /// The directory; it is created if it is missing, and other processes may use it too.
    pub dir: PathBuf,
    /// Bytes of all files; 0 turns the tier off.
    pub max_bytes: u64,
    /// Whether reads wait for the disk rather than leave something out. For filling it, not for serving.
    pub keeps_all: bool,
}

/// The disk tier, or nothing where it is off.
#[derive(Debug, Default)]
pub(in crate::provider::cas) struct DiskTier(Option<Arc<Disk>>);

#[derive(Debug)]
pub(super) struct Disk {
    pub(super) core: Arc<Core>,
    pub(super) budget: Arc<Semaphore>,
    pub(super) reads: Arc<Semaphore>,
    pub(super) file_bytes: usize,
    pub(super) keeps_all: bool,
    orders: mpsc::Sender<Order>,
}

impl DiskTier {
    /// Starts the keeper, which looks through the directory in the background. Nothing fails here: what does not work is
    /// logged and done without.
    pub(in crate::provider::cas) fn new(config: Option<DiskConfig>, metrics: &Metrics) -> Self {
        let Some(config) = config.filter(|config| config.max_bytes > 0) else {
            return Self(None);
        };
        let index = Arc::<Index>::default();
        let shown = index.clone();
        metrics.read_when_asked(move |metrics: &Metrics| {
            let (len_bytes, files) = shown.totals();
            metrics.cache_holds(CacheName::Disk, len_bytes, files as u64);
        });
        let core = Arc::new(Core {
            dir: config.dir,
            max_bytes: config.max_bytes,
            index,
            health: Health::default(),
            metrics: metrics.clone(),
        });
        let (orders, received) = mpsc::channel();
        let keeper = Keeper::new(core.clone());
        let thread = std::thread::Builder::new().name("disk-cache".into());
        if let Err(error) = thread.spawn(move || keeper.run(&received)) {
            tracing::warn!(%error, "the disk cache has no thread; reads go on without it");
            return Self(None);
        }
        let largest = usize::try_from(config.max_bytes / FILE_PART).unwrap_or(usize::MAX);
        Self(Some(Arc::new(Disk {
            core,
            budget: Arc::new(Semaphore::new(WAITING_BYTES)),
            reads: Arc::new(Semaphore::new(MAX_READS)),
            file_bytes: FILE_BYTES.min(largest),
            keeps_all: config.keeps_all,
            orders,
        })))
    }

    /// Reports whether there is a disk tier.
    pub(in crate::provider::cas) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the run if all its chunks are believed to be here.
    pub(in crate::provider::cas) fn find(
        &self,
        xorb: MerkleHash,
        chunks: &Range<u32>,
    ) -> Option<DiskRun> {
        let disk = self.0.as_ref()?;
        if !disk.core.health.reads.is_open() {
            return None;
        }
        let pieces = disk.core.index.cover(xorb, chunks)?;
        Some(DiskRun::new(disk.clone(), pieces))
    }

    /// Counts a look-up.
    pub(in crate::provider::cas) fn count(&self, result: CacheResult) {
        if let Some(disk) = &self.0 {
            disk.core.metrics.cache_request(CacheName::Disk, result);
        }
    }

    /// Returns where the chunks that a read brings are to be put.
    pub(in crate::provider::cas) fn spill(&self) -> Spill {
        Spill::new(self.0.clone())
    }

    /// Removes whatever holds a part of the run, because it led to a wrong file.
    pub(in crate::provider::cas) fn forget(&self, xorb: MerkleHash, chunks: &Range<u32>) {
        if let Some(disk) = &self.0 {
            for extent in disk.core.index.overlapping(xorb, chunks) {
                disk.remove(extent);
            }
        }
    }

    /// Waits until everything that was given to it so far is written, and what lay there at the start is known.
    pub(in crate::provider::cas) async fn flush(&self) {
        if let Some(disk) = &self.0 {
            let (done, waiting) = oneshot::channel();
            disk.order(Order::Flush(done));
            // The keeper lives for as long as it can be asked.
            let _ = waiting.await;
        }
    }
}

impl Disk {
    pub(super) fn order(&self, order: Order) {
        // If the keeper died of a panic, nothing is kept any more.
        let _ = self.orders.send(order);
    }

    /// Forgets a file at once, and has it removed.
    pub(super) fn remove(&self, extent: Extent) {
        self.core.index.remove(&extent);
        self.order(Order::Remove(extent));
    }
}

#[cfg(test)]
impl DiskTier {
    pub(super) fn disk_for_test(&self) -> &Disk {
        self.0.as_ref().unwrap()
    }
}
