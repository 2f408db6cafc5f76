//! The official client is the oracle: what hugbucket writes, it must read, what it writes, hugbucket must read, and both
//! must give the same bytes the same hash.
#![cfg(feature = "devhub")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use bytes::Bytes;
use futures::{FutureExt, stream};
use hugbucket::devhub::{DevHub, DevHubConfig, Route};
use hugbucket::provider::cas::{
    AccessSource, CasAccess, CasClient, CasConfig, Composition, FileRef, SliceSource, UploadOptions,
};
use hugbucket::provider::http::HttpConfig;
use hugbucket::provider::hub::{HubClient, HubConfig, TokenScope};
use hugbucket::storage::{
    BucketId, BucketName, ByteStream, Namespace, ResolvedRange, Secret, Visibility,
};
use hugbucket::telemetry::Metrics;
use xet::xet_session::{Sha256Policy, XetConfig, XetFileInfo, XetSession, XetSessionBuilder};

const MIB: usize = 1 << 20;

/// Far beyond the life of any token, so that the official client never asks for another one.
const NEVER: u64 = 4_102_444_800;

struct Both {
    hub: DevHub,
    ours: CasClient,
    access: AccessSource,
    bucket: BucketId,
    official: XetSession,
    cas: CasAccess,
}

impl Both {
    async fn start(dir: &Path) -> Self {
        let token = Secret::new("hf_dev");
        let hub = DevHub::start(DevHubConfig::new(dir.join("hub"), token.clone(), "acme"))
            .await
            .unwrap();
        let metrics = Metrics::new();
        let config = HubConfig {
            endpoint: hub.url(),
            http: HttpConfig::default(),
        };
        let client = HubClient::new(config, metrics.clone()).unwrap();
        let bucket = BucketId {
            namespace: Namespace::new("acme").unwrap(),
            name: BucketName::new("data").unwrap(),
        };
        client
            .create_bucket(&token, &bucket, Visibility::Private)
            .await
            .unwrap();
        let granted = client
            .xet_access(&token, &bucket, TokenScope::Write, None)
            .await
            .unwrap();
        let cas = CasAccess {
            url: granted.cas_url,
            token: granted.token,
        };
        let fixed = cas.clone();
        let mut official = XetConfig::new();
        official.telemetry.enabled = false;
        Self {
            hub,
            ours: CasClient::new(CasConfig::default(), metrics).unwrap(),
            access: AccessSource::new(Secret::new("").id(), move |_, _| {
                let fixed = fixed.clone();
                async move { Ok(fixed) }.boxed()
            }),
            bucket,
            official: XetSessionBuilder::new_with_config(official)
                .with_cache_dir(dir.join("xet"))
                .build()
                .unwrap(),
            cas,
        }
    }

    /// Uploads and registers with hugbucket's client. Returns the hash.
    async fn put(&self, bytes: &Bytes) -> String {
        let frames: Vec<_> = (0..bytes.len())
            .step_by(100_000)
            .map(|at| Ok(bytes.slice(at..bytes.len().min(at + 100_000))))
            .collect();
        let body = ByteStream::new(stream::iter(frames), Some(bytes.len() as u64));
        let staged = self
            .ours
            .upload(&self.access, &self.bucket, body, UploadOptions::default())
            .await
            .unwrap();
        let hash = staged.hash().to_string();
        self.ours
            .register(&self.access, &self.bucket, vec![staged])
            .await
            .unwrap();
        hash
    }

    /// Reads with hugbucket's client: the whole file, or the range `start..end`.
    async fn our_read(&self, hash: &str, len: usize, range: Option<(usize, usize)>) -> Bytes {
        let file = FileRef {
            hash: hash.parse().unwrap(),
            size: len as u64,
        };
        let range = range.map(|(start, end)| ResolvedRange {
            start: start as u64,
            end: end as u64,
        });
        let body = self.ours.open(&self.access, file, range).await.unwrap();
        body.collect(len).await.unwrap()
    }

    async fn official_read(&self, hash: &str, len: usize) -> Vec<u8> {
        let group = self.official.new_download_stream_group().unwrap();
        let group = group
            .with_endpoint(self.cas.url.as_str().trim_end_matches('/'))
            .with_token_info(self.cas.token.expose(), NEVER)
            .build()
            .await
            .unwrap();
        let file = XetFileInfo::new(hash.to_owned(), len as u64);
        group.download_to_bytes(file, None).await.unwrap()
    }

    async fn official_hash(&self, bytes: &Bytes) -> String {
        let commit = self.official.new_upload_commit().unwrap();
        let commit = commit
            .with_endpoint(self.cas.url.as_str().trim_end_matches('/'))
            .with_token_info(self.cas.token.expose(), NEVER)
            .build()
            .await
            .unwrap();
        let upload = commit
            .upload_bytes(bytes.to_vec(), Sha256Policy::Skip, None)
            .await
            .unwrap();
        let metadata = upload.finalize_ingestion().await.unwrap();
        commit.commit().await.unwrap();
        metadata.xet_info.hash().to_owned()
    }
}

fn noise(len: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(len / 8 + 1).flatten().take(len).collect()
}

