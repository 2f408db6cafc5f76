//! Digests of bodies that are read whole: the XML documents of a few operations.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::sigv4::evidence::ContentSha256;
use crate::sigv4::malformed::Malformed;

/// Checks a document against what its request signed.
///
/// The auth layer verifies bodies that travel through the stack; a document is read by the adapter before its operation
/// exists, so the adapter has to call this on the bytes that it read.
///
/// Errors: [`Malformed::PayloadHash`] if another digest was signed, [`Malformed::Request`] for a framed document, which no
/// known client sends.
pub fn verify_document(signed: ContentSha256, document: &[u8]) -> Result<(), Malformed> {
    match signed {
        ContentSha256::Unsigned => Ok(()),
        ContentSha256::Digest(signed) => {
            let computed = Sha256::digest(document);
            if bool::from(computed.as_slice().ct_eq(&signed)) {
                return Ok(());
            }
            Err(Malformed::PayloadHash {
                signed: hex::encode(signed),
                computed: hex::encode(computed),
            })
        }
        ContentSha256::SignedChunks
        | ContentSha256::SignedChunksWithTrailer
        | ContentSha256::UnsignedChunksWithTrailer => Err(Malformed::Request(
            "This request's body must not be sent in chunks (x-amz-content-sha256: STREAMING-…)."
                .into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_must_have_the_signed_digest() {
        // SHA-256 of "abc", FIPS 180-4.
        let abc = ContentSha256::parse(
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        )
        .unwrap();
        assert_eq!(verify_document(abc, b"abc"), Ok(()));
        assert!(matches!(
            verify_document(abc, b"abd"),
            Err(Malformed::PayloadHash { .. })
        ));
        assert_eq!(verify_document(ContentSha256::Unsigned, b"abd"), Ok(()));
        assert!(verify_document(ContentSha256::SignedChunks, b"abc").is_err());
    }
}
