//! The FTP adapter: FTP and FTPS in, storage operations out, and back.
//!
//! An own session layer stands in front of libunftp, which serves as the engine behind one module:
//!
//! ```text
//! client ══TLS/TCP══► session (control) ──one command at a time──► engine ══loopback══► libunftp ──► backend ──► Gateway
//! client ══TLS/TCP══► data, transfer ──FIN = complete, RST = aborted──► libunftp's data port ───────────┤
//!                               ├────── conduit: the bytes of files, past the engine ───────────────────┘
//!                             gate (aborted? ended cleanly?) ◄── asked by the backend before an upload ends
//! ```
//!
//! The session decides what a client may say and when; the backend knows what paths and bytes mean in storage; the engine in
//! between never sees anything that could confuse it. The heart is a rule: **only a clean end of the data connection, with a
//! control connection that is still there, and without an ABOR, ever commits an upload.**
//!
//! # What the backend has to know
//!
//! - `Backend::new(gateway, links, settings)` is made once for every engine, which clones it. The session makes one of its own
//!   for what the engine's trait lacks: `set_modified(&self, user, path, at)` for MFMT.
//! - Paths that come from the session are absolute and normalised (`/`, `/bucket`, `/bucket/a/b`), and free of control
//!   characters; they are the user's own, so [`User::root`](user::User::root) still has to be put in front.
//! - Operations go out by [`User::call`](user::User::call).
//! - Every error is left in the [`RefusalSlot`](refusal::RefusalSlot) before it is returned.
//! - A file's bytes come and go by the [`Conduit`](conduit::Conduit), where a session has opened it.
//! - The body of an upload awaits [`Gate::permit`](gate::Gate::permit) before it reports its clean end.
//!
//! | file | holds |
//! |---|---|
//! | `listener`, `census`, `proxy` | connections: accepted, counted, and traced back through a proxy |
//! | `session`, `control` | the state of a client, and the connection that commands come by |
//! | `wire`, `command`, `reply`, `pathname` | lines, commands, replies, and paths, as pure functions |
//! | `transfer`, `data`, `gate` | data connections, and what makes a transfer a complete one |
//! | `conduit`, `frames` | the bytes of files on their way between session and backend |
//! | `engine` | libunftp |
//! | `backend`, `path`, `error` | storage as the engine sees it: commands, names, refusals |
//! | `user`, `refusal` | for whom, and why not |
//! | `links` | what a session and its backend share |
//! | `tls`, `config`, `audit` | encryption, settings, spans, and log lines |

mod audit;
mod backend;
mod census;
mod command;
mod conduit;
mod config;
mod control;
mod data;
mod engine;
mod error;
mod frames;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod gate;
mod links;
mod listener;
mod path;
mod pathname;
mod proxy;
mod refusal;
mod reply;
mod session;
mod tls;
mod transfer;
mod user;
mod wire;

pub use config::{FtpConfig, FtpLimits, Plaintext, ProxySources};
pub use listener::{Ftp, Opening};
pub use tls::FtpTls;
