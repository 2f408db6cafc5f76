//! A window: one span of a file, planned, fetched, decoded, and written to a buffer, and resumed where that fails.

use std::sync::Arc;
use std::time::Duration;

use crate::cache::Flight;
use crate::provider::cas::access::AccessSource;
use crate::provider::cas::chunk::Chunk;
use crate::provider::cas::client::Shared;
use crate::provider::cas::disk::{DiskRun, Spill};
use crate::provider::cas::download::buffer::Sink;
use crate::provider::cas::download::delivery::{Delivery, Marks};
use crate::provider::cas::download::fault::{Fault, Patience};
use crate::provider::cas::download::open::SegmentKey;
use crate::provider::cas::download::range_reader::{RangeReader, broken};
use crate::provider::cas::download::shared_fetch::{Followed, SharedFetches};
use crate::provider::cas::download::starts::Courtesy;
use crate::provider::cas::error::malformed;
use crate::provider::cas::plan::{Plan, Route, Segment, Term};
use crate::provider::cas::planner::SpanKey;
use crate::provider::cas::xorb_cache::CacheUse;
use crate::storage::{ContentHash, ResolvedRange, StorageError};
use crate::telemetry::{CacheName, CacheResult, Upstream};

/// A segment up to this size is fetched whole, once for all who want it at the same time. Larger ones stream.
const SHARED_SEGMENT_BYTES: u64 = 1 << 20;
/// Likewise in chunks, which bounds what the segment may unpack to: 4 MiB.
const SHARED_SEGMENT_CHUNKS: usize = 32;
/// Pause before the first resumption; doubles with each.
const RESUME_PAUSE: Duration = Duration::from_millis(100);

/// What the windows of one read have in common.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) shared: Arc<Shared>,
    pub(super) access: AccessSource,
    pub(super) file: ContentHash,
    /// Whether chunks come from the xorb cache, and go there.
    pub(super) cache: CacheUse,
    /// Whether chunks are hashed.
    pub(super) is_hashed: bool,
}

/// What a window leaves behind when all its bytes are in the buffer.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    /// What it has hashed; nothing unless it was to.
    pub(super) marks: Marks,
    /// The plans that it followed.
    pub(super) plans: Vec<Arc<Plan>>,
}

/// A window at work.
pub(super) struct Window {
    request: Arc<Request>,
    delivery: Delivery,
    /// The last segment that was fetched whole: files that repeat themselves name it again and again.
    last_shared: Option<(SegmentKey, Arc<[Chunk]>)>,
    plans: Vec<Arc<Plan>>,
    /// The fetch that this window follows, together with other readers of the file.
    followed: Option<Followed>,
    /// Whether it fetches alone from now on, because following others was not enough.
    is_alone: bool,
    courtesy: Courtesy,
    /// Where what is fetched goes, beside the reader.
    spill: Spill,
}

/// Chunks that need no upstream call.
enum Here {
    Memory(Vec<Chunk>),
    Disk(DiskRun),
}

/// A segment that is being streamed.
struct OpenSegment {
    index: usize,
    reader: RangeReader,
}

impl Window {
    pub(super) fn new(request: Arc<Request>, span: ResolvedRange, sink: Sink) -> Self {
        Self {
            delivery: Delivery::new(span, sink, request.is_hashed),
            spill: request.shared.disk.spill(),
            request,
            last_shared: None,
            plans: Vec::new(),
            followed: None,
            is_alone: false,
            courtesy: Courtesy::default(),
        }
    }

