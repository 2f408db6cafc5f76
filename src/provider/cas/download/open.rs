//! Opening a file for reading.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{StreamExt, future, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use xet_core_structures::merklehash::MerkleHash;

use crate::cache::SingleFlight;
use crate::provider::cas::access::AccessSource;
use crate::provider::cas::chunk::Chunk;
use crate::provider::cas::client::CasClient;
use crate::provider::cas::download::fault::Fault;
use crate::provider::cas::download::part::Part;
use crate::provider::cas::download::reader::{Hashed, Reader};
use crate::provider::cas::download::shared_fetch::SharedFetches;
use crate::provider::cas::download::starts::Starts;
use crate::provider::cas::download::verifier::Verifier;
use crate::provider::cas::download::window::Request;
use crate::provider::cas::file_hash::ChunkMark;
use crate::provider::cas::plan::Segment;
use crate::storage::{ByteStream, ContentHash, ResolvedRange, StorageError};

/// Size up to which all of a file is read where a part is asked for, in bytes: what is small is fetched in one piece anyway,
/// and the whole of it can be checked.
const CHECKED_AS_WHOLE_BYTES: u64 = 1 << 20;

/// A file of the CAS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileRef {
    /// Its content.
    pub hash: ContentHash,
    /// Its size in bytes.
    pub size: u64,
}

/// What all reads share.
#[derive(Debug)]
pub(in crate::provider::cas) struct DownloadState {
    budget: Arc<Semaphore>,
    /// Counts the streams that are open: each holds a clone.
    streams: Arc<()>,
    cores: usize,
    /// How many of them read each file.
    readers: Arc<Mutex<HashMap<ContentHash, usize>>>,
    /// Streams whose first byte is on its way.
    pub(super) starts: Starts,
    /// Small segments on their way.
    pub(super) flights: SingleFlight<SegmentKey, Arc<[Chunk]>, Fault>,
    /// Large segments on their way.
    pub(super) fetches: SharedFetches,
}

/// Counts as an open stream for as long as it lives.
#[derive(Debug)]
pub(super) struct OpenStream {
    _counted: Arc<()>,
    file: ContentHash,
    readers: Arc<Mutex<HashMap<ContentHash, usize>>>,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut readers = lock(&self.readers);
        if let Entry::Occupied(mut count) = readers.entry(self.file) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

fn lock(
    readers: &Mutex<HashMap<ContentHash, usize>>,
) -> MutexGuard<'_, HashMap<ContentHash, usize>> {
    readers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A run of chunks of a xorb.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SegmentKey {
    xorb: MerkleHash,
    start: u32,
    end: u32,
}

impl CasClient {
    /// Opens a file, or a range of it, and waits for the first bytes, so that failures before them still become a status.
    ///
    /// # Behaviour
    /// - The stream gives exactly the bytes asked for, or ends with an error.
    /// - The first piece is ready at once, and the stream pauses behind it.
    /// - A file of zero bytes is never fetched.
    /// - A file read as a whole is checked against its hash before its last piece leaves. So is a part of a file of up to
    ///   1 MiB, all of which is read for that. Of a larger file, plans hold no hashes that a part could be checked against.
    /// - Dropping the stream stops all its upstream calls but those that it shares with others.
    ///
    /// Errors: [`StorageError::InvalidRange`] if the range does not lie in the file; [`StorageError::Unavailable`] and
    /// [`StorageError::RateLimited`] from the CAS or the storage behind it; [`StorageError::Internal`] for content that is
    /// missing or wrong.
    pub async fn open(
        &self,
        access: &AccessSource,
        file: FileRef,
        range: Option<ResolvedRange>,
    ) -> Result<ByteStream, StorageError> {
        let whole = ResolvedRange {
            start: 0,
            end: file.size,
        };
        let span = range.unwrap_or(whole);
        if file.size == 0 && span == whole {
            return Ok(ByteStream::empty());
        }
        if span.start >= span.end || span.end > file.size {
            return Err(StorageError::InvalidRange { size: file.size });
        }
        let is_checked = self.0.config.verifies_whole_objects
            && (span == whole || file.size <= CHECKED_AS_WHOLE_BYTES);
        let (read, hashed) = match is_checked {
            true => (whole, Hashed::Verified(Verifier::new(file.hash))),
            false => (span, Hashed::No),
        };
        let starting = self.0.download.starts.begin();
        let mut reader = Part::new(self.reader(access, file, read, hashed), read, span);
        let first = reader.next_piece().await?;
        drop(starting);
        let rest = stream::unfold(Some(reader), |reader| async move {
            let mut reader = reader?;
            match reader.next_piece().await {
                Ok(piece) => piece.map(|piece| (Ok(piece), Some(reader))),
                Err(error) => Some((Err(error), None)),
            }
        });
        // Whoever sends the pieces on writes when nothing more is there yet: without this pause the first piece would wait
        // until several hundred KiB are behind it.
        let pause = stream::once(tokio::task::yield_now()).filter_map(|()| future::ready(None));
        let pieces = stream::iter(first.map(Ok)).chain(pause).chain(rest);
        Ok(ByteStream::new(pieces, Some(span.len_bytes())))
    }

