//! The chunk decoder: network frames of a serialized xorb go in, chunks come out as soon as they are whole.
//!
//! A chunk is a header of eight bytes (version, compressed length in 3 bytes, scheme, unpacked length in 3 bytes, all
//! little-endian) and its payload. Stored payloads leave as slices of the frames they came in, without a copy.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use lz4_flex::frame::FrameDecoder;
use xet_core_structures::merklehash::{MerkleHash, compute_data_hash};
use xet_core_structures::xorb_object::byte_grouping::bg4::bg4_regroup;
use xet_core_structures::xorb_object::{CompressionScheme, parse_chunk_header};

/// Most bytes of an unpacked chunk (Xet protocol, chunking).
pub(super) const MAX_CHUNK_BYTES: usize = 128 << 10;
/// Bytes of a chunk header.
const HEADER_BYTES: usize = 8;

/// Takes network frames and gives chunks.
///
/// # Behaviour
/// - A chunk comes out once its last byte is in, however the bytes were cut into frames.
/// - It holds at most one frame more than an unfinished chunk, if the caller takes chunks until there is none.
/// - A header out of bounds is refused before its payload is waited for.
#[derive(Debug, Default)]
pub(super) struct ChunkDecoder {
    frames: VecDeque<Bytes>,
    buffered_bytes: usize,
    header: Option<Header>,
}

#[derive(Debug, Clone, Copy)]
struct Header {
    scheme: CompressionScheme,
    packed_bytes: usize,
    unpacked_bytes: usize,
}

/// A chunk as it is stored: not yet unpacked, so that passing over it costs nothing.
#[derive(Debug)]
pub(super) struct PackedChunk {
    header: Header,
    payload: Vec<Bytes>,
}

/// An unpacked chunk: one or more pieces that follow one another. Clones share the bytes, and the hash once it is known.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    pieces: Pieces,
    len_bytes: usize,
    /// Whether the pieces lie in larger network frames, which live for as long as they do.
    pins_frames: bool,
    hash: Arc<OnceLock<MerkleHash>>,
}

#[derive(Debug, Clone)]
enum Pieces {
    /// The usual case costs no list.
    One(Bytes),
    Many(Vec<Bytes>),
}

/// A chunk that violates the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ChunkError {
    /// A header that no writer may write: unknown version or scheme, or lengths out of bounds.
    #[error("chunk header out of bounds")]
    Header,
    /// A payload that does not unpack, or to another length than its header says.
    #[error("chunk does not unpack to its announced length")]
    Payload,
}

// === impl ChunkDecoder ===

impl ChunkDecoder {
    /// Takes the next frame of the body.
    pub(super) fn push(&mut self, frame: Bytes) {
        if !frame.is_empty() {
            self.buffered_bytes += frame.len();
            self.frames.push_back(frame);
        }
    }

    /// Returns the next chunk, or `None` if more input is needed.
    pub(super) fn next_chunk(&mut self) -> Result<Option<PackedChunk>, ChunkError> {
        let header = match self.header {
            Some(header) => header,
            None if self.buffered_bytes < HEADER_BYTES => return Ok(None),
            None => Header::parse(self.header_bytes())?,
        };
        if self.buffered_bytes < header.packed_bytes {
            self.header = Some(header);
            return Ok(None);
        }
        self.header = None;
        let mut payload = Vec::with_capacity(1);
        self.take(header.packed_bytes, |piece| payload.push(piece));
        Ok(Some(PackedChunk { header, payload }))
    }

    /// Reports whether bytes of an unfinished chunk are left.
    pub(super) fn is_inside_chunk(&self) -> bool {
        self.buffered_bytes > 0 || self.header.is_some()
    }

    fn header_bytes(&mut self) -> [u8; HEADER_BYTES] {
        let (mut bytes, mut filled) = ([0; HEADER_BYTES], 0);
        self.take(HEADER_BYTES, |piece| {
            bytes[filled..filled + piece.len()].copy_from_slice(&piece);
            filled += piece.len();
        });
        bytes
    }

    /// Hands out the next `len` bytes piece by piece. The caller has checked that they are there.
    fn take(&mut self, mut len: usize, mut give: impl FnMut(Bytes)) {
        self.buffered_bytes -= len;
        while len > 0
            && let Some(frame) = self.frames.front_mut()
        {
            if frame.len() <= len {
                len -= frame.len();
                self.frames.pop_front().into_iter().for_each(&mut give);
            } else {
                give(frame.split_to(len));
                len = 0;
            }
        }
    }
}

