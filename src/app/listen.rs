//! Listeners: bound before anything else starts, so that a taken port is told in one sentence.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::app::Failure;
use crate::config::Listeners;

/// The listeners of the gateway; nothing where one is off.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) s3: Option<TcpListener>,
    pub(super) ftp: Option<TcpListener>,
    pub(super) ftps: Option<TcpListener>,
    pub(super) admin: Option<TcpListener>,
}

/// Where the listeners really are, once port 0 has become a port.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addresses {
    pub(super) s3: Option<SocketAddr>,
    pub(super) ftp: Option<SocketAddr>,
    pub(super) ftps: Option<SocketAddr>,
    pub(super) admin: Option<SocketAddr>,
}

impl Bound {
    pub(super) fn addresses(&self) -> Addresses {
        let address = |listener: &Option<TcpListener>| listener.as_ref()?.local_addr().ok();
        Addresses {
            s3: address(&self.s3),
            ftp: address(&self.ftp),
            ftps: address(&self.ftps),
            admin: address(&self.admin),
        }
    }
}

/// Binds what is not off.
///
/// Errors: an address is taken, or not this machine's.
pub(super) async fn bind(listeners: &Listeners) -> Result<Bound, Failure> {
    Ok(Bound {
        s3: bind_one("HUGBUCKET_S3_ADDR", listeners.s3).await?,
        ftp: bind_one("HUGBUCKET_FTP_ADDR", listeners.ftp).await?,
        ftps: bind_one("HUGBUCKET_FTPS_ADDR", listeners.ftps).await?,
        admin: bind_one("HUGBUCKET_ADMIN_ADDR", listeners.admin).await?,
    })
}

async fn bind_one(
    variable: &str,
    address: Option<SocketAddr>,
) -> Result<Option<TcpListener>, Failure> {
    let Some(address) = address else {
        return Ok(None);
    };
    let listener = TcpListener::bind(address).await.map_err(|error| {
        Failure::configuration(format!("cannot listen on {address} ({variable}): {error}"))
    })?;
    Ok(Some(listener))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_a_configuration_failure_that_names_it() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        let listeners = Listeners {
            s3: Some(address),
            ftp: None,
            ftps: None,
            admin: None,
        };
        let failure = bind(&listeners).await.unwrap_err();
        assert_eq!(failure.exit_code(), 2);
        let sentence = failure.to_string();
        assert!(sentence.contains(&address.to_string()), "{sentence}");
        assert!(sentence.contains("HUGBUCKET_S3_ADDR"), "{sentence}");
    }

    #[tokio::test]
    async fn a_listener_that_is_off_is_not_bound() {
        let listeners = Listeners {
            s3: None,
            ftp: None,
            ftps: None,
            admin: Some("127.0.0.1:0".parse().unwrap()),
        };
        let addresses = bind(&listeners).await.unwrap().addresses();
        assert_eq!(addresses.s3, None);
        assert_ne!(addresses.admin.unwrap().port(), 0);
    }
}
