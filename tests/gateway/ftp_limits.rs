//! Limits: how many sessions there may be, how long they may be silent, and whose they are behind a proxy.

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::ftp_client::{Ftp, comes_to_rest, ftp_stand};
use crate::stand::Gateway;

/// Returns how many descriptors the gateway has open.
fn descriptors(gateway: &Gateway) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", gateway.pid()))
        .unwrap()
        .count()
}

/// Connects, and returns what the server says until it closes the connection.
async fn refused(gateway: &Gateway) -> String {
    let address = gateway.ftp.as_deref().unwrap();
    let mut said = String::new();
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.read_to_string(&mut said).await.unwrap();
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_beyond_the_limit_are_refused_and_leave_nothing_open() {
    let stand = ftp_stand(&[("HUGBUCKET_FTP_MAX_SESSIONS", "3")]).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(Ftp::login(&stand.gateway).await);
    }
    let before = descriptors(&stand.gateway);
    for _ in 0..100 {
        let refused = (0..10).map(|_| refused(&stand.gateway));
        for said in futures::future::join_all(refused).await {
            assert!(said.starts_with("421 "), "{said}");
        }
    }
    let after = descriptors(&stand.gateway);
    assert!(after <= before + 2, "{before} descriptors, then {after}");
    for ftp in &mut held {
        assert_eq!(ftp.command("NOOP").await.code, 200);
    }
    // A place that becomes free is given away.
    assert_eq!(held.pop().unwrap().command("QUIT").await.code, 221);
    drop(held);
    comes_to_rest(&stand.gateway).await;
    Ftp::login(&stand.gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_a_limit_of_its_own() {
    let stand = ftp_stand(&[("HUGBUCKET_FTP_MAX_SESSIONS_PER_ADDRESS", "1")]).await;
    let _held = Ftp::login(&stand.gateway).await;
    let said = refused(&stand.gateway).await;
    assert!(
        said.starts_with("421 ") && said.contains("address"),
        "{said}"
    );
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let address = stand.gateway.ftp.as_deref().unwrap().parse().unwrap();
    let mut other = Ftp::over(socket.connect(address).await.unwrap());
    assert_eq!(other.reply().await.code, 220);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_silent_is_sent_away() {
    let stand = ftp_stand(&[("HUGBUCKET_FTP_IDLE_TIMEOUT", "1 s")]).await;
    let mut ftp = Ftp::login(&stand.gateway).await;
    assert_eq!(ftp.reply().await.code, 421);
    assert_eq!(ftp.next_reply().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_says_whose_connection_it_is() {
    let stand = ftp_stand(&[
        ("HUGBUCKET_FTP_PROXY_PROTOCOL", "true"),
        ("HUGBUCKET_TRUSTED_PROXIES", "127.0.0.1"),
        ("HUGBUCKET_FTP_MAX_SESSIONS_PER_ADDRESS", "1"),
    ])
    .await;
    let through = async |source: &str| {
        let address = stand.gateway.ftp.as_deref().unwrap();
        let mut ftp = Ftp::over(TcpStream::connect(address).await.unwrap());
        ftp.send(format!("PROXY TCP4 {source} 10.0.0.1 40000 21\r\n").as_bytes())
            .await;
        ftp
    };
    let mut first = through("192.0.2.1").await;
    assert_eq!(first.reply().await.code, 220);
    // What is allowed on this machine is not allowed to somebody whom the proxy lets in from elsewhere.
    assert_eq!(first.command("USER ann").await.code, 530);
    assert_eq!(through("192.0.2.1").await.reply().await.code, 421);
    assert_eq!(through("192.0.2.2").await.reply().await.code, 220);
    let mut local = through("127.0.0.9").await;
    assert_eq!(local.reply().await.code, 220);
    local.log_in().await;
    // Data connections come from the proxy too.
    let (listing, reply) = local.load("NLST /").await;
    assert_eq!((reply.code, listing.as_slice()), (226, &b"data\r\n"[..]));
    // Without a header, there is no session.
    let mut bare = through("nowhere").await;
    assert_eq!(bare.next_reply().await, None);
}
