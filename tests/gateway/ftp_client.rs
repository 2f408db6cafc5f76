//! An FTP client that does what it is told, in any order, and leaves as rudely as it likes.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::stand::{Gateway, Stand};

/// The settings of a gateway that serves FTP, and its user.
pub(crate) const USER: &str = "ann";
pub(crate) const PASSWORD: &str = "correct horse";
pub(crate) const FTP: [(&str, &str); 3] = [
    ("HUGBUCKET_FTP_ADDR", "127.0.0.1:0"),
    ("FTP_USERNAME", USER),
    ("FTP_PASSWORD", PASSWORD),
];

/// Starts a stand whose gateway serves FTP.
pub(crate) async fn ftp_stand(more: &[(&str, &str)]) -> Stand {
    Stand::start_with(&[&FTP, more].concat()).await
}

/// Starts a further gateway, which serves FTP; the one of the stand stays to look with.
pub(crate) async fn ftp_gateway(stand: &Stand, more: &[(&str, &str)]) -> Gateway {
    stand.another_gateway(&[&FTP, more].concat()).await
}

/// A connection of any kind.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<I: AsyncRead + AsyncWrite + Unpin + Send> Io for I {}

/// A reply: its code, and its whole text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    pub(crate) text: String,
}

/// A control connection.
pub(crate) struct Ftp {
    control: BufReader<Box<dyn Io>>,
}

impl Ftp {
    /// Connects, and reads the greeting.
    pub(crate) async fn connect(gateway: &Gateway) -> Self {
        let address = gateway.ftp.as_deref().unwrap();
        let mut ftp = Self::over(TcpStream::connect(address).await.unwrap());
        assert_eq!(ftp.reply().await.code, 220);
        ftp
    }

    /// Takes a connection that the server did not greet yet.
    pub(crate) fn over(control: impl Io + 'static) -> Self {
        let control: Box<dyn Io> = Box::new(control);
        Self {
            control: BufReader::new(control),
        }
    }

    /// Connects and logs in.
    pub(crate) async fn login(gateway: &Gateway) -> Self {
        let mut ftp = Self::connect(gateway).await;
        ftp.log_in().await;
        ftp
    }

    /// Logs in.
    pub(crate) async fn log_in(&mut self) {
        assert_eq!(self.command(&format!("USER {USER}")).await.code, 331);
        assert_eq!(self.command(&format!("PASS {PASSWORD}")).await.code, 230);
    }

    /// Connects, encrypts, logs in, and has data encrypted as well.
    pub(crate) async fn login_encrypted(gateway: &Gateway, tls: &Arc<ClientConfig>) -> Self {
        let mut ftp = Self::connect(gateway).await.encrypt(tls).await;
        ftp.log_in().await;
        for command in ["PBSZ 0", "PROT P"] {
            assert_eq!(ftp.command(command).await.code, 200);
        }
        ftp
    }

    /// Sends AUTH TLS, and completes the handshake.
    pub(crate) async fn encrypt(mut self, tls: &Arc<ClientConfig>) -> Self {
        assert_eq!(self.command("AUTH TLS").await.code, 234);
        let plain = self.control.into_inner();
        Self::over(shake_hands(plain, tls).await)
    }

    /// Returns the connection.
    pub(crate) fn into_inner(self) -> Box<dyn Io> {
        self.control.into_inner()
    }

    /// Sends bytes as they are.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.control.get_mut().write_all(bytes).await.unwrap();
        self.control.get_mut().flush().await.unwrap();
    }

    /// Returns the next reply.
    pub(crate) async fn reply(&mut self) -> Reply {
        self.next_reply().await.unwrap()
    }

    /// Returns the next reply, or nothing if the connection ends.
    pub(crate) async fn next_reply(&mut self) -> Option<Reply> {
        let mut text = String::new();
        let mut end = String::new();
        loop {
            let mut line = String::new();
            if self.control.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            if end.is_empty() {
                end = format!("{} ", &line[..3]);
            }
            text.push_str(&line);
            if let Some(code) = line.strip_prefix(&end).and(end.trim_end().parse().ok()) {
                return Some(Reply { code, text });
            }
        }
    }

    /// Sends a command, and returns the reply.
    pub(crate) async fn command(&mut self, line: &str) -> Reply {
        self.send(format!("{line}\r\n").as_bytes()).await;
        self.reply().await
    }

    /// Opens a passive data connection.
    pub(crate) async fn passive(&mut self) -> TcpStream {
        let reply = self.command("EPSV").await;
        let port = reply.text.split('|').nth(3).unwrap();
        let port: u16 = port.parse().unwrap();
        TcpStream::connect(("127.0.0.1", port)).await.unwrap()
    }

    /// Begins an upload in the clear; returns its data connection.
    pub(crate) async fn begin(&mut self, command: &str) -> TcpStream {
        let data = self.passive().await;
        assert_eq!(self.command(command).await.code, 150);
        data
    }

    /// Begins an encrypted upload.
    pub(crate) async fn begin_encrypted(
        &mut self,
        command: &str,
        tls: &Arc<ClientConfig>,
    ) -> TlsStream<TcpStream> {
        let data = self.begin(command).await;
        shake_hands(data, tls).await
    }

    /// Stores bytes, and returns the last reply.
    pub(crate) async fn store(&mut self, path: &str, bytes: &[u8]) -> Reply {
        let mut data = self.begin(&format!("STOR {path}")).await;
        data.write_all(bytes).await.unwrap();
        data.shutdown().await.unwrap();
        self.reply().await
    }

    /// Loads bytes, and returns them with the last reply.
    pub(crate) async fn load(&mut self, command: &str) -> (Vec<u8>, Reply) {
        use tokio::io::AsyncReadExt as _;
        let mut data = self.passive().await;
        let first = self.command(command).await;
        if first.code != 150 {
            return (Vec::new(), first);
        }
        let mut bytes = Vec::new();
        data.read_to_end(&mut bytes).await.unwrap();
        (bytes, self.reply().await)
    }
}

/// Completes a handshake as a client.
pub(crate) async fn shake_hands<I: Io>(io: I, tls: &Arc<ClientConfig>) -> TlsStream<I> {
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let connector = TlsConnector::from(tls.clone());
    connector.connect(name, io).await.unwrap()
}

/// Ends a connection with a reset.
pub(crate) fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
    drop(stream);
}

/// Waits until the gateway does nothing more for FTP: no session, and no operation that outlives one.
pub(crate) async fn comes_to_rest(gateway: &Gateway) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut look = tokio::time::interval(std::time::Duration::from_millis(5));
    loop {
        look.tick().await;
        let answer = reqwest::get(format!("{}/metrics", gateway.admin)).await;
        let metrics = answer.unwrap().text().await.unwrap();
        let is_zero = |series: &str| metrics.lines().any(|line| line == format!("{series} 0"));
        if is_zero("hugbucket_ftp_sessions_active")
            && is_zero("hugbucket_ftp_data_connections_active")
            && is_zero("hugbucket_requests_in_flight{protocol=\"ftp\"}")
        {
            return;
        }
    }
}
