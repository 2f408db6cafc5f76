//! The query, and percent-decoding that refuses what it cannot decode.

use crate::s3::fault::Fault;
use crate::storage::StorageError;

/// Decoded query parameters in the order received.
#[derive(Debug, Default, Clone)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Decodes a raw query. A `+` is a space, as S3 reads it.
    ///
    /// Errors: InvalidURI for broken escapes and for what is not UTF-8.
    pub(super) fn parse(raw_query: Option<&str>) -> Result<Self, Fault> {
        let mut params = Vec::new();
        for pair in raw_query
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
        {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            params.push((decode(name, Plus::IsSpace)?, decode(value, Plus::IsSpace)?));
        }
        Ok(Self(params))
    }

    /// Returns the first value of this parameter; empty where it came without one.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(known, _)| known == name)?;
        Some(value)
    }

    /// Returns the first value of this parameter unless it is empty.
    pub(super) fn non_empty(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Returns all parameters in the order received.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Reads a count.
    ///
    /// Errors: InvalidArgument for anything but a whole number from 0.
    pub(super) fn count(&self, name: &'static str) -> Result<Option<u32>, Fault> {
        let Some(text) = self.non_empty(name) else {
            return Ok(None);
        };
        match text.parse::<i64>() {
            Ok(number) if number >= 0 => Ok(Some(u32::try_from(number).unwrap_or(u32::MAX))),
            _ => Err(Fault::invalid_argument(
                name,
                format!("Provided {name} not an integer or within integer range"),
            )),
        }
    }
}

/// What a `+` means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Plus {
    /// In a query.
    IsSpace,
    /// In a path.
    IsPlus,
}

/// Decodes percent escapes once, without normalising anything.
///
/// Errors: InvalidURI for broken escapes and for what is not UTF-8.
pub(super) fn decode(raw: &str, plus: Plus) -> Result<String, Fault> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digit = |digit: Option<u8>| {
                    digit
                        .and_then(|digit| char::from(digit).to_digit(16))
                        .and_then(|digit| u8::try_from(digit).ok())
                        .ok_or(StorageError::InvalidUri)
                };
                decoded.push(digit(bytes.next())? << 4 | digit(bytes.next())?);
            }
            b'+' if plus == Plus::IsSpace => decoded.push(b' '),
            other => decoded.push(other),
        }
    }
    String::from_utf8(decoded).map_err(|_| StorageError::InvalidUri.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded_once() {
        let params = Params::parse(Some("prefix=a%2Bb+c%2520&acl&uploadId=&&x==y")).unwrap();
        assert_eq!(params.get("prefix"), Some("a+b c%20"));
        assert_eq!(params.get("acl"), Some(""));
        assert_eq!(params.non_empty("uploadId"), None);
        assert_eq!(params.get("x"), Some("=y"));
        assert_eq!(params.get("y"), None);
    }

    #[test]
    fn broken_escapes_are_refused() {
        for raw in ["%", "%2", "%zz", "%ff", "a%c3"] {
            assert_eq!(
                decode(raw, Plus::IsPlus).unwrap_err().code,
                "InvalidURI",
                "{raw}"
            );
        }
        assert_eq!(decode("a+%C3%BC%2f", Plus::IsPlus).unwrap(), "a+ü/");
    }

    #[test]
    fn counts_are_whole_numbers() {
        let count = |raw| {
            Params::parse(Some(raw))
                .unwrap()
                .count("max-keys")
                .map_err(|fault| fault.code)
        };
        assert_eq!(count("max-keys=7"), Ok(Some(7)));
        assert_eq!(count("max-keys="), Ok(None));
        assert_eq!(count("max-keys=99999999999"), Ok(Some(u32::MAX)));
        assert_eq!(count("max-keys=-1"), Err("InvalidArgument"));
        assert_eq!(count("max-keys=x"), Err("InvalidArgument"));
    }
}
