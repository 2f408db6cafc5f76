//! A CAS in memory that believes nothing: it recomputes every hash, and refuses what is not there.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{post, put};
use crc_fast::CrcAlgorithm;
use futures::FutureExt;
use serde_json::{Value, json};
use xet_core_structures::merklehash::{MerkleHash, compute_data_hash, file_hash};
use xet_core_structures::metadata_shard::MDBShardFileHeader;
use xet_core_structures::metadata_shard::chunk_verification::range_hash_from_chunks;
use xet_core_structures::metadata_shard::file_structs::MDBFileInfo;
use xet_core_structures::metadata_shard::xorb_structs::MDBXorbInfo;
use xet_core_structures::xorb_object::{deserialize_chunks, reconstruct_xorb_with_footer};

use crate::provider::cas::{AccessSource, CasAccess, CasClient, CasConfig};
use crate::storage::{BucketId, BucketName, Namespace, Secret};
use crate::telemetry::Metrics;

/// Chunks of a xorb, decompressed.
type Chunks = Vec<Bytes>;

/// What the fake holds, what it was asked, and how it is to misbehave.
#[derive(Default)]
pub(super) struct Cas {
    pub(super) xorbs: BTreeMap<MerkleHash, Chunks>,
    pub(super) xorb_lens: Vec<usize>,
    pub(super) files: BTreeMap<MerkleHash, Bytes>,
    pub(super) shards: Vec<Bytes>,
    /// Paths, without hashes and ids.
    pub(super) calls: Vec<&'static str>,
    /// Statuses to answer with instead, by call.
    pub(super) faults: VecDeque<(&'static str, u16)>,
    /// Lines to answer `/v2/shards` with instead.
    pub(super) shard_lines: VecDeque<&'static str>,
    pub(super) offers_grants: bool,
    pub(super) lacks_shards_v2: bool,
    pub(super) expired_tokens: Vec<String>,
    grants: Vec<(Value, Option<Bytes>)>,
}

#[derive(Clone)]
pub(super) struct Fake {
    state: Arc<Mutex<Cas>>,
    pub(super) client: CasClient,
    pub(super) access: AccessSource,
    pub(super) metrics: Metrics,
}

impl Fake {
    pub(super) async fn start(ingest_max_bytes: u64) -> Self {
        let state = Arc::new(Mutex::new(Cas::default()));
        let app = Router::new()
            .route("/v1/xorbs/default/{hash}", post(post_xorb))
            .route("/v1/xorb-grants/default/{hash}", post(post_grant))
            .route("/granted/{id}", put(put_granted))
            .route(
                "/v1/xorb-commits/default/{hash}/grant/{id}",
                post(post_commit),
            )
            .route("/v1/shards", post(post_shard_v1))
            .route("/v2/shards", post(post_shard_v2))
            .layer(DefaultBodyLimit::disable())
            .with_state(state.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let access = AccessSource::new(Secret::new("").id(), move |_, stale: Option<CasAccess>| {
            let token = if stale.is_some() { "fresh" } else { "cached" };
            let access = CasAccess {
                url: url.parse().unwrap(),
                token: Secret::new(token),
            };
            async move { Ok(access) }.boxed()
        });
        let metrics = Metrics::new();
        let config = CasConfig {
            ingest_max_bytes,
            ..CasConfig::default()
        };
        Self {
            state,
            client: CasClient::new(config, metrics.clone()).unwrap(),
            access,
            metrics,
        }
    }

    pub(super) fn cas(&self) -> MutexGuard<'_, Cas> {
        self.state.lock().unwrap()
    }

    /// Returns a gauge or counter without labels.
    pub(super) fn metric(&self, name: &str) -> u64 {
        let text = self.metrics.render();
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("hugbucket_{name} ")));
        line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
    }
}

pub(super) fn bucket() -> BucketId {
    BucketId {
        namespace: Namespace::new("acme").unwrap(),
        name: BucketName::new("data").unwrap(),
    }
}

impl Cas {
    /// Notes a call. Returns the answer if it is a fault.
    fn enter(&mut self, call: &'static str, headers: Option<&HeaderMap>) -> Result<(), StatusCode> {
        self.calls.push(call);
        if self.faults.front().is_some_and(|(of, _)| *of == call) {
            let (_, status) = self.faults.pop_front().unwrap();
            return Err(StatusCode::from_u16(status).unwrap());
        }
        let Some(headers) = headers else {
            return Ok(());
        };
        let token = headers["authorization"]
            .to_str()
            .unwrap()
            .strip_prefix("Bearer ")
            .unwrap();
        if self.expired_tokens.iter().any(|expired| expired == token) {
            return Err(StatusCode::UNAUTHORIZED);
        }
        Ok(())
    }

    fn store(&mut self, hash: &str, body: &[u8]) -> StatusCode {
        let (_, computed) = reconstruct_xorb_with_footer(&mut Vec::new(), body).unwrap();
        if computed.hex() != hash {
            return StatusCode::BAD_REQUEST;
        }
        let (data, borders) = deserialize_chunks(&mut &body[..]).unwrap();
        let data = Bytes::from(data);
        let chunks = borders
            .windows(2)
            .map(|pair| data.slice(pair[0] as usize..pair[1] as usize));
        self.xorbs.insert(computed, chunks.collect());
        self.xorb_lens.push(body.len());
        StatusCode::OK
    }

