//! The life of the process that serves: bind, assemble, find out whose buckets these are, serve, drain.

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::announce::Announcement;
use crate::app::assemble::{Assembled, assemble, ftp_config, server_limits};
use crate::app::listen::{self, Addresses};
use crate::app::reload::{Followers, Reloader, Sources};
use crate::app::upstream::Upstream;
use crate::app::{Failure, identity};
use crate::config::{Config, TlsFiles};
use crate::ftp::{Ftp, FtpTls, Opening};
use crate::layers::Scope;
use crate::s3;
use crate::shutdown::{self, Drained, Shutdown};
use crate::storage::Namespace;
use crate::telemetry::{Admin, ConfigPart, LogFilter, LogFormat, Metrics, Readiness, admin};
use crate::tls::{self, Certificate, PemFiles};

/// What names the files of certificates.
const CERTIFICATE_VARIABLES: &str =
    "HUGBUCKET_TLS_CERT_FILE, HUGBUCKET_TLS_KEY_FILE, and the same for FTP";

/// Serves until a signal comes, then drains.
///
/// Listeners are bound before anything else, and served at once: while the Hub cannot be reached, `/livez` answers 200,
/// `/readyz` 503, and S3 requests are refused as unavailable.
///
/// Errors: [`Failure::Configuration`] for what a restart would not cure: an address that is taken, a token that the Hub
/// refuses, a directory that is in use.
pub async fn serve(
    config: Config,
    sources: Sources,
    log: LogFilter,
    metrics: Metrics,
) -> Result<(), Failure> {
    let mut termination = pin!(termination()?);
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    // From here on, a SIGHUP ends nobody.
    let hangups = hangups()?;
    let certificate = load(config.tls.as_ref(), ConfigPart::Certificate, &metrics).await?;
    let ftp_certificate = ftp_certificate(&config, certificate.as_ref(), &metrics).await?;
    metrics.config_loaded(ConfigPart::Settings, true);
    let listeners = listen::bind(&config.listeners).await?;
    let addresses = listeners.addresses();
    let upstream = Upstream::open(&config).await?;
    let gateway = assemble(&config, upstream.endpoint.clone(), &metrics)?;
    let readiness = Readiness::new(metrics.clone());
    let shutdown = Shutdown::new();
    if let Some(listener) = listeners.admin {
        let admin = Admin {
            metrics: metrics.clone(),
            readiness: readiness.clone(),
            is_development: config.hub.is_development(),
        };
        serve_admin(listener, admin);
    }
    if let Some(listener) = listeners.s3 {
        let certificate = certificate.as_ref();
        serve_s3(
            listener,
            certificate,
            &gateway,
            &config,
            &metrics,
            &shutdown,
        );
    }
    if listeners.ftp.is_some() || listeners.ftps.is_some() {
        let ftp = ftp(
            ftp_certificate.as_ref(),
            &gateway,
            &config,
            &metrics,
            &shutdown,
        );
        for (listener, opening) in [
            (listeners.ftp, Opening::Plain),
            (listeners.ftps, Opening::Tls),
        ] {
            if let Some(listener) = listener {
                serve_ftp(ftp.clone(), listener, opening, &gateway, &shutdown);
            }
        }
    }
    readiness.listeners_bound();

    let (hub, configured) = (gateway.provider.hub(), config.namespace.as_ref());
    tokio::select! {
        () = &mut termination => {}
        namespace = identity::namespace(hub, &upstream.token, configured, &readiness) => {
            let namespace = namespace?;
            open(&config, &upstream, &gateway, &readiness, addresses, &namespace)?;
            let followers = Followers {
                credentials: gateway.credentials.clone(),
                quotas: gateway.quotas.clone(),
                log,
                hub: hub.clone(),
                tenancy: gateway.tenancy.clone(),
                metrics,
            };
            let scope = scope(&config, &upstream, &namespace);
            let reloader = Reloader::new(sources, config.clone(), scope, followers)?;
            tokio::spawn(reloader.follow(hangups));
            termination.await;
        }
    }
    readiness.draining();
    drain(shutdown, &config).await;
    upstream.close().await;
    Ok(())
}

fn termination() -> Result<impl Future<Output = ()>, Failure> {
    shutdown::termination()
        .map_err(|error| Failure::Runtime(format!("cannot watch signals: {error}")))
}

/// Reads a certificate, if there is to be one, and has it renewed from then on.
///
/// Errors: a file is missing or not what it should be; SIGHUP cannot be watched.
async fn load(
    files: Option<&TlsFiles>,
    part: ConfigPart,
    metrics: &Metrics,
) -> Result<Option<Certificate>, Failure> {
    let Some(files) = files else {
        return Ok(None);
    };
    let files = PemFiles {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
    };
    let certificate = Certificate::load(files).await;
    let certificate = certificate
        .map_err(|error| Failure::configuration(format!("{error} ({CERTIFICATE_VARIABLES})")))?;
    let metrics = metrics.clone();
    let looked = move |is_ok| metrics.config_loaded(part, is_ok);
    tokio::spawn(tls::keep_fresh(certificate.clone(), hangups()?, looked));
    Ok(Some(certificate))
}

