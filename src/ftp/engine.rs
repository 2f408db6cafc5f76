//! The engine: libunftp behind a loopback connection, one command at a time.
//!
//! This is the only file that names libunftp's protocol side. What libunftp 0.24 does not do, or does wrong, is kept away
//! from it: it never sees a client's bytes, but absolute, normalised paths, one complete command after the other, and never a
//! command while a transfer runs. It is neither asked to authenticate nor to encrypt: the session did both, and hands in a
//! ticket that opens this one engine once.
//!
//! An engine whose transfer was cut is dropped, not repaired: libunftp does not always answer then, for example not after a
//! listing whose data connection broke.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use libunftp::ServerBuilder;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use unftp_core::auth::{
    AuthenticationError, Authenticator, Credentials, Principal, UserDetailError, UserDetailProvider,
};
use unftp_core::storage::StorageBackend;

use crate::ftp::reply::Reply;
use crate::ftp::user::User;

/// The name under which sessions log in to their engines.
const SESSION: &str = "session";

/// How long an engine may take to start, and to open a data port: both happen on this machine and touch no storage.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longer than any session: the session has its own idea of idleness.
const NEVER_IDLE_SECS: u64 = 365 * 24 * 3600;

/// The longest line of a reply, in bytes: a path, and facts about it.
const MAX_REPLY_LINE_BYTES: u64 = 64 << 10;

/// A running engine.
#[derive(Debug)]
pub(super) struct Engine {
    /// The loopback address that only this engine and its session use.
    ip: IpAddr,
    control: BufReader<TcpStream>,
    /// Where the engine believes that the next transfer begins; unknown after a transfer that failed.
    offset: Option<u64>,
}

impl Engine {
    /// Starts an engine over `storage` for `user`.
    ///
    /// Errors: the machine is out of descriptors or ports, or the engine does not answer.
    pub(super) async fn start<S>(storage: S, user: &User) -> io::Result<Self>
    where
        S: StorageBackend<User> + Clone + 'static,
    {
        let started = tokio::time::timeout(PATIENCE, Self::open(storage, user));
        started.await.map_err(|_| too_late())?
    }

    async fn open<S>(storage: S, user: &User) -> io::Result<Self>
    where
        S: StorageBackend<User> + Clone + 'static,
    {
        let listener = listen_alone().await?;
        let address = listener.local_addr()?;
        let (ours, accepted) = tokio::join!(connect(address), listener.accept());
        let (ours, (theirs, peer)) = (ours?, accepted?);
        if peer != ours.local_addr()? {
            return Err(io::Error::other("a stranger took the engine's connection"));
        }
        theirs.set_nodelay(true)?;

        let ticket = Ticket::new();
        let provider = Arc::new(OneUser(user.clone()));
        let generator = Box::new(move || storage.clone());
        let server = ServerBuilder::with_user_detail_provider(generator, provider)
            .authenticator(Arc::new(ticket.clone()))
            .greeting("ready")
            .idle_session_timeout(NEVER_IDLE_SECS)
            // Port 0: the system knows best which one is free.
            .passive_ports(0..=0)
            .build()
            .map_err(io::Error::other)?;
        tokio::spawn(server.service(theirs));

        let mut engine = Self {
            ip: address.ip(),
            control: BufReader::new(ours),
            offset: Some(0),
        };
        engine.expect(220).await?;
        engine.send(&format!("USER {SESSION}")).await?;
        engine.expect(331).await?;
        engine.send(&format!("PASS {}", ticket.number())).await?;
        engine.expect(230).await?;
        Ok(engine)
    }

    /// Sends a command and returns the reply; for a transfer, the first one.
    ///
    /// Errors: the engine is gone. It is of no use any more, and neither is it if the future is dropped.
    pub(super) async fn command(&mut self, line: &str) -> io::Result<Reply> {
        self.send(line).await?;
        self.reply().await
    }

    /// Opens a data connection and tells where the transfer begins. Dropped as it is, the connection is reset, which the
    /// engine takes for a transfer that was cut.
    ///
    /// Errors: as [`Self::command`].
    pub(super) async fn open_data(&mut self, offset: u64) -> io::Result<TcpStream> {
        let opened = tokio::time::timeout(PATIENCE, async {
            if self.offset != Some(offset) {
                self.send(&format!("REST {offset}")).await?;
                self.expect(350).await?;
            }
            self.send("EPSV").await?;
            let reply = self.expect(229).await?;
            let port = passive_port(reply.text())
                .ok_or_else(|| io::Error::other("the engine named no port"))?;
            let data = connect(SocketAddr::new(self.ip, port)).await?;
            data.set_zero_linger()?;
            Ok(data)
        });
        // Known again only after a transfer that went well.
        let opened = opened.await.map_err(|_| too_late())?;
        self.offset = None;
        opened
    }

