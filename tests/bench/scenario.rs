//! What is measured.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use crate::client::{Action, Via};
use crate::report::{Table, cells, cpu_per_gib, median, ops, quantile, rate};
use crate::stand::{MIB, Stand, calls_of, served_bytes};
use crate::{mixture, parts, profile, scaling};

/// Interleaved rounds of each comparison.
const ROUNDS: usize = 5;

/// A scenario prints its table.
type Scenario = fn() -> Result<()>;

/// Runs all scenarios, or the one named.
pub(crate) fn run_all(only: Option<&str>) -> Result<()> {
    let scenarios: [(&str, Scenario); 13] = [
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
        ("scaling", scaling::run),
        ("mixture", mixture::run),
        ("profile", profile::run),
    ];
    for (name, run) in scenarios {
        if only.is_none_or(|only| only == name) {
            eprintln!("{name}");
            run().with_context(|| format!("scenario `{name}`"))?;
        }
    }
    Ok(())
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
    let mut rounds: BTreeMap<&str, Vec<ReadRound>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        stand.restart_gateway()?;
        let idle = stand.gateway.usage()?.resident_mib;
        for (name, via, size) in [
            ("S3", Via::S3, 512 * MIB),
            ("hf-xet client", Via::Xet, 512 * MIB),
            ("upstream's round trips alone", Via::Bare, 0),
        ] {
            let job = stand.job(via, Action::Get, "big-{n}", READERS, READERS, size)?;
            let (outcome, cpu, peak) = stand.run(&job)?;
            rounds.entry(name).or_default().push(ReadRound {
                rate: rate(&outcome),
                first_byte_ms: median(&outcome.first_byte_ms),
                slowest_first_byte_ms: quantile(&outcome.first_byte_ms, 1.0),
                cpu: cpu_per_gib(cpu, outcome.bytes),
                peak,
                above_idle: peak - idle,
            });
        }
    }
    let mut table = Table::new(
        &format!(
            "8 readers of one 512 MiB object each, at once, xorb cache off: medians of {ROUNDS} rounds"
        ),
        &[
            "way",
            "MiB/s",
            "first byte p50 ms",
            "slowest of 8 ms",
            "slowest of all ms",
            "CPU s per GiB",
            "peak MiB",
            "above idle MiB",
        ],
    );
    for (name, rounds) in &rounds {
        let all = |pick: fn(&ReadRound) -> f64| rounds.iter().map(pick).collect::<Vec<_>>();
        let of = |pick: fn(&ReadRound) -> f64| median(&all(pick));
        let unless = |is_absent: bool, cell: String| if is_absent { "–".into() } else { cell };
        let (is_bare, is_gateway) = (name.starts_with("upstream"), *name == "S3");
        table.row(&cells([
            (*name).to_owned(),
            unless(is_bare, format!("{:.0}", of(|round| round.rate))),
            format!("{:.1}", of(|round| round.first_byte_ms)),
            format!("{:.1}", of(|round| round.slowest_first_byte_ms)),
            format!(
                "{:.1}",
                quantile(&all(|round| round.slowest_first_byte_ms), 1.0)
            ),
            unless(is_bare, format!("{:.2}", of(|round| round.cpu))),
            unless(is_bare, format!("{:.0}", of(|round| round.peak))),
            unless(!is_gateway, format!("{:.0}", of(|round| round.above_idle))),
        ]));
    }
    table.print();
    Ok(())
}

/// What was measured in one round of reads.
struct ReadRound {
    rate: f64,
    first_byte_ms: f64,
    slowest_first_byte_ms: f64,
    cpu: f64,
    peak: f64,
    above_idle: f64,
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

/// Rates of single transfers vary more than the ways differ.
const FTP_ROUNDS: usize = 7;

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
    for round in 0..FTP_ROUNDS {
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
