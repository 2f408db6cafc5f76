//! HTTP byte ranges, as far as the CAS and the CDN use them (RFC 9110 §14).

/// A non-empty run of bytes; the end is exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ByteSpan {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl ByteSpan {
    /// Returns the number of bytes in the span.
    pub(crate) fn len(self) -> u64 {
        self.end - self.start
    }
}

/// One range of a `Range` header, not yet compared with a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RangeHeader {
    /// `first-last`; both are inclusive.
    Closed(u64, u64),
    /// `first-`.
    From(u64),
    /// `-count`: the last bytes.
    Suffix(u64),
}

impl RangeHeader {
    /// Parses a header value, which may name several ranges. `None` means that it is malformed.
    pub(crate) fn parse_all(value: &str) -> Option<Vec<Self>> {
        let list = value.trim().strip_prefix("bytes=")?;
        list.split(',').map(|one| Self::parse(one.trim())).collect()
    }

    /// Parses a header value that must name exactly one range.
    pub(crate) fn parse_one(value: &str) -> Option<Self> {
        match Self::parse_all(value)?.as_slice() {
            [one] => Some(*one),
            _ => None,
        }
    }

    fn parse(range: &str) -> Option<Self> {
        let (first, last) = range.split_once('-')?;
        match (first, last) {
            ("", count) => Some(Self::Suffix(count.parse().ok()?)),
            (first, "") => Some(Self::From(first.parse().ok()?)),
            (first, last) => {
                let (first, last) = (first.parse().ok()?, last.parse().ok()?);
                (first <= last).then_some(Self::Closed(first, last))
            }
        }
    }

    /// Resolves the range against `size` bytes. `None` means that it cannot be satisfied.
    pub(crate) fn resolve(self, size: u64) -> Option<ByteSpan> {
        let (start, end) = match self {
            Self::Closed(first, last) => (first, last.saturating_add(1).min(size)),
            Self::From(first) => (first, size),
            Self::Suffix(count) => (size.saturating_sub(count), size),
        };
        (start < end).then_some(ByteSpan { start, end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_inclusive_on_the_wire_and_clipped_to_the_size() {
        let range = RangeHeader::parse_one("bytes=2-9").unwrap();
        assert_eq!(range.resolve(5), Some(ByteSpan { start: 2, end: 5 }));
    }

    #[test]
    fn a_range_past_the_end_is_not_satisfiable() {
        assert_eq!(RangeHeader::Closed(5, 9).resolve(5), None);
        assert_eq!(RangeHeader::From(0).resolve(0), None);
    }

    #[test]
    fn malformed_values_are_refused() {
        for value in ["2-9", "bytes=9-2", "bytes=-", "bytes=a-b", "bytes="] {
            assert_eq!(RangeHeader::parse_all(value), None, "{value}");
        }
    }

    #[test]
    fn several_ranges_keep_their_order() {
        assert_eq!(
            RangeHeader::parse_all("bytes=10-19,0-4"),
            Some(vec![RangeHeader::Closed(10, 19), RangeHeader::Closed(0, 4)])
        );
    }
}
