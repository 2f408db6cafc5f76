//! Reads against a fake CAS over real HTTP: what arrives, and what it costs upstream.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::StatusCode;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, future};
use proptest::prelude::Rng;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::Semaphore;
use xet_core_structures::xorb_object::CompressionScheme;

use crate::provider::cas::access::{AccessSource, CasAccess};
use crate::provider::cas::client::{CasClient, CasConfig};
use crate::provider::cas::download::FileRef;
use crate::provider::cas::download::fake_cas::{FRAME_BYTES, FakeCas};
use crate::provider::http::HttpConfig;
use crate::storage::{ResolvedRange, Secret, StorageError};
use crate::telemetry::Metrics;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

pub(super) fn client(adjust: impl FnOnce(&mut CasConfig)) -> CasClient {
    let mut config = CasConfig {
        http: HttpConfig {
            uses_env_proxy: false,
            min_backoff: Duration::from_millis(1),
            max_backoff: Duration::from_millis(2),
            ..HttpConfig::default()
        },
        ..CasConfig::default()
    };
    adjust(&mut config);
    CasClient::new(config, Metrics::new()).unwrap()
}

/// Chunks of 40 to 100 KiB that differ from each other and compress a little.
pub(super) fn chunks(count: usize, seed: u64) -> Vec<Vec<u8>> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut noise = vec![0; 100 * KIB];
    random.fill_bytes(&mut noise[..30 * KIB]);
    let chunk = |index: usize| {
        let mut bytes = noise[..random.random_range(40 * KIB..100 * KIB)].to_vec();
        bytes[..8].copy_from_slice(&index.to_le_bytes());
        bytes
    };
    (0..count).map(chunk).collect()
}

