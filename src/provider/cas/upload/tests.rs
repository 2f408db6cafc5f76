//! Uploads against a CAS that recomputes every hash.

use std::time::Duration;

use bytes::Bytes;
use futures::future::{join_all, try_join_all};
use futures::{StreamExt, stream};
use xet_core_structures::merklehash::MerkleHash;

use super::fake::{Fake, bucket};
use super::{StagedFile, UploadOptions};
use crate::provider::cas::{Composition, Manifest};
use crate::storage::{ByteStream, ContentHash, StorageError};

const MIB: usize = 1 << 20;
const ROOMY: u64 = 256 << 20;

fn noise(len: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}

/// A body in frames of `frame_bytes`.
fn framed(bytes: &Bytes, frame_bytes: usize) -> ByteStream {
    let frames: Vec<_> = (0..bytes.len())
        .step_by(frame_bytes)
        .map(|at| Ok(bytes.slice(at..bytes.len().min(at + frame_bytes))))
        .collect();
    ByteStream::new(stream::iter(frames), Some(bytes.len() as u64))
}

impl Fake {
    async fn upload(&self, bytes: &Bytes) -> Result<StagedFile, StorageError> {
        self.upload_with(framed(bytes, 64 << 10), UploadOptions::default())
            .await
    }

    async fn upload_with(
        &self,
        body: ByteStream,
        options: UploadOptions,
    ) -> Result<StagedFile, StorageError> {
        self.client
            .upload(&self.access, &bucket(), body, options)
            .await
    }

    async fn upload_part(&self, bytes: &Bytes) -> Manifest {
        let options = UploadOptions {
            is_part: true,
            ..UploadOptions::default()
        };
        let staged = self
            .upload_with(framed(bytes, 64 << 10), options)
            .await
            .unwrap();
        staged.manifest()
    }

    async fn register(&self, file: &StagedFile) -> Result<(), StorageError> {
        let files = vec![file.clone()];
        Ok(self.client.register(&self.access, &bucket(), files).await?)
    }

    async fn put(&self, bytes: &Bytes) -> StagedFile {
        let staged = self.upload(bytes).await.unwrap();
        self.register(&staged).await.unwrap();
        staged
    }

    fn content(&self, hash: &ContentHash) -> Option<Bytes> {
        self.cas()
            .files
            .get(&MerkleHash::from_hex(hash.as_str()).unwrap())
            .cloned()
    }

    fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.cas().calls)
    }
}

#[tokio::test]
async fn bodies_of_every_size_and_framing_arrive_whole() {
    let fake = Fake::start(ROOMY).await;
    for (len, frame) in [
        (1, 1),
        (8191, 100),
        (300_000, 7001),
        (3 * MIB, 10 * MIB),
        (20 * MIB + 5, 300_000),
    ] {
        let bytes = noise(len, len as u64);
        let staged = fake
            .upload_with(framed(&bytes, frame), UploadOptions::default())
            .await
            .unwrap();
        assert_eq!(staged.size(), len as u64);
        assert_eq!(fake.content(&staged.hash()), None);
        fake.register(&staged).await.unwrap();
        assert_eq!(fake.content(&staged.hash()).unwrap(), bytes);
    }
    assert_eq!(fake.metric("ingest_buffered_bytes"), 0);
}

#[tokio::test]
async fn a_small_put_takes_one_xorb_call_and_one_shard_call() {
    let fake = Fake::start(ROOMY).await;
    fake.put(&noise(1000, 1)).await;
    assert_eq!(fake.calls(), ["xorb", "shard v2"]);
}

#[tokio::test]
async fn an_empty_body_is_zeros_and_has_no_xorb() {
    let fake = Fake::start(ROOMY).await;
    let staged = fake.put(&Bytes::new()).await;
    assert_eq!((staged.hash(), staged.size()), (ContentHash::EMPTY, 0));
    assert_eq!(fake.calls(), ["shard v2"]);
    assert_eq!(fake.cas().shards[0].len(), 192);
}

