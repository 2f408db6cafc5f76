//! Input that was made to harm: documents that grow, heads without end, framings that lie.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::stand::Stand;
use crate::wire::{Answer, Request, connect};

/// A document type whose one entity would grow to gigabytes.
const BOMB: &str = "<?xml version=\"1.0\"?><!DOCTYPE lolz [<!ENTITY lol \"lol\">\
    <!ENTITY lol1 \"&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;\">\
    <!ENTITY lol2 \"&lol1;&lol1;&lol1;&lol1;&lol1;&lol1;&lol1;&lol1;&lol1;&lol1;\">]>";

#[tokio::test(flavor = "multi_thread")]
async fn no_document_can_grow_deepen_or_lie() {
    let stand = Stand::start().await;
    let begun = Request::new("POST", "/bucket/k?uploads").signed(&stand);
    let begun = begun.send(&stand).await;
    let complete = format!("/bucket/k?uploadId={}", begun.element("UploadId"));
    for (method, target, root, filler) in [
        (
            "POST",
            "/bucket?delete",
            "Delete",
            "<Object><Key>k</Key></Object>",
        ),
        (
            "POST",
            complete.as_str(),
            "CompleteMultipartUpload",
            "<Part><PartNumber>1</PartNumber><ETag>x</ETag></Part>",
        ),
        (
            "PUT",
            "/another",
            "CreateBucketConfiguration",
            "<LocationConstraint>x</LocationConstraint>",
        ),
    ] {
        let enclosed = |inner: &str| format!("<{root}>{inner}</{root}>");
        let deep = format!("{}{}", "<a>".repeat(50_000), "</a>".repeat(50_000));
        let long_text = "x".repeat(5 << 20);
        let attributes: String = (0..20_000).map(|n| format!(" a{n}=\"{n}\"")).collect();
        let documents = [
            format!("{BOMB}{}", enclosed("&lol2;")),
            format!(
                "<!DOCTYPE x SYSTEM \"file:///etc/passwd\">{}",
                enclosed("&x;")
            ),
            enclosed("&undefined;"),
            enclosed(&deep),
            enclosed(&format!("<Key>{long_text}</Key>")),
            enclosed(&"<a/>".repeat(150_000)),
            enclosed("<Key>\u{0}</Key><b"),
            format!("<{root}{attributes}"),
            format!("<{root}>"),
            "<Other/>".to_owned(),
            enclosed(&format!("{filler}</{root}><{root}>")),
        ];
        for document in documents {
            let request = Request::new(method, target).body(&document).signed(&stand);
            let answer = request.send(&stand).await;
            let shown = document.get(..60).unwrap_or(&document);
            assert_eq!(answer.verdict(), (400, "MalformedXML"), "{target}: {shown}");
            assert!(!answer.text().contains("root:"), "{}", answer.text());
        }
        let bytes = [&b"<"[..], root.as_bytes(), b">\xff\xfe"].concat();
        let answer = Request::new(method, target).body(bytes).signed(&stand);
        assert_eq!(answer.send(&stand).await.verdict(), (400, "MalformedXML"));
    }
    let gone = Request::new("HEAD", "/another").signed(&stand);
    assert_eq!(gone.send(&stand).await.status, 404);
}

