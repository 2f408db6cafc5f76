//! multipart/form-data as it arrives: fields whole and bounded, the file as a stream (RFC 7578, RFC 2046 §5.1).

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use memchr::memmem;

use crate::s3::fault::Fault;
use crate::s3::form::file::FileStream;
use crate::s3::form::malformed;
use crate::storage::ByteStream;

/// The longest form before its file: names, values, and their heads. AWS takes 20 KB; base64 of a long policy fits.
const MAX_FIELDS_BYTES: usize = 64 << 10;

/// The longest boundary (RFC 2046 §5.1.1).
const MAX_BOUNDARY_LEN: usize = 70;

/// The head of a part.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PartHead {
    /// The field's name as written.
    pub(super) name: String,
    /// The name of the file that was chosen, without its directories; only files have one.
    pub(super) file_name: Option<String>,
}

/// A form that is being read, part after part.
#[derive(Debug)]
pub(super) struct Parts {
    source: ByteStream,
    /// What ends a part: CRLF, two dashes, and the boundary.
    delimiter: Vec<u8>,
    buffer: BytesMut,
    /// How much the fields may still have.
    budget: usize,
}

impl Parts {
    /// Begins to read. Errors: MalformedPOSTRequest for a boundary that cannot be one.
    pub(super) fn new(source: ByteStream, boundary: &str) -> Result<Self, Fault> {
        if !(1..=MAX_BOUNDARY_LEN).contains(&boundary.len()) {
            return Err(malformed());
        }
        Ok(Self {
            source,
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            // The first delimiter has no line before it.
            buffer: BytesMut::from(&b"\r\n"[..]),
            budget: MAX_FIELDS_BYTES,
        })
    }

    /// Skips what is left of the current part, and returns the head of the next one; `None` after the last.
    ///
    /// Errors: MalformedPOSTRequest, MaxPostPreDataLengthExceeded.
    pub(super) async fn next(&mut self) -> Result<Option<PartHead>, Fault> {
        let delimiter = self.delimiter.clone();
        self.take_until(&delimiter).await?;
        let line = self.take_until(b"\r\n").await;
        let line = match line {
            Ok(line) => line,
            // The last line of a body need not end.
            Err(_) if self.buffer.starts_with(b"--") => return Ok(None),
            Err(fault) => return Err(fault),
        };
        if line.starts_with(b"--") {
            return Ok(None);
        }
        if !line.trim_ascii().is_empty() {
            return Err(malformed());
        }
        let mut head = None;
        loop {
            let line = self.take_until(b"\r\n").await?;
            if line.is_empty() {
                return head.map(Some).ok_or_else(malformed);
            }
            let line = std::str::from_utf8(&line).map_err(|_| malformed())?;
            let (name, value) = line.split_once(':').ok_or_else(malformed)?;
            if name.trim().eq_ignore_ascii_case("content-disposition") {
                head = Some(PartHead::parse(value).ok_or_else(malformed)?);
            }
        }
    }

    /// Reads the current part as a text. Errors: as [`Parts::next`], and for what is not UTF-8.
    pub(super) async fn text(&mut self) -> Result<String, Fault> {
        let delimiter = self.delimiter.clone();
        let value = self.peek_until(&delimiter).await?;
        let text = std::str::from_utf8(&self.buffer[..value]).map_err(|_| malformed())?;
        let text = text.to_owned();
        // The delimiter stays: the next head begins with it.
        self.spend(value)?;
        let _ = self.buffer.split_to(value);
        Ok(text)
    }

    /// Returns the content of the current part as it comes in. What follows it is ignored.
    pub(super) fn into_file(self) -> FileStream {
        FileStream::new(self.source, self.buffer, &self.delimiter)
    }

    /// Removes and returns everything before `mark`, and removes the mark.
    async fn take_until(&mut self, mark: &[u8]) -> Result<Bytes, Fault> {
        let at = self.peek_until(mark).await?;
        self.spend(at + mark.len())?;
        let taken = self.buffer.split_to(at).freeze();
        let _ = self.buffer.split_to(mark.len());
        Ok(taken)
    }

    /// Returns how many bytes come before `mark`. Errors: there are too many, or the body ends without it.
    async fn peek_until(&mut self, mark: &[u8]) -> Result<usize, Fault> {
        let mut searched = 0;
        loop {
            if let Some(at) = memmem::find(&self.buffer[searched..], mark) {
                return Ok(searched + at);
            }
            if self.buffer.len() > self.budget {
                return Err(too_long());
            }
            searched = self.buffer.len().saturating_sub(mark.len() - 1);
            match self.source.next().await {
                Some(frame) => self.buffer.extend_from_slice(&frame?),
                None => return Err(malformed()),
            }
        }
    }

    fn spend(&mut self, len_bytes: usize) -> Result<(), Fault> {
        self.budget = self.budget.checked_sub(len_bytes).ok_or_else(too_long)?;
        Ok(())
    }
}

