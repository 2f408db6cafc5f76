//! What operators see: readiness, metrics, and an orderly end.

use crate::stand::{Stand, get, put};

pub(crate) async fn text(url: String) -> (u16, String) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let answer = reqwest::get(url).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_listener_tells_of_health_and_counts_requests() {
    let stand = Stand::start().await;
    put(&stand.s3(), "k", "v").await;
    get(&stand.s3(), "k").await.unwrap();
    for path in ["livez", "readyz", "version"] {
        assert_eq!(
            text(format!("{}/{path}", stand.gateway.admin)).await.0,
            200,
            "{path}"
        );
    }
    let (status, metrics) = text(format!("{}/metrics", stand.gateway.admin)).await;
    assert_eq!(status, 200);
    let counted = |operation: &str| {
        let line = metrics.lines().find(|line| {
            line.starts_with("hugbucket_requests_total")
                && line.contains(&format!("\"{operation}\""))
                && line.contains("protocol=\"s3\",status=\"ok\"")
        });
        line.and_then(|line| line.rsplit(' ').next())
            .and_then(|count| count.parse::<u64>().ok())
    };
    assert_eq!(counted("PutObject"), Some(1));
    assert_eq!(counted("GetObject"), Some(1));
    assert!(!metrics.contains("AKTEST"), "no label names a key");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminated_gateway_ends_cleanly() {
    let mut stand = Stand::start().await;
    put(&stand.s3(), "k", "v").await;
    assert_eq!(stand.gateway.terminate().await, Some(0));
}
