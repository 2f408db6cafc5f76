//! Which chunks make up a range of a file: plans say where they lie, lists or a reading say what they are.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use xet_core_structures::merklehash::MerkleHash;

use super::SliceSource;
use super::chunk_lists::ChunkRun;
use super::cut::{Cutter, PlacedChunk};
use crate::provider::cas::client::CasClient;
use crate::provider::cas::error::malformed;
use crate::provider::cas::file_hash::ChunkMark;
use crate::provider::cas::plan::{Plan, Term};
use crate::provider::cas::planner::SpanKey;
use crate::storage::{ResolvedRange, StorageError};

/// Bytes of the source that are planned and surveyed at once, which bounds what is held: 32,768 chunks at most.
const STEP_BYTES: u64 = 256 << 20;

impl CasClient {
    /// Hands all chunks that the slice touches to the cutter, in order. Stops early if it finds them too fragmented.
    pub(super) async fn survey(
        &self,
        source: &SliceSource<'_>,
        cutter: &mut Cutter,
    ) -> Result<(), StorageError> {
        let ResolvedRange { start: mut at, end } = cutter.span();
        while at < end && !cutter.is_fragmented() {
            let step = ResolvedRange {
                start: at,
                end: end.min(at + STEP_BYTES),
            };
            let plan = self.plan(source, step).await?;
            let begins_at = at.checked_sub(plan.skip_bytes);
            at = begins_at.ok_or_else(|| malformed("plan begins before the file"))?;
            // From here on, each step begins where a chunk does.
            let runs = self.runs(source, &plan, at).await?;
            for (term, run) in plan.terms.iter().zip(&runs) {
                let xorb = plan.segments[term.segment].xorb;
                let chunks = run.get(&term.chunks).unwrap_or_default();
                for (index, &(hash, len_bytes)) in term.chunks.clone().zip(chunks) {
                    cutter.push(PlacedChunk {
                        at,
                        len_bytes,
                        hash,
                        xorb,
                        index,
                    });
                    at += u64::from(len_bytes);
                }
            }
            if at < step.end {
                return Err(malformed("chunks of another length than their plan says"));
            }
        }
        Ok(())
    }

    async fn plan(
        &self,
        source: &SliceSource<'_>,
        span: ResolvedRange,
    ) -> Result<Arc<Plan>, StorageError> {
        let key = SpanKey {
            reader: source.access.reader(),
            file: source.file.hash,
            span,
        };
        match self.0.planner.remembered(&key) {
            Some(plan) => {
                self.0.planner.count_hit();
                Ok(plan)
            }
            None => Ok(self.0.planner.route(source.access, key).await?.plan.clone()),
        }
    }

    /// Returns for each term of the plan a run that holds its chunks. Neighbours that are not known are read together, and
    /// content that repeats itself is read once.
    async fn runs(
        &self,
        source: &SliceSource<'_>,
        plan: &Plan,
        begins_at: u64,
    ) -> Result<Vec<ChunkRun>, StorageError> {
        let known = |term: &Term| {
            let xorb = plan.segments[term.segment].xorb;
            self.0.chunk_lists.find(&xorb, &term.chunks)
        };
        let mut runs = Vec::with_capacity(plan.terms.len());
        let mut at = begins_at;
        while let Some(term) = plan.terms.get(runs.len()) {
            if let Some(run) = known(term) {
                at += term.len_bytes;
                runs.push(run);
                continue;
            }
            let rest = &plan.terms[runs.len()..];
            let mut read: HashSet<(MerkleHash, Range<u32>)> = HashSet::new();
            let is_unread = |term: &&Term| {
                let xorb = plan.segments[term.segment].xorb;
                known(term).is_none() && read.insert((xorb, term.chunks.clone()))
            };
            let unknown = &rest[..rest.iter().take_while(is_unread).count()];
            for (term, run) in unknown.iter().zip(self.read(source, unknown, at).await?) {
                let xorb = plan.segments[term.segment].xorb;
                self.0.chunk_lists.learn(xorb, run.clone());
                at += term.len_bytes;
                runs.push(run);
            }
        }
        Ok(runs)
    }

    /// Reads neighbouring terms, which begin at `at`, and returns the chunks of each.
    async fn read(
        &self,
        source: &SliceSource<'_>,
        terms: &[Term],
        at: u64,
    ) -> Result<Vec<ChunkRun>, StorageError> {
        let span = ResolvedRange {
            start: at,
            end: at + terms.iter().map(|term| term.len_bytes).sum::<u64>(),
        };
        let marks = self.chunks_of(source.access, source.file, span).await?;
        let mut rest = marks.as_slice();
        let runs = terms.iter().map(|term| {
            let (own, after) = rest.split_at_checked(term.chunks.len()).unwrap_or_default();
            rest = after;
            run_of(term, own)
        });
        runs.collect()
    }
}

fn run_of(term: &Term, marks: &[ChunkMark]) -> Result<ChunkRun, StorageError> {
    let len_bytes: u64 = marks.iter().map(|(_, len)| len).sum();
    if marks.len() != term.chunks.len() || len_bytes != term.len_bytes {
        return Err(malformed("other chunks than their plan says"));
    }
    let bounded = "a chunk is at most 128 KiB";
    let entry = |(hash, len): &ChunkMark| (*hash, u32::try_from(*len).expect(bounded));
    Ok(ChunkRun::new(
        term.chunks.start,
        marks.iter().map(entry).collect(),
    ))
}
