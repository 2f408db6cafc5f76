//! A CAS in memory behind real HTTP, with faults on demand and a record of what it was asked.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use url::Url;
use xet_core_structures::merklehash::{compute_data_hash, file_hash, xorb_hash};
use xet_core_structures::xorb_object::{CompressionScheme, serialize_chunk};

use crate::provider::cas::access::{AccessSource, CasAccess};
use crate::provider::cas::download::FileRef;
use crate::provider::cas::file_hash::ChunkMark;
use crate::storage::Secret;

pub(super) const FRAME_BYTES: usize = 50_000;

/// The running fake; clones share it.
#[derive(Clone)]
pub(super) struct FakeCas {
    state: Arc<Mutex<FakeState>>,
    pub(super) url: Url,
}

/// What it holds, what it was asked, and how it misbehaves.
pub(super) struct FakeState {
    xorbs: HashMap<String, Xorb>,
    files: HashMap<String, Vec<ChunkRef>>,
    asked: Asked,
    /// Status that v2 answers with instead of a plan.
    pub(super) v2_status: Option<StatusCode>,
    /// The token it takes now.
    pub(super) token: String,
    /// Signatures below this have expired.
    pub(super) least_signature: u64,
    /// When addresses say that they expire, in seconds since 1970.
    pub(super) expires: Option<u64>,
    /// Whether no signature is good enough.
    pub(super) refuses_all: bool,
    /// Body bytes after which the next answers of the storage are cut.
    pub(super) cuts: VecDeque<usize>,
    /// Body bytes after which answers of the storage wait for a permit.
    pub(super) gate: Option<(usize, Arc<Semaphore>)>,
    /// Scheme and host that addresses name instead of its own.
    pub(super) address: Option<String>,
}

/// What it was asked so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) v1_calls: usize,
    pub(super) v2_calls: usize,
    pub(super) xorb_calls: usize,
    pub(super) xorb_bytes: u64,
    pub(super) renewals: usize,
}

struct Xorb {
    bytes: Bytes,
    /// Where each chunk begins in `bytes`, and the end.
    offsets: Vec<usize>,
    lens: Vec<usize>,
    nodes: Vec<ChunkMark>,
}

#[derive(Clone)]
struct ChunkRef {
    xorb: String,
    index: usize,
}

impl FakeCas {
    pub(super) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let fake = Self {
            url: url.parse().unwrap(),
            state: Arc::new(Mutex::new(FakeState {
                xorbs: HashMap::new(),
                files: HashMap::new(),
                asked: Asked::default(),
                v2_status: None,
                token: "t0".into(),
                least_signature: 0,
                expires: None,
                refuses_all: false,
                cuts: VecDeque::new(),
                gate: None,
                address: None,
            })),
        };
        let router = Router::new()
            .route("/{version}/reconstructions/{file}", get(reconstruction))
            .route("/xorb/{hash}", get(xorb))
            .with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        fake
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, FakeState> {
        self.state.lock().unwrap()
    }

    /// Returns what it was asked so far.
    pub(super) fn asked(&self) -> Asked {
        self.lock().asked
    }

    /// Access with a token of the first generation; a renewal brings the current one.
    pub(super) fn access(&self) -> AccessSource {
        self.access_of("")
    }

    /// The same for another reader.
    pub(super) fn access_of(&self, reader: &str) -> AccessSource {
        let fake = self.clone();
        AccessSource::new(Secret::new(reader).id(), move |_, stale| {
            let fake = fake.clone();
            Box::pin(async move {
                let mut token = "t0".to_owned();
                if stale.is_some() {
                    fake.lock().asked.renewals += 1;
                    token.clone_from(&fake.lock().token);
                }
                Ok(CasAccess {
                    url: fake.url.clone(),
                    token: Secret::new(token),
                })
            })
        })
    }

    /// Stores chunks as one xorb, and a file that is made of them in the order given by `order`.
    pub(super) fn store(
        &self,
        chunks: &[Vec<u8>],
        scheme: CompressionScheme,
        order: impl IntoIterator<Item = usize>,
    ) -> (FileRef, Vec<u8>) {
        let (mut bytes, mut offsets) = (Vec::new(), vec![0]);
        for chunk in chunks {
            serialize_chunk(chunk, &mut bytes, scheme).unwrap();
            offsets.push(bytes.len());
        }
        let node = |chunk: &Vec<u8>| (compute_data_hash(chunk), chunk.len() as u64);
        let nodes: Vec<_> = chunks.iter().map(node).collect();
        let hash = xorb_hash(&nodes).hex();
        let order: Vec<_> = order.into_iter().collect();
        let pieces: Vec<_> = order.iter().map(|i| chunks[*i].as_slice()).collect();
        let content = pieces.concat();
        let file_nodes: Vec<_> = order.iter().map(|i| nodes[*i]).collect();
        let file = FileRef {
            hash: file_hash(&file_nodes).hex().parse().unwrap(),
            size: content.len() as u64,
        };
        let chunk_ref = |index: usize| ChunkRef {
            xorb: hash.clone(),
            index,
        };
        let refs = order.into_iter().map(chunk_ref).collect();
        let mut state = self.lock();
        state.files.insert(file.hash.to_string(), refs);
        state.xorbs.insert(
            hash,
            Xorb {
                bytes: bytes.into(),
                offsets,
                lens: chunks.iter().map(Vec::len).collect(),
                nodes,
            },
        );
        (file, content)
    }

