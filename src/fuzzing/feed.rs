//! A hostile input, and how it is taken apart: the last bytes steer, all before them is what the code under test gets.
//!
//! So the front of a seed is readable, and a fuzzer that appends a byte changes the steering, not the matter.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Uri};

/// An input that is being taken apart.
pub(crate) struct Feed<'a>(&'a [u8]);

impl<'a> Feed<'a> {
    /// Begins with the whole input.
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self(input)
    }

    /// Takes the last byte; 0 once there is none.
    pub(crate) fn byte(&mut self) -> u8 {
        let Some((last, rest)) = self.0.split_last() else {
            return 0;
        };
        self.0 = rest;
        *last
    }

    /// Takes eight bytes as a number.
    pub(crate) fn number(&mut self) -> u64 {
        (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    /// Returns what is left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0
    }
}

/// Cuts a text into frames as a network might: 0 leaves it whole, 1 sends byte by byte, every other seed cuts it its own way.
/// No frame is empty.
pub(crate) fn frames(text: &[u8], seed: u8) -> Vec<Bytes> {
    let mut rest = Bytes::copy_from_slice(text);
    let mut frames = Vec::new();
    let mut state = u32::from(seed);
    while !rest.is_empty() {
        let len = match seed {
            0 => rest.len(),
            1 => 1,
            _ => {
                // A linear congruential generator, after Knuth.
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                1 + (state >> 16) as usize % 48
            }
        };
        frames.push(rest.split_to(len.min(rest.len())));
    }
    frames
}

/// Reads the head of a request: `METHOD target`, then one header a line. Lines that no server would let through are skipped.
pub(crate) fn head(text: &[u8]) -> Option<Parts> {
    let mut lines = text.split(|byte| *byte == b'\n');
    let mut request = lines.next()?.splitn(2, |byte| *byte == b' ');
    let method = Method::from_bytes(request.next()?).ok()?;
    let uri = Uri::try_from(request.next()?).ok()?;
    let (mut head, ()) = http::Request::new(()).into_parts();
    (head.method, head.uri) = (method, uri);
    for line in lines {
        let mut header = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (header.next(), header.next()) else {
            continue;
        };
        let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name),
            HeaderValue::from_bytes(value.trim_ascii()),
        ) else {
            continue;
        };
        head.headers.append(name, value);
    }
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_steers_and_the_rest_stays() {
        let mut feed = Feed::new(b"text\x01\x02");
        assert_eq!((feed.byte(), feed.byte()), (2, 1));
        assert_eq!(feed.rest(), b"text");
        let mut empty = Feed::new(b"");
        assert_eq!((empty.byte(), empty.number()), (0, 0));
    }

    #[test]
    fn frames_are_the_text_however_it_is_cut() {
        let text: Vec<u8> = (0..=255).collect();
        for seed in [0, 1, 2, 255] {
            let frames = frames(&text, seed);
            assert!(frames.iter().all(|frame| !frame.is_empty()));
            assert_eq!(frames.concat(), text);
        }
        assert_eq!(frames(&text, 1).len(), 256);
    }

    #[test]
    fn a_head_has_its_headers_in_order() {
        let head = head(b"PUT /b/k?x\nHost: h\nbad line\nx-amz-meta-a: 1\nX-Amz-Meta-A:2").unwrap();
        assert_eq!((head.method.as_str(), head.uri.path()), ("PUT", "/b/k"));
        let values: Vec<_> = head.headers.get_all("x-amz-meta-a").iter().collect();
        assert_eq!(values, ["1", "2"]);
        assert_eq!(head.headers.len(), 3);
    }
}
