//! The S3 listener as it is on the wire: requests written byte by byte to the whole gateway, answers read byte by byte.
#![cfg(feature = "devhub")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod address;
mod bad_inputs;
mod form;
mod hidden;
mod hostile;
mod mutation;
mod payload;
mod refusal;
mod signature;
mod sources;
mod stand;
#[path = "../refusals/table.rs"]
mod table;
mod tagging;
mod wire;
