//! Builds the gateway from its configuration: provider, stack, adapter. Nothing is opened or called here.

use std::collections::HashSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use futures::FutureExt as _;
use url::Url;

use crate::app::Failure;
use crate::config::{ChangeFeed, Config, Cors, PlaintextFtp, S3Settings};
use crate::ftp::{FtpConfig, FtpLimits, Plaintext, ProxySources};
use crate::layers::auth::{CredentialStore, PasswordUser, S3Key};
use crate::layers::{AskOwner, Deadlines, FileInfoLimits, Holder, Quotas, RetryLimits, Tenancy};
use crate::provider::cas::{CasConfig, DiskConfig};
use crate::provider::http::HttpConfig;
use crate::provider::hub::{HubClient, HubConfig};
use crate::provider::multipart::SweepConfig;
use crate::provider::undo::UndoConfig;
use crate::provider::{HfProvider, ProviderConfig};
use crate::s3::{self, CorsRule, CorsRules, S3Config, ServerLimits, TrustedProxies};
use crate::stack::{StackSettings, storage_stack};
use crate::storage::{Changes, Gateway, Protocol, Quota, SecretId};
use crate::telemetry::Metrics;

/// The gateway, ready to be served.
pub(super) struct Assembled {
    /// The S3 adapter over the whole stack.
    pub(super) s3: Router,
    /// The stack itself, for other adapters.
    pub(super) gateway: Gateway,
    /// The end of the stack: asked for the Hub at start, and for its last commits at the end.
    pub(super) provider: HfProvider,
    /// Where the namespace goes once it is known; until then every request is refused as unavailable.
    pub(super) tenancy: Tenancy,
    /// Who is let in.
    pub(super) credentials: Arc<ArcSwap<CredentialStore>>,
    /// What each of them may take.
    pub(super) quotas: Arc<ArcSwap<Quotas>>,
}

/// Puts the parts together for the Hub at `endpoint`.
///
/// Errors: the HTTP client cannot be built, for example because no root certificates are found.
pub(super) fn assemble(
    config: &Config,
    endpoint: Url,
    metrics: &Metrics,
) -> Result<Assembled, Failure> {
    let changes = Changes::default();
    let mut provider_config = provider_config(config, endpoint);
    provider_config.changes = follows_changes(config).then(|| changes.clone());
    let provider = HfProvider::new(provider_config, metrics)
        .map_err(|error| Failure::configuration(error.to_string()))?;
    let tenancy = Tenancy::asking(owners(provider.hub()));
    let credentials = Arc::new(ArcSwap::from_pointee(credentials(config)));
    let quotas = Arc::new(ArcSwap::from_pointee(quotas(config)));
    let settings = StackSettings {
        metrics: metrics.clone(),
        max_in_flight: config.limits.max_requests,
        deadlines: Deadlines {
            head: config.limits.head_timeout,
            idle: config.limits.idle_timeout,
        },
        credentials: credentials.clone(),
        quotas: quotas.clone(),
        tenancy: tenancy.clone(),
        file_info: FileInfoLimits {
            max_entries: config.caches.file_info_max_entries,
            ttl: config.caches.file_info_ttl,
            needs_feed: config.caches.change_feed == ChangeFeed::Required,
        },
        changes,
        retry: RetryLimits::default(),
    };
    let gateway = Gateway::new(storage_stack(settings, provider.clone()));
    Ok(Assembled {
        s3: s3::router(gateway.clone(), s3_config(config), metrics.clone()),
        gateway,
        provider,
        tenancy,
        credentials,
        quotas,
    })
}

/// Reports whether there is something that changes of others can make stale, and whether they are to be followed.
fn follows_changes(config: &Config) -> bool {
    let caches = &config.caches;
    let keeps_infos = caches.file_info_max_entries > 0 && !caches.file_info_ttl.is_zero();
    keeps_infos && caches.change_feed != ChangeFeed::Off
}

/// Returns what the provider needs to know to use the Hub at `endpoint`.
pub(super) fn provider_config(config: &Config, endpoint: Url) -> ProviderConfig {
    let http = HttpConfig {
        // A proxy cannot reach a loopback port of this process.
        uses_env_proxy: !config.hub.is_development(),
        ..HttpConfig::default()
    };
    ProviderConfig {
        cas: CasConfig {
            xorb_cache_max_bytes: config.caches.xorb_max_bytes,
            disk_cache: config.caches.disk_dir.clone().map(|dir| DiskConfig {
                dir,
                max_bytes: config.caches.disk_max_bytes,
                keeps_all: false,
            }),
            recon_cache_max_entries: config.caches.recon_max_entries,
            recon_cache_ttl: config.caches.recon_ttl,
            ingest_max_bytes: config.budgets.ingest_max_bytes,
            lookahead_max_bytes: config.budgets.lookahead_max_bytes,
            verifies_whole_objects: true,
            http: http.clone(),
        },
        hub: HubConfig { endpoint, http },
        changes: None,
        default_visibility: config.s3.default_visibility,
        max_uploads_per_bucket: config.limits.max_uploads_per_bucket,
        sweep: SweepConfig {
            expiry: config.limits.upload_expiry,
            ..SweepConfig::default()
        },
        keeps_checksums: config.s3.stores_checksums,
        undo: UndoConfig {
            periods: config.undo.clone(),
        },
    }
}

