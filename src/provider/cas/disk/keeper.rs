//! The keeper: one thread that writes, removes, evicts, and scans. Nothing that answers a request waits for it.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use xet_core_structures::merklehash::MerkleHash;

use crate::provider::cas::chunk::Chunk;
use crate::provider::cas::disk::extent::{Extent, PREFIXES, prefix_dir, temporary_dir};
use crate::provider::cas::disk::format::{self, head_bytes};
use crate::provider::cas::disk::health::{Health, now_ms};
use crate::provider::cas::disk::index::{Found, Index};
use crate::provider::cas::disk::scan;
use crate::telemetry::{CacheName, DiskFailure, Metrics};

/// Most files: what bounds the memory of the index, to some 30 MiB.
const MAX_FILES: usize = 1 << 18;
/// Evicting makes room for more than the next file, so that it happens seldom: this part of the whole.
const SPARE_PART: u64 = 32;
/// A file of more than this part of the whole is not kept.
const LARGEST_PART: u64 = 4;
/// Shortest time between two scans.
const SCAN_EVERY: Duration = Duration::from_secs(60);
/// A scan takes no more than this part of the time.
const SCAN_PART: u32 = 20;

/// What the keeper shares with those who read.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) dir: PathBuf,
    pub(super) max_bytes: u64,
    pub(super) index: Arc<Index>,
    pub(super) health: Health,
    pub(super) metrics: Metrics,
}

/// What the keeper is asked to do.
#[derive(Debug)]
pub(super) enum Order {
    /// Keep these chunks.
    Write(Run),
    /// Remove a file whose content turned out to be wrong.
    Remove(Extent),
    /// Say when everything that was asked for before is done, and the directory was looked through at least once.
    Flush(oneshot::Sender<()>),
}

/// Consecutive chunks of one xorb, with their part of the memory budget.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) xorb: MerkleHash,
    pub(super) start: u32,
    pub(super) chunks: Vec<Chunk>,
    pub(super) len_bytes: usize,
    pub(super) budget: OwnedSemaphorePermit,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Keeper {
    core: Arc<Core>,
    scan: Scan,
}

#[derive(Debug)]
struct Scan {
    next_prefix: u16,
    /// Whether the whole was looked through since the start.
    has_finished: bool,
    began_at: Instant,
    due_at: Instant,
}

impl Run {
    /// Returns the index that the next chunk would have.
    pub(super) fn end(&self) -> u32 {
        self.start + u32::try_from(self.chunks.len()).unwrap_or(u32::MAX)
    }
}

impl Keeper {
    pub(super) fn new(core: Arc<Core>) -> Self {
        let now = Instant::now();
        let scan = Scan {
            next_prefix: 0,
            has_finished: false,
            began_at: now,
            due_at: now,
        };
        Self { core, scan }
    }

