//! Where a window stands in its file: which part of each chunk it still owes its reader, and which chunks it hashes.

use crate::provider::cas::chunk::Chunk;
use crate::provider::cas::download::buffer::Sink;
use crate::provider::cas::download::fault::Fault;
use crate::provider::cas::error::malformed;
use crate::provider::cas::file_hash::ChunkMark;
use crate::storage::{ResolvedRange, StorageError};

/// Bytes hashed or unpacked after which the task lets others run: about a quarter of a millisecond of work, so that a read
/// that only begins is not kept waiting by those that are under way.
const YIELD_AFTER_BYTES: usize = 256 << 10;

/// The chunks that a window has hashed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// The chunk that began in the window before and ends in this one: each has fetched it by itself, so each must show
    /// that it got the same.
    pub(super) lead: Option<ChunkMark>,
    /// The chunks that begin in the window, in order.
    pub(super) chunks: Vec<ChunkMark>,
}

/// Takes chunks in the order of the file and writes what lies in the window to the buffer.
#[derive(Debug)]
pub(super) struct Delivery {
    span: ResolvedRange,
    sink: Sink,
    /// The next byte of the file to deliver.
    at: u64,
    /// Where in the file the next chunk begins; at or before `at`.
    chunk_at: u64,
    /// Up to where chunks were hashed, or `None` if they are not. A chunk belongs to the window in which it begins.
    hashed_to: Option<u64>,
    marks: Marks,
    /// Where the pieces of a chunk are joined to be hashed.
    scratch: Vec<u8>,
    worked_bytes: usize,
}

impl Delivery {
    pub(super) fn new(span: ResolvedRange, sink: Sink, is_hashed: bool) -> Self {
        Self {
            span,
            sink,
            at: span.start,
            chunk_at: span.start,
            hashed_to: is_hashed.then_some(span.start),
            marks: Marks::default(),
            scratch: Vec::new(),
            worked_bytes: 0,
        }
    }

    /// Returns what is still to be delivered.
    pub(super) fn rest(&self) -> ResolvedRange {
        ResolvedRange {
            start: self.at,
            end: self.span.end,
        }
    }

    /// Reports whether every byte was delivered.
    pub(super) fn is_done(&self) -> bool {
        self.at == self.span.end
    }

    /// Sets the next chunk to begin `skip_bytes` before the first byte that is still to be delivered.
    pub(super) fn begin(&mut self, skip_bytes: u64) -> Result<(), Fault> {
        let begins_at = self.at.checked_sub(skip_bytes);
        self.chunk_at = begins_at.ok_or_else(|| malformed("plan begins before the file"))?;
        Ok(())
    }

    /// Returns where in the file the next chunk begins.
    pub(super) fn chunk_at(&self) -> u64 {
        self.chunk_at
    }

    /// Passes over a chunk of this length if it lies wholly before what is wanted.
    pub(super) fn passes(&mut self, len_bytes: usize) -> bool {
        let chunk_end = self.chunk_at + len_bytes as u64;
        let is_passed = chunk_end <= self.at;
        if is_passed {
            self.chunk_at = chunk_end;
        }
        is_passed
    }

