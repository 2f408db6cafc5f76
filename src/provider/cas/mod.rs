//! The Xet content-addressed store: own streaming data path on the official format crates. The only place that names xet
//! crates.

pub mod access;
pub mod client;
mod error;

pub use access::{AccessSource, CasAccess, Scope};
pub use client::{CasClient, CasConfig};
