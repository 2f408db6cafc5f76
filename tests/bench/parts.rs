//! Multipart uploads at their limits: 10,000 parts, parts of 10 GiB completed by another process, and copies of 5 GiB.
//!
//! Parts that repeat one content, and copies, keep the sizes large and the bytes few: what is measured is what hugbucket does
//! per part, not how fast a disk is.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Result, ensure};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::Method;

use crate::client::random_bytes;
use crate::report::Table;
use crate::s3::{Client, between};
use crate::stand::{BUCKET, Calls, Stand};

const MIB: u64 = 1 << 20;

/// Requests under way at once.
const AT_ONCE: usize = 32;

/// The most parts that an upload may have, each as small as it may be. `BENCH_PARTS` asks for fewer.
const MANY: u64 = 10_000;
const SMALL: u64 = 5 * MIB;

/// What equal parts may send to the CAS, in parts: those that come first all at once, and no later one.
const SENT_PARTS: u64 = 2 * AT_ONCE as u64;

/// What a completion may cost at the Hub: looking at the upload and at what stands under the key, a listing of two files a
/// part in pages of 5,000, the object, its mark, and the removals, of 1,000 files each, as far as they have begun.
fn completion_calls(parts: u64) -> u64 {
    let files = 2 * parts;
    2 + files.div_ceil(5000) + 1 + 2 + files.div_ceil(1000) + 1
}

/// Parts of 10 GiB.
const LARGE: u64 = 8 * MIB;
const LARGE_PARTS: u64 = 1280;

/// The largest copy.
const LARGEST_COPY: u64 = 5 << 30;

/// Runs the scenario and prints its table.
pub(crate) fn run() -> Result<()> {
    let count = match std::env::var("BENCH_PARTS") {
        Ok(count) => count.parse()?,
        Err(_) => MANY,
    };
    let mut bench = Bench {
        count,
        stand: Stand::start(false, &[])?,
        runtime: tokio::runtime::Runtime::new()?,
        table: Table::new(
            "Multipart at its limits",
            &[
                "step",
                "seconds",
                "Hub calls",
                "which",
                "CAS calls",
                "MiB sent to the CAS",
                "MiB read from it",
                "peak MiB",
            ],
        ),
    };
    bench.many_parts()?;
    if bench.count * SMALL >= LARGEST_COPY + MIB {
        bench.copies()?;
    }
    bench.parts_of_another_process()?;
    bench.table.print();
    Ok(())
}

struct Bench {
    /// Equal parts to begin with.
    count: u64,
    stand: Stand,
    runtime: tokio::runtime::Runtime,
    table: Table,
}

/// The Hub's routes, and those of the CAS.
const HUB: [&str; 3] = ["paths-info", "tree", "batch"];
const CAS: [&str; 5] = [
    "xorb-post",
    "grant-put",
    "shard",
    "reconstruction",
    "xorb-get",
];

/// Sums up over routes.
fn of_all(calls: &BTreeMap<String, Calls>, routes: &[&str], what: fn(&Calls) -> u64) -> u64 {
    let of = |route: &&str| calls.get(*route).map_or(0, what);
    routes.iter().map(of).sum()
}

/// A part to copy: `first..end` of a key.
#[derive(Clone, Copy)]
struct Range<'a> {
    key: &'a str,
    first: u64,
    end: u64,
}

impl Bench {
    /// 50 GiB of one repeated content, sent and joined.
    ///
    /// # Errors
    /// Fails if later parts are sent although earlier ones were equal, or if the join costs more calls than it must.
    fn many_parts(&mut self) -> Result<()> {
        let count = self.count;
        let part = random_bytes("part", usize::try_from(SMALL)?);
        let upload = self.begin("many")?;
        let before = self.stand.calls()?;
        let tags = self.step(&format!("{count} equal parts of 5 MiB: sent"), async |s3| {
            let sends = stream::iter(1..=count).map(|n| {
                let query = format!("partNumber={n}&uploadId={upload}");
                let part = part.clone();
                async move {
                    let answer = s3.send(Method::PUT, "many", &query, part, None).await?;
                    anyhow::Ok(answer.headers()["etag"].to_str()?.to_owned())
                }
            });
            sends.buffered(AT_ONCE).try_collect::<Vec<_>>().await
        })?;
        let sent = self.stand.calls()?;
        let bytes = of_all(&sent, &CAS, |calls| calls.received_bytes)
            - of_all(&before, &CAS, |calls| calls.received_bytes);
        // Each part also leaves its manifest, of some 10 KiB.
        let allowed = SENT_PARTS * SMALL + count * (16 << 10);
        ensure!(
            bytes <= allowed,
            "equal parts sent {bytes} bytes, more than {allowed}"
        );
        self.step("… joined", async |s3| {
            complete(s3, "many", &upload, &tags).await
        })?;
        let joined = self.stand.calls()?;
        let calls =
            of_all(&joined, &HUB, |calls| calls.calls) - of_all(&sent, &HUB, |calls| calls.calls);
        let allowed = completion_calls(count);
        ensure!(
            calls <= allowed,
            "the join made {calls} calls to the Hub, more than {allowed}"
        );
        Ok(())
    }

