//! Byte ranges, as asked for and as resolved against an object's size.

use crate::storage::StorageError;

/// A byte range as a client asks for it. Ends are inclusive, as in RFC 9110 §14.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// `bytes=first-last`
    Exact {
        /// First byte wanted, from 0.
        first: u64,
        /// Last byte wanted, inclusive; may lie beyond the end of the object.
        last: u64,
    },
    /// `bytes=first-`
    From {
        /// First byte wanted, from 0.
        first: u64,
    },
    /// `bytes=-len`: the last `len` bytes.
    Suffix {
        /// How many bytes from the end, in bytes.
        len: u64,
    },
}

impl ByteRange {
    /// Resolves the range against an object of `size` bytes.
    ///
    /// Errors: [`StorageError::InvalidRange`] if the first byte lies at or beyond `size`, if a suffix of zero bytes is
    /// asked for, or if the object is empty.
    pub fn resolve(self, size: u64) -> Result<ResolvedRange, StorageError> {
        let unsatisfiable = Err(StorageError::InvalidRange { size });
        let (start, end) = match self {
            Self::Exact { first, last } if first <= last => {
                (first, last.saturating_add(1).min(size))
            }
            Self::Exact { .. } => return unsatisfiable,
            Self::From { first } => (first, size),
            Self::Suffix { len: 0 } => return unsatisfiable,
            Self::Suffix { len } => (size.saturating_sub(len), size),
        };
        if start >= size {
            return unsatisfiable;
        }
        Ok(ResolvedRange { start, end })
    }

    /// Resolves the range as [`ByteRange::resolve`] does, but refuses to clip it.
    ///
    /// Errors: [`StorageError::InvalidRange`] also if the last byte lies beyond an object of `size` bytes.
    pub fn resolve_within(self, size: u64) -> Result<ResolvedRange, StorageError> {
        match self {
            Self::Exact { last, .. } if last >= size => Err(StorageError::InvalidRange { size }),
            Self::Suffix { len } if len > size => Err(StorageError::InvalidRange { size }),
            Self::Exact { .. } | Self::From { .. } | Self::Suffix { .. } => self.resolve(size),
        }
    }
}

/// A non-empty span of an existing object: `start` inclusive, `end` exclusive, in bytes, `end` ≤ the object's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResolvedRange {
    /// First byte, from 0.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

impl ResolvedRange {
    /// Returns the number of bytes in the range; never zero for a range that [`ByteRange::resolve`] returned.
    pub fn len_bytes(&self) -> u64 {
        self.end - self.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_resolve_as_rfc_9110_says() {
        let resolve = |range: ByteRange, size| range.resolve(size).map(|r| (r.start, r.end)).ok();
        assert_eq!(
            resolve(ByteRange::Exact { first: 0, last: 0 }, 10),
            Some((0, 1))
        );
        assert_eq!(
            resolve(
                ByteRange::Exact {
                    first: 2,
                    last: u64::MAX
                },
                10
            ),
            Some((2, 10))
        );
        assert_eq!(
            resolve(
                ByteRange::Exact {
                    first: 10,
                    last: 11
                },
                10
            ),
            None
        );
        assert_eq!(resolve(ByteRange::Exact { first: 3, last: 2 }, 10), None);
        assert_eq!(resolve(ByteRange::From { first: 9 }, 10), Some((9, 10)));
        assert_eq!(resolve(ByteRange::From { first: 0 }, 0), None);
        assert_eq!(resolve(ByteRange::Suffix { len: 3 }, 10), Some((7, 10)));
        assert_eq!(resolve(ByteRange::Suffix { len: 30 }, 10), Some((0, 10)));
        assert_eq!(resolve(ByteRange::Suffix { len: 0 }, 10), None);
    }

    #[test]
    fn a_range_that_must_lie_within_is_not_clipped() {
        let within = |range: ByteRange| range.resolve_within(10).map(|r| (r.start, r.end)).ok();
        assert_eq!(
            within(ByteRange::Exact { first: 2, last: 9 }),
            Some((2, 10))
        );
        assert_eq!(within(ByteRange::Exact { first: 2, last: 10 }), None);
        assert_eq!(within(ByteRange::From { first: 10 }), None);
        assert_eq!(within(ByteRange::Suffix { len: 10 }), Some((0, 10)));
        assert_eq!(within(ByteRange::Suffix { len: 11 }), None);
    }
}
