//! A lean FTP client: one session, passive mode, plain sockets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::client::Sample;
use crate::stand::{FTP_PASSWORD, FTP_USER};

const BUFFER_BYTES: usize = 256 << 10;

/// A logged-in session.
pub(crate) struct Session {
    control: BufReader<TcpStream>,
    host: String,
}

impl Session {
    /// Connects to `ftp://host:port` and logs in. Blocks, as everything here.
    pub(crate) fn open(endpoint: &str) -> Result<Self> {
        let address = endpoint
            .strip_prefix("ftp://")
            .context("the endpoint is plain FTP")?;
        let (host, _) = address.rsplit_once(':').context("a port")?;
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let mut session = Self {
            control: BufReader::new(stream),
            host: host.to_owned(),
        };
        session.expect("220")?;
        session.command(&format!("USER {FTP_USER}"), "331")?;
        session.command(&format!("PASS {FTP_PASSWORD}"), "230")?;
        session.command("TYPE I", "200")?;
        Ok(session)
    }

    pub(crate) fn store(&mut self, path: &str, body: &[u8]) -> Result<Sample> {
        let mut data = self.data()?;
        self.command(&format!("STOR {path}"), "150")?;
        data.write_all(body)?;
        drop(data);
        self.expect("226")?;
        Ok(Sample {
            bytes: body.len() as u64,
            first_byte: None,
        })
    }

    pub(crate) fn retrieve(&mut self, path: &str) -> Result<Sample> {
        let started = Instant::now();
        let mut data = self.data()?;
        self.command(&format!("RETR {path}"), "150")?;
        let (mut bytes, mut first_byte) = (0, None);
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let read = data.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            bytes += read as u64;
            first_byte.get_or_insert_with(|| started.elapsed());
        }
        self.expect("226")?;
        Ok(Sample { bytes, first_byte })
    }

    fn data(&mut self) -> Result<TcpStream> {
        let reply = self.command("EPSV", "229")?;
        let port = reply
            .split('|')
            .nth(3)
            .and_then(|port| port.parse::<u16>().ok())
            .with_context(|| format!("a port in {reply}"))?;
        Ok(TcpStream::connect((self.host.as_str(), port))?)
    }

    fn command(&mut self, command: &str, code: &str) -> Result<String> {
        write!(self.control.get_mut(), "{command}\r\n")?;
        self.expect(code)
    }

    fn expect(&mut self, code: &str) -> Result<String> {
        let mut line = String::new();
        self.control.read_line(&mut line)?;
        ensure!(line.starts_with(code), "{code} expected: {line}");
        Ok(line)
    }
}