#[tokio::test]
async fn a_body_that_fails_registers_nothing() {
    let fake = Fake::start(ROOMY).await;
    let frames = [
        Ok(noise(2 * MIB, 1)),
        Ok(noise(2 * MIB, 2)),
        Err(StorageError::BadDigest),
    ];
    let body = ByteStream::new(stream::iter(frames), None);
    let failed = fake.upload_with(body, UploadOptions::default()).await;
    assert!(matches!(failed, Err(StorageError::BadDigest)));
    assert!(fake.cas().shards.is_empty());
    // A batch may still be worked on; what it holds is released when that ends.
    while fake.metric("ingest_buffered_bytes") > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_companion_rides_along_and_depends_on_the_body() {
    let fake = Fake::start(ROOMY).await;
    let bytes = noise(100_000, 1);
    let options = UploadOptions {
        companion: Some(Box::new(|hash, size| format!("{hash} {size}").into())),
        is_part: false,
    };
    let staged = fake
        .upload_with(framed(&bytes, MIB), options)
        .await
        .unwrap();
    fake.register(&staged).await.unwrap();
    assert_eq!(fake.calls(), ["xorb", "shard v2"]);
    let companion = staged.companion().unwrap();
    let expected = format!("{} 100000", staged.hash());
    assert_eq!(fake.content(&companion.hash()).unwrap(), expected);
    assert_eq!(companion.size(), expected.len() as u64);
    assert_eq!(fake.content(&staged.hash()).unwrap(), bytes);
}

#[tokio::test]
async fn files_registered_together_take_one_shard() {
    let fake = Fake::start(ROOMY).await;
    let contents = [noise(5000, 1), noise(6000, 2), Bytes::new()];
    let files = try_join_all(contents.iter().map(|bytes| fake.upload(bytes)))
        .await
        .unwrap();
    fake.calls();
    fake.client
        .register(&fake.access, &bucket(), files.clone())
        .await
        .unwrap();
    assert_eq!(fake.calls(), ["shard v2"]);
    for (file, bytes) in files.iter().zip(&contents) {
        assert_eq!(&fake.content(&file.hash()).unwrap(), bytes);
    }
}

#[tokio::test]
async fn xorbs_leave_while_the_body_still_arrives() {
    let fake = Fake::start(16 << 20).await;
    let observer = fake.clone();
    let frames = stream::iter(0..40_u64).map(move |n| {
        // 40 MiB do not fit into 16 MiB, so the first xorbs must have left before the last frames are asked for.
        assert!(n < 36 || observer.cas().xorbs.len() > 3, "frame {n}");
        Ok(noise(MIB, n))
    });
    let staged = fake
        .upload_with(ByteStream::new(frames, None), UploadOptions::default())
        .await
        .unwrap();
    fake.register(&staged).await.unwrap();
    assert_eq!(fake.content(&staged.hash()).unwrap().len(), 40 * MIB);
}

#[tokio::test]
async fn xorbs_grow_so_that_little_is_left_to_send_at_the_end() {
    let fake = Fake::start(ROOMY).await;
    fake.put(&noise(60 * MIB, 1)).await;
    let mut lens: Vec<_> = fake.cas().xorb_lens.iter().map(|len| len / MIB).collect();
    lens.sort_unstable();
    assert_eq!(lens, [11, 16, 32]);
}

#[tokio::test]
async fn two_hundred_slow_puts_finish_on_a_budget_of_eight_mebibytes() {
    let fake = Fake::start(8 << 20).await;
    let puts = (0..200_u64).map(|seed| {
        let fake = fake.clone();
        async move {
            let bytes = noise(300_000, seed);
            let frames = framed(&bytes, 50_000).then(async |frame| {
                tokio::task::yield_now().await;
                frame
            });
            let body = ByteStream::new(Box::pin(frames), Some(300_000));
            let staged = fake.upload_with(body, UploadOptions::default()).await?;
            fake.register(&staged).await?;
            assert_eq!(fake.content(&staged.hash()).unwrap(), bytes);
            Ok::<_, StorageError>(())
        }
    });
    let all = tokio::time::timeout(Duration::from_secs(120), try_join_all(puts));
    all.await.expect("no deadlock").unwrap();
    assert_eq!(fake.metric("ingest_buffered_bytes"), 0);
}

#[tokio::test]
async fn streams_that_stall_do_not_lock_out_the_others() {
    // Each stalled stream holds up to three quarters of a MiB of an eight MiB budget, for ever.
    let fake = Fake::start(8 << 20).await;
    let stalled: Vec<_> = (0..12)
        .map(|seed| {
            let fake = fake.clone();
            tokio::spawn(async move {
                let frames = stream::iter([Ok(noise(700_000, seed))]).chain(stream::pending());
                fake.upload_with(ByteStream::new(frames, None), UploadOptions::default())
                    .await
            })
        })
        .collect();
    while fake.metric("ingest_buffered_bytes") < 7 << 20 {
        tokio::task::yield_now().await;
    }
    let lively = (100..104_u64).map(|seed| {
        let fake = fake.clone();
        async move { fake.put(&noise(3 * MIB, seed)).await.size() }
    });
    let sizes = tokio::time::timeout(Duration::from_secs(60), join_all(lively)).await;
    assert_eq!(sizes.expect("no deadlock"), [3 * MIB as u64; 4]);
    stalled.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn what_was_registered_is_not_sent_again() {
    let fake = Fake::start(ROOMY).await;
    let bytes = noise(3 * MIB, 1);
    fake.put(&bytes).await;
    fake.calls();
    let again = fake.put(&bytes).await;
    assert_eq!(fake.calls(), ["shard v2"]);
    assert_eq!(fake.metric("dedup_saved_bytes_total"), 3 * MIB as u64);
    // A changed file sends what changed.
    let changed = [noise(50_000, 2), bytes.slice(50_000..)].concat().into();
    let staged = fake.put(&changed).await;
    assert_eq!(fake.content(&staged.hash()).unwrap(), changed);
    let last = *fake.cas().xorb_lens.last().unwrap();
    assert!(last < 500_000, "{last} bytes");
    assert_eq!(fake.content(&again.hash()).unwrap(), bytes);
}

#[tokio::test]
async fn what_was_only_staged_is_sent_again() {
    let fake = Fake::start(ROOMY).await;
    let bytes = noise(MIB, 1);
    fake.upload(&bytes).await.unwrap();
    fake.calls();
    fake.put(&bytes).await;
    assert_eq!(fake.calls(), ["xorb", "shard v2"]);
}

#[tokio::test]
async fn repetition_within_a_body_is_sent_once() {
    let fake = Fake::start(ROOMY).await;
    let unit = noise(4 * MIB, 1);
    for bytes in [
        [unit.clone(), unit.clone(), unit].concat(),
        vec![0; 12 * MIB],
    ] {
        let bytes = Bytes::from(bytes);
        let staged = fake.put(&bytes).await;
        assert_eq!(fake.content(&staged.hash()).unwrap(), bytes);
        let last = *fake.cas().xorb_lens.last().unwrap();
        assert!(last < 5 * MIB, "{last} bytes");
        assert!(staged.manifest().terms.len() < 24);
    }
}

#[tokio::test]
async fn equal_parts_are_sent_by_the_first_and_by_no_later_one() {
    // A budget so small that xorbs are cut at one MiB: the tail of the part lies in a xorb of a few chunks, which are too
    // few to be taken by themselves.
    let fake = Fake::start(4 << 20).await;
    let part = noise(2 * MIB + 300_000, 1);
    let send = async || {
        let options = UploadOptions {
            is_part: true,
            ..UploadOptions::default()
        };
        let body = framed(&part, 64 << 10);
        let staged = fake.upload_with(body, options).await.unwrap();
        fake.register(&staged).await.unwrap();
        staged.manifest().terms.len()
    };
    let terms = send().await;
    assert_eq!(terms, 3);
    let sent = || fake.cas().xorb_lens.iter().sum::<usize>();
    let first = sent();
    for _ in 0..4 {
        assert_eq!((send().await, sent()), (terms, first));
    }
    // Memory runs out among many at once, and they send what they hold, which is nothing.
    let many = join_all((0..16).map(|_| send())).await;
    assert!(many.iter().all(|count| *count == terms), "{many:?}");
    assert_eq!(sent(), first);
}

#[tokio::test]
async fn a_file_of_shuffled_pieces_is_not_scattered() {
    let fake = Fake::start(ROOMY).await;
    let known = noise(8 * MIB, 1);
    fake.put(&known).await;
    // Pieces of some 256 KiB, each of a few known chunks between two new ones, and without them.
    let piece = |n: usize| known.slice(n * 500_000..n * 500_000 + 256 * 1024);
    let shuffled: Vec<Bytes> = [3, 9, 1, 14, 6, 12, 0, 7].map(piece).to_vec();
    let staged = fake.put(&shuffled.concat().into()).await;
    assert!(
        staged.manifest().terms.len() <= 3,
        "{:?}",
        staged.manifest().terms.len()
    );
}

#[tokio::test]
async fn a_short_match_is_stored_again_rather_than_scattered() {
    let fake = Fake::start(ROOMY).await;
    let known = noise(8 * MIB, 1);
    fake.put(&known).await;
    // A quarter of a MiB of known bytes between new ones.
    let mixed = [
        noise(MIB, 2),
        known.slice(2 * MIB..2 * MIB + 256 * 1024),
        noise(MIB, 3),
    ]
    .concat();
    let staged = fake.put(&mixed.into()).await;
    assert_eq!(staged.manifest().terms.len(), 1);
}

#[tokio::test]
async fn a_vanished_xorb_makes_the_write_unavailable_once() {
    let fake = Fake::start(ROOMY).await;
    let bytes = noise(MIB, 1);
    fake.put(&bytes).await;
    fake.cas().xorbs.clear();
    let staged = fake.upload(&bytes).await.unwrap();
    let refused = fake.register(&staged).await;
    assert!(matches!(
        refused,
        Err(StorageError::Unavailable {
            is_safe_to_retry: false,
            ..
        })
    ));
    fake.calls();
    fake.put(&bytes).await;
    assert_eq!(fake.calls(), ["xorb", "shard v2"]);
}

fn composed(parts: &[Manifest]) -> StagedFile {
    let mut composition = Composition::default();
    for part in parts {
        composition.push(part).unwrap();
    }
    composition.finish()
}

#[tokio::test]
async fn parts_compose_without_any_upload() {
    let fake = Fake::start(ROOMY).await;
    let mut parts: Vec<Bytes> = [5 * MIB, 9 * MIB + 12_345, 1, 0, 3_000_001]
        .iter()
        .zip(1..)
        .map(|(len, seed)| noise(*len, seed))
        .collect();
    // A one-byte part may only be the last but for empty ones, as in a multipart upload.
    parts.swap(2, 4);
    let mut manifests = Vec::new();
    for part in &parts {
        let bytes = fake.upload_part(part).await.to_bytes().unwrap();
        manifests.push(Manifest::from_bytes(&bytes).unwrap());
    }
    fake.calls();
    let whole = composed(&manifests);
    fake.register(&whole).await.unwrap();
    assert_eq!(fake.calls(), ["shard v2"]);
    assert_eq!(fake.content(&whole.hash()).unwrap(), parts.concat());
    // A composition is itself a part.
    let twice = composed(&[manifests[0].clone(), whole.manifest()]);
    fake.register(&twice).await.unwrap();
    let expected = [parts[0].clone(), parts.concat().into()].concat();
    assert_eq!(fake.content(&twice.hash()).unwrap(), expected);
}

#[tokio::test]
async fn nothing_composes_to_the_empty_file() {
    let fake = Fake::start(ROOMY).await;
    let empty = fake.upload_part(&Bytes::new()).await;
    for parts in [vec![], vec![empty.clone(), empty]] {
        let file = composed(&parts);
        assert_eq!((file.hash(), file.size()), (ContentHash::EMPTY, 0));
    }
}

#[tokio::test]
async fn no_part_ends_in_a_short_chunk() {
    let fake = Fake::start(ROOMY).await;
    let mut joined = 0;
    for len in (0..40).map(|n| 700_000 + n * 4321) {
        let bytes = noise(len, 77);
        let part = fake.upload_part(&bytes).await;
        let whole = composed(&[part, fake.upload_part(&bytes).await]);
        // The fake refuses a short chunk between the two.
        fake.register(&whole).await.unwrap();
        assert_eq!(
            fake.content(&whole.hash()).unwrap(),
            [bytes.clone(), bytes.clone()].concat()
        );
        joined += usize::from(
            fake.upload(&bytes).await.unwrap().hash() != fake.upload_part(&bytes).await.hash(),
        );
    }
    assert!(joined > 0, "some tails were short");
}

#[tokio::test]
async fn passing_faults_are_ridden_out() {
    let fake = Fake::start(ROOMY).await;
    fake.cas().faults = [("xorb", 503), ("xorb", 429), ("shard v2", 502)].into();
    fake.cas().shard_lines = [r#"{"type":"error","message":"later","retryable":true}"#].into();
    let bytes = noise(5000, 1);
    let staged = fake.put(&bytes).await;
    assert_eq!(fake.content(&staged.hash()).unwrap(), bytes);
    assert_eq!(
        fake.calls(),
        ["xorb", "xorb", "xorb", "shard v2", "shard v2", "shard v2"]
    );
}

#[tokio::test]
async fn a_fault_that_stays_is_reported_after_five_attempts() {
    let fake = Fake::start(ROOMY).await;
    fake.cas().faults = [("xorb", 500); 9].into();
    let failed = fake.upload(&noise(5000, 1)).await;
    assert!(matches!(
        failed,
        Err(StorageError::Unavailable {
            is_safe_to_retry: false,
            ..
        })
    ));
    assert_eq!(fake.calls(), ["xorb"; 5]);
    assert_eq!(fake.metric("ingest_buffered_bytes"), 0);
}

#[tokio::test]
async fn a_refused_token_is_renewed_once() {
    let fake = Fake::start(ROOMY).await;
    fake.cas().expired_tokens = vec!["cached".into()];
    fake.put(&noise(5000, 1)).await;
    assert_eq!(fake.calls(), ["xorb", "xorb", "shard v2", "shard v2"]);
    fake.cas().expired_tokens = vec!["cached".into(), "fresh".into()];
    assert!(fake.upload(&noise(5000, 2)).await.is_err());
    assert_eq!(fake.calls(), ["xorb", "xorb"]);
}

#[tokio::test]
async fn large_xorbs_go_to_storage_where_that_is_granted() {
    let fake = Fake::start(ROOMY).await;
    fake.cas().offers_grants = true;
    let bytes = noise(9 * MIB, 1);
    let staged = fake.put(&bytes).await;
    assert_eq!(fake.content(&staged.hash()).unwrap(), bytes);
    assert_eq!(fake.calls(), ["grant", "put", "commit", "shard v2"]);
    // Stored already, as far as the CAS can tell; this process forgot.
    fake.client.forget_bucket(&bucket());
    fake.put(&bytes).await;
    assert_eq!(fake.calls(), ["grant", "shard v2"]);
    // A lost answer: the storage has the bytes, and says so with 412.
    fake.cas().faults = [("put", 409), ("commit", 503)].into();
    fake.put(&noise(9 * MIB, 2)).await;
    assert_eq!(
        fake.calls(),
        ["grant", "put", "put", "commit", "commit", "shard v2"]
    );
    // Small ones go directly.
    fake.put(&noise(MIB, 3)).await;
    assert_eq!(fake.calls(), ["xorb", "shard v2"]);
}

#[tokio::test]
async fn a_grant_that_fails_leaves_the_direct_way() {
    let fake = Fake::start(ROOMY).await;
    fake.cas().offers_grants = true;
    fake.cas().faults = [("put", 403)].into();
    fake.put(&noise(9 * MIB, 1)).await;
    assert_eq!(fake.calls(), ["grant", "put", "xorb", "shard v2"]);
}

#[tokio::test]
async fn what_the_cas_does_not_offer_is_asked_for_once() {
    let fake = Fake::start(ROOMY).await;
    fake.cas().lacks_shards_v2 = true;
    fake.put(&noise(9 * MIB, 1)).await;
    assert_eq!(fake.calls(), ["grant", "xorb", "shard v2", "shard v1"]);
    fake.put(&noise(9 * MIB, 2)).await;
    assert_eq!(fake.calls(), ["xorb", "shard v1"]);
}
