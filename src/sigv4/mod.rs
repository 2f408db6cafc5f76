//! AWS Signature Version 4, server side: pure functions over strings and bytes.
//!
//! The S3 adapter calls [`claim()`] on the head of a request as it was received, and gets an [`Evidence`], which holds no
//! secret; the auth layer looks the secret up and judges it with [`Evidence::verify`]. A framed body goes
//! through a [`ChunkDecoder`]. Nothing in here does I/O or reads a clock.
//!
//! | file | holds |
//! |---|---|
//! | [`claim`](mod@claim) | a request's head → who it claims to be |
//! | `authorization` | the parts of a signature, from the header or from the query of a presigned URL |
//! | `presigned` | the claim of a presigned URL |
//! | `form` | the claim of a browser's form |
//! | `canonical` | the canonical request, and the few repaired versions of it that are tried |
//! | `timestamp` | the date formats of SigV4 |
//! | [`evidence`] | what a signed request proves, once the secret is known |
//! | [`key`] | signing keys, strings to sign, comparison in constant time |
//! | [`chunked`] | the aws-chunked framing with its signatures and trailers |
//! | [`document`] | digests of bodies that are read whole |
//! | [`malformed`] | what is wrong with a request before any secret is asked for |
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html> and its sub-pages.

mod authorization;
mod canonical;
pub mod chunked;
pub mod claim;
pub mod document;
pub mod evidence;
mod form;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub mod key;
pub mod malformed;
mod presigned;
mod timestamp;

pub use chunked::{ChunkDecoder, ChunkError, ChunkSigner, Trailer};
pub use claim::{Claim, ClaimOptions, Service, claim};
pub use document::verify_document;
pub use evidence::{ContentSha256, Evidence, Mismatch, Scope, SignatureKind};
pub use form::claim_form;
pub use key::SigningKey;
pub use malformed::Malformed;
