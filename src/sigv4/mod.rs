//! AWS Signature Version 4, server side: pure functions over strings and bytes.
//!
//! The S3 adapter canonicalises what it received into an [`Evidence`], which holds no secret; the auth layer looks the
//! secret up and judges. Nothing in here does I/O or reads a clock.

pub mod evidence;

pub use evidence::{ContentSha256, Evidence, Scope, SignatureKind};