    /// Reads a span that begins and ends where chunks do, and returns these: the bytes are dropped as they come.
    ///
    /// Errors: as [`CasClient::open`].
    pub(in crate::provider::cas) async fn chunks_of(
        &self,
        access: &AccessSource,
        file: FileRef,
        span: ResolvedRange,
    ) -> Result<Vec<ChunkMark>, StorageError> {
        let mut reader = self.reader(access, file, span, Hashed::Listed(Vec::new()));
        while reader.next_piece().await?.is_some() {}
        Ok(reader.into_list())
    }

    fn reader(
        &self,
        access: &AccessSource,
        file: FileRef,
        span: ResolvedRange,
        hashed: Hashed,
    ) -> Reader {
        let request = Request {
            cache: self.0.xorb_cache.admit(&file.hash, span.len_bytes()),
            is_hashed: !matches!(hashed, Hashed::No),
            shared: self.0.clone(),
            access: access.clone(),
            file: file.hash,
        };
        Reader::new(request, span, hashed)
    }
}

impl DownloadState {
    /// Creates the state for a look-ahead of at most `lookahead_max_bytes` in all.
    pub(in crate::provider::cas) fn new(lookahead_max_bytes: u64) -> Self {
        let permits = usize::try_from(lookahead_max_bytes).unwrap_or(usize::MAX);
        Self {
            streams: Arc::default(),
            readers: Arc::default(),
            starts: Starts::default(),
            fetches: SharedFetches::default(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            budget: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))),
            flights: SingleFlight::new(Fault::Final(StorageError::internal(
                "a xorb fetch was lost",
            ))),
        }
    }

    /// Counts a stream that reads the file.
    pub(super) fn open_stream(&self, file: ContentHash) -> OpenStream {
        *lock(&self.readers).entry(file).or_default() += 1;
        OpenStream {
            _counted: self.streams.clone(),
            file,
            readers: self.readers.clone(),
        }
    }

    /// Reports whether several streams read the file now.
    pub(super) fn has_company(&self, file: &ContentHash) -> bool {
        lock(&self.readers)
            .get(file)
            .is_some_and(|count| *count > 1)
    }

    /// Returns how many open streams share a core, rounded down.
    pub(super) fn streams_per_core(&self) -> u32 {
        let streams = Arc::strong_count(&self.streams) - 1;
        u32::try_from(streams / self.cores).unwrap_or(u32::MAX)
    }

    /// Takes a part of the look-ahead budget, if there is enough of it now.
    pub(super) fn try_reserve(&self, len_bytes: u32) -> Option<OwnedSemaphorePermit> {
        self.budget.clone().try_acquire_many_owned(len_bytes).ok()
    }
}

impl SegmentKey {
    pub(super) fn new(segment: &Segment) -> Self {
        let Range { start, end } = segment.chunks;
        Self {
            xorb: segment.xorb,
            start,
            end,
        }
    }
}
