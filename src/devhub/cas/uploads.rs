//! Uploads of xorbs: directly, or through a grant.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use http::header::{CONTENT_LENGTH, IF_NONE_MATCH};
use http::{HeaderMap, StatusCode};
use tokio::sync::mpsc;
use xet_client::cas_types::{
    Checksum, UploadXorbResponse, XorbUploadGrant, XorbUploadGrantRequest,
};

use super::access::{Reader, SignedAddress, Writer, key};
use crate::devhub::grants::Granted;
use crate::devhub::refusal::Refusal;
use crate::devhub::state::{Shared, State as Hub, blocking};
use crate::devhub::store::{XorbReceiver, XorbRefused};

/// Pieces of a body that wait for the thread that checks them; hyper's pieces have at most 400 KiB or so.
const PIECES_WAITING: usize = 8;

/// `HEAD /v1/xorbs/{prefix}/{hash}`.
pub(super) async fn exists(
    State(state): State<Shared>,
    _: Reader,
    Path((prefix, hash)): Path<(String, String)>,
) -> Result<StatusCode, Refusal> {
    let hash = key(&prefix, &hash)?;
    let store = state.store.clone();
    match blocking(move || store.xorbs.contains(&hash)).await? {
        true => Ok(StatusCode::OK),
        false => Err(Refusal::not_found("Xorb not found")),
    }
}

/// `POST /v1/xorbs/{prefix}/{hash}`: the body is the xorb without a footer.
pub(super) async fn upload(
    State(state): State<Shared>,
    _: Writer,
    Path((prefix, hash)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<UploadXorbResponse>, Refusal> {
    let hash = key(&prefix, &hash)?;
    if !headers.contains_key(CONTENT_LENGTH) {
        return Err(Refusal::new(
            StatusCode::LENGTH_REQUIRED,
            "Content-Length is required",
        ));
    }
    let received = receive(&state, body).await?;
    let store = state.store.clone();
    let was_inserted = blocking(move || store.xorbs.store(received, &hash)).await??;
    Ok(Json(UploadXorbResponse { was_inserted }))
}

/// `POST /v1/xorb-grants/{prefix}/{hash}`: allows an upload straight to storage.
pub(super) async fn grant(
    State(state): State<Shared>,
    _: Writer,
    Path((prefix, hash)): Path<(String, String)>,
    Json(asked): Json<XorbUploadGrantRequest>,
) -> Result<Response, Refusal> {
    if !state.faults.knobs().offers_grants {
        return Err(Refusal::not_found("not offered"));
    }
    let xorb = key(&prefix, &hash)?;
    let store = state.store.clone();
    if blocking(move || store.xorbs.contains(&xorb)).await? {
        return Ok(StatusCode::OK.into_response());
    }
    let Checksum::Crc64Nvme(crc64) = asked.checksum;
    let length = asked.length;
    let id = state.grants.open(Granted {
        xorb,
        length,
        crc64,
    });
    let grant = XorbUploadGrant {
        method: "PUT".into(),
        url: state.signed_address(&format!("/uploads/{id}?Method=PUT")),
        headers: [(IF_NONE_MATCH.to_string(), "*".to_owned())].into(),
        id,
    };
    Ok((StatusCode::CREATED, Json(grant)).into_response())
}

/// `PUT /uploads/{id}`: the address of a grant.
pub(super) async fn put_granted(
    State(state): State<Shared>,
    _: SignedAddress,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let (granted, is_used) =
        (state.grants.find(&id)).ok_or_else(|| Refusal::not_found("Unknown grant"))?;
    if headers.get(IF_NONE_MATCH).is_none_or(|value| value != "*") {
        return Err(Refusal::forbidden("a header of the grant is missing"));
    }
    if is_used {
        return Err(Refusal::new(
            StatusCode::PRECONDITION_FAILED,
            "already uploaded",
        ));
    }
    let received = receive(&state, body).await?;
    if (received.received(), received.crc64()) != (granted.length, granted.crc64) {
        return Err(Refusal::bad_request("data does not match the grant"));
    }
    state.grants.stage(&id, received);
    Ok(StatusCode::OK)
}

/// `POST /v1/xorb-commits/{prefix}/{hash}/grant/{id}`: makes a granted upload a xorb.
pub(super) async fn commit(
    State(state): State<Shared>,
    _: Writer,
    Path((prefix, hash, id)): Path<(String, String, String)>,
) -> Result<StatusCode, Refusal> {
    let hash = key(&prefix, &hash)?;
    let received = state.grants.take(&id, &hash);
    let store = state.store.clone();
    blocking(move || match received {
        Some(received) => store
            .xorbs
            .store(received, &hash)
            .map(|_| StatusCode::OK)
            .map_err(Refusal::from),
        None if store.xorbs.contains(&hash) => Ok(StatusCode::OK),
        None => Err(Refusal::not_found("Nothing was uploaded for this grant")),
    })
    .await?
}

/// Streams a body to a thread that checks and writes it. What has not been checked is a few pieces at most.
async fn receive(state: &Hub, body: Body) -> Result<XorbReceiver, Refusal> {
    let store = state.store.clone();
    let (pieces, mut waiting) = mpsc::channel::<bytes::Bytes>(PIECES_WAITING);
    let checking = blocking(move || {
        let mut receiver = store.xorbs.receive()?;
        while let Some(piece) = waiting.blocking_recv() {
            receiver.push(&piece)?;
        }
        Ok::<_, XorbRefused>(receiver)
    });
    let sending = async {
        let mut body = body.into_data_stream();
        while let Some(piece) = body.next().await {
            let piece = piece
                .map_err(|error| Refusal::bad_request(format!("xorb did not arrive: {error}")))?;
            if pieces.send(piece).await.is_err() {
                // The thread has refused the xorb and says why.
                break;
            }
        }
        drop(pieces);
        Ok::<_, Refusal>(())
    };
    let (checked, sent) = futures::join!(checking, sending);
    let received = checked??;
    sent?;
    Ok(received)
}
