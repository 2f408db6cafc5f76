//! Asks the CAS for plans, remembers them, and asks once for many.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use http::StatusCode;
use http::header::RANGE;
use reqwest_middleware::ClientWithMiddleware;
use serde::de::DeserializeOwned;
use tracing::Instrument;

use crate::cache::{ExpiringMap, Flight, SingleFlight};
use crate::provider::cas::access::{AccessSource, CasAccess, Scope};
use crate::provider::cas::client::CasConfig;
use crate::provider::cas::error::{from_status, from_transport, malformed};
use crate::provider::cas::plan::{Plan, Route};
use crate::provider::cas::wire::{ReconstructionV1, ReconstructionV2};
use crate::provider::http::{CallName, Destinations, unexpected_json};
use crate::storage::{ContentHash, ResolvedRange, SecretId, StorageError};
use crate::telemetry::{CacheName, CacheResult, Metrics, Upstream};

/// The call in words, for metrics and errors.
const CALL: &str = "reconstruction";
/// Most bytes of an answer: a window of 16 MiB in the smallest chunks, each in a xorb of its own, takes about 2 MiB.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// A span of a file, as somebody reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SpanKey {
    /// The token that the plan was, or will be, asked for with.
    pub(super) reader: SecretId,
    /// The file.
    pub(super) file: ContentHash,
    /// The span.
    pub(super) span: ResolvedRange,
}

/// Gives plans for spans of files.
///
/// # Behaviour
/// - Terms are kept for the life of the reconstruction cache, addresses only for as long as they are valid, apart from
///   each other: content that is in the xorb cache needs no address.
/// - Callers that miss at the same time share one call.
/// - A plan counts for the token alone that it was asked for with. So whatever is cached by content, chunks before all, is
///   only reached by those whose own token was given a plan for it.
#[derive(Debug)]
pub(super) struct Planner {
    api: ClientWithMiddleware,
    metrics: Metrics,
    ttl: Duration,
    plans: Arc<ExpiringMap<SpanKey, Arc<Plan>>>,
    routes: Arc<ExpiringMap<SpanKey, Arc<Route>>>,
    flights: SingleFlight<SpanKey, Arc<Route>, StorageError>,
    /// Set once v2 was missing where v1 answered.
    is_v1_only: Arc<AtomicBool>,
}

impl Planner {
    pub(super) fn new(config: &CasConfig, api: ClientWithMiddleware, metrics: Metrics) -> Self {
        let (entries, ttl) = (config.recon_cache_max_entries, config.recon_cache_ttl);
        Self {
            api,
            metrics,
            ttl,
            plans: Arc::new(ExpiringMap::new(entries, ttl)),
            routes: Arc::new(ExpiringMap::new(entries, ttl)),
            flights: SingleFlight::new(StorageError::internal("a reconstruction call was lost")),
            is_v1_only: Arc::default(),
        }
    }

    /// Returns the plan for the span if it is remembered, with addresses or without.
    pub(super) fn remembered(&self, key: &SpanKey) -> Option<Arc<Plan>> {
        self.plans.get(key)
    }

    /// Counts a read that the remembered plan was enough for.
    pub(super) fn count_hit(&self) {
        self.count(CacheResult::Hit);
    }

    /// Returns a plan with usable addresses, from memory or from the CAS.
    ///
    /// Errors: [`StorageError::Unavailable`] if the CAS cannot be reached or answers nonsense, [`StorageError::Internal`] if
    /// it does not know the file, [`StorageError::RateLimited`].
    pub(super) async fn route(
        &self,
        access: &AccessSource,
        key: SpanKey,
    ) -> Result<Arc<Route>, StorageError> {
        if let Some(route) = self.routes.get(&key) {
            self.count(CacheResult::Hit);
            return Ok(route);
        }
        let call = Call {
            api: self.api.clone(),
            metrics: self.metrics.clone(),
            is_v1_only: self.is_v1_only.clone(),
            access: access.clone(),
            key,
        };
        let (plans, routes) = (self.plans.clone(), self.routes.clone());
        let (ttl, metrics) = (self.ttl, self.metrics.clone());
        let work = || {
            async move {
                let route = Arc::new(call.run().await?);
                plans.insert(key, route.plan.clone());
                let usable = route.usable_for(SystemTime::now()).unwrap_or(ttl);
                routes.insert_for(key, route.clone(), usable.min(ttl));
                metrics.cache_holds(CacheName::Reconstruction, 0, plans.len() as u64);
                Ok(route)
            }
            .in_current_span()
        };
        let (route, flight) = self.flights.run(key, work).await;
        self.count(match flight {
            Flight::Led => CacheResult::Miss,
            Flight::Joined => CacheResult::Coalesced,
        });
        route
    }

