//! The load generator: a process of its own that does one job and prints one line of JSON.

use std::time::Instant;

use anyhow::Result;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use crate::process::own_usage;
use crate::stand::{HUB_TOKEN, NAMESPACE};
use crate::{bare, ftp, s3, xet};

/// Which way to the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Via {
    /// S3 requests with an unsigned payload.
    S3,
    /// S3 requests with a signed payload (SHA-256 of the body).
    S3Signed,
    /// The `hf-xet` client, without any gateway.
    Xet,
    /// The first bytes of each object by bare upstream calls; no rate comes of it.
    Bare,
    /// FTP in the clear, a session for each object.
    Ftp,
}

/// What to do with each object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Action {
    Put,
    Get,
    /// Inclusive byte range.
    GetRange(u64, u64),
    /// Multipart with parts of this size, this many at once.
    Multipart {
        part_bytes: usize,
        at_once: usize,
    },
}

/// What objects consist of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Data {
    /// Nothing to be saved.
    Random,
    /// Lines of text: a third of its size when compressed.
    Compressible,
    /// The first half is the same in all objects.
    HalfDuplicate,
}

/// A job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) via: Via,
    pub(crate) action: Action,
    /// Base address of the gateway (S3) or of the Hub (xet).
    pub(crate) endpoint: String,
    pub(crate) bucket: String,
    /// The key of object `n`, with `{n}` in place of the number.
    pub(crate) keys: String,
    pub(crate) count: usize,
    pub(crate) at_once: usize,
    pub(crate) size: usize,
    pub(crate) data: Data,
}

impl Job {
    fn key(&self, n: usize) -> String {
        self.keys.replace("{n}", &n.to_string())
    }
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// From the first request to the last answer.
    pub(crate) secs: f64,
    pub(crate) bytes: u64,
    /// One per request, in milliseconds.
    pub(crate) latency_ms: Vec<f64>,
    /// Time to the first body byte, one per read, in milliseconds.
    pub(crate) first_byte_ms: Vec<f64>,
    pub(crate) cpu_secs: f64,
    pub(crate) peak_mib: f64,
}

/// What one request took.
pub(crate) struct Sample {
    pub(crate) bytes: u64,
    pub(crate) first_byte: Option<std::time::Duration>,
}

pub(crate) fn run(job: &str) -> Result<()> {
    let job: Job = serde_json::from_str(job)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(run_job(job))?;
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

async fn run_job(job: Job) -> Result<Outcome> {
    let needs_data = matches!(job.action, Action::Put | Action::Multipart { .. });
    let data: Vec<Bytes> = if needs_data {
        (0..job.count)
            .map(|n| job.data.bytes(&job.key(n), job.size))
            .collect()
    } else {
        Vec::new()
    };
    let client = match job.via {
        Via::Xet => Client::Xet(
            xet::Client::new(
                &job.endpoint,
                HUB_TOKEN,
                &format!("{NAMESPACE}/{}", job.bucket),
            )
            .await?,
        ),
        Via::Bare => Client::Bare(bare::Client::new(
            &job.endpoint,
            HUB_TOKEN,
            &format!("{NAMESPACE}/{}", job.bucket),
        )?),
        Via::Ftp => Client::Ftp(job.endpoint.clone(), job.bucket.clone()),
        via => Client::S3(s3::Client::new(
            &job.endpoint,
            &job.bucket,
            via == Via::S3Signed,
        )?),
    };
    let before = own_usage()?;
    let started = Instant::now();
    let samples: Vec<(f64, Sample)> = stream::iter(0..job.count)
        .map(|n| {
            let (client, job, body) = (&client, &job, data.get(n).cloned());
            async move {
                let begun = Instant::now();
                let sample = client.act(job, &job.key(n), body).await?;
                anyhow::Ok((begun.elapsed().as_secs_f64() * 1e3, sample))
            }
        })
        .buffer_unordered(job.at_once)
        .try_collect()
        .await?;
    let secs = started.elapsed().as_secs_f64();
    let used = own_usage()?;
    let first_bytes = samples.iter().filter_map(|(_, sample)| sample.first_byte);
    Ok(Outcome {
        secs,
        bytes: samples.iter().map(|(_, sample)| sample.bytes).sum(),
        first_byte_ms: first_bytes.map(|first| first.as_secs_f64() * 1e3).collect(),
        latency_ms: samples.iter().map(|(latency, _)| *latency).collect(),
        cpu_secs: used.cpu_secs - before.cpu_secs,
        peak_mib: used.peak_mib,
    })
}

enum Client {
    S3(s3::Client),
    Xet(xet::Client),
    Bare(bare::Client),
    /// Where, and the bucket.
    Ftp(String, String),
}

impl Client {
    async fn act(&self, job: &Job, key: &str, body: Option<Bytes>) -> Result<Sample> {
        let body = body.unwrap_or_default();
        match (self, &job.action) {
            (Self::S3(client), Action::Put) => client.put(key, body).await,
            (Self::S3(client), Action::Get) => client.get(key, None).await,
            (Self::S3(client), Action::GetRange(first, last)) => {
                client.get(key, Some((*first, *last))).await
            }
            (
                Self::S3(client),
                Action::Multipart {
                    part_bytes,
                    at_once,
                },
            ) => client.multipart(key, body, *part_bytes, *at_once).await,
            (Self::Bare(client), _) => client.first_byte(key).await,
            (Self::Ftp(endpoint, bucket), action) => {
                let (endpoint, is_get) = (endpoint.clone(), *action == Action::Get);
                let path = format!("/{bucket}/{key}");
                let transfer = move || {
                    let mut session = ftp::Session::open(&endpoint)?;
                    match is_get {
                        true => session.retrieve(&path),
                        false => session.store(&path, &body),
                    }
                };
                tokio::task::spawn_blocking(transfer).await?
            }
            (Self::Xet(client), Action::Get) => {
                let (started, mut bytes, mut first_byte) = (Instant::now(), 0, None);
                let take = |frame: &[u8]| {
                    bytes += frame.len() as u64;
                    first_byte.get_or_insert_with(|| started.elapsed());
                };
                client.get(key, take).await?;
                Ok(Sample { bytes, first_byte })
            }
            (Self::Xet(client), _) => {
                let bytes = body.len() as u64;
                client.put(key, body).await?;
                Ok(Sample {
                    bytes,
                    first_byte: None,
                })
            }
        }
    }
}

impl Data {
    /// Returns the content of an object.
    fn bytes(self, key: &str, len: usize) -> Bytes {
        match self {
            Self::Random => random_bytes(key, len),
            Self::HalfDuplicate => {
                let half = len / 2;
                [random_bytes("half", half), random_bytes(key, len - half)]
                    .concat()
                    .into()
            }
            Self::Compressible => {
                let numbers = random_bytes(key, len / 4 + 8);
                let mut text = Vec::with_capacity(len + 64);
                for number in numbers.chunks_exact(8) {
                    text.extend_from_slice(b"level=info msg=\"request served\" id=");
                    text.extend_from_slice(hex::encode(number).as_bytes());
                    text.push(b'\n');
                    if text.len() >= len {
                        break;
                    }
                }
                text.truncate(len);
                text.into()
            }
        }
    }
}

/// Incompressible bytes that depend on the key and on the run, so that nothing is deduplicated by accident.
pub(crate) fn random_bytes(key: &str, len: usize) -> Bytes {
    let seed = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    let mut state = seed | 1;
    let mut bytes = vec![0; len.next_multiple_of(8)];
    for word in bytes.chunks_exact_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    Bytes::from(bytes)
}
