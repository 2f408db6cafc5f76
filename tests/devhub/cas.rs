//! Tokens, uploads, reconstructions, and signed addresses.

use hugbucket::devhub::Route;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use xet_core_structures::merklehash::compute_data_hash;

use crate::content::{file_of, shard, unpack, xorb};
use crate::harness::{BUCKET, Hub};

async fn reconstruction(hub: &Hub, version: u8, file: &str, range: &str) -> Response {
    let token = hub.cas_token("read").await;
    let path = format!("/v{version}/reconstructions/{file}");
    let call = hub.cas(Method::GET, &path, &token).header("range", range);
    call.send().await.unwrap()
}

/// Returns the first signed address of a plan of version 2, and its ranges as a header value.
fn signed(plan: &Value, xorb: &str) -> (String, String) {
    let fetch = &plan["xorbs"][xorb][0];
    let ranges: Vec<String> = fetch["ranges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|range| format!("{}-{}", range["bytes"]["start"], range["bytes"]["end"]))
        .collect();
    (
        fetch["url"].as_str().unwrap().to_owned(),
        format!("bytes={}", ranges.join(",")),
    )
}

#[tokio::test]
async fn a_range_needs_one_plan_and_one_fetch_of_exactly_its_chunks() {
    let hub = Hub::start().await;
    let (xorb, file) = hub.upload(1, 6).await;
    hub.server.calls().reset();
    let plan: Value = reconstruction(&hub, 2, &file, "bytes=15000-24999")
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(plan["offset_into_first_range"], 5000);
    assert_eq!(plan["terms"][0]["range"], json!({ "start": 1, "end": 3 }));
    assert_eq!(plan["terms"][0]["unpacked_length"], 20000);
    let (url, range) = signed(&plan, &xorb.hash.hex());
    let fetched = hub
        .client
        .get(&url)
        .header("range", &range)
        .send()
        .await
        .unwrap();
    assert_eq!(fetched.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(
        unpack(&fetched.bytes().await.unwrap())[5000..15000],
        xorb.plain[15000..25000]
    );
    let calls = hub.server.calls();
    assert_eq!(calls.count(Route::Reconstruction), 1);
    assert_eq!(calls.count(Route::XorbGet), 1);
    assert_eq!(calls.total(), 3, "the third one is the read token");
}

#[tokio::test]
async fn version_1_signs_each_range_and_version_2_can_be_withdrawn() {
    let hub = Hub::start().await;
    let (xorb, file) = hub.upload(2, 3).await;
    hub.server.faults().turn(|knobs| knobs.offers_v2 = false);
    assert_eq!(
        reconstruction(&hub, 2, &file, "bytes=0-").await.status(),
        404
    );
    let plan: Value = reconstruction(&hub, 1, &file, "bytes=0-")
        .await
        .json()
        .await
        .unwrap();
    let info = &plan["fetch_info"][xorb.hash.hex()][0];
    let range = format!(
        "bytes={}-{}",
        info["url_range"]["start"], info["url_range"]["end"]
    );
    let url = info["url"].as_str().unwrap();
    let fetched = hub
        .client
        .get(url)
        .header("range", range)
        .send()
        .await
        .unwrap();
    assert_eq!(fetched.bytes().await.unwrap(), xorb.bytes);
}

#[tokio::test]
async fn a_plan_past_the_end_is_416_and_of_an_unknown_file_404() {
    let hub = Hub::start().await;
    let (_, file) = hub.upload(3, 1).await;
    assert_eq!(
        reconstruction(&hub, 2, &file, "bytes=10000-")
            .await
            .status(),
        416
    );
    assert_eq!(
        reconstruction(&hub, 2, &"ab".repeat(32), "bytes=0-")
            .await
            .status(),
        404
    );
}

#[tokio::test]
async fn a_signed_address_opens_its_ranges_and_nothing_else() {
    let hub = Hub::start().await;
    let (xorb, file) = hub.upload(4, 6).await;
    let plan: Value = reconstruction(&hub, 2, &file, "bytes=10000-29999")
        .await
        .json()
        .await
        .unwrap();
    let (url, range) = signed(&plan, &xorb.hash.hex());
    let status = async |url: &str, range: &str| {
        let call = hub.client.get(url).header("range", range);
        call.send().await.unwrap().status()
    };
    assert_eq!(status(&url, &range).await, 206);
    assert_eq!(status(&url, "bytes=0-9").await, 403);
    assert_eq!(hub.client.get(&url).send().await.unwrap().status(), 403);
    let elsewhere = url.replace(&xorb.hash.hex(), &"ab".repeat(32));
    assert_eq!(status(&elsewhere, &range).await, 403);
    let leaking = hub
        .client
        .get(&url)
        .header("range", &range)
        .bearer_auth("hf_main");
    assert_eq!(leaking.send().await.unwrap().status(), 400);
    hub.server.faults().expire_urls();
    assert_eq!(status(&url, &range).await, 403);
}

#[tokio::test]
async fn several_ranges_of_one_address_come_as_parts() {
    let hub = Hub::start().await;
    let xorb = xorb(5, 6);
    hub.post_xorb(&xorb, xorb.bytes.clone()).await;
    // Chunks 0 and 1, then 4 and 5: two terms that do not touch.
    let mut file = file_of(&xorb);
    let hashes: Vec<_> = xorb.chunks.iter().map(|(hash, _)| *hash).collect();
    let range_hash =
        xet_core_structures::metadata_shard::chunk_verification::range_hash_from_chunks;
    let mut late = file.segments[0].clone();
    file.segments[0].chunk_index_end = 2;
    file.segments[0].unpacked_segment_bytes = 20000;
    (late.chunk_index_start, late.unpacked_segment_bytes) = (4, 20000);
    file.segments.push(late);
    file.verification[0].range_hash = range_hash(&hashes[..2]);
    file.verification.push(Default::default());
    file.verification[1].range_hash = range_hash(&hashes[4..]);
    let chunks = [&xorb.chunks[..2], &xorb.chunks[4..]].concat();
    file.metadata.file_hash = xet_core_structures::merklehash::file_hash(&chunks);
    file.metadata.num_entries = 2;
    assert_eq!(
        hub.post_shard(shard(&[&file], &[&xorb])).await.status(),
        200
    );

    let hash = file.metadata.file_hash.hex();
    let plan: Value = reconstruction(&hub, 2, &hash, "bytes=0-")
        .await
        .json()
        .await
        .unwrap();
    let (url, ranges) = signed(&plan, &xorb.hash.hex());
    assert!(ranges.contains(','), "{ranges}");
    let all = hub
        .client
        .get(&url)
        .header("range", &ranges)
        .send()
        .await
        .unwrap();
    let content_type = all.headers()["content-type"].to_str().unwrap().to_owned();
    let parts = xet_client::cas_client::multipart::parse_multipart_byteranges(
        &content_type,
        all.bytes().await.unwrap(),
    );
    let plain: Vec<u8> = parts
        .unwrap()
        .iter()
        .flat_map(|part| unpack(&part.data))
        .collect();
    assert_eq!(plain, [&xorb.plain[..20000], &xorb.plain[40000..]].concat());
    let (_, second) = ranges.split_once(',').unwrap();
    let one = hub
        .client
        .get(&url)
        .header("range", format!("bytes={second}"));
    assert_eq!(
        unpack(&one.send().await.unwrap().bytes().await.unwrap()),
        &xorb.plain[40000..]
    );
}

#[tokio::test]
async fn tokens_are_scoped_and_die_by_command_and_with_their_bucket() {
    let hub = Hub::start().await;
    let xorb = xorb(6, 1);
    let path = format!("/v1/xorbs/default/{}", xorb.hash.hex());
    let upload = async |token: &str| {
        let call = hub.cas(Method::POST, &path, token).body(xorb.bytes.clone());
        call.send().await.unwrap().status()
    };
    assert_eq!(upload("xet_forged.token").await, 401);
    assert_eq!(upload(&hub.cas_token("read").await).await, 403);
    let token = hub.cas_token("write").await;
    assert_eq!(upload(&token).await, 200);
    hub.server.faults().expire_tokens();
    assert_eq!(upload(&token).await, 401);
    let token = hub.cas_token("write").await;
    assert_eq!(upload(&token).await, 200);
    hub.request(Method::DELETE, BUCKET).send().await.unwrap();
    hub.request(Method::POST, BUCKET).send().await.unwrap();
    assert_eq!(upload(&token).await, 401);
}

#[tokio::test]
async fn a_xorb_that_is_not_what_it_says_is_refused_and_not_stored() {
    let hub = Hub::start().await;
    let (good, other) = (xorb(7, 4), xorb(8, 4));
    let mut flipped = good.bytes.clone();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    let cut = good.bytes[..last].to_vec();
    let with_tail = [good.bytes.as_slice(), b"tail"].concat();
    for bad in [other.bytes, flipped, cut, with_tail] {
        assert_eq!(
            hub.post_xorb(&good, bad).await.status(),
            StatusCode::BAD_REQUEST
        );
    }
    let token = hub.cas_token("read").await;
    let path = format!("/v1/xorbs/default/{}", good.hash.hex());
    let head = hub.cas(Method::HEAD, &path, &token).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::NOT_FOUND);
    let inserted = async || {
        let answer: Value = hub
            .post_xorb(&good, good.bytes.clone())
            .await
            .json()
            .await
            .unwrap();
        answer["was_inserted"].clone()
    };
    assert_eq!(
        (inserted().await, inserted().await),
        (json!(true), json!(false))
    );
    assert_eq!(
        std::fs::read_dir(hub.dir.path().join("incoming"))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test]
async fn a_shard_that_lies_is_refused() {
    let hub = Hub::start().await;
    let (stored, missing) = (xorb(9, 3), xorb(10, 3));
    hub.post_xorb(&stored, stored.bytes.clone()).await;
    let right = file_of(&stored);
    let with = |change: fn(&mut xet_core_structures::metadata_shard::file_structs::MDBFileInfo)| {
        let mut file = right.clone();
        change(&mut file);
        shard(&[&file], &[&stored])
    };
    let lies = [
        ("missing xorb", shard(&[], &[&missing])),
        ("missing xorb of a term", shard(&[&file_of(&missing)], &[])),
        (
            "file hash",
            with(|file| file.metadata.file_hash = compute_data_hash(b"other")),
        ),
        (
            "verification",
            with(|file| file.verification[0].range_hash = compute_data_hash(b"other")),
        ),
        (
            "length",
            with(|file| file.segments[0].unpacked_segment_bytes += 1),
        ),
        ("range", with(|file| file.segments[0].chunk_index_end += 1)),
        ("garbage", b"not a shard at all".to_vec()),
    ];
    for (lie, shard) in lies {
        assert_eq!(
            hub.post_shard(shard).await.status(),
            StatusCode::BAD_REQUEST,
            "{lie}"
        );
    }
    assert_eq!(
        hub.post_shard(shard(&[&right], &[&stored])).await.status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn version_2_of_shards_ends_with_a_verdict() {
    let hub = Hub::start().await;
    let stored = xorb(11, 2);
    hub.post_xorb(&stored, stored.bytes.clone()).await;
    let token = hub.cas_token("write").await;
    let last = async |body: Vec<u8>| {
        let call = hub.cas(Method::POST, "/v2/shards", &token).body(body);
        let text = call.send().await.unwrap().text().await.unwrap();
        serde_json::from_str::<Value>(text.lines().last().unwrap()).unwrap()
    };
    let right = shard(&[&file_of(&stored)], &[&stored]);
    assert_eq!(last(right).await, json!({ "type": "result" }));
    let wrong = last(shard(&[], &[&xorb(12, 1)])).await;
    assert_eq!(
        (&wrong["type"], &wrong["retryable"]),
        (&json!("error"), &json!(false))
    );
}

#[tokio::test]
async fn short_chunks_within_a_file_are_refused_unless_allowed() {
    use xet_core_structures::xorb_object::{CompressionScheme, serialize_chunk};
    let hub = Hub::start().await;
    let mut short = xorb(13, 0);
    for chunk in [b"short".as_slice(), b"also short"] {
        serialize_chunk(chunk, &mut short.bytes, CompressionScheme::None).unwrap();
        short
            .chunks
            .push((compute_data_hash(chunk), chunk.len() as u64));
        short.plain.extend_from_slice(chunk);
    }
    short.hash = xet_core_structures::merklehash::xorb_hash(&short.chunks);
    assert_eq!(
        hub.post_xorb(&short, short.bytes.clone()).await.status(),
        200
    );
    let shard = shard(&[&file_of(&short)], &[&short]);
    assert_eq!(hub.post_shard(shard.clone()).await.status(), 400);
    hub.server
        .faults()
        .turn(|knobs| knobs.refuses_short_chunks = false);
    assert_eq!(hub.post_shard(shard).await.status(), 200);
}

#[tokio::test]
async fn the_first_chunk_of_a_file_is_offered_for_deduplication() {
    use xet_core_structures::metadata_shard::streaming_shard::MDBMinimalShard;
    let hub = Hub::start().await;
    let (xorb, _) = hub.upload(14, 3).await;
    let token = hub.cas_token("read").await;
    let query = async |hash: String| {
        let call = hub.cas(Method::GET, &format!("/v1/chunks/default/{hash}"), &token);
        call.send().await.unwrap()
    };
    let known = query(xorb.chunks[0].0.hex()).await.bytes().await.unwrap();
    let shard = MDBMinimalShard::from_reader(&mut known.as_ref(), true, true).unwrap();
    let view = shard.xorb(0).unwrap();
    assert_eq!((view.xorb_hash(), view.num_entries()), (xorb.hash, 3));
    assert_eq!(query("ab".repeat(32)).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_granted_upload_becomes_a_xorb_only_when_committed() {
    let hub = Hub::start().await;
    let xorb = xorb(15, 5);
    let token = hub.cas_token("write").await;
    let hex = xorb.hash.hex();
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, &xorb.bytes);
    let asked = json!({ "length": xorb.bytes.len(),
                        "checksum": { "algo": "crc64nvme", "value": crc.to_string() } });
    let ask = async || {
        let path = format!("/v1/xorb-grants/default/{hex}");
        hub.cas(Method::POST, &path, &token)
            .json(&asked)
            .send()
            .await
            .unwrap()
    };
    let granted = ask().await;
    assert_eq!(granted.status(), StatusCode::CREATED);
    let grant: Value = granted.json().await.unwrap();
    let put = async |body: Vec<u8>| {
        let call = hub.client.put(grant["url"].as_str().unwrap());
        call.header("if-none-match", "*")
            .body(body)
            .send()
            .await
            .unwrap()
            .status()
    };
    let id = grant["id"].as_str().unwrap();
    let commit = async || {
        let path = format!("/v1/xorb-commits/default/{hex}/grant/{id}");
        hub.cas(Method::POST, &path, &token)
            .send()
            .await
            .unwrap()
            .status()
    };
    assert_eq!(commit().await, StatusCode::NOT_FOUND);
    assert_eq!(
        put(xorb.bytes[..xorb.bytes.len() - 1].to_vec()).await,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(put(xorb.bytes.clone()).await, StatusCode::OK);
    assert_eq!(
        put(xorb.bytes.clone()).await,
        StatusCode::PRECONDITION_FAILED
    );
    assert_eq!(ask().await.status(), StatusCode::CREATED, "not a xorb yet");
    assert_eq!(commit().await, StatusCode::OK);
    assert_eq!(ask().await.status(), StatusCode::OK, "exists");
    hub.server
        .faults()
        .turn(|knobs| knobs.offers_grants = false);
    assert_eq!(ask().await.status(), StatusCode::NOT_FOUND);
}
