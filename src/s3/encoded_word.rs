//! Texts beyond ASCII in headers: RFC 2047's encoded words, as S3 takes and gives user metadata.
//!
//! A value that holds encoded words is kept as the text that they stand for, and a text beyond ASCII is given back in
//! them. Source: AWS, "Working with object metadata".

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use percent_encoding::percent_decode;

/// The longest encoded word in characters, by RFC 2047 §2.
const MAX_WORD: usize = 75;

const OPEN: &str = "=?UTF-8?B?";
const CLOSE: &str = "?=";

/// Bytes of text that fit into one word: base64 makes four characters of three.
const MAX_BYTES: usize = (MAX_WORD - OPEN.len() - CLOSE.len()) / 4 * 3;

/// Returns the text in a form that every header can have. A text in ASCII stays as it is.
pub(super) fn encode(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (word, behind) = rest.split_at(rest.floor_char_boundary(MAX_BYTES));
        words.push(format!("{OPEN}{}{CLOSE}", BASE64.encode(word)));
        rest = behind;
    }
    Cow::Owned(words.join(" "))
}

/// Returns the text that a header's value stands for. What is no encoded word that we can read stays as it is.
pub(super) fn decode(value: &str) -> Cow<'_, str> {
    if !value.contains("=?") {
        return Cow::Borrowed(value);
    }
    let mut text = String::with_capacity(value.len());
    let mut is_behind_word = false;
    for (position, word) in value.split(' ').enumerate() {
        let decoded = decode_word(word);
        // The blank between two encoded words belongs to neither: RFC 2047 §6.2.
        if position > 0 && !(is_behind_word && decoded.is_some()) {
            text.push(' ');
        }
        is_behind_word = decoded.is_some();
        text.push_str(decoded.as_deref().unwrap_or(word));
    }
    Cow::Owned(text)
}

/// Reads `=?charset?encoding?text?=`.
fn decode_word(word: &str) -> Option<String> {
    let inner = word.strip_prefix("=?")?.strip_suffix(CLOSE)?;
    let mut fields = inner.split('?');
    let (charset, encoding, encoded) = (fields.next()?, fields.next()?, fields.next()?);
    if fields.next().is_some() {
        return None;
    }
    let bytes = match encoding {
        "B" | "b" => BASE64.decode(encoded).ok()?,
        // `=C3` is what a URL writes as `%C3`, and an underscore is a blank.
        "Q" | "q" if !encoded.contains('%') => {
            let url = encoded.replace('_', " ").replace('=', "%");
            percent_decode(url.as_bytes()).collect()
        }
        _ => return None,
    };
    // A language may follow the charset: RFC 2231 §5.
    let charset = charset.split('*').next()?;
    match charset.to_ascii_lowercase().as_str() {
        "utf-8" | "us-ascii" => String::from_utf8(bytes).ok(),
        "iso-8859-1" => Some(bytes.into_iter().map(char::from).collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ascii_stays_as_it_is() {
        for text in ["", "a b", "1=2?", "="] {
            assert_eq!((encode(text).as_ref(), decode(text).as_ref()), (text, text));
        }
    }

    /// Computed with Python's `email.header.Header("Grüße", "utf-8").encode()`.
    #[test]
    fn other_texts_become_words_of_base64() {
        assert_eq!(encode("Grüße"), "=?UTF-8?B?R3LDvMOfZQ==?=");
        let long = "日本語".repeat(20);
        let encoded = encode(&long);
        let words: Vec<_> = encoded.split(' ').collect();
        assert!(words.len() > 1 && words.iter().all(|word| word.len() <= MAX_WORD));
        assert_eq!(decode(&encoded), long);
    }

    /// The first two are examples of RFC 2047 §8.
    #[test]
    fn words_are_read_in_both_encodings() {
        for (value, text) in [
            (
                "=?ISO-8859-1?Q?Patrik_F=E4ltstr=F6m?= <paf@nada.kth.se>",
                "Patrik Fältström <paf@nada.kth.se>",
            ),
            ("(=?ISO-8859-1?Q?a?= b)", "(=?ISO-8859-1?Q?a?= b)"),
            ("=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
            ("=?utf-8*de?B?w7w=?= =?utf-8?B?w58=?=", "üß"),
            ("a =?utf-8?B?w7w=?= b", "a ü b"),
            ("=?utf-8?B?YWJj?=", "abc"),
        ] {
            assert_eq!(decode(value), text, "{value}");
        }
    }

    #[test]
    fn what_is_no_word_stays_as_it_is() {
        for value in [
            "=?utf-8?B?w7w=",
            "=?utf-8?B?*?=",
            "=?utf-8?B?/w==?=",
            "=?utf-8?X?a?=",
            "=?koi8-r?B?w7w=?=",
            "=?utf-8?Q?a%41?=",
            "=?utf-8?Q?a?b?=",
            "=??=",
        ] {
            assert_eq!(decode(value), value);
        }
    }
}
