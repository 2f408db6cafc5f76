//! How the cost grows: with the bytes of an object, and with the keys of a bucket.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Action, Via};
use crate::plot::{self, Labels, Line};
use crate::report::{Table, cells, median, rate};
use crate::s3;
use crate::stand::{BUCKET, HUB_TOKEN, MIB, NAMESPACE, Stand, calls_of};

/// Sizes of objects, MiB.
const SIZES: [usize; 4] = [1, 10, 100, 1000];
/// Keys in a bucket.
const KEYS: [usize; 3] = [1_000, 10_000, 100_000];
/// Keys of a page of S3.
const PAGE: usize = 1000;
const ROUNDS: usize = 3;

/// What a signed query has to escape.
const RESERVED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Runs both and prints their tables.
pub(crate) fn run() -> Result<()> {
    bytes()?;
    keys()
}

/// One object up and down, by a process that has just been started.
fn bytes() -> Result<()> {
    let mut table = Table::new(
        "Cost over the size of an object, one at a time, cold",
        &[
            "MiB",
            "PUT s",
            "PUT MiB/s",
            "PUT CPU s",
            "PUT peak MiB",
            "GET s",
            "GET MiB/s",
            "GET CPU s",
            "GET peak MiB",
        ],
    );
    let mut stand = Stand::start(false, &[("HUGBUCKET_XORB_CACHE_MAX_BYTES", "0")])?;
    let mut lines: Vec<Line> = [
        "PUT, seconds",
        "PUT, CPU seconds",
        "GET, seconds",
        "GET, CPU seconds",
    ]
    .map(|name| Line {
        name: name.to_owned(),
        points: Vec::new(),
    })
    .into();
    for mib in SIZES {
        let mut row = vec![mib.to_string()];
        for (n, action) in [Action::Put, Action::Get].into_iter().enumerate() {
            let mut runs = Vec::new();
            for round in 0..ROUNDS {
                stand.restart_gateway()?;
                let key = format!("size-{mib}-{round}");
                let job = stand.job(Via::S3, action.clone(), &key, 1, 1, mib * MIB)?;
                let (outcome, cpu, peak) = stand.run(&job)?;
                runs.push((outcome.secs, rate(&outcome), cpu, peak));
            }
            let of = |pick: fn(&(f64, f64, f64, f64)) -> f64| {
                median(&runs.iter().map(pick).collect::<Vec<_>>())
            };
            let (secs, cpu) = (of(|run| run.0), of(|run| run.2));
            // The kernel counts CPU time in hundredths of a second.
            lines[2 * n].points.push((mib as f64, secs));
            lines[2 * n + 1].points.push((mib as f64, cpu.max(0.01)));
            row.extend([
                format!("{secs:.3}"),
                format!("{:.0}", of(|run| run.1)),
                format!("{cpu:.2}"),
                format!("{:.0}", of(|run| run.3)),
            ]);
        }
        table.row(&row);
    }
    table.print();
    let labels = Labels {
        title: "Cost over the size of an object",
        x: "MiB",
        y: "seconds",
    };
    plot::write("bytes", &labels, &lines)
}

