//! Transfers, and what interrupts them.

use std::io;
use std::pin::pin;

use tokio::sync::mpsc;

use crate::ftp::command::{Command, Request};
use crate::ftp::data::Peers;
use crate::ftp::reply::Reply;
use crate::ftp::session::{Answer, MAX_WAITING_LINES, Next, Session};
use crate::ftp::transfer::{Channel, Ended, Transfer, engine_lost};
use crate::ftp::wire::Line;

/// Which way the bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

/// What a line that came during a transfer means for it.
enum Interruption {
    /// Nothing; a reply is sent at once.
    Answer(Reply),
    /// Nothing; the line waits.
    Wait,
    /// It ends here, if it still can.
    Abort,
    /// Too many lines wait.
    Flood,
}

impl Session {
    /// STOR and APPE.
    pub(super) async fn upload(&mut self, verb: &str, path: &str) -> io::Result<Answer> {
        let path = self.resolve(path);
        self.transfer(Direction::Up, format!("{verb} {path}")).await
    }

    /// RETR and the listings.
    pub(super) async fn download(
        &mut self,
        verb: &str,
        path: Option<String>,
    ) -> io::Result<Answer> {
        let path = self.resolve(path.as_deref().unwrap_or(""));
        if verb != "RETR" {
            self.offset = 0;
        }
        self.transfer(Direction::Down, format!("{verb} {path}"))
            .await
    }

    /// Carries out a transfer while it listens to the client.
    ///
    /// Errors: the control connection ended; nothing was committed unless that came too late.
    async fn transfer(&mut self, direction: Direction, command: String) -> io::Result<Answer> {
        let offset = std::mem::take(&mut self.offset);
        let Some(source) = self.source.take() else {
            return Ok(Reply::new(425, "Send PASV or EPSV first.").into());
        };
        if let Err(reply) = self.check_protection() {
            return Ok(reply.into());
        }
        let limits = self.ftp.config.limits;
        let channel = Channel {
            source,
            peers: Peers {
                transport: self.ends.transport.ip(),
                client: self.ends.client.ip(),
            },
            tls: self.ftp.tls.clone().filter(|_| self.protects_data),
            patience: limits.data_timeout,
        };
        let ftp = self.ftp.clone();
        let logged_in = match self.logged_in() {
            Ok(logged_in) => logged_in,
            Err(reply) => return Ok(reply.into()),
        };
        let mut crew = match logged_in.take_crew(&ftp).await {
            Ok(crew) => crew,
            Err(error) => return Ok(engine_lost(&error).into()),
        };
        let gate = crew.links.gate.clone();

        let (marks, mut marked) = mpsc::channel(1);
        let progress = self.progress.clone();
        let transfer = Transfer {
            engine: &mut crew.engine,
            links: &crew.links,
            command,
            offset,
            channel,
            marks,
            progress: progress.clone(),
            stall: limits.stall_timeout,
            verdict: limits.verdict_timeout,
            metrics: &ftp.metrics,
        };
        let ended = {
            let mut running = pin!(async {
                match direction {
                    Direction::Up => transfer.upload().await,
                    Direction::Down => transfer.download().await,
                }
            });
            loop {
                let line = tokio::select! {
                    // The preliminary reply goes out before anything that follows from it.
                    biased;
                    Some(mark) = marked.recv() => {
                        if let Err(error) = self.send(&mark).await {
                            gate.abort();
                            return Err(error);
                        }
                        continue;
                    }
                    ended = &mut running => break ended,
                    line = self.control.next_line() => line,
                };
                let Ok(Some(line)) = line else {
                    // A client that is gone did not finish anything.
                    gate.abort();
                    return Err(io::ErrorKind::ConnectionAborted.into());
                };
                match self.interrupted(&line, progress.bytes()) {
                    Interruption::Answer(reply) => self.send(&reply).await?,
                    Interruption::Wait => self.waiting.push_back(line),
                    Interruption::Abort => {
                        self.waiting.push_back(line);
                        if gate.abort() {
                            break Ended::Cut(Reply::new(426, "The transfer is aborted."));
                        }
                    }
                    Interruption::Flood => {
                        gate.abort();
                        let text = "Too many commands during a transfer.";
                        return Ok((Reply::new(421, text), Next::Close));
                    }
                }
            }
        };
        // The last poll may have left the preliminary reply behind; without it, the client waits for ever.
        while let Ok(mark) = marked.try_recv() {
            self.send(&mark).await?;
        }
        Ok(match ended {
            Ended::Settled(reply) => {
                if let Ok(logged_in) = self.logged_in() {
                    logged_in.crew = Some(crew);
                }
                reply
            }
            Ended::Cut(reply) => {
                // Whatever of it still runs, in a task of the engine's, must not pass any more.
                gate.abort();
                reply
            }
        }
        .into())
    }

    /// Decides what a line means that came during a transfer. Lines are answered in their order: once one waits, all that
    /// follow wait too, but ABOR takes effect at once.
    fn interrupted(&self, line: &Line, bytes: u64) -> Interruption {
        let request = Request::read(line.as_deref().map_err(|fault| *fault));
        if self.waiting.len() >= MAX_WAITING_LINES {
            return Interruption::Flood;
        }
        match request.command {
            Ok(Command::Abor) => Interruption::Abort,
            Ok(Command::Noop) if self.waiting.is_empty() => {
                Interruption::Answer(Reply::new(200, "Here; the transfer goes on."))
            }
            Ok(Command::Stat(None)) if self.waiting.is_empty() => {
                Interruption::Answer(self.status(Some(bytes)))
            }
            _ => Interruption::Wait,
        }
    }
}
