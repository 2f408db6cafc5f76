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
//! The same seed gives every client the same operations and the upstream the same faults; how they meet is up to the machine.
//!
//! | variable | default | meaning |
//! |---|---|---|
//! | `HUGBUCKET_SOAK_SECONDS` | 45 | how long the clients work |
//! | `HUGBUCKET_SOAK_SEED` | at random | which run |
//! | `HUGBUCKET_SOAK_TROUBLE` | 10 | calls of the upstream that meet something, in percent |
//! | `HUGBUCKET_SOAK_KILL_SECONDS` | a quarter of the run, at most 60 | time between two kills, about |
//! | `HUGBUCKET_SOAK_BINARY` | the one that was built with the tests | the gateway |

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
    let kill_secs = number("HUGBUCKET_SOAK_KILL_SECONDS").unwrap_or(60.min(secs / 4));
    let summary = run(Plan {
        seed: number("HUGBUCKET_SOAK_SEED").unwrap_or_else(|| rand::random::<u64>() >> 16),
        lasts: Duration::from_secs(secs),
        kills_every: Some(Duration::from_secs(kill_secs)),
        trouble: number("HUGBUCKET_SOAK_TROUBLE").unwrap_or(10),
        s3_clients: 6,
        ftp_clients: 3,
        planted: None,
    });
    let summary = summary.await;
    println!("{summary}");
    assert!(summary.tally.is_clean(), "{:#?}", summary.tally.told);
    assert!(summary.tally.kills > 0 && summary.tally.acknowledged > 0 && summary.struck > 0);
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
