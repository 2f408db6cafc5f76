//! The Xet content-addressed store: own streaming data path on the official format crates. The only place that names xet
//! crates.

pub mod access;
pub mod client;
mod compose;
mod compress;
mod dedup;
mod error;
mod file_hash;
mod hash_fold;
mod ingest;
pub mod manifest;
mod shard;
pub mod upload;
mod xorb;

pub use access::{AccessSource, CasAccess, Scope};
pub use client::{CasClient, CasConfig};
pub use manifest::Manifest;
pub use upload::{Companion, StagedFile, UploadOptions};
