//! The session: what a client and the server know of each other, and the commands that change it.
//!
//! One task reads a line, carries it out, answers, and reads the next, so that replies come in the order of their commands. Only
//! a transfer listens while it works: ABOR cuts it, STAT and NOOP are answered at once, and everything else waits its turn.
//!
//! | file | holds |
//! |---|---|
//! | `access` | login and encryption |
//! | `connect` | where data connections come from |
//! | `transfer` | transfers, and what interrupts them |
//! | `files` | directories, names, facts |
//! | `facts` | how the engine tells facts |
//! | `status` | what the server can, and how it stands |

mod access;
mod connect;
mod facts;
mod files;
mod status;
#[cfg(test)]
mod tests;
mod transfer;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::time::Instant;
use tracing::Span;

use crate::ftp::audit::Audit;
use crate::ftp::census::Seat;
use crate::ftp::command::{Command, Request};
use crate::ftp::control::Control;
use crate::ftp::data::DataSource;
use crate::ftp::engine::Engine;
use crate::ftp::links::Links;
use crate::ftp::listener::Ftp;
use crate::ftp::pathname;
use crate::ftp::reply::Reply;
use crate::ftp::transfer::{Progress, engine_lost};
use crate::ftp::user::User;
use crate::ftp::wire::Line;

/// Lines that may wait while a transfer runs; who sends more is cut off.
const MAX_WAITING_LINES: usize = 32;

/// Refusals until a client that did not log in is sent away: each costs a line in the log.
const MAX_REFUSALS_BEFORE_LOGIN: u32 = 20;

/// The two ends of a control connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    /// The client: what the proxy says, if there is one.
    pub(super) client: SocketAddr,
    /// The other end of the TCP connection.
    pub(super) transport: SocketAddr,
    /// Our end of it.
    pub(super) local: IpAddr,
    /// The address that the client connected to: ours, or the proxy's.
    pub(super) called: IpAddr,
}

/// A session.
pub(super) struct Session {
    ftp: Arc<Ftp>,
    control: Control,
    ends: Ends,
    seat: Seat,
    began: Instant,
    login: Login,
    failed_logins: u32,
    /// Of all kinds, before the login.
    refusals: u32,
    /// Whether PBSZ was given, without which PROT means nothing (RFC 4217 §9).
    has_buffer_size: bool,
    /// Whether data connections are to be encrypted.
    protects_data: bool,
    working_directory: String,
    /// Where the next transfer begins in its file, in bytes.
    offset: u64,
    rename_from: Option<String>,
    source: Option<DataSource>,
    /// Whether the client said that it will only use EPSV.
    is_extended_only: bool,
    waiting: VecDeque<Line>,
    progress: Progress,
}

/// How far the login is.
enum Login {
    /// Nobody.
    Nobody,
    /// A name without a password.
    Named(String),
    /// Somebody.
    User(Box<LoggedIn>),
}

/// A user, and what works for it.
struct LoggedIn {
    user: User,
    /// Nothing until it is needed, and again after a transfer was cut.
    crew: Option<Crew>,
}

/// An engine, with what its backend shares with the session.
struct Crew {
    engine: Engine,
    links: Links,
}

/// What follows a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The next command.
    Command,
    /// A handshake, then the next command.
    Handshake,
    /// The end.
    Close,
}

/// Why no further line comes.
enum Silence {
    /// The client closed the connection, or broke it.
    Gone,
    /// It said nothing for too long.
    Idle,
    /// The process ends.
    Closing,
}

/// What a command is answered with.
type Answer = (Reply, Next);

impl From<Reply> for (Reply, Next) {
    fn from(reply: Reply) -> Self {
        (reply, Next::Command)
    }
}

impl Session {
    /// Begins a session over a connection. Where it is encrypted from its first byte on, data is as well.
    pub(super) fn new(ftp: Arc<Ftp>, control: Control, ends: Ends, seat: Seat) -> Self {
        let is_encrypted = control.is_encrypted();
        Self {
            ftp,
            control,
            ends,
            seat,
            began: Instant::now(),
            login: Login::Nobody,
            failed_logins: 0,
            refusals: 0,
            has_buffer_size: is_encrypted,
            protects_data: is_encrypted,
            working_directory: "/".to_owned(),
            offset: 0,
            rename_from: None,
            source: None,
            is_extended_only: false,
            waiting: VecDeque::new(),
            progress: Progress::default(),
        }
    }

