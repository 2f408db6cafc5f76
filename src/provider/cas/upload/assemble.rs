//! From chunks to xorbs and files: what is known is referred to, what is new is packed.

use std::collections::HashMap;
use std::sync::Arc;

use xet_core_structures::merklehash::MerkleHash;
use xet_core_structures::xorb_object::Chunk;

use super::file::{Berth, FileBuilder, PlacedFile, XorbRef};
use super::run::{Run, Source, Spared, hash_at};
use super::staged::StagedFile;
use crate::provider::cas::compress::Compressor;
use crate::provider::cas::dedup::DedupIndex;
use crate::provider::cas::ingest::{Charge, IngestBudget};
use crate::provider::cas::xorb::{Xorb, XorbBuilder, XorbRecord};
use crate::storage::{BucketId, StorageError};

/// Chunks of this upload that are remembered for deduplication within it: about 16 GiB of content.
const MAX_OWN_CHUNKS: usize = 256 << 10;

/// Size of the first xorb of an upload; the following ones double up to what the budget allows.
///
/// A xorb leaves once it is complete, so one as large as the body would leave only after the body's last byte. This way three
/// quarters of a 64 MiB body are on their way by then, and a long one still ends up in xorbs of full size.
const FIRST_CUT: usize = 16 << 20;

/// New bytes up to which an upload shares a xorb with others: half of what one chunk may have. Larger ones are worth a call
/// of their own.
const SMALL_BYTES: usize = 64 << 10;

/// A sealed xorb with what it occupies of the ingest budget.
#[derive(Debug)]
pub(super) struct ReadyXorb {
    pub(super) xorb: Xorb,
    /// Released when this is dropped, so once the CAS has the xorb.
    pub(super) charge: Charge,
}

/// What an upload ends with.
pub(super) enum Assembled {
    /// Its xorbs are complete; these are left to be sent.
    Sealed(StagedFile, Vec<ReadyXorb>),
    /// It is small: its chunks may lie in one xorb with those of others.
    Small(Box<SmallUpload>),
}

/// A file, and maybe its companion, whose new chunks have no xorb yet.
pub(super) struct SmallUpload {
    pub(super) chunks: XorbBuilder,
    /// Released when this is dropped.
    pub(super) charge: Charge,
    pub(super) files: PlacedFiles,
}

/// A file, and maybe its companion, whose terms have no hashes yet.
pub(super) struct PlacedFiles {
    file: PlacedFile,
    companion: Option<PlacedFile>,
    saved_bytes: u64,
}

/// Packs the chunks of one upload: a file, and maybe its companion.
#[derive(Debug)]
pub(super) struct Assembler {
    budget: Arc<IngestBudget>,
    /// Everything that is held for this upload and not yet sealed.
    charge: Charge,
    index: Arc<DedupIndex>,
    bucket: BucketId,
    compressor: Compressor,
    open: XorbBuilder,
    sealed: Vec<Arc<XorbRecord>>,
    ready: Vec<ReadyXorb>,
    own: HashMap<MerkleHash, (usize, u32)>,
    run: Option<Run>,
    /// Whether the chunk placed last belongs to a run that was long enough to be taken.
    is_behind_long_run: bool,
    file: FileBuilder,
    saved_bytes: u64,
}

/// What comes behind a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// A chunk that is stored.
    Stored,
    /// A chunk that is known, the end of the file, or nobody knows.
    Other,
}

impl Assembler {
    pub(super) fn new(budget: Arc<IngestBudget>, index: Arc<DedupIndex>, bucket: BucketId) -> Self {
        Self {
            charge: Charge::nothing(&budget),
            budget,
            index,
            bucket,
            compressor: Compressor::default(),
            open: XorbBuilder::default(),
            sealed: Vec::new(),
            ready: Vec::new(),
            own: HashMap::new(),
            run: None,
            is_behind_long_run: false,
            file: FileBuilder::default(),
            saved_bytes: 0,
        }
    }

    /// Takes over the charge for bytes that will come as chunks.
    pub(super) fn account(&mut self, charge: Charge) {
        self.charge.merge(charge);
    }

    /// Adds the file's next chunk.
    pub(super) fn push(&mut self, chunk: Chunk) -> Result<(), StorageError> {
        self.file.hash(chunk.hash, len_of(&chunk));
        if let Some(run) = &self.run
            && self.hash_in(&run.source, run.next_index()) == Some(chunk.hash)
        {
            self.extend_run(chunk);
            return Ok(());
        }
        match self.find(&chunk.hash) {
            Some((source, start)) => {
                self.end_run(Next::Other)?;
                self.run = Some(Run::new(source, start, chunk));
                Ok(())
            }
            None => {
                self.end_run(Next::Stored)?;
                self.store(&chunk)
            }
        }
    }

    /// Ends the file and begins another one.
    pub(super) fn finish_file(&mut self) -> Result<PlacedFile, StorageError> {
        self.end_run(Next::Other)?;
        Ok(std::mem::take(&mut self.file).finish())
    }

    /// Seals what is held, however small, so that it can be sent.
    pub(super) fn flush(&mut self) -> Result<(), StorageError> {
        if let Some(mut run) = self.run.take() {
            self.settle(&mut run, Next::Other)?;
            // Nothing is held of a run that was taken, so it goes on.
            self.run = Some(run).filter(Run::is_taken);
        }
        self.seal();
        Ok(())
    }

    /// Returns the bytes that a flush would send.
    pub(super) fn held_bytes(&self) -> usize {
        self.open.stored_bytes()
    }

    /// Takes the xorbs that were sealed since the last call.
    pub(super) fn take_ready(&mut self) -> Vec<ReadyXorb> {
        std::mem::take(&mut self.ready)
    }

