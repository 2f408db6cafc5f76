//! Lines of the control connection: bounded, without telnet's signs, checked before anybody reads them.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The longest line, in bytes without its end: the longest path, quoted, and room for the rest.
pub(super) const MAX_LINE_BYTES: usize = 4096;

/// How much is read at once, in bytes: commands are short, and idle sessions are many.
const CHUNK_BYTES: usize = 512;

/// Why a line cannot be a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineFault {
    /// It is longer than [`MAX_LINE_BYTES`].
    TooLong,
    /// It is not UTF-8.
    NotUtf8,
    /// It holds a control character: in a path it could forge lines of replies and listings.
    Control,
}

/// A line, or why it is none.
pub(super) type Line = Result<String, LineFault>;

/// Cuts bytes into lines.
///
/// # Behaviour
/// - A line ends with LF; a CR before it belongs to the end.
/// - Telnet commands (RFC 854) are left out in front of a line, where clients send them to announce an ABOR. Within a line, their
///   bytes are no UTF-8 and make it no command: a name is never altered without a word.
/// - A line that is too long costs no more memory than the longest one, is told once, and ends where any line does.
/// - Empty lines are none.
#[derive(Debug, Default)]
pub(super) struct LineDecoder {
    line: Vec<u8>,
    is_too_long: bool,
    telnet: Telnet,
}

/// What came right before, as far as telnet goes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Telnet {
    #[default]
    Text,
    /// IAC.
    Command,
    /// IAC and one of WILL, WONT, DO, and DONT, which an option follows.
    Option,
}

const IAC: u8 = 255;

impl LineDecoder {
    /// Takes one byte; returns the line that it completes.
    pub(super) fn push(&mut self, byte: u8) -> Option<Line> {
        match self.telnet {
            Telnet::Text if byte == IAC && self.line.is_empty() => self.telnet = Telnet::Command,
            Telnet::Text => return self.push_text(byte),
            Telnet::Option => self.telnet = Telnet::Text,
            Telnet::Command => {
                self.telnet = Telnet::Text;
                match byte {
                    251..=254 => self.telnet = Telnet::Option,
                    240..=250 => {}
                    // Twice IAC is a byte 255, which is no UTF-8; anything else is no command: the byte that told which
                    // one was urgent, and the kernel took it out of the stream.
                    _ => return self.push_text(byte),
                }
            }
        }
        None
    }

    fn push_text(&mut self, byte: u8) -> Option<Line> {
        if byte == b'\n' {
            return self.complete();
        }
        // One more for the CR.
        if self.line.len() > MAX_LINE_BYTES {
            self.is_too_long = true;
        } else {
            self.line.push(byte);
        }
        None
    }

    /// Reports whether an ABOR stands here whose last byte is missing: clients send it as urgent data, and the kernel takes
    /// such a byte out of the stream. If it comes after all, it makes an empty line.
    pub(super) fn is_urgent_abort(&self) -> bool {
        self.line.eq_ignore_ascii_case(b"ABOR\r")
    }

    /// Completes the line that stands here.
    pub(super) fn complete(&mut self) -> Option<Line> {
        let mut line = std::mem::take(&mut self.line);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if std::mem::take(&mut self.is_too_long) || line.len() > MAX_LINE_BYTES {
            return Some(Err(LineFault::TooLong));
        }
        if line.is_empty() {
            return None;
        }
        let Ok(line) = String::from_utf8(line) else {
            return Some(Err(LineFault::NotUtf8));
        };
        if line.chars().any(char::is_control) {
            return Some(Err(LineFault::Control));
        }
        Some(Ok(line))
    }
}

/// Reads lines from a connection.
#[derive(Debug)]
pub(super) struct LineReader {
    decoder: LineDecoder,
    chunk: Box<[u8; CHUNK_BYTES]>,
    /// What of the chunk is not decoded yet.
    unread: std::ops::Range<usize>,
}

impl LineReader {
    /// Creates a reader that has read nothing.
    pub(super) fn new() -> Self {
        Self {
            decoder: LineDecoder::default(),
            chunk: Box::new([0; CHUNK_BYTES]),
            unread: 0..0,
        }
    }

    /// Returns the next line, or nothing at the end of the connection. A line without an end is none.
    ///
    /// Nothing is lost if the future is dropped: what was read stays in here.
    ///
    /// Errors: whatever reading ends with.
    pub(super) async fn next(
        &mut self,
        connection: &mut (impl AsyncRead + Unpin),
    ) -> io::Result<Option<Line>> {
        loop {
            for at in self.unread.by_ref() {
                if let Some(line) = self.decoder.push(self.chunk[at]) {
                    return Ok(Some(line));
                }
            }
            if self.decoder.is_urgent_abort()
                && let Some(line) = self.decoder.complete()
            {
                return Ok(Some(line));
            }
            let len_bytes = connection.read(&mut self.chunk[..]).await?;
            if len_bytes == 0 {
                return Ok(None);
            }
            self.unread = 0..len_bytes;
        }
    }

