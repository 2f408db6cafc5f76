//! A development Hub in this process, and gateways in front of it as processes of their own: what a test can inject into
//! the one and kill of the other.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::primitives::ByteStream;
use hugbucket::devhub::{DevHub, DevHubConfig, DevUser};
use hugbucket::storage::Secret;
use tempfile::TempDir;

/// The Hub's token and namespace, and the gateway's one S3 key.
pub(crate) const HUB_TOKEN: &str = "hf_test";
pub(crate) const NAMESPACE: &str = "tester";
pub(crate) const ACCESS_KEY: &str = "AKTEST";
pub(crate) const SECRET_KEY: &str = "secret/of+the=test";

/// A bucket that every stand begins with.
pub(crate) const BUCKET: &str = "data";

/// A Hub and a gateway.
pub(crate) struct Stand {
    pub(crate) hub: DevHub,
    pub(crate) gateway: Gateway,
    dir: TempDir,
}

impl Stand {
    /// Starts both, with an empty bucket.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts both; the gateway with further environment variables.
    pub(crate) async fn start_with(settings: &[(&str, &str)]) -> Self {
        Self::start_among(Vec::new(), settings).await
    }

    /// The same in front of a Hub that knows further users.
    pub(crate) async fn start_among(others: Vec<DevUser>, settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config =
            DevHubConfig::new(dir.path().join("hub"), Secret::new(HUB_TOKEN), NAMESPACE);
        config.others = others;
        let hub = DevHub::start(config).await.unwrap();
        let gateway = Gateway::start(&hub, dir.path(), settings).await;
        let stand = Self { hub, gateway, dir };
        stand
            .s3()
            .create_bucket()
            .bucket(BUCKET)
            .send()
            .await
            .unwrap();
        stand.hub.calls().reset();
        stand
    }

    /// Starts a further gateway in front of the same Hub.
    pub(crate) async fn another_gateway(&self, settings: &[(&str, &str)]) -> Gateway {
        Gateway::start(&self.hub, self.dir.path(), settings).await
    }

    /// Replaces the gateway by a fresh one: its caches are cold.
    pub(crate) async fn restart_gateway(&mut self) {
        self.gateway = self.another_gateway(&[]).await;
    }

    /// Returns an S3 client with the SDK's default settings.
    pub(crate) fn s3(&self) -> aws_sdk_s3::Client {
        self.gateway.s3()
    }
}

/// A gateway process; killed on drop.
pub(crate) struct Gateway {
    child: Child,
    /// `http://127.0.0.1:port` of the S3 listener.
    pub(crate) endpoint: String,
    /// The same of the admin listener.
    pub(crate) admin: String,
    /// `127.0.0.1:port` of the FTP listener, and of the one that speaks TLS from its first byte on, where they are on.
    pub(crate) ftp: Option<String>,
    pub(crate) ftps: Option<String>,
}

impl Gateway {
    async fn start(hub: &DevHub, dir: &Path, settings: &[(&str, &str)]) -> Self {
        let ready_file = dir.join(format!("ready-{:016x}", rand::random::<u64>()));
        let mut child = Command::new(env!("CARGO_BIN_EXE_hugbucket"))
            .env_clear()
            .env("HF_ENDPOINT", hub.url().as_str().trim_end_matches('/'))
            .env("HF_TOKEN", HUB_TOKEN)
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .env("HUGBUCKET_S3_ADDR", "127.0.0.1:0")
            .env("HUGBUCKET_ADMIN_ADDR", "127.0.0.1:0")
            .env("HUGBUCKET_FTP_ADDR", "off")
            .env("HUGBUCKET_READY_FILE", &ready_file)
            .env("HUGBUCKET_LOG", "warn")
            // A feed is a call that comes when it comes, and many tests count calls.
            .env("HUGBUCKET_CHANGE_FEED", "off")
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // The gateway replaces the file in one step, so what can be read is whole.
        let mut look = tokio::time::interval(Duration::from_millis(2));
        let ready = loop {
            look.tick().await;
            if let Ok(text) = std::fs::read_to_string(&ready_file) {
                break serde_json::from_str::<serde_json::Value>(&text).unwrap();
            }
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the gateway ended at start: {status}");
            }
        };
        let address = |name: &str| ready[name].as_str().unwrap().to_owned();
        let host = |name: &str| {
            let (_, host) = ready[name].as_str()?.split_once("://")?;
            Some(host.to_owned())
        };
        Self {
            child,
            endpoint: address("s3"),
            admin: address("admin"),
            ftp: host("ftp"),
            ftps: host("ftps"),
        }
    }

    /// Returns an S3 client with the SDK's default settings, but for the endpoint and path-style addresses.
    pub(crate) fn s3(&self) -> aws_sdk_s3::Client {
        self.s3_as(ACCESS_KEY, SECRET_KEY, None)
    }

    /// The same with another credential.
    pub(crate) fn s3_as(
        &self,
        access_key_id: &str,
        secret: &str,
        session_token: Option<&str>,
    ) -> aws_sdk_s3::Client {
        let token = session_token.map(str::to_owned);
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new(access_key_id, secret, token, None, "test"))
            .endpoint_url(&self.endpoint)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .force_path_style(true)
            .build();
        aws_sdk_s3::Client::from_conf(config)
    }

    /// Has the process read its configuration again (SIGHUP).
    pub(crate) fn reload(&self) {
        let pid = self.child.id().to_string();
        let told = Command::new("kill").args(["-HUP", &pid]).status().unwrap();
        assert!(told.success());
    }

    /// Ends the process as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks the process to end as an orchestrator does (SIGTERM), and returns its exit code.
    pub(crate) async fn terminate(&mut self) -> Option<i32> {
        let asked = Command::new("kill")
            .arg(self.child.id().to_string())
            .status()
            .unwrap();
        assert!(asked.success());
        let mut look = tokio::time::interval(Duration::from_millis(2));
        loop {
            look.tick().await;
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
        }
    }

    /// Returns the id of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Stores bytes under a key.
pub(crate) async fn put(s3: &aws_sdk_s3::Client, key: &str, bytes: impl Into<Vec<u8>>) {
    let body = ByteStream::from(bytes.into());
    s3.put_object()
        .bucket(BUCKET)
        .key(key)
        .body(body)
        .send()
        .await
        .unwrap();
}

/// Reads a key; `None` if there is none.
pub(crate) async fn get(s3: &aws_sdk_s3::Client, key: &str) -> Option<Vec<u8>> {
    match s3.get_object().bucket(BUCKET).key(key).send().await {
        Ok(object) => Some(object.body.collect().await.unwrap().to_vec()),
        Err(error)
            if error
                .as_service_error()
                .is_some_and(aws_sdk_s3::operation::get_object::GetObjectError::is_no_such_key) =>
        {
            None
        }
        Err(error) => panic!("{error:?}"),
    }
}

/// Incompressible bytes that depend only on the seed.
pub(crate) fn random_bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
