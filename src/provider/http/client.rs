//! The clients themselves: one pool of connections, with or without retry around it.

use std::time::Duration;

use reqwest::redirect;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use reqwest_retry::RetryTransientMiddleware;

use crate::provider::http::attempt::Attempt;
use crate::provider::http::destination::Destinations;
use crate::provider::http::pause::Pause;
use crate::provider::http::retry::TransientOnly;
use crate::storage::StorageError;
use crate::telemetry::{Metrics, Upstream};

/// How connections are made and how long is tried.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Time to establish a connection, TLS included. Default 10 s.
    pub connect_timeout: Duration,
    /// Time without a byte from the upstream before a call fails; the time to send a request's body counts too, so
    /// clients that send large bodies set it to `None`. Default 60 s.
    pub idle_timeout: Option<Duration>,
    /// How long an unused connection is kept. Default 90 s; the storage behind signed URLs closes them sooner.
    pub pool_idle_timeout: Duration,
    /// Unused connections kept for each host. Default 64.
    pub pool_max_idle_per_host: usize,
    /// Whether HTTP/2 is spoken where the upstream offers it. Default true. With it, all streams of a connection share one
    /// window of flow control, and those that nobody reads block the others: clients that stream bodies at the pace of
    /// their own readers turn it off.
    pub allows_http2: bool,
    /// Whether `HTTPS_PROXY`, `HTTP_PROXY`, and `NO_PROXY` are obeyed. Default true.
    pub uses_env_proxy: bool,
    /// Where connections may lead. Default anywhere: an operator's own endpoint may be anything.
    pub destinations: Destinations,
    /// Time for one attempt of a retried call, its answer's body included. Default 30 s.
    pub attempt_timeout: Duration,
    /// Attempts after the first. Default 4, as the Hub's own client makes. 0 turns retry off.
    pub max_retries: u32,
    /// Backoff before the first retry; it doubles with each. Default 500 ms.
    pub min_backoff: Duration,
    /// Longest backoff. Default 8 s.
    pub max_backoff: Duration,
    /// No attempt begins later than this after the first. Default 45 s: clients of S3 give up after a minute.
    pub max_total: Duration,
    /// Longest wait that an upstream may ask for (`Retry-After`, `RateLimit`); a call that should wait longer is answered
    /// at once. Default 20 s.
    pub max_pause: Duration,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Some(Duration::from_secs(60)),
            pool_idle_timeout: Duration::from_secs(90),
            pool_max_idle_per_host: 64,
            allows_http2: true,
            uses_env_proxy: true,
            destinations: Destinations::ANY,
            attempt_timeout: Duration::from_secs(30),
            max_retries: 4,
            min_backoff: Duration::from_millis(500),
            max_backoff: Duration::from_secs(8),
            max_total: Duration::from_secs(45),
            max_pause: Duration::from_secs(20),
        }
    }
}

/// Builds a pool of connections: rustls on ring, no redirects, no cookies, no referer, TCP_NODELAY.
///
/// Redirects are answers here, never followed: a token must not travel to another host.
///
/// Errors: [`StorageError::Internal`] if TLS cannot be set up, for example without any CA certificate.
pub fn base_client(config: &HttpConfig) -> Result<reqwest::Client, StorageError> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Losing the race against another installation is fine: every one of ours installs the same provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("hugbucket/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .referer(false)
        .tcp_nodelay(true)
        .connect_timeout(config.connect_timeout)
        .pool_idle_timeout(config.pool_idle_timeout)
        .pool_max_idle_per_host(config.pool_max_idle_per_host);
    if let Some(idle_timeout) = config.idle_timeout {
        builder = builder.read_timeout(idle_timeout);
    }
    if !config.allows_http2 {
        builder = builder.http1_only();
    }
    if let Some(resolver) = config.destinations.resolver() {
        builder = builder.dns_resolver(resolver);
    }
    if !config.uses_env_proxy {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| {
        StorageError::internal(format!("failed to set up the HTTP client: {error:?}"))
    })
}