    /// Stores one file over several xorbs that are stored already, in this order.
    pub(super) fn join(&self, files: &[FileRef]) -> FileRef {
        let mut state = self.lock();
        let all = files.iter().map(|file| file.hash.to_string());
        let refs: Vec<_> = all.flat_map(|file| state.files[&file].clone()).collect();
        let nodes: Vec<_> = refs
            .iter()
            .map(|r| state.xorbs[&r.xorb].nodes[r.index])
            .collect();
        let file = FileRef {
            hash: file_hash(&nodes).hex().parse().unwrap(),
            size: files.iter().map(|file| file.size).sum(),
        };
        state.files.insert(file.hash.to_string(), refs);
        file
    }

    /// Changes a byte in the middle of every stored xorb.
    pub(super) fn corrupt(&self) {
        for xorb in self.lock().xorbs.values_mut() {
            let mut bytes = xorb.bytes.to_vec();
            let middle = xorb.offsets[xorb.lens.len() / 2] + 20;
            bytes[middle] ^= 1;
            xorb.bytes = bytes.into();
        }
    }
}

impl FakeState {
    fn plan(&self, file: &str, range: Range<usize>, base: &str, is_v1: bool) -> Option<Value> {
        let (mut at, mut terms, mut offset) = (0, Vec::<(String, Range<usize>, usize)>::new(), 0);
        for chunk in self.files.get(file)? {
            let len = self.xorbs[&chunk.xorb].lens[chunk.index];
            let span = at..at + len;
            at = span.end;
            if span.end <= range.start || span.start >= range.end {
                continue;
            }
            if terms.is_empty() {
                offset = range.start - span.start;
            }
            match terms.last_mut() {
                Some((xorb, run, bytes)) if *xorb == chunk.xorb && run.end == chunk.index => {
                    run.end += 1;
                    *bytes += len;
                }
                _ => terms.push((chunk.xorb.clone(), chunk.index..chunk.index + 1, len)),
            }
        }
        Some(self.plan_answer(&terms, offset, base, is_v1))
    }

    fn plan_answer(
        &self,
        terms: &[(String, Range<usize>, usize)],
        offset: usize,
        base: &str,
        is_v1: bool,
    ) -> Value {
        let mut fetches = serde_json::Map::new();
        for (hash, run, _) in terms {
            let xorb = &self.xorbs[hash];
            let bytes = json!({"start": xorb.offsets[run.start], "end": xorb.offsets[run.end] - 1});
            let chunks = json!({"start": run.start, "end": run.end});
            let base = self.address.as_deref().unwrap_or(base);
            let mut url = format!("{base}/xorb/{hash}?signature={}", self.least_signature);
            if let Some(expires) = self.expires {
                url += &format!("&Expires={expires}");
            }
            let fetch = if is_v1 {
                json!({"range": chunks, "url": url, "url_range": bytes})
            } else {
                json!({"url": url, "ranges": [{"chunks": chunks, "bytes": bytes}]})
            };
            let fetches = fetches.entry(hash.clone()).or_insert_with(|| json!([]));
            let fetches = fetches.as_array_mut().unwrap();
            if !fetches.contains(&fetch) {
                fetches.push(fetch);
            }
        }
        let term = |(hash, run, bytes): &(String, Range<usize>, usize)| json!({"hash": hash, "unpacked_length": bytes, "range": {"start": run.start, "end": run.end}});
        let field = if is_v1 { "fetch_info" } else { "xorbs" };
        json!({
            "offset_into_first_range": offset,
            "terms": terms.iter().map(term).collect::<Vec<_>>(),
            field: fetches,
        })
    }
}

async fn reconstruction(
    State(fake): State<FakeCas>,
    Path((version, file)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let mut state = fake.lock();
    let is_v1 = version == "v1";
    match is_v1 {
        true => state.asked.v1_calls += 1,
        false => state.asked.v2_calls += 1,
    }
    if headers["authorization"] != format!("Bearer {}", state.token).as_str() {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if let Some(status) = state.v2_status.filter(|_| !is_v1) {
        return status.into_response();
    }
    let base = fake.url.as_str().trim_end_matches('/');
    match state.plan(&file, byte_range(&headers), base, is_v1) {
        Some(plan) => axum::Json(plan).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn xorb(
    State(fake): State<FakeCas>,
    Path(hash): Path<String>,
    Query(query): Query<HashMap<String, u64>>,
    headers: HeaderMap,
) -> Response {
    assert!(
        !headers.contains_key("authorization"),
        "a signed URL needs no token"
    );
    let mut state = fake.lock();
    state.asked.xorb_calls += 1;
    if state.refuses_all || query["signature"] < state.least_signature {
        return StatusCode::FORBIDDEN.into_response();
    }
    let range = byte_range(&headers);
    let body = state.xorbs[&hash].bytes.slice(range);
    let len = body.len();
    let cut = state.cuts.pop_front().unwrap_or(usize::MAX);
    let gate = state.gate.clone();
    let counter = fake.clone();
    let frames = (0..len).step_by(FRAME_BYTES);
    let frames = frames.map(move |at| (at, body.slice(at..len.min(at + FRAME_BYTES))));
    let frames = stream::iter(frames).then(move |(at, frame)| {
        let (gate, counter) = (gate.clone(), counter.clone());
        async move {
            if let Some((limit, gate)) = gate
                && at >= limit
            {
                gate.acquire().await.unwrap().forget();
            }
            if at >= cut {
                return Err(std::io::Error::other("cut"));
            }
            counter.lock().asked.xorb_bytes += frame.len() as u64;
            Ok(frame)
        }
    });
    let mut response = Response::new(Body::from_stream(frames));
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    response.headers_mut().insert("content-length", len.into());
    response
}

/// Reads `bytes=a-b` into a half-open range.
fn byte_range(headers: &HeaderMap) -> Range<usize> {
    let text = headers["range"].to_str().unwrap();
    let (start, end) = text
        .strip_prefix("bytes=")
        .unwrap()
        .split_once('-')
        .unwrap();
    start.parse().unwrap()..end.parse::<usize>().unwrap() + 1
}
