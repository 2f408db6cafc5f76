//! Properties of the decoder, for any body in any frames.

use bytes::Bytes;
use sha2::{Digest, Sha256};
use time::macros::datetime;

use crate::fuzzing::{Feed, frames};
use crate::sigv4::chunked::trailer::TrailerBlock;
use crate::sigv4::{
    ChunkDecoder, ChunkError, ChunkSigner, ContentSha256, Evidence, Scope, SignatureKind,
    SigningKey, Trailer,
};

type Outcome = Result<(Vec<u8>, Vec<Trailer>), ChunkError>;

/// Any body, or one that is built and then changed in one place.
pub(crate) fn chunked(input: &[u8]) {
    let mut feed = Feed::new(input);
    let (mode, seed) = (feed.byte(), feed.byte());
    match mode % 3 {
        0 => unsigned(feed.rest(), seed),
        1 => {
            // Without the key, nothing but the empty beginning of a body gets through.
            let outcome = is_split_invariant(|| signed(mode & 4 != 0), feed.rest(), seed);
            assert!(outcome.is_err() || outcome.is_ok_and(|(content, _)| content.is_empty()));
        }
        _ => {
            let (at, change) = (feed.number(), feed.byte());
            a_changed_byte_is_noticed(feed.rest(), mode & 4 != 0, seed, at, change);
        }
    }
}

fn unsigned(wire: &[u8], seed: u8) {
    let outcome = is_split_invariant(ChunkDecoder::unsigned, wire, seed);
    assert_eq!(outcome.ok().map(|(content, _)| content), reference(wire));
}

/// Decodes a body that arrives whole, and in frames; both must have the same outcome.
fn is_split_invariant(decoder: impl Fn() -> ChunkDecoder, wire: &[u8], seed: u8) -> Outcome {
    let whole = decode(decoder(), frames(wire, 0));
    assert_eq!(decode(decoder(), frames(wire, seed)), whole);
    whole
}

fn decode(mut decoder: ChunkDecoder, frames: Vec<Bytes>) -> Outcome {
    let (mut content, mut received) = (Vec::new(), 0);
    for mut frame in frames {
        received += frame.len();
        while let Some(piece) = decoder.decode(&mut frame)? {
            assert!(!piece.is_empty());
            content.extend_from_slice(&piece);
            assert!(content.len() <= received, "more came out than went in");
        }
        assert!(frame.is_empty());
    }
    Ok((content, decoder.finish()?))
}

/// Takes the framing off as one would by hand; `None` for a body that must be refused.
fn reference(mut wire: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let line = line(&mut wire)?;
        let size = std::str::from_utf8(line).ok()?.split(';').next()?.trim();
        if !size.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let size = usize::try_from(u64::from_str_radix(size, 16).ok()?).ok()?;
        if size == 0 {
            let is_sound = wire.len() <= 8192 && TrailerBlock::parse(wire).is_ok();
            return is_sound.then_some(content);
        }
        content.extend_from_slice(wire.get(..size)?);
        wire = &wire[size..];
        if !self::line(&mut wire)?.is_empty() {
            return None;
        }
    }
}

fn line<'a>(wire: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = wire.iter().position(|byte| *byte == b'\n')?;
    let line = &wire[..end];
    *wire = &wire[end + 1..];
    (end <= 256).then(|| line.strip_suffix(b"\r").unwrap_or(line))
}

/// Signs a body as a client does, changes one byte of it on the way, and has it decoded.
fn a_changed_byte_is_noticed(matter: &[u8], has_trailers: bool, seed: u8, at: u64, change: u8) {
    let chunks: Vec<&[u8]> = matter.chunks(1 + usize::from(seed) * 7).collect();
    let (mut wire, sent) = encode(&chunks, has_trailers);
    let decoded = decode(signed(has_trailers), frames(&wire, seed));
    assert_eq!(decoded, Ok((matter.to_vec(), sent.clone())));
    let at = usize::try_from(at % wire.len() as u64).unwrap_or_default();
    wire[at] ^= change;
    // White space and unknown extensions are nobody's business; everything else is an error.
    if let Ok((content, trailers)) = decode(signed(has_trailers), frames(&wire, seed)) {
        assert_eq!((content.as_slice(), trailers), (matter, sent));
    }
}

fn encode(chunks: &[&[u8]], has_trailers: bool) -> (Vec<u8>, Vec<Trailer>) {
    let (key, evidence) = (key(), evidence());
    let context = format!("20130524T000000Z\n{}", evidence.scope.line());
    let mut previous = evidence.signature;
    let empty = hex::encode(Sha256::digest(b""));
    let mut wire = Vec::new();
    for chunk in chunks.iter().copied().chain([&b""[..]]) {
        let digest = hex::encode(Sha256::digest(chunk));
        let text = format!("AWS4-HMAC-SHA256-PAYLOAD\n{context}\n{previous}\n{empty}\n{digest}");
        previous = key.sign(&text);
        let header = format!("{:x};chunk-signature={previous}\r\n", chunk.len());
        wire.extend_from_slice(header.as_bytes());
        wire.extend_from_slice(chunk);
        if !chunk.is_empty() {
            wire.extend_from_slice(b"\r\n");
        }
    }
    let mut trailers = Vec::new();
    if has_trailers {
        let digest = hex::encode(Sha256::digest("x-amz-checksum-crc32:AAAAAA==\n"));
        let text = format!("AWS4-HMAC-SHA256-TRAILER\n{context}\n{previous}\n{digest}");
        let signature = key.sign(&text);
        let block =
            format!("x-amz-checksum-crc32:AAAAAA==\r\nx-amz-trailer-signature:{signature}\r\n");
        wire.extend_from_slice(block.as_bytes());
        trailers.push(Trailer {
            name: "x-amz-checksum-crc32".into(),
            value: "AAAAAA==".into(),
        });
    }
    wire.extend_from_slice(b"\r\n");
    (wire, trailers)
}

fn signed(has_trailers: bool) -> ChunkDecoder {
    ChunkDecoder::signed(ChunkSigner::new(key(), &evidence()), has_trailers)
}

fn key() -> SigningKey {
    SigningKey::derive("secret", &evidence().scope)
}

fn evidence() -> Evidence {
    Evidence {
        kind: SignatureKind::Header,
        access_key_id: "key".into(),
        scope: Scope {
            date: "20130524".into(),
            region: "us-east-1".into(),
            service: "s3".into(),
        },
        signed_at: datetime!(2013-05-24 0:00 UTC),
        canonical_requests: Vec::new(),
        signature: "0".repeat(64),
        content_sha256: ContentSha256::SignedChunks,
        decoded_length: None,
        session_token: None,
    }
}
