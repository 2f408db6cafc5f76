//! The decoder: frames as they come from the network in, the object's own bytes out.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};
use sha2::{Digest, Sha256};

use crate::sigv4::chunked::header::ChunkHeader;
use crate::sigv4::chunked::held::Held;
use crate::sigv4::chunked::signer::ChunkSigner;
use crate::sigv4::chunked::trailer::{Trailer, TrailerBlock};
use crate::sigv4::evidence::Mismatch;

/// Longest line of a chunk header, in bytes; those of the SDKs take 90.
const MAX_LINE_LEN: usize = 256;

/// Longest trailer block, in bytes.
const MAX_TRAILERS_LEN: usize = 8 << 10;

/// Largest signed chunk, in bytes. It is held until its signature is verified, and SDKs send 64 KiB to 1 MiB.
const MAX_SIGNED_CHUNK_LEN: u64 = 16 << 20;

/// Why a framed body is not what was signed, or not framed well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// The framing is broken.
    #[error("malformed chunk: {0}")]
    Framing(&'static str),
    /// The trailers are broken or missing.
    #[error("malformed trailer: {0}")]
    Trailer(&'static str),
    /// The signature of a chunk, or of the trailers, is not the one that the key gives.
    #[error("signature of a chunk or of the trailers does not match")]
    Signature {
        /// What the gateway signed.
        mismatch: Mismatch,
        /// What the client sent.
        provided: String,
    },
    /// The body ended before its last chunk.
    #[error("body ended before its last chunk")]
    Incomplete,
}

/// Takes the framing off a body.
///
/// # Behaviour
/// - Without signatures, content is released at once, as slices of what came in.
/// - With signatures, a chunk is released only after its signature was verified; until then at most 16 MiB are held.
/// - A body without its last chunk, or with broken trailers, is an error of [`ChunkDecoder::finish`].
/// - After an error the decoder must not be used again.
#[derive(Debug)]
pub struct ChunkDecoder {
    state: State,
    line: Vec<u8>,
    signing: Option<Signing>,
    released: VecDeque<Bytes>,
    has_trailers: bool,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Header,
    Content {
        left: u64,
    },
    ContentEnd,
    /// Everything up to the end of the body.
    Trailers,
}

#[derive(Debug)]
struct Signing {
    signer: ChunkSigner,
    /// The current chunk's.
    signature: String,
    digest: Sha256,
    held: Held,
}

impl ChunkDecoder {
    /// Decodes `STREAMING-UNSIGNED-PAYLOAD-TRAILER`.
    pub fn unsigned() -> Self {
        Self::new(None, true)
    }

    /// Decodes `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`, or with trailers `…-PAYLOAD-TRAILER`.
    pub fn signed(signer: ChunkSigner, has_trailers: bool) -> Self {
        let signing = Signing {
            signer,
            signature: String::new(),
            digest: Sha256::new(),
            held: Held::default(),
        };
        Self::new(Some(signing), has_trailers)
    }

    fn new(signing: Option<Signing>, has_trailers: bool) -> Self {
        Self {
            state: State::Header,
            line: Vec::new(),
            signing,
            released: VecDeque::new(),
            has_trailers,
        }
    }

    /// Takes from `input` and returns the next piece of content, never empty; `None` once the input is used up.
    ///
    /// Errors: [`ChunkError::Framing`], [`ChunkError::Trailer`] (too long), [`ChunkError::Signature`].
    pub fn decode(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, ChunkError> {
        loop {
            if let Some(piece) = self.released.pop_front() {
                return Ok(Some(piece));
            }
            if input.is_empty() {
                return Ok(None);
            }
            match self.state {
                State::Header => {
                    if self.read_line(input)? {
                        self.begin_chunk()?;
                    }
                }
                State::Content { left } => {
                    if let Some(piece) = self.take_content(input, left)? {
                        return Ok(Some(piece));
                    }
                }
                State::ContentEnd => {
                    if self.read_line(input)? {
                        if !self.line.is_empty() {
                            return Err(ChunkError::Framing("content is longer than its size"));
                        }
                        self.state = State::Header;
                    }
                }
                State::Trailers => self.collect_trailers(input)?,
            }
        }
    }

    /// Ends the body and returns its trailers, sorted by name.
    ///
    /// Errors: [`ChunkError::Incomplete`], [`ChunkError::Trailer`], [`ChunkError::Signature`].
    pub fn finish(self) -> Result<Vec<Trailer>, ChunkError> {
        let State::Trailers = self.state else {
            return Err(ChunkError::Incomplete);
        };
        let block = TrailerBlock::parse(&self.line)?;
        if !self.has_trailers {
            // They would be outside of every signature.
            let is_blank = block.trailers.is_empty() && block.signature.is_none();
            return is_blank
                .then(Vec::new)
                .ok_or(ChunkError::Trailer("none was announced"));
        }
        if let Some(mut signing) = self.signing {
            let lines = block.signed_lines();
            let provided = block
                .signature
                .ok_or(ChunkError::Trailer("its signature is missing"))?;
            signing
                .signer
                .check_trailers(&lines, &provided)
                .map_err(|mismatch| ChunkError::Signature { mismatch, provided })?;
        }
        Ok(block.trailers)
    }

    /// Moves input up to the next LF into `line`; reports whether the line is whole, then without its line end.
    fn read_line(&mut self, input: &mut Bytes) -> Result<bool, ChunkError> {
        let end = input.iter().position(|&byte| byte == b'\n');
        let taken = end.unwrap_or(input.len());
        if self.line.len() + taken > MAX_LINE_LEN {
            return Err(ChunkError::Framing("a header line is too long"));
        }
        self.line.extend_from_slice(&input[..taken]);
        input.advance(end.map_or(taken, |end| end + 1));
        if end.is_some() && self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        Ok(end.is_some())
    }

    /// Turns to what the header in `line` announces.
    fn begin_chunk(&mut self) -> Result<(), ChunkError> {
        let header =
            ChunkHeader::parse(&self.line).ok_or(ChunkError::Framing("a header is no size"))?;
        let left = header.len_bytes;
        if let Some(signing) = &mut self.signing {
            let signature = header
                .signature
                .ok_or(ChunkError::Framing("a signature is missing"))?;
            if left > MAX_SIGNED_CHUNK_LEN {
                return Err(ChunkError::Framing("a signed chunk is larger than 16 MiB"));
            }
            signature.clone_into(&mut signing.signature);
        }
        self.line.clear();
        self.state = State::Content { left };
        if left == 0 {
            self.end_content()?;
            self.state = State::Trailers;
        }
        Ok(())
    }

    /// Takes at most `left` bytes; returns them unless they have to wait for their signature.
    fn take_content(&mut self, input: &mut Bytes, left: u64) -> Result<Option<Bytes>, ChunkError> {
        let taken = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
        let piece = input.split_to(taken);
        let left = left - taken as u64;
        self.state = State::Content { left };
        let unsigned = match &mut self.signing {
            None => Some(piece),
            Some(signing) => {
                signing.digest.update(&piece);
                signing.held.push(piece);
                None
            }
        };
        if left == 0 {
            self.end_content()?;
            self.state = State::ContentEnd;
        }
        Ok(unsigned)
    }

    /// Verifies and releases the chunk that has just been taken.
    fn end_content(&mut self) -> Result<(), ChunkError> {
        let Some(signing) = &mut self.signing else {
            return Ok(());
        };
        let digest = std::mem::take(&mut signing.digest);
        signing
            .signer
            .check_chunk(digest, &signing.signature)
            .map_err(|mismatch| ChunkError::Signature {
                mismatch,
                provided: signing.signature.clone(),
            })?;
        signing.held.release_into(&mut self.released);
        Ok(())
    }

    fn collect_trailers(&mut self, input: &mut Bytes) -> Result<(), ChunkError> {
        if self.line.len() + input.len() > MAX_TRAILERS_LEN {
            return Err(ChunkError::Trailer("it is longer than 8 KiB"));
        }
        self.line.extend_from_slice(input);
        input.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sigv4::{Claim, ClaimOptions, Evidence, SigningKey, claim};

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

    /// The head of both published examples, with what differs.
    fn published(
        signed_headers: &str,
        signature: &str,
        content_sha256: &str,
        trailer: Option<&str>,
    ) -> Evidence {
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
             SignedHeaders={signed_headers},Signature={signature}"
        );
        let mut head = http::Request::put("/examplebucket/chunkObject.txt")
            .header("host", "s3.amazonaws.com")
            .header("x-amz-date", "20130524T000000Z")
            .header("x-amz-storage-class", "REDUCED_REDUNDANCY")
            .header("authorization", authorization)
            .header("x-amz-content-sha256", content_sha256)
            .header("content-encoding", "aws-chunked")
            .header("x-amz-decoded-content-length", "66560")
            .header("content-length", "66824");
        if let Some(trailer) = trailer {
            head = head.header("x-amz-trailer", trailer);
        }
        let (head, ()) = head.body(()).unwrap().into_parts();
        match claim(&head, ClaimOptions::default()).unwrap() {
            Claim::Signed(evidence) => *evidence,
            Claim::Anonymous => panic!("signed"),
        }
    }

    fn key(evidence: &Evidence) -> SigningKey {
        let key = SigningKey::derive(SECRET, &evidence.scope);
        assert_eq!(evidence.verify(&key), Ok(()));
        key
    }

    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html#example-signature-calculations-streaming>
    fn published_signed() -> (ChunkSigner, Vec<u8>) {
        let evidence = published(
            "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;\
             x-amz-storage-class",
            "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            None,
        );
        let signatures = [
            "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
            "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
            "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
        ];
        let mut wire = published_chunks(&signatures);
        wire.extend_from_slice(b"\r\n");
        assert_eq!(wire.len(), 66_824);
        (ChunkSigner::new(key(&evidence), &evidence), wire)
    }

    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html>
    fn published_with_trailer() -> (ChunkSigner, Vec<u8>) {
        let evidence = published(
            "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;\
             x-amz-trailer",
            "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
            Some("x-amz-checksum-crc32c"),
        );
        let signatures = [
            "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
            "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
            "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
        ];
        let mut wire = published_chunks(&signatures);
        wire.extend_from_slice(
            b"x-amz-checksum-crc32c:sOO8/Q==\r\n\
              x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n",
        );
        (ChunkSigner::new(key(&evidence), &evidence), wire)
    }

    /// 65,536 and 1,024 times the letter `a`, and the last chunk.
    fn published_chunks(signatures: &[&str; 3]) -> Vec<u8> {
        let mut wire = Vec::new();
        for (len, signature) in [65_536, 1024].into_iter().zip(signatures) {
            wire.extend_from_slice(format!("{len:x};chunk-signature={signature}\r\n").as_bytes());
            wire.resize(wire.len() + len, b'a');
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(format!("0;chunk-signature={}\r\n", signatures[2]).as_bytes());
        wire
    }

    type Outcome = Result<(Vec<u8>, Vec<Trailer>), ChunkError>;

    /// Decodes a body that arrives in frames of the given lengths, again and again.
    fn decode(mut decoder: ChunkDecoder, wire: &[u8], frame_lens: &[usize]) -> Outcome {
        let mut rest = Bytes::copy_from_slice(wire);
        let mut content = Vec::new();
        let mut lens = frame_lens.iter().cycle();
        while !rest.is_empty() {
            let len = lens.next().map_or(rest.len(), |len| rest.len().min(*len));
            let mut frame = rest.split_to(len);
            while let Some(piece) = decoder.decode(&mut frame)? {
                assert!(!piece.is_empty());
                content.extend_from_slice(&piece);
            }
        }
        Ok((content, decoder.finish()?))
    }

    #[test]
    fn the_published_examples_verify_however_they_are_split() {
        for frame_lens in [&[usize::MAX][..], &[1], &[7, 65_536, 3]] {
            let (signer, wire) = published_signed();
            let (content, trailers) =
                decode(ChunkDecoder::signed(signer, false), &wire, frame_lens).unwrap();
            assert_eq!(content, vec![b'a'; 66_560]);
            assert_eq!(trailers, []);
            let (signer, wire) = published_with_trailer();
            let (content, trailers) =
                decode(ChunkDecoder::signed(signer, true), &wire, frame_lens).unwrap();
            assert_eq!(content, vec![b'a'; 66_560]);
            assert_eq!(trailers.len(), 1);
            assert_eq!(trailers[0].value, "sOO8/Q==");
        }
    }

    #[test]
    fn a_changed_chunk_is_not_released() {
        let (signer, mut wire) = published_signed();
        let second = 85 + 2 + 65_536 + 2;
        wire[second + 200] = b'b';
        let mut decoder = ChunkDecoder::signed(signer, false);
        let mut input = Bytes::from(wire);
        let first = decoder.decode(&mut input).unwrap().unwrap();
        assert_eq!(first.len(), 65_536);
        let error = decoder.decode(&mut input).unwrap_err();
        assert!(
            matches!(error, ChunkError::Signature { provided, .. } if provided.starts_with("0055627c"))
        );
    }

    #[test]
    fn changed_and_missing_trailers_are_noticed() {
        let decode_changed = |from: &str, to: &str| {
            let (signer, wire) = published_with_trailer();
            let text = String::from_utf8(wire).unwrap();
            assert!(text.contains(from));
            decode(
                ChunkDecoder::signed(signer, true),
                text.replace(from, to).as_bytes(),
                &[4096],
            )
            .unwrap_err()
        };
        assert!(matches!(
            decode_changed("sOO8", "sOO9"),
            ChunkError::Signature { .. }
        ));
        assert!(matches!(
            decode_changed("signature:d81f", "signature:d81e"),
            ChunkError::Signature { .. }
        ));
        assert!(matches!(
            decode_changed("x-amz-trailer-signature", "x-other"),
            ChunkError::Trailer(_)
        ));
        assert!(matches!(
            decode_changed(";chunk-signature=2ca2", ";x=2ca2"),
            ChunkError::Framing(_)
        ));
        assert!(matches!(
            decode_changed(";chunk-signature=2ca2", ";chunk-signature=2ca3"),
            ChunkError::Signature { .. }
        ));
    }

    #[test]
    fn unsigned_content_is_a_slice_of_what_came_in() {
        let mut input = Bytes::from("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n");
        let content = input[3..].as_ptr();
        let mut decoder = ChunkDecoder::unsigned();
        let piece = decoder.decode(&mut input).unwrap().unwrap();
        assert_eq!((&piece[..], piece.as_ptr()), (&b"hello"[..], content));
        assert_eq!(decoder.decode(&mut input), Ok(None));
        assert_eq!(decoder.finish().unwrap()[0].value, "NhCmhg==");
    }

    #[test]
    fn liberties_are_understood() {
        for wire in [
            "5\nhello\n0\n",
            "5\r\nhello\r\n0\r\n",
            "0005 ; x=y\r\nhello\r\n0\r\n\r\n",
            "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n\r\n",
            "5;chunk-signature=00\r\nhello\r\n0;chunk-signature=00\r\n\r\n",
        ] {
            for len in [1, 100] {
                let decoded = decode(ChunkDecoder::unsigned(), wire.as_bytes(), &[len]);
                assert_eq!(decoded, Ok((b"hello".to_vec(), Vec::new())), "{wire:?}");
            }
        }
    }

    #[test]
    fn broken_framing_is_refused() {
        let outcome =
            |wire: &str| decode(ChunkDecoder::unsigned(), wire.as_bytes(), &[3]).unwrap_err();
        assert!(matches!(
            outcome("5\r\nhello!\r\n0\r\n"),
            ChunkError::Framing(_)
        ));
        assert!(matches!(
            outcome("x\r\nhello\r\n0\r\n"),
            ChunkError::Framing(_)
        ));
        assert!(matches!(outcome("\r\n"), ChunkError::Framing(_)));
        assert!(matches!(outcome(&"0".repeat(257)), ChunkError::Framing(_)));
        assert!(matches!(
            outcome("0\r\nno colon\r\n"),
            ChunkError::Trailer(_)
        ));
        assert!(matches!(
            outcome(&format!("0\r\na:{}", "x".repeat(8192))),
            ChunkError::Trailer(_)
        ));
        for cut in [
            "",
            "5",
            "5\r\n",
            "5\r\nhell",
            "5\r\nhello",
            "5\r\nhello\r\n",
            "5\r\nhello\r\n0",
        ] {
            assert_eq!(outcome(cut), ChunkError::Incomplete, "{cut:?}");
        }
    }

    #[test]
    fn an_unsigned_trailer_behind_signed_chunks_is_refused() {
        let (signer, mut wire) = published_signed();
        wire.truncate(wire.len() - 2);
        wire.extend_from_slice(b"x-amz-checksum-crc32:AAAAAA==\r\n\r\n");
        let outcome = decode(ChunkDecoder::signed(signer, false), &wire, &[5000]);
        assert_eq!(outcome, Err(ChunkError::Trailer("none was announced")));
    }

    #[test]
    fn a_signed_chunk_is_held_only_up_to_a_limit() {
        let (signer, _) = published_signed();
        let header = format!("{:x};chunk-signature=00\r\n", MAX_SIGNED_CHUNK_LEN + 1);
        let mut decoder = ChunkDecoder::signed(signer, false);
        assert!(matches!(
            decoder.decode(&mut Bytes::from(header)),
            Err(ChunkError::Framing(_))
        ));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn any_chunking_in_any_frames_decodes_to_the_same_bytes(
            content in proptest::collection::vec(any::<u8>(), 0..20_000),
            chunk_lens in proptest::collection::vec(1..9000_usize, 1..6),
            frame_lens in proptest::collection::vec(1..9000_usize, 1..6),
        ) {
            let mut wire = Vec::new();
            let mut rest = content.as_slice();
            for len in chunk_lens.iter().cycle() {
                let (chunk, further) = rest.split_at(rest.len().min(*len));
                wire.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                if chunk.is_empty() {
                    break;
                }
                wire.extend_from_slice(b"\r\n");
                rest = further;
            }
            wire.extend_from_slice(b"a:1\r\n\r\n");
            let (decoded, trailers) = decode(ChunkDecoder::unsigned(), &wire, &frame_lens).unwrap();
            prop_assert_eq!(decoded, content);
            prop_assert_eq!(trailers.len(), 1);
        }
    }
}
