//! The process from outside: what it refuses and with which exit code, what it says while it waits for the Hub, and how
//! it ends.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;

/// Longest time that anything here may take; only a failing test takes it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns the command in an empty environment, with listeners on free ports and its data in `dir`.
fn hugbucket(dir: &Path, settings: &[(&str, &str)]) -> Command {
    let mut environment = BTreeMap::from([
        ("HUGBUCKET_S3_ADDR", "127.0.0.1:0"),
        ("HUGBUCKET_FTP_ADDR", "127.0.0.1:0"),
        ("HUGBUCKET_ADMIN_ADDR", "127.0.0.1:0"),
    ]);
    environment.extend(settings.iter().copied());
    let mut command = Command::new(env!("CARGO_BIN_EXE_hugbucket"));
    command.env_clear().envs(environment).current_dir(dir);
    command
}

/// Runs the command to its end and returns its exit code and what it said on standard error.
fn refused(settings: &[(&str, &str)]) -> (i32, String) {
    let dir = tempfile::tempdir().unwrap();
    let Output { status, stderr, .. } = hugbucket(dir.path(), settings).output().unwrap();
    let code = status.code().expect("it ends by itself");
    (code, String::from_utf8(stderr).unwrap())
}

/// A process that is killed when the test ends.
struct Running {
    child: Child,
    ready_file: PathBuf,
}

