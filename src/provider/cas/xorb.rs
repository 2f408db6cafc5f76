//! Xorbs under construction, as ropes: an incompressible chunk is its header and a slice of what the client sent.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use xet_core_structures::merklehash::{MerkleHash, xorb_hash};
use xet_core_structures::xorb_object::{
    XORB_CHUNK_HEADER_LENGTH, XorbChunkHeader, write_chunk_header,
};

use super::compress::Stored;
use super::file_hash::ChunkMark;
use crate::storage::{Checksum, ChecksumAlgorithm, Digester};

/// Most chunks in a xorb, by the protocol.
pub(super) const MAX_CHUNKS: usize = 8192;

/// Longest chunk, by the protocol.
pub(super) const MAX_CHUNK_BYTES: usize = 128 << 10;

/// Longest xorb, by the protocol. The text bounds the serialised form; the reference client also bounds the decompressed
/// one, and so do we, because a server may rely on it.
const MAX_XORB_BYTES: usize = 64 << 20;

/// What remains known of a xorb once its bytes are gone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct XorbRecord {
    pub(super) hash: MerkleHash,
    /// Hash and decompressed length of each chunk, in order.
    pub(super) chunks: Arc<[(MerkleHash, u32)]>,
    /// Bytes of the chunks, decompressed.
    pub(super) raw_bytes: u32,
    /// Bytes of the serialised form.
    pub(super) stored_bytes: u32,
}

/// A complete xorb in its serialised form, without the optional footer.
#[derive(Debug)]
pub(super) struct Xorb {
    pub(super) record: Arc<XorbRecord>,
    pub(super) rope: Rope,
    /// CRC-64/NVME of the serialised form.
    pub(super) crc64: u64,
}

/// Bytes in pieces. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Rope {
    pieces: Arc<[Bytes]>,
    len_bytes: usize,
}

impl Rope {
    /// Returns the length of all pieces together.
    pub(super) fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// Returns a request body of exactly this length; each attempt takes a new one.
    pub(super) fn body(&self) -> RopeBody {
        RopeBody {
            rope: self.clone(),
            next: 0,
            remaining: self.len_bytes as u64,
        }
    }
}

/// A request body that hands out the pieces without copying them.
#[derive(Debug)]
pub(super) struct RopeBody {
    rope: Rope,
    next: usize,
    remaining: u64,
}

impl Body for RopeBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(piece) = self.rope.pieces.get(self.next).cloned() else {
            return Poll::Ready(None);
        };
        self.next += 1;
        self.remaining -= piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.next == self.rope.pieces.len()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

/// Collects chunks until the xorb is cut.
#[derive(Debug)]
pub(super) struct XorbBuilder {
    pieces: Vec<Bytes>,
    chunks: Vec<(MerkleHash, u32)>,
    raw_bytes: usize,
    stored_bytes: usize,
    crc64: Digester,
}

impl Default for XorbBuilder {
    fn default() -> Self {
        Self {
            pieces: Vec::new(),
            chunks: Vec::new(),
            raw_bytes: 0,
            stored_bytes: 0,
            crc64: Digester::new(ChecksumAlgorithm::Crc64Nvme),
        }
    }
}

impl XorbBuilder {
    /// Returns the chunks so far.
    pub(super) fn chunks(&self) -> &[(MerkleHash, u32)] {
        &self.chunks
    }

    /// Returns the bytes of the chunks so far, decompressed.
    pub(super) fn raw_bytes(&self) -> usize {
        self.raw_bytes
    }

    /// Returns the length of the serialised form so far.
    pub(super) fn stored_bytes(&self) -> usize {
        self.stored_bytes
    }

    /// Reports whether a chunk of `len_bytes` may be added, however badly it compresses.
    pub(super) fn fits(&self, len_bytes: usize) -> bool {
        self.chunks.len() < MAX_CHUNKS
            && self.raw_bytes + len_bytes <= MAX_XORB_BYTES
            && self.stored_bytes + XORB_CHUNK_HEADER_LENGTH + len_bytes <= MAX_XORB_BYTES
    }

