//! The chain of signatures: each chunk's covers the one before it, and the first covers the request's own.

use hex::ToHex;
use sha2::{Digest, Sha256};

use crate::sigv4::evidence::{Evidence, Mismatch};
use crate::sigv4::key::SigningKey;
use crate::sigv4::timestamp::iso_basic;

/// SHA-256 of nothing: the line of a chunk's string to sign where a request has its headers.
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Computes and checks the signatures of chunks and trailers.
#[derive(Debug)]
pub struct ChunkSigner {
    key: SigningKey,
    /// Time and scope, as two lines.
    context: String,
    previous: String,
}

impl ChunkSigner {
    /// Begins the chain of a request whose signature was verified with `key`.
    pub fn new(key: SigningKey, evidence: &Evidence) -> Self {
        Self {
            key,
            context: format!(
                "{}\n{}",
                iso_basic(evidence.signed_at),
                evidence.scope.line()
            ),
            previous: evidence.signature.clone(),
        }
    }

    /// Checks the signature of the next chunk, whose content has this digest.
    pub(super) fn check_chunk(&mut self, digest: Sha256, signature: &str) -> Result<(), Mismatch> {
        let digest = digest.finalize().encode_hex::<String>();
        let string_to_sign = format!(
            "AWS4-HMAC-SHA256-PAYLOAD\n{}\n{}\n{EMPTY_SHA256}\n{digest}",
            self.context, self.previous
        );
        self.check(string_to_sign, signature)
    }

    /// Checks the signature of the trailers, given as sorted `name:value` lines, each with its LF.
    pub(super) fn check_trailers(&mut self, lines: &str, signature: &str) -> Result<(), Mismatch> {
        let digest = Sha256::digest(lines).encode_hex::<String>();
        let string_to_sign = format!(
            "AWS4-HMAC-SHA256-TRAILER\n{}\n{}\n{digest}",
            self.context, self.previous
        );
        self.check(string_to_sign, signature)
    }

    fn check(&mut self, string_to_sign: String, signature: &str) -> Result<(), Mismatch> {
        if !self.key.verifies(&string_to_sign, signature) {
            return Err(Mismatch {
                string_to_sign,
                canonical_request: String::new(),
            });
        }
        signature.clone_into(&mut self.previous);
        Ok(())
    }
}
