//! Several readers of one cold object fetch its bytes once.
//!
//! While a file has more than one reader, its segments are fetched by tasks of their own, straight into the xorb cache, and
//! all readers take the chunks from there as they come. No reader waits for another: a fetch goes at the pace of the network,
//! and a reader that is slower finds the chunks in the cache for as long as that keeps them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tracing::Instrument;
use url::Url;

use crate::cache::Flight;
use crate::provider::cas::client::Shared;
use crate::provider::cas::download::fault::Fault;
use crate::provider::cas::download::open::SegmentKey;
use crate::provider::cas::download::range_reader::{RangeReader, broken};
use crate::provider::cas::error::unavailable;
use crate::provider::cas::plan::Segment;

/// Segments that are being fetched.
#[derive(Debug, Default)]
pub(super) struct SharedFetches(Mutex<Table>);

type Table = HashMap<SegmentKey, watch::Receiver<Progress>>;

/// How far a fetch has come.
#[derive(Debug, Clone)]
enum Progress {
    /// All chunks before this index were put into the cache.
    Reached(u32),
    /// It ended early.
    Failed(Fault),
}

/// A fetch that somebody follows. When nobody does any more, it stops.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) key: SegmentKey,
    progress: watch::Receiver<Progress>,
}

impl SharedFetches {
    /// Joins the fetch of a segment that is under way, or starts one.
    pub(super) fn follow(shared: &Arc<Shared>, url: &Url, segment: &Segment) -> (Followed, Flight) {
        let key = SegmentKey::new(segment);
        let mut under_way = shared.download.fetches.lock();
        if let Some(progress) = under_way.get(&key) {
            let progress = progress.clone();
            return (Followed { key, progress }, Flight::Joined);
        }
        let (publisher, progress) = watch::channel(Progress::Reached(segment.chunks.start));
        under_way.insert(key, progress.clone());
        let fetch = Fetch {
            shared: shared.clone(),
            key,
            publisher,
        };
        tokio::spawn(fetch.run(url.clone(), segment.clone()).in_current_span());
        (Followed { key, progress }, Flight::Led)
    }

    /// Reports whether none is under way.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Followed {
    /// Waits until the chunk has been put into the cache. Whether it is still there is another matter.
    ///
    /// Errors: what ended the fetch before that.
    pub(super) async fn reach(&mut self, index: u32) -> Result<(), Fault> {
        let has_come = |progress: &Progress| match progress {
            Progress::Reached(next) => *next > index,
            Progress::Failed(_) => true,
        };
        let lost = |_| Fault::Cut(unavailable("a shared fetch was lost"));
        match &*self.progress.wait_for(has_come).await.map_err(lost)? {
            Progress::Reached(_) => Ok(()),
            Progress::Failed(fault) => Err(fault.clone()),
        }
    }
}

/// A fetch at work. It leaves the table when it is dropped, however it ends.
struct Fetch {
    shared: Arc<Shared>,
    key: SegmentKey,
    publisher: watch::Sender<Progress>,
}

impl Fetch {
    async fn run(self, url: Url, segment: Segment) {
        if let Err(fault) = self.fetch(&url, &segment).await {
            self.publisher.send_replace(Progress::Failed(fault));
        }
    }

    async fn fetch(&self, url: &Url, segment: &Segment) -> Result<(), Fault> {
        let mut reader = RangeReader::open(&self.shared, url, segment).await?;
        let mut spill = self.shared.disk.spill();
        for index in segment.chunks.clone() {
            if self.is_abandoned() {
                return Ok(());
            }
            let chunk = reader.next_chunk().await?.unpack().map_err(broken)?;
            let kept = self.shared.xorb_cache.keep(segment.xorb, index, &chunk);
            spill.add(segment.xorb, index, &kept).await;
            self.publisher.send_replace(Progress::Reached(index + 1));
        }
        Ok(())
    }

    /// Reports whether nobody follows any more; then nobody will, since the table does not show the fetch any longer.
    fn is_abandoned(&self) -> bool {
        // The table itself holds one.
        if self.publisher.receiver_count() > 1 {
            return false;
        }
        let mut under_way = self.shared.download.fetches.lock();
        let is_abandoned = self.publisher.receiver_count() <= 1;
        if is_abandoned {
            under_way.remove(&self.key);
        }
        is_abandoned
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        let mut under_way = self.shared.download.fetches.lock();
        // After being abandoned, another fetch of the same segment may stand there.
        let is_own = under_way
            .get(&self.key)
            .is_some_and(|progress| progress.same_channel(&self.publisher.subscribe()));
        if is_own {
            under_way.remove(&self.key);
        }
    }
}
