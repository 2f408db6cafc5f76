//! A lean FTP client that takes every failure for an answer.

use std::io;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::stand::{FTP_PASSWORD, FTP_USER};

/// A logged-in session.
#[derive(Debug)]
pub(crate) struct Session {
    control: BufReader<TcpStream>,
    host: String,
}

/// How an upload ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// As it should.
    Whole,
    /// With ABOR, in the middle.
    Abort,
    /// With a reset of the data connection, in the middle.
    Reset,
}

impl Session {
    /// Connects to `host:port`, and logs in.
    pub(crate) async fn open(address: &str) -> io::Result<Self> {
        let (host, _) = address.rsplit_once(':').ok_or_else(malformed)?;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut session = Self {
            control: BufReader::new(stream),
            host: host.to_owned(),
        };
        session.reply().await?;
        for (line, code) in [
            (format!("USER {FTP_USER}"), 331),
            (format!("PASS {FTP_PASSWORD}"), 230),
            ("TYPE I".to_owned(), 200),
        ] {
            if session.command(&line).await? != code {
                return Err(malformed());
            }
        }
        Ok(session)
    }

    /// Sends a command, and returns the code of the reply.
    pub(crate) async fn command(&mut self, line: &str) -> io::Result<u16> {
        self.send(line).await?;
        Ok(self.reply().await?.0)
    }

    /// Uploads bytes, and returns the code of the last reply.
    pub(crate) async fn upload(
        &mut self,
        command: &str,
        bytes: &[u8],
        ending: Ending,
    ) -> io::Result<u16> {
        let mut data = self.passive().await?;
        let begun = self.command(command).await?;
        if begun != 150 {
            return Ok(begun);
        }
        let sent = match ending {
            Ending::Whole => bytes,
            Ending::Abort | Ending::Reset => &bytes[..bytes.len() / 2],
        };
        // The server may have had enough of it; then it says why.
        let written = data.write_all(sent).await;
        match ending {
            Ending::Whole => {
                if written.is_ok() {
                    data.shutdown().await?;
                }
                Ok(self.reply().await?.0)
            }
            Ending::Abort => {
                self.send("ABOR").await?;
                let code = self.reply().await?.0;
                self.reply().await?;
                Ok(code)
            }
            Ending::Reset => {
                data.set_zero_linger()?;
                drop(data);
                Ok(self.reply().await?.0)
            }
        }
    }

    /// Downloads a file: its bytes if all have come, and the code of the last reply.
    pub(crate) async fn download(&mut self, path: &str) -> io::Result<(Option<Vec<u8>>, u16)> {
        let mut data = self.passive().await?;
        let begun = self.command(&format!("RETR {path}")).await?;
        if begun != 150 {
            return Ok((None, begun));
        }
        let mut bytes = Vec::new();
        let read = data.read_to_end(&mut bytes).await;
        let code = self.reply().await?.0;
        let is_whole = read.is_ok() && code == 226;
        Ok((is_whole.then_some(bytes), code))
    }

    async fn passive(&mut self) -> io::Result<TcpStream> {
        self.send("EPSV").await?;
        let (_, text) = self.reply().await?;
        let port = text.split('|').nth(3).and_then(|port| port.parse().ok());
        let port: u16 = port.ok_or_else(malformed)?;
        TcpStream::connect((self.host.as_str(), port)).await
    }

    async fn send(&mut self, line: &str) -> io::Result<()> {
        let line = format!("{line}\r\n");
        self.control.get_mut().write_all(line.as_bytes()).await
    }

    /// Reads a reply, and returns its code and its last line.
    async fn reply(&mut self) -> io::Result<(u16, String)> {
        loop {
            let mut line = String::new();
            if self.control.read_line(&mut line).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let is_last = line.as_bytes().get(3) == Some(&b' ');
            let code = line.get(..3).and_then(|code| code.parse().ok());
            if let (true, Some(code)) = (is_last, code) {
                return Ok((code, line));
            }
        }
    }
}

fn malformed() -> io::Error {
    io::ErrorKind::InvalidData.into()
}
