//! A crowd of connections, most of which do as little as they can: the others must not notice.

use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::presigning::{PresignedRequest, PresigningConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::stand::{BUCKET, Gateway, Stand, get, put, random_bytes};

/// A connection that says what it is told, as slowly as it likes.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    host: String,
    endpoint: String,
}

fn hours() -> PresigningConfig {
    PresigningConfig::expires_in(Duration::from_secs(3600)).unwrap()
}

impl Raw {
    pub(crate) async fn open(gateway: &Gateway) -> Self {
        let host = gateway.endpoint.strip_prefix("http://").unwrap().to_owned();
        Self {
            stream: TcpStream::connect(&host).await.unwrap(),
            host,
            endpoint: gateway.endpoint.clone(),
        }
    }

    /// Sends a head with these further headers.
    pub(crate) async fn ask(&mut self, line: &str, headers: &str) {
        let head = format!("{line}\r\nhost: {}\r\n{headers}\r\n", self.host);
        self.stream.write_all(head.as_bytes()).await.unwrap();
    }

    /// Asks for an object.
    pub(crate) async fn ask_get(&mut self, s3: &Client, key: &str) {
        let request = s3.get_object().bucket(BUCKET).key(key);
        let signed = request.presigned(hours()).await.unwrap();
        let line = format!("GET {} HTTP/1.1", self.target(&signed));
        self.ask(&line, "").await;
    }

    /// Begins to store an object of so many bytes.
    pub(crate) async fn begin_put(&mut self, s3: &Client, key: &str, len_bytes: usize) {
        let request = s3.put_object().bucket(BUCKET).key(key);
        let signed = request.presigned(hours()).await.unwrap();
        let line = format!("PUT {} HTTP/1.1", self.target(&signed));
        self.ask(&line, &format!("content-length: {len_bytes}\r\n"))
            .await;
    }

    fn target(&self, signed: &PresignedRequest) -> String {
        signed
            .uri()
            .strip_prefix(&self.endpoint)
            .unwrap()
            .to_owned()
    }
}

/// Reads the first line of an answer.
pub(crate) async fn begins_with_ok(stream: &mut TcpStream) -> bool {
    let mut line = [0; 12];
    stream.read_exact(&mut line).await.unwrap();
    &line == b"HTTP/1.1 200"
}

/// How a connection wastes time.
#[derive(Debug, Clone, Copy)]
enum Slow {
    /// A head that does not end.
    Head,
    /// A body of which hardly anything comes.
    Body,
    /// An answer of which hardly anything is taken.
    Reader,
}

/// A connection that is slow until it is dropped.
struct Idler(JoinHandle<()>);

impl Drop for Idler {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Opens so many slow connections; each has done what it does once.
async fn slow(stand: &Stand, how: Slow, count: usize) -> Vec<Idler> {
    let s3 = stand.s3();
    let mut idlers = Vec::new();
    for n in 0..count {
        let mut raw = Raw::open(&stand.gateway).await;
        match how {
            Slow::Head => raw
                .stream
                .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n")
                .await
                .unwrap(),
            Slow::Body => {
                raw.begin_put(&s3, &format!("slow/{n}"), 1 << 20).await;
                raw.stream.write_all(&[7; 1000]).await.unwrap();
            }
            Slow::Reader => {
                raw.ask_get(&s3, "large").await;
                assert!(begins_with_ok(&mut raw.stream).await);
            }
        }
        idlers.push(Idler(tokio::spawn(async move {
            let mut beat = tokio::time::interval(Duration::from_secs(1));
            loop {
                beat.tick().await;
                let done = match how {
                    Slow::Head => raw.stream.write_all(b"x: y\r\n").await.is_ok(),
                    Slow::Body => raw.stream.write_all(b"x").await.is_ok(),
                    Slow::Reader => raw.stream.read_u8().await.is_ok(),
                };
                if !done {
                    return;
                }
            }
        })));
    }
    idlers
}

/// Has so many clients read a small object, each on its own connection and `period` apart, for some rounds; returns how
/// long each answer took, from the shortest to the longest.
async fn readers(stand: &Stand, count: usize, rounds: usize, period: Duration) -> Vec<Duration> {
    let s3 = stand.s3();
    let mut clients = Vec::new();
    for n in 0..count {
        let mut raw = Raw::open(&stand.gateway).await;
        let request = s3.get_object().bucket(BUCKET).key("small");
        let signed = request.presigned(hours()).await.unwrap();
        let line = format!("GET {} HTTP/1.1", raw.target(&signed));
        clients.push(tokio::spawn(async move {
            // Spread over the period.
            let phase = period.mul_f64(n as f64 / count as f64);
            let mut beat = tokio::time::interval_at(tokio::time::Instant::now() + phase, period);
            let mut took = Vec::new();
            for _ in 0..rounds {
                beat.tick().await;
                let begun = Instant::now();
                raw.ask(&line, "").await;
                assert!(
                    begins_with_ok(&mut raw.stream).await,
                    "a reader was refused"
                );
                let mut answer = Vec::new();
                while !answer.ends_with(b"\r\n\r\nsmall") {
                    assert_ne!(raw.stream.read_buf(&mut answer).await.unwrap(), 0);
                }
                took.push(begun.elapsed());
            }
            took
        }));
    }
    let mut all = Vec::new();
    for client in clients {
        all.extend(client.await.unwrap());
    }
    all.sort();
    all
}

/// Returns the memory that a process holds, in KiB.
fn resident_kib(gateway: &Gateway) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let number = line.split_whitespace().nth(1).unwrap();
    number.parse().unwrap()
}

