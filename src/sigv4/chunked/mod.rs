//! The aws-chunked framing: chunks, their chained signatures, and trailers.
//!
//! ```text
//! chunk    = hex-size [";chunk-signature=" 64hex] CRLF bytes CRLF
//! last     = "0" [";chunk-signature=" 64hex] CRLF
//! trailers = *(name ":" value CRLF) ["x-amz-trailer-signature:" 64hex CRLF] CRLF
//! ```
//! Clients take liberties, so the decoder does too: bare LF for CRLF, blanks around signs, extensions it does not know,
//! chunks of any size, an empty line before the trailer's signature (minio-go), and no final CRLF. What it never does is
//! to let bytes pass that a signature should cover and does not.
//!
//! Sources: <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html> and
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html>.

mod decoder;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod header;
mod held;
mod signer;
mod trailer;

pub use decoder::{ChunkDecoder, ChunkError};
pub use signer::ChunkSigner;
pub use trailer::Trailer;
