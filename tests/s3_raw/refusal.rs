//! Refusals: who is let in, what is never taken for something else, and how a connection goes on afterwards.

use std::time::{Duration, SystemTime};

use crate::stand::{READER_KEY, Stand};
use crate::wire::{Answer, Request, connect};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_refused_with_what_they_need_to_know() {
    let stand = Stand::start().await;
    let answer = Request::new("GET", "/bucket")
        .unsigned(&stand)
        .send(&stand)
        .await;
    assert_eq!(answer.verdict(), (403, "AccessDenied"));

    let answer = Request::new("GET", "/bucket/k")
        .secret("wrong")
        .signed(&stand)
        .send(&stand)
        .await;
    assert_eq!(answer.verdict(), (403, "SignatureDoesNotMatch"));
    assert!(
        answer
            .element("CanonicalRequest")
            .starts_with("GET\n/bucket/k\n\nhost:")
    );
    assert!(
        answer
            .element("StringToSign")
            .starts_with("AWS4-HMAC-SHA256\n")
    );
    assert!(!answer.text().contains(crate::stand::SECRET_KEY));

    let early = SystemTime::now() - Duration::from_secs(16 * 60);
    let answer = Request::new("GET", "/bucket/k")
        .at(early)
        .signed(&stand)
        .send(&stand)
        .await;
    assert_eq!(answer.verdict(), (403, "RequestTimeTooSkewed"));
    assert_eq!(answer.element("MaxAllowedSkewMilliseconds"), "900000");
    assert!(answer.header("date").ends_with(" GMT"));

    let answer = Request::new("GET", "/bucket/k")
        .at(early)
        .presigned(&stand)
        .send(&stand)
        .await;
    assert_eq!(answer.verdict(), (403, "AccessDenied"));
    assert_eq!(answer.element("Message"), "Request has expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_refused_before_100_continue() {
    let stand = Stand::start().await;
    let request = Request::new("PUT", "/bucket/k")
        .secret("wrong")
        .body("never sent")
        .header("expect", "100-continue")
        .signed(&stand);
    let mut stream = connect(&stand).await;
    stream.write_all(request.head.as_bytes()).await.unwrap();
    let answer = Answer::read(&mut stream, false).await;
    assert_eq!(answer.verdict(), (403, "SignatureDoesNotMatch"));
    assert_eq!(answer.header("connection"), "close");
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_conditions_fail_is_refused_before_100_continue() {
    let stand = Stand::start().await;
    let put = Request::new("PUT", "/bucket/k").body("before");
    assert_eq!(put.signed(&stand).send(&stand).await.status, 200);
    for (target, condition, verdict) in [
        (
            "/bucket/k",
            ("if-none-match", "*"),
            (412, "PreconditionFailed"),
        ),
        (
            "/bucket/k",
            ("if-match", "\"x\""),
            (412, "PreconditionFailed"),
        ),
        ("/bucket/absent", ("if-match", "\"x\""), (404, "NoSuchKey")),
    ] {
        let request = Request::new("PUT", target)
            .body("never sent")
            .header("expect", "100-continue")
            .header(condition.0, condition.1)
            .signed(&stand);
        let mut stream = connect(&stand).await;
        stream.write_all(request.head.as_bytes()).await.unwrap();
        let answer = Answer::read(&mut stream, false).await;
        assert_eq!(answer.verdict(), verdict, "{target} {condition:?}");
        assert_eq!(answer.header("connection"), "close");
    }
    let get = Request::new("GET", "/bucket/k").signed(&stand);
    assert_eq!(get.send(&stand).await.text(), "before");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_hopeless_is_refused_before_100_continue() {
    let stand = Stand::start().await;
    let upload = "uploadId=00112233445566778899aabbccddeeff";
    let put = |target: &str| Request::new("PUT", target).body("never sent");
    let reader = |target: &str| put(target).access_key(READER_KEY);
    let document = |target: &str| Request::new("POST", target).body("never sent");
    let link = |target: &str| Request::new("PUT", target).header("content-length", "10");
    let expired = SystemTime::now() - Duration::from_secs(3600);
    let missing = format!("/bucket/k?partNumber=1&{upload}");
    for (name, request, verdict) in [
        (
            "missing bucket",
            put("/absent/k").signed(&stand),
            (404, "NoSuchBucket"),
        ),
        (
            "part of a missing upload",
            put(&missing).signed(&stand),
            (404, "NoSuchUpload"),
        ),
        (
            "part for a missing bucket",
            put(&format!("/absent/k?partNumber=1&{upload}")).signed(&stand),
            (404, "NoSuchBucket"),
        ),
        (
            "no right to write",
            reader("/bucket/k").signed(&stand),
            (403, "AccessDenied"),
        ),
        (
            "no right to write parts",
            reader(&missing).signed(&stand),
            (403, "AccessDenied"),
        ),
        (
            "presigned without the right",
            link("/bucket/k").access_key(READER_KEY).presigned(&stand),
            (403, "AccessDenied"),
        ),
        (
            "expired",
            link("/bucket/k").at(expired).presigned(&stand),
            (403, "AccessDenied"),
        ),
        (
            "stranger",
            put("/bucket/k").unsigned(&stand),
            (403, "AccessDenied"),
        ),
        (
            "impossible key",
            put("/bucket/.hugbucket/k").signed(&stand),
            (400, "InvalidArgument"),
        ),
        (
            "malformed digest",
            put("/bucket/k").header("content-md5", "x").signed(&stand),
            (400, "InvalidDigest"),
        ),
        (
            "malformed tags",
            put("/bucket/k")
                .header("x-amz-tagging", "a=1&a=2")
                .signed(&stand),
            (400, "InvalidArgument"),
        ),
        (
            "not implemented",
            put("/bucket/k")
                .header("x-amz-server-side-encryption", "AES256")
                .signed(&stand),
            (501, "NotImplemented"),
        ),
        (
            "sub-resource",
            put("/bucket?policy").signed(&stand),
            (501, "NotImplemented"),
        ),
        (
            "deletions without the right",
            document("/bucket?delete")
                .access_key(READER_KEY)
                .signed(&stand),
            (403, "AccessDenied"),
        ),
        (
            "completion without the right",
            document(&format!("/bucket/k?{upload}"))
                .access_key(READER_KEY)
                .signed(&stand),
            (403, "AccessDenied"),
        ),
        (
            "completion whose condition fails",
            document(&format!("/bucket/absent?{upload}"))
                .header("if-match", "\"x\"")
                .signed(&stand),
            (404, "NoSuchKey"),
        ),
        (
            "tags without the right",
            reader("/bucket/k?tagging").signed(&stand),
            (403, "AccessDenied"),
        ),
        (
            "new bucket without the right",
            reader("/another").signed(&stand),
            (403, "AccessDenied"),
        ),
        (
            "document of a stranger",
            Request::new("POST", "/bucket?delete")
                .body("never sent")
                .access_key("nobody")
                .signed(&stand),
            (403, "InvalidAccessKeyId"),
        ),
    ] {
        let head = request
            .head
            .replacen("\r\n", "\r\nexpect: 100-continue\r\n", 1);
        let mut stream = connect(&stand).await;
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = Answer::read(&mut stream, false).await;
        assert_eq!(answer.verdict(), verdict, "{name}");
        assert_eq!(answer.header("connection"), "close", "{name}");
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "{name}");
    }
    let document = "<Delete><Object><Key>k</Key></Object></Delete>";
    let request = Request::new("POST", "/bucket?delete")
        .body(document)
        .header("expect", "100-continue")
        .signed(&stand);
    let mut stream = connect(&stand).await;
    stream.write_all(request.head.as_bytes()).await.unwrap();
    assert_eq!(Answer::read(&mut stream, false).await.status, 100);
    // Whatever may be sent is asked for, once.
    let request = put("/bucket/k")
        .header("expect", "100-continue")
        .signed(&stand);
    let mut stream = connect(&stand).await;
    stream.write_all(request.head.as_bytes()).await.unwrap();
    assert_eq!(Answer::read(&mut stream, false).await.status, 100);
    stream.write_all(&request.body).await.unwrap();
    assert_eq!(Answer::read(&mut stream, false).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_implemented_changes_nothing() {
    let stand = Stand::start().await;
    let put = Request::new("PUT", "/bucket/k")
        .body("before")
        .signed(&stand)
        .send(&stand)
        .await;
    let etag = put.header("etag").to_owned();
    for (method, target, header) in [
        ("PUT", "/bucket/k?acl", ("x-amz-acl", "private")),
        ("PUT", "/bucket?tagging", ("accept", "*/*")),
        ("PUT", "/bucket/k?tagging", ("if-match", "*")),
        ("PUT", "/bucket/k?something-new", ("accept", "*/*")),
        ("PUT", "/bucket/k", ("if-unmodified-since", "x")),
        ("DELETE", "/bucket?tagging", ("accept", "*/*")),
        ("DELETE", "/bucket/k", ("if-none-match", "*")),
        ("DELETE", "/bucket?policy", ("accept", "*/*")),
        ("PUT", "/bucket?versioning", ("accept", "*/*")),
    ] {
        let request = Request::new(method, target)
            .body("<x/>")
            .header(header.0, header.1);
        let answer = request.signed(&stand).send(&stand).await;
        assert_eq!(
            answer.verdict(),
            (501, "NotImplemented"),
            "{method} {target}"
        );
        let head = Request::new("HEAD", "/bucket/k")
            .signed(&stand)
            .send(&stand)
            .await;
        assert_eq!(
            (head.status, head.header("etag")),
            (200, etag.as_str()),
            "{method} {target}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_goes_on_after_errors_without_a_body() {
    let stand = Stand::start().await;
    let mut stream = connect(&stand).await;
    for (method, target, status) in [
        ("HEAD", "/bucket/absent", 404),
        ("GET", "/bucket/absent", 404),
        ("HEAD", "/absent", 404),
        ("DELETE", "/bucket/absent", 204),
        ("GET", "/bucket?list-type=2", 200),
    ] {
        let answer = Request::new(method, target)
            .signed(&stand)
            .send_over(&mut stream)
            .await;
        assert_eq!(answer.status, status, "{method} {target}");
    }
}