async fn stand(settings: &[(&str, &str)]) -> Stand {
    let stand = Stand::start_with(settings).await;
    put(&stand.s3(), "small", "small").await;
    put(&stand.s3(), "large", random_bytes(1, 16 << 20)).await;
    stand
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_are_cut_and_the_others_go_on() {
    let settings = [
        ("HUGBUCKET_IDLE_TIMEOUT", "2 s"),
        ("HUGBUCKET_S3_HEADER_TIMEOUT", "2 s"),
    ];
    let stand = stand(&settings).await;
    let mut idlers = Vec::new();
    for how in [Slow::Head, Slow::Body, Slow::Reader] {
        idlers.extend(slow(&stand, how, 40).await);
    }
    // Who sends a byte a second is slow, and within its rights.
    let took = readers(&stand, 20, 5, Duration::from_millis(200)).await;
    assert_eq!(took.len(), 100);
    put(&stand.s3(), "other", "x").await;
    assert_eq!(get(&stand.s3(), "other").await.unwrap(), b"x");
    let growth = resident_kib(&stand.gateway);
    assert!(growth < 400 << 10, "{growth} KiB");

    // Who does nothing at all loses its connection.
    let mut silent = Raw::open(&stand.gateway).await;
    silent.begin_put(&stand.s3(), "silent", 10).await;
    silent.stream.write_all(b"12345").await.unwrap();
    let mut answer = String::new();
    silent.stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("RequestTimeout"), "{answer}");
    assert_eq!(get(&stand.s3(), "silent").await, None);
    drop(idlers);
}

/// Prints figures: `ulimit -n 16384; cargo test --release --test gateway -- --ignored --nocapture crowd`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "it measures, and needs more than 4,000 descriptors"]
async fn a_crowd_of_two_thousand() {
    let settings = [("HUGBUCKET_MAX_REQUESTS", "4096")];
    let stand = stand(&settings).await;
    // A hundred requests a second: what is measured is the crowd, not the load.
    let (count, rounds, period) = (500, 4, Duration::from_secs(5));
    let show = |what: &str, took: &[Duration], before: u64| {
        let at = |share: usize| took[took.len() * share / 1000].as_secs_f64() * 1000.0;
        let resident = resident_kib(&stand.gateway);
        println!(
            "{what}: p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, resident {} MiB, {} KiB more for each connection",
            at(500),
            at(990),
            at(999),
            resident >> 10,
            resident.saturating_sub(before) / 500
        );
        resident
    };
    readers(&stand, count, 1, period).await;
    let before = resident_kib(&stand.gateway);
    let took = readers(&stand, count, rounds, period).await;
    let mut resident = show("500 readers alone", &took, before);
    let mut idlers = Vec::new();
    for how in [Slow::Head, Slow::Body, Slow::Reader] {
        idlers.extend(slow(&stand, how, 500).await);
        let took = readers(&stand, count, rounds, period).await;
        resident = show(&format!("with 500 more, slow: {how:?}"), &took, resident);
    }
    drop(idlers);
}