    /// Forgets the addresses of a route that the storage refused, unless somebody has renewed them since.
    pub(super) fn forget_route(&self, key: &SpanKey, refused: &Arc<Route>) {
        if self
            .routes
            .get(key)
            .is_some_and(|known| Arc::ptr_eq(&known, refused))
        {
            self.routes.remove(key);
        }
    }

    /// Forgets all that is known of a file whose content turned out to be wrong.
    pub(super) fn forget_file(&self, file: &ContentHash) {
        self.plans.retain(|key, _| key.file != *file);
        self.routes.retain(|key, _| key.file != *file);
    }

    fn count(&self, result: CacheResult) {
        self.metrics
            .cache_request(CacheName::Reconstruction, result);
    }
}

/// One reconstruction call: versions, and a token that may have to be renewed.
struct Call {
    api: ClientWithMiddleware,
    metrics: Metrics,
    is_v1_only: Arc<AtomicBool>,
    access: AccessSource,
    key: SpanKey,
}

impl Call {
    async fn run(self) -> Result<Route, StorageError> {
        let access = self.access.get(Scope::Read).await?;
        match self.run_with(&access).await? {
            Ok(route) => Ok(route),
            Err(refused) if matches!(refused.status().as_u16(), 401 | 403) => {
                let access = self.access.refresh(Scope::Read, access).await?;
                self.run_with(&access).await?.map_err(|r| status_error(&r))
            }
            Err(refused) => Err(status_error(&refused)),
        }
    }

    /// The outer error is final; the inner one is an answer that is no plan.
    async fn run_with(
        &self,
        access: &CasAccess,
    ) -> Result<Result<Route, reqwest::Response>, StorageError> {
        let destinations = Destinations::beside(&access.url);
        let len_bytes = self.key.span.len_bytes();
        if !self.is_v1_only.load(Ordering::Relaxed) {
            let response = self.get(access, "v2").await?;
            if response.status().is_success() {
                let answer: ReconstructionV2 = self.read(response).await?;
                return Ok(Ok(Route::from_wire(&answer, len_bytes, destinations)?));
            }
            if !matches!(
                response.status(),
                StatusCode::NOT_FOUND | StatusCode::NOT_IMPLEMENTED
            ) {
                return Ok(Err(response));
            }
        }
        let response = self.get(access, "v1").await?;
        if !response.status().is_success() {
            return Ok(Err(response));
        }
        // Only now: an unknown file is 404 in both versions and says nothing of either.
        self.is_v1_only.store(true, Ordering::Relaxed);
        let answer: ReconstructionV1 = self.read(response).await?;
        Ok(Ok(Route::from_wire(
            &answer.into(),
            len_bytes,
            destinations,
        )?))
    }

    async fn get(
        &self,
        access: &CasAccess,
        version: &str,
    ) -> Result<reqwest::Response, StorageError> {
        let SpanKey { file, span, .. } = self.key;
        let base = access.url.as_str().trim_end_matches('/');
        let request = self
            .api
            .get(format!("{base}/{version}/reconstructions/{file}"))
            .bearer_auth(access.token.expose())
            .header(RANGE, format!("bytes={}-{}", span.start, span.end - 1))
            .with_extension(CallName(CALL));
        let sent = request.send().await;
        sent.map_err(|error| from_transport(CALL, &error))
    }

    async fn read<T: DeserializeOwned>(
        &self,
        mut response: reqwest::Response,
    ) -> Result<T, StorageError> {
        let mut body = Vec::new();
        while let Some(frame) = response
            .chunk()
            .await
            .map_err(|error| from_transport(CALL, &error.into()))?
        {
            if body.len() + frame.len() > MAX_ANSWER_BYTES {
                return Err(malformed("reconstruction of more than 16 MiB"));
            }
            body.extend_from_slice(&frame);
        }
        self.metrics
            .upstream_received(Upstream::Cas, body.len() as u64);
        serde_json::from_slice(&body)
            .map_err(|error| malformed(format_args!("{CALL}: {}", unexpected_json(&error))))
    }
}

fn status_error(response: &reqwest::Response) -> StorageError {
    from_status(CALL, response.status(), response.headers())
}
