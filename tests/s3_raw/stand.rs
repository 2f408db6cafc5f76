//! The whole gateway in this process: S3 listener, stack, provider, and a development Hub behind it.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use hugbucket::devhub::{DevHub, DevHubConfig};
use hugbucket::layers::auth::{CredentialStore, S3Key};
use hugbucket::layers::{Deadlines, FileInfoLimits, RetryLimits, Scope, Tenancy};
use hugbucket::provider::cas::CasConfig;
use hugbucket::provider::http::HttpConfig;
use hugbucket::provider::hub::HubConfig;
use hugbucket::provider::multipart::SweepConfig;
use hugbucket::provider::undo::UndoConfig;
use hugbucket::provider::{HfProvider, ProviderConfig};
use hugbucket::s3::{self, S3Config, ServerLimits};
use hugbucket::stack::{StackSettings, storage_stack};
use hugbucket::storage::{Changes, Entitlement, Gateway, Namespace, Rights, Secret, Visibility};
use hugbucket::telemetry::Metrics;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::wire::Request;

pub(crate) const ACCESS_KEY: &str = "hugbucket/with/slashes";
pub(crate) const SECRET_KEY: &str = "a secret";

/// A key with the same secret that may only read.
pub(crate) const READER_KEY: &str = "reader";

/// A gateway that ends with the test, and that has one bucket, named `bucket`.
pub(crate) struct Stand {
    pub(crate) address: SocketAddr,
    pub(crate) hub: DevHub,
    _shutdown: DropGuard,
    _dir: tempfile::TempDir,
}

impl Stand {
    pub(crate) async fn start() -> Self {
        Self::start_with(S3Config::default()).await
    }

    pub(crate) async fn start_with(config: S3Config) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let token = Secret::new("hf_test");
        let hub = DevHub::start(DevHubConfig::new(dir.path(), token.clone(), "ada"))
            .await
            .unwrap();
        let metrics = Metrics::new();
        let http = HttpConfig {
            uses_env_proxy: false,
            ..HttpConfig::default()
        };
        let provider = ProviderConfig {
            hub: HubConfig {
                endpoint: hub.url(),
                http: http.clone(),
            },
            cas: CasConfig {
                http,
                ..CasConfig::default()
            },
            default_visibility: Visibility::Private,
            keeps_checksums: false,
            max_uploads_per_bucket: 0,
            changes: None,
            sweep: SweepConfig::default(),
            undo: UndoConfig::default(),
        };
        let provider = HfProvider::new(provider, &metrics).unwrap();
        let tenancy = Tenancy::unresolved();
        tenancy.resolve(Scope {
            namespace: Namespace::new("ada").unwrap(),
            extra_namespaces: Arc::from([]),
            hub_token: token,
        });
        let key = |access_key_id: &str, rights| S3Key {
            access_key_id: access_key_id.into(),
            secret: Secret::new(SECRET_KEY),
            entitlement: Entitlement {
                rights,
                ..Entitlement::default()
            },
        };
        let keys = [
            key(ACCESS_KEY, Rights::All),
            key(READER_KEY, Rights::ReadOnly),
        ];
        let settings = StackSettings {
            metrics: metrics.clone(),
            max_in_flight: 0,
            quotas: Arc::default(),
            deadlines: Deadlines::default(),
            credentials: Arc::new(ArcSwap::from_pointee(CredentialStore::new(keys, []))),
            tenancy,
            file_info: FileInfoLimits::default(),
            changes: Changes::default(),
            retry: RetryLimits::default(),
        };
        let gateway = Gateway::new(storage_stack(settings, provider));
        let strict_region = config.requires_region.then(|| config.region.clone());
        let router = s3::router(gateway, config, metrics.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        tokio::spawn(s3::serve(
            listener,
            router,
            None,
            ServerLimits::default(),
            metrics,
            shutdown.clone(),
        ));
        let stand = Self {
            address,
            _shutdown: shutdown.drop_guard(),
            hub,
            _dir: dir,
        };
        let mut make = Request::new("PUT", "/bucket").body("");
        if let Some(region) = strict_region {
            make = make.region(&region);
        }
        let made = make.signed(&stand).send(&stand).await;
        assert_eq!(made.status, 200, "{}", made.text());
        stand
    }
}