impl Running {
    fn start(dir: &Path, settings: &[(&str, &str)]) -> Self {
        let ready_file = dir.join("ready.json");
        let child = hugbucket(dir, settings)
            .env("HUGBUCKET_READY_FILE", &ready_file)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child, ready_file }
    }

    /// Waits until requests are served, and returns what the ready file says.
    fn ready(&self) -> serde_json::Value {
        wait_for(|| std::fs::read_to_string(&self.ready_file).ok())
            .parse()
            .unwrap()
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Waits for the end and returns the exit code and what was said on standard error.
    fn end(mut self) -> (Option<i32>, String) {
        let status = wait_for(|| self.child.try_wait().unwrap());
        let mut said = String::new();
        let mut stderr = self.child.stderr.take().expect("it is a pipe");
        stderr.read_to_string(&mut said).unwrap();
        (status.code(), said)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks again until there is an answer. Another process is waited for, whose time cannot be paused.
fn wait_for<T>(mut answer: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Starts a Hub that answers `whoami` with these statuses, the last one for ever, and returns its address.
async fn hub(mut statuses: Vec<StatusCode>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    statuses.reverse();
    let statuses = std::sync::Arc::new(std::sync::Mutex::new(statuses));
    let whoami = move || async move {
        let mut left = statuses.lock().unwrap();
        let status = if left.len() > 1 {
            left.pop()
        } else {
            left.first().copied()
        };
        (status.unwrap(), r#"{"name":"me"}"#)
    };
    let router = Router::new().route("/api/whoami-v2", get(whoami));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

const KEYS: [(&str, &str); 2] = [
    ("AWS_ACCESS_KEY_ID", "id"),
    ("AWS_SECRET_ACCESS_KEY", "hush"),
];

fn with_token(endpoint: &str) -> Vec<(&str, &str)> {
    [
        &KEYS[..],
        &[("HF_TOKEN", "hf_hush"), ("HF_ENDPOINT", endpoint)],
    ]
    .concat()
}

#[test]
fn a_configuration_that_cannot_be_used_is_one_sentence_and_exit_code_2() {
    for (settings, named) in [
        (&[("HF_TOKEN", "")][..], "HF_TOKEN"),
        (&[("HF_TOKEN", "hf_x")], "AWS_ACCESS_KEY_ID"),
        (&[("HUGBUCKET_REQUIRE_TOKEN", "true")], "HF_TOKEN"),
        (&[("HUGBUCKET_S3_ADDR", "0.0.0.0:0")], "HUGBUCKET_S3_ADDR"),
        (&[("HUGBUCKET_S3_ADDR", "nowhere")], "HUGBUCKET_S3_ADDR"),
        (&[("HUGBUCKET_CONFIG", "/nowhere.toml")], "/nowhere.toml"),
        (
            &[("OTEL_TRACES_EXPORTER", "zipkin")],
            "OTEL_TRACES_EXPORTER",
        ),
    ] {
        let (code, said) = refused(settings);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(named), "{said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    }
}

#[test]
fn a_port_in_use_is_one_sentence_and_exit_code_2() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, said) = refused(&[("HUGBUCKET_ADMIN_ADDR", &address)]);
    assert_eq!(code, 2);
    assert!(
        said.contains(&address) && said.contains("HUGBUCKET_ADMIN_ADDR"),
        "{said}"
    );
}

#[test]
fn two_processes_do_not_share_a_development_directory() {
    let dir = tempfile::tempdir().unwrap();
    let first = Running::start(dir.path(), &[]);
    first.ready();
    let second = hugbucket(dir.path(), &[]).output().unwrap();
    assert_eq!(second.status.code(), Some(2));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains(".hugbucket-dev"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_hub_refuses_is_exit_code_2_and_is_not_shown() {
    let endpoint = hub(vec![StatusCode::UNAUTHORIZED]).await;
    let (code, said) = refused(&with_token(&endpoint));
    assert_eq!(code, 2, "{said}");
    assert!(
        said.contains("HF_TOKEN") && !said.contains("hush"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_hub_it_lives_is_not_ready_and_serves_when_the_hub_comes_back() {
    let endpoint = hub(vec![StatusCode::NOT_FOUND, StatusCode::OK]).await;
    let dir = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = free.local_addr().unwrap().to_string();
    drop(free);
    let mut settings = with_token(&endpoint);
    settings.push(("HUGBUCKET_ADMIN_ADDR", &admin));
    let running = Running::start(dir.path(), &settings);
    let check = || {
        hugbucket(dir.path(), &[("HUGBUCKET_ADMIN_ADDR", &admin)])
            .arg("healthcheck")
            .status()
    };
    let facts = running.ready();
    assert_eq!(
        (&facts["namespace"], &facts["hub"]),
        (&"me".into(), &endpoint.as_str().into())
    );
    assert_eq!(facts["development_token"], serde_json::Value::Null);
    assert_eq!(check().unwrap().code(), Some(0));
    running.signal("TERM");
    let (code, said) = running.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("requests are refused until then"), "{said}");
    assert!(!said.contains("hush"), "{said}");
    assert_eq!(check().unwrap().code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_stopped_while_it_waits_for_the_hub() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = unused.local_addr().unwrap();
    drop(unused);
    let dir = tempfile::tempdir().unwrap();
    let address = admin.to_string();
    let mut settings = with_token("http://127.0.0.1:1");
    settings.push(("HUGBUCKET_ADMIN_ADDR", &address));
    let running = Running::start(dir.path(), &settings);
    let (mut live, mut ready) = (StatusCode::OK, StatusCode::OK);
    let client = reqwest_client();
    while ready != StatusCode::SERVICE_UNAVAILABLE {
        let ask = |path| client.get(format!("http://{admin}{path}")).send();
        if let (Ok(one), Ok(other)) = (ask("/livez").await, ask("/readyz").await) {
            (live, ready) = (one.status(), other.status());
        }
    }
    assert_eq!(live, StatusCode::OK);
    running.signal("INT");
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn the_ready_file_names_what_is_bound_and_goes_with_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path(), &[("HUGBUCKET_S3_ADDR", "off")]);
    let facts = running.ready();
    assert_eq!(facts["s3"], serde_json::Value::Null);
    assert!(
        facts["admin"]
            .as_str()
            .unwrap()
            .starts_with("http://127.0.0.1:")
    );
    let ready_file = running.ready_file.clone();
    running.signal("TERM");
    assert_eq!(running.end().0, Some(0));
    assert!(!ready_file.exists());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path(), &[("HUGBUCKET_SHUTDOWN_DELAY", "1 h")]);
    running.ready();
    running.signal("TERM");
    wait_for(|| (!running.ready_file.exists()).then_some(()));
    running.signal("TERM");
    assert_eq!(running.end().0, Some(1));
}

#[test]
fn flags_beat_the_environment_and_the_configuration_is_shown_without_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let output = hugbucket(dir.path(), &KEYS)
        .args(["--print-config", "--s3-addr", "127.0.0.1:7"])
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert!(
        shown.contains("s3_addr = \"127.0.0.1:7\"  # --s3-addr"),
        "{shown}"
    );
    assert!(!shown.contains("hush"), "{shown}");
    let checked = hugbucket(dir.path(), &[]).arg("--check-config").status();
    assert_eq!(checked.unwrap().code(), Some(0));
}

#[cfg(feature = "devhub")]
#[test]
fn the_development_hub_runs_alone_and_on_loopback_only() {
    let dir = tempfile::tempdir().unwrap();
    let ready_file = dir.path().join("ready.json");
    let child = hugbucket(dir.path(), &[])
        .args(["devhub", "--ready-file"])
        .arg(&ready_file)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let running = Running { child, ready_file };
    assert_eq!(running.ready()["token"], "hf_development");
    running.signal("TERM");
    assert_eq!(running.end().0, Some(0));
    let open = hugbucket(dir.path(), &[])
        .args(["devhub", "--addr", "0.0.0.0:0"])
        .output();
    assert_eq!(open.unwrap().status.code(), Some(2));
}

fn reqwest_client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}