// === impl Header ===

impl Header {
    fn parse(bytes: [u8; HEADER_BYTES]) -> Result<Self, ChunkError> {
        let header = parse_chunk_header(bytes).map_err(|_| ChunkError::Header)?;
        let scheme = header
            .get_compression_scheme()
            .map_err(|_| ChunkError::Header)?;
        let (packed, unpacked) = (
            header.get_compressed_length() as usize,
            header.get_uncompressed_length() as usize,
        );
        let is_sane = match scheme {
            CompressionScheme::None => packed == unpacked,
            CompressionScheme::LZ4 | CompressionScheme::ByteGrouping4LZ4 => packed > 0,
            CompressionScheme::Auto => false,
        };
        if !is_sane || !(1..=MAX_CHUNK_BYTES).contains(&unpacked) {
            return Err(ChunkError::Header);
        }
        Ok(Self {
            scheme,
            packed_bytes: packed,
            unpacked_bytes: unpacked,
        })
    }
}

// === impl PackedChunk ===

impl PackedChunk {
    /// Returns the number of bytes that the chunk unpacks to.
    pub(super) fn len_bytes(&self) -> usize {
        self.header.unpacked_bytes
    }

    /// Unpacks the chunk: at once if it is stored, else by decompressing up to 128 KiB (about 50 µs).
    ///
    /// Errors: [`ChunkError::Payload`]. Never produces more than one byte beyond the announced length.
    pub(super) fn unpack(self) -> Result<Chunk, ChunkError> {
        let len_bytes = self.header.unpacked_bytes;
        let is_stored = self.header.scheme == CompressionScheme::None;
        let pieces = match self.header.scheme {
            CompressionScheme::None => Pieces::of(self.payload),
            CompressionScheme::LZ4 => Pieces::One(self.unpack_lz4()?.into()),
            CompressionScheme::ByteGrouping4LZ4 => {
                Pieces::One(bg4_regroup(&self.unpack_lz4()?).into())
            }
            CompressionScheme::Auto => return Err(ChunkError::Header),
        };
        Ok(Chunk {
            pieces,
            len_bytes,
            pins_frames: is_stored,
            hash: Arc::default(),
        })
    }

    /// Decompresses an LZ4 frame. The output is cut one byte beyond the announced length, so that a bomb costs nothing.
    fn unpack_lz4(&self) -> Result<Vec<u8>, ChunkError> {
        let len_bytes = self.header.unpacked_bytes;
        let packed = contiguous(&self.payload);
        let mut unpacked = Vec::with_capacity(len_bytes + 1);
        FrameDecoder::new(packed.as_ref())
            .take(len_bytes as u64 + 1)
            .read_to_end(&mut unpacked)
            .map_err(|_| ChunkError::Payload)?;
        if unpacked.len() == len_bytes {
            Ok(unpacked)
        } else {
            Err(ChunkError::Payload)
        }
    }
}

// === impl Chunk ===

impl Chunk {
    /// Returns a chunk of one piece of memory that holds nothing else.
    #[cfg(test)]
    pub(super) fn from_compact(bytes: Bytes) -> Self {
        Self {
            len_bytes: bytes.len(),
            pieces: Pieces::One(bytes),
            pins_frames: false,
            hash: Arc::default(),
        }
    }

    /// Returns bytes as a chunk if they have this hash, which is remembered. They may lie in larger memory.
    pub(super) fn verified(bytes: Bytes, hash: MerkleHash) -> Option<Self> {
        (compute_data_hash(&bytes) == hash).then(|| Self {
            len_bytes: bytes.len(),
            pieces: Pieces::One(bytes),
            pins_frames: true,
            hash: Arc::new(hash.into()),
        })
    }

    /// Returns the length in bytes; 1 to 131,072.
    pub(super) fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// Returns the pieces in order.
    pub(super) fn pieces(&self) -> &[Bytes] {
        match &self.pieces {
            Pieces::One(only) => std::slice::from_ref(only),
            Pieces::Many(pieces) => pieces,
        }
    }

