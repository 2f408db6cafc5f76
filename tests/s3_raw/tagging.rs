//! Tags on the wire: what S3 answers, and what a refusal leaves alone.

use crate::stand::{READER_KEY, Stand};
use crate::wire::{Answer, Request};

const TAGS: &str = "<Tagging xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><TagSet>\
    <Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>";

async fn send(stand: &Stand, request: Request) -> Answer {
    request.signed(stand).send(stand).await
}

async fn tags(stand: &Stand) -> String {
    let answer = send(stand, Request::new("GET", "/bucket/k?tagging")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.element("TagSet").to_owned()
}

/// A stand with `k`, which has one tag.
async fn stand_with_tag() -> Stand {
    let stand = Stand::start().await;
    let put = Request::new("PUT", "/bucket/k").body("content");
    assert_eq!(
        send(&stand, put.header("x-amz-tagging", "b=2"))
            .await
            .status,
        200
    );
    stand
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_are_put_counted_and_deleted() {
    let stand = stand_with_tag().await;
    assert_eq!(
        tags(&stand).await,
        "<Tag><Key>b</Key><Value>2</Value></Tag>"
    );
    let put = Request::new("PUT", "/bucket/k?tagging&versionId=null").body(TAGS);
    let answer = send(&stand, put).await;
    assert_eq!((answer.status, answer.text()), (200, ""));
    assert_eq!(
        tags(&stand).await,
        "<Tag><Key>a</Key><Value>1</Value></Tag>"
    );
    for method in ["GET", "HEAD"] {
        let answer = send(&stand, Request::new(method, "/bucket/k")).await;
        assert_eq!(answer.header("x-amz-tagging-count"), "1", "{method}");
    }
    let answer = send(&stand, Request::new("DELETE", "/bucket/k?tagging")).await;
    assert_eq!((answer.status, answer.text()), (204, ""));
    assert_eq!(tags(&stand).await, "");
    let answer = send(&stand, Request::new("HEAD", "/bucket/k")).await;
    assert_eq!(answer.header("x-amz-tagging-count"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_leaves_the_tags_alone() {
    let stand = stand_with_tag().await;
    let put = |target: &str, body: &str| Request::new("PUT", target).body(body);
    let key = |key: &str| TAGS.replace(">a<", &format!(">{key}<"));
    let value = |value: &str| TAGS.replace(">1<", &format!(">{value}<"));
    let twice = TAGS.replace(
        "</TagSet>",
        "<Tag><Key>a</Key><Value>2</Value></Tag></TagSet>",
    );
    let many: String = (0..10)
        .map(|n| format!("<Tag><Key>k{n}</Key><Value/></Tag>"))
        .collect();
    let many = TAGS.replace("</TagSet>", &format!("{many}</TagSet>"));
    let own = "/bucket/k?tagging";
    for (request, verdict) in [
        (put(own, &key(&"k".repeat(129))), (400, "InvalidTag")),
        (put(own, &key("aws:a")), (400, "InvalidTag")),
        (put(own, &key("a,b")), (400, "InvalidTag")),
        (put(own, &value(&"v".repeat(257))), (400, "InvalidTag")),
        (put(own, &value("{}")), (400, "InvalidTag")),
        (put(own, &twice), (400, "InvalidTag")),
        (put(own, &many), (400, "BadRequest")),
        (put(own, "<Tagging>"), (400, "MalformedXML")),
        (
            put(own, TAGS).header("content-md5", "AAAAAAAAAAAAAAAAAAAAAA=="),
            (400, "BadDigest"),
        ),
        (
            put(own, TAGS).header("x-amz-checksum-crc32", "AAAAAA=="),
            (400, "BadDigest"),
        ),
        (
            put("/bucket/k?tagging&versionId=7", TAGS),
            (404, "NoSuchVersion"),
        ),
        (put("/bucket/absent?tagging", TAGS), (404, "NoSuchKey")),
        (put("/absent/k?tagging", TAGS), (404, "NoSuchBucket")),
        (put(own, TAGS).access_key(READER_KEY), (403, "AccessDenied")),
        (
            put(own, TAGS).secret("wrong"),
            (403, "SignatureDoesNotMatch"),
        ),
        (
            Request::new("DELETE", own).access_key(READER_KEY),
            (403, "AccessDenied"),
        ),
        (
            Request::new("DELETE", "/bucket/absent?tagging"),
            (404, "NoSuchKey"),
        ),
        (
            Request::new("GET", "/bucket/absent?tagging"),
            (404, "NoSuchKey"),
        ),
        (
            put("/bucket/k", "x").header("x-amz-tagging", "a=1&a=2"),
            (400, "InvalidArgument"),
        ),
        (
            put("/bucket/k", "x").header("x-amz-tagging", "a=%ff"),
            (400, "InvalidArgument"),
        ),
    ] {
        let answer = send(&stand, request).await;
        assert_eq!(answer.verdict(), verdict, "{}", answer.text());
        assert_eq!(
            tags(&stand).await,
            "<Tag><Key>b</Key><Value>2</Value></Tag>"
        );
    }
    let get = send(&stand, Request::new("GET", "/bucket/k")).await;
    assert_eq!(get.text(), "content");
    let reads = Request::new("GET", own).access_key(READER_KEY);
    assert_eq!(
        send(&stand, reads).await.status,
        200,
        "who may read may read tags"
    );
}
