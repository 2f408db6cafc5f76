//! Takes in a xorb piece by piece, checks every chunk as it arrives, and writes it to a temporary file.
//!
//! The stored form is what arrived followed by the official footer, so that chunk hashes and boundaries need not be
//! computed again. Memory: one chunk at most.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use crc_fast::{CrcAlgorithm, Digest};
use xet_core_structures::error::CoreError;
use xet_core_structures::merklehash::{MerkleHash, compute_data_hash, xorb_hash};
use xet_core_structures::xorb_object::{
    CompressionScheme, XORB_CHUNK_HEADER_LENGTH, XorbObject, XorbObjectInfoV1, parse_chunk_header,
};

/// Unpacked bytes of a xorb.
const MAX_UNPACKED_BYTES: u32 = 64 << 20;
/// Chunks of a xorb.
const MAX_CHUNKS: usize = 8192;
/// Bytes of a serialized xorb, without footer. The official client fills xorbs by their unpacked bytes, so that those of
/// incompressible data exceed 64 MiB by their chunk headers (seen with hf_xet 1.8.0).
const MAX_SERIALIZED_BYTES: u64 =
    MAX_UNPACKED_BYTES as u64 + (MAX_CHUNKS * XORB_CHUNK_HEADER_LENGTH) as u64;

/// Why a xorb was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum XorbRefused {
    /// What the client sent is not a valid xorb.
    #[error("{0}")]
    Invalid(String),
    /// The disk failed.
    #[error("failed to store the xorb: {0}")]
    Io(#[from] io::Error),
}

impl From<CoreError> for XorbRefused {
    fn from(error: CoreError) -> Self {
        Self::Invalid(error.to_string())
    }
}

fn invalid<T>(text: impl Into<String>) -> Result<T, XorbRefused> {
    Err(XorbRefused::Invalid(text.into()))
}

/// A xorb under way. Dropping it removes the temporary file.
pub(crate) struct XorbReceiver {
    file: Option<BufWriter<File>>,
    path: PathBuf,
    /// Start of a chunk whose rest has not arrived yet.
    partial: Vec<u8>,
    info: XorbObjectInfoV1,
    received: u64,
    crc64: Digest,
}

impl XorbReceiver {
    pub(super) fn create(path: PathBuf) -> io::Result<Self> {
        let file = File::create_new(&path)?;
        Ok(Self {
            file: Some(BufWriter::with_capacity(64 << 10, file)),
            path,
            partial: Vec::new(),
            info: XorbObjectInfoV1::default(),
            received: 0,
            crc64: Digest::new(CrcAlgorithm::Crc64Nvme),
        })
    }