    /// Adds a chunk in the form in which it is to be stored, and returns its index.
    pub(super) fn push(&mut self, hash: MerkleHash, raw_bytes: u32, stored: Stored) -> u32 {
        let payload_bytes = u32::try_from(stored.payload.len())
            .expect("a payload is no longer than its chunk, which is at most 128 KiB");
        let mut header = Vec::with_capacity(XORB_CHUNK_HEADER_LENGTH);
        write_chunk_header(
            &mut header,
            &XorbChunkHeader::new(stored.scheme, payload_bytes, raw_bytes),
        )
        .expect("writing to memory does not fail");
        self.crc64.update(&header);
        self.crc64.update(&stored.payload);
        self.stored_bytes += header.len() + stored.payload.len();
        self.raw_bytes += raw_bytes as usize;
        self.pieces.push(header.into());
        self.pieces.push(stored.payload);
        self.chunks.push((hash, raw_bytes));
        u32::try_from(self.chunks.len() - 1).expect("a xorb has at most 8,192 chunks")
    }

    /// Adds all chunks of another xorb under construction behind the own ones, and returns the index of the first. The caller
    /// has seen to it that they fit.
    pub(super) fn append(&mut self, other: Self) -> u32 {
        let first = u32::try_from(self.chunks.len()).expect("a xorb has at most 8,192 chunks");
        for piece in &other.pieces {
            self.crc64.update(piece);
        }
        self.pieces.extend(other.pieces);
        self.chunks.extend(other.chunks);
        self.raw_bytes += other.raw_bytes;
        self.stored_bytes += other.stored_bytes;
        first
    }

    /// Completes the xorb and leaves an empty builder behind; `None` if there is no chunk.
    pub(super) fn seal(&mut self) -> Option<Xorb> {
        if self.chunks.is_empty() {
            return None;
        }
        let built = std::mem::take(self);
        let marks: Vec<ChunkMark> = built
            .chunks
            .iter()
            .map(|(hash, len)| (*hash, u64::from(*len)))
            .collect();
        let bounded = "a xorb is at most 64 MiB in either form";
        let record = XorbRecord {
            hash: xorb_hash(&marks),
            chunks: built.chunks.into(),
            raw_bytes: u32::try_from(built.raw_bytes).expect(bounded),
            stored_bytes: u32::try_from(built.stored_bytes).expect(bounded),
        };
        Some(Xorb {
            record: Arc::new(record),
            rope: Rope {
                pieces: built.pieces.into(),
                len_bytes: built.stored_bytes,
            },
            crc64: big_endian(&built.crc64.finish()),
        })
    }
}

