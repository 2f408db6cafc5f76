//! Directories, names, and facts. The engine gets absolute paths only.

use time::PrimitiveDateTime;
use time::macros::format_description;

use crate::ftp::links::Links;
use crate::ftp::pathname;
use crate::ftp::reply::Reply;
use crate::ftp::session::Session;
use crate::ftp::session::facts::Facts;

impl Session {
    /// CWD and CDUP.
    pub(super) async fn change_directory(&mut self, path: &str) -> Reply {
        let path = self.resolve(path);
        let reply = self.command(&format!("CWD {path}")).await;
        if reply.is_negative() {
            return reply;
        }
        let text = format!("{} is the current directory.", pathname::quote(&path));
        self.working_directory = path;
        Reply::new(250, text)
    }

    /// MKD.
    pub(super) async fn make_directory(&mut self, path: &str) -> Reply {
        let path = self.resolve(path);
        let reply = self.command(&format!("MKD {path}")).await;
        if reply.is_negative() {
            return reply;
        }
        Reply::new(257, format!("{} created.", pathname::quote(&path)))
    }

    /// RMD and DELE.
    pub(super) async fn remove(&mut self, verb: &str, path: &str) -> Reply {
        let path = self.resolve(path);
        let reply = self.command(&format!("{verb} {path}")).await;
        if reply.is_negative() {
            return reply;
        }
        Reply::new(250, "Removed.")
    }

    /// RNFR: refuses what is not there.
    pub(super) async fn rename_from(&mut self, path: &str) -> Reply {
        let path = self.resolve(path);
        match self.look_up(&path).await {
            Ok(_) => {
                self.rename_from = Some(path);
                Reply::new(350, "Send RNTO next.")
            }
            Err(reply) => reply,
        }
    }

    /// RNTO.
    pub(super) async fn rename_to(&mut self, path: &str) -> Reply {
        let to = self.resolve(path);
        let Some(from) = self.rename_from.take() else {
            return Reply::new(503, "Send RNFR first.");
        };
        let reply = self.command(&format!("RNFR {from}")).await;
        if reply.is_negative() {
            return reply;
        }
        let reply = self.command(&format!("RNTO {to}")).await;
        if reply.is_negative() {
            return reply;
        }
        Reply::new(250, "Renamed.")
    }

    /// SIZE (RFC 3659 §4).
    pub(super) async fn size(&mut self, path: &str) -> Reply {
        let path = self.resolve(path);
        match self.look_up(&path).await {
            Ok(facts) if facts.is_directory => Reply::new(550, "It is a directory."),
            Ok(facts) => Reply::new(213, facts.size.to_string()),
            Err(reply) => reply,
        }
    }

    /// MDTM (RFC 3659 §3).
    pub(super) async fn modification_time(&mut self, path: &str) -> Reply {
        let path = self.resolve(path);
        match self.look_up(&path).await {
            Ok(facts) => match facts.modified {
                Some(modified) => Reply::new(213, modified),
                None => Reply::new(550, "Its modification time is not known."),
            },
            Err(reply) => reply,
        }
    }

    /// MLST (RFC 3659 §7).
    pub(super) async fn facts(&mut self, path: &str) -> Reply {
        let path = self.resolve(path);
        match self.look_up(&path).await {
            Ok(facts) => {
                let line = format!("{} {path}", facts.show());
                Reply::listing(250, "Facts:", [line], "End")
            }
            Err(reply) => reply,
        }
    }

    /// MFMT (draft-somers-ftp-mfxx-04).
    pub(super) async fn set_modification_time(
        &mut self,
        at: PrimitiveDateTime,
        path: &str,
    ) -> Reply {
        let path = self.resolve(path);
        let user = match self.logged_in() {
            Ok(logged_in) => logged_in.user.clone(),
            Err(reply) => return reply,
        };
        // The engine knows no such command, so the backend is asked without it.
        let links = Links::new();
        let backend = self.ftp.backend(links.clone());
        let changed = backend.set_modified(&user, &path, at.assume_utc()).await;
        if changed.is_err() {
            let reason = links.refusals.take().map(Reply::from);
            return reason.unwrap_or_else(|| Reply::new(451, "A local error; try again."));
        }
        let format = format_description!("[year][month][day][hour][minute][second]");
        match at.format(format) {
            Ok(shown) => Reply::new(213, format!("Modify={shown}; {path}")),
            Err(_) => Reply::new(213, path),
        }
    }

    /// Asks for the facts of one path.
    pub(super) async fn look_up(&mut self, path: &str) -> Result<Facts, Reply> {
        let reply = self.command(&format!("MLST {path}")).await;
        if reply.is_negative() {
            return Err(reply);
        }
        Facts::read(&reply).ok_or_else(|| Reply::new(451, "A local error; try again."))
    }
}