/// Returns what asks the Hub whose a token is.
fn owners(hub: &HubClient) -> Arc<AskOwner> {
    let hub = hub.clone();
    Arc::new(move |token| {
        let hub = hub.clone();
        async move { hub.whoami(&token).await.map(|owner| owner.name) }.boxed()
    })
}

/// Returns which tokens callers have of their own.
pub(super) fn own_tokens(config: &Config) -> HashSet<SecretId> {
    let keys = config.s3.credentials.iter().map(|one| &one.entitlement);
    let users = config.ftp.users.iter().map(|one| &one.entitlement);
    keys.chain(users)
        .filter_map(|entitlement| Some(entitlement.home.hub_token.as_ref()?.id()))
        .collect()
}

/// Returns who is let in.
pub(super) fn credentials(config: &Config) -> CredentialStore {
    let keys = config.s3.credentials.iter().map(|credential| S3Key {
        access_key_id: credential.access_key_id.clone(),
        secret: credential.secret.clone(),
        entitlement: credential.entitlement.clone(),
    });
    let users = config.ftp.users.iter().map(|user| PasswordUser {
        name: user.name.clone(),
        password: user.password.clone(),
        entitlement: user.entitlement.clone(),
    });
    CredentialStore::new(keys, users).letting_strangers_read(config.s3.anonymous_read)
}

/// Returns what each credential may take.
pub(super) fn quotas(config: &Config) -> Quotas {
    let settings = &config.quotas;
    let named = |protocol, of: &[(String, Quota)]| -> Vec<_> {
        let quotas = of.iter();
        quotas
            .map(|(name, quota)| (Holder::new(protocol, name), *quota))
            .collect()
    };
    let keys = named(Protocol::S3, &settings.of_keys);
    let users = named(Protocol::Ftp, &settings.of_users);
    let callers = config.s3.credentials.len()
        + config.ftp.users.len()
        + usize::from(config.s3.anonymous_read);
    Quotas {
        of: keys.into_iter().chain(users).collect(),
        general: settings.general,
        is_shared: callers > 1,
    }
}

fn s3_config(config: &Config) -> S3Config {
    let settings = &config.s3;
    S3Config {
        domains: settings.domains.clone(),
        region: settings.region.clone(),
        keeps_checksums: settings.stores_checksums,
        requires_region: settings.requires_region,
        trusted_proxies: trusted_proxies(settings),
        max_header_bytes: config.limits.max_header_bytes,
        max_headers: config.limits.max_headers,
        lets_strangers_read: settings.anonymous_read,
        cors: cors_rules(settings),
        ..S3Config::default()
    }
}

/// Returns the limits of the S3 listener.
pub(super) fn server_limits(config: &Config) -> ServerLimits {
    ServerLimits {
        max_connections: config.limits.max_connections,
        max_connections_per_address: config.limits.max_connections_per_address,
        trusted_proxies: trusted_proxies(&config.s3),
        header_read_timeout: config.limits.header_timeout,
        max_headers: config.limits.max_headers,
        drain_timeout: config.drain.timeout,
        ..ServerLimits::default()
    }
}

fn trusted_proxies(settings: &S3Settings) -> TrustedProxies {
    let proxies = settings.trusted_proxies.clone();
    TrustedProxies::new(move |peer| {
        let peer = peer.to_canonical();
        proxies.iter().any(|network| network.contains(&peer))
    })
}

/// Returns what the FTP adapter needs to know.
pub(super) fn ftp_config(config: &Config) -> FtpConfig {
    let settings = &config.ftp;
    let proxies = config.s3.trusted_proxies.clone();
    let expects_header = settings.expects_proxy_header;
    let defaults = FtpLimits::default();
    FtpConfig {
        passive_ports: settings.passive_ports.first..=settings.passive_ports.last,
        passive_host: settings.passive_host,
        allows_active: settings.allows_active,
        plaintext: match settings.plaintext {
            PlaintextFtp::Loopback => Plaintext::Loopback,
            PlaintextFtp::Always => Plaintext::Always,
            PlaintextFtp::Never => Plaintext::Never,
        },
        proxies: ProxySources::new(move |peer| {
            expects_header && proxies.iter().any(|network| network.contains(&peer))
        }),
        limits: FtpLimits {
            max_sessions: settings.max_sessions,
            max_sessions_per_address: settings.max_sessions_per_address,
            max_list_entries: settings.max_list_entries,
            idle_timeout: settings.idle_timeout,
            stall_timeout: config.limits.idle_timeout,
            drain_timeout: config.drain.timeout,
            ..defaults
        },
    }
}

fn cors_rules(settings: &S3Settings) -> CorsRules {
    let mut rules = match &settings.cors {
        Cors::Any => CorsRules::open_to(["*".to_owned()]),
        Cors::Off => CorsRules::off(),
        Cors::Origins(origins) => CorsRules::open_to(origins.iter().cloned()),
    };
    for own in &settings.bucket_cors {
        let rule = CorsRule {
            origins: own.origins.clone(),
            methods: own.methods.clone(),
            headers: own.headers.clone(),
            exposed: own.expose.clone(),
            max_age: own.max_age,
        };
        let bucket = rules.of_bucket.entry(own.bucket.clone());
        bucket.or_default().push(rule);
    }
    rules
}