/// Whole listings through S3, beside the same listing by bare calls of the Hub, and beside what listing all keys again for
/// every page would take: the Hub's pages alone, with nothing done about them.
fn keys() -> Result<()> {
    let mut table = Table::new(
        "Listing a bucket, 1,000 keys a page, cold",
        &[
            "keys",
            "S3 s",
            "S3 Hub calls",
            "S3 CPU s",
            "S3 peak MiB",
            "Hub's pages alone s",
            "everything again for each page s",
            "its Hub calls",
        ],
    );
    let mut lines: Vec<Line> = [
        "S3",
        "the Hub's pages alone",
        "everything again for each page",
    ]
    .map(|name| Line {
        name: name.to_owned(),
        points: Vec::new(),
    })
    .into();
    let runtime = tokio::runtime::Runtime::new()?;
    for count in KEYS {
        let mut stand = Stand::start(false, &[])?;
        runtime.block_on(seed(&stand, count))?;
        let mut runs = Vec::new();
        let mut calls = 0;
        for _ in 0..ROUNDS {
            stand.restart_gateway()?;
            let before = (stand.gateway.usage()?, stand.calls()?);
            let client = s3::Client::new(&stand.s3()?, BUCKET, false)?;
            let started = Instant::now();
            let listed = runtime.block_on(list(&client))?;
            let secs = started.elapsed().as_secs_f64();
            ensure!(listed == count, "{listed} keys listed of {count}");
            let after = stand.gateway.usage()?;
            calls = calls_of(&stand.calls()?, "tree") - calls_of(&before.1, "tree");
            runs.push((secs, after.cpu_secs - before.0.cpu_secs, after.peak_mib));
        }
        let of =
            |pick: fn(&(f64, f64, f64)) -> f64| median(&runs.iter().map(pick).collect::<Vec<_>>());
        let started = Instant::now();
        let hub_pages = runtime.block_on(list_hub(&stand))?;
        let hub_secs = started.elapsed().as_secs_f64();
        let pages = count.div_ceil(PAGE);
        let started = Instant::now();
        for _ in 0..pages {
            runtime.block_on(list_hub(&stand))?;
        }
        let again_secs = started.elapsed().as_secs_f64();
        let points = [of(|run| run.0), hub_secs, again_secs];
        for (line, secs) in lines.iter_mut().zip(points) {
            line.points.push((count as f64, secs));
        }
        table.row(&cells([
            count.to_string(),
            format!("{:.2}", of(|run| run.0)),
            calls.to_string(),
            format!("{:.2}", of(|run| run.1)),
            format!("{:.0}", of(|run| run.2)),
            format!("{hub_secs:.2}"),
            format!("{again_secs:.2}"),
            (pages * hub_pages).to_string(),
        ]));
    }
    table.print();
    let labels = Labels {
        title: "Listing a bucket to its end",
        x: "keys",
        y: "seconds",
    };
    plot::write("keys", &labels, &lines)
}

fn address(stand: &Stand, what: &str) -> Result<String> {
    Ok(format!(
        "{}/api/buckets/{NAMESPACE}/{BUCKET}/{what}",
        stand.hub()?
    ))
}

fn http() -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder().no_proxy().build()?)
}

/// Registers so many keys with one content, a thousand a call.
async fn seed(stand: &Stand, count: usize) -> Result<()> {
    let client = s3::Client::new(&stand.s3()?, BUCKET, false)?;
    client
        .put("000/000", Bytes::from_static(b"content"))
        .await?;
    let http = http()?;
    let found: Value = http
        .post(address(stand, "paths-info")?)
        .bearer_auth(HUB_TOKEN)
        .json(&json!({"paths": ["000/000"]}))
        .send()
        .await?
        .json()
        .await?;
    let hash = found[0]["xetHash"].as_str().context("a hash")?;
    let paths: Vec<String> = (0..count)
        .map(|n| format!("{:03}/{:03}", n / 1000, n % 1000))
        .collect();
    for some in paths.chunks(1000) {
        let line =
            |path: &String| json!({"type": "addFile", "path": path, "xetHash": hash}).to_string();
        let lines: Vec<String> = some.iter().map(line).collect();
        http.post(address(stand, "batch")?)
            .bearer_auth(HUB_TOKEN)
            .header("content-type", "application/x-ndjson")
            .body(lines.join("\n"))
            .send()
            .await?
            .error_for_status()?;
    }
    Ok(())
}

/// Lists the bucket page by page, as any client does; returns how many keys there were.
async fn list(client: &s3::Client) -> Result<usize> {
    let (mut keys, mut token) = (0, String::new());
    loop {
        let query = format!("{token}list-type=2&max-keys={PAGE}");
        let page = client
            .send(Method::GET, "", &query, Bytes::new(), None)
            .await?;
        let page = page.text().await?;
        keys += page.matches("<Key>").count();
        let Ok(next) = s3::between(&page, "<NextContinuationToken>", "</NextContinuationToken>")
        else {
            return Ok(keys);
        };
        let next = utf8_percent_encode(next, &RESERVED);
        token = format!("continuation-token={next}&");
    }
}

/// Lists the bucket by bare calls; returns how many there were.
async fn list_hub(stand: &Stand) -> Result<usize> {
    let http = http()?;
    let mut next = Some(format!(
        "{}?recursive=true&limit=5000",
        address(stand, "tree")?
    ));
    let mut calls = 0;
    while let Some(url) = next {
        let page = http
            .get(url)
            .bearer_auth(HUB_TOKEN)
            .send()
            .await?
            .error_for_status()?;
        let link = page
            .headers()
            .get("link")
            .and_then(|link| link.to_str().ok());
        next = link
            .and_then(|link| s3::between(link, "<", ">").ok())
            .map(str::to_owned);
        page.bytes().await?;
        calls += 1;
    }
    Ok(calls)
}
