//! What is measured.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::client::{Action, Job, Outcome, Via};
use crate::process::{Server, run_client};
use crate::report::{Table, cpu_per_gib, median, ops, quantile, rate};
use crate::{parts, s3};

/// The development Hub's token and namespace, as it is started here.
pub(crate) const HUB_TOKEN: &str = "hf_bench";
pub(crate) const NAMESPACE: &str = "bench";

/// The gateway's FTP user.
pub(crate) const FTP_USER: &str = "bench";
pub(crate) const FTP_PASSWORD: &str = "bench-password";

const MIB: usize = 1 << 20;
pub(crate) const BUCKET: &str = "bench";
/// Interleaved rounds of each comparison.
const ROUNDS: usize = 5;

/// A scenario prints its table.
type Scenario = fn() -> Result<()>;

/// Runs all scenarios, or the one named.
pub(crate) fn run_all(only: Option<&str>) -> Result<()> {
    let scenarios: [(&str, Scenario); 10] = [
        ("single", single_transfers),
        ("concurrent", concurrent_reads),
        ("same", readers_of_one_object),
        ("memory", memory),
        ("multipart", multipart),
        ("ftp", ftp_beside_s3),
        ("small", small_puts),
        ("range", cold_range),
        ("calls", upstream_calls),
        ("parts", parts::run),
    ];
    for (name, run) in scenarios {
        if only.is_none_or(|only| only == name) {
            eprintln!("{name}");
            run().with_context(|| format!("scenario `{name}`"))?;
        }
    }
    Ok(())
}

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

    pub(crate) fn s3(&self) -> Result<String> {
        self.gateway.address("s3")
    }

    fn job(
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
        })
    }

    /// Runs a job and returns its outcome with the CPU seconds and the peak memory of whatever moved the data: the gateway
    /// for S3, the client itself for hf-xet.
    fn run(&self, job: &Job) -> Result<(Outcome, f64, f64)> {
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

fn cells<const N: usize>(cells: [String; N]) -> [String; N] {
    cells
}

/// The medians of runs of one kind: rate, CPU seconds per GiB, peak memory.
fn run_cells(name: &str, runs: &[(f64, f64, f64)]) -> [String; 4] {
    let of = |pick: fn(&(f64, f64, f64)) -> f64| median(&runs.iter().map(pick).collect::<Vec<_>>());
    cells([
        name.to_owned(),
        format!("{:.0}", of(|run| run.0)),
        format!("{:.2}", of(|run| run.1)),
        format!("{:.0}", of(|run| run.2)),
    ])
}

/// 64 MiB objects one by one, up and down.
fn single_transfers() -> Result<()> {
    const COUNT: usize = 4;
    let mut stand = Stand::start(false, &[])?;
    let mut puts: BTreeMap<&str, Vec<(f64, f64, f64)>> = BTreeMap::new();
    let mut gets: BTreeMap<&str, Vec<(f64, f64, f64)>> = BTreeMap::new();
    for round in 0..ROUNDS {
        for (name, via) in [
            ("S3, unsigned", Via::S3),
            ("S3, signed", Via::S3Signed),
            ("hf-xet client", Via::Xet),
        ] {
            let job = stand.job(
                via,
                Action::Put,
                &format!("{name}-{round}-{{n}}").replace([' ', ','], "-"),
                COUNT,
                1,
                64 * MIB,
            )?;
            let (outcome, cpu, peak) = stand.run(&job)?;
            puts.entry(name).or_default().push((
                rate(&outcome),
                cpu_per_gib(cpu, outcome.bytes),
                peak,
            ));
        }
        stand.restart_gateway()?;
        let keys = format!("S3--unsigned-{round}-{{n}}");
        // The cache keeps objects of this size from their second reading on.
        for (name, via) in [
            ("S3, cold", Via::S3),
            ("S3, read again", Via::S3),
            ("S3, warm", Via::S3),
            ("hf-xet client", Via::Xet),
        ] {
            let job = stand.job(via, Action::Get, &keys, COUNT, 1, 64 * MIB)?;
            let (outcome, cpu, peak) = stand.run(&job)?;
            gets.entry(name).or_default().push((
                rate(&outcome),
                cpu_per_gib(cpu, outcome.bytes),
                peak,
            ));
        }
    }
    for (title, results) in [
        ("PUT 64 MiB, random, one by one", puts),
        ("GET 64 MiB, one by one", gets),
    ] {
        let mut table = Table::new(title, &["way", "MiB/s", "CPU s per GiB", "peak MiB"]);
        for (name, runs) in results {
            table.row(&run_cells(name, &runs));
        }
        table.print();
    }
    Ok(())
}

/// 8 readers of 512 MiB objects, the xorb cache off.
fn concurrent_reads() -> Result<()> {
    const READERS: usize = 8;
    let mut stand = Stand::start(false, &[("HUGBUCKET_XORB_CACHE_MAX_BYTES", "0")])?;
    for n in 0..READERS {
        stand.run(&stand.job(Via::S3, Action::Put, &format!("big-{n}"), 1, 1, 512 * MIB)?)?;
    }
    stand.restart_gateway()?;
    let idle = stand.gateway.usage()?.resident_mib;
    let mut table = Table::new(
        "8 readers of one 512 MiB object each, at once, xorb cache off",
        &[
            "way",
            "MiB/s",
            "first byte p50 ms",
            "first byte max ms",
            "CPU s per GiB",
            "peak MiB",
            "above idle MiB",
        ],
    );
    for (name, via) in [("S3", Via::S3), ("hf-xet client", Via::Xet)] {
        let job = stand.job(via, Action::Get, "big-{n}", READERS, READERS, 512 * MIB)?;
        let (outcome, cpu, peak) = stand.run(&job)?;
        let above = if via == Via::Xet {
            f64::NAN
        } else {
            peak - idle
        };
        table.row(&cells([
            name.to_owned(),
            format!("{:.0}", rate(&outcome)),
            format!("{:.1}", median(&outcome.first_byte_ms)),
            format!("{:.1}", quantile(&outcome.first_byte_ms, 1.0)),
            format!("{:.2}", cpu_per_gib(cpu, outcome.bytes)),
            format!("{peak:.0}"),
            if above.is_nan() {
                "–".into()
            } else {
                format!("{above:.0}")
            },
        ]));
    }
    let job = stand.job(Via::Bare, Action::Get, "big-{n}", READERS, READERS, 0)?;
    let (outcome, _, _) = stand.run(&job)?;
    table.row(&cells([
        "upstream's round trips alone".to_owned(),
        "–".into(),
        format!("{:.1}", median(&outcome.first_byte_ms)),
        format!("{:.1}", quantile(&outcome.first_byte_ms, 1.0)),
        "–".into(),
        "–".into(),
        "–".into(),
    ]));
    table.print();
    Ok(())
}

/// 64 first readers of one object of 64 MiB.
fn readers_of_one_object() -> Result<()> {
    const READERS: usize = 64;
    let mut stand = Stand::start(false, &[])?;
    stand.run(&stand.job(Via::S3, Action::Put, "same", 1, 1, 64 * MIB)?)?;
    stand.restart_gateway()?;
    let mut table = Table::new(
        "64 readers of one cold object of 64 MiB at once",
        &["MiB/s", "MiB fetched", "CPU s per GiB", "peak MiB"],
    );
    let before = served_bytes(&stand.calls()?);
    let job = stand.job(Via::S3, Action::Get, "same", READERS, READERS, 64 * MIB)?;
    let (outcome, cpu, peak) = stand.run(&job)?;
    let fetched = served_bytes(&stand.calls()?) - before;
    table.row(&cells([
        format!("{:.0}", rate(&outcome)),
        format!("{:.1}", fetched as f64 / MIB as f64),
        format!("{:.2}", cpu_per_gib(cpu, outcome.bytes)),
        format!("{peak:.0}"),
    ]));
    table.print();
    Ok(())
}

/// What the gateway occupies at rest and under 64 transfers of 64 MiB at once, without the xorb cache.
fn memory() -> Result<()> {
    const TRANSFERS: usize = 64;
    let mut stand = Stand::start(false, &[("HUGBUCKET_XORB_CACHE_MAX_BYTES", "0")])?;
    let mut table = Table::new("Memory, xorb cache off", &["load", "MiB/s", "peak MiB"]);
    let idle = stand.gateway.usage()?.resident_mib;
    table.row(&cells(["none".into(), "–".into(), format!("{idle:.0}")]));
    for (name, action) in [
        ("64 PUTs of 64 MiB", Action::Put),
        ("64 GETs of 64 MiB", Action::Get),
    ] {
        let job = stand.job(Via::S3, action, "load-{n}", TRANSFERS, TRANSFERS, 64 * MIB)?;
        let (outcome, _, peak) = stand.run(&job)?;
        table.row(&cells([
            name.to_owned(),
            format!("{:.0}", rate(&outcome)),
            format!("{peak:.0}"),
        ]));
        stand.restart_gateway()?;
    }
    table.print();
    Ok(())
}

/// 512 MiB in parts of 8 MiB, 8 at once.
fn multipart() -> Result<()> {
    let stand = Stand::start(false, &[])?;
    let mut table = Table::new(
        "512 MiB multipart, 8 MiB parts, 8 at once",
        &["run", "MiB/s", "CPU s per GiB", "peak MiB"],
    );
    for round in 0..3 {
        let action = Action::Multipart {
            part_bytes: 8 * MIB,
            at_once: 8,
        };
        let job = stand.job(Via::S3, action, &format!("multi-{round}"), 1, 1, 512 * MIB)?;
        let (outcome, cpu, peak) = stand.run(&job)?;
        table.row(&cells([
            (round + 1).to_string(),
            format!("{:.0}", rate(&outcome)),
            format!("{:.2}", cpu_per_gib(cpu, outcome.bytes)),
            format!("{peak:.0}"),
        ]));
    }
    table.print();
    Ok(())
}

/// 512 MiB by FTP and by S3, up and down, the xorb cache off.
fn ftp_beside_s3() -> Result<()> {
    let mut stand = Stand::start(false, &[("HUGBUCKET_XORB_CACHE_MAX_BYTES", "0")])?;
    let ways = [
        ("S3 PUT", Via::S3, Action::Put),
        ("FTP STOR", Via::Ftp, Action::Put),
        ("S3 GET", Via::S3, Action::Get),
        ("FTP RETR", Via::Ftp, Action::Get),
    ];
    let mut runs: BTreeMap<usize, Vec<(f64, f64, f64)>> = BTreeMap::new();
    for round in 0..3 {
        for (n, (_, via, action)) in ways.iter().enumerate() {
            // Each way reads what it wrote itself.
            let keys = format!("{}-{round}", if *via == Via::Ftp { "ftp" } else { "s3" });
            if *action == Action::Get {
                stand.restart_gateway()?;
            }
            let job = stand.job(*via, action.clone(), &keys, 1, 1, 512 * MIB)?;
            let (outcome, cpu, peak) = stand.run(&job)?;
            let run = (rate(&outcome), cpu_per_gib(cpu, outcome.bytes), peak);
            runs.entry(n).or_default().push(run);
        }
    }
    let mut table = Table::new(
        "512 MiB by FTP and by S3, xorb cache off",
        &["way", "MiB/s", "CPU s per GiB", "peak MiB"],
    );
    for (n, runs) in runs {
        table.row(&run_cells(ways[n].0, &runs));
    }
    table.print();
    Ok(())
}

/// 1 KiB objects, with and without upstream latency.
fn small_puts() -> Result<()> {
    let mut table = Table::new(
        "PUT 1 KiB",
        &[
            "upstream",
            "at once",
            "op/s",
            "p50 ms",
            "p99 ms",
            "Hub API calls per 1,000",
        ],
    );
    for (has_latency, at_once, count) in [
        (false, 1, 500),
        (false, 16, 5000),
        (false, 64, 5000),
        (true, 1, 30),
        (true, 64, 2000),
        (true, 256, 6000),
    ] {
        let stand = Stand::start(has_latency, &[])?;
        // The first write fetches the token.
        stand.run(&stand.job(Via::S3, Action::Put, "warm-up", 1, 1, 1024)?)?;
        let before = stand.calls()?;
        let (outcome, _, _) =
            stand.run(&stand.job(Via::S3, Action::Put, "small-{n}", count, at_once, 1024)?)?;
        let after = stand.calls()?;
        let batches = calls_of(&after, "batch") - calls_of(&before, "batch");
        table.row(&cells([
            if has_latency {
                "Hub 60 ms, CAS 30 ms"
            } else {
                "no added latency"
            }
            .to_owned(),
            at_once.to_string(),
            format!("{:.0}", ops(&outcome)),
            format!("{:.1}", median(&outcome.latency_ms)),
            format!("{:.1}", quantile(&outcome.latency_ms, 0.99)),
            format!("{:.0}", batches as f64 * 1000.0 / count as f64),
        ]));
    }
    table.print();
    Ok(())
}

/// 1 KiB out of 64 MiB, by a process that never saw the object.
fn cold_range() -> Result<()> {
    let mut stand = Stand::start(false, &[])?;
    stand.run(&stand.job(Via::S3, Action::Put, "ranged", 1, 1, 64 * MIB)?)?;
    let mut table = Table::new(
        "1 KiB range of a 64 MiB object, cold",
        &["offset MiB", "KiB fetched", "ms"],
    );
    for offset_mib in [0_u64, 31, 63] {
        stand.restart_gateway()?;
        let before = stand.calls()?;
        let first = offset_mib * MIB as u64 + 4321;
        let action = Action::GetRange(first, first + 1023);
        let (outcome, _, _) = stand.run(&stand.job(Via::S3, action, "ranged", 1, 1, 1024)?)?;
        let after = stand.calls()?;
        let fetched = served_bytes(&after) - served_bytes(&before);
        table.row(&cells([
            offset_mib.to_string(),
            format!("{:.0}", fetched as f64 / 1024.0),
            format!("{:.1}", median(&outcome.latency_ms)),
        ]));
    }
    table.print();
    Ok(())
}

/// Upstream calls of small requests.
fn upstream_calls() -> Result<()> {
    let mut stand = Stand::start(false, &[])?;
    let mut table = Table::new(
        "Upstream calls of a 1 KiB object",
        &["request", "calls", "which"],
    );
    let steps = [
        ("first PUT of a process", Action::Put, false),
        ("next PUT", Action::Put, false),
        ("first GET of a process", Action::Get, true),
        ("the same GET again", Action::Get, false),
    ];
    for (n, (name, action, is_fresh)) in steps.into_iter().enumerate() {
        if is_fresh {
            stand.restart_gateway()?;
        }
        let key = if matches!(action, Action::Put) {
            format!("call-{n}")
        } else {
            "call-0".to_owned()
        };
        let before = stand.calls()?;
        stand.run(&stand.job(Via::S3, action, &key, 1, 1, 1024)?)?;
        let after = stand.calls()?;
        let made: Vec<(String, u64)> = after
            .iter()
            .map(|(route, calls)| (route.clone(), calls.calls - calls_of(&before, route)))
            .filter(|(_, calls)| *calls > 0)
            .collect();
        table.row(&cells([
            name.to_owned(),
            made.iter().map(|(_, calls)| calls).sum::<u64>().to_string(),
            made.iter()
                .map(|(route, calls)| format!("{route} {calls}"))
                .collect::<Vec<_>>()
                .join(", "),
        ]));
    }
    table.print();
    Ok(())
}

fn served_bytes(calls: &BTreeMap<String, Calls>) -> u64 {
    calls.values().map(|calls| calls.served_bytes).sum()
}

fn calls_of(calls: &BTreeMap<String, Calls>, route: &str) -> u64 {
    calls.get(route).copied().unwrap_or_default().calls
}