/// Returns the certificate of the FTP listeners: their own, or that of the S3 listener.
async fn ftp_certificate(
    config: &Config,
    of_s3: Option<&Certificate>,
    metrics: &Metrics,
) -> Result<Option<Certificate>, Failure> {
    if config.ftp.tls == config.tls {
        return Ok(of_s3.cloned());
    }
    let is_served = config.listeners.ftp.is_some() || config.listeners.ftps.is_some();
    let files = config.ftp.tls.as_ref().filter(|_| is_served);
    load(files, ConfigPart::FtpCertificate, metrics).await
}

fn hangups() -> Result<Signal, Failure> {
    signal(SignalKind::hangup())
        .map_err(|error| Failure::Runtime(format!("cannot watch signals: {error}")))
}

/// Serves the admin listener to the very end of the process: whoever watches the drain asks it.
fn serve_admin(listener: TcpListener, admin: Admin) {
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, admin::router(admin)).await {
            tracing::error!(%error, "the admin listener failed");
        }
    });
}

/// Serves S3. The drain waits for its requests, and then for the commits that outlive them.
fn serve_s3(
    listener: TcpListener,
    certificate: Option<&Certificate>,
    gateway: &Assembled,
    config: &Config,
    metrics: &Metrics,
    shutdown: &Shutdown,
) {
    let (limits, metrics) = (server_limits(config), metrics.clone());
    let (router, provider) = (gateway.s3.clone(), gateway.provider.clone());
    let tls = certificate.map(|certificate| certificate.server_config(&s3::ALPN_PROTOCOLS));
    let closing = shutdown.closing();
    shutdown.work().spawn(async move {
        s3::serve(listener, router, tls, limits, metrics, closing).await;
        provider.drained().await;
    });
}

/// Returns what all FTP listeners share.
fn ftp(
    certificate: Option<&Certificate>,
    gateway: &Assembled,
    config: &Config,
    metrics: &Metrics,
    shutdown: &Shutdown,
) -> Arc<Ftp> {
    let tls = certificate.map(|certificate| FtpTls::new(&certificate.server_config(&[])));
    Ftp::new(
        gateway.gateway.clone(),
        ftp_config(config),
        tls,
        metrics.clone(),
        shutdown.closing(),
    )
}

/// Serves FTP. The drain waits for its transfers, and then for the commits that outlive them.
fn serve_ftp(
    ftp: Arc<Ftp>,
    listener: TcpListener,
    opening: Opening,
    gateway: &Assembled,
    shutdown: &Shutdown,
) {
    let provider = gateway.provider.clone();
    shutdown.work().spawn(async move {
        ftp.serve(listener, opening).await;
        provider.drained().await;
    });
}

/// Lets requests through, and says so.
fn open(
    config: &Config,
    upstream: &Upstream,
    gateway: &Assembled,
    readiness: &Readiness,
    addresses: Addresses,
    namespace: &Namespace,
) -> Result<(), Failure> {
    gateway.tenancy.resolve(scope(config, upstream, namespace));
    readiness.namespace_resolved();
    let announcement = Announcement {
        config,
        addresses,
        namespace,
        hub: upstream.endpoint.as_str().trim_end_matches('/'),
        development_token: upstream.development_token(),
    };
    tracing::info!(
        s3 = addresses.s3.map(tracing::field::display),
        ftp = addresses.ftp.map(tracing::field::display),
        ftps = addresses.ftps.map(tracing::field::display),
        admin = addresses.admin.map(tracing::field::display),
        hub = announcement.hub,
        %namespace,
        "serving"
    );
    if config.log.format == LogFormat::Text {
        println!("{}", announcement.banner());
    }
    match &config.ready_file {
        None => Ok(()),
        Some(path) => announcement.write_ready_file(path).map_err(|error| {
            Failure::configuration(format!(
                "cannot write {} (HUGBUCKET_READY_FILE): {error}",
                path.display()
            ))
        }),
    }
}

fn scope(config: &Config, upstream: &Upstream, namespace: &Namespace) -> Scope {
    Scope {
        namespace: namespace.clone(),
        extra_namespaces: Arc::from(config.extra_namespaces.as_slice()),
        hub_token: upstream.token.clone(),
    }
}

async fn drain(shutdown: Shutdown, config: &Config) {
    if let Some(path) = &config.ready_file {
        remove_ready_file(path);
    }
    match shutdown.drain(config.drain).await {
        Drained::Whole => tracing::info!("drained"),
        Drained::Cut(tasks) => tracing::warn!(tasks, "the time to drain is over; work is cut off"),
    }
}

/// Nobody waits for this file any more; that it is gone already is no error worth telling.
fn remove_ready_file(path: &Path) {
    let _ = std::fs::remove_file(path);
}
