//! Who is connected: in all, and from each address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::s3::config::ServerLimits;
use crate::telemetry::{ConnectionRefused, Metrics};

/// How long a client that is refused may take to read why.
const LINGER: Duration = Duration::from_secs(1);

/// Of what it sent meanwhile, this much is taken, so that its system does not throw the answer away.
const MAX_TAKEN_BYTES: u64 = 64 << 10;

/// Counts connections, and refuses those beyond the limits. A cheap clone.
#[derive(Debug, Clone)]
pub(super) struct Census(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: ServerLimits,
    counts: Mutex<Counts>,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Census {
    /// Counts nobody yet.
    pub(super) fn new(limits: ServerLimits, metrics: Metrics) -> Self {
        Self(Arc::new(Inner {
            limits,
            counts: Mutex::default(),
            metrics,
        }))
    }

    /// Takes a connection in. Proxies of ours may bring as many as they like: theirs are those of others.
    ///
    /// Errors: which limit is reached; nothing was counted but the refusal.
    pub(super) fn enter(&self, peer: IpAddr) -> Result<Seat, ConnectionRefused> {
        let limits = &self.0.limits;
        let address = site_of(peer);
        let is_bounded =
            limits.max_connections_per_address > 0 && !limits.trusted_proxies.include(Some(peer));
        let mut counts = self.counts();
        let here = counts.by_address.get(&address).copied().unwrap_or(0);
        let refusal = if counts.total >= limits.max_connections {
            Some(ConnectionRefused::Total)
        } else if is_bounded && here >= limits.max_connections_per_address {
            Some(ConnectionRefused::Address)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            self.0.metrics.s3_connection_refused(refusal);
            return Err(refusal);
        }
        counts.total += 1;
        counts.by_address.insert(address, here + 1);
        self.0.metrics.s3_connections(counts.total);
        Ok(Seat {
            census: self.clone(),
            address,
        })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Every change leaves the counts whole.
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns what counts as one address: of IPv6 the network of 64 bits, of which a single client has all.
fn site_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(ip) => {
            let network = u128::from(ip) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(network))
        }
        ip @ IpAddr::V4(_) => ip,
    }
}

/// A connection's seat, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    census: Census,
    address: IpAddr,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.census.counts();
        counts.total = counts.total.saturating_sub(1);
        if let Some(here) = counts.by_address.get_mut(&self.address) {
            *here = here.saturating_sub(1);
            if *here == 0 {
                counts.by_address.remove(&self.address);
            }
        }
        self.census.0.metrics.s3_connections(counts.total);
    }
}

/// Tells a client of plain HTTP why it is not served, without waiting for what it wants.
pub(super) async fn refuse(mut stream: TcpStream, refusal: ConnectionRefused) {
    let reason = match refusal {
        ConnectionRefused::Total => "There are too many connections; please try again later.",
        ConnectionRefused::Address => "There are too many connections from your address.",
    };
    let document = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>SlowDown</Code><Message>{reason}</Message></Error>"
    );
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/xml\r\ncontent-length: {}\r\nretry-after: 5\r\n\
         connection: close\r\n\r\n{document}",
        document.len()
    );
    let told = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        let mut rest = stream.take(MAX_TAKEN_BYTES);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    // Who does not listen misses nothing but the reason.
    let _ = tokio::time::timeout(LINGER, told).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::config::TrustedProxies;

    fn census(limits: ServerLimits) -> (Census, Metrics) {
        let metrics = Metrics::new();
        (Census::new(limits, metrics.clone()), metrics)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn limits(total: usize, per_address: usize) -> ServerLimits {
        ServerLimits {
            max_connections: total,
            max_connections_per_address: per_address,
            trusted_proxies: TrustedProxies::new(|peer| peer == ip("10.0.0.9")),
            ..ServerLimits::default()
        }
    }

    fn shows(metrics: &Metrics, line: &str) -> bool {
        metrics.render().lines().any(|found| found == line)
    }

    #[test]
    fn an_address_has_its_share_and_all_together_theirs() {
        let (census, metrics) = census(limits(4, 2));
        let first = census.enter(ip("10.0.0.1")).unwrap();
        let _second = census.enter(ip("::ffff:10.0.0.1")).unwrap();
        let refused = census.enter(ip("10.0.0.1"));
        assert_eq!(refused.unwrap_err(), ConnectionRefused::Address);
        let _others = [ip("10.0.0.2"), ip("10.0.0.3")].map(|ip| census.enter(ip).unwrap());
        let refused = census.enter(ip("10.0.0.4"));
        assert_eq!(refused.unwrap_err(), ConnectionRefused::Total);
        for line in [
            "hugbucket_s3_connections_active 4",
            "hugbucket_s3_connections_refused_total{reason=\"address\"} 1",
            "hugbucket_s3_connections_refused_total{reason=\"total\"} 1",
        ] {
            assert!(shows(&metrics, line), "{line}");
        }
        drop(first);
        let _again = census.enter(ip("10.0.0.1")).unwrap();
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_nobody_is_remembered() {
        let (census, _) = census(limits(10, 1));
        let seat = census.enter(ip("2001:db8::1")).unwrap();
        assert!(census.enter(ip("2001:db8::ffff:2")).is_err());
        assert!(census.enter(ip("2001:db8:0:1::1")).is_ok());
        drop(seat);
        assert!(census.counts().by_address.is_empty());
        assert_eq!(census.counts().total, 0);
    }

    #[test]
    fn proxies_of_ours_and_zero_set_no_limit_for_an_address() {
        let (bounded, _) = census(limits(10, 1));
        let _seats: Vec<_> = (0..5)
            .map(|_| bounded.enter(ip("10.0.0.9")).unwrap())
            .collect();
        let (open, _) = census(limits(10, 0));
        let _seats: Vec<_> = (0..5)
            .map(|_| open.enter(ip("10.0.0.1")).unwrap())
            .collect();
    }
}
