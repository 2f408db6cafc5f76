//! Child processes, and what the kernel says they used.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A server process; killed on drop.
pub(crate) struct Server {
    child: Child,
    ready: serde_json::Value,
}

/// What a process has used so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// User and system time, seconds.
    pub(crate) cpu_secs: f64,
    /// Resident memory now, MiB.
    pub(crate) resident_mib: f64,
    /// Peak of resident memory since the last [`Server::reset_peak`], MiB.
    pub(crate) peak_mib: f64,
}

impl Server {
    /// Starts `hugbucket` with arguments and environment, and waits for its ready file.
    pub(crate) fn start(
        arguments: &[&str],
        environment: &[(&str, String)],
        ready_file: &Path,
    ) -> Result<Self> {
        let _ = std::fs::remove_file(ready_file);
        let mut command = Command::new(env!("CARGO_BIN_EXE_hugbucket"));
        command
            .args(arguments)
            .arg("--ready-file")
            .arg(ready_file)
            .env("HUGBUCKET_LOG", "warn");
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("failed to start hugbucket")?;
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Ok(text) = std::fs::read_to_string(ready_file)
                && let Ok(ready) = serde_json::from_str(&text)
            {
                return Ok(Self { child, ready });
            }
            if let Some(status) = child.try_wait()? {
                bail!("hugbucket ended at start: {status}");
            }
            if Instant::now() > deadline {
                bail!("hugbucket was not ready within 30 s");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Returns a text of the ready file: the address of a listener.
    pub(crate) fn address(&self, name: &str) -> Result<String> {
        let address = self.ready.get(name).and_then(|value| value.as_str());
        Ok(address
            .with_context(|| format!("no `{name}` in the ready file {}", self.ready))?
            .to_owned())
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn usage(&self) -> Result<Usage> {
        usage_of(self.child.id())
    }

    /// Starts a new peak of resident memory.
    pub(crate) fn reset_peak(&self) -> Result<()> {
        Ok(std::fs::write(
            format!("/proc/{}/clear_refs", self.child.id()),
            "5",
        )?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs this program again as a client with a job, and returns the JSON that it prints.
pub(crate) fn run_client<J: serde::Serialize, R: serde::de::DeserializeOwned>(
    job: &J,
) -> Result<R> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["client", &serde_json::to_string(job)?])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().context("the child has a stdout")?;
    let last = BufReader::new(output).lines().map_while(Result::ok).last();
    if !child.wait()?.success() {
        bail!("the load generator failed");
    }
    let last = last.context("the load generator printed nothing")?;
    keep(job, &last)?;
    serde_json::from_str(&last).context("malformed result")
}

/// Keeps a job with its outcome, as one line of JSON.
fn keep<J: serde::Serialize>(job: &J, outcome: &str) -> Result<()> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench");
    std::fs::create_dir_all(&directory)?;
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(directory.join("raw.jsonl"))?;
    let job = serde_json::to_string(job)?;
    Ok(writeln!(file, r#"{{"job":{job},"outcome":{outcome}}}"#)?)
}

/// Returns what this process has used.
pub(crate) fn own_usage() -> Result<Usage> {
    usage_of(std::process::id())
}

fn usage_of(pid: u32) -> Result<Usage> {
    // Clock ticks are 1/100 s on every Linux that matters (USER_HZ).
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = &stat[stat.rfind(')').context("malformed stat")? + 2..];
    let fields: Vec<&str> = after_name.split(' ').collect();
    let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = |name: &str| -> Result<f64> {
        let line = status
            .lines()
            .find(|line| line.starts_with(name))
            .context("malformed status")?;
        Ok(line
            .split_whitespace()
            .nth(1)
            .context("malformed status")?
            .parse()?)
    };
    Ok(Usage {
        cpu_secs: ticks / 100.0,
        resident_mib: kib("VmRSS:")? / 1024.0,
        peak_mib: kib("VmHWM:")? / 1024.0,
    })
}
