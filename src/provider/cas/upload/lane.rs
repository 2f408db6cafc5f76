//! The work on bytes: chunks are cut and hashed, and handed to the assembler. Runs on whatever thread calls it.

use bytes::{Bytes, BytesMut};
use xet_core_structures::xorb_object::Chunk;
use xet_data::deduplication::Chunker;

use super::assemble::{Assembled, Assembler, ReadyXorb};
use super::file::PlacedFile;
use super::staged::Companion;
use crate::provider::cas::ingest::Charge;
use crate::provider::cas::xorb::MAX_CHUNK_BYTES;
use crate::storage::StorageError;

/// Shortest chunk inside a file, by the protocol.
pub(in crate::provider::cas) const MIN_CHUNK_BYTES: usize = 8 << 10;

/// Frames shorter than this are joined before they are cut: the chunker copies what crosses a border, and short frames pin
/// the larger buffers of the connection.
const JOINED_BELOW: usize = 256 << 10;

/// Held bytes that are worth a xorb of their own when other streams wait for memory.
const WORTH_FLUSHING: usize = 1 << 20;

/// Bytes on their way to the lane, in order, with the charge for them.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) frames: Vec<Bytes>,
    pub(super) len_bytes: usize,
    pub(super) charge: Charge,
    pub(super) flush: Flush,
}

/// What happens to the open xorb after a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flush {
    /// It stays open.
    No,
    /// It is sealed if it is worth it: others wait for memory.
    IfLarge,
    /// It is sealed: this stream waits for memory.
    Now,
}

/// Cuts one upload's bytes into chunks.
pub(super) struct Lane {
    chunker: Chunker,
    /// The latest chunk of a part, until it is known not to be the last.
    held_back: Option<Chunk>,
    is_part: bool,
    assembler: Assembler,
}

impl Lane {
    pub(super) fn new(assembler: Assembler, is_part: bool) -> Self {
        Self {
            chunker: Chunker::default(),
            held_back: None,
            is_part,
            assembler,
        }
    }

    /// Works on a batch. Returns the xorbs that are complete.
    pub(super) fn take(&mut self, batch: Batch) -> Result<Vec<ReadyXorb>, StorageError> {
        self.assembler.account(batch.charge);
        for block in joined(batch.frames, batch.len_bytes) {
            for chunk in self.chunker.next_block_bytes(&block, false) {
                self.push(chunk)?;
            }
        }
        let flushes = match batch.flush {
            Flush::No => false,
            Flush::IfLarge => self.assembler.held_bytes() >= WORTH_FLUSHING,
            Flush::Now => true,
        };
        if flushes {
            self.assembler.flush()?;
        }
        Ok(self.assembler.take_ready())
    }

    /// Ends the body. Returns the file and what remains to be sent.
    pub(super) fn finish(
        mut self,
        companion: Option<Companion>,
    ) -> Result<Assembled, StorageError> {
        let last = self.chunker.finish();
        self.push_last(last)?;
        let file = self.assembler.finish_file()?;
        let companion = companion
            .map(|compute| self.push_companion(&compute(&file.hash, file.size)))
            .transpose()?;
        self.assembler.finish(file, companion)
    }

    fn push(&mut self, chunk: Chunk) -> Result<(), StorageError> {
        if !self.is_part {
            return self.assembler.push(chunk);
        }
        match self.held_back.replace(chunk) {
            Some(earlier) => self.assembler.push(earlier),
            None => Ok(()),
        }
    }

    /// Adds the rest of the body, which may be of any length. A part's tail is joined with the chunk before it if it is too
    /// short to lie inside a file, and both are halved if they are too long for one chunk.
    fn push_last(&mut self, last: Option<Chunk>) -> Result<(), StorageError> {
        let tail = match (self.held_back.take(), last) {
            (Some(before), Some(last)) if last.data.len() < MIN_CHUNK_BYTES => {
                rejoined(&before.data, &last.data)
            }
            (before, last) => before.into_iter().chain(last).collect(),
        };
        for chunk in tail {
            self.assembler.push(chunk)?;
        }
        Ok(())
    }

    fn push_companion(&mut self, bytes: &Bytes) -> Result<PlacedFile, StorageError> {
        for chunk in Chunker::default().next_block_bytes(bytes, true) {
            self.assembler.push(chunk)?;
        }
        self.assembler.finish_file()
    }
}

fn joined(frames: Vec<Bytes>, len_bytes: usize) -> Vec<Bytes> {
    if frames.len() < 2 || len_bytes / frames.len() >= JOINED_BELOW {
        return frames;
    }
    let mut block = BytesMut::with_capacity(len_bytes);
    for frame in &frames {
        block.extend_from_slice(frame);
    }
    vec![block.freeze()]
}

fn rejoined(before: &Bytes, last: &Bytes) -> Vec<Chunk> {
    let whole: Bytes = [before.as_ref(), last.as_ref()].concat().into();
    if whole.len() <= MAX_CHUNK_BYTES {
        return vec![Chunk::new(whole)];
    }
    let middle = whole.len() / 2;
    vec![
        Chunk::new(whole.slice(..middle)),
        Chunk::new(whole.slice(middle..)),
    ]
}
