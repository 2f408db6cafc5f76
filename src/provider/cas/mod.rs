//! The Xet content-addressed store: own streaming data path on the official format crates. The only place that names xet
//! crates.

pub mod access;
mod chunk;
pub mod client;
mod compose;
mod compress;
mod dedup;
mod disk;
mod download;
mod error;
mod file_hash;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod hash_fold;
mod ingest;
pub mod manifest;
#[cfg(feature = "micro")]
pub(crate) mod micro;
mod plan;
mod planner;
mod shard;
pub mod slice;
pub mod upload;
mod wire;
mod xorb;
mod xorb_cache;

pub use access::{AccessSource, CasAccess, Scope};
pub use client::{CasClient, CasConfig};
pub use compose::Composition;
pub use disk::DiskConfig;
pub use download::FileRef;
pub use manifest::Manifest;
pub use slice::SliceSource;
pub use upload::{Companion, RegisterError, StagedFile, UploadOptions};
