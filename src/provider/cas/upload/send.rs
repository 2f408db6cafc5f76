//! Sends a xorb to the CAS.

use std::sync::atomic::Ordering;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use reqwest::Body;

use super::attempts::{Attempts, endpoint};
use super::grant::Granted;
use crate::provider::cas::access::AccessSource;
use crate::provider::cas::client::CasClient;
use crate::provider::cas::error;
use crate::provider::cas::xorb::Xorb;
use crate::provider::http::CallName;
use crate::storage::StorageError;
use crate::telemetry::Upstream;

/// Size from which a xorb goes straight to storage, if the CAS grants that: three calls instead of one, but the bytes do
/// not pass through the CAS.
const GRANT_FROM_BYTES: usize = 8 << 20;

/// Time for an attempt beyond what its bytes take.
const BASE_TIMEOUT: Duration = Duration::from_secs(60);

/// Slowest connection, in bytes a second, on which a xorb is still sent to its end.
const SLOWEST: usize = 256 << 10;

impl CasClient {
    /// Sends a xorb until the CAS has it. A xorb that is there already is success.
    ///
    /// Errors: as the CAS answers, after all attempts.
    pub(super) async fn send_xorb(
        &self,
        access: &AccessSource,
        xorb: &Xorb,
    ) -> Result<(), StorageError> {
        let mut attempts = Attempts::new();
        let is_granted = xorb.rope.len_bytes() >= GRANT_FROM_BYTES
            && !self.0.uploads.lacks_grants.load(Ordering::Relaxed)
            && self.send_granted(&mut attempts, access, xorb).await? == Granted::Stored;
        if is_granted {
            return Ok(());
        }
        self.send_direct(&mut attempts, access, xorb).await
    }

    async fn send_direct(
        &self,
        attempts: &mut Attempts,
        access: &AccessSource,
        xorb: &Xorb,
    ) -> Result<(), StorageError> {
        let path = format!("/v1/xorbs/default/{}", xorb.record.hash.hex());
        let response = attempts
            .send_authorized("xorb upload", access, |access| {
                self.0
                    .metrics
                    .upstream_sent(Upstream::Cas, xorb.rope.len_bytes() as u64);
                self.0
                    .http
                    .api_once
                    .post(endpoint(access, &path))
                    .bearer_auth(access.token.expose())
                    .header(CONTENT_TYPE, "application/octet-stream")
                    .with_extension(CallName("xorb_upload"))
                    .timeout(xorb_timeout(xorb))
                    .body(Body::wrap(xorb.rope.body()))
            })
            .await?;
        if response.status().is_success() {
            return Ok(());
        }
        Err(error::from_status(
            "xorb upload",
            response.status(),
            response.headers(),
        ))
    }
}

/// Returns the time that one attempt may take.
pub(super) fn xorb_timeout(xorb: &Xorb) -> Duration {
    BASE_TIMEOUT + Duration::from_secs((xorb.rope.len_bytes() / SLOWEST) as u64)
}
