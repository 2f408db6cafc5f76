//! Sessions over connections in memory, before a stack that knows who may log in, and nothing else.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::service_fn;
use tower::util::BoxCloneSyncService;

use super::*;
use crate::ftp::census::Census;
use crate::ftp::config::{FtpConfig, FtpLimits, Plaintext, ProxySources};
use crate::storage::{
    AnyOperation, AnyOutput, Credentials, Gateway, Identity, Principal, StorageError,
    StorageRequest,
};
use crate::telemetry::Metrics;

const LIMITS: FtpLimits = FtpLimits {
    max_sessions: 1,
    max_sessions_per_address: 1,
    max_logging_in: 1,
    max_logging_in_per_address: 1,
    login_timeout: Duration::from_secs(60),
    idle_timeout: Some(Duration::from_secs(300)),
    stall_timeout: None,
    data_timeout: Duration::from_secs(30),
    verdict_timeout: Duration::from_secs(30),
    drain_timeout: Duration::from_secs(30),
    max_list_entries: 1,
    login_penalty: Duration::from_secs(1),
};

/// A stack that knows `ann` with the password `right`, and cannot judge the password `down`.
fn gateway() -> Gateway {
    let stack = service_fn(async |request: StorageRequest<Credentials>| {
        let Credentials::Password { user, password } = &request.caller else {
            return Err(StorageError::denied("no password"));
        };
        match (&request.operation, user.as_str(), password.expose()) {
            (AnyOperation::Identify(_), "ann", "right") => Ok(AnyOutput::Identify(Identity {
                principal: Principal::unlimited("ann"),
            })),
            (_, _, "down") => Err(StorageError::internal("no stack")),
            _ => Err(StorageError::denied("wrong")),
        }
    });
    Gateway::new(BoxCloneSyncService::new(stack))
}

/// A session and its client.
struct Scene {
    client: BufReader<DuplexStream>,
    session: JoinHandle<()>,
    census: Census,
    closing: CancellationToken,
}

impl Scene {
    async fn new() -> Self {
        Self::from("127.0.0.1:40000").await
    }

    /// Begins a session with a client at this address.
    async fn from(client: &str) -> Self {
        let closing = CancellationToken::new();
        let config = FtpConfig {
            passive_ports: 0..=0,
            passive_host: None,
            allows_active: false,
            plaintext: Plaintext::Loopback,
            proxies: ProxySources::none(),
            limits: LIMITS,
        };
        let ftp = Ftp::new(gateway(), config, None, Metrics::new(), closing.clone());
        let (ours, theirs) = tokio::io::duplex(4096);
        let client = client.parse().unwrap();
        let ends = Ends {
            client,
            transport: client,
            local: [127, 0, 0, 1].into(),
            called: [127, 0, 0, 1].into(),
        };
        let census = Census::new(LIMITS);
        let seat = census.admit().unwrap();
        let session = Session::new(ftp, Control::new(theirs), ends, seat);
        let mut scene = Self {
            client: BufReader::new(ours),
            session: tokio::spawn(session.run()),
            census,
            closing,
        };
        assert_eq!(scene.reply().await, 220);
        scene
    }

    /// Returns the code of the next reply of one line.
    async fn reply(&mut self) -> u16 {
        let mut line = String::new();
        self.client.read_line(&mut line).await.unwrap();
        assert_eq!(line.as_bytes().get(3), Some(&b' '), "{line}");
        line[..3].parse().unwrap()
    }

    async fn command(&mut self, line: &str) -> u16 {
        let line = format!("{line}\r\n");
        self.client
            .get_mut()
            .write_all(line.as_bytes())
            .await
            .unwrap();
        self.reply().await
    }

