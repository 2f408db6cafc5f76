//! What one caller may take.

/// What a credential may take at most, of what all share. By default, whatever there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    /// Requests in flight, bodies included.
    pub max_requests: Option<usize>,
    /// Bytes a second that all its downloads together may take.
    pub download_rate: Option<u64>,
    /// Bytes a second that all its uploads together may bring.
    pub upload_rate: Option<u64>,
}
