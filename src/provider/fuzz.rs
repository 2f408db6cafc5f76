//! Properties of what clients and the Hub may say about listings and uploads.

use crate::provider::{list, multipart};

/// Whatever a client may send back of what it was given: continuation tokens, upload ids; and paths as the Hub lists them.
pub(crate) fn tokens(input: &[u8]) {
    list::fuzz::token(input);
    multipart::fuzz::names(input);
}

/// A listing over any pages.
pub(crate) fn listing(input: &[u8]) {
    list::fuzz::walk(input);
}
