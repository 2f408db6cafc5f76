//! What is measured against: an upstream and a gateway in front of it, each a process of its own.

use std::collections::BTreeMap;

use anyhow::Result;
use tempfile::TempDir;

use crate::client::{Action, Data, Job, Outcome, Via};
use crate::process::{Server, run_client};
use crate::s3;

/// The development Hub's token and namespace, as it is started here.
pub(crate) const HUB_TOKEN: &str = "hf_bench";
pub(crate) const NAMESPACE: &str = "bench";

/// The gateway's FTP user.
pub(crate) const FTP_USER: &str = "bench";
pub(crate) const FTP_PASSWORD: &str = "bench-password";

pub(crate) const MIB: usize = 1 << 20;
pub(crate) const BUCKET: &str = "bench";

/// An upstream and a gateway in front of it.
pub(crate) struct Stand {
    dir: TempDir,
    hub: Server,
    pub(crate) gateway: Server,
    settings: Vec<(&'static str, String)>,
}

impl Stand {
    /// Starts both; `latency` puts 60 ms before Hub answers and 30 ms before CAS answers.
    pub(crate) fn start(has_latency: bool, settings: &[(&'static str, &str)]) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let data = dir.path().join("hub").display().to_string();
        let mut arguments = vec![
            "devhub",
            "--addr",
            "127.0.0.1:0",
            "--dir",
            &data,
            "--token",
            HUB_TOKEN,
            "--namespace",
            NAMESPACE,
        ];
        if has_latency {
            arguments.extend(["--hub-latency", "60ms", "--cas-latency", "30ms"]);
        }
        let hub = Server::start(&arguments, &[], &dir.path().join("hub.ready"))?;
        let settings: Vec<_> = settings
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        let gateway = start_gateway(&dir, &hub, &settings)?;
        let stand = Self {
            dir,
            hub,
            gateway,
            settings,
        };
        let client = s3::Client::new(&stand.s3()?, BUCKET, false)?;
        tokio::runtime::Runtime::new()?.block_on(client.create_bucket())?;
        Ok(stand)
    }

    /// Replaces the gateway by a fresh process: its caches are cold.
    pub(crate) fn restart_gateway(&mut self) -> Result<()> {
        self.gateway = start_gateway(&self.dir, &self.hub, &self.settings)?;
        Ok(())
    }

    pub(crate) fn hub(&self) -> Result<String> {
        self.hub.address("hub")
    }

    pub(crate) fn s3(&self) -> Result<String> {
        self.gateway.address("s3")
    }

    /// Describes a job that moves random bytes.
    pub(crate) fn job(
        &self,
        via: Via,
        action: Action,
        keys: &str,
        count: usize,
        at_once: usize,
        size: usize,
    ) -> Result<Job> {
        let endpoint = match via {
            Via::Xet | Via::Bare => self.hub.address("hub")?,
            Via::Ftp => self.gateway.address("ftp")?,
            Via::S3 | Via::S3Signed => self.s3()?,
        };
        let (bucket, keys) = (BUCKET.to_owned(), keys.to_owned());
        Ok(Job {
            via,
            action,
            endpoint,
            bucket,
            keys,
            count,
            at_once,
            size,
            data: Data::Random,
        })
    }

    /// Runs a job and returns its outcome with the CPU seconds and the peak memory of whatever moved the data: the gateway
    /// for S3, the client itself for hf-xet.
    pub(crate) fn run(&self, job: &Job) -> Result<(Outcome, f64, f64)> {
        let before = self.gateway.usage()?;
        self.gateway.reset_peak()?;
        let outcome: Outcome = run_client(job)?;
        if job.via == Via::Xet {
            let (cpu, peak) = (outcome.cpu_secs, outcome.peak_mib);
            return Ok((outcome, cpu, peak));
        }
        let after = self.gateway.usage()?;
        Ok((outcome, after.cpu_secs - before.cpu_secs, after.peak_mib))
    }

    /// Calls that the upstream has counted so far, by route.
    pub(crate) fn calls(&self) -> Result<BTreeMap<String, Calls>> {
        let url = format!("{}/devhub/calls", self.hub.address("hub")?);
        tokio::runtime::Runtime::new()?.block_on(async {
            let http = reqwest::Client::builder().no_proxy().build()?;
            Ok(http
                .get(url)
                .bearer_auth(HUB_TOKEN)
                .send()
                .await?
                .error_for_status()?
                .json()
                .await?)
        })
    }
}

#[derive(Debug, Clone, Copy, Default, serde::Deserialize)]
pub(crate) struct Calls {
    pub(crate) calls: u64,
    #[serde(default)]
    pub(crate) received_bytes: u64,
    #[serde(default)]
    pub(crate) served_bytes: u64,
}

fn start_gateway(
    dir: &TempDir,
    hub: &Server,
    settings: &[(&'static str, String)],
) -> Result<Server> {
    let mut environment = vec![
        ("HF_ENDPOINT", hub.address("hub")?),
        ("HF_TOKEN", HUB_TOKEN.into()),
        ("AWS_ACCESS_KEY_ID", "hugbucket".into()),
        ("AWS_SECRET_ACCESS_KEY", "hugbucket".into()),
        ("HUGBUCKET_S3_ADDR", "127.0.0.1:0".into()),
        ("HUGBUCKET_ADMIN_ADDR", "127.0.0.1:0".into()),
        ("HUGBUCKET_FTP_ADDR", "127.0.0.1:0".into()),
        ("FTP_USERNAME", FTP_USER.into()),
        ("FTP_PASSWORD", FTP_PASSWORD.into()),
    ];
    environment.extend(settings.iter().cloned());
    Server::start(&[], &environment, &dir.path().join("gateway.ready"))
}

/// Bytes that the upstream has served.
pub(crate) fn served_bytes(calls: &BTreeMap<String, Calls>) -> u64 {
    calls.values().map(|calls| calls.served_bytes).sum()
}

/// Calls of one route.
pub(crate) fn calls_of(calls: &BTreeMap<String, Calls>, route: &str) -> u64 {
    calls.get(route).copied().unwrap_or_default().calls
}
