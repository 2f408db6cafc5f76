//! What is told about a command: a span, and a line when it is answered.

use std::time::Instant;

use tracing::Span;
use tracing::field::Empty;

use crate::ftp::command::{Command, Request};
use crate::ftp::reply::Reply;
use crate::ftp::session::Ends;
use crate::telemetry::tracing as traces;

/// A command under way. It holds no password.
#[derive(Debug)]
pub(super) struct Audit {
    verb: &'static str,
    path: Option<String>,
    user: Option<String>,
    peer: std::net::SocketAddr,
    span: Span,
    began: Instant,
    /// Whether the command is worth a line of its own in ordinary logs.
    is_notable: bool,
}

impl Audit {
    /// Begins with a command that was read.
    pub(super) fn begin(request: &Request, ends: &Ends, user: Option<&str>) -> Self {
        let verb = request.verb;
        let path = request.command.as_ref().ok().and_then(path_of);
        // Its level is `ERROR`, so that lines of every level that pass the filter belong to a command.
        let span = tracing::error_span!(
            "command",
            otel.name = format_args!("FTP.{verb}"),
            otel.kind = "server",
            otel.status_code = Empty,
            trace_id = Empty,
            protocol = "ftp",
            ftp.verb = verb,
            ftp.path = path,
            ftp.reply_code = Empty,
            ftp.bytes = Empty,
            peer = %ends.client,
            user,
        );
        if let Some(id) = traces::trace_id(&span) {
            span.record("trace_id", id);
        }
        Self {
            verb,
            path,
            user: user.map(str::to_owned),
            peer: ends.client,
            span,
            began: Instant::now(),
            is_notable: request.command.as_ref().map_or(true, is_notable),
        }
    }

    /// Returns the command's span.
    pub(super) fn span(&self) -> Span {
        self.span.clone()
    }

    /// Ends with the reply that was sent last, and the bytes that passed over a data connection.
    pub(super) fn end(self, reply: &Reply, bytes: u64) {
        let code = reply.code;
        // Signed, because only such numbers are exported as numbers.
        self.span.record("ftp.reply_code", i64::from(code));
        self.span.record("ftp.bytes", bytes.cast_signed());
        if matches!(code, 421 | 426 | 450..=499) {
            self.span.record("otel.status_code", "ERROR");
        }
        let Self {
            verb, path, user, ..
        } = &self;
        let duration_ms = self.began.elapsed().as_secs_f64() * 1000.0;
        let _entered = self.span.enter();
        // The level is part of a line's constant half.
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: "hugbucket::access",
                    verb,
                    path,
                    user,
                    peer = %self.peer,
                    code,
                    bytes,
                    duration_ms,
                    reason = reply.is_negative().then(|| reply.text()),
                    "ftp command"
                )
            };
        }
        if self.is_notable || reply.is_negative() {
            line!(info);
        } else {
            line!(debug);
        }
        if CHANGES.contains(verb) || code == 530 {
            tracing::info!(
                target: "hugbucket::audit",
                caller = user,
                protocol = "ftp",
                operation = verb,
                key = path,
                status = code,
                peer = %self.peer.ip(),
                "audit"
            );
        }
    }
}

/// Commands that change something, or let somebody in: the audit log has them all, those in vain too.
const CHANGES: [&str; 8] = ["PASS", "STOR", "APPE", "MKD", "RMD", "DELE", "RNTO", "MFMT"];

/// Returns the path that a command names, as the client wrote it.
fn path_of(command: &Command) -> Option<String> {
    match command {
        Command::Retr(path)
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
        | Command::Mfmt(_, path) => Some(path.clone()),
        Command::List(path)
        | Command::Nlst(path)
        | Command::Mlsd(path)
        | Command::Mlst(path)
        | Command::Stat(path) => path.clone(),
        _ => None,
    }
}

/// Reports whether a command moves data, changes something, or lets somebody in.
fn is_notable(command: &Command) -> bool {
    matches!(
        command,
        Command::Pass(_)
            | Command::Retr(_)
            | Command::Stor(_)
            | Command::Appe(_)
            | Command::List(_)
            | Command::Nlst(_)
            | Command::Mlsd(_)
            | Command::Mkd(_)
            | Command::Rmd(_)
            | Command::Dele(_)
            | Command::Rnto(_)
            | Command::Mfmt(..)
            | Command::Abor
    )
}