    /// Returns the hash of the bytes, which is computed once for all clones. `scratch` is where pieces are joined for it.
    pub(super) fn hash(&self, scratch: &mut Vec<u8>) -> MerkleHash {
        *self.hash.get_or_init(|| match &self.pieces {
            Pieces::One(only) => compute_data_hash(only),
            Pieces::Many(pieces) => {
                scratch.clear();
                for piece in pieces {
                    scratch.extend_from_slice(piece);
                }
                compute_data_hash(scratch)
            }
        })
    }

    /// Returns the chunk as one piece of memory that holds nothing else, so that keeping it pins no network frame.
    pub(super) fn compacted(&self) -> Self {
        if !self.pins_frames {
            return self.clone();
        }
        let mut whole = Vec::with_capacity(self.len_bytes);
        for piece in self.pieces() {
            whole.extend_from_slice(piece);
        }
        Self {
            pieces: Pieces::One(whole.into()),
            len_bytes: self.len_bytes,
            pins_frames: false,
            hash: self.hash.clone(),
        }
    }
}

// === impl Pieces ===

impl Pieces {
    fn of(mut pieces: Vec<Bytes>) -> Self {
        match pieces.len() {
            1 => Self::One(pieces.swap_remove(0)),
            _ => Self::Many(pieces),
        }
    }
}

