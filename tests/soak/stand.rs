//! A development Hub in this process, which no kill reaches, and the gateway in front of it, which is killed and started
//! again.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hugbucket::devhub::{DevHub, DevHubConfig};
use hugbucket::storage::Secret;
use tempfile::TempDir;

use crate::process::Usage;
use crate::s3::{Request, client};

pub(crate) const HUB_TOKEN: &str = "hf_soak";
pub(crate) const NAMESPACE: &str = "soak";
pub(crate) const ACCESS_KEY: &str = "AKSOAK";
pub(crate) const SECRET_KEY: &str = "secret/of+the=soak";
pub(crate) const FTP_USER: &str = "ann";
pub(crate) const FTP_PASSWORD: &str = "correct horse";
pub(crate) const BUCKET: &str = "data";

/// Time within which every request must be answered: the gateway allows itself [`HEAD_TIMEOUT`] from the last byte on, and the
/// rest is for the bytes, and for a machine that does other things too.
pub(crate) const DEADLINE: Duration = Duration::from_secs(100);

/// The gateway's own limit.
const HEAD_TIMEOUT: &str = "60 s";

/// Small caches: what was evicted is read again, and memory comes back to little.
const XORB_CACHE: &str = "16 MiB";

/// Where the present gateway listens.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    /// Counts the gateways.
    pub(crate) generation: u32,
    /// `host:port` of each listener.
    pub(crate) s3: String,
    pub(crate) ftp: String,
    pub(crate) admin: String,
}

/// The Hub and the gateway.
pub(crate) struct Stand {
    pub(crate) hub: DevHub,
    dir: TempDir,
    present: Mutex<(Address, Option<Child>)>,
}

impl Stand {
    /// Starts both, with an empty bucket.
    pub(crate) async fn start() -> Arc<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let config = DevHubConfig::new(dir.path().join("hub"), Secret::new(HUB_TOKEN), NAMESPACE);
        let hub = DevHub::start(config).await.unwrap();
        let (address, child) = launch(&hub, dir.path().to_owned(), 1).await;
        let stand = Self {
            hub,
            dir,
            present: Mutex::new((address, Some(child))),
        };
        let made = Request::new(reqwest::Method::PUT, "");
        let made = made.send(&client(), &stand.address().s3).await.unwrap();
        assert_eq!(made.status, 200, "{}", made.text());
        Arc::new(stand)
    }

    pub(crate) fn address(&self) -> Address {
        self.present.lock().unwrap().0.clone()
    }

    /// Ends the gateway as `kill -9` does. Returns which one it was.
    pub(crate) fn kill(&self) -> u32 {
        let mut present = self.present.lock().unwrap();
        if let Some(mut child) = present.1.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        present.0.generation
    }

    /// Waits while there is no gateway.
    pub(crate) async fn is_up(&self) {
        let mut look = tokio::time::interval(Duration::from_millis(5));
        while self.present.lock().unwrap().1.is_none() {
            look.tick().await;
        }
    }

    /// Starts a fresh gateway.
    pub(crate) async fn restart(&self) {
        let generation = self.address().generation + 1;
        let (address, child) = launch(&self.hub, self.dir.path().to_owned(), generation).await;
        *self.present.lock().unwrap() = (address, Some(child));
    }

    /// Ends the gateway as an orchestrator does, so that all its commits are over. Returns which one it was.
    ///
    /// Errors: it did not end within a minute.
    pub(crate) async fn terminate(&self) -> Result<u32, u32> {
        let (generation, mut child) = {
            let mut present = self.present.lock().unwrap();
            (present.0.generation, present.1.take().unwrap())
        };
        let asked = Command::new("kill").arg(child.id().to_string()).status();
        assert!(asked.unwrap().success());
        let begun = Instant::now();
        let mut look = tokio::time::interval(Duration::from_millis(5));
        while begun.elapsed() < Duration::from_secs(60) {
            look.tick().await;
            if child.try_wait().unwrap().is_some() {
                return Ok(generation);
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        Err(generation)
    }

    /// Returns what the gateway uses at this moment.
    pub(crate) fn usage(&self) -> Usage {
        let present = self.present.lock().unwrap();
        let child = present.1.as_ref().unwrap();
        let ports = [self.hub.url(), self.hub.storage_url()].map(|url| url.port().unwrap());
        Usage::of(child.id(), &ports)
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn launch(hub: &DevHub, dir: PathBuf, generation: u32) -> (Address, Child) {
    let ready_file = dir.join(format!("ready-{generation}"));
    let binary = std::env::var("HUGBUCKET_SOAK_BINARY");
    let mut child = Command::new(binary.as_deref().unwrap_or(env!("CARGO_BIN_EXE_hugbucket")))
        .env_clear()
        .env("HF_ENDPOINT", hub.url().as_str().trim_end_matches('/'))
        .env("HF_TOKEN", HUB_TOKEN)
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .env("FTP_USERNAME", FTP_USER)
        .env("FTP_PASSWORD", FTP_PASSWORD)
        .env("HUGBUCKET_S3_ADDR", "127.0.0.1:0")
        .env("HUGBUCKET_FTP_ADDR", "127.0.0.1:0")
        .env("HUGBUCKET_ADMIN_ADDR", "127.0.0.1:0")
        .env("HUGBUCKET_HEAD_TIMEOUT", HEAD_TIMEOUT)
        .env("HUGBUCKET_XORB_CACHE_MAX_BYTES", XORB_CACHE)
        .env("HUGBUCKET_READY_FILE", &ready_file)
        .env("HUGBUCKET_LOG", "error")
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
    let host = |name: &str| {
        let address = ready[name].as_str().unwrap();
        address.split_once("://").unwrap().1.to_owned()
    };
    let address = Address {
        generation,
        s3: host("s3"),
        ftp: host("ftp"),
        admin: host("admin"),
    };
    (address, child)
}