    /// 5 GiB as one part, by the process that took the source's parts and by one that did not.
    fn copies(&mut self) -> Result<()> {
        for step in [
            "5 GiB copied as a part, at an odd offset",
            "… by a fresh process",
        ] {
            let upload = self.begin("copy")?;
            let range = Range {
                key: "many",
                first: 12_345,
                end: 12_345 + LARGEST_COPY,
            };
            let tag = self.step(step, async |s3| copy(s3, "copy", &upload, 1, range).await)?;
            self.step("… and joined", async |s3| {
                complete(s3, "copy", &upload, &[tag]).await
            })?;
            self.stand.restart_gateway()?;
        }
        Ok(())
    }

    /// 10 GiB in parts that all differ, joined by the process that took them and by another one.
    fn parts_of_another_process(&mut self) -> Result<()> {
        let source = random_bytes("source", 64 << 20);
        self.step("64 MiB put", async |s3| {
            s3.put("source", source).await.map(|_| ())
        })?;
        for is_fresh in [false, true] {
            let upload = self.begin("large")?;
            let tags = self.step("1,280 different parts of 8 MiB: copied", async |s3| {
                let copies = stream::iter(0..LARGE_PARTS).map(|n| {
                    let first = n * 43_210 % (56 * MIB);
                    let range = Range {
                        key: "source",
                        first,
                        end: first + LARGE,
                    };
                    copy(s3, "large", &upload, n + 1, range)
                });
                copies.buffered(AT_ONCE).try_collect::<Vec<_>>().await
            })?;
            let mut step = "… joined to 10 GiB";
            if is_fresh {
                self.stand.restart_gateway()?;
                step = "… joined to 10 GiB by a fresh process";
            }
            self.step(step, async |s3| complete(s3, "large", &upload, &tags).await)?;
        }
        Ok(())
    }

    fn begin(&self, key: &str) -> Result<String> {
        let s3 = Client::new(&self.stand.s3()?, BUCKET, false)?;
        self.runtime.block_on(async {
            let begun = s3.send(Method::POST, key, "uploads=", Bytes::new(), None);
            let begun = begun.await?.text().await?;
            Ok(between(&begun, "<UploadId>", "</UploadId>")?.to_owned())
        })
    }

    /// Does something, and adds a row about what it took.
    fn step<T>(&mut self, name: &str, work: impl AsyncFnOnce(&Client) -> Result<T>) -> Result<T> {
        let s3 = Client::new(&self.stand.s3()?, BUCKET, false)?;
        let before = self.stand.calls()?;
        self.stand.gateway.reset_peak()?;
        let started = Instant::now();
        let done = self.runtime.block_on(work(&s3))?;
        let secs = started.elapsed().as_secs_f64();
        let after = self.stand.calls()?;
        let made = |route: &str, what: fn(&Calls) -> u64| {
            of_all(&after, &[route], what) - of_all(&before, &[route], what)
        };
        let calls = |route: &str| made(route, |calls| calls.calls);
        let sent = |route: &str| made(route, |calls| calls.received_bytes);
        let read = |route: &str| made(route, |calls| calls.served_bytes);
        let mib = |bytes: u64| format!("{:.1}", bytes as f64 / MIB as f64);
        let which: Vec<String> = HUB
            .iter()
            .filter(|route| calls(route) > 0)
            .map(|route| format!("{route} {}", calls(route)))
            .collect();
        self.table.row(&[
            name.to_owned(),
            format!("{secs:.2}"),
            HUB.iter()
                .map(|route| calls(route))
                .sum::<u64>()
                .to_string(),
            which.join(", "),
            CAS.iter()
                .map(|route| calls(route))
                .sum::<u64>()
                .to_string(),
            mib(CAS.iter().map(|route| sent(route)).sum()),
            mib(CAS.iter().map(|route| read(route)).sum()),
            format!("{:.0}", self.stand.gateway.usage()?.peak_mib),
        ]);
        Ok(done)
    }
}

/// Copies a range as a part, and returns its entity tag.
async fn copy(s3: &Client, key: &str, upload: &str, n: u64, range: Range<'_>) -> Result<String> {
    // Parameters of a signed query go in byte order.
    let query = format!(
        "partNumber={n}&uploadId={upload}&x-amz-copy-source=%2F{BUCKET}%2F{}&x-amz-copy-source-range=bytes%3D{}-{}",
        range.key,
        range.first,
        range.end - 1
    );
    let answer = s3
        .send(Method::PUT, key, &query, Bytes::new(), None)
        .await?;
    let document = answer.text().await?;
    let tag = between(&document, "<ETag>&quot;", "&quot;</ETag>")?;
    Ok(format!("\"{tag}\""))
}

async fn complete(s3: &Client, key: &str, upload: &str, tags: &[String]) -> Result<()> {
    let part = |(n, tag): (usize, &String)| {
        format!("<Part><PartNumber>{n}</PartNumber><ETag>{tag}</ETag></Part>")
    };
    let parts: String = (1..).zip(tags).map(part).collect();
    let document = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    let query = format!("uploadId={upload}");
    let answer = s3
        .send(Method::POST, key, &query, document.into(), None)
        .await?;
    let answer = answer.text().await?;
    ensure!(
        answer.contains("<CompleteMultipartUploadResult"),
        "not completed: {answer}"
    );
    Ok(())
}
