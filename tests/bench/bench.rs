//! Side-by-side benchmarks: the development Hub, the gateway, and the load generator are three processes that speak TCP on
//! loopback. `make bench` runs all of it and prints the tables that the README shows.
//!
//! The same upstream serves both sides of a comparison: S3 requests through the gateway, and the `hf-xet` client without any
//! gateway. Runs are interleaved and medians are reported, with CPU seconds and peak memory beside the rates. Cold means a
//! freshly started process. Every outcome is kept, one line of JSON each, in `target/tmp/bench/raw.jsonl`, and the plots are
//! written to `tests/bench/plots/`.

mod bare;
mod client;
mod download;
mod ftp;
mod mixture;
mod parts;
mod plot;
mod process;
mod profile;
mod report;
mod s3;
mod scaling;
mod scenario;
mod stand;
mod xet;

use std::process::ExitCode;

fn main() -> ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    let outcome = match arguments.next().as_deref() {
        Some("client") => client::run(&arguments.next().unwrap_or_default()),
        only => scenario::run_all(only),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
