//! The connection server: HTTP/1.1 and HTTP/2 on one port, with bounds on what a client may do before it is known.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use crate::s3::config::ServerLimits;

/// How long the server waits before it accepts again when the process is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The largest buffer for a request head, and the unit in which bodies are read: hyper's own default. The adapter bounds
/// the header section further.
const READ_BUFFER_BYTES: usize = 400 << 10;

/// Flow-control windows of HTTP/2: what may be in flight on a fast link with a few milliseconds of latency.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// Serves `router` on `listener` until `shutdown` is cancelled, then lets requests under way finish.
///
/// # Behaviour
/// - Beyond `max_connections`, nothing is accepted until a connection ends.
/// - After the shutdown began, no connection is accepted and idle ones are closed; the function returns when the last
///   request has been answered, or after `drain_timeout`, whichever comes first.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ServerLimits,
    shutdown: CancellationToken,
) {
    let builder = Arc::new(builder(&limits));
    let graceful = GracefulShutdown::new();
    let connections = Arc::new(Semaphore::new(limits.max_connections));
    let mut stopped = pin!(shutdown.cancelled_owned());
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stopped => break,
            accepted = accept(&listener, &connections) => accepted,
        };
        let (stream, peer, permit) = accepted;
        let connection = Connection {
            stream,
            peer,
            router: router.clone(),
            builder: Arc::clone(&builder),
            patience: limits.header_read_timeout,
        };
        let served = connection.serve(graceful.watcher());
        tokio::spawn(async move {
            served.await;
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.drain_timeout, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!(after = ?limits.drain_timeout, "requests under way are cut off");
    }
}

/// An accepted connection.
struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    builder: Arc<Builder<TokioExecutor>>,
    patience: Duration,
}

impl Connection {
    /// Serves the connection to its end. One that brings no request for as long as a head may take is closed: hyper's own
    /// timer begins only after the protocol's version is known.
    async fn serve(self, watcher: Watcher) {
        let Self {
            stream,
            peer,
            router,
            builder,
            patience,
        } = self;
        let has_asked = Arc::new(AtomicBool::new(false));
        let asking = Arc::clone(&has_asked);
        let service = service_fn(move |request: Request<Incoming>| {
            asking.store(true, Ordering::Relaxed);
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            // A router is always ready.
            router.clone().call(request)
        });
        let silence = async {
            tokio::time::sleep(patience).await;
            if has_asked.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        let served = watcher.watch(builder.serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            served = served => if let Err(error) = served {
                tracing::debug!(%peer, %error, "a connection broke");
            },
            () = silence => tracing::debug!(%peer, "a connection brought no request"),
        }
    }
}

/// Accepts one connection, once there is room for it.
async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit) {
    let permit = Arc::clone(connections)
        .acquire_owned()
        .await
        .expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Answers are written whole: waiting for more only delays them.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%peer, %error, "a connection keeps Nagle's algorithm");
                }
                return (stream, peer, permit);
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "failed to accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Reports whether only the connection failed that would have been accepted.
fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
    )
}

fn builder(limits: &ServerLimits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read_timeout)
        .max_buf_size(READ_BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_streams)
        .max_header_list_size(64 << 10)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        // A peer that has gone without a word is noticed after a minute and a half.
        .keep_alive_interval(Duration::from_secs(60))
        .keep_alive_timeout(Duration::from_secs(30));
    builder
}