    /// Writes the wanted part of the chunk to the buffer, waiting for room.
    pub(super) async fn deliver(&mut self, chunk: &Chunk) -> Result<(), Fault> {
        self.hash(chunk);
        let mut piece_at = self.chunk_at;
        self.chunk_at += chunk.len_bytes() as u64;
        for piece in chunk.pieces() {
            let index = |at: u64| {
                let offset = usize::try_from(at.saturating_sub(piece_at));
                offset.map_or(piece.len(), |offset| offset.min(piece.len()))
            };
            let (from, to) = (index(self.at), index(self.span.end));
            if from < to {
                let sent = self.sink.send(piece.slice(from..to)).await;
                sent.map_err(|_| StorageError::internal("nobody reads any more"))?;
                self.at = piece_at + to as u64;
            }
            piece_at += piece.len() as u64;
        }
        self.worked_bytes += chunk.len_bytes();
        if self.worked_bytes >= YIELD_AFTER_BYTES {
            self.worked_bytes = 0;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Writes the wanted part of a run of chunks that are in memory.
    pub(super) async fn deliver_run(&mut self, run: &[Chunk]) -> Result<(), Fault> {
        for chunk in run {
            self.deliver(chunk).await?;
        }
        Ok(())
    }

    /// Returns the chunks that were hashed; none unless they were to be.
    pub(super) fn into_marks(self) -> Marks {
        self.marks
    }

    /// Hashes the chunk, unless that was done before a resumption.
    fn hash(&mut self, chunk: &Chunk) {
        let Some(hashed_to) = self.hashed_to else {
            return;
        };
        let len_bytes = chunk.len_bytes() as u64;
        let chunk_end = self.chunk_at + len_bytes;
        if (hashed_to..self.span.end).contains(&self.chunk_at) {
            let hash = chunk.hash(&mut self.scratch);
            self.marks.chunks.push((hash, len_bytes));
            self.hashed_to = Some(chunk_end);
        } else if self.chunk_at < self.span.start && chunk_end > self.span.start {
            let hash = chunk.hash(&mut self.scratch);
            self.marks.lead = Some((hash, len_bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use xet_core_structures::merklehash::compute_data_hash;

    use super::*;
    use crate::provider::cas::download::buffer::{self, Source};

    fn delivery(start: u64, end: u64) -> (Delivery, Source) {
        let (sink, source) = buffer::bounded(1 << 20);
        let span = ResolvedRange { start, end };
        (Delivery::new(span, sink, true), source)
    }

    fn run(texts: &[&'static str]) -> Vec<Chunk> {
        let chunk = |text| Chunk::from_compact(Bytes::from_static(str::as_bytes(text)));
        texts.iter().copied().map(chunk).collect()
    }

    async fn delivered(delivery: Delivery, mut source: Source) -> (String, Marks) {
        let (mut text, marks) = (String::new(), delivery.into_marks());
        while let Some(piece) = source.recv().await {
            text += std::str::from_utf8(&piece).unwrap();
        }
        (text, marks)
    }

    fn mark(text: &str) -> ChunkMark {
        (compute_data_hash(text.as_bytes()), text.len() as u64)
    }

    #[tokio::test]
    async fn only_the_window_leaves_and_chunks_that_begin_before_it_are_told_apart() {
        let (mut window, source) = delivery(5, 14);
        window.begin(2).unwrap();
        assert_eq!(window.chunk_at(), 3);
        window
            .deliver_run(&run(&["3456", "789a", "bcdef"]))
            .await
            .unwrap();
        assert!(window.is_done());
        let (text, marks) = delivered(window, source).await;
        assert_eq!(text, "56789abcd");
        assert_eq!(marks.chunks, [mark("789a"), mark("bcdef")]);
        assert_eq!(marks.lead, Some(mark("3456")));
    }

    #[tokio::test]
    async fn a_resumption_repeats_neither_bytes_nor_hashes() {
        let (mut window, source) = delivery(0, 12);
        window.begin(0).unwrap();
        window.deliver_run(&run(&["0123", "4567"])).await.unwrap();
        let rest = window.rest();
        assert_eq!((rest.start, rest.end), (8, 12));
        window.begin(4).unwrap();
        window.deliver_run(&run(&["4567", "89ab"])).await.unwrap();
        let (text, marks) = delivered(window, source).await;
        assert_eq!(text, "0123456789ab");
        assert_eq!(marks.chunks, [mark("0123"), mark("4567"), mark("89ab")]);
        assert_eq!(marks.lead, None);
    }

    #[tokio::test]
    async fn chunks_before_the_window_are_passed_over() {
        let (mut window, _source) = delivery(10, 20);
        window.begin(7).unwrap();
        assert!(window.passes(4));
        assert_eq!(window.chunk_at(), 7);
        assert!(!window.passes(4), "its last byte is wanted");
        assert!(window.begin(11).is_err(), "before the file");
    }
}
