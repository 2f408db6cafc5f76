//! The development Hub as its clients see it: over HTTP, with content made by the official format crate.

#![cfg(feature = "devhub")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod access;
mod cas;
mod content;
mod faults;
mod feed;
mod files;
mod harness;
mod weather;
