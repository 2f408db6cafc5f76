//! The verifying stream: a body as received in, the object's own bytes out, and an error unless everything held.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::{Stream, StreamExt};

use crate::layers::auth::digests::Digests;
use crate::sigv4::{
    ChunkDecoder, ChunkError, ChunkSigner, ContentSha256, Evidence, SigningKey, Trailer,
};
use crate::storage::{ByteStream, Payload, SignatureMismatch, StorageError};

/// What must hold for the body of a request, by its signature.
#[derive(Debug)]
pub(super) struct BodyRules {
    framing: Framing,
    signed_sha256: Option<[u8; 32]>,
    decoded_length: Option<u64>,
}

#[derive(Debug)]
enum Framing {
    Plain,
    Chunked {
        decoder: Box<ChunkDecoder>,
        /// For the error of a chunk whose signature does not match.
        access_key_id: String,
    },
}

impl BodyRules {
    /// Returns the rules of a request whose signature was verified with `key`.
    pub(super) fn signed(evidence: &Evidence, key: SigningKey) -> Self {
        let chunked = |decoder| Framing::Chunked {
            decoder: Box::new(decoder),
            access_key_id: evidence.access_key_id.clone(),
        };
        let signer = |key| ChunkSigner::new(key, evidence);
        let (framing, signed_sha256) = match evidence.content_sha256 {
            ContentSha256::Unsigned => (Framing::Plain, None),
            ContentSha256::Digest(signed) => (Framing::Plain, Some(signed)),
            ContentSha256::UnsignedChunksWithTrailer => (chunked(ChunkDecoder::unsigned()), None),
            ContentSha256::SignedChunks => {
                (chunked(ChunkDecoder::signed(signer(key), false)), None)
            }
            ContentSha256::SignedChunksWithTrailer => {
                (chunked(ChunkDecoder::signed(signer(key), true)), None)
            }
        };
        Self {
            framing,
            signed_sha256,
            decoded_length: evidence.decoded_length,
        }
    }

    /// Returns the rules of a body that no signature covers.
    pub(super) fn unsigned() -> Self {
        Self {
            framing: Framing::Plain,
            signed_sha256: None,
            decoded_length: None,
        }
    }

    /// Puts the verifying stream in the place of the payload's body. Nothing is polled yet.
    pub(super) fn apply_to(self, payload: &mut Payload) {
        let source = std::mem::replace(&mut payload.body, ByteStream::empty());
        let len_bytes = match self.framing {
            Framing::Plain => self.decoded_length.or(source.len_bytes()),
            // The source's length counts the framing too.
            Framing::Chunked { .. } => self.decoded_length,
        };
        let verified = VerifiedBody {
            source,
            input: Bytes::new(),
            framing: self.framing,
            digests: Some(Digests::new(payload.integrity.clone(), self.signed_sha256)),
            received_bytes: 0,
            len_bytes,
        };
        payload.body = ByteStream::new(verified, len_bytes);
    }
}

/// The stream. Digests are computed by whoever polls it, frame by frame; frames pass without a copy.
///
/// # Behaviour
/// - The end of the stream means that everything held; a violation is an error in its place.
/// - After an error it ends.
struct VerifiedBody {
    source: ByteStream,
    /// What is left of the source's last frame.
    input: Bytes,
    framing: Framing,
    /// `None` once the body has ended, well or not.
    digests: Option<Digests>,
    received_bytes: u64,
    len_bytes: Option<u64>,
}

impl Stream for VerifiedBody {
    type Item = Result<Bytes, StorageError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.poll_piece(cx));
        if !matches!(item, Some(Ok(_))) {
            self.digests = None;
        }
        Poll::Ready(item)
    }
}

impl VerifiedBody {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, StorageError>>> {
        if self.digests.is_none() {
            return Poll::Ready(None);
        }
        loop {
            match self.framing.next_piece(&mut self.input) {
                Ok(Some(piece)) => return Poll::Ready(Some(self.account(piece))),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
            match ready!(self.source.poll_next_unpin(cx)) {
                Some(Ok(frame)) => self.input = frame,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(self.finish().err().map(Err)),
            }
        }
    }

    fn account(&mut self, piece: Bytes) -> Result<Bytes, StorageError> {
        self.received_bytes += piece.len() as u64;
        if self
            .len_bytes
            .is_some_and(|len_bytes| self.received_bytes > len_bytes)
        {
            return Err(StorageError::IncompleteBody);
        }
        if let Some(digests) = &mut self.digests {
            digests.update(&piece);
        }
        Ok(piece)
    }