fn big_endian(checksum: &Checksum) -> u64 {
    checksum
        .value
        .iter()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use proptest::prelude::*;
    use xet_core_structures::merklehash::compute_data_hash;
    use xet_core_structures::xorb_object::{deserialize_chunks, reconstruct_xorb_with_footer};

    use super::super::compress::Compressor;
    use super::*;

    fn built(chunks: &[Vec<u8>]) -> Xorb {
        let mut builder = XorbBuilder::default();
        let mut compressor = Compressor::default();
        for chunk in chunks {
            let chunk = Bytes::from(chunk.clone());
            let raw_bytes = u32::try_from(chunk.len()).unwrap();
            let stored = compressor.store(&chunk).unwrap();
            builder.push(compute_data_hash(&chunk), raw_bytes, stored);
        }
        builder.seal().unwrap()
    }

    async fn serialised(xorb: &Xorb) -> Bytes {
        xorb.rope.body().collect().await.unwrap().to_bytes()
    }

    /// The layout of docs/xet/xorb.md: version, 24-bit stored length, scheme, 24-bit length; little-endian.
    #[tokio::test]
    async fn known_answer_of_a_stored_chunk() {
        let xorb = built(&[b"Hello World!".to_vec()]);
        let bytes = serialised(&xorb).await;
        assert_eq!(bytes[..8], [0, 12, 0, 0, 0, 12, 0, 0]);
        assert_eq!(&bytes[8..], b"Hello World!");
        // A tree of one chunk is that chunk; the value is that of draft-denis-xet, appendix C.1.
        assert_eq!(
            xorb.record.hash.hex(),
            "d8d408e608fb9ca213b9909a65d86d725f2de4d8d540324be8a363e7a6e228cb"
        );
        assert_eq!((xorb.record.raw_bytes, xorb.record.stored_bytes), (12, 20));
        assert_eq!(
            xorb.crc64,
            crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, &bytes)
        );
    }

    /// Reference list of xet-core's aggregated hashes.
    #[test]
    fn known_answer_of_three_chunks() {
        let mut builder = XorbBuilder::default();
        for (hex, len) in [
            (
                "cfc5d07f6f03c29bbf424132963fe08d19a37d5757aaf520bf08119f05cd56d6",
                100,
            ),
            (
                "c3e67584b5c4fc2a89837ec39e40f2c8a6bb0b2987ac94cd4b31e5fbdd210a72",
                200,
            ),
            (
                "0d2beb91b9196929a5ddec9f6e306924ddf4a24268e3e59fd8464738d525af37",
                300,
            ),
        ] {
            let stored = Stored::raw(Bytes::from(vec![7; len]));
            let raw_bytes = u32::try_from(len).unwrap();
            builder.push(MerkleHash::from_hex(hex).unwrap(), raw_bytes, stored);
        }
        assert_eq!(
            builder.seal().unwrap().record.hash.hex(),
            "71ec1275fca074724e2dd666921b3277c7cee603e4d025bcab2d4050015be2bc"
        );
        assert!(builder.seal().is_none());
    }

    #[tokio::test]
    async fn joined_builders_make_the_xorb_of_all_their_chunks() {
        let builder = |texts: &[&'static str]| {
            let mut builder = XorbBuilder::default();
            for text in texts {
                let chunk = Bytes::from_static(text.as_bytes());
                let raw_bytes = u32::try_from(chunk.len()).unwrap();
                builder.push(compute_data_hash(&chunk), raw_bytes, Stored::raw(chunk));
            }
            builder
        };
        let mut joined = builder(&["one", "two"]);
        assert_eq!(joined.append(builder(&["three"])), 2);
        let joined = joined.seal().unwrap();
        let whole = builder(&["one", "two", "three"]).seal().unwrap();
        assert_eq!(joined.record, whole.record);
        assert_eq!(joined.crc64, whole.crc64);
        assert_eq!(serialised(&joined).await, serialised(&whole).await);
    }

    #[test]
    fn an_incompressible_chunk_is_not_copied() {
        let chunk = Bytes::from((0..4096).map(|_| rand::random()).collect::<Vec<u8>>());
        let mut builder = XorbBuilder::default();
        let stored = Compressor::default().store(&chunk).unwrap();
        builder.push(compute_data_hash(&chunk), 4096, stored);
        let xorb = builder.seal().unwrap();
        assert_eq!(xorb.rope.pieces[1].as_ptr(), chunk.as_ptr());
    }

    #[test]
    fn neither_chunks_nor_bytes_exceed_the_protocol() {
        let mut builder = XorbBuilder::default();
        for _ in 0..MAX_CHUNKS {
            assert!(builder.fits(1));
            builder.push(
                MerkleHash::default(),
                1,
                Stored::raw(Bytes::from_static(b"x")),
            );
        }
        assert!(!builder.fits(1));
        let mut builder = XorbBuilder::default();
        let chunk = Bytes::from(vec![0; MAX_CHUNK_BYTES]);
        while builder.fits(MAX_CHUNK_BYTES) {
            builder.push(MerkleHash::default(), 128 << 10, Stored::raw(chunk.clone()));
        }
        assert!(builder.stored_bytes() <= MAX_XORB_BYTES);
        assert!(builder.stored_bytes() > MAX_XORB_BYTES - 2 * MAX_CHUNK_BYTES);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn the_official_decoder_reads_what_is_built(
            seeds in prop::collection::vec((any::<u8>(), 1_usize..20_000, any::<bool>()), 1..40),
        ) {
            let chunks: Vec<Vec<u8>> = seeds
                .iter()
                .map(|(seed, len, is_text)| {
                    let noise = |n: usize| (n.wrapping_mul(2_654_435_761) >> 7).to_le_bytes()[0] ^ seed;
                    (0..*len).map(|n| if *is_text { *seed } else { noise(n) }).collect()
                })
                .collect();
            let xorb = built(&chunks);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let bytes = runtime.block_on(serialised(&xorb));
            prop_assert_eq!(bytes.len(), xorb.rope.len_bytes());
            let (data, _) = deserialize_chunks(&mut &bytes[..]).unwrap();
            prop_assert_eq!(data, chunks.concat());
            let (_, hash) = reconstruct_xorb_with_footer(&mut Vec::new(), &bytes).unwrap();
            prop_assert_eq!(hash, xorb.record.hash);
        }
    }
}
