//! Downloads over a plain socket into one buffer that is used again and again: the load generator shares its cores with what
//! it measures, so it must not cost more than receiving does.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::client::Sample;

const BUFFER_BYTES: usize = 256 << 10;
const MAX_HEAD_BYTES: usize = 16 << 10;

/// Connections that are kept open, each with its buffer.
#[derive(Default)]
pub(crate) struct Downloads(Mutex<Vec<(TcpStream, Vec<u8>)>>);

impl Downloads {
    /// Sends a request without a body and reads the whole answer. Blocks.
    pub(crate) fn fetch(&self, host: &str, request: &str) -> Result<Sample> {
        let kept = self.0.lock().expect("no holder panics").pop();
        let (mut stream, mut buffer) = match kept {
            Some(kept) => kept,
            None => {
                let stream = TcpStream::connect(host)?;
                stream.set_nodelay(true)?;
                (stream, vec![0; BUFFER_BYTES])
            }
        };
        let started = Instant::now();
        stream.write_all(request.as_bytes())?;
        let (head_bytes, read) = read_head(&mut stream, &mut buffer)?;
        let expected = body_bytes(&buffer[..head_bytes])?;
        let mut bytes = (read - head_bytes) as u64;
        let mut first_byte = (bytes > 0).then(|| started.elapsed());
        while bytes < expected {
            let read = stream.read(&mut buffer)?;
            ensure!(read > 0, "{bytes} bytes of {expected}");
            bytes += read as u64;
            first_byte.get_or_insert_with(|| started.elapsed());
        }
        ensure!(bytes == expected, "{bytes} bytes of {expected}");
        let mut kept = self.0.lock().expect("no holder panics");
        kept.push((stream, buffer));
        Ok(Sample { bytes, first_byte })
    }
}

/// Reads until the head is complete. Returns its length, and that of everything that was read.
fn read_head(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<(usize, usize)> {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..])?;
        ensure!(read > 0 && filled < MAX_HEAD_BYTES, "no answer");
        filled += read;
        let end = buffer[..filled]
            .windows(4)
            .position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            return Ok((end + 4, filled));
        }
    }
}

fn body_bytes(head: &[u8]) -> Result<u64> {
    let head = std::str::from_utf8(head)?;
    ensure!(head.starts_with("HTTP/1.1 20"), "{head}");
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let (_, length) = length.context("a GET has a length")?;
    Ok(length.trim().parse()?)
}
