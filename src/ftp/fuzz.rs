//! Properties of lines, commands, and paths.

use std::collections::VecDeque;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::executor::block_on;
use tokio::io::{AsyncRead, ReadBuf};

use crate::ftp::command::{Command, Request, verbs};
use crate::ftp::path::Place;
use crate::ftp::pathname::{quote, resolve};
use crate::ftp::wire::{Line, LineFault, LineReader, MAX_LINE_BYTES};
use crate::fuzzing::{Feed, frames};

/// A connection that delivers these frames and then ends.
struct Connection(VecDeque<Bytes>);

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if let Some(mut frame) = self.0.pop_front() {
            let taken = frame.split_to(frame.len().min(buffer.remaining()));
            buffer.put_slice(&taken);
            if !frame.is_empty() {
                self.0.push_front(frame);
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Whatever comes by a control connection, and a byte that says how it is cut.
pub(crate) fn line(input: &[u8]) {
    let mut feed = Feed::new(input);
    let seed = feed.byte();
    let wire = feed.rest();
    let whole = block_on(lines(frames(wire, 0)));
    for line in whole.iter().flatten() {
        assert!(!line.is_empty() && line.len() <= MAX_LINE_BYTES);
        assert!(!line.chars().any(char::is_control));
    }
    // An ABOR whose last byte the kernel took is one as soon as nothing follows it, which depends on how the bytes come.
    if !holds_bare_abort(wire) {
        assert_eq!(block_on(lines(frames(wire, seed))), whole);
        assert_eq!(whole, reference(wire));
    }
}

async fn lines(frames: Vec<Bytes>) -> Vec<Line> {
    let mut connection = Connection(frames.into());
    let mut reader = LineReader::new();
    let mut lines = Vec::new();
    while let Some(line) = reader.next(&mut connection).await.expect("it cannot fail") {
        lines.push(line);
    }
    lines
}

fn holds_bare_abort(wire: &[u8]) -> bool {
    wire.windows(5)
        .any(|window| window.eq_ignore_ascii_case(b"ABOR\r"))
}

/// Cuts lines as one would by hand: telnet's signs in front of a line go, then come bounds, UTF-8, and printability.
fn reference(mut wire: &[u8]) -> Vec<Line> {
    let mut lines = Vec::new();
    loop {
        while let [255, sign, rest @ ..] = wire {
            wire = match (sign, rest) {
                (251..=254, [_, rest @ ..]) => rest,
                (251..=254, []) => return lines,
                (240..=250, rest) => rest,
                // No sign: what follows the 255 is text.
                _ => {
                    wire = &wire[1..];
                    break;
                }
            };
        }
        let Some(end) = wire.iter().position(|byte| *byte == b'\n') else {
            return lines;
        };
        let line = wire[..end].strip_suffix(b"\r").unwrap_or(&wire[..end]);
        wire = &wire[end + 1..];
        match std::str::from_utf8(line) {
            _ if line.len() > MAX_LINE_BYTES => lines.push(Err(LineFault::TooLong)),
            Ok("") => {}
            Err(_) => lines.push(Err(LineFault::NotUtf8)),
            Ok(line) if line.chars().any(char::is_control) => lines.push(Err(LineFault::Control)),
            Ok(line) => lines.push(Ok(line.to_owned())),
        }
    }
}

/// A working directory, LF, and a command.
pub(crate) fn command(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let (directory, line) = text.split_once('\n').unwrap_or(("/", text));
    if text.replacen('\n', "", 1).chars().any(char::is_control) {
        return;
    }
    let request = Request::read(Ok(line));
    assert!(verbs().any(|verb| verb == request.verb));
    match request.command {
        Ok(command) => paths(&command, &resolve("/", directory)),
        Err(reply) => {
            assert!((500..=599).contains(&reply.code));
            let sent = reply.to_string();
            let prefix = format!("{} ", reply.code);
            assert!(sent.starts_with(&prefix) && sent.ends_with("\r\n"));
            assert!(
                !sent[..sent.len() - 2].chars().any(char::is_control),
                "{sent:?}"
            );
        }
    }
}

fn paths(command: &Command, directory: &str) {
    let (Command::Retr(path)
    | Command::Stor(path)
    | Command::Appe(path)
    | Command::Cwd(path)
    | Command::Mkd(path)
    | Command::Rmd(path)
    | Command::Dele(path)
    | Command::Rnfr(path)
    | Command::Rnto(path)
    | Command::Size(path)
    | Command::Mdtm(path)
    | Command::Mfmt(_, path)
    | Command::List(Some(path))
    | Command::Nlst(Some(path))
    | Command::Mlsd(Some(path))
    | Command::Mlst(Some(path))
    | Command::Stat(Some(path))) = command
    else {
        return;
    };
    let resolved = resolve(directory, path);
    let is_odd = |name: &str| matches!(name, "" | "." | "..");
    let names = resolved.strip_prefix('/').expect("paths are absolute");
    assert!(
        names.is_empty() || !names.split('/').any(is_odd),
        "{resolved}"
    );
    assert_eq!(resolve("/anywhere", &resolved), resolved);
    let quoted = quote(&resolved);
    assert_eq!(quoted[1..quoted.len() - 1].replace("\"\"", "\""), resolved);
    for root in ["", "bucket", "bucket/its own"] {
        let Ok(place) = Place::of(root, Path::new(&resolved)) else {
            continue;
        };
        let shown = match &place {
            Place::Buckets => String::new(),
            Place::Bucket(bucket) => bucket.to_string(),
            Place::Entry(entry) => {
                let prefix = entry.directory().prefix;
                format!("{}/{}", entry.bucket, prefix.trim_end_matches('/'))
            }
        };
        let below = shown.strip_prefix(root);
        let is_below =
            below.is_some_and(|rest| rest.is_empty() || root.is_empty() || rest.starts_with('/'));
        assert!(is_below, "{shown} is not below {root}");
        if let Place::Entry(entry) = &place
            && let Ok(key) = entry.key()
        {
            assert!(!key.as_str().split('/').any(is_odd));
        }
    }
}
