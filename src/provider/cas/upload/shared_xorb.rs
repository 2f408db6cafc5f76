//! Small uploads share xorbs.
//!
//! A xorb of one small object costs as many calls as one of a thousand. So while a few xorbs of small objects are under way,
//! further ones wait and leave together in the next; an upload without company leaves at once.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::oneshot;
use tracing::{Instrument, Span};
use xet_core_structures::merklehash::MerkleHash;

use super::assemble::SmallUpload;
use super::file::Berth;
use super::staged::StagedFile;
use crate::cache::{Gatherer, Turn};
use crate::provider::cas::access::{AccessSource, Scope};
use crate::provider::cas::client::CasClient;
use crate::provider::cas::ingest::Charge;
use crate::provider::cas::xorb::{Xorb, XorbBuilder, XorbRecord};
use crate::storage::{BucketId, SecretId, StorageError};

/// Bytes of a shared xorb, counted with [`CHUNK_WEIGHT`] for each chunk.
const MAX_WEIGHT: usize = 4 << 20;

/// So that a xorb never has more than 8,192 chunks, the protocol's limit, however short they are.
const CHUNK_WEIGHT: usize = 512;

/// Small uploads that wait, by CAS token and bucket: a token that the CAS refuses fails only its own.
pub(super) type XorbGatherer = Gatherer<(SecretId, BucketId), Contribution>;

/// The new chunks of a small upload.
#[derive(Debug)]
pub(super) struct Contribution {
    chunks: XorbBuilder,
    /// Released once the CAS has the xorb.
    charge: Charge,
    /// Who waits: its span gets the call.
    span: Span,
    answer: oneshot::Sender<Result<SharedBerth, StorageError>>,
}

/// Where a contribution's chunks came to lie.
#[derive(Debug, Clone)]
struct SharedBerth {
    xorb: Arc<XorbRecord>,
    first: u32,
}

impl CasClient {
    /// Sends the chunks of a small upload, together with those of others of the same bucket and token, and returns the file
    /// once the CAS has them.
    ///
    /// Errors: as the CAS answers; everybody whose chunks were in the xorb gets the same.
    pub(super) async fn send_together(
        &self,
        access: &AccessSource,
        bucket: &BucketId,
        upload: SmallUpload,
    ) -> Result<StagedFile, StorageError> {
        let SmallUpload {
            chunks,
            charge,
            files,
        } = upload;
        let token = access.get(Scope::Write).await?.token;
        let (answer, berth) = oneshot::channel();
        let contribution = Contribution {
            chunks,
            charge,
            span: Span::current(),
            answer,
        };
        let key = (token.id(), bucket.clone());
        if let Some(turn) = self.0.company.xorbs.join(&key, contribution) {
            tokio::spawn(self.clone().send_shared_xorbs(turn, access.clone()));
        }
        let berth = berth.await;
        let SharedBerth { xorb, first } =
            berth.map_err(|_| StorageError::internal("a shared xorb was lost"))??;
        let own = Berth {
            xorb: xorb.hash,
            first,
        };
        files.staged(&[xorb].into(), |_| Some(own))
    }

    /// Sends one shared xorb after the other until nobody waits.
    async fn send_shared_xorbs(
        self,
        mut turn: Turn<(SecretId, BucketId), Contribution>,
        access: AccessSource,
    ) {
        loop {
            let mut group = turn.next_group(MAX_WEIGHT, Contribution::weight);
            if group.is_empty() {
                return;
            }
            group.retain(|contribution| !contribution.answer.is_closed());
            let Some(first) = group.first() else {
                continue;
            };
            let span = first.span.clone();
            let (client, access) = (self.clone(), access.clone());
            let send = async move { client.send_shared_xorb(&access, group).await };
            // In a task of its own: whatever becomes of it, those behind it leave.
            let _ = tokio::spawn(send.instrument(span)).await;
        }
    }

    async fn send_shared_xorb(&self, access: &AccessSource, group: Vec<Contribution>) {
        let Some((xorb, company)) = joined(group) else {
            return;
        };
        let sent = self.send_xorb(access, &xorb).await;
        for (first, contribution) in company {
            let xorb = xorb.record.clone();
            let berth = sent.clone().map(|()| SharedBerth { xorb, first });
            drop(contribution.charge);
            // Who has left needs no answer.
            let _ = contribution.answer.send(berth);
        }
    }
}

impl Contribution {
    fn weight(&self) -> usize {
        self.chunks.raw_bytes() + self.chunks.chunks().len() * CHUNK_WEIGHT
    }
}

/// What is left of a contribution whose chunks are in the xorb.
#[derive(Debug)]
struct Waiting {
    charge: Charge,
    answer: oneshot::Sender<Result<SharedBerth, StorageError>>,
}

