//! The trailers after the last chunk.

use crate::sigv4::chunked::decoder::ChunkError;

const SIGNATURE: &str = "x-amz-trailer-signature";

/// A trailer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Trailer {
    /// Lower-case.
    pub name: String,
    /// Without blanks around it.
    pub value: String,
}

/// The trailers of a body, with their signature.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TrailerBlock {
    /// Sorted by name, without duplicates.
    pub(super) trailers: Vec<Trailer>,
    /// As sent.
    pub(super) signature: Option<String>,
}

impl TrailerBlock {
    /// Parses everything after the last chunk's header. Empty lines are ignored wherever they are.
    pub(super) fn parse(block: &[u8]) -> Result<Self, ChunkError> {
        let text =
            std::str::from_utf8(block).map_err(|_| ChunkError::Trailer("it is not utf-8"))?;
        let mut trailers = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(|line| {
                let (name, value) = line
                    .split_once(':')
                    .ok_or(ChunkError::Trailer("a line has no colon"))?;
                Ok(Trailer {
                    name: name.trim_end().to_ascii_lowercase(),
                    value: value.trim_start().to_owned(),
                })
            })
            .collect::<Result<Vec<_>, ChunkError>>()?;
        trailers.sort_unstable();
        if trailers.windows(2).any(|pair| pair[0].name == pair[1].name) {
            return Err(ChunkError::Trailer("a name comes twice"));
        }
        let signed = trailers
            .iter()
            .position(|trailer| trailer.name == SIGNATURE);
        let signature = signed.map(|index| trailers.remove(index).value);
        Ok(Self {
            trailers,
            signature,
        })
    }

    /// Returns what the signature covers: `name:value` lines, each with an LF, not a CRLF.
    pub(super) fn signed_lines(&self) -> String {
        let lines = self
            .trailers
            .iter()
            .map(|trailer| format!("{}:{}\n", trailer.name, trailer.value));
        lines.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_every_client_read_alike() {
        for block in [
            "x-amz-checksum-crc32:AAAAAA==\r\nx-amz-trailer-signature:ff\r\n\r\n",
            "X-Amz-Checksum-CRC32 : AAAAAA== \r\nx-amz-trailer-signature: ff",
            // minio-go: LF after the checksum, then an empty line.
            "x-amz-checksum-crc32:AAAAAA==\n\r\nx-amz-trailer-signature:ff\r\n\r\n",
        ] {
            let parsed = TrailerBlock::parse(block.as_bytes()).unwrap();
            assert_eq!(
                parsed.signed_lines(),
                "x-amz-checksum-crc32:AAAAAA==\n",
                "{block:?}"
            );
            assert_eq!(parsed.signature.as_deref(), Some("ff"));
        }
    }

    #[test]
    fn signed_lines_are_sorted_and_an_empty_block_has_none() {
        let parsed = TrailerBlock::parse(b"b:2\r\na:1\r\n\r\n").unwrap();
        assert_eq!(parsed.signed_lines(), "a:1\nb:2\n");
        let empty = TrailerBlock::parse(b"\r\n").unwrap();
        assert_eq!((empty.trailers.len(), empty.signature), (0, None));
    }

    #[test]
    fn other_blocks_are_refused() {
        for block in [b"no colon\r\n".as_slice(), b"a:1\r\nA:2\r\n", b"a:\xff\r\n"] {
            assert!(
                matches!(TrailerBlock::parse(block), Err(ChunkError::Trailer(_))),
                "{block:?}"
            );
        }
    }
}
