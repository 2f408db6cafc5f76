//! Where upstreams may send us.
//!
//! The Hub names the CAS, and the CAS names the storage: addresses that come in answers. Whoever can forge an answer must not
//! learn a token by naming a host without TLS, nor reach by our hand what only this machine or its network reaches.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// The variables that name proxies, in capitals; the lower-case forms count too.
const PROXY_VARIABLES: [&str; 3] = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"];

/// What an address that came in an answer may be.
///
/// # Behaviour
/// - Behind an endpoint with TLS it is `https` and names a host: no IP address, no `localhost`, no user name.
/// - Behind an endpoint that is itself on this machine, or in plain HTTP because its operator says so, it may be anything that
///   HTTP can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destinations {
    allows_http: bool,
    allows_local: bool,
}

impl Destinations {
    /// Everything that HTTP can reach.
    pub const ANY: Self = Self {
        allows_http: true,
        allows_local: true,
    };

    /// Named hosts with TLS.
    pub const PUBLIC: Self = Self {
        allows_http: false,
        allows_local: false,
    };

    /// Returns what may follow from an endpoint's answers.
    pub fn beside(endpoint: &Url) -> Self {
        let allows_http = endpoint.scheme() == "http";
        Self {
            allows_http,
            allows_local: allows_http || !names_host(endpoint),
        }
    }

    /// Reads an address. The error says what is wrong with it, without the address: its query may be a credential.
    pub fn check(self, address: &str) -> Result<Url, &'static str> {
        let url = Url::parse(address).map_err(|_| "an address that cannot be read")?;
        match url.scheme() {
            "https" => {}
            "http" if self.allows_http => {}
            _ => return Err("an address without TLS, where TLS is needed"),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("an address with a user name in it");
        }
        if !self.allows_local && !names_host(&url) {
            return Err("an address that is not a named host's");
        }
        Ok(url)
    }

    /// Returns how names are resolved for connections to such addresses; `None` for the usual way.
    pub(super) fn resolver(self) -> Option<Arc<OutwardNames>> {
        (!self.allows_local).then(|| Arc::new(OutwardNames::new()))
    }
}

/// Reports whether the address names a host that need not be this machine.
fn names_host(url: &Url) -> bool {
    let Some(Host::Domain(name)) = url.host() else {
        return false;
    };
    let name = name.trim_end_matches('.');
    !name.is_empty() && name != "localhost" && !name.ends_with(".localhost")
}

/// Resolves names, and leaves out addresses that lead back to this machine or to its link, where clouds keep the credentials of
/// machines.
///
/// Addresses of private networks stay: networks that keep their own names, and reach the storage by a private way, are common, and
/// a host there still has to show a certificate for the name.
pub(super) struct OutwardNames {
    /// Hosts of proxies that the environment names; these may be anywhere.
    proxies: Vec<String>,
}

impl OutwardNames {
    fn new() -> Self {
        let lower = PROXY_VARIABLES.map(str::to_ascii_lowercase);
        let names = PROXY_VARIABLES.iter().copied();
        let names = names.chain(lower.iter().map(String::as_str));
        let values = names.filter_map(|name| std::env::var(name).ok());
        Self {
            proxies: values.filter_map(|value| host_of_proxy(&value)).collect(),
        }
    }
}

/// Returns the host of a proxy as its variable names it, with a scheme or without.
fn host_of_proxy(value: &str) -> Option<String> {
    let parse = |text: &str| Url::parse(text).ok()?.host_str().map(str::to_owned);
    parse(value).or_else(|| parse(&format!("http://{value}")))
}

impl Resolve for OutwardNames {
    fn resolve(&self, name: Name) -> Resolving {
        let is_proxy = self.proxies.iter().any(|proxy| proxy == name.as_str());
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let outward = found
                .into_iter()
                .filter(|at| is_proxy || is_outward(at.ip()));
            let outward: Vec<SocketAddr> = outward.collect();
            if outward.is_empty() {
                return Err("the name leads to this machine or its link only".into());
            }
            Ok(Box::new(outward.into_iter()) as Addrs)
        })
    }
}