pub(super) async fn read(
    cas: &CasClient,
    fake: &FakeCas,
    file: FileRef,
    range: Option<(u64, u64)>,
) -> Result<Bytes, StorageError> {
    let range = range.map(|(start, end)| ResolvedRange { start, end });
    let body = cas.open(&fake.access(), file, range).await?;
    let len_bytes = body.len_bytes().unwrap();
    let bytes = body.collect(1 << 30).await?;
    assert_eq!(bytes.len() as u64, len_bytes);
    Ok(bytes)
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

/// A file of `count` chunks of about 70 KiB in one xorb.
fn stored(fake: &FakeCas, count: usize) -> (FileRef, Vec<u8>) {
    fake.store(&chunks(count, 7), CompressionScheme::None, 0..count)
}

#[tokio::test]
async fn every_scheme_and_any_range_read_back_the_same() {
    let fake = FakeCas::start().await;
    let mut files = Vec::new();
    let mut content = Vec::new();
    for (seed, scheme) in [
        (1, CompressionScheme::None),
        (2, CompressionScheme::LZ4),
        (3, CompressionScheme::ByteGrouping4LZ4),
    ] {
        let (file, bytes) = fake.store(&chunks(70, seed), scheme, 0..70);
        files.push(file);
        content.extend(bytes);
    }
    let file = fake.join(&files);
    let size = file.size;
    for uses_cache in [true, false] {
        let cas = client(|config| {
            config.xorb_cache_max_bytes = if uses_cache { 512 << 20 } else { 0 };
        });
        assert_eq!(read(&cas, &fake, file, None).await.unwrap(), content);
        let third = size / 3;
        for (start, end) in [
            (0, 1),
            (size - 1, size),
            (third - 9, 2 * third + 9),
            (0, size),
        ] {
            let bytes = read(&cas, &fake, file, Some((start, end))).await.unwrap();
            assert_eq!(bytes, content[index(start)..index(end)], "{start}-{end}");
        }
    }
}

#[tokio::test]
async fn an_empty_file_is_never_fetched_and_a_range_outside_is_refused() {
    let fake = FakeCas::start().await;
    let cas = client(|_| ());
    let empty = FileRef {
        hash: crate::storage::ContentHash::EMPTY,
        size: 0,
    };
    assert_eq!(read(&cas, &fake, empty, None).await.unwrap(), "");
    let (file, _) = stored(&fake, 1);
    let outside = read(&cas, &fake, file, Some((file.size, file.size + 1))).await;
    assert_eq!(outside.unwrap_err().outcome(), "invalid_range");
    let state = fake.asked();
    assert_eq!(
        (state.v2_calls, state.v1_calls, state.xorb_calls),
        (0, 0, 0)
    );
}

#[tokio::test]
async fn a_cold_small_read_makes_two_calls_and_a_warm_one_none() {
    let fake = FakeCas::start().await;
    let cas = client(|_| ());
    let (file, content) = stored(&fake, 4);
    for _ in 0..3 {
        assert_eq!(read(&cas, &fake, file, None).await.unwrap(), content);
        let state = fake.asked();
        assert_eq!((state.v2_calls, state.xorb_calls), (1, 1));
    }
    let metrics = cas.0.metrics.render();
    assert!(metrics.contains(r#"cache_requests_total{cache="xorb",result="hit"} 2"#));
    assert!(metrics.contains(r#"cache_requests_total{cache="xorb",result="miss"} 1"#));
    assert!(metrics.contains(r#"cache_requests_total{cache="reconstruction",result="hit"} 2"#));
    assert!(metrics.contains(r#"upstream_received_bytes_total{target="xorb"}"#));
}

#[tokio::test]
async fn a_plan_counts_for_the_reader_alone_that_asked_for_it() {
    let fake = FakeCas::start().await;
    let cas = client(|_| ());
    let (file, content) = stored(&fake, 4);
    assert_eq!(read(&cas, &fake, file, None).await.unwrap(), content);
    for _ in 0..2 {
        let body = cas.open(&fake.access_of("other"), file, None).await;
        let bytes = body.unwrap().collect(1 << 30).await.unwrap();
        assert_eq!(bytes, content);
        let asked = fake.asked();
        assert_eq!(
            (asked.v2_calls, asked.xorb_calls),
            (2, 1),
            "below its own plan, the bytes are shared"
        );
    }
    // A reader who gets no plan gets no byte either, whatever is in memory.
    fake.lock().token = "t9".into();
    let refusing = AccessSource::new(Secret::new("spy").id(), {
        let url = fake.url.clone();
        move |_, _| {
            let access = CasAccess {
                url: url.clone(),
                token: Secret::new("wrong"),
            };
            future::ready(Ok(access)).boxed()
        }
    });
    assert!(cas.open(&refusing, file, None).await.is_err());
}

#[tokio::test]
async fn many_cold_readers_of_one_small_object_fetch_its_bytes_once() {
    let fake = FakeCas::start().await;
    let gate = Arc::new(Semaphore::new(0));
    fake.lock().gate = Some((0, gate.clone()));
    let (file, content) = stored(&fake, 4);
    for cache in [512 << 20, 0] {
        let cas = client(|config| config.xorb_cache_max_bytes = cache);
        let calls = fake.asked().xorb_calls;
        let readers = future::join_all((0..64).map(|_| read(&cas, &fake, file, None)));
        let open_gate = async {
            while fake.asked().xorb_calls == calls {
                tokio::task::yield_now().await;
            }
            // All readers have the plan, and wait for the bytes that one of them fetches.
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
            gate.add_permits(100);
        };
        let (read, ()) = future::join(readers, open_gate).await;
        assert!(read.into_iter().all(|bytes| bytes.unwrap() == content));
        assert_eq!(fake.asked().xorb_calls, calls + 1);
        gate.forget_permits(100);
    }
}

/// Reads the file sixteen times at once, with a client whose cache is large enough.
async fn read_by_many(fake: &FakeCas, file: FileRef, content: &[u8]) -> CasClient {
    let cas = client(|_| ());
    let readers = (0..16).map(|_| read(&cas, fake, file, None));
    for bytes in future::join_all(readers).await {
        assert!(bytes.unwrap() == content);
    }
    cas
}

#[tokio::test]
async fn many_cold_readers_of_one_large_object_fetch_its_bytes_once() {
    let fake = FakeCas::start().await;
    let (file, content) = stored(&fake, 300);
    let cas = read_by_many(&fake, file, &content).await;
    let fetched = fake.asked().xorb_bytes;
    // Each chunk has a header, and windows share the chunks at their borders.
    let most = content.len() as u64 * 103 / 100;
    assert!(fetched <= most, "{fetched} of {}", content.len());
    assert!(cas.0.download.fetches.is_empty());
}

#[tokio::test]
async fn readers_who_share_a_fetch_that_is_cut_all_go_on() {
    let fake = FakeCas::start().await;
    let (file, content) = stored(&fake, 100);
    fake.lock().cuts.extend([3_000_000, 0, 1_000_000]);
    let cas = read_by_many(&fake, file, &content).await;
    assert!(cas.0.download.fetches.is_empty());
}

#[tokio::test]
async fn a_reader_goes_on_alone_when_the_cache_gives_up_what_others_fetched() {
    let fake = FakeCas::start().await;
    let (file, content) = stored(&fake, 100);
    let cas = client(|_| ());
    let readers = future::join_all((0..8).map(|_| read(&cas, &fake, file, None)));
    let forget = async {
        loop {
            cas.0.xorb_cache.clear();
            tokio::task::yield_now().await;
        }
    };
    let read = tokio::select! {
        read = readers => read,
        () = forget => unreachable!("it forgets for ever"),
    };
    assert!(read.into_iter().all(|bytes| bytes.unwrap() == content));
}

#[tokio::test]
async fn a_shared_fetch_stops_when_all_its_readers_have_left() {
    let fake = FakeCas::start().await;
    let gate = Arc::new(Semaphore::new(0));
    fake.lock().gate = Some((FRAME_BYTES, gate.clone()));
    let (file, _) = stored(&fake, 100);
    let cas = client(|_| ());
    let readers = future::join_all((0..3).map(|_| read(&cas, &fake, file, None)));
    let fetching = async {
        while cas.0.download.fetches.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = readers => unreachable!("the bytes are held back"),
        () = fetching => {}
    }
    gate.add_permits(10_000);
    while !cas.0.download.fetches.is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_cold_short_range_of_a_large_object_fetches_only_its_chunks() {
    let fake = FakeCas::start().await;
    let (file, content) = stored(&fake, 900);
    assert!(file.size > 60 * MIB as u64);
    let cas = client(|_| ());
    let middle = file.size / 2;
    let bytes = read(&cas, &fake, file, Some((middle, middle + 1024))).await;
    assert_eq!(bytes.unwrap(), content[index(middle)..][..1024]);
    let state = fake.asked();
    assert!(state.xorb_bytes < 256 * KIB as u64, "{}", state.xorb_bytes);
    assert_eq!((state.v2_calls, state.xorb_calls), (1, 1));
}

#[tokio::test]
async fn the_first_byte_leaves_before_the_second_chunk_has_arrived() {
    let fake = FakeCas::start().await;
    let gate = Arc::new(Semaphore::new(0));
    fake.lock().gate = Some((150_000, gate.clone()));
    let (file, content) = stored(&fake, 40);
    let cas = client(|config| config.xorb_cache_max_bytes = 0);
    let mut body = cas.open(&fake.access(), file, None).await.unwrap();
    let first = body.next().await.unwrap().unwrap();
    assert_eq!(first, content[..first.len()]);
    assert!(fake.asked().xorb_bytes <= 150_000);
    gate.add_permits(10_000);
    let rest = body.collect(1 << 30).await;
    assert_eq!(rest.unwrap(), content[first.len()..]);
}

#[tokio::test]
async fn a_cut_stream_goes_on_at_the_last_delivered_byte() {
    let fake = FakeCas::start().await;
    let (file, content) = stored(&fake, 100);
    for cache in [0, 512 << 20] {
        let cas = client(|config| config.xorb_cache_max_bytes = cache);
        fake.lock().cuts = [2_000_000, 500_000, 50_000].into();
        let before = fake.asked().xorb_bytes;
        assert_eq!(read(&cas, &fake, file, None).await.unwrap(), content);
        let fetched = fake.asked().xorb_bytes - before;
        assert!(fetched < file.size + 3 * 400 * KIB as u64, "{fetched}");
        assert!(fake.lock().cuts.is_empty());
        let metrics = cas.0.metrics.render();
        assert!(metrics.contains(r#"upstream_retries_total{reason="reset",target="xorb"} 3"#));
    }
}

#[tokio::test]
async fn a_stream_that_is_always_cut_ends_with_an_error() {
    let fake = FakeCas::start().await;
    let (file, _) = stored(&fake, 100);
    fake.lock().cuts = vec![50_000; 50].into();
    let cas = client(|_| ());
    let error = read(&cas, &fake, file, None).await.unwrap_err();
    assert_eq!(error.outcome(), "unavailable");
    assert_eq!(fake.asked().xorb_calls, 5);
}

#[tokio::test]
async fn an_expired_address_is_renewed_once() {
    let fake = FakeCas::start().await;
    let (file, content) = stored(&fake, 4);
    let cas = client(|config| config.xorb_cache_max_bytes = 0);
    assert_eq!(read(&cas, &fake, file, None).await.unwrap(), content);
    fake.lock().least_signature = 1;
    assert_eq!(read(&cas, &fake, file, None).await.unwrap(), content);
    assert_eq!(fake.asked().v2_calls, 2);
    // The renewed one is kept.
    assert_eq!(read(&cas, &fake, file, None).await.unwrap(), content);
    assert_eq!((fake.asked().v2_calls, fake.asked().xorb_calls), (2, 4));
}

#[tokio::test]
async fn terms_outlive_their_addresses() {
    let fake = FakeCas::start().await;
    let (file, content) = stored(&fake, 4);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    // Within the margin of a minute, so that they are never used twice.
    fake.lock().expires = Some(now.as_secs() + 30);
    for (cache, calls) in [(512 << 20, 1), (0, 2)] {
        let cas = client(|config| config.xorb_cache_max_bytes = cache);
        let before = fake.asked();
        for _ in 0..2 {
            assert_eq!(read(&cas, &fake, file, None).await.unwrap(), content);
        }
        let asked = fake.asked();
        assert_eq!(asked.v2_calls - before.v2_calls, calls);
        assert_eq!(asked.xorb_calls - before.xorb_calls, calls);
    }
}

#[tokio::test]
async fn a_storage_that_refuses_every_address_is_asked_twice() {
    let fake = FakeCas::start().await;
    let (file, _) = stored(&fake, 4);
    fake.lock().refuses_all = true;
    let cas = client(|_| ());
    let error = read(&cas, &fake, file, None).await.unwrap_err();
    assert_eq!(error.outcome(), "unavailable");
    let asked = fake.asked();
    assert_eq!((asked.v2_calls, asked.xorb_calls), (2, 2));
}

#[tokio::test]
async fn a_refused_token_is_renewed_once() {
    let fake = FakeCas::start().await;
    let (file, content) = stored(&fake, 2);
    fake.lock().token = "t1".into();
    let cas = client(|_| ());
    assert_eq!(read(&cas, &fake, file, None).await.unwrap(), content);
    assert_eq!((fake.asked().renewals, fake.asked().v2_calls), (1, 2));
}

#[tokio::test]
async fn the_first_version_is_used_where_the_second_is_missing_and_that_is_remembered() {
    for status in [StatusCode::NOT_FOUND, StatusCode::NOT_IMPLEMENTED] {
        let fake = FakeCas::start().await;
        fake.lock().v2_status = Some(status);
        let (file, content) = stored(&fake, 2);
        let cas = client(|config| config.recon_cache_max_entries = 0);
        for _ in 0..2 {
            assert_eq!(read(&cas, &fake, file, None).await.unwrap(), content);
        }
        assert_eq!((fake.asked().v2_calls, fake.asked().v1_calls), (1, 2));
    }
}

#[tokio::test]
async fn an_unknown_file_says_nothing_of_versions() {
    let fake = FakeCas::start().await;
    let (file, content) = stored(&fake, 2);
    let unknown = FileRef {
        hash: "00000000000000010000000000000002000000000000000300000000000000ff"
            .parse()
            .unwrap(),
        size: 5,
    };
    let cas = client(|_| ());
    let error = read(&cas, &fake, unknown, None).await.unwrap_err();
    assert_eq!(error.outcome(), "internal");
    assert_eq!(read(&cas, &fake, file, None).await.unwrap(), content);
    assert_eq!((fake.asked().v2_calls, fake.asked().v1_calls), (2, 1));
}

#[tokio::test]
async fn other_content_than_asked_for_ends_with_an_error_and_is_not_kept() {
    let fake = FakeCas::start().await;
    for count in [4, 200] {
        let (file, content) = fake.store(&chunks(count, 9), CompressionScheme::None, 0..count);
        let cas = client(|_| ());
        fake.corrupt();
        let mut body = match cas.open(&fake.access(), file, None).await {
            Ok(body) => body,
            Err(error) => panic!("the first piece is right: {error}"),
        };
        let (mut delivered, mut error) = (0, None);
        while let Some(piece) = body.next().await {
            match piece {
                Ok(piece) => delivered += piece.len() as u64,
                Err(found) => error = Some(found),
            }
        }
        assert_eq!(error.unwrap().outcome(), "internal");
        assert!(delivered < file.size, "the last piece is held back");
        fake.corrupt();
        assert_eq!(read(&cas, &fake, file, None).await.unwrap(), content);
    }
}

#[tokio::test]
async fn a_part_of_a_small_file_is_checked_with_the_whole_of_it() {
    let fake = FakeCas::start().await;
    let (file, content) = fake.store(&chunks(8, 9), CompressionScheme::None, 0..8);
    assert!(file.size <= MIB as u64);
    // Within the first chunk, across two, at the end, and all but the first and the last byte.
    let spans = [
        (5, 1005),
        (30_000, 110_000),
        (file.size - 9, file.size),
        (1, file.size - 1),
    ];
    fake.corrupt();
    for span in spans {
        let wrong = read(&client(|_| ()), &fake, file, Some(span)).await;
        assert_eq!(wrong.unwrap_err().outcome(), "internal", "{span:?}");
    }
    fake.corrupt();
    for (start, end) in spans {
        let right = read(&client(|_| ()), &fake, file, Some((start, end))).await;
        assert_eq!(right.unwrap(), content[index(start)..index(end)]);
    }
}

#[tokio::test]
async fn a_file_that_repeats_a_chunk_fetches_it_once() {
    let fake = FakeCas::start().await;
    let chunk = vec![vec![5; 100 * KIB]];
    let (file, content) = fake.store(&chunk, CompressionScheme::LZ4, [0; 60]);
    let cas = client(|config| config.xorb_cache_max_bytes = 0);
    assert_eq!(read(&cas, &fake, file, None).await.unwrap(), content);
    assert_eq!(fake.asked().xorb_calls, 1);
}

#[tokio::test]
async fn a_large_object_neither_uses_nor_flushes_the_cache() {
    let fake = FakeCas::start().await;
    let cas = client(|config| config.xorb_cache_max_bytes = 4 << 20);
    let (small, small_content) = fake.store(&chunks(4, 1), CompressionScheme::None, 0..4);
    let (large, _) = fake.store(&chunks(200, 2), CompressionScheme::None, 0..200);
    assert_eq!(read(&cas, &fake, small, None).await.unwrap(), small_content);
    read(&cas, &fake, large, None).await.unwrap();
    let calls = fake.asked().xorb_calls;
    assert_eq!(read(&cas, &fake, small, None).await.unwrap(), small_content);
    assert_eq!(fake.asked().xorb_calls, calls);
    let metrics = cas.0.metrics.render();
    assert!(metrics.contains(r#"cache_evictions_total{cache="xorb"} 0"#));
}

#[tokio::test]
async fn streams_go_on_when_the_budget_is_exhausted() {
    let fake = FakeCas::start().await;
    let (file, content) = stored(&fake, 300);
    let cas = client(|config| {
        config.lookahead_max_bytes = 0;
        config.xorb_cache_max_bytes = 0;
    });
    let readers = (0..4).map(|_| read(&cas, &fake, file, None));
    for bytes in future::join_all(readers).await {
        assert_eq!(bytes.unwrap(), content);
    }
}

#[tokio::test]
async fn the_first_piece_can_leave_before_others_are_taken() {
    let fake = FakeCas::start().await;
    let (file, _) = stored(&fake, 20);
    let cas = client(|_| ());
    // Once read, everything is in the cache, and no piece has to be waited for.
    read(&cas, &fake, file, None).await.unwrap();
    let mut body = cas.open(&fake.access(), file, None).await.unwrap();
    assert!(body.next().now_or_never().is_some());
    assert!(body.next().now_or_never().is_none());
    assert!(body.next().await.is_some());
}

#[tokio::test]
async fn a_reader_that_stops_holds_no_more_than_its_look_ahead() {
    let fake = FakeCas::start().await;
    let (file, _) = stored(&fake, 900);
    let cas = client(|config| config.xorb_cache_max_bytes = 0);
    let mut body = cas.open(&fake.access(), file, None).await.unwrap();
    body.next().await.unwrap().unwrap();
    let mut fetched = 0;
    // The pace of the fake's frames is its own; it has stopped once nothing moves over many turns.
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_millis(1)).await;
        fetched = fake.asked().xorb_bytes;
    }
    // Three windows of 8 MiB, which is what a lone stream begins with, and what their sockets hold; the file has 60 MiB.
    assert!(fetched < 42 * MIB as u64, "{fetched}");
    drop(body);
    tokio::task::yield_now().await;
    assert_eq!(
        cas.0
            .download
            .try_reserve(256 << 20)
            .map(|p| p.num_permits()),
        Some(256 << 20)
    );
}

#[tokio::test]
async fn an_address_elsewhere_is_not_followed() {
    let fake = FakeCas::start().await;
    let (file, _) = stored(&fake, 2);
    fake.lock().address = Some("file://".into());
    let cas = client(|_| ());
    let error = read(&cas, &fake, file, None).await.unwrap_err();
    assert_eq!(error.outcome(), "unavailable");
    assert_eq!(fake.asked().xorb_calls, 0);
}
