//! `GET /files/{hash}`: whole files for clients that do not speak Xet, opened by a signed address. Ranges are honoured.

use std::io::{self, Read, Seek, SeekFrom};

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use bytes::{Buf, Bytes};
use futures::stream;
use http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, RANGE,
};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use tokio::sync::mpsc;
use xet_core_structures::xorb_object::deserialize_chunks;

use super::access::{SignedAddress, hash};
use crate::devhub::refusal::Refusal;
use crate::devhub::state::{Shared, blocking};
use crate::devhub::store::{ByteSpan, Plan, RangeHeader, Store, Term};

/// Chunks unpacked at once: up to 2 MiB.
const CHUNKS_AT_ONCE: u32 = 16;
const PIECES_WAITING: usize = 2;

#[derive(Debug, Deserialize)]
pub(super) struct Named {
    name: String,
    #[serde(rename = "type")]
    content_type: String,
}

impl Named {
    /// Returns the values of Content-Type and Content-Disposition.
    fn headers(&self) -> (String, String) {
        let content_type = match self.content_type.as_str() {
            "" => "application/octet-stream",
            known => known,
        };
        let unquotable = |c: char| c.is_control() || c == '"' || !c.is_ascii();
        let name = self.name.replace(unquotable, "_");
        (
            content_type.to_owned(),
            format!("inline; filename=\"{name}\""),
        )
    }
}

pub(super) async fn file_get(
    State(state): State<Shared>,
    _: SignedAddress,
    Path(file): Path<String>,
    Query(named): Query<Named>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let hash = hash(&file)?;
    let file = (state.store.file(&hash)).ok_or_else(|| Refusal::not_found("File not found"))?;
    let range = headers
        .get(RANGE)
        .and_then(|range| RangeHeader::parse_one(range.to_str().ok()?));
    let size = file.size;
    let span = match range {
        None => ByteSpan {
            start: 0,
            end: size,
        },
        Some(range) => range.resolve(size).ok_or_else(Refusal::range)?,
    };
    let store = state.store.clone();
    let plan: io::Result<Plan> = blocking(move || store.plan(&file, span)).await?;
    let (content_type, disposition) = named.headers();
    let headers = [
        (CONTENT_TYPE, content_type),
        (CONTENT_LENGTH, span.len().to_string()),
        (CONTENT_DISPOSITION, disposition),
        (ETAG, format!("\"{}\"", hash.hex())),
        (ACCEPT_RANGES, "bytes".to_owned()),
    ];
    let body = unpacked(&state, plan?, span.len());
    Ok(match range {
        None => (StatusCode::OK, headers, body).into_response(),
        Some(_) => {
            let content_range = format!("bytes {}-{}/{size}", span.start, span.end - 1);
            let content_range = [(CONTENT_RANGE, content_range)];
            (StatusCode::PARTIAL_CONTENT, headers, content_range, body).into_response()
        }
    })
}

/// Streams `len` bytes of a plan, unpacked on a thread of its own.
fn unpacked(state: &Shared, plan: Plan, len: u64) -> Body {
    let store = state.store.clone();
    let (pieces, waiting) = mpsc::channel::<io::Result<Bytes>>(PIECES_WAITING);
    tokio::task::spawn_blocking(move || {
        let mut cut = Cut {
            skip: plan.skip,
            left: len,
        };
        for term in &plan.terms {
            let sent = unpack_term(&store, term, &mut |piece| {
                let piece = cut.apply(piece);
                piece.is_empty() || pieces.blocking_send(Ok(piece)).is_ok()
            });
            if let Err(error) = sent {
                // A receiver that has left needs no explanation.
                let _ = pieces.blocking_send(Err(error));
                return;
            }
        }
    });
    Body::from_stream(stream::unfold(waiting, async |mut waiting| {
        let piece = waiting.recv().await?;
        Some((piece, waiting))
    }))
}

/// Cuts the asked bytes out of whole chunks.
struct Cut {
    skip: u64,
    left: u64,
}

impl Cut {
    fn apply(&mut self, mut piece: Bytes) -> Bytes {
        piece.advance(take_from(&mut self.skip, piece.len()));
        piece.truncate(take_from(&mut self.left, piece.len()));
        piece
    }
}

/// Takes at most `len` off `budget` and returns how much.
fn take_from(budget: &mut u64, len: usize) -> usize {
    let taken = usize::try_from(*budget).map_or(len, |budget| budget.min(len));
    *budget -= taken as u64;
    taken
}

/// Hands the unpacked chunks of a term to `send` until it returns false.
fn unpack_term(store: &Store, term: &Term, send: &mut dyn FnMut(Bytes) -> bool) -> io::Result<()> {
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    let xorb = store.xorbs.describe(&term.xorb)?.ok_or_else(gone)?;
    let mut file = store.xorbs.open_file(&term.xorb)?.ok_or_else(gone)?;
    for start in term.chunks.clone().step_by(CHUNKS_AT_ONCE as usize) {
        let end = term.chunks.end.min(start + CHUNKS_AT_ONCE);
        let (from, to) = xorb.get_byte_offset(start, end).map_err(io::Error::other)?;
        let mut stored = vec![0; (to - from) as usize];
        file.seek(SeekFrom::Start(from.into()))?;
        file.read_exact(&mut stored)?;
        let (plain, _) = deserialize_chunks(&mut stored.as_slice()).map_err(io::Error::other)?;
        if !send(plain.into()) {
            break;
        }
    }
    Ok(())
}
