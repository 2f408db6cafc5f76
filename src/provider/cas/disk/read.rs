//! Reading a run of chunks that lies on disk.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::provider::cas::chunk::Chunk;
use crate::provider::cas::disk::extent::Extent;
use crate::provider::cas::disk::format::Head;
use crate::provider::cas::disk::health::now_ms;
use crate::provider::cas::disk::index::Piece;
use crate::provider::cas::disk::keeper::Core;
use crate::provider::cas::disk::tier::Disk;
use crate::telemetry::DiskFailure;

/// Bytes that are read at once: few for the first byte's sake, then more.
const FIRST_READ_BYTES: usize = 256 << 10;
const READ_BYTES: usize = 1 << 20;
/// A disk that takes longer than this for one of them is slower than any network.
const PATIENCE: Duration = Duration::from_secs(5);

/// Chunks on disk, to be read in order.
#[derive(Debug)]
pub(in crate::provider::cas) struct DiskRun {
    disk: Arc<Disk>,
    pieces: VecDeque<Piece>,
    open: Option<Opened>,
    read_bytes: usize,
    delivered_bytes: usize,
    span: Span,
}

/// A chunk is not there after all. Nothing leads to its file any more.
#[derive(Debug)]
pub(in crate::provider::cas) struct Missing;

/// A file whose head is known to be right.
#[derive(Debug)]
struct Opened {
    file: File,
    head: Head,
}

/// Why a file gives no chunks.
enum Unread {
    /// It is not what its name says.
    Damaged,
    Failed(io::Error),
}

impl DiskRun {
    pub(super) fn new(disk: Arc<Disk>, pieces: Vec<Piece>) -> Self {
        Self {
            disk,
            pieces: pieces.into(),
            open: None,
            read_bytes: FIRST_READ_BYTES,
            delivered_bytes: 0,
            span: Span::none(),
        }
    }

    /// Returns the next chunks, or none after the last.
    pub(in crate::provider::cas) async fn next(&mut self) -> Result<Vec<Chunk>, Missing> {
        let Some(piece) = self.pieces.pop_front() else {
            return Ok(Vec::new());
        };
        if self.span.is_none() {
            self.span = tracing::info_span!("cache disk", result = "hit", bytes = Empty);
        }
        let Some((chunks, opened)) = self.read(piece.clone()).await else {
            self.span.record("result", "miss");
            return Err(Missing);
        };
        let count = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
        let rest = piece.chunks.start.saturating_add(count)..piece.chunks.end;
        if !rest.is_empty() {
            self.open = Some(opened);
            self.pieces.push_front(Piece {
                chunks: rest,
                ..piece
            });
        }
        self.read_bytes = READ_BYTES;
        let len_bytes: usize = chunks.iter().map(Chunk::len_bytes).sum();
        self.delivered_bytes += len_bytes;
        self.disk.core.metrics.disk_cache_read(len_bytes as u64);
        Ok(chunks)
    }

    /// Reads in a thread that may block. One that does not come back keeps its permit, so that there are never many.
    async fn read(&mut self, piece: Piece) -> Option<(Vec<Chunk>, Opened)> {
        let disk = self.disk.clone();
        let (opened, max_bytes) = (self.open.take(), self.read_bytes);
        let extent = piece.extent;
        let read = async move {
            let permit = disk.reads.clone().acquire_owned().await.ok()?;
            let core = disk.core.clone();
            let work = move || {
                let read = read(&core, &piece, opened, max_bytes);
                drop(permit);
                read
            };
            tokio::task::spawn_blocking(work).await.ok()
        };
        let core = &self.disk.core;
        match tokio::time::timeout(PATIENCE, read.instrument(self.span.clone())).await {
            Ok(Some(Ok(read))) => return Some(read),
            Ok(Some(Err(Unread::Damaged))) => {
                core.metrics.disk_cache_failed(DiskFailure::Damaged);
                self.disk.remove(extent);
            }
            // Evicted by somebody else, or somebody else's who does not share.
            Ok(Some(Err(Unread::Failed(error))))
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
                ) => {}
            Ok(Some(Err(Unread::Failed(error)))) => core.read_failed(error),
            Ok(None) => {}
            Err(_) => core.read_failed("no answer within five seconds"),
        }
        // Whatever it was: the next look-up must not lead here again.
        core.index.remove(&extent);
        None
    }
}

impl Drop for DiskRun {
    fn drop(&mut self) {
        self.span.record("bytes", self.delivered_bytes);
    }
}

fn read(
    core: &Core,
    piece: &Piece,
    opened: Option<Opened>,
    max_bytes: usize,
) -> Result<(Vec<Chunk>, Opened), Unread> {
    let opened = match opened {
        Some(opened) => opened,
        None => open(core, &piece.extent)?,
    };
    let place = |index: u32| (index - piece.extent.start) as usize;
    let wanted = place(piece.chunks.start)..place(piece.chunks.end);
    let count = opened.head.fitting(wanted.clone(), max_bytes);
    let chunks = opened
        .head
        .read_chunks(&opened.file, wanted.start..wanted.start + count)
        .map_err(cut)?;
    Ok((chunks.ok_or(Unread::Damaged)?, opened))
}

fn open(core: &Core, extent: &Extent) -> Result<Opened, Unread> {
    let file = File::open(extent.path(&core.dir)).map_err(Unread::Failed)?;
    let head = Head::read(&file, extent).map_err(cut)?;
    let head = head.ok_or(Unread::Damaged)?;
    if core.index.touch(extent, now_ms()) {
        // Where this is not allowed, the order of eviction is worse after a restart, and nothing else.
        let _ = file.set_modified(SystemTime::now());
    }
    Ok(Opened { file, head })
}

/// A file that became shorter under our hands is damaged; all else is the disk's fault.
fn cut(error: io::Error) -> Unread {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Unread::Damaged,
        _ => Unread::Failed(error),
    }
}
