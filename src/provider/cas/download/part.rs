//! Part of a file that is read as a whole, because only a whole can be checked.

use bytes::Bytes;

use crate::provider::cas::download::reader::Reader;
use crate::storage::{ResolvedRange, StorageError};

/// Hands out what is wanted of what a reader reads.
///
/// The last wanted piece is held back until all of the file was read, and with it the check of its hash: so wrong bytes never
/// end well, although they may have begun.
#[derive(Debug)]
pub(super) struct Part {
    reader: Reader,
    /// Where the next piece of the reader begins.
    at: u64,
    wanted: ResolvedRange,
    /// Where the reader ends.
    end: u64,
    held_back: Option<Bytes>,
}

impl Part {
    /// Takes the `wanted` bytes out of a reader of the span `read`, which includes them.
    pub(super) fn new(reader: Reader, read: ResolvedRange, wanted: ResolvedRange) -> Self {
        Self {
            reader,
            at: read.start,
            wanted,
            end: read.end,
            held_back: None,
        }
    }

    /// Returns the next piece, or `None` after the last byte. Not to be called again after an error.
    pub(super) async fn next_piece(&mut self) -> Result<Option<Bytes>, StorageError> {
        while let Some(piece) = self.reader.next_piece().await? {
            let begins_at = self.at;
            self.at += piece.len() as u64;
            let index = |offset: u64| {
                let index = usize::try_from(offset.saturating_sub(begins_at));
                index.map_or(piece.len(), |index| index.min(piece.len()))
            };
            let wanted = piece.slice(index(self.wanted.start)..index(self.wanted.end));
            if wanted.is_empty() {
                continue;
            }
            if self.at < self.wanted.end || self.at == self.end {
                return Ok(Some(wanted));
            }
            self.held_back = Some(wanted);
        }
        Ok(self.held_back.take())
    }
}
