//! One chunk header: a size, and perhaps a signature.

/// The header of a chunk.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ChunkHeader<'a> {
    /// Length of the chunk's content in bytes; zero in the last chunk.
    pub(super) len_bytes: u64,
    /// As sent.
    pub(super) signature: Option<&'a str>,
}

impl<'a> ChunkHeader<'a> {
    /// Parses a line without its line end; `None` if it is no chunk header.
    ///
    /// Blanks are allowed around every sign, digits are of either case, and unknown extensions are ignored.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?;
        let mut fields = line.split(';').map(str::trim);
        let size = fields.next()?;
        // The parser of integers would accept a sign.
        let is_hex = !size.is_empty() && size.bytes().all(|digit| digit.is_ascii_hexdigit());
        let len_bytes = is_hex
            .then(|| u64::from_str_radix(size, 16).ok())
            .flatten()?;
        let signature = fields
            .filter_map(|extension| extension.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("chunk-signature"))
            .map(|(_, value)| value.trim());
        Some(Self {
            len_bytes,
            signature,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_with_the_liberties_that_clients_take() {
        let cases = [
            ("400", 1024, None),
            ("0", 0, None),
            ("0000FFff", 65_535, None),
            (" a ; chunk-signature = ad80 ", 10, Some("ad80")),
            ("1;Chunk-Signature=ff;x=y", 1, Some("ff")),
            ("1;x;chunk-signature=ff", 1, Some("ff")),
            ("1;other=2", 1, None),
        ];
        for (line, len_bytes, signature) in cases {
            let expected = Some(ChunkHeader {
                len_bytes,
                signature,
            });
            assert_eq!(ChunkHeader::parse(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn other_lines_are_no_headers() {
        for line in [
            "",
            ";",
            "+1",
            "-1",
            "0x10",
            "g",
            "1 2",
            "10000000000000000",
            "\u{e4}",
        ] {
            assert_eq!(ChunkHeader::parse(line.as_bytes()), None, "{line}");
        }
        assert_eq!(ChunkHeader::parse(b"\xff"), None);
    }
}
