//! Where data connections come from: PASV, EPSV, PORT, EPRT.

use std::net::{IpAddr, SocketAddr};

use crate::ftp::command::Passive;
use crate::ftp::data::{DataSource, PassiveListener};
use crate::ftp::reply::Reply;
use crate::ftp::session::Session;

/// The lowest port of a client that the server connects to: below are the services of its machine.
const MIN_CLIENT_PORT: u16 = 1024;

impl Session {
    /// PASV: an address of IPv4 and a port.
    pub(super) fn passive(&mut self) -> Reply {
        if self.is_extended_only {
            return only_extended();
        }
        let told = match (self.ftp.config.passive_host, self.ends.called) {
            (Some(host), _) => host,
            (None, IpAddr::V4(ip)) => ip,
            (None, IpAddr::V6(_)) => return Reply::new(425, "PASV is for IPv4; use EPSV."),
        };
        let listener = match self.listen() {
            Ok(listener) => listener,
            Err(reply) => return reply,
        };
        let [a, b, c, d] = told.octets();
        let [high, low] = listener.port().to_be_bytes();
        self.source = Some(DataSource::Passive(listener));
        let text = format!("Entering Passive Mode ({a},{b},{c},{d},{high},{low}).");
        Reply::new(227, text)
    }

    /// EPSV: a port at the address that the client knows already.
    pub(super) fn extended_passive(&mut self, passive: Passive) -> Reply {
        let family = if self.ends.called.is_ipv4() { 1 } else { 2 };
        match passive {
            Passive::Only => {
                self.is_extended_only = true;
                return Reply::new(200, "EPSV only, from now on.");
            }
            Passive::Family(asked) if asked != family => {
                return Reply::new(
                    522,
                    format!("Network protocol not supported, use ({family})"),
                );
            }
            Passive::Any | Passive::Family(_) => {}
        }
        match self.listen() {
            Ok(listener) => {
                let port = listener.port();
                self.source = Some(DataSource::Passive(listener));
                Reply::new(229, format!("Entering Extended Passive Mode (|||{port}|)"))
            }
            Err(reply) => reply,
        }
    }

    /// PORT and EPRT: to the client itself, and to none of its services, or else the server would connect to anybody on
    /// anybody's behalf.
    pub(super) fn active(&mut self, address: SocketAddr) -> Reply {
        if self.is_extended_only {
            return only_extended();
        }
        if !self.ftp.config.allows_active {
            return Reply::new(502, "Active mode is not offered; use PASV or EPSV.");
        }
        if address.ip().to_canonical() != self.ends.client.ip() || address.port() < MIN_CLIENT_PORT
        {
            return Reply::new(501, "Only ports of your own address, from 1024 on.");
        }
        self.source = Some(DataSource::Active(address));
        Reply::new(200, "The server will connect there.")
    }

    /// Listens on a passive port. An earlier one is given back first.
    fn listen(&mut self) -> Result<PassiveListener, Reply> {
        self.source = None;
        self.ftp.ports.listen(self.ends.local).map_err(|error| {
            tracing::warn!(%error, "no passive port");
            Reply::new(425, "No port is free for a data connection; try again.")
        })
    }
}

fn only_extended() -> Reply {
    Reply::new(503, "You said EPSV ALL.")
}
