//! Whether, and how, a chunk is compressed.

use bytes::Bytes;
use xet_core_structures::xorb_object::byte_grouping::bg4::bg4_split;
use xet_core_structures::xorb_object::{CompressionScheme, lz4_compress_from_slice};

use crate::storage::StorageError;

/// Chunks between two probes. Most files are of one kind throughout; trying every chunk would cost incompressible ones
/// more than their hashing.
const PROBE_EVERY: u32 = 32;

/// Compressed to raw size, in percent, above which compression is not worth its reader's time.
const WORTHWHILE_PERCENT: usize = 97;

/// A chunk in the form in which a xorb holds it.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) scheme: CompressionScheme,
    /// Never longer than the chunk.
    pub(super) payload: Bytes,
}

impl Stored {
    /// Stores a chunk as it is, without a copy.
    pub(super) fn raw(chunk: Bytes) -> Self {
        Self {
            scheme: CompressionScheme::None,
            payload: chunk,
        }
    }
}

/// Compresses the chunks of one stream, probing one in 32 for what suits them.
#[derive(Debug)]
pub(super) struct Compressor {
    scheme: CompressionScheme,
    until_probe: u32,
}

impl Default for Compressor {
    fn default() -> Self {
        Self {
            scheme: CompressionScheme::None,
            until_probe: 0,
        }
    }
}

impl Compressor {
    /// Returns the chunk as it is to be stored.
    ///
    /// Errors: [`StorageError::Internal`] if the compressor fails.
    pub(super) fn store(&mut self, chunk: &Bytes) -> Result<Stored, StorageError> {
        if self.until_probe == 0 {
            return self.probe(chunk);
        }
        self.until_probe -= 1;
        compressed(self.scheme, chunk)
    }

    fn probe(&mut self, chunk: &Bytes) -> Result<Stored, StorageError> {
        self.until_probe = PROBE_EVERY - 1;
        let candidate = CompressionScheme::choose_from_data(chunk);
        let stored = compressed(candidate, chunk)?;
        if stored.payload.len() * 100 > chunk.len() * WORTHWHILE_PERCENT {
            self.scheme = CompressionScheme::None;
            return Ok(Stored::raw(chunk.clone()));
        }
        self.scheme = candidate;
        Ok(stored)
    }
}

fn compressed(scheme: CompressionScheme, chunk: &Bytes) -> Result<Stored, StorageError> {
    let payload = match scheme {
        CompressionScheme::None | CompressionScheme::Auto => return Ok(Stored::raw(chunk.clone())),
        CompressionScheme::LZ4 => lz4_compress_from_slice(chunk),
        // The library's own function for both steps keeps statistics in a `static mut`, which is a race with two streams.
        CompressionScheme::ByteGrouping4LZ4 => lz4_compress_from_slice(&bg4_split(chunk)),
    }
    .map_err(|error| StorageError::internal(format!("compression: {error}")))?;
    if payload.len() >= chunk.len() {
        return Ok(Stored::raw(chunk.clone()));
    }
    Ok(Stored {
        scheme,
        // Exactly as long as needed: the encoder's buffer may be twice that, and nobody would account for the rest.
        payload: Bytes::copy_from_slice(&payload),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize) -> Bytes {
        (0..len).map(|_| rand::random::<u8>()).collect()
    }

    /// Floats that vary little: their high bytes compress once they are grouped.
    fn floats() -> Bytes {
        (0..16_384_u16)
            .flat_map(|n| (1.0 + f32::from(n) * 1e-3 + rand::random::<f32>()).to_le_bytes())
            .collect()
    }

    fn decompressed(stored: &Stored) -> Bytes {
        let data = stored
            .scheme
            .decompress_from_slice(&stored.payload)
            .unwrap();
        Bytes::copy_from_slice(&data)
    }

    #[test]
    fn every_kind_of_data_comes_back() {
        for chunk in [
            Bytes::from(vec![b'a'; 65_536]),
            noise(65_536),
            floats(),
            Bytes::from("x"),
        ] {
            let stored = Compressor::default().store(&chunk).unwrap();
            assert_eq!(decompressed(&stored), chunk);
            assert!(stored.payload.len() <= chunk.len());
        }
    }

    #[test]
    fn text_is_compressed_and_noise_is_not() {
        let text = Compressor::default()
            .store(&Bytes::from(vec![b'a'; 65_536]))
            .unwrap();
        assert!(text.payload.len() < 2000);
        let raw = Compressor::default().store(&noise(65_536)).unwrap();
        assert_eq!(raw.scheme, CompressionScheme::None);
    }

    #[test]
    fn one_chunk_in_thirty_two_decides_for_the_others() {
        let mut compressor = Compressor::default();
        let text = Bytes::from(vec![b'a'; 8192]);
        compressor.store(&noise(8192)).unwrap();
        for _ in 1..PROBE_EVERY {
            let stored = compressor.store(&text).unwrap();
            assert_eq!(stored.scheme, CompressionScheme::None);
        }
        assert_ne!(
            compressor.store(&text).unwrap().scheme,
            CompressionScheme::None
        );
        // A chunk that does not compress stays raw, whatever its neighbours do.
        assert_eq!(
            compressor.store(&noise(8192)).unwrap().scheme,
            CompressionScheme::None
        );
    }
}