    /// Ends the upload. Unless it is small, the last xorb is sealed, so every file's terms have their hashes.
    pub(super) fn finish(
        mut self,
        file: PlacedFile,
        companion: Option<PlacedFile>,
    ) -> Result<Assembled, StorageError> {
        self.end_run(Next::Other)?;
        let files = PlacedFiles {
            file,
            companion,
            saved_bytes: self.saved_bytes,
        };
        let new_bytes = self.open.raw_bytes();
        if self.sealed.is_empty() && (1..=SMALL_BYTES).contains(&new_bytes) {
            return Ok(Assembled::Small(Box::new(SmallUpload {
                chunks: self.open,
                charge: self.charge,
                files,
            })));
        }
        self.seal();
        let xorbs: Arc<[Arc<XorbRecord>]> = self.sealed.into();
        let berth = |ordinal: usize| {
            let record: &Arc<XorbRecord> = xorbs.get(ordinal)?;
            Some(Berth {
                xorb: record.hash,
                first: 0,
            })
        };
        let staged = files.staged(&xorbs, berth)?;
        Ok(Assembled::Sealed(staged, self.ready))
    }

    fn find(&self, hash: &MerkleHash) -> Option<(Source, u32)> {
        if let Some((ordinal, index)) = self.own.get(hash) {
            return Some((Source::Own(*ordinal), *index));
        }
        let (record, index) = self.index.find(&self.bucket, hash)?;
        Some((Source::Known(record), index))
    }

    fn hash_in(&self, source: &Source, index: u32) -> Option<MerkleHash> {
        match source {
            Source::Known(record) => hash_at(&record.chunks, index),
            Source::Own(ordinal) => match self.sealed.get(*ordinal) {
                Some(record) => hash_at(&record.chunks, index),
                None => hash_at(self.open.chunks(), index),
            },
        }
    }

    fn extend_run(&mut self, chunk: Chunk) {
        if let Some(run) = &mut self.run {
            let xorb = run.source.xorb();
            let spared = run.extend(chunk);
            self.is_behind_long_run |= !spared.chunks.is_empty();
            self.refer(xorb, spared);
        }
    }

    /// Ends the run, if there is one.
    fn end_run(&mut self, next: Next) -> Result<(), StorageError> {
        match self.run.take() {
            Some(mut run) => self.settle(&mut run, next),
            None => Ok(()),
        }
    }

    /// Places what is held of a run.
    ///
    /// A short one is stored again where its chunks join others that are stored, for then its readers are spared a term.
    /// Between long runs, and at the ends of a file, they would be a term of their own either way, and are referred to. That
    /// holds for one short run behind each long one, so that a file of shuffled pieces is not scattered.
    fn settle(&mut self, run: &mut Run, next: Next) -> Result<(), StorageError> {
        let joins_stored =
            next == Next::Stored || !(self.file.is_unplaced() || self.is_behind_long_run);
        if !run.is_taken() && !joins_stored {
            let spared = run.take();
            self.refer(run.source.xorb(), spared);
            self.is_behind_long_run = false;
        }
        for chunk in run.take_kept() {
            self.store(&chunk)?;
        }
        Ok(())
    }

    /// Places chunks that need no upload.
    fn refer(&mut self, xorb: XorbRef, spared: Spared) {
        for (index, chunk) in (spared.first..).zip(spared.chunks) {
            self.file.place(xorb, index, chunk.hash, len_of(&chunk));
            self.charge.release(chunk.data.len());
            self.saved_bytes += chunk.data.len() as u64;
        }
    }

    /// Places a chunk in the open xorb, and seals that when it is large enough.
    fn store(&mut self, chunk: &Chunk) -> Result<(), StorageError> {
        if !self.open.fits(chunk.data.len()) {
            self.seal();
        }
        let len_bytes = len_of(chunk);
        let stored = self.compressor.store(&chunk.data)?;
        self.charge.release(chunk.data.len() - stored.payload.len());
        self.is_behind_long_run = false;
        let ordinal = self.sealed.len();
        let index = self.open.push(chunk.hash, len_bytes, stored);
        self.file
            .place(XorbRef::Own(ordinal), index, chunk.hash, len_bytes);
        if self.own.len() < MAX_OWN_CHUNKS {
            self.own.entry(chunk.hash).or_insert((ordinal, index));
        }
        if self.open.raw_bytes() >= self.cut_bytes() {
            self.seal();
        }
        Ok(())
    }

    fn cut_bytes(&self) -> usize {
        // Two doublings suffice: the budget's largest cut is below 64 MiB.
        let ramp = FIRST_CUT << self.sealed.len().min(2);
        ramp.min(self.budget.cut_bytes())
    }

    fn seal(&mut self) {
        if let Some(xorb) = self.open.seal() {
            let charge = self.charge.split(xorb.rope.len_bytes());
            self.sealed.push(xorb.record.clone());
            self.ready.push(ReadyXorb { xorb, charge });
        }
    }
}

impl PlacedFiles {
    /// Names the xorbs: those created for the upload, and where in each of them its chunks lie.
    pub(super) fn staged(
        self,
        xorbs: &Arc<[Arc<XorbRecord>]>,
        berth: impl Fn(usize) -> Option<Berth>,
    ) -> Result<StagedFile, StorageError> {
        let companion = self
            .companion
            .map(|file| file.resolve(&berth))
            .transpose()?
            .map(|manifest| StagedFile::of_new_xorbs(manifest, xorbs.clone(), 0));
        let manifest = self.file.resolve(berth)?;
        let staged = StagedFile::of_new_xorbs(manifest, xorbs.clone(), self.saved_bytes);
        Ok(staged.with_companion(companion))
    }
}

fn len_of(chunk: &Chunk) -> u32 {
    u32::try_from(chunk.data.len()).expect("a chunk is at most 128 KiB")
}