/// Every kind of content that takes another way through the upload.
fn contents() -> Vec<Bytes> {
    let unit = noise(3 * MIB, 9);
    let floats = (0..500_000_u32).flat_map(|n| (n as f32).sqrt().to_le_bytes());
    vec![
        Bytes::new(),
        Bytes::from("x"),
        noise(8192, 1),
        noise(300_001, 2),
        noise(70 * MIB + 12_345, 3),
        Bytes::from(vec![0; 9 * MIB]),
        Bytes::from("the quick brown fox jumps over the lazy dog\n".repeat(100_000)),
        floats.collect(),
        [unit.clone(), noise(1000, 4), unit].concat().into(),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_client_reads_what_we_write_and_agrees_on_the_hash() {
    let dir = tempfile::tempdir().unwrap();
    let both = Both::start(dir.path()).await;
    for bytes in contents() {
        let hash = both.put(&bytes).await;
        if !bytes.is_empty() {
            assert!(both.official_read(&hash, bytes.len()).await == bytes);
        }
        assert_eq!(
            both.official_hash(&bytes).await,
            hash,
            "{} bytes",
            bytes.len()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hugbucket_reads_what_the_official_client_writes() {
    let dir = tempfile::tempdir().unwrap();
    let both = Both::start(dir.path()).await;
    for bytes in contents() {
        let (hash, len) = (both.official_hash(&bytes).await, bytes.len());
        assert!(both.our_read(&hash, len, None).await == bytes);
        let ranges = [
            (0, 1),
            (len / 3, len / 2),
            (len / 2, len),
            (len.max(1) - 1, len),
        ];
        for (start, end) in ranges {
            if start < end && end <= len {
                let read = both.our_read(&hash, len, Some((start, end))).await;
                assert!(read == bytes[start..end], "{start}..{end} of {len} bytes");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_client_reads_a_composition() {
    let dir = tempfile::tempdir().unwrap();
    let both = Both::start(dir.path()).await;
    let parts = [
        noise(5 * MIB, 1),
        noise(70 * MIB + 12_345, 2),
        noise(5 * MIB + 1, 3),
        noise(1, 4),
    ];
    let mut manifests = Vec::new();
    for part in &parts {
        let options = UploadOptions {
            is_part: true,
            ..UploadOptions::default()
        };
        let body = ByteStream::from_bytes(part.clone());
        let staged = both
            .ours
            .upload(&both.access, &both.bucket, body, options)
            .await
            .unwrap();
        manifests.push(staged.manifest());
    }
    let mut composition = Composition::default();
    for manifest in &manifests {
        composition.push(manifest).unwrap();
    }
    let whole = composition.finish();
    let hash = whole.hash().to_string();
    both.ours
        .register(&both.access, &both.bucket, vec![whole])
        .await
        .unwrap();
    let expected = parts.concat();
    assert!(both.official_read(&hash, expected.len()).await == expected);
    assert!(both.our_read(&hash, expected.len(), None).await == expected);
}

/// Numbers that depend only on the seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 8).unwrap() % bound
    }

    /// A range of at least `least` bytes, which often begins or ends where the file does.
    fn range(&mut self, len: usize, least: usize) -> (usize, usize) {
        let start = match self.below(3) {
            0 => 0,
            _ => self.below(len - least),
        };
        let end = match self.below(3) {
            0 => len,
            _ => start + least + self.below(len - least - start + 1),
        };
        (start, end)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slices_of_anything_compose_in_any_order() {
    const SHORTEST: usize = 8 << 10;
    const LONGEST: u64 = 128 << 10;
    let dir = tempfile::tempdir().unwrap();
    let mut both = Both::start(dir.path()).await;
    let mut sources = Vec::new();
    for bytes in [
        noise(3 * MIB, 1),
        noise(300_001, 2),
        Bytes::from(vec![0; MIB]),
        Bytes::from("the quick brown fox jumps over the lazy dog\n".repeat(30_000)),
        noise(SHORTEST + 1, 3),
    ] {
        let hash = both.put(&bytes).await;
        sources.push((hash, bytes));
    }
    let mut dice = Dice(77);
    for round in 0..24 {
        if round % 3 == 0 {
            // A client that has written none of this.
            both.ours = CasClient::new(CasConfig::default(), Metrics::new()).unwrap();
        }
        let (mut composition, mut expected) = (Composition::default(), Vec::new());
        let count = 1 + dice.below(4);
        both.hub.calls().reset();
        for n in 0..count {
            let (hash, bytes) = &sources[dice.below(sources.len())];
            let is_last = n + 1 == count;
            let (start, end) = dice.range(bytes.len(), if is_last { 1 } else { SHORTEST });
            let source = SliceSource {
                access: &both.access,
                file: FileRef {
                    hash: hash.parse().unwrap(),
                    size: bytes.len() as u64,
                },
                span: ResolvedRange {
                    start: start as u64,
                    end: end as u64,
                },
            };
            let sliced = both.ours.slice(&source, &both.access, &both.bucket).await;
            let slice = sliced.unwrap().unwrap();
            assert_eq!(slice.size(), (end - start) as u64);
            composition.push_staged(&slice).unwrap();
            expected.extend_from_slice(&bytes[start..end]);
        }
        let sent = both.hub.calls().of(Route::XorbPost).received_bytes;
        assert!(sent <= count as u64 * 5 * LONGEST, "only edges: {sent}");
        let whole = composition.finish();
        let hash = whole.hash().to_string();
        // The CAS refuses chunks below 8 KiB in the interior.
        both.ours
            .register(&both.access, &both.bucket, vec![whole])
            .await
            .unwrap();
        assert!(both.official_read(&hash, expected.len()).await == expected);
        assert!(both.our_read(&hash, expected.len(), None).await == expected);
        if expected.len() > SHORTEST && expected.len() < 12 * MIB {
            sources.push((hash, expected.into()));
        }
    }
}
