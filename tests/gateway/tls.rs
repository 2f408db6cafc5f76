//! TLS in the process: both versions of HTTP, renewal while requests come in, and what plain HTTP is told.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;
use reqwest::{Certificate, Client, ClientBuilder, StatusCode, Version};

use crate::stand::{BUCKET, Gateway, Stand, put};

/// A certificate with its key, in files that a gateway reads.
struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    /// Returns files with a new pair, and its certificate.
    fn new() -> (Self, String) {
        let files = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let pem = files.renew();
        (files, pem)
    }

    fn certificate(&self) -> PathBuf {
        self.dir.path().join("tls.crt")
    }

    fn key(&self) -> PathBuf {
        self.dir.path().join("tls.key")
    }

    /// Puts a new pair in place, and returns its certificate.
    fn renew(&self) -> String {
        let names = ["127.0.0.1".to_owned()];
        let pair = rcgen::generate_simple_self_signed(names).unwrap();
        std::fs::write(self.key(), pair.signing_key.serialize_pem()).unwrap();
        std::fs::write(self.certificate(), pair.cert.pem()).unwrap();
        pair.cert.pem()
    }

    async fn start(&self, stand: &Stand) -> Gateway {
        let (certificate, key) = (self.certificate(), self.key());
        let settings = [
            ("HUGBUCKET_TLS_CERT_FILE", certificate.to_str().unwrap()),
            ("HUGBUCKET_TLS_KEY_FILE", key.to_str().unwrap()),
        ];
        stand.another_gateway(&settings).await
    }
}

/// A client that trusts this certificate alone.
fn trusting(pem: &str) -> ClientBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let certificate = Certificate::from_pem(pem.as_bytes()).unwrap();
    Client::builder().no_proxy().tls_certs_only([certificate])
}

/// Reports whether the gateway shows a certificate that this one vouches for. Each time anew: a session that is resumed
/// shows none.
async fn shows(gateway: &Gateway, pem: &str) -> bool {
    let client = trusting(pem).build().unwrap();
    client.get(&gateway.endpoint).send().await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_http_are_spoken_over_tls() {
    let stand = Stand::start().await;
    put(&stand.s3(), "k", "over TLS").await;
    let (files, pem) = Files::new();
    let gateway = files.start(&stand).await;
    assert!(gateway.endpoint.starts_with("https://127.0.0.1:"));
    let presigned = gateway
        .s3()
        .get_object()
        .bucket(BUCKET)
        .key("k")
        .presigned(PresigningConfig::expires_in(Duration::from_secs(60)).unwrap())
        .await
        .unwrap();
    let client = trusting(&pem).build().unwrap();
    let answer = client.get(presigned.uri()).send().await.unwrap();
    assert_eq!(
        (answer.version(), answer.status()),
        (Version::HTTP_2, StatusCode::OK)
    );
    assert_eq!(answer.text().await.unwrap(), "over TLS");
    let old = trusting(&pem).http1_only().build().unwrap();
    let answer = old.get(presigned.uri()).send().await.unwrap();
    assert_eq!(
        (answer.version(), answer.status()),
        (Version::HTTP_11, StatusCode::OK)
    );
    // The admin listener stays as it is: probes need no certificate.
    let ready = reqwest::get(format!("{}/readyz", gateway.admin)).await;
    assert_eq!(ready.unwrap().status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_on_the_tls_port_is_told_so() {
    let stand = Stand::start().await;
    let (files, _) = Files::new();
    let gateway = files.start(&stand).await;
    let plain = gateway.endpoint.replacen("https", "http", 1);
    let answer = Client::builder().no_proxy().build().unwrap();
    let answer = answer
        .put(format!("{plain}/{BUCKET}/k"))
        .body(vec![0; 100_000])
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert!(
        answer
            .text()
            .await
            .unwrap()
            .contains("This port speaks HTTPS")
    );
}

/// Asks until the gateway shows a certificate, which is soon after the signal.
async fn comes_to_show(gateway: &Gateway, pem: &str) {
    let mut look = tokio::time::interval(Duration::from_millis(10));
    while !shows(gateway, pem).await {
        look.tick().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_used_and_a_broken_one_is_not() {
    let stand = Stand::start().await;
    let (files, first) = Files::new();
    let gateway = files.start(&stand).await;
    assert!(shows(&gateway, &first).await);

    // A signal is not needed, only quicker.
    let hang_up = || {
        let pid = gateway.pid().to_string();
        let sent = Command::new("kill").args(["-HUP", &pid]).status();
        assert!(sent.unwrap().success());
    };
    let second = files.renew();
    hang_up();
    comes_to_show(&gateway, &second).await;
    assert!(!shows(&gateway, &first).await);

    std::fs::write(files.key(), "no key").unwrap();
    hang_up();
    hang_up();
    for _ in 0..20 {
        assert!(shows(&gateway, &second).await);
    }
    let third = files.renew();
    hang_up();
    comes_to_show(&gateway, &third).await;
}
