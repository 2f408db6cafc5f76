//! A window: one span of a file, planned, fetched, decoded, and written to a buffer, and resumed where that fails.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use xet_core_structures::merklehash::compute_data_hash;

use crate::cache::Flight;
use crate::provider::cas::access::AccessSource;
use crate::provider::cas::chunk::Chunk;
use crate::provider::cas::client::Shared;
use crate::provider::cas::download::buffer::Sink;
use crate::provider::cas::download::fault::{Fault, Patience};
use crate::provider::cas::download::open::SegmentKey;
use crate::provider::cas::download::range_reader::{RangeReader, broken};
use crate::provider::cas::error::malformed;
use crate::provider::cas::file_hash::ChunkMark;
use crate::provider::cas::plan::{Plan, Route, Segment, Term};
use crate::provider::cas::planner::SpanKey;
use crate::storage::{ContentHash, ResolvedRange, StorageError};
use crate::telemetry::{CacheName, CacheResult, Upstream};

/// A segment up to this size is fetched whole, once for all who want it at the same time. Larger ones stream.
const SHARED_SEGMENT_BYTES: u64 = 1 << 20;
/// Likewise in chunks, which bounds what the segment may unpack to: 4 MiB.
const SHARED_SEGMENT_CHUNKS: usize = 32;
/// Bytes hashed or unpacked after which the task lets others run: about a millisecond of work.
const YIELD_AFTER_BYTES: usize = 1 << 20;
/// Pause before the first resumption; doubles with each.
const RESUME_PAUSE: Duration = Duration::from_millis(100);

/// What the windows of one read have in common.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) shared: Arc<Shared>,
    pub(super) access: AccessSource,
    pub(super) file: ContentHash,
    /// Whether chunks come from the xorb cache and go there.
    pub(super) uses_cache: bool,
    /// Whether chunks are hashed.
    pub(super) is_verified: bool,
}

/// What a window leaves behind when all its bytes are in the buffer.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    /// The chunks that begin in this window, in order; empty unless they are hashed.
    pub(super) chunks: Vec<ChunkMark>,
    /// The plans that it followed.
    pub(super) plans: Vec<Arc<Plan>>,
}

/// A window at work.
pub(super) struct Window {
    request: Arc<Request>,
    span: ResolvedRange,
    sink: Sink,
    /// The next byte of the file to deliver.
    at: u64,
    /// Where in the file the next chunk begins; at or before `at`.
    chunk_at: u64,
    /// Up to where chunks were hashed. A chunk belongs to the window in which it begins.
    hashed_to: u64,
    worked_bytes: usize,
    /// The last segment that was fetched whole: files that repeat themselves name it again and again.
    last_shared: Option<(SegmentKey, Arc<[Bytes]>)>,
    joined: Vec<u8>,
    delivered: Delivered,
}

/// A segment that is being streamed.
struct OpenSegment {
    index: usize,
    reader: RangeReader,
}

impl Window {
    pub(super) fn new(request: Arc<Request>, span: ResolvedRange, sink: Sink) -> Self {
        Self {
            request,
            span,
            sink,
            at: span.start,
            chunk_at: span.start,
            hashed_to: span.start,
            worked_bytes: 0,
            last_shared: None,
            joined: Vec::new(),
            delivered: Delivered::default(),
        }
    }

    /// Delivers every byte of the span, or says why it cannot.
    ///
    /// A cut stream goes on at the first byte not yet delivered, with a new plan for the rest: addresses authorise exactly
    /// the ranges that their plan named.
    pub(super) async fn run(mut self) -> Result<Delivered, StorageError> {
        let mut patience = Patience::default();
        loop {
            let begun_at = self.at;
            let Err(fault) = self.pass().await else {
                return Ok(self.delivered);
            };
            if self.at > begun_at {
                patience.restore();
            }
            let is_cut = matches!(fault, Fault::Cut(_));
            let cuts = patience.consider(fault)?;
            if is_cut {
                let metrics = &self.request.shared.metrics;
                metrics.upstream_retry(Upstream::Xorb, "reset");
                tokio::time::sleep(RESUME_PAUSE * (1 << cuts.min(4)) / 2).await;
            }
        }
    }

