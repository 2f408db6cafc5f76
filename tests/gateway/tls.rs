//! TLS in the process: both versions of HTTP, renewal while requests come in, and what plain HTTP is told.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;
use reqwest::{Certificate, Client, StatusCode, Version};

use crate::stand::{BUCKET, Gateway, Stand, put};

/// A certificate with its key, in files that a gateway reads.
struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    /// Returns files with a new pair, and the client that trusts it alone.
    fn new() -> (Self, Client) {
        let files = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let client = files.renew();
        (files, client)
    }

    fn certificate(&self) -> PathBuf {
        self.dir.path().join("tls.crt")
    }

    fn key(&self) -> PathBuf {
        self.dir.path().join("tls.key")
    }

    /// Puts a new pair in place, and returns the client that trusts it alone.
    fn renew(&self) -> Client {
        let names = ["127.0.0.1".to_owned()];
        let pair = rcgen::generate_simple_self_signed(names).unwrap();
        std::fs::write(self.key(), pair.signing_key.serialize_pem()).unwrap();
        std::fs::write(self.certificate(), pair.cert.pem()).unwrap();
        trusting(&pair.cert.pem())
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

fn trusting(pem: &str) -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0)
        .tls_certs_only([Certificate::from_pem(pem.as_bytes()).unwrap()])
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_http_are_spoken_over_tls() {
    let stand = Stand::start().await;
    put(&stand.s3(), "k", "over TLS").await;
    let (files, client) = Files::new();
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
    let answer = client.get(presigned.uri()).send().await.unwrap();
    assert_eq!(
        (answer.version(), answer.status()),
        (Version::HTTP_2, StatusCode::OK)
    );
    assert_eq!(answer.text().await.unwrap(), "over TLS");
    let pem = std::fs::read_to_string(files.certificate()).unwrap();
    let old = Client::builder()
        .no_proxy()
        .http1_only()
        .tls_certs_only([Certificate::from_pem(pem.as_bytes()).unwrap()])
        .build()
        .unwrap();
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

/// Asks until the client trusts what the gateway shows, which is soon after the signal.
async fn trusts(client: &Client, gateway: &Gateway) {
    let mut look = tokio::time::interval(Duration::from_millis(10));
    while client.get(&gateway.endpoint).send().await.is_err() {
        look.tick().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_used_and_a_broken_one_is_not() {
    let stand = Stand::start().await;
    let (files, first) = Files::new();
    let gateway = files.start(&stand).await;
    trusts(&first, &gateway).await;

    // A signal is not needed, only quicker.
    let hang_up = || {
        let pid = gateway.pid().to_string();
        let sent = Command::new("kill").args(["-HUP", &pid]).status();
        assert!(sent.unwrap().success());
    };
    let second = files.renew();
    hang_up();
    trusts(&second, &gateway).await;
    assert!(first.get(&gateway.endpoint).send().await.is_err());

    std::fs::write(files.key(), "no key").unwrap();
    hang_up();
    hang_up();
    for _ in 0..20 {
        assert!(second.get(&gateway.endpoint).send().await.is_ok());
    }
    let third = files.renew();
    hang_up();
    trusts(&third, &gateway).await;
}
