//! FTP over TLS: explicit and implicit, both versions, renewal, and who may go without.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::ftp_client::{Ftp, ftp_gateway, shake_hands};
use crate::stand::{BUCKET, Gateway, Stand, get};

/// A certificate with its key, in files that a gateway reads.
pub(crate) struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    /// Returns files with a new pair, and clients that trust it.
    pub(crate) fn new() -> (Self, Arc<ClientConfig>) {
        let files = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let tls = files.renew();
        (files, tls)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts a new pair in place.
    fn renew(&self) -> Arc<ClientConfig> {
        let pair = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(self.path("tls.key"), pair.signing_key.serialize_pem()).unwrap();
        std::fs::write(self.path("tls.crt"), pair.cert.pem()).unwrap();
        trusting(&pair.cert.pem(), rustls::ALL_VERSIONS)
    }

    /// Returns the settings of a gateway that uses them.
    pub(crate) fn settings(&self) -> [(&'static str, String); 2] {
        [
            ("HUGBUCKET_FTP_TLS_CERT_FILE", "tls.crt"),
            ("HUGBUCKET_FTP_TLS_KEY_FILE", "tls.key"),
        ]
        .map(|(variable, name)| (variable, self.path(name).to_str().unwrap().to_owned()))
    }
}

fn trusting(
    pem: &str,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap();
    let config = config.with_root_certificates(roots);
    Arc::new(config.with_no_client_auth())
}

/// Starts a gateway that encrypts, and a stand to look with: its own S3 listener speaks HTTPS.
pub(crate) async fn stand(files: &Files, more: &[(&str, &str)]) -> (Stand, Gateway) {
    let own = files.settings();
    let own = own.iter().map(|(name, path)| (*name, path.as_str()));
    let settings: Vec<_> = own.chain(more.iter().copied()).collect();
    let stand = Stand::start().await;
    let gateway = ftp_gateway(&stand, &settings).await;
    (stand, gateway)
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_tls_carry_commands_and_data() {
    let (files, _) = Files::new();
    let (stand, gateway) = stand(&files, &[]).await;
    let pem = std::fs::read_to_string(files.path("tls.crt")).unwrap();
    for (version, name) in [
        (&rustls::version::TLS12, "12"),
        (&rustls::version::TLS13, "13"),
    ] {
        let tls = trusting(&pem, &[version]);
        let mut ftp = Ftp::login_encrypted(&gateway, &tls).await;
        let mut data = ftp
            .begin_encrypted(&format!("STOR /{BUCKET}/{name}"), &tls)
            .await;
        data.write_all(&vec![7; 1 << 20]).await.unwrap();
        data.shutdown().await.unwrap();
        assert_eq!(ftp.reply().await.code, 226, "{name}");
        assert_eq!(get(&stand.s3(), name).await, Some(vec![7; 1 << 20]));
        // Data may go in the clear if the client wants it so, and may.
        assert_eq!(ftp.command("PROT C").await.code, 200);
        assert_eq!(
            ftp.store(&format!("/{BUCKET}/{name}"), b"clear").await.code,
            226
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn implicit_tls_has_a_listener_of_its_own() {
    let (files, tls) = Files::new();
    let (_stand, gateway) = stand(&files, &[("HUGBUCKET_FTPS_ADDR", "127.0.0.1:0")]).await;
    let address = gateway.ftps.as_deref().unwrap();
    let connection = TcpStream::connect(address).await.unwrap();
    let mut ftp = Ftp::over(shake_hands(connection, &tls).await);
    assert_eq!(ftp.reply().await.code, 220);
    ftp.log_in().await;
    // Data is encrypted as well, unless the client says otherwise.
    let mut data = ftp
        .begin_encrypted(&format!("STOR /{BUCKET}/k"), &tls)
        .await;
    data.write_all(b"implicit").await.unwrap();
    data.shutdown().await.unwrap();
    assert_eq!(ftp.reply().await.code, 226);
    assert_eq!(ftp.command("AUTH TLS").await.code, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_tls_is_required_neither_login_nor_data_goes_without() {
    let (files, tls) = Files::new();
    let (stand, gateway) = stand(&files, &[("HUGBUCKET_FTP_PLAINTEXT", "never")]).await;
    let mut ftp = Ftp::connect(&gateway).await;
    assert_eq!(ftp.command("USER ann").await.code, 530);
    assert_eq!(ftp.command("PROT P").await.code, 503);
    let mut ftp = ftp.encrypt(&tls).await;
    ftp.log_in().await;
    let _data = ftp.passive().await;
    assert_eq!(ftp.command(&format!("STOR /{BUCKET}/k")).await.code, 522);
    assert_eq!(get(&stand.s3(), "k").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_came_in_the_clear_counts_as_encrypted() {
    let (files, tls) = Files::new();
    let (_stand, gateway) = stand(&files, &[]).await;
    let mut ftp = Ftp::connect(&gateway).await;
    // What somebody in between slips in behind AUTH.
    ftp.send(b"AUTH TLS\r\nUSER mallory\r\n").await;
    assert_eq!(ftp.reply().await.code, 503);
    assert_eq!(ftp.reply().await.code, 331);
    // A name that came before the handshake is void.
    let mut ftp = ftp.encrypt(&tls).await;
    assert_eq!(ftp.command("PASS x").await.code, 503);
    ftp.log_in().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_fails_costs_a_transfer_or_a_session_and_nothing_else() {
    let (files, tls) = Files::new();
    let (stand, gateway) = stand(&files, &[]).await;
    let mut ftp = Ftp::login_encrypted(&gateway, &tls).await;
    let mut data = ftp.begin(&format!("STOR /{BUCKET}/k")).await;
    data.write_all(b"this is no TLS at all, is it?")
        .await
        .unwrap();
    assert_eq!(ftp.reply().await.code, 425);
    assert_eq!(ftp.command("NOOP").await.code, 200);
    assert_eq!(get(&stand.s3(), "k").await, None);
    let mut plain = Ftp::connect(&gateway).await;
    assert_eq!(plain.command("AUTH TLS").await.code, 234);
    plain.send(b"USER ann\r\nPASS x\r\n").await;
    // A TLS alert, and the end.
    assert!(
        plain
            .next_reply()
            .await
            .is_none_or(|reply| reply.code != 331)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_over_tls_work_every_time() {
    let (files, tls) = Files::new();
    let (_stand, gateway) = stand(&files, &[]).await;
    // Eight at once, so that the machine is busy.
    let logins = (0..8).map(|_| async {
        for _ in 0..50 {
            let mut ftp = Ftp::login_encrypted(&gateway, &tls).await;
            assert_eq!(ftp.command("QUIT").await.code, 221);
        }
    });
    futures::future::join_all(logins).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_used_by_sessions_that_begin_later() {
    let (files, first) = Files::new();
    let (_stand, gateway) = stand(&files, &[]).await;
    let mut old = Ftp::login_encrypted(&gateway, &first).await;
    let second = files.renew();
    let pid = gateway.pid().to_string();
    assert!(
        Command::new("kill")
            .args(["-HUP", &pid])
            .status()
            .unwrap()
            .success()
    );
    let mut look = tokio::time::interval(Duration::from_millis(10));
    loop {
        look.tick().await;
        let mut ftp = Ftp::connect(&gateway).await;
        assert_eq!(ftp.command("AUTH TLS").await.code, 234);
        let plain = ftp.into_inner();
        let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
        let connector = tokio_rustls::TlsConnector::from(second.clone());
        if connector.connect(name, plain).await.is_ok() {
            break;
        }
    }
    // The session that began with the old one goes on, and its data with the new one.
    let mut data = old
        .begin_encrypted(&format!("STOR /{BUCKET}/k"), &second)
        .await;
    data.write_all(b"renewed").await.unwrap();
    data.shutdown().await.unwrap();
    assert_eq!(old.reply().await.code, 226);
}
