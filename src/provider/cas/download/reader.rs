//! The reader: runs windows ahead of the client and hands out their bytes in the order of the file.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use crate::provider::cas::download::buffer::{self, Source};
use crate::provider::cas::download::depth::{Depth, LEAST_BYTES};
use crate::provider::cas::download::open::OpenStream;
use crate::provider::cas::download::verifier::Verifier;
use crate::provider::cas::download::window::{Delivered, Request, Window};
use crate::provider::cas::file_hash::ChunkMark;
use crate::provider::cas::plan::Plan;
use crate::storage::{ResolvedRange, StorageError};

/// Reads a span of a file in order.
///
/// # Behaviour
/// - A window is started when the client is within [`Depth::ahead_bytes`] of its first byte and the global budget has room
///   for its buffer. The window being read needs no room: no stream waits for another.
/// - The last piece is held back until the hash of the whole is known to be right.
/// - Dropping it stops all windows.
#[derive(Debug)]
pub(super) struct Reader {
    request: Arc<Request>,
    running: VecDeque<Running>,
    depth: Depth,
    /// The next byte to hand out.
    position: u64,
    /// Where the next window to start begins.
    started_to: u64,
    end: u64,
    hashed: Hashed,
    plans: Vec<Arc<Plan>>,
    _open: OpenStream,
}

/// What becomes of the chunks that are hashed.
#[derive(Debug)]
pub(super) enum Hashed {
    /// None are.
    No,
    /// The file is read as a whole and verified.
    Verified(Verifier),
    /// They are all that is wanted; the span begins and ends where chunks do.
    Listed(Vec<ChunkMark>),
}

/// A window under way.
#[derive(Debug)]
struct Running {
    pieces: Source,
    task: AbortOnDropHandle<Result<Delivered, StorageError>>,
    /// Its part of the global budget, given back when it was read.
    _budget: Option<OwnedSemaphorePermit>,
}

impl Reader {
    pub(super) fn new(request: Request, span: ResolvedRange, hashed: Hashed) -> Self {
        let open = request.shared.download.open_stream(request.file);
        Self {
            hashed,
            _open: open,
            depth: Depth::new(request.shared.download.streams_per_core()),
            request: Arc::new(request),
            running: VecDeque::new(),
            position: span.start,
            started_to: span.start,
            end: span.end,
            plans: Vec::new(),
        }
    }

    /// Returns the next piece, or `None` after the last byte. Not to be called again after an error.
    pub(super) async fn next_piece(&mut self) -> Result<Option<Bytes>, StorageError> {
        while self.position < self.end {
            self.start_windows();
            let Some(piece) = self.recv().await else {
                self.finish_window().await?;
                continue;
            };
            self.position += piece.len() as u64;
            if self.position == self.end {
                self.finish_window().await?;
                self.verify()?;
            }
            return Ok(Some(piece));
        }
        Ok(None)
    }

    /// Returns the chunks that were read, if they are what the reading was for.
    pub(super) fn into_list(self) -> Vec<ChunkMark> {
        match self.hashed {
            Hashed::Listed(list) => list,
            Hashed::No | Hashed::Verified(_) => Vec::new(),
        }
    }

    async fn recv(&mut self) -> Option<Bytes> {
        let head = self.running.front_mut()?;
        // Only real waiting is timed: most pieces are there already.
        if let Some(piece) = head.pieces.recv().now_or_never() {
            return piece;
        }
        let asked_at = Instant::now();
        let piece = head.pieces.recv().await;
        self.depth.waited(asked_at.elapsed());
        piece
    }

    fn start_windows(&mut self) {
        while self.started_to < self.end {
            let is_head = self.running.is_empty();
            if !is_head && self.started_to - self.position >= self.depth.ahead_bytes() {
                break;
            }
            let span = self.depth.window(self.started_to, self.end);
            let buffer_bytes = self.depth.buffer_bytes(span);
            let budget = self.request.shared.download.try_reserve(buffer_bytes);
            let buffer_bytes = match &budget {
                Some(_) => buffer_bytes,
                None if is_head => buffer_bytes.min(LEAST_BYTES),
                None => break,
            };
            let (sink, pieces) = buffer::bounded(buffer_bytes);
            let window = Window::new(self.request.clone(), span, sink);
            self.running.push_back(Running {
                pieces,
                task: AbortOnDropHandle::new(tokio::spawn(window.run().in_current_span())),
                _budget: budget,
            });
            self.started_to = span.end;
        }
    }

    /// Takes what the window at the head leaves behind, once its buffer is empty.
    async fn finish_window(&mut self) -> Result<(), StorageError> {
        let Some(window) = self.running.pop_front() else {
            return Err(StorageError::internal("a read without a window"));
        };
        let delivered = window.task.await;
        let delivered =
            delivered.map_err(|_| StorageError::internal("the task of a window was lost"))??;
        match &mut self.hashed {
            Hashed::No => {}
            Hashed::Verified(verifier) => {
                verifier.add(&delivered.marks);
                self.plans.extend(delivered.plans);
            }
            Hashed::Listed(list) => list.extend(delivered.marks.chunks),
        }
        let download = &self.request.shared.download;
        self.depth.window_read(download.streams_per_core());
        Ok(())
    }

    /// Checks the whole. On a mismatch everything that led to it is forgotten, so that the next read starts afresh.
    fn verify(&mut self) -> Result<(), StorageError> {
        let verifier = match std::mem::replace(&mut self.hashed, Hashed::No) {
            Hashed::Verified(verifier) => verifier,
            other => {
                self.hashed = other;
                return Ok(());
            }
        };
        verifier.finish().inspect_err(|_| {
            let shared = &self.request.shared;
            shared.planner.forget_file(&self.request.file);
            for plan in &self.plans {
                for segment in &plan.segments {
                    shared.xorb_cache.forget(segment.xorb, &segment.chunks);
                    shared.disk.forget(segment.xorb, &segment.chunks);
                }
            }
        })
    }
}