    /// Takes the next piece of the body; pieces may split chunks anywhere.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), XorbRefused> {
        self.received += piece.len() as u64;
        if self.received > MAX_SERIALIZED_BYTES {
            return invalid("xorb is larger than 64 MiB and its chunk headers");
        }
        self.crc64.update(piece);
        self.writer()?.write_all(piece)?;
        let mut rest = piece;
        while !rest.is_empty() {
            rest = if self.partial.is_empty() {
                self.take_in_place(rest)?
            } else {
                self.complete_partial(rest)?
            };
        }
        Ok(())
    }

    /// Returns the bytes received so far.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Returns the CRC64-NVME of the bytes received so far.
    pub(crate) fn crc64(&self) -> u64 {
        self.crc64.finalize()
    }

    /// Checks that the chunks make up the xorb `expected`, and completes the file.
    pub(super) fn finish(&mut self, expected: &MerkleHash) -> Result<XorbObject, XorbRefused> {
        if !self.partial.is_empty() {
            return invalid("xorb ends within a chunk");
        }
        if self.info.chunk_hashes.is_empty() {
            return invalid("xorb holds no chunk");
        }
        let mut start = 0;
        let chunks: Vec<(MerkleHash, u64)> = (self.info.chunk_hashes.iter())
            .zip(&self.info.unpacked_chunk_offsets)
            .map(|(hash, end)| (*hash, u64::from(end - std::mem::replace(&mut start, *end))))
            .collect();
        let actual = xorb_hash(&chunks);
        if actual != *expected {
            return invalid(format!(
                "xorb hash is {}, not {}",
                actual.hex(),
                expected.hex()
            ));
        }
        let mut info = std::mem::take(&mut self.info);
        info.xorb_hash = actual;
        info.num_chunks = u32::try_from(info.chunk_hashes.len())
            .map_err(|_| XorbRefused::Invalid("too many chunks".into()))?;
        info.fill_in_boundary_offsets();
        let writer = self.writer()?;
        let (object, _) = XorbObject::serialize_given_info(writer, info)?;
        writer.flush()?;
        self.file = None;
        Ok(object)
    }

    /// Moves the completed file to its place.
    pub(super) fn publish(mut self, to: &std::path::Path) -> io::Result<()> {
        std::fs::rename(&self.path, to)?;
        self.path = PathBuf::new();
        Ok(())
    }

    fn writer(&mut self) -> io::Result<&mut BufWriter<File>> {
        self.file
            .as_mut()
            .ok_or_else(|| io::Error::other("xorb is already complete"))
    }

    /// Checks the whole chunks at the start of `piece` where they lie, and keeps the rest if it is a part of a chunk.
    fn take_in_place<'a>(&mut self, piece: &'a [u8]) -> Result<&'a [u8], XorbRefused> {
        match chunk_len(piece)? {
            Some(len) if len <= piece.len() => {
                let (chunk, rest) = piece.split_at(len);
                self.take_chunk(chunk)?;
                Ok(rest)
            }
            _ => {
                self.partial.extend_from_slice(piece);
                Ok(&[])
            }
        }
    }

    fn complete_partial<'a>(&mut self, piece: &'a [u8]) -> Result<&'a [u8], XorbRefused> {
        let wanted = chunk_len(&self.partial)?.unwrap_or(XORB_CHUNK_HEADER_LENGTH);
        let missing = (wanted - self.partial.len()).min(piece.len());
        let (head, rest) = piece.split_at(missing);
        self.partial.extend_from_slice(head);
        if chunk_len(&self.partial)? == Some(self.partial.len()) {
            let chunk = std::mem::take(&mut self.partial);
            self.take_chunk(&chunk)?;
            self.partial = chunk;
            self.partial.clear();
        }
        Ok(rest)
    }

    /// Unpacks and hashes one chunk, header included.
    fn take_chunk(&mut self, chunk: &[u8]) -> Result<(), XorbRefused> {
        let (header, stored) = chunk
            .split_first_chunk::<XORB_CHUNK_HEADER_LENGTH>()
            .ok_or_else(|| XorbRefused::Invalid("chunk without header".into()))?;
        let header = parse_chunk_header(*header)?;
        let scheme = header.get_compression_scheme()?;
        if scheme == CompressionScheme::Auto {
            return invalid("chunk names no concrete compression");
        }
        let plain = scheme.decompress_from_slice(stored)?;
        if plain.is_empty() || plain.len() != header.get_uncompressed_length() as usize {
            return invalid("chunk has another length than its header says");
        }
        if self.info.chunk_hashes.len() == MAX_CHUNKS {
            return invalid("xorb holds more than 8,192 chunks");
        }
        let unpacked_before = self
            .info
            .unpacked_chunk_offsets
            .last()
            .copied()
            .unwrap_or(0);
        let stored_before = self
            .info
            .chunk_boundary_offsets
            .last()
            .copied()
            .unwrap_or(0);
        let stored_len = u32::try_from(chunk.len())
            .map_err(|_| XorbRefused::Invalid("chunk is too long".into()))?;
        let unpacked = unpacked_before + header.get_uncompressed_length();
        if unpacked > MAX_UNPACKED_BYTES {
            return invalid("xorb unpacks to more than 64 MiB");
        }
        self.info.chunk_hashes.push(compute_data_hash(&plain));
        self.info.unpacked_chunk_offsets.push(unpacked);
        self.info
            .chunk_boundary_offsets
            .push(stored_before + stored_len);
        Ok(())
    }
}

impl Drop for XorbReceiver {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // A file that cannot be removed is removed at the next start.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Returns the serialized length of the chunk that starts `bytes`, or none when its header is not complete.
fn chunk_len(bytes: &[u8]) -> Result<Option<usize>, XorbRefused> {
    let Some(header) = bytes.first_chunk::<XORB_CHUNK_HEADER_LENGTH>() else {
        return Ok(None);
    };
    let header = parse_chunk_header(*header)?;
    Ok(Some(
        XORB_CHUNK_HEADER_LENGTH + header.get_compressed_length() as usize,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use xet_core_structures::xorb_object::serialize_chunk;

    /// Serializes `count` incompressible chunks of 64 KiB, and returns them with their hash.
    fn xorb(count: usize) -> (Vec<u8>, MerkleHash) {
        let chunk: Vec<u8> = (0..65_536).map(|_| rand::random()).collect();
        let mut bytes = Vec::new();
        for _ in 0..count {
            serialize_chunk(&chunk, &mut bytes, CompressionScheme::None).unwrap();
        }
        let chunks = vec![(compute_data_hash(&chunk), chunk.len() as u64); count];
        (bytes, xorb_hash(&chunks))
    }

    fn receive(bytes: &[u8], piece: usize) -> Result<XorbReceiver, XorbRefused> {
        let dir = tempfile::tempdir().unwrap();
        let mut receiver = XorbReceiver::create(dir.path().join("xorb")).unwrap();
        for piece in bytes.chunks(piece) {
            receiver.push(piece)?;
        }
        Ok(receiver)
    }

    #[test]
    fn pieces_may_split_chunks_anywhere() {
        let (bytes, hash) = xorb(3);
        for piece in [1, 7, 8, 9, 65_543, 65_544, 65_545, 200_000] {
            let object = receive(&bytes, piece).unwrap().finish(&hash).unwrap();
            let boundaries = object.info.chunk_boundary_offsets;
            assert_eq!(boundaries, [65_544, 131_088, 196_632], "{piece}");
        }
    }

    #[test]
    fn a_full_xorb_of_incompressible_chunks_is_taken_and_a_fuller_one_is_not() {
        let (bytes, hash) = xorb(1024);
        assert!(bytes.len() > 64 << 20);
        assert!(receive(&bytes, 1 << 20).unwrap().finish(&hash).is_ok());
        let (bytes, _) = xorb(1025);
        assert!(matches!(
            receive(&bytes, 1 << 20),
            Err(XorbRefused::Invalid(_))
        ));
    }
}