    fn finish(&mut self) -> Result<(), StorageError> {
        let framing = std::mem::replace(&mut self.framing, Framing::Plain);
        let trailers = framing.finish()?;
        if self
            .len_bytes
            .is_some_and(|len_bytes| self.received_bytes != len_bytes)
        {
            return Err(StorageError::IncompleteBody);
        }
        self.digests
            .take()
            .map_or(Ok(()), |digests| digests.finish(&trailers))
    }
}

impl Framing {
    fn next_piece(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, StorageError> {
        match self {
            Self::Plain => Ok((!input.is_empty()).then(|| std::mem::take(input))),
            Self::Chunked {
                decoder,
                access_key_id,
            } => decoder
                .decode(input)
                .map_err(|error| refused(error, access_key_id)),
        }
    }

    fn finish(self) -> Result<Vec<Trailer>, StorageError> {
        match self {
            Self::Plain => Ok(Vec::new()),
            Self::Chunked {
                decoder,
                access_key_id,
            } => decoder
                .finish()
                .map_err(|error| refused(error, &access_key_id)),
        }
    }
}

fn refused(error: ChunkError, access_key_id: &str) -> StorageError {
    match error {
        ChunkError::Framing(reason) => StorageError::MalformedChunk { reason },
        ChunkError::Trailer(reason) => StorageError::MalformedTrailer { reason },
        ChunkError::Incomplete => StorageError::IncompleteBody,
        ChunkError::Signature { mismatch, provided } => {
            let mismatch = SignatureMismatch {
                access_key_id: access_key_id.to_owned(),
                signature_provided: provided,
                string_to_sign: mismatch.string_to_sign,
                canonical_request: mismatch.canonical_request,
            };
            StorageError::SignatureDoesNotMatch(mismatch.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;
    use crate::storage::Integrity;

    fn rules(framing: Framing, decoded_length: Option<u64>) -> BodyRules {
        BodyRules {
            framing,
            signed_sha256: None,
            decoded_length,
        }
    }

    fn unsigned_chunks() -> Framing {
        Framing::Chunked {
            decoder: Box::new(ChunkDecoder::unsigned()),
            access_key_id: "key".into(),
        }
    }

    fn verified(
        rules: BodyRules,
        frames: Vec<Result<Bytes, StorageError>>,
        len_bytes: Option<u64>,
    ) -> ByteStream {
        let mut payload = Payload {
            body: ByteStream::new(stream::iter(frames), len_bytes),
            integrity: Integrity::default(),
        };
        rules.apply_to(&mut payload);
        payload.body
    }

    #[tokio::test]
    async fn frames_pass_without_a_copy() {
        let frame = Bytes::from_static(b"5\r\nhello\r\n0\r\n\r\n");
        for (rules, content) in [
            (rules(Framing::Plain, None), frame.clone()),
            (rules(unsigned_chunks(), Some(5)), frame.slice(3..8)),
        ] {
            let mut body = verified(rules, vec![Ok(frame.clone())], Some(15));
            let piece = body.next().await.unwrap().unwrap();
            assert_eq!((&piece, piece.as_ptr()), (&content, content.as_ptr()));
            assert!(body.next().await.is_none());
        }
    }

    #[tokio::test]
    async fn the_length_is_the_one_of_the_content() {
        let body = verified(rules(unsigned_chunks(), Some(5)), Vec::new(), Some(15));
        assert_eq!(body.len_bytes(), Some(5));
        let body = verified(rules(Framing::Plain, None), Vec::new(), Some(15));
        assert_eq!(body.len_bytes(), Some(15));
        let body = verified(rules(Framing::Plain, None), Vec::new(), None);
        assert_eq!(body.len_bytes(), None);
    }

    #[tokio::test]
    async fn content_beyond_the_announced_length_is_not_released() {
        let frames = vec![Ok("3\r\nabc\r\n".into()), Ok("1\r\nd\r\n0\r\n\r\n".into())];
        let mut body = verified(rules(unsigned_chunks(), Some(3)), frames, None);
        assert_eq!(body.next().await.unwrap().unwrap(), "abc");
        let error = body.next().await.unwrap().unwrap_err();
        assert!(matches!(error, StorageError::IncompleteBody));
        assert!(body.next().await.is_none());
    }

    #[tokio::test]
    async fn errors_of_the_source_pass_and_end_the_stream() {
        let frames = vec![
            Ok("abc".into()),
            Err(StorageError::Overloaded),
            Ok("def".into()),
        ];
        let mut body = verified(rules(Framing::Plain, Some(6)), frames, None);
        assert_eq!(body.next().await.unwrap().unwrap(), "abc");
        let error = body.next().await.unwrap().unwrap_err();
        assert!(matches!(error, StorageError::Overloaded));
        assert!(body.next().await.is_none());
    }

    #[tokio::test]
    async fn each_fault_of_the_framing_has_its_outcome() {
        for (wire, outcome) in [
            ("nonsense\r\n", "malformed_chunk"),
            ("0\r\nno colon\r\n", "malformed_trailer"),
            ("5\r\nhel", "incomplete_body"),
            ("3\r\nhel\r\n0\r\n\r\n", "incomplete_body"),
        ] {
            let body = verified(
                rules(unsigned_chunks(), Some(5)),
                vec![Ok(wire.into())],
                None,
            );
            assert_eq!(
                body.collect(100).await.unwrap_err().outcome(),
                outcome,
                "{wire:?}"
            );
        }
    }
}