/// Puts retry around a pool, for calls whose body can be sent again.
///
/// # Behaviour
/// - Connect errors, broken connections, timeouts, 408, 429, 500, 502, 503, and 504 are tried again after a jittered
///   exponential backoff, bounded in attempts and in total time.
/// - `Retry-After` and an exhausted `RateLimit` are waited out up to [`HttpConfig::max_pause`]; beyond it the answer is
///   returned at once.
/// - Every attempt is counted and has a client span of its own, named after the request's [`CallName`].
///
/// [`CallName`]: crate::provider::http::CallName
pub fn retrying(
    base: reqwest::Client,
    target: Upstream,
    metrics: Metrics,
    config: &HttpConfig,
) -> ClientWithMiddleware {
    let policy = reqwest_retry::policies::ExponentialBackoff::builder()
        .retry_bounds(
            config.min_backoff,
            config.max_backoff.max(config.min_backoff),
        )
        .build_with_total_retry_duration_and_max_retries(config.max_total, config.max_retries);
    ClientBuilder::new(base)
        .with(RetryTransientMiddleware::new_with_policy_and_strategy(
            policy,
            TransientOnly,
        ))
        .with(Pause::new(metrics.clone(), config))
        .with(Attempt::new(target, metrics, Some(config.attempt_timeout)))
        .build()
}

