//! Callers without credentials: public buckets where that is switched on, and nothing else.

use aws_sdk_s3::types::BucketCannedAcl;
use reqwest::Method;

use crate::stand::{Stand, put};

/// A bucket that everybody may read on the Hub.
const PUBLIC: &str = "for-all";

/// Asks without a signature, and returns the status and the body.
async fn ask(stand: &Stand, method: Method, target: &str) -> (u16, String) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}{target}", stand.gateway.endpoint);
    let request = client.request(method, url).header("content-length", 0);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn with_public_bucket(settings: &[(&str, &str)]) -> Stand {
    let stand = Stand::start_with(settings).await;
    let s3 = stand.s3();
    let create = s3.create_bucket().bucket(PUBLIC);
    create
        .acl(BucketCannedAcl::PublicRead)
        .send()
        .await
        .unwrap();
    put(&s3, "private", "secret").await;
    let body = b"open".to_vec().into();
    let write = s3.put_object().bucket(PUBLIC).key("d/k").body(body);
    write.send().await.unwrap();
    // Cached on behalf of somebody who may.
    assert_eq!(crate::stand::get(&s3, "private").await.unwrap(), b"secret");
    stand
}

#[tokio::test(flavor = "multi_thread")]
async fn public_buckets_are_read_and_nothing_else_is_done() {
    let stand = with_public_bucket(&[("HUGBUCKET_ANONYMOUS_READ", "true")]).await;
    for (method, target, expected) in [
        (Method::GET, "/for-all/d/k", "open"),
        (Method::HEAD, "/for-all/d/k", ""),
        (Method::GET, "/for-all", "<Key>d/k</Key>"),
        (Method::GET, "/for-all?list-type=2", "<Key>d/k</Key>"),
        (Method::HEAD, "/for-all", ""),
        (Method::GET, "/for-all?location", "LocationConstraint"),
    ] {
        let (status, text) = ask(&stand, method.clone(), target).await;
        assert_eq!(status, 200, "{method} {target}: {text}");
        assert!(text.contains(expected), "{method} {target}: {text}");
    }
    for (method, target) in [
        (Method::GET, "/"),
        (Method::GET, "/for-all?acl"),
        (Method::GET, "/for-all?policy"),
        (Method::GET, "/for-all/d/k?acl"),
        (Method::GET, "/for-all/d/k?tagging"),
        (Method::GET, "/for-all/d/k?attributes"),
        (Method::GET, "/for-all?versions"),
        (Method::GET, "/for-all?uploads"),
        (Method::PUT, "/for-all/d/k"),
        (Method::DELETE, "/for-all/d/k"),
        (Method::POST, "/for-all/d/k?uploads"),
        (Method::PUT, "/another"),
        (Method::DELETE, "/for-all"),
        (Method::GET, "/data/private"),
        (Method::GET, "/data?list-type=2"),
        (Method::GET, "/data?location"),
        (Method::GET, "/absent/k"),
    ] {
        let (status, text) = ask(&stand, method.clone(), target).await;
        assert_eq!(status, 403, "{method} {target}: {text}");
        assert!(text.contains("<Code>AccessDenied</Code>"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
    assert_eq!(ask(&stand, Method::HEAD, "/data/private").await.0, 403);
    assert_eq!(ask(&stand, Method::GET, "/for-all/absent").await.0, 404);
    let (_, text) = ask(&stand, Method::GET, "/for-all/d/k").await;
    assert_eq!(text, "open");
    // A link must not change what others see.
    for parameter in ["content-type", "expires", "content-disposition"] {
        let target = format!("/for-all/d/k?response-{parameter}=x");
        let (status, text) = ask(&stand, Method::GET, &target).await;
        assert_eq!(status, 400, "{target}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_strangers_cost_no_call_but_one_look_up() {
    let stand = with_public_bucket(&[("HUGBUCKET_ANONYMOUS_READ", "true")]).await;
    stand.hub.calls().reset();
    for _ in 0..5 {
        assert_eq!(ask(&stand, Method::GET, "/data/private").await.0, 403);
        assert_eq!(ask(&stand, Method::PUT, "/data/private").await.0, 403);
        assert_eq!(ask(&stand, Method::GET, "/").await.0, 403);
    }
    assert_eq!(stand.hub.calls().total(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn by_default_strangers_see_nothing() {
    let stand = with_public_bucket(&[]).await;
    stand.hub.calls().reset();
    for target in ["/for-all/d/k", "/for-all", "/for-all?location", "/"] {
        let (status, text) = ask(&stand, Method::GET, target).await;
        assert_eq!(status, 403, "{target}: {text}");
    }
    assert_eq!(stand.hub.calls().total(), 0);
}
