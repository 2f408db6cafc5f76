//! The running server: two listeners, one directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use url::Url;

use super::calls::Calls;
use super::config::{DevHubConfig, DevHubError};
use super::faults::Faults;
use super::observe::CutConnection;
use super::refusal::Refusal;
use super::state::{Shared, State, blocking};
use super::{cas, control, hub};
use crate::storage::Secret;

/// Bytes of a body of the Hub's API: 1,000 lines of a batch with keys of 1,024 escaped bytes fit.
const MAX_API_BODY: usize = 16 << 20;
/// How long connections may finish what they are at.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

/// A running development Hub. Dropping it stops the server at once; [`DevHub::shutdown`] lets calls end.
#[derive(Debug)]
pub struct DevHub {
    state: Shared,
    stopping: CancellationToken,
    listeners: JoinSet<()>,
    /// Held for as long as the directory is in use.
    _lock: File,
}

impl DevHub {
    /// Opens the directory, listens, and begins to serve.
    ///
    /// Errors: [`DevHubError`] when the directory is in use or unreadable, or an address cannot be had.
    pub async fn start(config: DevHubConfig) -> Result<Self, DevHubError> {
        if !config.listen.ip().is_loopback() {
            return Err(DevHubError::NotLoopback(config.listen));
        }
        std::fs::create_dir_all(&config.dir)?;
        let lock = lock(&config.dir)?;
        let hub = listen(config.listen).await?;
        let storage = listen(SocketAddr::new(config.listen.ip(), 0)).await?;
        let urls = (url_of(&hub)?, url_of(&storage)?);
        let state = blocking(move || State::open(&config, urls.0, urls.1)).await??;
        let state = Arc::new(state);
        let stopping = CancellationToken::new();
        let mut listeners = JoinSet::new();
        let api = hub::router(&state)
            .merge(control::router())
            .fallback(no_route)
            .layer(DefaultBodyLimit::max(MAX_API_BODY))
            .with_state(state.clone());
        listeners.spawn(serve(hub, api, stopping.clone()));
        let cas = cas::router(&state)
            .fallback(no_route)
            .with_state(state.clone());
        listeners.spawn(serve(storage, cas, stopping.clone()));
        Ok(Self {
            state,
            stopping,
            listeners,
            _lock: lock,
        })
    }

    /// Returns the address of the Hub: what `HF_ENDPOINT` is set to.
    pub fn url(&self) -> Url {
        self.state.hub_url.clone()
    }

    /// Returns the address of the CAS, storage, and CDN, as the Hub hands it out.
    pub fn storage_url(&self) -> Url {
        self.state.storage_url.clone()
    }

    /// Returns the faults to inject and the knobs to turn.
    pub fn faults(&self) -> &Faults {
        &self.state.faults
    }

    /// Returns the counters of calls.
    pub fn calls(&self) -> &Calls {
        &self.state.calls
    }

    /// Breaks off all change feeds that are followed now.
    pub fn cut_feeds(&self) {
        self.state.registry.feeds().cut();
    }

    /// Refuses a token from now on, as after its owner has revoked it. CAS tokens that it was given for count until they end.
    pub fn revoke(&self, token: &Secret) {
        self.state.revoked.insert(token);
    }

    /// Stops listening, lets running calls end for a second, and gives the directory free.
    pub async fn shutdown(mut self) {
        self.stopping.cancel();
        self.cut_feeds();
        while self.listeners.join_next().await.is_some() {}
    }
}

async fn no_route() -> Refusal {
    Refusal::not_found("no such route")
}

fn lock(dir: &Path) -> Result<File, DevHubError> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DevHubError::InUse(dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, DevHubError> {
    TcpListener::bind(address)
        .await
        .map_err(|error| DevHubError::Listen(address, error))
}

fn url_of(listener: &TcpListener) -> Result<Url, DevHubError> {
    let address = listener.local_addr()?;
    Url::parse(&format!("http://{address}")).map_err(|error| std::io::Error::other(error).into())
}

/// Accepts connections until told to stop, then waits for the running ones within the grace.
async fn serve(listener: TcpListener, router: Router, stopping: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stopping.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_connection(stream, router.clone(), stopping.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "development hub failed to accept a connection");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(SHUTDOWN_GRACE, drained).await;
}

async fn serve_connection(stream: TcpStream, router: Router, stopping: CancellationToken) {
    // Small answers must not wait for the acknowledgement of earlier ones.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let router = router.clone();
        async move {
            let response = router
                .oneshot(request)
                .await
                .unwrap_or_else(|never| match never {});
            // An error of the service closes the connection without an answer.
            match response.extensions().get::<CutConnection>() {
                Some(_) => Err(std::io::Error::other("injected reset")),
                None => Ok(response),
            }
        }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection to the development hub ended early");
    }
}