    /// Reports whether nothing was read beyond the last line.
    pub(super) fn is_empty(&self) -> bool {
        self.unread.is_empty() && self.decoder.line.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(bytes: &[u8]) -> Vec<Line> {
        let mut decoder = LineDecoder::default();
        bytes
            .iter()
            .filter_map(|byte| decoder.push(*byte))
            .collect()
    }

    fn ok(line: &str) -> Line {
        Ok(line.to_owned())
    }

    #[test]
    fn lines_end_with_lf_with_or_without_cr() {
        assert_eq!(
            lines(b"NOOP\r\nPWD\nSYST \r\nhalf"),
            [ok("NOOP"), ok("PWD"), ok("SYST ")]
        );
        assert_eq!(lines(b"\r\n\n\r\n"), []);
    }

    #[test]
    fn telnet_commands_are_left_out() {
        for bytes in [
            &b"\xff\xf4\xff\xf2ABOR\r\n"[..],
            b"\xff\xfb\x06ABOR\r\n",
            // The urgent byte of Synch is gone.
            b"\xff\xf4\xffABOR\r\n",
        ] {
            assert_eq!(lines(bytes), [ok("ABOR")], "{bytes:?}");
        }
        for bytes in [
            &b"CWD \xff\xff\r\n"[..],
            b"CWD a\xff\xf4b\r\n",
            b"\xff\xffCWD a\r\n",
        ] {
            assert_eq!(lines(bytes), [Err(LineFault::NotUtf8)], "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_clean_utf_8_is_no_command_and_harms_no_other_line() {
        for (bytes, fault) in [
            (&b"STOR a\x00b\r\n"[..], LineFault::Control),
            (b"STOR a\rNOOP\n", LineFault::Control),
            (b"STOR a\xc2\x85\r\n", LineFault::Control),
            (b"STOR \xc3\x28\r\n", LineFault::NotUtf8),
        ] {
            let bytes = [bytes, b"NOOP\r\n"].concat();
            assert_eq!(lines(&bytes), [Err(fault), ok("NOOP")]);
        }
        assert_eq!(lines("STOR ä ü\r\n".as_bytes()), [ok("STOR ä ü")]);
    }

    #[test]
    fn ten_megabytes_without_an_end_cost_four_kibibytes_and_are_told_once() {
        let mut decoder = LineDecoder::default();
        for _ in 0..10 << 20 {
            assert_eq!(decoder.push(b'x'), None);
            assert!(decoder.line.capacity() <= 2 * MAX_LINE_BYTES);
        }
        assert_eq!(decoder.push(b'\n'), Some(Err(LineFault::TooLong)));
        assert!(b"NOOP\r".iter().all(|byte| decoder.push(*byte).is_none()));
        assert_eq!(decoder.push(b'\n'), Some(ok("NOOP")));
    }

    #[test]
    fn the_longest_line_is_one() {
        let longest = "x".repeat(MAX_LINE_BYTES);
        assert_eq!(lines(format!("{longest}\r\n").as_bytes()), [ok(&longest)]);
        assert_eq!(
            lines(format!("{longest}x\n").as_bytes()),
            [Err(LineFault::TooLong)]
        );
    }

    #[tokio::test]
    async fn an_abort_whose_end_was_urgent_does_not_wait_for_it() {
        let mut reader = LineReader::new();
        let mut bytes = &b"ABOR\r"[..];
        assert_eq!(reader.next(&mut bytes).await.unwrap(), Some(ok("ABOR")));
        let mut late = &b"\nNOOP\r\n"[..];
        assert_eq!(reader.next(&mut late).await.unwrap(), Some(ok("NOOP")));
        assert_eq!(reader.next(&mut late).await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_came_behind_a_line_is_known() {
        let mut reader = LineReader::new();
        let mut bytes = &b"AUTH TLS\r\nUSER a\r\n"[..];
        reader.next(&mut bytes).await.unwrap();
        assert!(!reader.is_empty());
        reader.next(&mut bytes).await.unwrap();
        assert!(reader.is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_give_only_clean_lines(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
            for line in lines(&bytes).into_iter().flatten() {
                prop_assert!(!line.is_empty() && line.len() <= MAX_LINE_BYTES);
                prop_assert!(!line.chars().any(char::is_control));
            }
        }

        #[test]
        fn lines_do_not_depend_on_how_the_bytes_arrive(
            texts in prop::collection::vec("[ -~äß€]{1,40}", 1..20),
            cuts in prop::collection::vec(1..64_usize, 1..40),
        ) {
            let sent = texts.iter().map(|text| format!("{text}\r\n")).collect::<String>();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let received = runtime.block_on(async {
                let mut builder = Vec::new();
                let (mut rest, mut at) = (sent.as_bytes(), 0);
                while !rest.is_empty() {
                    let (chunk, after) = rest.split_at(cuts[at % cuts.len()].min(rest.len()));
                    builder.push(chunk);
                    (rest, at) = (after, at + 1);
                }
                let mut reader = LineReader::new();
                let mut received = Vec::new();
                for chunk in builder {
                    let mut chunk = chunk;
                    while let Some(line) = reader.next(&mut chunk).await.unwrap() {
                        received.push(line.unwrap());
                    }
                }
                received
            });
            prop_assert_eq!(received, texts);
        }
    }
}