impl PartHead {
    /// Parses the value of a Content-Disposition; `None` if it is not that of a form's part.
    fn parse(value: &str) -> Option<Self> {
        let (kind, mut rest) = value.split_once(';')?;
        if !kind.trim().eq_ignore_ascii_case("form-data") {
            return None;
        }
        let (mut name, mut file_name) = (None, None);
        while !rest.trim().is_empty() {
            let (parameter, after) = rest.split_once('=')?;
            let (value, after) = parameter_value(after.trim_start())?;
            match parameter.trim().to_ascii_lowercase().as_str() {
                "name" => name = Some(value),
                "filename" => file_name = Some(value),
                // `filename*` must not be sent (RFC 7578 §4.2).
                _ => {}
            }
            rest = after;
        }
        let base = |path: String| path.rsplit(['/', '\\']).next().map(str::to_owned);
        Some(Self {
            name: name?,
            file_name: file_name.and_then(base),
        })
    }
}

/// Returns a value, quoted or not, and what follows its semicolon. Browsers write a quote as `%22` (HTML, "Multipart form
/// data"), other clients as `\"`.
fn parameter_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_once(';').unwrap_or((text, ""));
        return Some((value.trim().to_owned(), rest));
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => {
                let rest = quoted[at + 1..].trim_start();
                let rest = rest.strip_prefix(';').or(rest.is_empty().then_some(""))?;
                return Some((value.replace("%22", "\""), rest));
            }
            // Only before a quote: Windows sends paths with backslashes.
            '\\' if quoted[at + 1..].starts_with('"') => value.push(letters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

fn too_long() -> Fault {
    Fault::new(
        http::StatusCode::BAD_REQUEST,
        "MaxPostPreDataLengthExceededError",
        "Your POST request fields preceding the upload file were too large.",
    )
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    fn parts(body: &str, frame_len: usize) -> Parts {
        let frames: Vec<_> = body
            .as_bytes()
            .chunks(frame_len)
            .map(|frame| Ok(Bytes::copy_from_slice(frame)))
            .collect();
        Parts::new(ByteStream::new(stream::iter(frames), None), "xYz").unwrap()
    }

    const FORM: &str = "preamble\r\n--xYz\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\na--b\r\n-\r\n\
        --xYz  \r\ncontent-type: text/plain\r\nCONTENT-DISPOSITION:form-data;name=empty\r\n\r\n\r\n\
        --xYz\r\nContent-Disposition: form-data; filename=\"C:\\dir\\n%22a;me\"; name=\"file\"\r\n\r\n\
        the\r\n--xY file\r\n--xYz--\r\nepilogue";

    #[tokio::test]
    async fn fields_and_the_file_are_read_however_they_are_split() {
        for frame_len in [1, 2, 3, 7, 1000] {
            let mut parts = parts(FORM, frame_len);
            let key = parts.next().await.unwrap().unwrap();
            assert_eq!((key.name.as_str(), key.file_name), ("key", None));
            assert_eq!(parts.text().await.unwrap(), "a--b\r\n-");
            assert_eq!(parts.next().await.unwrap().unwrap().name, "empty");
            assert_eq!(parts.text().await.unwrap(), "");
            let file = parts.next().await.unwrap().unwrap();
            assert_eq!(file.name, "file");
            assert_eq!(file.file_name.as_deref(), Some("n\"a;me"));
            let content = ByteStream::new(parts.into_file(), None);
            assert_eq!(content.collect(100).await.unwrap(), "the\r\n--xY file");
        }
    }

    #[tokio::test]
    async fn a_form_without_a_file_ends() {
        for end in ["--", "--\r\n", "-- \r\n"] {
            let body =
                format!("--xYz\r\ncontent-disposition: form-data; name=a\r\n\r\nb\r\n--xYz{end}");
            let mut parts = parts(&body, 5);
            assert_eq!(parts.next().await.unwrap().unwrap().name, "a");
            assert_eq!(parts.next().await.unwrap(), None, "{end:?}");
        }
    }

    #[tokio::test]
    async fn broken_forms_are_refused() {
        let head = "--xYz\r\ncontent-disposition: form-data; name=a\r\n";
        for body in [
            "",
            "no boundary",
            "--xYz",
            "--xYzt\r\n",
            "--xYz\r\n\r\nno head\r\n--xYz--",
            "--xYz\r\nno colon\r\n\r\n--xYz--",
            "--xYz\r\ncontent-disposition: attachment; name=a\r\n\r\n\r\n--xYz--",
            "--xYz\r\ncontent-disposition: form-data; filename=a\r\n\r\n\r\n--xYz--",
            "--xYz\r\ncontent-disposition: form-data; name=\"a\r\n\r\n\r\n--xYz--",
            head,
            &format!("{head}\r\ncut off"),
        ] {
            let mut parts = parts(body, 4);
            let fault = match parts.next().await {
                Err(fault) => fault,
                Ok(_) => parts.text().await.unwrap_err(),
            };
            assert_eq!(fault.code, "MalformedPOSTRequest", "{body:?}");
        }
        let boundary = "b".repeat(71);
        assert!(Parts::new(ByteStream::empty(), &boundary).is_err());
    }

    #[tokio::test]
    async fn fields_are_bounded() {
        let field = format!(
            "--xYz\r\ncontent-disposition: form-data; name=a\r\n\r\n{}\r\n",
            "x".repeat(MAX_FIELDS_BYTES / 2)
        );
        let mut long = parts(&format!("{field}{field}--xYz--"), 1000);
        assert!(long.next().await.is_ok() && long.text().await.is_ok());
        let second = match long.next().await {
            Ok(_) => long.text().await.unwrap_err(),
            Err(fault) => fault,
        };
        assert_eq!(second.code, "MaxPostPreDataLengthExceededError");
    }
}