    /// Serves the client until one of the two ends the session.
    pub(super) async fn run(mut self) {
        if let Err(error) = self.serve().await {
            tracing::debug!(peer = %self.ends.client, %error, "an FTP session broke");
        }
        self.control.close().await;
    }

    async fn serve(&mut self) -> io::Result<()> {
        self.send(&Reply::new(220, "hugbucket is ready.")).await?;
        loop {
            let line = match self.next_line().await {
                Ok(line) => line,
                Err(silence) => return self.end(&silence).await,
            };
            let request = Request::read(line.as_deref().map_err(|fault| *fault));
            let audit = Audit::begin(&request, &self.ends, self.user_name());
            self.ftp.metrics.ftp_command(request.verb);
            self.progress = Progress::default();
            let answer = match request.command {
                Ok(command) => self.carry_out(command, &audit.span()).await?,
                Err(reply) => reply.into(),
            };
            let (reply, next) = self.with_patience(answer);
            self.send(&reply).await?;
            audit.end(&reply, self.progress.bytes());
            match next {
                Next::Command => {}
                Next::Handshake => self.encrypt().await?,
                Next::Close => return Ok(()),
            }
        }
    }

    /// Loses it with clients that get nothing right before they log in.
    fn with_patience(&mut self, answer: Answer) -> Answer {
        if answer.0.is_negative() && !matches!(self.login, Login::User(_)) {
            self.refusals += 1;
            if self.refusals >= MAX_REFUSALS_BEFORE_LOGIN {
                return (Reply::new(421, "Too many refused commands."), Next::Close);
            }
        }
        answer
    }