    /// Plans what is left and delivers it, as far as it goes.
    async fn pass(&mut self) -> Result<(), Fault> {
        let request = self.request.clone();
        let key = SpanKey {
            file: request.file,
            span: ResolvedRange {
                start: self.at,
                end: self.span.end,
            },
        };
        if request.uses_cache && self.deliver_from_memory(&key).await? {
            return Ok(());
        }
        let planner = &request.shared.planner;
        let route = planner.route(&request.access, key).await?;
        self.begin(&route.plan)?;
        let followed = self.follow(&route).await;
        if matches!(followed, Err(Fault::Refused(_))) {
            planner.forget_route(&key, &route);
        }
        followed
    }

    /// Delivers everything without any upstream call, if the plan and all its chunks are in memory.
    async fn deliver_from_memory(&mut self, key: &SpanKey) -> Result<bool, Fault> {
        let shared = self.request.shared.clone();
        let Some(plan) = shared.planner.remembered(key) else {
            return Ok(false);
        };
        let runs = plan.terms.iter().map(|term| {
            let xorb = plan.segments[term.segment].xorb;
            shared.xorb_cache.run(xorb, &term.chunks)
        });
        let Some(runs) = runs.collect::<Option<Vec<_>>>() else {
            return Ok(false);
        };
        shared.planner.count_hit();
        self.begin(&plan)?;
        for (term, run) in plan.terms.iter().zip(runs) {
            self.count_chunks(CacheResult::Hit);
            self.deliver_run(term, &run).await?;
        }
        Ok(true)
    }

    fn begin(&mut self, plan: &Arc<Plan>) -> Result<(), Fault> {
        let begins_at = self.at.checked_sub(plan.skip_bytes);
        self.chunk_at = begins_at.ok_or_else(|| malformed("plan begins before the file"))?;
        if self.request.is_verified && self.request.uses_cache {
            self.delivered.plans.push(plan.clone());
        }
        Ok(())
    }

    async fn follow(&mut self, route: &Route) -> Result<(), Fault> {
        let shared = self.request.shared.clone();
        let mut open = None;
        if !self.request.uses_cache {
            self.count_chunks(CacheResult::Bypass);
        }
        for term in &route.plan.terms {
            let segment = &route.plan.segments[term.segment];
            let cached = match self.request.uses_cache {
                true => shared.xorb_cache.run(segment.xorb, &term.chunks),
                false => None,
            };
            if let Some(run) = cached {
                self.count_chunks(CacheResult::Hit);
                self.deliver_run(term, &run).await?;
            } else if is_shared(segment) {
                let chunks = self.shared_segment(route, term.segment).await?;
                let first = (term.chunks.start - segment.chunks.start) as usize;
                self.deliver_run(term, &chunks[first..first + term.chunks.len()])
                    .await?;
            } else {
                self.stream(route, term, &mut open).await?;
            }
        }
        Ok(())
    }

    /// Delivers the term from a stream of its segment, which goes on from the term before where that is possible.
    async fn stream(
        &mut self,
        route: &Route,
        term: &Term,
        open: &mut Option<OpenSegment>,
    ) -> Result<(), Fault> {
        let segment = &route.plan.segments[term.segment];
        let shared = self.request.shared.clone();
        let is_ahead = |open: &OpenSegment| {
            open.index == term.segment && open.reader.next_index() <= term.chunks.start
        };
        let open = match open.take().filter(is_ahead) {
            Some(going_on) => open.insert(going_on),
            None => {
                if self.request.uses_cache {
                    self.count_chunks(CacheResult::Miss);
                }
                let url = &route.urls[term.segment];
                open.insert(OpenSegment {
                    index: term.segment,
                    reader: RangeReader::open(&shared, url, segment).await?,
                })
            }
        };
        while open.reader.next_index() < term.chunks.start {
            open.reader.next_chunk().await?;
        }
        let term_end = self.chunk_at + term.len_bytes;
        for index in term.chunks.clone() {
            if self.at == self.span.end {
                return Ok(());
            }
            let packed = open.reader.next_chunk().await?;
            if self.is_passed(packed.len_bytes()) {
                self.chunk_at += packed.len_bytes() as u64;
                continue;
            }
            let chunk = packed.unpack().map_err(broken)?;
            if self.request.uses_cache {
                let kept = shared.xorb_cache.keep(segment.xorb, index, &chunk);
                self.deliver(&Chunk::from_compact(kept)).await?;
            } else {
                self.deliver(&chunk).await?;
            }
        }
        self.check_term(term_end)
    }

