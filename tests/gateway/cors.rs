//! Rules for pages of other origins, from the configuration file to the wire.

use reqwest::{Method, Response};

use crate::stand::{Stand, put};

const RULES: &str = r#"
[[cors_rules]]
bucket = "data"
origins = ["https://*.example.org"]
methods = ["GET", "PUT"]
headers = ["x-amz-*", "content-type"]
expose = ["ETag"]
max_age = "1 h"

[[cors_rules]]
bucket = "data"
origins = ["https://reader.test"]
methods = ["GET"]
"#;

async fn stand(rules: &str) -> (Stand, tempfile::TempDir) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hugbucket.toml");
    std::fs::write(&file, rules).unwrap();
    let stand = Stand::start_with(&[("HUGBUCKET_CONFIG", file.to_str().unwrap())]).await;
    (stand, dir)
}

async fn ask(stand: &Stand, method: Method, target: &str, headers: &[(&str, &str)]) -> Response {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}{target}", stand.gateway.endpoint);
    let mut request = client.request(method, url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    let value = answer.headers().get(name);
    value.map_or("", |value| value.to_str().unwrap())
}

async fn preflight(
    stand: &Stand,
    target: &str,
    origin: &str,
    method: &str,
    headers: &str,
) -> Response {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", method),
        ("access-control-request-headers", headers),
    ];
    ask(stand, Method::OPTIONS, target, &headers).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rules_of_a_bucket_decide_its_preflights_and_mark_its_answers() {
    let (stand, _dir) = stand(RULES).await;
    let page = "https://app.example.org";
    let answer = preflight(&stand, "/data/k", page, "PUT", "x-amz-date, Content-Type").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(header(&answer, "access-control-allow-origin"), page);
    assert!(header(&answer, "access-control-allow-methods").contains("PUT"));
    assert_eq!(header(&answer, "access-control-max-age"), "3600");
    for (origin, method, headers) in [
        ("https://example.com", "GET", ""),
        (page, "DELETE", ""),
        (page, "PUT", "x-other"),
        ("https://reader.test", "PUT", ""),
    ] {
        let answer = preflight(&stand, "/data/k", origin, method, headers).await;
        assert_eq!(answer.status(), 403, "{origin} {method} {headers}");
        assert_eq!(header(&answer, "access-control-allow-origin"), "");
    }
    let answer = preflight(&stand, "/data/k", "https://reader.test", "GET", "").await;
    assert_eq!(answer.status(), 200);
    // Of other buckets, the general rule holds: every origin.
    let answer = preflight(&stand, "/other/k", "https://example.com", "DELETE", "x-any").await;
    assert_eq!(answer.status(), 200);

    // Refusals are marked too, so that the page can read them; others are not.
    let refused = ask(&stand, Method::GET, "/data/k", &[("origin", page)]).await;
    assert_eq!(refused.status(), 403);
    assert_eq!(header(&refused, "access-control-allow-origin"), page);
    assert_eq!(
        header(&refused, "access-control-expose-headers").to_ascii_lowercase(),
        "etag"
    );
    let other = ask(
        &stand,
        Method::GET,
        "/data/k",
        &[("origin", "https://example.com")],
    )
    .await;
    assert_eq!(header(&other, "access-control-allow-origin"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rules_are_answered_to_members_and_cannot_be_set() {
    let (stand, _dir) = stand(RULES).await;
    let s3 = stand.s3();
    put(&s3, "k", "content").await;
    let rules = s3.get_bucket_cors().bucket("data").send().await.unwrap();
    let rules = rules.cors_rules();
    assert_eq!(rules.len(), 2);
    assert_eq!(rules[0].allowed_origins(), ["https://*.example.org"]);
    assert_eq!(rules[0].allowed_methods(), ["GET", "PUT"]);
    assert_eq!(rules[0].max_age_seconds(), Some(3600));
    let delete = s3
        .delete_bucket_cors()
        .bucket("data")
        .send()
        .await
        .unwrap_err();
    assert_eq!(delete.raw_response().unwrap().status().as_u16(), 501);
    let stranger = ask(&stand, Method::GET, "/data?cors", &[]).await;
    assert_eq!(stranger.status(), 403);
}
