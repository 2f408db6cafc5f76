//! Inner loops, for `tests/bench/micro.rs` to time: thin functions over what is private otherwise. Compiled with the feature
//! `micro` only.

pub use crate::provider::cas::micro::{PackedXorb, cut_and_hash, decode, pack};
pub use crate::s3::micro::{list_document, read_completion};
