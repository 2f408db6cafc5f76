//! The stack: the layers in their order, and why they stand in it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use time::OffsetDateTime;
use tower::ServiceBuilder;
use tower::util::BoxCloneSyncService;

use crate::layers::auth::CredentialStore;
use crate::layers::{
    AdmissionLayer, AuthLayer, DeadlineLayer, Deadlines, FileInfoCacheLayer, FileInfoLimits,
    NamespaceLayer, ProofLayer, ProviderMetricsLayer, PublicReadLayer, Quotas, RateLayer,
    ReachLayer, RequestMetricsLayer, RetryLimits, RetryPolicy, ShareLayer, Tenancy, TraceLayer,
};
use crate::storage::{Changes, StorageService, StorageStack, Tenant};
use crate::telemetry::Metrics;

/// What the layers need to know.
#[derive(Debug, Clone)]
pub struct StackSettings {
    /// Where everything is counted.
    pub metrics: Metrics,
    /// Operations under way at once, response bodies included; zero means no limit.
    pub max_in_flight: usize,
    /// How long answers may take and transfers may stand still.
    pub deadlines: Deadlines,
    /// Who is let in. It may be replaced while the stack runs.
    pub credentials: Arc<ArcSwap<CredentialStore>>,
    /// What each of them may take of all this. It may be replaced likewise.
    pub quotas: Arc<ArcSwap<Quotas>>,
    /// Whose buckets are served, once that is known.
    pub tenancy: Tenancy,
    /// How much file info is kept, and for how long.
    pub file_info: FileInfoLimits,
    /// Where it is told what others write.
    pub changes: Changes,
    /// How often idempotent operations are tried again.
    pub retry: RetryLimits,
}

/// Stacks the layers on a provider, which accepts nobody but a [`Tenant`]: a stack without auth does not compile.
///
/// ```compile_fail
/// use hugbucket::storage::{StorageService, StorageStack, Tenant};
/// fn unguarded(provider: impl StorageService<Tenant>) -> StorageStack {
///     tower::util::BoxCloneSyncService::new(provider)
/// }
/// ```
pub fn storage_stack(
    settings: StackSettings,
    provider: impl StorageService<Tenant>,
) -> StorageStack {
    let StackSettings {
        metrics,
        max_in_flight,
        deadlines,
        credentials,
        quotas,
        tenancy,
        file_info,
        changes,
        retry,
    } = settings;
    // From the first that sees a request to the last. Each line says what breaks if it moved.
    let stack = ServiceBuilder::new()
        // Outermost: what any layer below logs belongs to a request.
        .layer(TraceLayer)
        // Above all that refuse, so that refusals count; the time is the client's, not the provider's.
        .layer(RequestMetricsLayer::new(&metrics))
        // Before anything costs something: overload is refused without looking at a signature.
        .layer(AdmissionLayer::new(max_in_flight, &metrics))
        // Above auth, whose verifying stream reads the client's bytes: they are what must keep coming.
        .layer(DeadlineLayer::new(deadlines))
        // Nothing below ever sees an unproven caller.
        .layer(AuthLayer::new(
            credentials,
            OffsetDateTime::now_utc,
            metrics.clone(),
        ))
        // Right below auth, which knows the principal: who has enough of his own is refused before he costs anything more.
        .layer(ShareLayer::new(max_in_flight, quotas.clone(), &metrics))
        // Below auth, so that a body that is held back does not look like a client that is silent.
        .layer(RateLayer::new(quotas, &metrics))
        // Below auth, which knows the principal; above all that answers, so that an answer shows no more than its caller sees.
        .layer(ReachLayer::new(&metrics))
        // Names become full bucket ids from here on, so that the cache cannot mix namespaces.
        .layer(NamespaceLayer::new(tenancy.clone(), &metrics))
        // Below namespace, which knows the bucket; above the cache, whose hits are not for strangers.
        .layer(PublicReadLayer::new(&metrics))
        // Above all that remembers, so that nothing remembered is shown to a token that could not have learnt it.
        .layer(ProofLayer::new(tenancy))
        // Above retry, so that a hit costs nothing, and those who share a lookup share its retries.
        .layer(FileInfoCacheLayer::new(file_info, &metrics).listening_to(&changes))
        // Below the cache, above the count of attempts.
        .layer(RetryPolicy::layer(retry))
        // Innermost: each attempt counts.
        .layer(ProviderMetricsLayer::new(&metrics))
        .service(provider);
    BoxCloneSyncService::new(stack)
}

#[cfg(test)]
mod tests;
