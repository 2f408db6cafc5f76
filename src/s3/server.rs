//! The connection server: HTTP/1.1 and HTTP/2 on one port, with or without TLS, and with bounds on what a client may do
//! before it is known.

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
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use crate::s3::census::{Census, refuse};
use crate::s3::config::{DEFAULT_MAX_HEADERS, ServerLimits};
use crate::s3::handshake::shake_hands;
use crate::s3::read_share::ReadShares;
use crate::telemetry::Metrics;

/// Connections that are told at the same time why they are refused.
const MAX_REFUSALS: usize = 256;

/// How long the server waits before it accepts again when the process is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The largest buffer for a request head, and the unit in which bodies are read: hyper's own default. The adapter bounds
/// the header section further.
const READ_BUFFER_BYTES: usize = 400 << 10;

/// Flow-control windows of HTTP/2: what may be in flight on a fast link with a few milliseconds of latency.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// Marks the requests of a connection that is encrypted up to this process.
#[derive(Debug, Clone, Copy)]
pub(super) struct OverTls;

/// Serves `router` on `listener` until `shutdown` is cancelled, then lets requests under way finish. With `tls`, every
/// connection begins with a handshake.
///
/// # Behaviour
/// - A handshake that takes too long, and plain HTTP where TLS is spoken, end the connection, the latter with an answer.
/// - Beyond `max_connections`, and beyond those that an address may have, connections are refused, with an answer where it
///   can be read without a handshake.
/// - After the shutdown began, no connection is accepted and idle ones are closed; the function returns when the last
///   request has been answered, or after `drain_timeout`, whichever comes first.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<Arc<ServerConfig>>,
    limits: ServerLimits,
    metrics: Metrics,
    shutdown: CancellationToken,
) {
    let builder = Arc::new(builder(&limits));
    let tls = tls.map(TlsAcceptor::from);
    let shares = ReadShares::default();
    let graceful = GracefulShutdown::new();
    let census = Census::new(limits.clone(), metrics);
    let refusals = Arc::new(Semaphore::new(MAX_REFUSALS));
    let mut stopped = pin!(shutdown.cancelled());
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stopped => break,
            accepted = accept(&listener) => accepted,
        };
        let (stream, peer) = accepted;
        let seat = match census.enter(peer.ip()) {
            Ok(seat) => seat,
            Err(refusal) => {
                // Nobody is told within TLS, and of a flood not everybody: what refusing costs is bounded too.
                if tls.is_none()
                    && let Ok(permit) = refusals.clone().try_acquire_owned()
                {
                    tokio::spawn(async move {
                        refuse(stream, refusal).await;
                        drop(permit);
                    });
                }
                continue;
            }
        };
        let connection = Connection {
            peer,
            router: router.clone(),
            builder: Arc::clone(&builder),
            tls: tls.clone(),
            shares: shares.clone(),
            patience: limits.header_read_timeout,
            handshake_patience: limits.handshake_timeout,
        };
        let opened = connection.open(stream, graceful.watcher(), shutdown.clone());
        tokio::spawn(async move {
            opened.await;
            drop(seat);
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

/// What serves an accepted connection.
struct Connection {
    peer: SocketAddr,
    router: Router,
    builder: Arc<Builder<TokioExecutor>>,
    tls: Option<TlsAcceptor>,
    shares: ReadShares,
    patience: Duration,
    handshake_patience: Duration,
}

impl Connection {
    /// Completes the handshake, if there is to be one, and serves the connection. A shutdown ends handshakes at once:
    /// nothing was asked yet, so nothing is lost.
    async fn open(self, stream: TcpStream, watcher: Watcher, closing: CancellationToken) {
        let Some(tls) = self.tls.clone() else {
            return self.serve(stream, watcher).await;
        };
        tokio::select! {
            opened = shake_hands(stream, &tls, self.handshake_patience) => match opened {
                Ok(stream) => self.serve(stream, watcher).await,
                Err(error) => tracing::debug!(peer = %self.peer, %error, "a handshake failed"),
            },
            () = closing.cancelled() => {}
        }
    }

    /// Serves the connection to its end. One that brings no request for as long as a head may take is closed: hyper's own
    /// timer begins only after the protocol's version is known.
    async fn serve(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        watcher: Watcher,
    ) {
        let Self {
            peer,
            router,
            builder,
            tls,
            shares,
            patience,
            ..
        } = self;
        let is_secure = tls.is_some();
        let has_asked = Arc::new(AtomicBool::new(false));
        let asking = Arc::clone(&has_asked);
        let service = service_fn(move |request: Request<Incoming>| {
            asking.store(true, Ordering::Relaxed);
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            if is_secure {
                request.extensions_mut().insert(OverTls);
            }
            // A router is always ready.
            router.clone().call(request)
        });
        let silence = async {
            tokio::time::sleep(patience).await;
            if has_asked.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        let served =
            watcher.watch(builder.serve_connection(TokioIo::new(shares.join(stream)), service));
        tokio::select! {
            served = served => if let Err(error) = served {
                tracing::debug!(%peer, %error, "a connection broke");
            },
            () = silence => tracing::debug!(%peer, "a connection brought no request"),
        }
    }
}

/// Accepts one connection.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Answers are written whole: waiting for more only delays them.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%peer, %error, "a connection keeps Nagle's algorithm");
                }
                return (stream, peer);
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
    if limits.max_headers > DEFAULT_MAX_HEADERS {
        builder.http1().max_headers(limits.max_headers);
    }
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use bytes::Bytes;
    use futures::SinkExt as _;
    use futures::channel::mpsc;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::task::JoinHandle;

    use super::*;
    use crate::s3::testing::{Stage, object, ordinary};
    use crate::storage::{AnyOutput, ByteStream, ObjectData, StorageError};

    struct Served {
        address: SocketAddr,
        shutdown: CancellationToken,
        ended: JoinHandle<()>,
    }

    async fn served(stage: &Stage, limits: ServerLimits) -> Served {
        served_with(stage, None, limits).await
    }

    async fn served_over_tls(limits: ServerLimits) -> Served {
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::Pkcs8(pair.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![pair.cert.der().clone()], key)
            .unwrap();
        served_with(&Stage::new(), Some(Arc::new(tls)), limits).await
    }

    async fn served_with(
        stage: &Stage,
        tls: Option<Arc<ServerConfig>>,
        limits: ServerLimits,
    ) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let ended = tokio::spawn(serve(
            listener,
            stage.router.clone(),
            tls,
            limits,
            Metrics::new(),
            shutdown.clone(),
        ));
        Served {
            address,
            shutdown,
            ended,
        }
    }

    impl Served {
        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).await.unwrap()
        }

        /// Sends everything, and returns everything that comes back until the server closes.
        async fn exchange(&self, request: &str) -> String {
            let mut stream = self.connect().await;
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            String::from_utf8(answer).unwrap()
        }
    }

    fn put(expect: &str, body: &str) -> String {
        let len_bytes = body.len().max(1);
        format!("PUT /b/k HTTP/1.1\r\nhost: x\r\n{expect}content-length: {len_bytes}\r\n\r\n{body}")
    }

    #[tokio::test]
    async fn a_refusal_comes_before_100_continue_and_closes() {
        let server = served(
            &Stage::failing(StorageError::denied("no")),
            ServerLimits::default(),
        )
        .await;
        let answer = server.exchange(&put("expect: 100-continue\r\n", "")).await;
        assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        assert!(answer.contains("\r\ndate: "), "{answer}");
    }

    #[tokio::test]
    async fn a_client_that_sends_everything_first_still_reads_the_refusal() {
        let server = served(
            &Stage::failing(StorageError::denied("no")),
            ServerLimits::default(),
        )
        .await;
        let answer = server.exchange(&put("", &"x".repeat(8 << 20))).await;
        assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
        assert!(answer.ends_with("</Error>"), "{answer}");
    }

    #[tokio::test]
    async fn an_accepted_upload_gets_its_100_continue() {
        let stage = Stage::new();
        let server = served(&stage, ServerLimits::default()).await;
        let mut stream = server.connect().await;
        stream
            .write_all(put("expect: 100-continue\r\n", "").as_bytes())
            .await
            .unwrap();
        let mut answer = [0; 25];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"x").await.unwrap();
        let mut answer = [0; 15];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        assert_eq!(stage.only_call().payload, "x");
    }

    /// A stage whose objects come frame by frame, as the test sends them.
    fn fed() -> (Stage, mpsc::Sender<Result<Bytes, StorageError>>) {
        let (sender, receiver) = mpsc::channel(1);
        let receiver = Mutex::new(Some(receiver));
        let stage = Stage::answering(move |_| {
            let frames = receiver.lock().unwrap().take().unwrap();
            Ok(AnyOutput::GetObject(ObjectData {
                info: Arc::new(object()),
                range: None,
                part: None,
                body: ByteStream::new(frames, Some(10)),
            }))
        });
        (stage, sender)
    }

    const GET: &[u8] = b"GET /b/k HTTP/1.1\r\nhost: x\r\n\r\n";

    #[tokio::test]
    async fn a_read_that_fails_midway_closes_the_connection_short() {
        let (stage, mut frames) = fed();
        let server = served(&stage, ServerLimits::default()).await;
        let mut stream = server.connect().await;
        stream.write_all(GET).await.unwrap();
        frames.send(Ok(Bytes::from("012"))).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n012") {
            answer.push(stream.read_u8().await.unwrap());
        }
        let lost = Err(StorageError::internal("lost"));
        frames.send(lost).await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty(), "{rest:?}");
        assert!(
            String::from_utf8(answer)
                .unwrap()
                .contains("content-length: 10")
        );
    }

    #[tokio::test]
    async fn connections_that_ask_nothing_are_closed() {
        let limits = ServerLimits {
            header_read_timeout: Duration::from_millis(50),
            ..ServerLimits::default()
        };
        let server = served(&Stage::new(), limits).await;
        // Nothing; what may yet become the preface of HTTP/2; half a head.
        for beginning in ["", "P", "GET / HTTP/1.1\r\nhost"] {
            let answer = server.exchange(beginning).await;
            assert!(!answer.contains("200 OK"), "{answer}");
        }
    }

    #[tokio::test]
    async fn connections_beyond_the_limit_are_told_and_the_others_go_on() {
        let limits = ServerLimits {
            max_connections_per_address: 1,
            ..ServerLimits::default()
        };
        let server = served(&Stage::new(), limits).await;
        let mut first = server.connect().await;
        let refused = server.exchange("").await;
        assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
        assert!(refused.contains("<Code>SlowDown</Code>"), "{refused}");
        assert!(refused.contains("from your address"), "{refused}");
        first.write_all(GET).await.unwrap();
        let mut answer = [0; 15];
        first.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
    }

    #[tokio::test]
    async fn a_handshake_has_to_come_soon() {
        let limits = ServerLimits {
            handshake_timeout: Duration::from_millis(50),
            ..ServerLimits::default()
        };
        let server = served_over_tls(limits).await;
        // Nothing; half of a record's head.
        for beginning in ["", "\u{16}\u{3}"] {
            assert_eq!(server.exchange(beginning).await, "");
        }
    }

    #[tokio::test]
    async fn a_shutdown_does_not_wait_for_handshakes() {
        let server = served_over_tls(ServerLimits::default()).await;
        let mut stream = server.connect().await;
        stream.write_all(&[22]).await.unwrap();
        // Answered, so the one before was accepted.
        let refused = server.exchange(std::str::from_utf8(GET).unwrap()).await;
        assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
        assert!(refused.contains("This port speaks HTTPS"), "{refused}");
        server.shutdown.cancel();
        server.ended.await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
    }

    #[tokio::test]
    async fn a_shutdown_lets_requests_under_way_finish() {
        let (stage, mut frames) = fed();
        let server = served(&stage, ServerLimits::default()).await;
        let mut stream = server.connect().await;
        stream.write_all(GET).await.unwrap();
        let mut first = [0; 15];
        stream.read_exact(&mut first).await.unwrap();
        server.shutdown.cancel();
        while TcpStream::connect(server.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(!server.ended.is_finished());
        frames.send(Ok(Bytes::from("0123456789"))).await.unwrap();
        drop(frames);
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert!(rest.ends_with("\r\n\r\n0123456789"), "{rest}");
        server.ended.await.unwrap();
    }

    #[tokio::test]
    async fn a_shutdown_does_not_wait_for_ever() {
        let (stage, _frames) = fed();
        let limits = ServerLimits {
            drain_timeout: Duration::ZERO,
            ..ServerLimits::default()
        };
        let server = served(&stage, limits).await;
        let mut stream = server.connect().await;
        stream.write_all(GET).await.unwrap();
        stream.read_exact(&mut [0; 15]).await.unwrap();
        server.shutdown.cancel();
        server.ended.await.unwrap();
    }

    #[tokio::test]
    async fn http_2_is_spoken_on_the_same_port() {
        let server = served(
            &Stage::answering(|operation| Ok(ordinary(operation))),
            ServerLimits::default(),
        )
        .await;
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .http2_prior_knowledge()
            .no_proxy()
            .build()
            .unwrap();
        let url = format!("http://{}/b/k", server.address);
        let answer = client.get(&url).send().await.unwrap();
        assert_eq!(
            (answer.version(), answer.status().as_u16()),
            (http::Version::HTTP_2, 200)
        );
        assert_eq!(answer.text().await.unwrap(), "0123456789");
        let answer = client.put(&url).body("abc").send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
}
