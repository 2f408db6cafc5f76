//! `encoding-type=url`: keys in listings percent-encoded, since XML cannot hold every character.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::s3::fault::Fault;
use crate::s3::params::Params;

/// What is left as it is. A space is `%20` and a plus `%2B`, which every decoder reads alike.
const LEFT_ALONE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'/');

/// How a listing writes keys, prefixes, delimiters, and markers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As they are.
    Plain,
    /// Percent-encoded.
    Url,
}

impl Encoding {
    /// Errors: InvalidArgument for any encoding but `url`.
    pub(super) fn read(params: &Params) -> Result<Self, Fault> {
        match params.non_empty("encoding-type") {
            None => Ok(Self::Plain),
            Some("url") => Ok(Self::Url),
            Some(_) => Err(Fault::invalid_argument(
                "encoding-type",
                "Invalid Encoding Method specified in Request",
            )),
        }
    }

    /// Returns what the `EncodingType` element says; `None` for no element.
    pub(super) fn name(self) -> Option<&'static str> {
        (self == Self::Url).then_some("url")
    }

    /// Returns the text as the listing writes it.
    pub(super) fn apply(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Plain => text.into(),
            Self::Url => utf8_percent_encode(text, LEFT_ALONE).into(),
        }
    }
}