/// Joins pieces; a single one is not copied.
fn contiguous(pieces: &[Bytes]) -> Bytes {
    if let [only] = pieces {
        return only.clone();
    }
    let mut whole = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
    for piece in pieces {
        whole.extend_from_slice(piece);
    }
    whole.freeze()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use xet_core_structures::xorb_object::serialize_chunk;

    use super::*;

    fn packed(data: &[u8], scheme: CompressionScheme) -> Vec<u8> {
        let mut bytes = Vec::new();
        serialize_chunk(data, &mut bytes, scheme).unwrap();
        bytes
    }

    fn decoded(frames: impl IntoIterator<Item = Bytes>) -> Result<Vec<Chunk>, ChunkError> {
        let (mut decoder, mut chunks) = (ChunkDecoder::default(), Vec::new());
        for frame in frames {
            decoder.push(frame);
            while let Some(chunk) = decoder.next_chunk()? {
                chunks.push(chunk.unpack()?);
            }
        }
        assert!(!decoder.is_inside_chunk());
        Ok(chunks)
    }

    /// Returns the bytes of a chunk, and checks that they lie in memory of their own.
    fn bytes(chunk: &Chunk) -> Bytes {
        let compact = chunk.compacted();
        assert_eq!(compact.pieces().len(), 1);
        compact.pieces()[0].clone()
    }

    #[test]
    fn a_stored_chunk_decodes_as_the_protocol_writes_it() {
        let known = Bytes::from_static(&[0, 4, 0, 0, 0, 4, 0, 0, 1, 2, 3, 4]);
        assert_eq!(packed(&[1, 2, 3, 4], CompressionScheme::None), known);
        let chunks = decoded([known]).unwrap();
        assert_eq!(bytes(&chunks[0]), [1, 2, 3, 4].as_slice());
        assert_eq!((chunks.len(), chunks[0].len_bytes()), (1, 4));
    }

    #[test]
    fn an_lz4_chunk_decodes_as_the_protocol_writes_it() {
        // The letter `a` 40 times: chunk header, LZ4 frame header, one block, end mark.
        let known = [
            [0, 27, 0, 0, 1, 40, 0, 0].as_slice(),
            &[4, 34, 77, 24, 96, 64, 130],
            &[12, 0, 0, 0, 31, 97, 1, 0, 14, 96, 97, 97, 97, 97, 97, 97],
            &[0, 0, 0, 0],
        ]
        .concat();
        assert_eq!(packed(&[b'a'; 40], CompressionScheme::LZ4), known);
        let chunks = decoded([Bytes::from(known)]).unwrap();
        assert_eq!(bytes(&chunks[0]), [b'a'; 40].as_slice());
    }

    #[test]
    fn byte_groups_are_put_back_in_order() {
        let data: Vec<u8> = (0..4099).map(|n: u16| n.to_le_bytes()[0] / 7).collect();
        let packed = packed(&data, CompressionScheme::ByteGrouping4LZ4);
        assert_eq!(packed[4], 2);
        let chunks = decoded([Bytes::from(packed)]).unwrap();
        assert_eq!(bytes(&chunks[0]), data);
    }

    #[test]
    fn stored_chunks_leave_as_slices_of_their_frames() {
        let frame = Bytes::from(packed(&[7; 1000], CompressionScheme::None));
        let chunks = decoded([frame.clone()]).unwrap();
        assert_eq!(chunks[0].pieces().len(), 1);
        assert_eq!(chunks[0].pieces()[0].as_ptr(), frame[8..].as_ptr());
        assert_ne!(bytes(&chunks[0]).as_ptr(), frame[8..].as_ptr());
    }

    #[test]
    fn a_hash_is_that_of_all_pieces_and_is_shared_with_copies() {
        let data: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let mut body = Bytes::from(packed(&data, CompressionScheme::None));
        let first = body.split_to(300);
        let chunks = decoded([first, body]).unwrap();
        assert_eq!(chunks[0].pieces().len(), 2);
        let copy = chunks[0].compacted();
        let hash = chunks[0].hash(&mut Vec::new());
        assert_eq!(hash, compute_data_hash(&data));
        assert_eq!(copy.hash.get(), Some(&hash));
    }

    #[test]
    fn the_first_chunk_leaves_before_the_second_has_arrived() {
        let mut bytes = packed(&[1; 100], CompressionScheme::None);
        bytes.extend(&packed(&[2; 100], CompressionScheme::None)[..50]);
        let mut decoder = ChunkDecoder::default();
        decoder.push(Bytes::from(bytes));
        assert!(decoder.next_chunk().unwrap().is_some());
        assert!(decoder.next_chunk().unwrap().is_none());
        assert!(decoder.is_inside_chunk());
    }

    #[test]
    fn headers_out_of_bounds_are_refused_before_their_payload() {
        let refused = |header: [u8; 8]| decoded([Bytes::copy_from_slice(&header)]).is_err();
        assert!(refused([1, 4, 0, 0, 0, 4, 0, 0]), "unknown version");
        assert!(refused([0, 4, 0, 0, 3, 4, 0, 0]), "unknown scheme");
        assert!(refused([0, 4, 0, 0, 99, 4, 0, 0]), "automatic scheme");
        assert!(
            refused([0, 4, 0, 0, 0, 5, 0, 0]),
            "stored, but of another length"
        );
        assert!(refused([0, 0, 0, 0, 0, 0, 0, 0]), "empty");
        assert!(refused([0, 9, 0, 0, 1, 1, 0, 2]), "unpacks to 128 KiB + 1");
        assert!(refused([0, 1, 0, 4, 1, 4, 0, 0]), "packed beyond 256 KiB");
        assert!(refused(*b"XETBLOB\x01"), "a footer is no chunk");
    }

    #[test]
    fn a_bomb_and_a_short_payload_are_refused() {
        for claimed in [99_u8, 101] {
            let mut bytes = packed(&[b'a'; 100], CompressionScheme::LZ4);
            bytes[5] = claimed;
            assert_eq!(
                decoded([Bytes::from(bytes)]).unwrap_err(),
                ChunkError::Payload
            );
        }
        let mut bomb = packed(&vec![0; MAX_CHUNK_BYTES], CompressionScheme::LZ4);
        bomb[5..8].copy_from_slice(&[1, 0, 0]);
        assert_eq!(
            decoded([Bytes::from(bomb)]).unwrap_err(),
            ChunkError::Payload
        );
    }

    proptest! {
        #[test]
        fn any_cut_into_frames_gives_the_same_chunks(
            chunks in prop::collection::vec((prop::collection::vec(0_u8..4, 1..600), 0_u8..3), 1..6),
            cuts in prop::collection::vec(1_usize..300, 1..40),
        ) {
            let mut body = Vec::new();
            for (data, scheme) in &chunks {
                body.extend(packed(data, CompressionScheme::try_from(*scheme).unwrap()));
            }
            let mut body = Bytes::from(body);
            let mut frames = Vec::new();
            for cut in cuts.iter().cycle() {
                if body.is_empty() {
                    break;
                }
                frames.push(body.split_to((*cut).min(body.len())));
            }
            let decoded = decoded(frames).unwrap();
            prop_assert_eq!(decoded.len(), chunks.len());
            for (chunk, (data, _)) in decoded.iter().zip(&chunks) {
                prop_assert_eq!(&bytes(chunk), data);
            }
        }
    }
}