    /// Returns the next line: one that waited, or one that comes.
    async fn next_line(&mut self) -> Result<Line, Silence> {
        if let Some(line) = self.waiting.pop_front() {
            return Ok(line);
        }
        let limits = &self.ftp.config.limits;
        let idle = match self.login {
            Login::User(_) => limits.idle_timeout,
            // Not anew with every line: whoever does not log in has to make room.
            Login::Nobody | Login::Named(_) => {
                Some(limits.login_timeout.saturating_sub(self.began.elapsed()))
            }
        };
        let silence = async {
            match idle {
                Some(idle) => tokio::time::sleep(idle).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // A line that is there already is carried out even if the process ends.
            biased;
            line = self.control.next_line() => match line {
                Ok(Some(line)) => Ok(line),
                Ok(None) | Err(_) => Err(Silence::Gone),
            },
            () = self.ftp.closing.cancelled() => Err(Silence::Closing),
            () = silence => Err(Silence::Idle),
        }
    }

    async fn end(&mut self, silence: &Silence) -> io::Result<()> {
        let text = match silence {
            Silence::Gone => return Ok(()),
            Silence::Idle => "Nothing came for too long; closing the connection.",
            Silence::Closing => "The server shuts down; closing the connection.",
        };
        self.send(&Reply::new(421, text)).await
    }

    async fn send(&mut self, reply: &Reply) -> io::Result<()> {
        self.ftp.metrics.ftp_reply(reply.code);
        self.control.send(reply).await
    }

    /// Carries out one command.
    ///
    /// Errors: the control connection is of no more use.
    async fn carry_out(&mut self, command: Command, span: &Span) -> io::Result<Answer> {
        if let Login::User(user) = &self.login {
            user.user.enter(span);
        } else if !is_for_everybody(&command) {
            return Ok(Reply::new(530, "Log in with USER and PASS first.").into());
        }
        if !matches!(command, Command::Rnto(_)) {
            self.rename_from = None;
        }
        let reply = match command {
            Command::User(name) => self.user(name),
            Command::Pass(password) => return self.pass(password, span).await,
            Command::Auth => return Ok(self.auth()),
            Command::Pbsz => self.buffer_size(),
            Command::Prot(is_private) => self.protect(is_private),
            Command::Quit => return Ok((Reply::new(221, "Goodbye."), Next::Close)),

            Command::Syst => Reply::new(215, "UNIX Type: L8"),
            Command::Feat => self.features(),
            Command::Help => status::help(),
            Command::Noop => Reply::new(200, "Here."),
            Command::Accepted(text) => Reply::new(200, text),
            Command::Superfluous => Reply::new(202, "Not needed here."),
            Command::Opts(text) => status::options(&text),
            Command::Stat(None) => self.status(None),
            Command::Stat(Some(path)) => self.list_as_reply(&path).await,
            // A transfer that ran was cut when the line came.
            Command::Abor => Reply::new(226, "No transfer is under way any more."),

            Command::Pasv => self.passive(),
            Command::Epsv(passive) => self.extended_passive(passive),
            Command::Port(address) => self.active(address),
            Command::Rest(offset) => {
                self.offset = offset;
                Reply::new(350, format!("The next transfer begins at {offset}."))
            }

            Command::Retr(path) => return self.download("RETR", Some(path)).await,
            Command::Stor(path) => return self.upload("STOR", &path).await,
            Command::Appe(path) => {
                // It appends wherever the file ends.
                self.offset = 0;
                return self.upload("APPE", &path).await;
            }
            Command::List(path) => return self.download("LIST", path).await,
            Command::Nlst(path) => return self.download("NLST", path).await,
            Command::Mlsd(path) => return self.download("MLSD", path).await,

            Command::Pwd => {
                let directory = pathname::quote(&self.working_directory);
                Reply::new(257, format!("{directory} is the current directory."))
            }
            Command::Cwd(path) => self.change_directory(&path).await,
            Command::Cdup => self.change_directory("..").await,
            Command::Mkd(path) => self.make_directory(&path).await,
            Command::Rmd(path) => self.remove("RMD", &path).await,
            Command::Dele(path) => self.remove("DELE", &path).await,
            Command::Rnfr(path) => self.rename_from(&path).await,
            Command::Rnto(path) => self.rename_to(&path).await,
            Command::Size(path) => self.size(&path).await,
            Command::Mdtm(path) => self.modification_time(&path).await,
            Command::Mlst(path) => self.facts(path.as_deref().unwrap_or("")).await,
            Command::Mfmt(at, path) => self.set_modification_time(at, &path).await,
        };
        Ok(reply.into())
    }

    /// Resolves a path against the working directory.
    fn resolve(&self, path: &str) -> String {
        pathname::resolve(&self.working_directory, path)
    }

    fn user_name(&self) -> Option<&str> {
        match &self.login {
            Login::Nobody => None,
            Login::Named(name) => Some(name),
            Login::User(logged_in) => Some(logged_in.user.name()),
        }
    }

    /// Lets the engine carry out one command that needs no data connection.
    async fn command(&mut self, line: &str) -> Reply {
        let ftp = self.ftp.clone();
        match self.logged_in() {
            Ok(logged_in) => logged_in.command(&ftp, line).await,
            Err(reply) => reply,
        }
    }

    fn logged_in(&mut self) -> Result<&mut LoggedIn, Reply> {
        match &mut self.login {
            Login::User(logged_in) => Ok(logged_in),
            Login::Nobody | Login::Named(_) => Err(Reply::new(530, "Log in first.")),
        }
    }
}

impl LoggedIn {
    /// Takes the engine, started if there is none. Whoever found it sound puts it back; any other ends with its taker.
    async fn take_crew(&mut self, ftp: &Ftp) -> io::Result<Crew> {
        if let Some(crew) = self.crew.take() {
            return Ok(crew);
        }
        let links = Links::new();
        let backend = ftp.backend(links.clone());
        Ok(Crew {
            engine: Engine::start(backend, &self.user).await?,
            links,
        })
    }

    /// Lets the engine carry out one command that needs no data connection, and returns its reply with the true reason if
    /// it is a refusal.
    async fn command(&mut self, ftp: &Ftp, line: &str) -> Reply {
        let answered = async {
            let mut crew = self.take_crew(ftp).await?;
            crew.links.refusals.take();
            let mut reply = crew.engine.command(line).await?;
            if reply.is_negative() {
                reply = crew.links.refusals.take().map_or(reply, Reply::from);
            }
            self.crew = Some(crew);
            io::Result::Ok(reply)
        };
        answered.await.unwrap_or_else(|error| engine_lost(&error))
    }
}

/// Reports whether a command needs no login.
fn is_for_everybody(command: &Command) -> bool {
    matches!(
        command,
        Command::User(_)
            | Command::Pass(_)
            | Command::Auth
            | Command::Pbsz
            | Command::Prot(_)
            | Command::Quit
            | Command::Syst
            | Command::Feat
            | Command::Help
            | Command::Noop
            | Command::Opts(_)
    )
}
