//! `hugbucket healthcheck`: asks the admin listener of the same configuration, or another one, whether the gateway is ready.
//!
//! Containers without a shell or curl use it as their health command, and the chart's test asks through the Service with it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::app::Failure;
use crate::app::cli::HealthCheckArguments;
use crate::config::{Values, parse};

/// Asks `/readyz`. Succeeds only on 200.
///
/// Errors: the admin listener is off, does not answer in time, or answers something else.
pub(super) async fn run(values: &Values, arguments: HealthCheckArguments) -> Result<(), Failure> {
    let address = match arguments.addr {
        Some(address) => address,
        None => own_address(values)?,
    };
    let failed = |reason: String| Failure::Runtime(format!("{address} {reason}"));
    match tokio::time::timeout(arguments.timeout, ask(&address)).await {
        Ok(Ok(StatusCode::OK)) => Ok(()),
        Ok(Ok(status)) => Err(failed(format!("is not ready: {status}"))),
        Ok(Err(reason)) => Err(failed(format!("does not answer: {reason}"))),
        Err(_) => Err(failed(format!(
            "does not answer within {:?}",
            arguments.timeout
        ))),
    }
}

/// Returns the address of this configuration's admin listener.
fn own_address(values: &Values) -> Result<String, Failure> {
    let address = values.parse("HUGBUCKET_ADMIN_ADDR", parse::listener)?;
    let address = address.map(reachable).ok_or_else(|| {
        Failure::configuration("there is nothing to ask: HUGBUCKET_ADMIN_ADDR is `off`")
    })?;
    Ok(address.to_string())
}

/// Turns the address of a listener into one that can be connected to: "every address" becomes loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Sends the request over a plain connection: no proxy, no redirect, no pool. A host name is looked up.
async fn ask(address: &str) -> Result<StatusCode, String> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let connection = tokio::spawn(connection);
    let request = Request::get("/readyz")
        .header(header::HOST, address)
        .body(Empty::<Bytes>::new())
        .map_err(|_| "it is no host and port".to_owned())?;
    let response = sender.send_request(request).await;
    connection.abort();
    response
        .map(|response| response.status())
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use axum::Router;
    use axum::routing::get;
    use tokio::net::TcpListener;

    use super::*;

    async fn check(admin: String) -> Result<(), Failure> {
        let environment = BTreeMap::from([("HUGBUCKET_ADMIN_ADDR".to_owned(), admin)]);
        let values = Values::gather(&environment, &BTreeMap::new(), None).unwrap();
        run(&values, arguments(None)).await
    }

    fn arguments(addr: Option<String>) -> HealthCheckArguments {
        let timeout = Duration::from_secs(10);
        HealthCheckArguments { addr, timeout }
    }

    async fn gateway(status: StatusCode) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/readyz", get(move || async move { status }));
        tokio::spawn(async move { axum::serve(listener, router).await });
        address.to_string()
    }

    #[tokio::test]
    async fn only_a_ready_gateway_is_healthy() {
        assert!(check(gateway(StatusCode::OK).await).await.is_ok());
        let draining = check(gateway(StatusCode::SERVICE_UNAVAILABLE).await)
            .await
            .unwrap_err();
        assert_eq!(draining.exit_code(), 1);
        assert!(draining.to_string().contains("not ready"), "{draining}");
    }

    #[tokio::test]
    async fn a_gateway_that_is_not_there_is_not_healthy() {
        let unused = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        assert_eq!(check(unused.to_string()).await.unwrap_err().exit_code(), 1);
        assert_eq!(check("off".into()).await.unwrap_err().exit_code(), 2);
    }

    #[tokio::test]
    async fn another_gateway_is_asked_by_the_name_of_its_host() {
        let other = gateway(StatusCode::OK).await;
        let port = other.rsplit(':').next().unwrap();
        let off = BTreeMap::from([("HUGBUCKET_ADMIN_ADDR".to_owned(), "off".to_owned())]);
        let values = Values::gather(&off, &BTreeMap::new(), None).unwrap();
        let ask = |addr: String| run(&values, arguments(Some(addr)));
        assert!(ask(format!("localhost:{port}")).await.is_ok());
        let refused = ask("no port".into()).await.unwrap_err();
        assert_eq!(refused.exit_code(), 1);
    }

    #[test]
    fn every_address_becomes_loopback() {
        let reached = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:1"), "127.0.0.1:1");
        assert_eq!(reached("[::]:1"), "[::1]:1");
        assert_eq!(reached("192.0.2.1:1"), "192.0.2.1:1");
    }
}