impl fmt::Debug for OutwardNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OutwardNames")
    }
}

/// Reports whether an address is neither this machine's nor its link's, nor one of many machines'.
fn is_outward(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let is_this_network = ip.octets()[0] == 0;
            !(ip.is_loopback()
                || is_this_network
                || ip.is_link_local()
                || ip.is_multicast()
                || ip.is_broadcast())
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_unicast_link_local()
                || ip.is_multicast())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beside(endpoint: &str) -> Destinations {
        Destinations::beside(&Url::parse(endpoint).unwrap())
    }

    #[test]
    fn behind_tls_an_address_names_a_host_and_has_tls() {
        let hub = beside("https://huggingface.co");
        assert_eq!(hub, Destinations::PUBLIC);
        assert!(hub.check("https://cas.example/x?Signature=a").is_ok());
        for address in [
            "http://cas.example/x",
            "file:///etc/passwd",
            "ftp://cas.example/x",
            "gopher://cas.example/x",
            "data:text/plain,x",
            "https://127.0.0.1/x",
            "https://127.1/x",
            "https://2130706433/x",
            "https://0x7f.0.0.1/x",
            "https://10.0.0.1/x",
            "https://192.168.1.1/x",
            "https://169.254.169.254/latest/meta-data/",
            "https://[::1]/x",
            "https://[::ffff:127.0.0.1]/x",
            "https://[fe80::1]/x",
            "https://localhost/x",
            "https://LOCALHOST./x",
            "https://a.localhost/x",
            "https://user@cas.example/x",
            "https://user:pw@cas.example/x",
            "//cas.example/x",
            "",
        ] {
            let refused = hub.check(address);
            assert!(refused.is_err(), "{address}");
            let reason = refused.unwrap_err();
            assert!(!reason.contains("cas.example"), "{reason}");
        }
    }

    #[test]
    fn behind_a_local_endpoint_addresses_are_local_too() {
        for endpoint in ["http://127.0.0.1:9", "http://hub.internal"] {
            assert_eq!(beside(endpoint), Destinations::ANY);
        }
        assert!(Destinations::ANY.check("http://127.0.0.1:9/x").is_ok());
        assert!(Destinations::ANY.check("file:///etc/passwd").is_err());
        // With TLS on this machine, TLS stays.
        let local = beside("https://localhost:8443");
        assert!(local.check("https://127.0.0.1/x").is_ok());
        assert!(local.check("http://127.0.0.1/x").is_err());
    }

    #[test]
    fn inward_addresses_are_told_apart() {
        for (address, expected) in [
            ("127.0.0.1", false),
            ("0.0.0.0", false),
            ("169.254.169.254", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::1", false),
            ("::", false),
            ("fe80::1", false),
            ("ff02::1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:169.254.169.254", false),
            ("10.0.0.1", true),
            ("18.0.0.1", true),
            ("2600::1", true),
        ] {
            assert_eq!(is_outward(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_back_here_has_no_address() {
        let resolve = async |proxies: &[&str]| {
            let proxies = proxies.iter().map(|name| (*name).to_owned()).collect();
            let name: Name = "localhost".parse().unwrap();
            OutwardNames { proxies }.resolve(name).await.map(|_| ())
        };
        let refused = resolve(&[]).await.unwrap_err().to_string();
        assert!(refused.contains("this machine"), "{refused}");
        assert!(resolve(&["localhost"]).await.is_ok());
        assert!(Destinations::PUBLIC.resolver().is_some());
        assert!(Destinations::ANY.resolver().is_none());
        assert_eq!(
            host_of_proxy("proxy.corp:3128").as_deref(),
            Some("proxy.corp")
        );
        assert_eq!(
            host_of_proxy("http://u:p@proxy.corp:1").as_deref(),
            Some("proxy.corp")
        );
    }
}