    /// Returns the next reply: the last one of a transfer.
    ///
    /// Errors: as [`Self::command`].
    pub(super) async fn reply(&mut self) -> io::Result<Reply> {
        let first = self.line().await?;
        let code = first
            .get(..3)
            .and_then(|code| code.parse::<u16>().ok())
            .ok_or_else(|| io::Error::other("the engine's reply has no code"))?;
        let reply = if first[3..].starts_with('-') {
            let (end, mut middle) = (format!("{code} "), Vec::new());
            let last = loop {
                let line = self.line().await?;
                match line.strip_prefix(&end) {
                    Some(last) => break last.to_owned(),
                    None => middle.push(line),
                }
            };
            Reply::listing(code, &first[4..], middle, last)
        } else {
            Reply::new(code, first.get(4..).unwrap_or_default())
        };
        if code == 226 {
            self.offset = Some(0);
        }
        Ok(reply)
    }

    async fn send(&mut self, line: &str) -> io::Result<()> {
        debug_assert!(!line.contains(['\r', '\n']), "one command at a time");
        let line = format!("{line}\r\n");
        self.control.get_mut().write_all(line.as_bytes()).await
    }

    async fn expect(&mut self, code: u16) -> io::Result<Reply> {
        let reply = self.reply().await?;
        if reply.code == code {
            return Ok(reply);
        }
        let text = format!("the engine says {} instead of {code}", reply.code);
        Err(io::Error::other(text))
    }

    async fn line(&mut self) -> io::Result<String> {
        use tokio::io::AsyncReadExt as _;
        let mut line = String::new();
        let mut bounded = (&mut self.control).take(MAX_REPLY_LINE_BYTES);
        bounded.read_line(&mut line).await?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn too_late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the engine does not answer")
}

/// Returns the port of a reply 229 (RFC 2428 §3).
fn passive_port(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("(|||")?;
    rest.split_once("|)")?.0.parse().ok()
}

/// Listens on a loopback address that nobody else uses: the engine takes data connections from the address of its session
/// only, so that another process of this machine would have to guess it.
async fn listen_alone() -> io::Result<TcpListener> {
    let [a, b, c] = rand::random::<[u8; 3]>();
    let own = Ipv4Addr::new(127, a.clamp(1, 254), b, c.clamp(1, 254));
    match TcpListener::bind((own, 0)).await {
        // Not every system answers on the whole of 127.0.0.0/8.
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await
        }
        bound => bound,
    }
}

/// Connects from the very address that it connects to.
async fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(to.ip(), 0))?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// What opens one engine once, instead of a password.
#[derive(Clone)]
struct Ticket(Arc<Mutex<Option<String>>>);

impl Ticket {
    fn new() -> Self {
        let number = hex::encode(rand::random::<[u8; 16]>());
        Self(Arc::new(Mutex::new(Some(number))))
    }

    fn number(&self) -> String {
        self.slot().clone().unwrap_or_default()
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(…)")
    }
}

#[async_trait]
impl Authenticator for Ticket {
    async fn authenticate(
        &self,
        username: &str,
        credentials: &Credentials,
    ) -> Result<Principal, AuthenticationError> {
        let mut slot = self.slot();
        let is_valid = slot.is_some() && *slot == credentials.password && username == SESSION;
        if !is_valid {
            return Err(AuthenticationError::BadPassword);
        }
        *slot = None;
        Ok(Principal {
            username: SESSION.to_owned(),
        })
    }
}

/// Knows the session's user and nobody else.
#[derive(Debug)]
struct OneUser(User);

#[async_trait]
impl UserDetailProvider for OneUser {
    type User = User;

    async fn provide_user_detail(&self, _: &Principal) -> Result<User, UserDetailError> {
        Ok(self.0.clone())
    }
}

#[cfg(test)]
impl Engine {
    /// Talks to something that pretends to be an engine, and is logged in already.
    pub(super) fn pretended(control: TcpStream) -> io::Result<Self> {
        Ok(Self {
            ip: control.peer_addr()?.ip(),
            control: BufReader::new(control),
            offset: Some(0),
        })
    }

    pub(super) fn offset(&self) -> Option<u64> {
        self.offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_a_reply_is_found() {
        assert_eq!(
            passive_port("Entering Extended Passive Mode (|||40123|)"),
            Some(40123)
        );
        for text in ["", "(|||)", "(|||70000|)", "(|||1"] {
            assert_eq!(passive_port(text), None, "{text}");
        }
    }

    #[tokio::test]
    async fn a_ticket_opens_one_engine_once_and_is_not_shown() {
        let ticket = Ticket::new();
        let with = |password: &str| Credentials::from(password);
        assert!(ticket.authenticate(SESSION, &with("")).await.is_err());
        assert!(
            ticket
                .authenticate("ann", &with(&ticket.number()))
                .await
                .is_err()
        );
        let number = ticket.number();
        assert!(ticket.authenticate(SESSION, &with(&number)).await.is_ok());
        assert!(ticket.authenticate(SESSION, &with(&number)).await.is_err());
        assert!(!format!("{:?}", Ticket::new()).contains(&number));
    }
}