    /// Delivers every byte of the span, or says why it cannot.
    ///
    /// A cut stream goes on at the first byte not yet delivered, with a new plan for the rest: addresses authorise exactly
    /// the ranges that their plan named.
    pub(super) async fn run(mut self) -> Result<Delivered, StorageError> {
        let mut patience = Patience::default();
        loop {
            let before = self.delivery.rest();
            let passed = self.pass().await;
            if self.delivery.is_done() {
                return Ok(Delivered {
                    marks: self.delivery.into_marks(),
                    plans: self.plans,
                });
            }
            let fault = passed
                .err()
                .unwrap_or_else(|| malformed("plan ends too early").into());
            if self.delivery.rest() != before {
                patience.restore();
            }
            self.is_alone |= matches!(fault, Fault::Missed);
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
            reader: request.access.reader(),
            file: request.file,
            span: self.delivery.rest(),
        };
        if self.keeps_anything() && self.deliver_from_here(&key).await? {
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

    /// Reports whether chunks may be found without an upstream call, and are kept once they were fetched.
    fn keeps_anything(&self) -> bool {
        self.request.cache.looks_up() || self.request.shared.disk.is_on()
    }

    /// Delivers everything without any upstream call, if the plan is in memory, and all its chunks there or on disk.
    async fn deliver_from_here(&mut self, key: &SpanKey) -> Result<bool, Fault> {
        let shared = self.request.shared.clone();
        let Some(plan) = shared.planner.remembered(key) else {
            return Ok(false);
        };
        let terms = plan.terms.iter();
        let runs = terms.map(|term| self.look_up(&plan.segments[term.segment], term));
        let Some(runs) = runs.collect::<Option<Vec<_>>>() else {
            return Ok(false);
        };
        shared.planner.count_hit();
        self.begin(&plan)?;
        for (run, term) in runs.into_iter().zip(&plan.terms) {
            self.deliver_here(run, &plan.segments[term.segment], term)
                .await?;
        }
        Ok(true)
    }

    /// Returns the chunks of a term if all are in memory, or all on disk.
    fn look_up(&self, segment: &Segment, term: &Term) -> Option<Here> {
        let Request { shared, cache, .. } = &*self.request;
        let in_memory = || shared.xorb_cache.run(segment.xorb, &term.chunks);
        let on_disk = || shared.disk.find(segment.xorb, &term.chunks);
        let memory = cache.looks_up().then(in_memory).flatten();
        memory
            .map(Here::Memory)
            .or_else(|| on_disk().map(Here::Disk))
    }

    async fn deliver_here(
        &mut self,
        run: Here,
        segment: &Segment,
        term: &Term,
    ) -> Result<(), Fault> {
        match run {
            Here::Memory(run) => {
                self.count_chunks(CacheResult::Hit);
                self.delivery.deliver_run(&run).await
            }
            Here::Disk(run) => self.deliver_from_disk(run, segment, term).await,
        }
    }

    async fn deliver_from_disk(
        &mut self,
        mut run: DiskRun,
        segment: &Segment,
        term: &Term,
    ) -> Result<(), Fault> {
        let shared = self.request.shared.clone();
        if self.request.cache.looks_up() {
            self.count_chunks(CacheResult::Miss);
        }
        shared.disk.count(CacheResult::Hit);
        let mut indices = term.chunks.clone();
        loop {
            let chunks = run.next().await.map_err(|_missing| Fault::Missed)?;
            if chunks.is_empty() {
                return Ok(());
            }
            for (mut chunk, index) in chunks.into_iter().zip(&mut indices) {
                if self.request.cache.fills() {
                    chunk = shared.xorb_cache.keep(segment.xorb, index, &chunk);
                }
                self.delivery.deliver(&chunk).await?;
            }
        }
    }

    fn begin(&mut self, plan: &Arc<Plan>) -> Result<(), Fault> {
        if self.request.is_hashed && self.keeps_anything() {
            self.plans.push(plan.clone());
        }
        self.delivery.begin(plan.skip_bytes)
    }

    async fn follow(&mut self, route: &Route) -> Result<(), Fault> {
        let shared = self.request.shared.clone();
        let mut open = None;
        if !self.request.cache.looks_up() {
            self.count_chunks(CacheResult::Bypass);
        }
        for term in &route.plan.terms {
            let term_end = self.delivery.chunk_at() + term.len_bytes;
            let segment = &route.plan.segments[term.segment];
            let here = self.look_up(segment, term);
            if here.is_none() {
                shared.disk.count(CacheResult::Miss);
            }
            if let Some(run) = here {
                self.deliver_here(run, segment, term).await?;
            } else if is_shared(segment) {
                let chunks = self.shared_segment(route, term.segment).await?;
                let first = (term.chunks.start - segment.chunks.start) as usize;
                let run = &chunks[first..first + term.chunks.len()];
                self.delivery.deliver_run(run).await?;
            } else if self.has_company() {
                self.follow_fetch(route, term).await?;
            } else {
                self.stream(route, term, &mut open).await?;
            }
            if self.delivery.is_done() {
                break;
            }
            if self.delivery.chunk_at() != term_end {
                return Err(malformed("chunks of another length than their plan says").into());
            }
        }
        Ok(())
    }

    /// Reports whether other readers of the file are about, with whom fetches can be shared by way of the cache.
    fn has_company(&self) -> bool {
        let Request { shared, file, .. } = &*self.request;
        !self.is_alone && self.request.cache.looks_up() && shared.download.has_company(file)
    }

    /// Delivers the term from the cache, while a fetch that others may follow too puts it there.
    async fn follow_fetch(&mut self, route: &Route, term: &Term) -> Result<(), Fault> {
        let segment = &route.plan.segments[term.segment];
        let shared = self.request.shared.clone();
        let key = SegmentKey::new(segment);
        let mut followed = match self.followed.take().filter(|followed| followed.key == key) {
            Some(followed) => followed,
            None => {
                let url = &route.urls[term.segment];
                let (followed, flight) = SharedFetches::follow(&shared, url, segment);
                self.count_chunks(match flight {
                    Flight::Led => CacheResult::Miss,
                    Flight::Joined => CacheResult::Coalesced,
                });
                followed
            }
        };
        for index in term.chunks.clone() {
            if self.delivery.is_done() {
                break;
            }
            followed.reach(index).await?;
            let run = shared.xorb_cache.run(segment.xorb, &(index..index + 1));
            let chunk = run.and_then(|mut run| run.pop()).ok_or(Fault::Missed)?;
            if !self.delivery.passes(chunk.len_bytes()) {
                self.delivery.deliver(&chunk).await?;
            }
        }
        self.followed = Some(followed);
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
                if self.request.cache.looks_up() {
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
        for index in term.chunks.clone() {
            if self.delivery.is_done() {
                break;
            }
            let packed = open.reader.next_chunk().await?;
            if self.delivery.passes(packed.len_bytes()) {
                continue;
            }
            let mut chunk = packed.unpack().map_err(broken)?;
            if self.request.cache.fills() {
                chunk = shared.xorb_cache.keep(segment.xorb, index, &chunk);
            }
            self.spill.add(segment.xorb, index, &chunk).await;
            self.delivery.deliver(&chunk).await?;
            self.give_way().await;
        }
        Ok(())
    }

    /// Lets streams without their first byte go first, where cores are shared. Only after a chunk was delivered: so each
    /// window has something to show before it waits for others.
    async fn give_way(&mut self) {
        let download = &self.request.shared.download;
        if download.streams_per_core() > 1 {
            download.starts.give_way(&mut self.courtesy).await;
        }
    }

    /// Returns all chunks of a small segment: those that came last, those that somebody is fetching, or new ones.
    async fn shared_segment(&mut self, route: &Route, index: usize) -> Result<Arc<[Chunk]>, Fault> {
        let segment = &route.plan.segments[index];
        let key = SegmentKey::new(segment);
        if let Some((last, chunks)) = &self.last_shared
            && *last == key
        {
            return Ok(chunks.clone());
        }
        let (shared, url) = (self.request.shared.clone(), route.urls[index].clone());
        let (segment, cache) = (segment.clone(), self.request.cache);
        let work = move || fetch_whole(shared, url, segment, cache);
        let flights = &self.request.shared.download.flights;
        let (chunks, flight) = flights.run(key, work).await;
        match flight {
            Flight::Joined => self.count_chunks(CacheResult::Coalesced),
            Flight::Led if cache.looks_up() => self.count_chunks(CacheResult::Miss),
            Flight::Led => {}
        }
        let chunks = chunks?;
        self.last_shared = Some((key, chunks.clone()));
        Ok(chunks)
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
    cache: CacheUse,
) -> Result<Arc<[Chunk]>, Fault> {
    let mut reader = RangeReader::open(&shared, &url, &segment).await?;
    let mut chunks = Vec::with_capacity(segment.chunks.len());
    let mut spill = shared.disk.spill();
    for index in segment.chunks.clone() {
        let chunk = reader.next_chunk().await?.unpack().map_err(broken)?;
        let chunk = if cache.fills() {
            shared.xorb_cache.keep(segment.xorb, index, &chunk)
        } else {
            chunk.compacted()
        };
        spill.add(segment.xorb, index, &chunk).await;
        chunks.push(chunk);
    }
    Ok(chunks.into())
}