/// Counts attempts and gives them spans, without retry: for streams, and for bodies that cannot be sent again.
///
/// The caller owns retry, and time limits beyond those of the pool.
pub fn attempting(
    base: reqwest::Client,
    target: Upstream,
    metrics: Metrics,
) -> ClientWithMiddleware {
    ClientBuilder::new(base)
        .with(Attempt::new(target, metrics, None))
        .build()
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::extract::State;
    use axum::http::{HeaderMap, StatusCode};
    use reqwest_middleware::Error;

    use super::*;
    use crate::provider::http::{CallName, Unrepeatable, is_answer_lost, unavailable};

    type Script = Arc<Mutex<VecDeque<(u16, Vec<(&'static str, &'static str)>)>>>;

    /// Serves the answers of the script in their order, then 200.
    async fn upstream(answers: &[(u16, &[(&'static str, &'static str)])]) -> (String, Script) {
        let script: Script = Arc::new(Mutex::new(
            answers
                .iter()
                .map(|(status, headers)| (*status, headers.to_vec()))
                .collect(),
        ));
        async fn answer(State(script): State<Script>) -> (StatusCode, HeaderMap) {
            let (status, headers) = script
                .lock()
                .unwrap()
                .pop_front()
                .unwrap_or((200, Vec::new()));
            let headers = headers
                .into_iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            (StatusCode::from_u16(status).unwrap(), headers.collect())
        }
        let router = Router::new().fallback(answer).with_state(script.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (url, script)
    }

    fn quick() -> HttpConfig {
        HttpConfig {
            min_backoff: Duration::from_millis(1),
            max_backoff: Duration::from_millis(4),
            uses_env_proxy: false,
            ..HttpConfig::default()
        }
    }

    fn client(metrics: &Metrics, config: &HttpConfig) -> ClientWithMiddleware {
        retrying(
            base_client(config).unwrap(),
            Upstream::Hub,
            metrics.clone(),
            config,
        )
    }

    #[tokio::test]
    async fn a_503_is_tried_again_and_every_attempt_is_counted() {
        let metrics = Metrics::new();
        let (url, _) = upstream(&[(503, &[]), (502, &[])]).await;
        let response = client(&metrics, &quick())
            .get(url)
            .with_extension(CallName("probe"))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        let text = metrics.render();
        for status in ["503", "502", "200"] {
            let line = format!(
                "hugbucket_upstream_requests_total{{operation=\"probe\",outcome=\"{status}\",target=\"hub\"}} 1"
            );
            assert!(text.contains(&line), "{line} not in {text}");
        }
        for reason in ["503", "502"] {
            let line =
                format!("hugbucket_upstream_retries_total{{reason=\"{reason}\",target=\"hub\"}} 1");
            assert!(text.contains(&line), "{line} not in {text}");
        }
    }

    #[tokio::test]
    async fn attempts_are_bounded_and_the_last_answer_is_returned() {
        let (url, script) = upstream(&[(500, &[] as &[_]); 9]).await;
        let response = client(&Metrics::new(), &quick())
            .get(url)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 500);
        assert_eq!(script.lock().unwrap().len(), 9 - 5);
    }

    #[tokio::test]
    async fn a_client_error_is_never_tried_again() {
        for status in [400, 401, 403, 404, 409, 422, 501] {
            let (url, script) = upstream(&[(status, &[]), (200, &[])]).await;
            let response = client(&Metrics::new(), &quick())
                .get(url)
                .send()
                .await
                .unwrap();
            assert_eq!(response.status(), status);
            assert_eq!(script.lock().unwrap().len(), 1);
        }
    }

    #[tokio::test]
    async fn retry_after_is_waited_out() {
        let metrics = Metrics::new();
        let (url, _) = upstream(&[(429, &[("retry-after", "1")])]).await;
        let begun = std::time::Instant::now();
        let response = client(&metrics, &quick()).get(url).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(begun.elapsed() >= Duration::from_secs(1));
        assert!(
            metrics
                .render()
                .contains("hugbucket_upstream_ratelimited_seconds_total 1")
        );
    }

    #[tokio::test]
    async fn a_wait_beyond_the_cap_is_answered_at_once() {
        let full = [("ratelimit", "\"api\";r=0;t=21"), ("retry-after", "1")];
        let (url, script) = upstream(&[(429, &full), (200, &[])]).await;
        let response = client(&Metrics::new(), &quick())
            .get(url)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 429);
        assert_eq!(script.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn redirects_are_answers() {
        let (url, script) =
            upstream(&[(302, &[("location", "http://127.0.0.1:1/")]), (200, &[])]).await;
        let response = client(&Metrics::new(), &quick())
            .get(url)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 302);
        assert_eq!(script.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_refused_connection_is_unavailable_and_not_safe_to_retry_above() {
        let metrics = Metrics::new();
        let config = HttpConfig {
            max_retries: 1,
            ..quick()
        };
        let error = client(&metrics, &config)
            .get("http://127.0.0.1:1/secret?token=hf_x")
            .send()
            .await
            .unwrap_err();
        assert!(!is_answer_lost(&error));
        let unavailable = unavailable("hub", &error);
        assert!(matches!(
            &unavailable,
            StorageError::Unavailable {
                service: "hub",
                is_safe_to_retry: false,
                ..
            }
        ));
        let text = unavailable.to_string();
        assert!(!text.contains("hf_x") && !text.contains("secret"), "{text}");
        assert!(metrics.render().contains("outcome=\"connect\""));
        assert!(metrics.render().contains("reason=\"connect\""));
    }

    /// Accepts connections and hangs up on each after having read something.
    async fn hangs_up() -> (String, Arc<Mutex<u32>>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let accepted = Arc::new(Mutex::new(0));
        let count = accepted.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                *count.lock().unwrap() += 1;
                socket.readable().await.unwrap();
            }
        });
        (url, accepted)
    }

    #[tokio::test]
    async fn a_lost_answer_of_an_unrepeatable_call_is_not_asked_for_again() {
        let (url, accepted) = hangs_up().await;
        let client = client(&Metrics::new(), &quick());
        let error = client
            .post(url.clone())
            .body("x")
            .with_extension(Unrepeatable)
            .send()
            .await
            .unwrap_err();
        assert!(is_answer_lost(&error), "{error:?}");
        assert_eq!(*accepted.lock().unwrap(), 1);

        let error = client.post(url).body("x").send().await.unwrap_err();
        assert!(matches!(error, Error::Middleware(_)));
        assert_eq!(*accepted.lock().unwrap(), 1 + 5);
    }

    #[tokio::test]
    async fn an_unrepeatable_call_is_repeated_only_where_it_cannot_have_had_an_effect() {
        for (status, left) in [(429, 0), (503, 0), (408, 0), (500, 1), (502, 1), (504, 1)] {
            let (url, script) = upstream(&[(status, &[]), (200, &[])]).await;
            client(&Metrics::new(), &quick())
                .post(url)
                .with_extension(Unrepeatable)
                .send()
                .await
                .unwrap();
            assert_eq!(script.lock().unwrap().len(), left, "{status}");
        }
    }
}
