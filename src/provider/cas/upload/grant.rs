//! Xorbs that go straight to the storage behind the CAS: a grant, an upload to where it says, a commit.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Body;
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::attempts::{Attempts, endpoint};
use super::send::xorb_timeout;
use crate::provider::cas::access::{AccessSource, Scope};
use crate::provider::cas::client::CasClient;
use crate::provider::cas::error;
use crate::provider::cas::xorb::Xorb;
use crate::provider::http::{CallName, Destinations};
use crate::storage::StorageError;
use crate::telemetry::Upstream;

/// Time for an attempt at a call without a large body. A commit may copy the xorb.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Whether a grant got the xorb there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Granted {
    /// The CAS has it.
    Stored,
    /// It must be sent in the other way.
    NotOffered,
}

/// What the CAS answers when it grants an upload.
#[derive(Deserialize)]
struct Grant {
    id: String,
    method: String,
    url: String,
    headers: HashMap<String, String>,
}

/// What the CAS answers to the request for a grant.
enum Answer {
    Grant(Grant),
    Exists,
    NotOffered,
}

impl CasClient {
    /// Sends a xorb by a grant.
    ///
    /// A grant that does not work out (its storage refuses, or the commit does not find the upload) is no failure: the
    /// direct way is still open.
    pub(super) async fn send_granted(
        &self,
        attempts: &mut Attempts,
        access: &AccessSource,
        xorb: &Xorb,
    ) -> Result<Granted, StorageError> {
        let grant = match self.request_grant(attempts, access, xorb).await? {
            Answer::Grant(grant) => grant,
            Answer::Exists => return Ok(Granted::Stored),
            Answer::NotOffered => return Ok(Granted::NotOffered),
        };
        let destinations = Destinations::beside(&access.get(Scope::Write).await?.url);
        let Some(request) = GrantedUpload::checked(&grant, xorb, destinations) else {
            return Ok(Granted::NotOffered);
        };
        if !self.upload_granted(attempts, &request, xorb).await {
            return Ok(Granted::NotOffered);
        }
        self.commit_grant(attempts, access, xorb, &grant.id).await
    }

    async fn request_grant(
        &self,
        attempts: &mut Attempts,
        access: &AccessSource,
        xorb: &Xorb,
    ) -> Result<Answer, StorageError> {
        let path = format!("/v1/xorb-grants/default/{}", xorb.record.hash.hex());
        let wanted = json!({
            "length": xorb.rope.len_bytes(),
            // Decimal text, because JSON numbers are not exact beyond 53 bits.
            "checksum": { "algo": "crc64nvme", "value": xorb.crc64.to_string() },
        });
        let response = attempts
            .send_authorized("xorb grant", access, |access| {
                self.0
                    .http
                    .api_once
                    .post(endpoint(access, &path))
                    .bearer_auth(access.token.expose())
                    .with_extension(CallName("xorb_grant"))
                    .timeout(CALL_TIMEOUT)
                    .json(&wanted)
            })
            .await?;
        match response.status() {
            StatusCode::CREATED => response
                .json()
                .await
                .map(Answer::Grant)
                .map_err(|_| error::malformed("xorb grant")),
            StatusCode::OK => Ok(Answer::Exists),
            StatusCode::NOT_FOUND | StatusCode::NOT_IMPLEMENTED => {
                self.0.uploads.lacks_grants.store(true, Ordering::Relaxed);
                Ok(Answer::NotOffered)
            }
            status => Err(error::from_status("xorb grant", status, response.headers())),
        }
    }

    /// Uploads to the granted address, without credentials and with exactly the granted headers.
    async fn upload_granted(
        &self,
        attempts: &mut Attempts,
        granted: &GrantedUpload,
        xorb: &Xorb,
    ) -> bool {
        let sent = attempts
            .send("xorb storage", || {
                self.0
                    .metrics
                    .upstream_sent(Upstream::Xorb, xorb.rope.len_bytes() as u64);
                self.0
                    .http
                    .storage_once
                    .request(granted.method.clone(), granted.url.clone())
                    .headers(granted.headers.clone())
                    .with_extension(CallName("xorb_put"))
                    .timeout(xorb_timeout(xorb))
                    .body(Body::wrap(xorb.rope.body()))
            })
            .await;
        match sent {
            // An earlier attempt, or somebody else, has stored it.
            Ok(response) => {
                response.status().is_success()
                    || response.status() == StatusCode::PRECONDITION_FAILED
            }
            Err(error) => {
                tracing::warn!(%error, "falling back to a direct xorb upload");
                false
            }
        }
    }

    async fn commit_grant(
        &self,
        attempts: &mut Attempts,
        access: &AccessSource,
        xorb: &Xorb,
        grant_id: &str,
    ) -> Result<Granted, StorageError> {
        let id = utf8_percent_encode(grant_id, NON_ALPHANUMERIC);
        let path = format!(
            "/v1/xorb-commits/default/{}/grant/{id}",
            xorb.record.hash.hex()
        );
        let response = attempts
            .send_authorized("xorb commit", access, |access| {
                self.0
                    .http
                    .api_once
                    .post(endpoint(access, &path))
                    .bearer_auth(access.token.expose())
                    .with_extension(CallName("xorb_commit"))
                    .timeout(CALL_TIMEOUT)
            })
            .await?;
        match response.status() {
            status if status.is_success() => Ok(Granted::Stored),
            StatusCode::NOT_FOUND => Ok(Granted::NotOffered),
            status => Err(error::from_status(
                "xorb commit",
                status,
                response.headers(),
            )),
        }
    }
}

/// A granted request, checked.
struct GrantedUpload {
    method: Method,
    url: Url,
    headers: HeaderMap,
}

impl GrantedUpload {
    /// Returns `None` for a grant that cannot be followed, or should not: an address where no storage of this CAS can be.
    fn checked(grant: &Grant, xorb: &Xorb, destinations: Destinations) -> Option<Self> {
        let url = destinations.check(&grant.url).ok()?;
        if matches!(grant.id.as_str(), "" | "." | "..") {
            return None;
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &grant.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            headers.insert(name, HeaderValue::from_str(value).ok()?);
        }
        headers.insert(CONTENT_LENGTH, HeaderValue::from(xorb.rope.len_bytes()));
        Some(Self {
            method: Method::from_bytes(grant.method.as_bytes()).ok()?,
            url,
            headers,
        })
    }
}