    /// Checks that the session is over and its seat free.
    async fn ends(mut self) {
        let mut line = String::new();
        assert_eq!(self.client.read_line(&mut line).await.unwrap(), 0);
        self.session.await.unwrap();
        self.census.admit().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_right_password_lets_in_and_a_session_has_one_user() {
    let mut scene = Scene::new().await;
    for (line, code) in [
        ("PWD", 530),
        ("PASS right", 503),
        ("USER ann", 331),
        // A password that is not asked for twice.
        ("PASS wrong", 530),
        ("PASS right", 503),
        ("USER bob", 331),
        ("USER ann", 331),
        ("PASS right", 230),
        ("USER bob", 503),
        ("PASS right", 503),
        ("PWD", 257),
        ("QUIT", 221),
    ] {
        assert_eq!(scene.command(line).await, code, "{line}");
    }
    scene.ends().await;
}

#[tokio::test(start_paused = true)]
async fn who_guesses_waits_for_each_answer_and_is_sent_away_after_five() {
    let mut scene = Scene::new().await;
    let began = Instant::now();
    for attempt in 1..=5 {
        // Every name is asked for its password.
        assert_eq!(scene.command(&format!("USER guess{attempt}")).await, 331);
        let code = scene.command("PASS wrong").await;
        assert_eq!(code, if attempt < 5 { 530 } else { 421 });
    }
    assert!(began.elapsed() >= LIMITS.login_penalty * 5);
    scene.ends().await;
}

#[tokio::test(start_paused = true)]
async fn a_login_that_cannot_be_judged_is_no_wrong_password() {
    let mut scene = Scene::new().await;
    assert_eq!(scene.command("USER ann").await, 331);
    assert_eq!(scene.command("PASS down").await, 421);
    scene.ends().await;
}

#[tokio::test(start_paused = true)]
async fn who_does_not_log_in_makes_room_however_busy() {
    let mut scene = Scene::new().await;
    assert!(scene.census.admit().is_err());
    let began = Instant::now();
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert_eq!(scene.command("NOOP").await, 200);
    }
    assert_eq!(scene.reply().await, 421);
    assert_eq!(began.elapsed().as_secs(), LIMITS.login_timeout.as_secs());
    scene.ends().await;
}

#[tokio::test(start_paused = true)]
async fn who_is_logged_in_may_be_silent_for_longer_and_not_for_ever() {
    let mut scene = Scene::new().await;
    scene.command("USER ann").await;
    assert_eq!(scene.command("PASS right").await, 230);
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(290)).await;
        assert_eq!(scene.command("NOOP").await, 200);
    }
    let began = Instant::now();
    assert_eq!(scene.reply().await, 421);
    assert_eq!(began.elapsed().as_secs(), 300);
    scene.ends().await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_process_ends_a_silent_session_and_answers_what_was_asked() {
    let mut scene = Scene::new().await;
    scene
        .client
        .get_mut()
        .write_all(b"NOOP\r\nSYST\r\n")
        .await
        .unwrap();
    scene.closing.cancel();
    for code in [200, 215, 421] {
        assert_eq!(scene.reply().await, code);
    }
    scene.ends().await;
}

#[tokio::test(start_paused = true)]
async fn who_talks_nonsense_before_the_login_is_not_listened_to_for_long() {
    let mut scene = Scene::new().await;
    for _ in 1..MAX_REFUSALS_BEFORE_LOGIN {
        assert_eq!(scene.command("GET / HTTP/1.1").await, 500);
    }
    assert_eq!(scene.command("GET / HTTP/1.1").await, 421);
    scene.ends().await;
}

#[tokio::test(start_paused = true)]
async fn no_password_crosses_a_network_in_the_clear() {
    let mut scene = Scene::from("192.0.2.1:40000").await;
    assert_eq!(scene.command("USER ann").await, 530);
    assert_eq!(scene.command("PASS right").await, 503);
    assert_eq!(scene.command("AUTH TLS").await, 502);
    assert_eq!(scene.command("QUIT").await, 221);
    scene.ends().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_gone_leaves_no_session() {
    let scene = Scene::new().await;
    drop(scene.client);
    scene.session.await.unwrap();
    scene.census.admit().unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_the_stack_refuses_is_refused_with_its_reason() {
    // The engine, over loopback, and the backend: everything but storage.
    tokio::time::resume();
    let mut scene = Scene::new().await;
    scene.command("USER ann").await;
    assert_eq!(scene.command("PASS right").await, 230);
    for line in ["SIZE /b/k", "CWD /b", "DELE /b/k", "RNFR /b/k"] {
        assert_eq!(scene.command(line).await, 550, "{line}");
    }
}
