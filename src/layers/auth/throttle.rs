//! Throttling of password guesses: failures cost time, per address and per name.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::cache::ExpiringMap;

/// Failures that an address has free, and the time that gives one of them back.
const OF_ADDRESS: Rate = Rate {
    burst: 10,
    interval: Duration::from_secs(6),
};

/// The same for a name. An address that never failed is not made to wait for what others did to a name: it may be the one
/// that knows the password.
const OF_NAME: Rate = Rate {
    burst: 20,
    interval: Duration::from_secs(3),
};

/// The longest wait. A correct password is never refused, however many wrong ones came before.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// Addresses and names that are kept in mind; the least recently seen are forgotten first.
const MAX_ENTRIES: usize = 10_000;

struct Rate {
    burst: u32,
    interval: Duration,
}

impl Rate {
    /// How much debt is free.
    fn allowance(&self) -> Duration {
        self.interval * self.burst
    }

    fn max_debt(&self) -> Duration {
        self.allowance() + MAX_WAIT
    }
}

/// Failures by address and by name, as the moment at which all of them are forgiven.
#[derive(Debug)]
pub(super) struct Throttle {
    addresses: ExpiringMap<IpAddr, Instant>,
    names: ExpiringMap<u64, Instant>,
    /// Names are kept as keyed hashes: they come from strangers, and may be passwords in the wrong field.
    key: RandomState,
}

impl Throttle {
    pub(super) fn new() -> Self {
        Self {
            addresses: ExpiringMap::new(MAX_ENTRIES, OF_ADDRESS.max_debt()),
            names: ExpiringMap::new(MAX_ENTRIES, OF_NAME.max_debt()),
            key: RandomState::new(),
        }
    }

    /// Returns how long a password that comes from `peer` for `name` has to wait before it is looked at.
    ///
    /// Whoever has to wait pays for the next one who does, so that many guesses at once wait longer than one.
    pub(super) fn wait(&self, peer: Option<IpAddr>, name: &str) -> Duration {
        let Some(forgiven) = peer.and_then(|peer| self.addresses.get(&peer)) else {
            return Duration::ZERO;
        };
        let named = self.names.get(&self.digest(name));
        let of_name = named.map_or(Duration::ZERO, |forgiven| overdue(forgiven, &OF_NAME));
        let wait = overdue(forgiven, &OF_ADDRESS).max(of_name);
        if !wait.is_zero() {
            self.failed(peer, name);
        }
        wait.min(MAX_WAIT)
    }

    /// Notes a wrong password. Unknown names count as well: whoever guesses names guesses.
    pub(super) fn failed(&self, peer: Option<IpAddr>, name: &str) {
        if let Some(peer) = peer {
            charge(&self.addresses, peer, &OF_ADDRESS);
        }
        charge(&self.names, self.digest(name), &OF_NAME);
    }

    fn digest(&self, name: &str) -> u64 {
        self.key.hash_one(name)
    }
}

fn overdue(forgiven: Instant, rate: &Rate) -> Duration {
    let debt = forgiven.saturating_duration_since(Instant::now());
    debt.saturating_sub(rate.allowance())
}

fn charge<K: Hash + Eq + Clone>(debts: &ExpiringMap<K, Instant>, who: K, rate: &Rate) {
    let now = Instant::now();
    let forgiven = debts.get(&who).unwrap_or(now).max(now) + rate.interval;
    debts.insert(who, forgiven.min(now + rate.max_debt()));
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUESSER: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)));
    const OWNER: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2)));

    #[tokio::test(start_paused = true)]
    async fn a_guesser_waits_and_nobody_else_does() {
        let throttle = Throttle::new();
        for _ in 0..10 {
            assert_eq!(throttle.wait(GUESSER, "ann"), Duration::ZERO);
            throttle.failed(GUESSER, "ann");
        }
        throttle.failed(GUESSER, "ann");
        assert!(throttle.wait(GUESSER, "ann") > Duration::ZERO);
        // Another name does not help the guesser, and the owner of the name has no wait.
        assert!(throttle.wait(GUESSER, "bob") > Duration::ZERO);
        assert_eq!(throttle.wait(OWNER, "ann"), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_is_bounded_and_ends() {
        let throttle = Throttle::new();
        for _ in 0..10_000 {
            throttle.failed(GUESSER, "ann");
        }
        assert_eq!(throttle.wait(GUESSER, "ann"), MAX_WAIT);
        tokio::time::advance(OF_ADDRESS.max_debt()).await;
        assert_eq!(throttle.wait(GUESSER, "ann"), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn guesses_for_one_name_from_many_addresses_slow_each_other_down() {
        let throttle = Throttle::new();
        let address = |last: u8| Some(IpAddr::from([192, 0, 2, last]));
        for last in 0..=30 {
            throttle.failed(address(last), "ann");
        }
        assert!(throttle.wait(address(3), "ann") > Duration::ZERO);
        assert_eq!(throttle.wait(address(3), "bob"), Duration::ZERO);
        assert_eq!(throttle.wait(address(99), "ann"), Duration::ZERO);
    }
}
