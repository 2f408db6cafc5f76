//! Where the gateway's time goes: the functions that a sampling profiler (`perf`) finds it in most often.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::client::{Action, Via};
use crate::report::{Table, cells};
use crate::stand::{MIB, Stand};

/// Functions that are shown.
const TOP: usize = 10;
const COUNT: usize = 16;

/// Profiles writes and cold reads of 64 MiB and prints the functions at the top. Without `perf` it says so and does nothing.
pub(crate) fn run() -> Result<()> {
    if Command::new("perf").arg("--version").output().is_err() {
        eprintln!("  SKIP: perf is not here (Debian package linux-perf)");
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    let mut stand = Stand::start(false, &[("HUGBUCKET_XORB_CACHE_MAX_BYTES", "0")])?;
    for (name, via, action) in [
        ("PUT, unsigned", Via::S3, Action::Put),
        ("PUT, signed", Via::S3Signed, Action::Put),
        ("GET", Via::S3, Action::Get),
        ("FTP STOR", Via::Ftp, Action::Put),
        ("FTP RETR", Via::Ftp, Action::Get),
    ] {
        let file = directory.path().join("perf.data");
        let keys = format!("{via:?}-{{n}}");
        let job = stand.job(via, action, &keys, COUNT, 1, 64 * MIB)?;
        let mut perf = record(stand.gateway.id(), &file)?;
        let ran = stand.run(&job);
        // Its file is complete only if it ends by itself.
        Command::new("kill")
            .args(["-INT", &perf.id().to_string()])
            .status()?;
        perf.wait()?;
        ran?;
        let mut table = Table::new(
            &format!("Where the gateway's CPU time goes: {name}, 64 MiB one by one"),
            &["share", "function"],
        );
        for (share, function) in report(&file)? {
            table.row(&cells([share, format!("`{function}`")]));
        }
        table.print();
        stand.restart_gateway()?;
    }
    Ok(())
}

fn record(pid: u32, file: &Path) -> Result<Child> {
    let mut command = Command::new("perf");
    command
        .args(["record", "--quiet", "--freq", "499", "--pid"])
        .arg(pid.to_string())
        .arg("--output")
        .arg(file);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("failed to start perf")
}

/// Returns the shares and names of the functions at the top.
fn report(file: &Path) -> Result<Vec<(String, String)>> {
    let output = Command::new("perf")
        .args([
            "report",
            "--stdio",
            "--no-children",
            "--sort",
            "symbol",
            "--input",
        ])
        .arg(file)
        .stderr(Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().map(str::trim);
    let rows: Vec<_> = lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter_map(|line| {
            let (share, rest) = line.split_once('%')?;
            // `[k]` and `[.]` tell the kernel from the process.
            let (space, function) = rest.trim().split_once(' ')?;
            let place = if space == "[k]" { "kernel: " } else { "" };
            // Behind the name stand columns that are of no use here.
            let name = function.trim().split("  ").next()?;
            Some((format!("{share} %"), format!("{place}{name}")))
        })
        .take(TOP)
        .collect();
    ensure!(!rows.is_empty(), "perf saw nothing");
    Ok(rows)
}
