//! Login and encryption.

use std::io;

use tracing::{Instrument as _, Span};

use crate::ftp::reply::Reply;
use crate::ftp::session::{Answer, LoggedIn, Login, Next, Session};
use crate::ftp::user::User;
use crate::storage::{Credentials, Identify, Protocol, RequestContext, Secret, StorageError};

/// Failed logins until the session is closed.
const MAX_FAILED_LOGINS: u32 = 5;

impl Session {
    /// USER. Every name is asked for its password, so that nobody learns which ones exist.
    pub(super) fn user(&mut self, name: String) -> Reply {
        if matches!(self.login, Login::User(_)) {
            return Reply::new(503, "You are logged in already.");
        }
        if !self.may_speak_plainly() {
            return Reply::new(530, "Log in over TLS: send AUTH TLS first.");
        }
        self.login = Login::Named(name);
        Reply::new(331, "A password is needed.")
    }

    /// PASS.
    pub(super) async fn pass(&mut self, password: Secret, span: &Span) -> io::Result<Answer> {
        let name = match std::mem::replace(&mut self.login, Login::Nobody) {
            Login::Named(name) => name,
            // A password without a name changes nothing.
            other => {
                self.login = other;
                return Ok(Reply::new(503, "Send USER first.").into());
            }
        };
        let peer = Some(self.ends.client.ip());
        let credentials = Credentials::Password {
            user: name,
            password: password.clone(),
        };
        let context = RequestContext::new(Protocol::Ftp, peer);
        let asked = self.ftp.gateway.call(context, credentials, Identify);
        match asked.instrument(span.clone()).await {
            Ok(identity) => {
                let user = User::new(identity.principal, password, peer);
                user.enter(span);
                self.log_in(user);
                Ok(Reply::new(230, "Logged in.").into())
            }
            Err(StorageError::AccessDenied { .. }) => Ok(self.login_failed().await),
            Err(error) => {
                tracing::warn!(%error, "a login cannot be judged");
                let text = "Logins are not possible at the moment; try again later.";
                Ok((Reply::new(421, text), Next::Close))
            }
        }
    }

    fn log_in(&mut self, user: User) {
        self.seat.logged_in();
        self.login = Login::User(Box::new(LoggedIn { user, crew: None }));
    }

    /// Whoever guesses has to wait for each answer, and to begin anew after a few.
    async fn login_failed(&mut self) -> Answer {
        self.failed_logins += 1;
        tokio::time::sleep(self.ftp.config.limits.login_penalty).await;
        if self.failed_logins >= MAX_FAILED_LOGINS {
            return (Reply::new(421, "Too many failed logins."), Next::Close);
        }
        Reply::new(530, "The user name or the password is wrong.").into()
    }

    /// AUTH TLS. What came behind it came in the clear, maybe from somebody between the client and us, and must not count
    /// as said under encryption.
    pub(super) fn auth(&mut self) -> Answer {
        if self.ftp.tls.is_none() {
            return Reply::new(502, "TLS is not configured here.").into();
        }
        if self.control.is_encrypted() {
            return Reply::new(503, "The connection is encrypted already.").into();
        }
        if self.control.has_read_ahead() || !self.waiting.is_empty() {
            return Reply::new(503, "Nothing may follow AUTH before its answer.").into();
        }
        (Reply::new(234, "Begin the TLS handshake."), Next::Handshake)
    }

    /// Encrypts the control connection. What was known of the client before is void (RFC 4217 §4).
    pub(super) async fn encrypt(&mut self) -> io::Result<()> {
        let Some(tls) = &self.ftp.tls else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let patience = self.ftp.config.limits.data_timeout;
        self.control.encrypt(tls, patience).await?;
        self.login = Login::Nobody;
        self.has_buffer_size = false;
        self.protects_data = false;
        Ok(())
    }

    /// PBSZ. TLS needs no buffer size, and says so (RFC 4217 §9).
    pub(super) fn buffer_size(&mut self) -> Reply {
        if !self.control.is_encrypted() {
            return Reply::new(503, "Send AUTH TLS first.");
        }
        self.has_buffer_size = true;
        Reply::new(200, "PBSZ=0")
    }

    /// PROT.
    pub(super) fn protect(&mut self, is_private: bool) -> Reply {
        if !self.control.is_encrypted() || !self.has_buffer_size {
            return Reply::new(503, "Send AUTH TLS and PBSZ first.");
        }
        self.protects_data = is_private;
        let level = if is_private { "P" } else { "C" };
        Reply::new(200, format!("The protection level is {level}."))
    }

    /// Reports whether the client may log in as the control connection is now.
    pub(super) fn may_speak_plainly(&self) -> bool {
        let plaintext = self.ftp.config.plaintext;
        self.control.is_encrypted() || plaintext.permits(self.ends.client.ip())
    }

    /// Refuses data connections in the clear to clients that must not use any.
    pub(super) fn check_protection(&self) -> Result<(), Reply> {
        let plaintext = self.ftp.config.plaintext;
        if self.protects_data || plaintext.permits(self.ends.client.ip()) {
            return Ok(());
        }
        Err(Reply::new(
            522,
            "Data must be encrypted: send PROT P first.",
        ))
    }
}
