//! Who is here: sessions in all, from each address, and before their login.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ftp::config::FtpLimits;

/// Counts sessions, and refuses those beyond the limits. A cheap clone.
#[derive(Debug, Clone)]
pub(super) struct Census(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: FtpLimits,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    sessions: usize,
    logging_in: usize,
    by_address: HashMap<IpAddr, Here>,
}

/// The sessions of one address.
#[derive(Debug, Default)]
struct Here {
    sessions: usize,
    logging_in: usize,
}

/// Which limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// That of all sessions, or of those that did not log in yet.
    Everywhere,
    /// That of the client's address.
    Address,
}

impl Full {
    /// Returns the reason for the client.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Everywhere => "Too many sessions; try again later.",
            Self::Address => "Too many sessions from your address.",
        }
    }
}

impl Census {
    /// Counts nobody yet.
    pub(super) fn new(limits: FtpLimits) -> Self {
        Self(Arc::new(Inner {
            limits,
            counts: Mutex::default(),
        }))
    }

    /// Takes a session in that did not log in yet.
    ///
    /// Errors: a limit is reached; nothing was counted.
    pub(super) fn admit(&self) -> Result<Seat, Full> {
        let mut counts = self.counts();
        let limits = &self.0.limits;
        let has_room =
            counts.sessions < limits.max_sessions && counts.logging_in < limits.max_logging_in;
        if !has_room {
            return Err(Full::Everywhere);
        }
        counts.sessions += 1;
        counts.logging_in += 1;
        Ok(Seat {
            census: self.clone(),
            address: None,
            is_logging_in: true,
        })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Every change leaves the counts whole.
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session's seat, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    census: Census,
    address: Option<IpAddr>,
    is_logging_in: bool,
}

impl Seat {
    /// Counts the session for its address, once that is known.
    ///
    /// Errors: the address has too many; the seat as such stays.
    pub(super) fn at(&mut self, address: IpAddr) -> Result<(), Full> {
        let mut counts = self.census.counts();
        let limits = &self.census.0.limits;
        let here = counts.by_address.entry(address).or_default();
        let has_room = here.sessions < limits.max_sessions_per_address
            && here.logging_in < limits.max_logging_in_per_address;
        if !has_room {
            return Err(Full::Address);
        }
        here.sessions += 1;
        here.logging_in += 1;
        drop(counts);
        self.address = Some(address);
        Ok(())
    }

    /// Notes that the session is logged in.
    pub(super) fn logged_in(&mut self) {
        if std::mem::take(&mut self.is_logging_in) {
            self.census.counts().left_login(self.address);
        }
    }
}

impl Counts {
    fn left_login(&mut self, address: Option<IpAddr>) {
        self.logging_in -= 1;
        if let Some(here) = address.and_then(|address| self.by_address.get_mut(&address)) {
            here.logging_in -= 1;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.census.counts();
        counts.sessions -= 1;
        if self.is_logging_in {
            counts.left_login(self.address);
        }
        if let Some(address) = self.address
            && let Some(here) = counts.by_address.get_mut(&address)
        {
            here.sessions -= 1;
            if here.sessions == 0 {
                counts.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn census(sessions: usize, per_address: usize, logging_in: usize) -> Census {
        Census::new(FtpLimits {
            max_sessions: sessions,
            max_sessions_per_address: per_address,
            max_logging_in: logging_in,
            max_logging_in_per_address: 2,
            ..FtpLimits::default()
        })
    }

    #[test]
    fn each_limit_refuses_and_frees_its_place() {
        let census = census(3, 9, 2);
        let mut first = census.admit().unwrap();
        let _second = census.admit().unwrap();
        assert_eq!(census.admit().unwrap_err(), Full::Everywhere);
        first.logged_in();
        let third = census.admit().unwrap();
        first.logged_in();
        assert_eq!(census.admit().unwrap_err(), Full::Everywhere);
        drop((first, third));
        census.admit().unwrap();
    }

    #[test]
    fn an_address_cannot_take_every_seat_before_the_login() {
        let census = census(9, 9, 9);
        let one: IpAddr = [192, 0, 2, 1].into();
        let sit = || {
            let mut seat = census.admit().unwrap();
            seat.at(one).map(|()| seat)
        };
        let (mut first, _second) = (sit().unwrap(), sit().unwrap());
        assert_eq!(sit().unwrap_err(), Full::Address);
        first.logged_in();
        let third = sit().unwrap();
        drop((first, third));
        sit().unwrap();
        let mut other = census.admit().unwrap();
        other.at([192, 0, 2, 2].into()).unwrap();
    }

    #[test]
    fn an_address_has_a_limit_of_its_own_and_leaves_no_trace() {
        let census = census(9, 1, 9);
        let [one, two]: [IpAddr; 2] = [[192, 0, 2, 1].into(), [192, 0, 2, 2].into()];
        let mut first = census.admit().unwrap();
        first.at(one).unwrap();
        let mut second = census.admit().unwrap();
        assert_eq!(second.at(one), Err(Full::Address));
        second.at(two).unwrap();
        drop(first);
        let mut third = census.admit().unwrap();
        third.at(one).unwrap();
        drop((second, third));
        assert!(census.counts().by_address.is_empty());
    }
}
