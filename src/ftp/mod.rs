//! The FTP adapter: FTP and FTPS in, storage operations out, and back.
//!
//! An own session layer stands in front of libunftp, which serves as the engine behind one module:
//!
//! ```text
//! client ══TLS/TCP══► session (control) ──one command at a time──► engine ══loopback══► libunftp ──► backend ──► Gateway
//! client ══TLS/TCP══► data, transfer ──bytes; FIN = complete, RST = aborted──► libunftp's data port ────┘
//!                             gate (aborted? ended cleanly?) ◄── asked by the backend before an upload ends
//! ```
//!
//! # What the backend has to know
//!
//! - `Backend::new(gateway, gate, refusals, settings)` is made once for every engine, and cloned for the session, which calls
//!   one method that the engine's trait lacks: `set_modified(&self, user, path, at)` for MFMT.
//! - Paths that come from the session are absolute and normalised (`/`, `/bucket`, `/bucket/a/b`), and free of control
//!   characters; they are the user's own, so [`User::root`](user::User::root) still has to be put in front.
//! - Operations go out by [`User::call`](user::User::call).
//! - Every error is left in the [`RefusalSlot`](refusal::RefusalSlot) before it is returned.
//! - The body of an upload awaits [`Gate::permit`](gate::Gate::permit) before it reports its clean end.

#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the session that uses it is not there yet")
)]
mod backend;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the session that uses it is not there yet")
)]
mod error;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the session that uses it is not there yet")
)]
mod gate;
mod path;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the session that uses it is not there yet")
)]
mod refusal;
#[expect(dead_code, reason = "the session that uses it is not there yet")]
mod user;