    fn register(&mut self, shard: &Bytes) -> Result<(), String> {
        let mut rest = &shard[..];
        let header = MDBShardFileHeader::deserialize(&mut rest).unwrap();
        assert_eq!(header.footer_size, 0);
        let mut named = Vec::new();
        while let Some(file) = MDBFileInfo::deserialize(&mut rest).unwrap() {
            let content = self.content(&file)?;
            named.push((file.metadata.file_hash, content));
        }
        while let Some(xorb) = MDBXorbInfo::deserialize(&mut rest).unwrap() {
            let chunks = self
                .xorbs
                .get(&xorb.metadata.xorb_hash)
                .ok_or("missing xorb")?;
            for (chunk, entry) in chunks.iter().zip(&xorb.chunks) {
                assert_eq!(compute_data_hash(chunk), entry.chunk_hash);
                assert_eq!(chunk.len(), entry.unpacked_segment_bytes as usize);
            }
            assert_eq!(chunks.len(), xorb.chunks.len());
        }
        self.files.extend(named);
        self.shards.push(shard.clone());
        Ok(())
    }

    /// Returns the bytes of a file after checking every hash of its description.
    fn content(&self, file: &MDBFileInfo) -> Result<Bytes, String> {
        let (mut content, mut marks) = (Vec::new(), Vec::new());
        for (term, verification) in file.segments.iter().zip(&file.verification) {
            let xorb = self.xorbs.get(&term.xorb_hash).ok_or("missing xorb")?;
            let chunks = &xorb[term.chunk_index_start as usize..term.chunk_index_end as usize];
            let hashes: Vec<_> = chunks
                .iter()
                .map(|chunk| compute_data_hash(chunk))
                .collect();
            assert_eq!(range_hash_from_chunks(&hashes), verification.range_hash);
            let len: usize = chunks.iter().map(Bytes::len).sum();
            assert_eq!(len, term.unpacked_segment_bytes as usize);
            for (hash, chunk) in hashes.iter().zip(chunks) {
                marks.push((*hash, chunk.len() as u64));
                content.extend_from_slice(chunk);
            }
        }
        assert_eq!(file_hash(&marks), file.metadata.file_hash);
        // Only a file's last chunk may be short.
        let inner = marks.split_last().map_or(&[][..], |(_, inner)| inner);
        assert!(
            inner.iter().all(|(_, len)| *len >= 8192),
            "a short chunk inside a file"
        );
        Ok(content.into())
    }
}

type Shared = State<Arc<Mutex<Cas>>>;

async fn post_xorb(
    State(cas): Shared,
    Path(hash): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut cas = cas.lock().unwrap();
    if let Err(status) = cas.enter("xorb", Some(&headers)) {
        return status.into_response();
    }
    assert_eq!(headers["content-length"], body.len().to_string());
    (cas.store(&hash, &body), r#"{"was_inserted":true}"#).into_response()
}

async fn post_grant(
    State(cas): Shared,
    Path(hash): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut cas = cas.lock().unwrap();
    if let Err(status) = cas.enter("grant", Some(&headers)) {
        return status.into_response();
    }
    if !cas.offers_grants {
        return StatusCode::NOT_FOUND.into_response();
    }
    if cas
        .xorbs
        .contains_key(&MerkleHash::from_hex(&hash).unwrap())
    {
        return StatusCode::OK.into_response();
    }
    cas.grants
        .push((serde_json::from_slice(&body).unwrap(), None));
    let id = cas.grants.len() - 1;
    let grant = json!({
        "id": id.to_string(),
        "method": "PUT",
        "url": format!("http://{}/granted/{id}", headers["host"].to_str().unwrap()),
        "headers": { "if-none-match": "*" },
    });
    (StatusCode::CREATED, grant.to_string()).into_response()
}

async fn put_granted(
    State(cas): Shared,
    Path(id): Path<usize>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut cas = cas.lock().unwrap();
    if let Err(status) = cas.enter("put", None) {
        return status.into_response();
    }
    assert!(!headers.contains_key("authorization"));
    assert_eq!(headers["if-none-match"], "*");
    let crc = crc_fast::checksum(CrcAlgorithm::Crc64Nvme, &body);
    let (wanted, stored) = &mut cas.grants[id];
    assert_eq!(wanted["length"], body.len());
    assert_eq!(
        wanted["checksum"],
        json!({ "algo": "crc64nvme", "value": crc.to_string() })
    );
    if stored.replace(body).is_some() {
        return StatusCode::PRECONDITION_FAILED.into_response();
    }
    StatusCode::OK.into_response()
}

async fn post_commit(
    State(cas): Shared,
    Path((hash, id)): Path<(String, usize)>,
    headers: HeaderMap,
) -> Response {
    let mut cas = cas.lock().unwrap();
    if let Err(status) = cas.enter("commit", Some(&headers)) {
        return status.into_response();
    }
    match cas.grants[id].1.clone() {
        Some(body) => cas.store(&hash, &body).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn post_shard_v1(State(cas): Shared, headers: HeaderMap, body: Bytes) -> Response {
    let mut cas = cas.lock().unwrap();
    if let Err(status) = cas.enter("shard v1", Some(&headers)) {
        return status.into_response();
    }
    match cas.register(&body) {
        Ok(()) => r#"{"result":1}"#.into_response(),
        Err(why) => (StatusCode::BAD_REQUEST, why).into_response(),
    }
}

async fn post_shard_v2(State(cas): Shared, headers: HeaderMap, body: Bytes) -> Response {
    let mut cas = cas.lock().unwrap();
    if let Err(status) = cas.enter("shard v2", Some(&headers)) {
        return status.into_response();
    }
    if cas.lacks_shards_v2 {
        return StatusCode::NOT_FOUND.into_response();
    }
    if let Some(lines) = cas.shard_lines.pop_front() {
        return lines.into_response();
    }
    let verdict = match cas.register(&body) {
        Ok(()) => json!({ "type": "result" }),
        Err(why) => json!({ "type": "error", "message": why }),
    };
    let progress = json!({ "type": "validating", "verified": 0, "total": 1 });
    format!("{progress}\n{verdict}\n").into_response()
}