/// Packs all chunks into one xorb, and tells at which index those of each contribution begin. The same content is packed
/// only once. `None` for no chunks at all.
fn joined(group: Vec<Contribution>) -> Option<(Xorb, Vec<(u32, Waiting)>)> {
    let mut whole = XorbBuilder::default();
    let mut packed: HashMap<Vec<MerkleHash>, u32> = HashMap::new();
    let mut company = Vec::with_capacity(group.len());
    for Contribution {
        chunks,
        charge,
        answer,
        ..
    } in group
    {
        let content = chunks.chunks().iter().map(|(hash, _)| *hash).collect();
        let first = *packed
            .entry(content)
            .or_insert_with(|| whole.append(chunks));
        company.push((first, Waiting { charge, answer }));
    }
    Some((whole.seal()?, company))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::future::join_all;
    use xet_core_structures::merklehash::MerkleHash;

    use crate::provider::cas::upload::fake::{Fake, bucket};
    use crate::provider::cas::upload::{RegisterError, StagedFile, UploadOptions};
    use crate::storage::{BucketName, ByteStream, StorageError};

    /// Contents of many lengths, none like another.
    fn contents(count: usize) -> Vec<Bytes> {
        let content = |n: usize| format!("{n} ").repeat(1 + n * 97 % 5000).into();
        (0..count).map(content).collect()
    }

    async fn upload(fake: &Fake, content: &Bytes) -> Result<StagedFile, StorageError> {
        let body = ByteStream::from_bytes(content.clone());
        let options = UploadOptions {
            companion: Some(Box::new(|hash, _| format!("of {hash}").into())),
            is_part: false,
        };
        let access = &fake.access;
        fake.client.upload(access, &bucket(), body, options).await
    }

    async fn register(fake: &Fake, file: &StagedFile) -> Result<(), RegisterError> {
        let files = vec![file.clone()];
        fake.client.register(&fake.access, &bucket(), files).await
    }

    fn content_of(fake: &Fake, file: &StagedFile) -> Option<Bytes> {
        let hash = MerkleHash::from_hex(file.hash().as_str()).unwrap();
        fake.cas().files.get(&hash).cloned()
    }

    fn count(fake: &Fake, call: &str) -> usize {
        fake.cas()
            .calls
            .iter()
            .filter(|made| **made == call)
            .count()
    }

    #[tokio::test]
    async fn a_hundred_small_files_at_once_take_few_calls_and_stay_themselves() {
        let fake = Fake::start(256 << 20).await;
        let contents = contents(100);
        let put = |content| {
            let fake = &fake;
            async move {
                let file = upload(fake, content).await.unwrap();
                register(fake, &file).await.unwrap();
                file
            }
        };
        let files = join_all(contents.iter().map(put)).await;
        for (file, content) in files.iter().zip(&contents) {
            assert_eq!(&content_of(&fake, file).unwrap(), content);
            let companion = content_of(&fake, file.companion().unwrap()).unwrap();
            assert_eq!(companion, format!("of {}", file.hash()));
        }
        let (xorbs, shards) = (count(&fake, "xorb"), count(&fake, "shard v2"));
        assert!(xorbs < 20 && shards < 30, "{xorbs} xorbs, {shards} shards");
        assert_eq!(fake.metric("ingest_buffered_bytes"), 0);
    }

    #[tokio::test]
    async fn one_after_the_other_they_do_not_wait() {
        let fake = Fake::start(256 << 20).await;
        for content in contents(3) {
            upload(&fake, &content).await.unwrap();
        }
        assert_eq!(fake.cas().calls, ["xorb"; 3]);
    }

    #[tokio::test]
    async fn what_cannot_be_sent_fails_for_all_whose_chunks_were_in_it() {
        let fake = Fake::start(256 << 20).await;
        fake.cas().faults.push_back(("xorb", 400));
        let contents = contents(40);
        let uploads = join_all(contents.iter().map(|content| upload(&fake, content))).await;
        let failed = uploads.iter().filter(|upload| upload.is_err()).count();
        // All came before the first call left, which took them all.
        assert_eq!((failed, count(&fake, "xorb")), (40, 1));
        assert_eq!(fake.metric("ingest_buffered_bytes"), 0);
        upload(&fake, &contents[0]).await.unwrap();
    }

    #[tokio::test]
    async fn a_caller_that_leaves_does_not_stop_the_others() {
        let fake = Fake::start(256 << 20).await;
        let contents = contents(12);
        let mut uploads: Vec<_> = contents
            .iter()
            .map(|content| Box::pin(upload(&fake, content)))
            .collect();
        for upload in &mut uploads {
            assert!(futures::poll!(upload.as_mut()).is_pending());
        }
        // Those that lead the calls, and one that waits.
        drop(uploads.drain(..5));
        assert!(join_all(uploads).await.iter().all(Result::is_ok));
    }

    #[tokio::test]
    async fn a_refused_file_fails_alone() {
        let fake = Fake::start(256 << 20).await;
        let mut files = Vec::new();
        for content in contents(12) {
            files.push(upload(&fake, &content).await.unwrap());
        }
        let lost = files[7].xorbs()[0].hash;
        fake.cas().xorbs.remove(&lost);
        let verdicts = join_all(files.iter().map(|file| register(&fake, file))).await;
        for (n, verdict) in verdicts.iter().enumerate() {
            let is_refused = matches!(verdict, Err(RegisterError::Refused(_)));
            assert_eq!(is_refused, n == 7, "file {n}: {verdict:?}");
        }
    }

    #[tokio::test]
    async fn buckets_share_nothing() {
        let fake = Fake::start(256 << 20).await;
        let contents = contents(20);
        let uploads = contents.iter().enumerate().map(|(n, content)| {
            let mut bucket = bucket();
            bucket.name = BucketName::new(&format!("bucket-{n}")).unwrap();
            let (client, access) = (&fake.client, &fake.access);
            async move {
                let bytes = content.clone();
                client.upload_bytes(access, &bucket, bytes).await
            }
        });
        assert!(join_all(uploads).await.iter().all(Result::is_ok));
        assert_eq!(count(&fake, "xorb"), 20);
    }
}
