//! Replies: three digits and a text, on one line or several (RFC 959 §4.2).

use std::fmt;

use crate::ftp::refusal::Refusal;

/// What the server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    /// The three digits.
    pub(super) code: u16,
    /// The text; never empty.
    lines: Vec<String>,
}

impl Reply {
    /// Creates a reply of one line.
    pub(super) fn new(code: u16, text: impl Into<String>) -> Self {
        Self {
            code,
            lines: vec![text.into()],
        }
    }

    /// Creates a reply whose first and last line surround others.
    pub(super) fn listing(
        code: u16,
        first: impl Into<String>,
        middle: impl IntoIterator<Item = String>,
        last: impl Into<String>,
    ) -> Self {
        let lines = std::iter::once(first.into())
            .chain(middle)
            .chain([last.into()])
            .collect();
        Self { code, lines }
    }

    /// Reports whether more is to come (1xx).
    pub(super) fn is_preliminary(&self) -> bool {
        self.code < 200
    }

    /// Reports whether it is a refusal (4xx, 5xx).
    pub(super) fn is_negative(&self) -> bool {
        self.code >= 400
    }

    /// Returns the lines of the text.
    pub(super) fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Returns the last line of the text.
    pub(super) fn text(&self) -> &str {
        self.lines.last().map_or("", String::as_str)
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.code, refusal.text)
    }
}

/// The reply as it goes over the wire, with its line ends.
///
/// Control characters are replaced, so that no text can pretend to be a further line.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code;
        let last = self.lines.len().saturating_sub(1);
        for (at, line) in self.lines.iter().enumerate() {
            let line: String = line
                .chars()
                .map(|c| if c.is_control() { '?' } else { c })
                .collect();
            match at {
                _ if at == last => write!(f, "{code} {line}\r\n")?,
                0 => write!(f, "{code}-{line}\r\n")?,
                // The blank keeps a line that begins with digits from being taken for the last one.
                _ => write!(f, " {line}\r\n")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_and_several() {
        assert_eq!(Reply::new(200, "Done.").to_string(), "200 Done.\r\n");
        let listing = Reply::listing(211, "Features:", ["SIZE".into(), "211 x".into()], "End.");
        assert_eq!(
            listing.to_string(),
            "211-Features:\r\n SIZE\r\n 211 x\r\n211 End.\r\n"
        );
    }

    #[test]
    fn a_text_forges_no_line() {
        assert_eq!(
            Reply::new(550, "no `a\r\n230 b`").to_string(),
            "550 no `a??230 b`\r\n"
        );
    }
}