/// Sends bytes, and returns all that comes back until the server closes.
async fn exchange(stand: &Stand, bytes: &[u8]) -> String {
    let mut stream = connect(stand).await;
    // The server may refuse before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let read = tokio::time::timeout(Duration::from_secs(20), read).await;
    let _ = read.expect("the server closes");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_without_measure_are_refused() {
    let stand = Stand::start().await;
    let long = "x".repeat(40 << 10);
    let answer = Request::new("GET", "/bucket").header("x-long", &long);
    let answer = answer.unsigned(&stand).send(&stand).await;
    assert_eq!(answer.verdict(), (400, "RequestHeaderSectionTooLarge"));

    let many: String = (0..50_000).map(|n| format!("x-{n}: y\r\n")).collect();
    let endless = "y".repeat(1 << 20);
    for head in [
        format!("GET /bucket HTTP/1.1\r\nhost: x\r\n{many}\r\n"),
        format!("GET /bucket HTTP/1.1\r\nhost: x\r\nx: {endless}\r\n\r\n"),
        format!("GET /{endless} HTTP/1.1\r\nhost: x\r\n\r\n"),
        "GET /bucket HTTP/9.9\r\nhost: x\r\n\r\n".to_owned(),
        "GET  /bucket\r\n\r\n".to_owned(),
        "\r\n\r\n\0\0\0\0\r\n\r\n".to_owned(),
        "GET /bucket HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx"
            .to_owned(),
        "PUT /bucket/k HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".to_owned(),
    ] {
        let answer = exchange(&stand, head.as_bytes()).await;
        let shown = &head[..40.min(head.len())];
        assert!(answer.starts_with("HTTP/1.1 4"), "{shown:?}: {answer}");
    }
    // Whatever came before, others are served.
    let ordinary = Request::new("GET", "/bucket").signed(&stand);
    assert_eq!(ordinary.send(&stand).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn framings_that_lie_store_nothing() {
    let stand = Stand::start().await;
    for (body, code) in [
        ("zz\r\nabc\r\n0\r\n\r\n", "InvalidRequest"),
        ("-3\r\nabc\r\n0\r\n\r\n", "InvalidRequest"),
        ("ffffffffffffffffff\r\nabc\r\n0\r\n\r\n", "InvalidRequest"),
        ("7fffffffffffffff\r\nabc\r\n0\r\n\r\n", "IncompleteBody"),
        ("2\r\nabc\r\n0\r\n\r\n", "InvalidRequest"),
        ("4\r\nabc\r\n0\r\n\r\n", "IncompleteBody"),
        ("3\r\nabc\r\n", "IncompleteBody"),
        ("3\r\nabc", "IncompleteBody"),
        ("0\r\n\r\n", "IncompleteBody"),
        ("3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n", "IncompleteBody"),
        (
            "3\r\nabc\r\n0\r\nx-amz-checksum-crc32:????\r\n\r\n",
            "MalformedTrailerError",
        ),
        ("3\r\nabc\r\n0\r\nno colon\r\n\r\n", "MalformedTrailerError"),
    ] {
        let request = Request::new("PUT", "/bucket/k")
            .framed("STREAMING-UNSIGNED-PAYLOAD-TRAILER", 3, body)
            .signed(&stand);
        let answer = request.send(&stand).await;
        assert_eq!(answer.verdict(), (400, code), "{body:?}: {}", answer.text());
    }
    let lines = ["x".repeat(300), format!("3;{}", "y".repeat(300))];
    for line in lines {
        let body = format!("{line}\r\nabc\r\n0\r\n\r\n");
        let request = Request::new("PUT", "/bucket/k")
            .framed("STREAMING-UNSIGNED-PAYLOAD-TRAILER", 3, body)
            .signed(&stand);
        assert_eq!(
            request.send(&stand).await.verdict(),
            (400, "InvalidRequest")
        );
    }
    let absent = Request::new("HEAD", "/bucket/k").signed(&stand);
    assert_eq!(absent.send(&stand).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_gets_its_100_continue_once_it_is_let_in() {
    let stand = Stand::start().await;
    let upload = || {
        let request = Request::new("PUT", "/bucket/k").body("content");
        request.header("expect", "100-continue").signed(&stand)
    };
    let request = upload();
    let mut stream = connect(&stand).await;
    stream.write_all(request.head.as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    let head = Request::new("HEAD", "/bucket/k").signed(&stand);
    assert_eq!(head.send(&stand).await.status, 404);
    stream.write_all(&request.body).await.unwrap();
    let answer = Answer::read(&mut stream, false).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    // What is refused for its form alone has not even been looked at by the stack.
    let impossible = Request::new("PUT", "/bucket//k").body("content");
    let impossible = impossible.header("expect", "100-continue").signed(&stand);
    let mut stream = connect(&stand).await;
    stream.write_all(impossible.head.as_bytes()).await.unwrap();
    let answer = Answer::read(&mut stream, false).await;
    assert_eq!(answer.verdict(), (400, "InvalidArgument"));
}
