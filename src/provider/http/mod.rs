//! The HTTP chain that every upstream call passes through: connections, attempts, waiting, and retry.
//!
//! ```text
//! retrying:   retry ─► pause ─► attempt ─► reqwest
//! attempting:                   attempt ─► reqwest
//! ```
//! The retry middleware stands outside, so that everything inside sees each attempt: the attempt gets a span and is
//! counted, and the pause waits for as long as the upstream asked before it lets the retry see the answer. The clients of
//! the Hub and the CAS build on this; nobody else calls it.

mod attempt;
mod client;
mod destination;
mod failure;
mod pause;
mod rate_limit;
mod retry;

pub use attempt::{AttemptNumber, CallName};
pub use client::{HttpConfig, attempting, base_client, retrying};
pub use destination::Destinations;
pub use failure::{is_answer_lost, unavailable, unexpected_json};
pub use pause::Unrepeatable;
pub use rate_limit::{RateLimit, asked_pause};