    /// Returns all chunks of a small segment: those that came last, those that somebody is fetching, or new ones.
    async fn shared_segment(&mut self, route: &Route, index: usize) -> Result<Arc<[Bytes]>, Fault> {
        let segment = &route.plan.segments[index];
        let key = SegmentKey::new(segment);
        if let Some((last, chunks)) = &self.last_shared
            && *last == key
        {
            return Ok(chunks.clone());
        }
        let (shared, url) = (self.request.shared.clone(), route.urls[index].clone());
        let (segment, uses_cache) = (segment.clone(), self.request.uses_cache);
        let work = move || fetch_whole(shared, url, segment, uses_cache);
        let flights = &self.request.shared.download.flights;
        let (chunks, flight) = flights.run(key, work).await;
        match flight {
            Flight::Joined => self.count_chunks(CacheResult::Coalesced),
            Flight::Led if uses_cache => self.count_chunks(CacheResult::Miss),
            Flight::Led => {}
        }
        let chunks = chunks?;
        self.last_shared = Some((key, chunks.clone()));
        Ok(chunks)
    }

    async fn deliver_run(&mut self, term: &Term, run: &[Bytes]) -> Result<(), Fault> {
        let term_end = self.chunk_at + term.len_bytes;
        for chunk in run {
            self.deliver(&Chunk::from_compact(chunk.clone())).await?;
        }
        self.check_term(term_end)
    }

    /// Writes the part of the chunk that lies in the rest of the window to the buffer.
    async fn deliver(&mut self, chunk: &Chunk) -> Result<(), Fault> {
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

    /// Hashes the chunk that begins at `chunk_at`, if it is this window's to hash and was not hashed before a resumption.
    fn hash(&mut self, chunk: &Chunk) {
        let begins_here = (self.hashed_to..self.span.end).contains(&self.chunk_at);
        if !self.request.is_verified || !begins_here {
            return;
        }
        let hash = if let [only] = chunk.pieces() {
            compute_data_hash(only)
        } else {
            self.joined.clear();
            for piece in chunk.pieces() {
                self.joined.extend_from_slice(piece);
            }
            compute_data_hash(&self.joined)
        };
        let len_bytes = chunk.len_bytes() as u64;
        self.delivered.chunks.push((hash, len_bytes));
        self.hashed_to = self.chunk_at + len_bytes;
    }

    /// Reports whether a chunk of this length lies wholly before what is wanted.
    fn is_passed(&self, len_bytes: usize) -> bool {
        self.chunk_at + len_bytes as u64 <= self.at
    }

    fn check_term(&self, term_end: u64) -> Result<(), Fault> {
        if self.chunk_at == term_end {
            Ok(())
        } else {
            Err(malformed("chunks of another length than their plan says").into())
        }
    }

    fn count_chunks(&self, result: CacheResult) {
        let metrics = &self.request.shared.metrics;
        metrics.cache_request(CacheName::Xorb, result);
    }
}

fn is_shared(segment: &Segment) -> bool {
    segment.bytes.end - segment.bytes.start <= SHARED_SEGMENT_BYTES
        && segment.chunks.len() <= SHARED_SEGMENT_CHUNKS
}

/// Fetches all chunks of a segment as copies that pin no network frame.
async fn fetch_whole(
    shared: Arc<Shared>,
    url: url::Url,
    segment: Segment,
    uses_cache: bool,
) -> Result<Arc<[Bytes]>, Fault> {
    let mut reader = RangeReader::open(&shared, &url, &segment).await?;
    let mut chunks = Vec::with_capacity(segment.chunks.len());
    for index in segment.chunks.clone() {
        let chunk = reader.next_chunk().await?.unpack().map_err(broken)?;
        chunks.push(if uses_cache {
            shared.xorb_cache.keep(segment.xorb, index, &chunk)
        } else {
            chunk.compacted()
        });
    }
    Ok(chunks.into())
}