    /// Works until nobody can ask for anything any more.
    pub(super) fn run(mut self, orders: &Receiver<Order>) {
        // Now rather than at the first write: who reads the log at the start learns what will not work.
        if let Err(error) = create_dir(&temporary_dir(&self.core.dir)) {
            self.core.write_failed(&error);
        }
        loop {
            let wait = self.scan.due_at.saturating_duration_since(Instant::now());
            match orders.recv_timeout(wait) {
                Ok(order) => self.obey(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            // After each order too: a busy cache is looked through as well.
            if self.scan.due_at <= Instant::now() {
                self.scan_on();
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Write(run) => self.keep(run),
            Order::Remove(extent) => self.core.discard(&extent),
            Order::Flush(done) => {
                while !self.scan.has_finished {
                    self.scan_on();
                }
                // Whoever asked may have left.
                let _ = done.send(());
            }
        }
    }

    /// Looks through one directory more.
    fn scan_on(&mut self) {
        let (core, scan) = (&self.core, &mut self.scan);
        if scan.next_prefix == 0 {
            scan.began_at = Instant::now();
            scan::sweep(&core.dir);
        }
        match scan::prefix(&core.dir, scan.next_prefix) {
            Ok(found) => {
                core.index.replace_prefix(scan.next_prefix, found);
                scan.next_prefix += 1;
            }
            Err(error) => {
                core.read_failed(error);
                scan.next_prefix = PREFIXES;
            }
        }
        if scan.next_prefix == PREFIXES {
            scan.next_prefix = 0;
            scan.has_finished = true;
            let pause = SCAN_EVERY.max(scan.began_at.elapsed() * SCAN_PART);
            scan.due_at = Instant::now() + pause;
            core.make_room(0);
        }
    }

    /// Writes what is not there yet of a run. Chunks in its middle that are there are written again.
    fn keep(&self, run: Run) {
        let core = &self.core;
        let is_there = |index: u32| core.index.holds(&run.xorb, index);
        let start = (run.start..run.end()).find(|index| !is_there(*index));
        let end = (run.start..run.end()).rfind(|index| !is_there(*index));
        let (Some(start), Some(last)) = (start, end) else {
            return;
        };
        let extent = Extent {
            xorb: run.xorb,
            start,
            end: last + 1,
        };
        let chunks = &run.chunks[(start - run.start) as usize..][..extent.count()];
        let data_bytes: usize = chunks.iter().map(Chunk::len_bytes).sum();
        let len_bytes = head_bytes(chunks.len()) + data_bytes as u64;
        if len_bytes > core.max_bytes / LARGEST_PART || !core.health.writes.is_open() {
            core.metrics.disk_cache_skipped(data_bytes as u64);
            return;
        }
        core.make_room(len_bytes);
        match write(&core.dir, &extent, chunks) {
            Ok(()) => {
                core.metrics.disk_cache_written(data_bytes as u64);
                core.index.insert(Found {
                    extent,
                    len_bytes,
                    stamped_at_ms: now_ms(),
                });
            }
            Err(error) => {
                core.metrics.disk_cache_skipped(data_bytes as u64);
                core.write_failed(&error);
            }
        }
        drop(run.budget);
    }
}

impl Core {
    /// Evicts until so many bytes more are within the bound.
    fn make_room(&self, len_bytes: u64) {
        let (held_bytes, files) = self.index.totals();
        if held_bytes + len_bytes <= self.max_bytes && files < MAX_FILES {
            return;
        }
        let spare = self.max_bytes / SPARE_PART;
        let max_bytes = self.max_bytes.saturating_sub(spare.max(len_bytes));
        let evicted = self.index.shrink(max_bytes, MAX_FILES - MAX_FILES / 32);
        self.metrics
            .cache_evicted(CacheName::Disk, evicted.len() as u64);
        for extent in evicted {
            self.remove_file(&extent);
        }
    }

    /// Forgets a file and removes it.
    pub(super) fn discard(&self, extent: &Extent) {
        self.index.remove(extent);
        self.remove_file(extent);
    }

    /// Notes that reading does not work.
    pub(super) fn read_failed(&self, error: impl fmt::Display) {
        self.health.reads.close();
        self.failed(DiskFailure::Read, &error);
    }

    fn write_failed(&self, error: &io::Error) {
        self.health.writes.close();
        self.failed(DiskFailure::Write, error);
    }

    fn failed(&self, failure: DiskFailure, error: &dyn fmt::Display) {
        self.metrics.disk_cache_failed(failure);
        self.health.warn_once(&self.dir, failure, error);
    }

    fn remove_file(&self, extent: &Extent) {
        match fs::remove_file(extent.path(&self.dir)) {
            // Another process may have been faster.
            Err(error) if error.kind() != io::ErrorKind::NotFound => self.write_failed(&error),
            Ok(()) | Err(_) => {}
        }
    }
}

/// Writes a file under another name, and renames it when it is whole.
fn write(dir: &Path, extent: &Extent, chunks: &[Chunk]) -> io::Result<()> {
    let temporary = temporary_dir(dir).join(format!("{:016x}", rand::random::<u64>()));
    let mut file = match create(&temporary) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create_dir(&temporary_dir(dir))?;
            create(&temporary)?
        }
        created => created?,
    };
    let written = format::write(&mut file, extent, chunks);
    let path = extent.path(dir);
    let named = written.and_then(|()| match fs::rename(&temporary, &path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create_dir(&prefix_dir(dir, extent.prefix()))?;
            fs::rename(&temporary, &path)
        }
        renamed => renamed,
    });
    named.inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

/// Creates a file that only its owner may read: it holds what buckets hold.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)
}

fn create_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}
