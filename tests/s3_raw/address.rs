//! How requests name their object: raw paths, virtual hosts, presigned URLs.

use hugbucket::s3::S3Config;

use crate::stand::Stand;
use crate::wire::Request;

#[tokio::test(flavor = "multi_thread")]
async fn keys_arrive_exactly_as_they_were_written() {
    let stand = Stand::start().await;
    // As clients sign it, as they may send it all the same, and what it means.
    for (signed, sent, key) in [
        ("/bucket/a%2Bb", "/bucket/a+b", "a+b"),
        ("/bucket/a%2Bc", "/bucket/a%2bc", "a+c"),
        ("/bucket/d%20e/f", "/bucket/d%20e/f", "d e/f"),
        ("/bucket/100%25%2520", "/bucket/100%25%2520", "100%%20"),
        ("/bucket/%E6%97%A5/~x", "/bucket/%e6%97%a5/%7Ex", "日/~x"),
        (
            "/bucket/it%27s%28a%29%2A%21",
            "/bucket/it's(a)*!",
            "it's(a)*!",
        ),
        (
            "/bucket/q%3Fr%23s%26t%3Du",
            "/bucket/q%3Fr%23s&t=u",
            "q?r#s&t=u",
        ),
    ] {
        let put = Request::new("PUT", signed).body(key).signed(&stand);
        let answer = put.sent_as(signed, sent).send(&stand).await;
        assert_eq!(answer.status, 200, "{sent}: {}", answer.text());
        let get = Request::new("GET", signed).signed(&stand);
        assert_eq!(get.sent_as(signed, sent).send(&stand).await.text(), key);
    }
    let listed = Request::new("GET", "/bucket")
        .signed(&stand)
        .send(&stand)
        .await;
    let keys: Vec<_> = listed
        .text()
        .split("<Key>")
        .skip(1)
        .map(|rest| rest.split('<').next().unwrap())
        .collect();
    let expected = [
        "100%%20",
        "a+b",
        "a+c",
        "d e/f",
        "it&apos;s(a)*!",
        "q?r#s&amp;t=u",
        "日/~x",
    ];
    assert_eq!(keys, expected);
    let listed = Request::new("GET", "/bucket?encoding-type=url&prefix=q%3F")
        .signed(&stand)
        .send(&stand)
        .await;
    assert_eq!(listed.element("Key"), "q%3Fr%23s%26t%3Du");
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_that_no_key_can_have_are_refused_and_never_repaired() {
    let stand = Stand::start().await;
    for (target, code) in [
        ("/bucket//x", "InvalidArgument"),
        ("/bucket/a//b", "InvalidArgument"),
        ("/bucket/a/../b", "InvalidArgument"),
        ("/bucket/./b", "InvalidArgument"),
        ("/bucket/.hugbucket/uploads/x", "InvalidArgument"),
        ("/bucket/%2Fx", "InvalidArgument"),
        ("/bucket/%00", "InvalidArgument"),
    ] {
        let answer = Request::new("PUT", target)
            .body("x")
            .signed(&stand)
            .send(&stand)
            .await;
        assert_eq!(answer.verdict(), (400, code), "{target}");
    }
    for target in ["/bucket/%ff", "/bucket/%", "/bucket/%zz"] {
        let answer = Request::new("GET", target)
            .unsigned(&stand)
            .send(&stand)
            .await;
        assert_eq!(answer.verdict(), (400, "InvalidURI"), "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_host_names_the_bucket() {
    let config = S3Config {
        domains: vec!["s3.test".into()],
        ..S3Config::default()
    };
    let stand = Stand::start_with(config).await;
    let put = Request::new("PUT", "/d/k")
        .host("bucket.s3.test:9000")
        .body("x")
        .signed(&stand)
        .send(&stand)
        .await;
    assert_eq!(put.status, 200, "{}", put.text());
    let get = Request::new("GET", "/bucket/d/k")
        .host("s3.test")
        .signed(&stand)
        .send(&stand)
        .await;
    assert_eq!(get.text(), "x");
    let list = Request::new("GET", "/?list-type=2")
        .host("bucket.s3.test")
        .signed(&stand)
        .send(&stand)
        .await;
    assert_eq!(
        (list.element("Name"), list.element("Key")),
        ("bucket", "d/k")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_presigned_url_is_enough() {
    let stand = Stand::start().await;
    let put = Request::new("PUT", "/bucket/k?x-id=PutObject&x-amz-meta-color=red")
        .header("content-length", "1")
        .presigned(&stand);
    let mut put = put;
    put.body = b"x".to_vec();
    let answer = put.send(&stand).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let get =
        Request::new("GET", "/bucket/k?response-content-disposition=attachment").presigned(&stand);
    let answer = get.send(&stand).await;
    assert_eq!((answer.status, answer.text()), (200, "x"));
    assert_eq!(answer.header("content-disposition"), "attachment");
    assert_eq!(answer.header("x-amz-meta-color"), "red");
}
