//! Small and large objects of several kinds of data, few and many at once, with and without latency upstream.

use anyhow::Result;

use crate::client::{Action, Data, Job, Via};
use crate::plot::{self, Labels, Line};
use crate::report::{Table, cells, cpu_per_gib, median, quantile, rate};
use crate::stand::{MIB, Stand, served_bytes};

const SMALL: usize = 64 << 10;
const LARGE: usize = 16 * MIB;
const AT_ONCE: [usize; 3] = [1, 16, 64];
const DATA: [(&str, Data); 3] = [
    ("random", Data::Random),
    ("compressible", Data::Compressible),
    ("half duplicate", Data::HalfDuplicate),
];
const WAYS: [(&str, Via); 2] = [("S3", Via::S3), ("hf-xet client", Via::Xet)];

/// Runs everything, each once, and prints one table for each size and latency.
pub(crate) fn run() -> Result<()> {
    for has_latency in [false, true] {
        for size in [SMALL, LARGE] {
            run_size(has_latency, size)?;
        }
    }
    Ok(())
}

fn run_size(has_latency: bool, size: usize) -> Result<()> {
    let upstream = match has_latency {
        true => "Hub 60 ms, CAS 30 ms",
        false => "no added latency",
    };
    let size_name = match size {
        SMALL => "64 KiB",
        _ => "16 MiB",
    };
    let mut table = Table::new(
        &format!("Objects of {size_name}, {upstream}"),
        &[
            "data",
            "at once",
            "way",
            "PUT MiB/s",
            "p50 ms",
            "p99 ms",
            "CPU s per GiB",
            "peak MiB",
            "calls an object",
            "MiB sent",
            "cold GET MiB/s",
            "first byte p50 ms",
            "p99 ms",
            "CPU s per GiB",
            "peak MiB",
            "calls an object",
            "MiB fetched",
        ],
    );
    let mut lines = Vec::new();
    for (data_name, data) in DATA {
        for (way, via) in WAYS {
            let mut line = Line {
                name: format!("{data_name}, {way}"),
                points: Vec::new(),
            };
            for at_once in AT_ONCE {
                // A bucket of its own for each run: nothing is known from the one before.
                let mut stand = Stand::start(has_latency, &[])?;
                let count = count(size, at_once);
                let job = |action: Action| -> Result<Job> {
                    let job = stand.job(via, action, "mixed-{n}", count, at_once, size)?;
                    Ok(Job { data, ..job })
                };
                let (put, get) = (job(Action::Put)?, job(Action::Get)?);
                let mut row = vec![data_name.to_owned(), at_once.to_string(), way.to_owned()];
                row.extend(measure(&stand, &put, &mut line)?);
                stand.restart_gateway()?;
                let get = match via {
                    Via::Xet => get,
                    _ => Job {
                        endpoint: stand.s3()?,
                        ..get
                    },
                };
                row.extend(measure(&stand, &get, &mut line)?);
                table.row(&row);
            }
            lines.push(line);
        }
    }
    table.print();
    let name = match (size, has_latency) {
        (SMALL, false) => "small",
        (SMALL, true) => "small-latency",
        (_, false) => "large",
        (_, true) => "large-latency",
    };
    let labels = Labels {
        title: &format!("PUT of objects of {size_name}, {upstream}"),
        x: "objects at once",
        y: "MiB/s",
    };
    plot::write(name, &labels, &lines)
}

/// As many objects as keep all of them busy for a while, and no more: with latency, one after the other takes its time.
fn count(size: usize, at_once: usize) -> usize {
    match size {
        SMALL => (8 * at_once).clamp(16, 512),
        _ => (2 * at_once).clamp(4, 64),
    }
}

/// Runs the job; a PUT's rate becomes a point of the line.
fn measure(stand: &Stand, job: &Job, line: &mut Line) -> Result<[String; 7]> {
    let before = stand.calls()?;
    let (outcome, cpu, peak) = stand.run(job)?;
    let after = stand.calls()?;
    let is_put = job.action == Action::Put;
    if is_put {
        line.points.push((job.at_once as f64, rate(&outcome)));
    }
    let sum = |calls: &std::collections::BTreeMap<String, crate::stand::Calls>| -> (u64, u64) {
        (
            calls.values().map(|calls| calls.calls).sum(),
            calls.values().map(|calls| calls.received_bytes).sum(),
        )
    };
    let ((calls_before, sent_before), (calls_after, sent_after)) = (sum(&before), sum(&after));
    let moved = match is_put {
        true => sent_after - sent_before,
        false => served_bytes(&after) - served_bytes(&before),
    };
    let times = match is_put {
        true => &outcome.latency_ms,
        false => &outcome.first_byte_ms,
    };
    Ok(cells([
        format!("{:.1}", rate(&outcome)),
        format!("{:.1}", median(times)),
        format!("{:.1}", quantile(times, 0.99)),
        format!("{:.2}", cpu_per_gib(cpu, outcome.bytes)),
        format!("{peak:.0}"),
        format!(
            "{:.2}",
            (calls_after - calls_before) as f64 / job.count as f64
        ),
        format!("{:.1}", moved as f64 / MIB as f64),
    ]))
}
