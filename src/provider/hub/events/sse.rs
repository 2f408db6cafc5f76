//! Server-sent events, as far as the feed needs them (WHATWG HTML, section 9.2): event names and data.

use std::collections::VecDeque;

use crate::storage::StorageError;

/// Most bytes of one event: a batch of 1,000 lines with long paths takes about 1.5 MiB.
const MAX_EVENT_BYTES: usize = 8 << 20;

/// A dispatched event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    /// Its name; empty for none.
    pub(super) event: String,
    /// Its lines of data.
    pub(super) data: String,
}

/// Takes bytes as they come, and gives whole messages.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    /// Whether the last byte was a carriage return: a line feed behind it belongs to the same line end.
    is_after_return: bool,
    message: Message,
    has_data: bool,
    whole: VecDeque<Message>,
}

impl Parser {
    /// Takes a part of the stream.
    ///
    /// Errors: an event is too large.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        for byte in bytes {
            match byte {
                b'\n' if self.is_after_return => {}
                b'\n' | b'\r' => self.end_line(),
                byte => self.line.push(*byte),
            }
            self.is_after_return = *byte == b'\r';
            if self.line.len() + self.message.data.len() > MAX_EVENT_BYTES {
                return Err(StorageError::Unavailable {
                    service: "hub",
                    reason: "an event of its change feed is too large".into(),
                    is_safe_to_retry: false,
                });
            }
        }
        Ok(())
    }

    /// Returns the next message that is whole.
    pub(super) fn next_message(&mut self) -> Option<Message> {
        self.whole.pop_front()
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            let message = std::mem::take(&mut self.message);
            if std::mem::take(&mut self.has_data) {
                self.whole.push_back(message);
            }
            return;
        }
        let line = String::from_utf8_lossy(&line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.message.event),
            "data" => {
                if self.has_data {
                    self.message.data.push('\n');
                }
                self.message.data.push_str(value);
                self.has_data = true;
            }
            // Comments, ids, and whatever else there may be.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(parts: &[&[u8]]) -> Vec<(String, String)> {
        let mut parser = Parser::default();
        let mut found = Vec::new();
        for part in parts {
            parser.push(part).unwrap();
            while let Some(message) = parser.next_message() {
                found.push((message.event, message.data));
            }
        }
        found
    }

    #[test]
    fn messages_come_out_whole_however_the_stream_is_cut_and_lines_end() {
        let text = "\u{feff}: hello\nevent: a\ndata: 1\ndata:2\n\n: ping\n\nid: 7\ndata: x: y\nretry: 5\n\nevent: lost\n\n";
        let expected = [("a", "1\n2"), ("", "x: y")];
        let expected = expected.map(|(event, data)| (event.to_owned(), data.to_owned()));
        for text in [
            text.to_owned(),
            text.replace('\n', "\r\n"),
            text.replace('\n', "\r"),
        ] {
            let bytes = text.as_bytes();
            assert_eq!(parsed(&[bytes]), expected);
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(parsed(&single), expected);
        }
    }

    #[test]
    fn what_is_not_whole_does_not_come_out() {
        assert_eq!(parsed(&[b"event: a\ndata: 1\n"]), []);
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut parser = Parser::default();
        let part = vec![b'x'; 1 << 20];
        let pushed: Vec<_> = (0..9).map(|_| parser.push(&part).is_ok()).collect();
        assert!(pushed[7] && !pushed[8]);
    }
}
