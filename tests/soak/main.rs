//! What is promised, under a seeded random load: clients of S3 and FTP at work on the same keys, an upstream that fails one
//! call in ten, and a gateway that is killed again and again.
//!
//! ```text
//!   S3 and FTP clients ──► the gateway, a process ──► the development Hub, in this process
//!          │                 killed and restarted        weather: faults by chance
//!          ▼
//!        ledger      every write with its times and its fate; judges whatever is read
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `register` | the model: which writes of a key a read may show |
//! | `ledger` | all keys, and what was found wrong |
//! | `s3_work`, `s3_reads`, `ftp_work` | what clients do |
//! | `run`, `audit` | a run from its start to its last look |
//!
//! `HUGBUCKET_SOAK_SECONDS` and `HUGBUCKET_SOAK_SEED` say how long, and which one. The same seed gives every client the same
//! operations and the upstream the same faults; how they meet is up to the machine.

#![cfg(feature = "devhub")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod audit;
mod content;
mod dice;
mod ftp;
mod ftp_work;
mod ledger;
mod process;
mod register;
mod run;
mod s3;
mod s3_reads;
mod s3_work;
mod stand;
mod weather;
mod world;

use std::time::Duration;

use hugbucket::devhub::{Effect, Fault as HubFault, Route};

use crate::ledger::Fault;
use crate::run::{Plan, run};

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("the variable holds a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_promised_holds_in_bad_weather_and_after_kills() {
    let secs = number("HUGBUCKET_SOAK_SECONDS").unwrap_or(45);
    let summary = run(Plan {
        seed: number("HUGBUCKET_SOAK_SEED").unwrap_or_else(|| rand::random::<u64>() >> 16),
        lasts: Duration::from_secs(secs),
        kills_every: Some(Duration::from_secs(60.min(secs / 4))),
        trouble: 10,
        s3_clients: 6,
        ftp_clients: 3,
        planted: None,
    });
    let summary = summary.await;
    println!("{summary}");
    assert!(summary.tally.is_clean(), "{:#?}", summary.tally.told);
    assert!(summary.tally.kills > 0 && summary.tally.acknowledged > 0);
}

/// Returns what a short run in fair weather finds of a planted bug.
async fn finds(effect: Effect) -> Vec<Fault> {
    let summary = run(Plan {
        seed: 1,
        lasts: Duration::from_secs(1),
        kills_every: None,
        trouble: 0,
        s3_clients: 2,
        ftp_clients: 1,
        planted: Some(HubFault::once(Route::Batch, effect)),
    });
    let summary = summary.await;
    println!("{summary}");
    summary.tally.faults.into_keys().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_acknowledged_and_dropped_is_found() {
    let path = "end/".to_owned();
    let found = finds(Effect::LoseEntries { path }).await;
    assert!(found.contains(&Fault::Lost), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_other_bytes_is_found() {
    let path = "end/".to_owned();
    let found = finds(Effect::SwapEntries { path }).await;
    assert!(found.contains(&Fault::Corrupt), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_bug_nothing_is_found() {
    let path = "no key is called this".to_owned();
    let found = finds(Effect::LoseEntries { path }).await;
    assert_eq!(found, []);
}
