//! The client of the Hub's REST API: accounts, buckets, files, batches, and the tokens of the CAS.
//!
//! Takes bucket ids, paths, and a Hub token with every call; returns records and [`StorageError`]s. An HTTP status becomes
//! an error in `error.rs` and nowhere else. Only the provider calls it; it knows neither the CAS nor any adapter.
//!
//! [`StorageError`]: crate::storage::StorageError

mod account;
pub mod batch;
mod bucket;
mod budget;
mod call;
pub mod client;
mod clock;
mod error;
pub mod events;
mod gather;
mod lookup;
mod pace;
pub mod record;
pub mod token;
pub mod tree;
mod waiting;
pub mod wire;

pub use account::WhoAmI;
pub use batch::{BatchError, BatchLine, EntryError, MAX_BATCH_LINES};
pub use bucket::CreateOutcome;
pub use client::{HubClient, HubConfig};
pub use events::{Feed, FeedEvent, FileChange, NoFeed};
pub use record::{BucketRecord, DirectoryRecord, FileRecord, TreeEntry};
pub use token::{TokenScope, XetAccess};
pub use tree::{TreePage, TreeQuery};

#[cfg(test)]
pub(in crate::provider) mod fake;
