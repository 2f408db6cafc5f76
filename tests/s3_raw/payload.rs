//! Every way in which a body is framed and vouched for; what does not hold stores nothing.

use crate::stand::Stand;
use crate::wire::{Request, framed_length};

const UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
const SIGNED_CHUNKS: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";

/// "123456789" in one unsigned chunk, with its CRC32 in the trailer.
const TRAILED: &str = "9\r\n123456789\r\n0\r\nx-amz-checksum-crc32:y/Q5Jg==\r\n\r\n";

async fn content(stand: &Stand) -> String {
    let answer = Request::new("GET", "/bucket/k")
        .signed(stand)
        .send(stand)
        .await;
    assert_eq!(answer.status, 200);
    answer.text().to_owned()
}

/// Starts a gateway with an object whose content is `before`.
async fn stand_with_object() -> Stand {
    let stand = Stand::start().await;
    let answer = Request::new("PUT", "/bucket/k")
        .body("before")
        .signed(&stand)
        .send(&stand)
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    stand
}

fn trailed(body: &str) -> Request {
    Request::new("PUT", "/bucket/k")
        .header("content-encoding", "aws-chunked")
        .header("x-amz-trailer", "x-amz-checksum-crc32")
        .framed(UNSIGNED_TRAILER, 9, body)
}

#[tokio::test(flavor = "multi_thread")]
async fn framed_bodies_are_stored_without_their_framing() {
    let stand = stand_with_object().await;
    let answer = trailed(TRAILED).signed(&stand).send(&stand).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-amz-checksum-crc32"), "y/Q5Jg==");
    assert_eq!(content(&stand).await, "123456789");

    let chunks: [&[u8]; 2] = [b"hello ", b"world"];
    let answer = Request::new("PUT", "/bucket/k")
        .framed(SIGNED_CHUNKS, 11, vec![0; framed_length(&chunks)])
        .signed(&stand)
        .with_signed_chunks(&chunks)
        .send(&stand)
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(content(&stand).await, "hello world");
    let head = Request::new("HEAD", "/bucket/k")
        .signed(&stand)
        .send(&stand)
        .await;
    assert_eq!(head.header("content-encoding"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_hold_stores_nothing() {
    let stand = stand_with_object().await;
    let put = || Request::new("PUT", "/bucket/k");
    let tampered = TRAILED.replace("456", "654");
    let cut = TRAILED.replace("9\r\n123456789", "8\r\n12345678");
    let wrong = [
        (trailed(&tampered).signed(&stand), (400, "BadDigest")),
        (trailed(&cut).signed(&stand), (400, "IncompleteBody")),
        (
            trailed("9\r\n123456789\r\n0\r\n\r\n").signed(&stand),
            (400, "MalformedTrailerError"),
        ),
        (
            put()
                .body("after")
                .header("content-md5", "JfnnlDI7RTiF9RgfG2JNCw==")
                .signed(&stand),
            (400, "BadDigest"),
        ),
        (
            put()
                .body("after")
                .header("x-amz-checksum-crc32c", "AAAAAA==")
                .signed(&stand),
            (400, "BadDigest"),
        ),
    ];
    for (request, verdict) in wrong {
        let answer = request.send(&stand).await;
        assert_eq!(answer.verdict(), verdict, "{}", answer.text());
        assert_eq!(content(&stand).await, "before", "{verdict:?}");
    }

    let mut swapped = put().body("after").signed(&stand);
    swapped.body = b"other".to_vec();
    let answer = swapped.send(&stand).await;
    assert_eq!(answer.verdict(), (400, "XAmzContentSHA256Mismatch"));
    assert_eq!(answer.element("S3ComputedContentSHA256").len(), 64);

    let chunks: [&[u8]; 2] = [b"hello ", b"world"];
    let mut forged = put()
        .framed(SIGNED_CHUNKS, 11, vec![0; framed_length(&chunks)])
        .signed(&stand)
        .with_signed_chunks(&chunks);
    let at = forged
        .body
        .windows(5)
        .position(|window| window == b"world")
        .unwrap();
    forged.body[at] = b'W';
    assert_eq!(
        forged.send(&stand).await.verdict(),
        (403, "SignatureDoesNotMatch")
    );
    assert_eq!(content(&stand).await, "before");
}

/// The AWS SDK for Java 2 announces a trailer with signed chunks, sends none, and puts the value into a header.
#[tokio::test(flavor = "multi_thread")]
async fn a_trailer_that_is_announced_and_sent_as_a_header_counts() {
    let stand = stand_with_object().await;
    let chunks: [&[u8]; 2] = [b"12345", b"6789"];
    let put = |value: Option<&str>| {
        let mut put = Request::new("PUT", "/bucket/k")
            .framed(SIGNED_CHUNKS, 9, vec![0; framed_length(&chunks)])
            .header("x-amz-trailer", "x-amz-checksum-crc32");
        if let Some(value) = value {
            put = put.header("x-amz-checksum-crc32", value);
        }
        put.signed(&stand).with_signed_chunks(&chunks)
    };
    let wrong = put(Some("AAAAAA==")).send(&stand).await;
    assert_eq!(wrong.verdict(), (400, "BadDigest"));
    assert_eq!(content(&stand).await, "before");
    let absent = put(None).send(&stand).await;
    assert_eq!(absent.verdict(), (400, "MalformedTrailerError"));
    assert_eq!(content(&stand).await, "before");
    let right = put(Some("y/Q5Jg==")).send(&stand).await;
    assert_eq!(
        (right.status, right.header("x-amz-checksum-crc32")),
        (200, "y/Q5Jg==")
    );
    assert_eq!(content(&stand).await, "123456789");
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_must_be_what_was_signed() {
    let stand = stand_with_object().await;
    let document = "<Delete><Object><Key>k</Key></Object></Delete>";
    let mut swapped = Request::new("POST", "/bucket?delete")
        .body(document.replace("<Key>k", "<Key>x"))
        .signed(&stand);
    swapped.body = document.as_bytes().to_vec();
    assert_eq!(
        swapped.send(&stand).await.verdict(),
        (400, "XAmzContentSHA256Mismatch")
    );
    assert_eq!(content(&stand).await, "before");
    let answer = Request::new("POST", "/bucket?delete")
        .body(document)
        .signed(&stand)
        .send(&stand)
        .await;
    assert_eq!((answer.status, answer.element("Key")), (200, "k"));
    let answer = Request::new("GET", "/bucket/k")
        .signed(&stand)
        .send(&stand)
        .await;
    assert_eq!(answer.verdict(), (404, "NoSuchKey"));
}
