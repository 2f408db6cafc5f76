//! Bad inputs, one by one: what each is answered with, that it changed nothing, and that its connection came to an end.
//!
//! The table in `deploy/refusals.md` is made of this.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::form::{Form, request_of};
use crate::signature::{with_line, without};
use crate::stand::{READER_KEY, Stand};
use crate::table::{self, Row};
use crate::wire::{Request, Signed, connect, framed_length};

const UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
const SIGNED_CHUNKS: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";

/// Longest time that an answer, and the end of a connection, may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is sent, and what it is answered with.
struct Case {
    about: &'static str,
    sent: &'static str,
    bytes: Vec<u8>,
    expected: &'static str,
}

/// The cases, as they are put together.
struct Cases(Vec<Case>, &'static str);

impl Cases {
    fn add(&mut self, sent: &'static str, request: Signed, expected: &'static str) {
        let mut bytes = request.head.into_bytes();
        bytes.extend(request.body);
        self.raw(sent, bytes, expected);
    }

    fn raw(&mut self, sent: &'static str, bytes: impl Into<Vec<u8>>, expected: &'static str) {
        self.0.push(Case {
            about: self.1,
            sent,
            bytes: bytes.into(),
            expected,
        });
    }
}

/// Sends bytes and closes our half; returns status and code of the first answer, once the server has closed its half too.
async fn answer(stand: &Stand, bytes: &[u8]) -> String {
    let mut stream = connect(stand).await;
    // The server may refuse before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answered = Vec::new();
    let ended = async {
        // Who waits for an answer keeps its half open until it has one.
        let mut piece = [0; 4096];
        loop {
            match stream.read(&mut piece).await {
                Ok(0) | Err(_) => return,
                Ok(len_bytes) => answered.extend_from_slice(&piece[..len_bytes]),
            }
            if is_whole(&answered) {
                let _ = stream.shutdown().await;
            }
        }
    };
    let ended = tokio::time::timeout(PATIENCE, ended).await;
    assert!(
        ended.is_ok(),
        "the connection hangs: {}",
        String::from_utf8_lossy(&answered)
    );
    let answered = String::from_utf8_lossy(&answered);
    let Some(status) = answered
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
    else {
        return "closed".to_owned();
    };
    let code = answered
        .split_once("<Code>")
        .and_then(|(_, rest)| rest.split_once("</Code>"));
    code.map_or_else(|| status.to_owned(), |(code, _)| format!("{status} {code}"))
}

/// Reports whether an answer with a known length has arrived.
fn is_whole(answered: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answered);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    length.is_none_or(|length| {
        length
            .parse()
            .is_ok_and(|length: usize| body.len() >= length)
    })
}

/// Returns everything that a bad input could have changed: buckets, objects, tags, uploads, and parts.
async fn state(stand: &Stand, upload: &str) -> String {
    let mut state = String::new();
    for target in [
        "/",
        "/bucket?list-type=2",
        "/bucket/k?tagging",
        "/bucket/k",
        "/bucket?uploads",
        upload,
    ] {
        let answer = Request::new("GET", target).signed(stand).send(stand).await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        let _ = writeln!(state, "{target}: {}", answer.text());
    }
    state
}

fn get(target: &str) -> Request {
    Request::new("GET", target)
}

fn put(target: &str) -> Request {
    Request::new("PUT", target)
}

fn after(target: &str) -> Request {
    put(target).body("after")
}

fn post(target: &str, document: impl AsRef<[u8]>) -> Request {
    Request::new("POST", target).body(document)
}

fn signatures(cases: &mut Cases, stand: &Stand) {
    cases.1 = "signatures";
    let quarter = Duration::from_secs(16 * 60);
    let now = SystemTime::now();
    let signed = || after("/bucket/k").signed(stand);
    let with = |line: &str| with_line(get("/bucket/k").unsigned(stand), line);
    let header = |change: fn(String) -> String| {
        let mut request = signed();
        request.head = change(request.head);
        request
    };
    cases.add(
        "another secret",
        after("/bucket/k").secret("wrong").signed(stand),
        "403 SignatureDoesNotMatch",
    );
    cases.add(
        "an access key that does not exist",
        after("/bucket/k").access_key("nobody").signed(stand),
        "403 InvalidAccessKeyId",
    );
    cases.add(
        "an access key in other letters",
        after("/bucket/k").access_key("READER").signed(stand),
        "403 InvalidAccessKeyId",
    );
    cases.add(
        "a key that may only read, writing",
        after("/bucket/k").access_key(READER_KEY).signed(stand),
        "403 AccessDenied",
    );
    cases.add(
        "a key that may only read, deleting",
        Request::new("DELETE", "/bucket/k")
            .access_key(READER_KEY)
            .signed(stand),
        "403 AccessDenied",
    );
    cases.add(
        "a key that may only read, making a bucket",
        put("/another")
            .body("")
            .access_key(READER_KEY)
            .signed(stand),
        "403 AccessDenied",
    );
    cases.add(
        "no signature",
        after("/bucket/k").unsigned(stand),
        "403 AccessDenied",
    );
    cases.add(
        "a signature without its last digit",
        header(|head| cut_signature(&head)),
        "403 SignatureDoesNotMatch",
    );
    cases.add(
        "a signature in capitals",
        header(|head| capital_signature(&head)),
        "403 SignatureDoesNotMatch",
    );
    cases.add(
        "the signature of another method",
        signed().sent_as("PUT ", "DELETE "),
        "403 SignatureDoesNotMatch",
    );
    cases.add(
        "the signature of another key",
        signed().sent_as("/bucket/k", "/bucket/l"),
        "403 SignatureDoesNotMatch",
    );
    cases.add(
        "a header that was changed after signing",
        after("/bucket/k")
            .header("x-amz-meta-a", "1")
            .signed(stand)
            .sent_as("meta-a: 1", "meta-a: 2"),
        "403 SignatureDoesNotMatch",
    );
    cases.add(
        "a header that was added after signing",
        with_line(signed(), "x-amz-meta-a: 1"),
        "403 AccessDenied",
    );
    cases.add(
        "two hosts",
        with_line(signed(), "host: elsewhere"),
        "400 InvalidRequest",
    );
    cases.add(
        "a clock 16 minutes behind",
        after("/bucket/k").at(now - quarter).signed(stand),
        "403 RequestTimeTooSkewed",
    );
    cases.add(
        "a clock 16 minutes ahead",
        after("/bucket/k").at(now + quarter).signed(stand),
        "403 RequestTimeTooSkewed",
    );
    cases.add(
        "no date",
        without(signed(), "x-amz-date"),
        "403 AccessDenied",
    );
    cases.add(
        "a date that is none",
        header(|head| head.replacen("x-amz-date: 2", "x-amz-date: x", 1)),
        "403 AccessDenied",
    );
    cases.add(
        "a credential of another day",
        header(|head| replace_between(&head, "Credential=", "20010101/r/s3/aws4_request", ",")),
        "400 AuthorizationHeaderMalformed",
    );
    cases.add(
        "a credential without its parts",
        with("authorization: AWS4-HMAC-SHA256 Credential=x, SignedHeaders=host, Signature=0"),
        "400 AuthorizationHeaderMalformed",
    );
    cases.add("a credential for another service", with("authorization: AWS4-HMAC-SHA256 Credential=k/20130524/r/iam/aws4_request, SignedHeaders=host, Signature=0"), "400 AuthorizationHeaderMalformed");
    cases.add(
        "a component twice",
        with("authorization: AWS4-HMAC-SHA256 Signature=0, Signature=0, SignedHeaders=host"),
        "400 AuthorizationHeaderMalformed",
    );
    cases.add(
        "a component too few",
        with("authorization: AWS4-HMAC-SHA256 SignedHeaders=host, Signature=0"),
        "400 AuthorizationHeaderMalformed",
    );
    cases.add(
        "no content SHA-256",
        without(signed(), "x-amz-content-sha256"),
        "400 InvalidRequest",
    );
    cases.add(
        "Basic",
        with("authorization: Basic YTpi"),
        "400 InvalidArgument",
    );
    cases.add(
        "nothing behind `Authorization:`",
        with("authorization:"),
        "400 InvalidArgument",
    );
    cases.add(
        "a signature of version 2",
        with("authorization: AWS AK:c2ln"),
        "400 InvalidRequest",
    );
    cases.add(
        "a signature of version 4A",
        with("authorization: AWS4-ECDSA-P256-SHA256 Credential=x"),
        "400 InvalidRequest",
    );
    cases.add(
        "a header and a link at once",
        with_line(
            get("/bucket/k").presigned(stand),
            "authorization: AWS4-HMAC-SHA256 x",
        ),
        "400 InvalidArgument",
    );
    cases.add(
        "a session token that was not issued",
        after("/bucket/k")
            .header("x-amz-security-token", "x")
            .signed(stand),
        "400 InvalidToken",
    );
    cases.1 = "links";
    let link = |target: &str| get(target).presigned(stand);
    let expires = "X-Amz-Expires=60";
    cases.add(
        "an expired one",
        get("/bucket/k").at(now - quarter).presigned(stand),
        "403 AccessDenied",
    );
    cases.add(
        "one for another method",
        link("/bucket/k").sent_as("GET ", "DELETE "),
        "403 SignatureDoesNotMatch",
    );
    cases.add(
        "one with a parameter more",
        link("/bucket/k").sent_as("?", "?versionId=null&"),
        "403 SignatureDoesNotMatch",
    );
    cases.add(
        "one that is valid for too long",
        link("/bucket/k").sent_as(expires, "X-Amz-Expires=604801"),
        "400 AuthorizationQueryParametersError",
    );
    cases.add(
        "one that is valid for less than nothing",
        link("/bucket/k").sent_as(expires, "X-Amz-Expires=-1"),
        "400 AuthorizationQueryParametersError",
    );
    cases.add(
        "one without an end",
        link("/bucket/k").sent_as(expires, "x=60"),
        "400 AuthorizationQueryParametersError",
    );
    cases.add(
        "one of version 2",
        get("/bucket/k?AWSAccessKeyId=a&Expires=1&Signature=b").unsigned(stand),
        "400 InvalidRequest",
    );
}

fn cut_signature(head: &str) -> String {
    let at = signature_of(head);
    format!("{}{}", &head[..at + 63], &head[at + 64..])
}

fn capital_signature(head: &str) -> String {
    let at = signature_of(head);
    format!(
        "{}{}{}",
        &head[..at],
        head[at..at + 64].to_uppercase(),
        &head[at + 64..]
    )
}

/// Returns where the 64 digits of the signature begin.
fn signature_of(head: &str) -> usize {
    head.find("Signature=").unwrap() + "Signature=".len()
}

/// Replaces what stands between a mark and the scope of a credential.
fn replace_between(head: &str, mark: &str, scope: &str, end: &str) -> String {
    let (before, rest) = head.split_once(mark).unwrap();
    let (credential, after) = rest.split_once(end).unwrap();
    let key = credential.rsplitn(5, '/').nth(4).unwrap();
    format!("{before}{mark}{key}/{scope}{end}{after}")
}

fn digests(cases: &mut Cases, stand: &Stand) {
    cases.1 = "digests";
    let with = |name: &str, value: &str| after("/bucket/k").header(name, value).signed(stand);
    let mut swapped = after("/bucket/k").signed(stand);
    swapped.body = b"other".to_vec();
    cases.add(
        "other bytes than were signed",
        swapped,
        "400 XAmzContentSHA256Mismatch",
    );
    cases.add(
        "a content SHA-256 that is none",
        put("/bucket/k").framed("0123", 5, "after").signed(stand),
        "400 InvalidRequest",
    );
    cases.add(
        "the MD5 of other bytes",
        with("content-md5", "JfnnlDI7RTiF9RgfG2JNCw=="),
        "400 BadDigest",
    );
    cases.add(
        "an MD5 that is none",
        with("content-md5", "x"),
        "400 InvalidDigest",
    );
    for (sent, name, value) in [
        (
            "the CRC-32 of other bytes",
            "x-amz-checksum-crc32",
            "AAAAAA==",
        ),
        (
            "the CRC-32C of other bytes",
            "x-amz-checksum-crc32c",
            "AAAAAA==",
        ),
        (
            "the CRC-64/NVME of other bytes",
            "x-amz-checksum-crc64nvme",
            "AAAAAAAAAAA=",
        ),
        (
            "the SHA-1 of other bytes",
            "x-amz-checksum-sha1",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        ),
        (
            "the SHA-256 of other bytes",
            "x-amz-checksum-sha256",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        ),
    ] {
        cases.add(sent, with(name, value), "400 BadDigest");
    }
    cases.add(
        "a CRC-32 that is none",
        with("x-amz-checksum-crc32", "AAAA"),
        "400 InvalidRequest",
    );
    cases.add(
        "a checksum that nobody knows",
        with("x-amz-checksum-crc128", "AAAA"),
        "501 NotImplemented",
    );
    cases.add(
        "two checksums",
        after("/bucket/k")
            .header("x-amz-checksum-crc32", "AAAAAA==")
            .header("x-amz-checksum-sha1", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=")
            .signed(stand),
        "400 InvalidRequest",
    );
    cases.add(
        "deletions that nothing vouches for",
        Request::new("POST", "/bucket?delete")
            .header("content-length", "0")
            .signed(stand),
        "400 InvalidRequest",
    );
    let delete = "<Delete><Object><Key>k</Key></Object></Delete>";
    cases.add(
        "deletions with the MD5 of others",
        post("/bucket?delete", delete)
            .header("content-md5", "JfnnlDI7RTiF9RgfG2JNCw==")
            .signed(stand),
        "400 BadDigest",
    );
}

fn framing(cases: &mut Cases, stand: &Stand) {
    cases.1 = "aws-chunked";
    let unsigned = |body: &str| {
        put("/bucket/k")
            .framed(UNSIGNED_TRAILER, 3, body)
            .signed(stand)
    };
    let long = format!("3;{}\r\nabc\r\n0\r\n\r\n", "y".repeat(300));
    cases.add(
        "a size that is no number",
        unsigned("zz\r\nabc\r\n0\r\n\r\n"),
        "400 InvalidRequest",
    );
    cases.add(
        "a size below zero",
        unsigned("-3\r\nabc\r\n0\r\n\r\n"),
        "400 InvalidRequest",
    );
    cases.add(
        "a size beyond 64 bits",
        unsigned("ffffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
        "400 InvalidRequest",
    );
    cases.add(
        "a size that the body never reaches",
        unsigned("7fffffffffffffff\r\nabc\r\n0\r\n\r\n"),
        "400 IncompleteBody",
    );
    cases.add(
        "more content than its size",
        unsigned("2\r\nabc\r\n0\r\n\r\n"),
        "400 InvalidRequest",
    );
    cases.add(
        "less content than its size",
        unsigned("4\r\nabc\r\n0\r\n\r\n"),
        "400 IncompleteBody",
    );
    cases.add(
        "no last chunk",
        unsigned("3\r\nabc\r\n"),
        "400 IncompleteBody",
    );
    cases.add(
        "more than the announced length",
        unsigned("3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"),
        "400 IncompleteBody",
    );
    cases.add(
        "less than the announced length",
        unsigned("0\r\n\r\n"),
        "400 IncompleteBody",
    );
    cases.add(
        "a header line of 300 bytes",
        unsigned(&long),
        "400 InvalidRequest",
    );
    cases.add(
        "a trailer without a colon",
        unsigned("3\r\nabc\r\n0\r\nno colon\r\n\r\n"),
        "400 MalformedTrailerError",
    );
    cases.add(
        "a checksum in the trailer that is none",
        unsigned("3\r\nabc\r\n0\r\nx-amz-checksum-crc32:????\r\n\r\n"),
        "400 MalformedTrailerError",
    );
    let trailed = |body: &str| {
        let request = put("/bucket/k").header("x-amz-trailer", "x-amz-checksum-crc32");
        request.framed(UNSIGNED_TRAILER, 9, body).signed(stand)
    };
    cases.add(
        "an announced trailer that does not come",
        trailed("9\r\n123456789\r\n0\r\n\r\n"),
        "400 MalformedTrailerError",
    );
    cases.add(
        "the trailer of other bytes",
        trailed("9\r\n123456780\r\n0\r\nx-amz-checksum-crc32:y/Q5Jg==\r\n\r\n"),
        "400 BadDigest",
    );
    cases.add(
        "no announced length",
        without(
            unsigned("3\r\nabc\r\n0\r\n\r\n"),
            "x-amz-decoded-content-length",
        ),
        "411 MissingContentLength",
    );
    cases.add(
        "a document in chunks",
        Request::new("POST", "/bucket?delete")
            .header("content-md5", "JfnnlDI7RTiF9RgfG2JNCw==")
            .framed(UNSIGNED_TRAILER, 3, "3\r\nabc\r\n0\r\n\r\n")
            .signed(stand),
        "400 InvalidRequest",
    );
    cases.1 = "signed chunks";
    let chunks: [&[u8]; 2] = [b"hello ", b"world"];
    let signed = |change: fn(&[u8]) -> Vec<u8>| {
        let request = put("/bucket/k").framed(SIGNED_CHUNKS, 11, vec![0; framed_length(&chunks)]);
        let mut request = request.signed(stand).with_signed_chunks(&chunks);
        request.body = change(&request.body);
        request
    };
    cases.add(
        "a changed byte",
        signed(|body| replaced(body, b"world", b"World")),
        "403 SignatureDoesNotMatch",
    );
    cases.add(
        "chunks without signatures",
        signed(|body| replaced(body, b";chunk-signature=", b";shunk-signature=")),
        "400 InvalidRequest",
    );
    cases.add(
        "the chunks in another order",
        signed(swap_chunks),
        "403 SignatureDoesNotMatch",
    );
    cases.add(
        "a chunk twice",
        signed(first_chunk_twice),
        "403 SignatureDoesNotMatch",
    );
    cases.add(
        "a chunk of 17 MiB",
        signed(|body| replaced(body, b"6;", b"1100000;")),
        "400 InvalidRequest",
    );
}

fn replaced(body: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let at = body
        .windows(old.len())
        .position(|window| window == old)
        .unwrap();
    // The length on the wire was announced and stays.
    let mut body = [&body[..at], new, &body[at + old.len()..]].concat();
    body.truncate(body.len() + old.len() - new.len());
    body
}

/// Returns where the second chunk and the last one begin.
fn borders(body: &[u8]) -> (usize, usize) {
    let second = body.windows(2).position(|window| window == b"5;").unwrap();
    let last = body
        .windows(4)
        .rposition(|window| window == b"\r\n0;")
        .unwrap()
        + 2;
    (second, last)
}

fn swap_chunks(body: &[u8]) -> Vec<u8> {
    let (second, last) = borders(body);
    [&body[second..last], &body[..second], &body[last..]].concat()
}

fn first_chunk_twice(body: &[u8]) -> Vec<u8> {
    let (second, _) = borders(body);
    let mut twice = [&body[..second], body].concat();
    twice.truncate(body.len());
    twice
}

fn lengths(cases: &mut Cases, stand: &Stand) {
    cases.1 = "lengths and HTTP";
    let bare = |head: &str| format!("{head}\r\n\r\n").into_bytes();
    let host = "host: x\r\nauthorization: AWS4-HMAC-SHA256 x";
    cases.add(
        "no length at all",
        put("/bucket/k").signed(stand),
        "411 MissingContentLength",
    );
    cases.add(
        "a length of 6 TiB",
        put("/bucket/k")
            .header("content-length", "6597069766656")
            .signed(stand),
        "400 EntityTooLarge",
    );
    cases.raw(
        "two lengths",
        bare(&format!(
            "PUT /bucket/k HTTP/1.1\r\n{host}\r\ncontent-length: 1\r\ncontent-length: 2"
        )),
        "400",
    );
    cases.raw(
        "a length that is no number",
        bare(&format!(
            "PUT /bucket/k HTTP/1.1\r\n{host}\r\ncontent-length: -1"
        )),
        "400",
    );
    cases.raw(
        "a coding that nobody knows",
        bare(&format!(
            "PUT /bucket/k HTTP/1.1\r\n{host}\r\ntransfer-encoding: gzip"
        )),
        "400",
    );
    cases.raw(
        "a chunk whose size is no number",
        format!("PUT /bucket/k HTTP/1.1\r\n{host}\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
        "400 AuthorizationHeaderMalformed",
    );
    cases.raw(
        "a version that does not exist",
        bare("GET /bucket HTTP/9.9\r\nhost: x"),
        "400",
    );
    cases.raw(
        "a header without a colon",
        bare("GET /bucket HTTP/1.1\r\nhost: x\r\nno colon"),
        "400",
    );
    cases.raw(
        "a header with a zero byte",
        bare("GET /bucket HTTP/1.1\r\nhost: x\r\nx: a\0b"),
        "400",
    );
    cases.raw(
        "a folded header",
        bare("GET /bucket HTTP/1.1\r\nhost: x\r\nx: a\r\n b"),
        "400",
    );
    cases.raw("zero bytes", vec![0; 64], "400");
    cases.raw(
        "the beginning of a TLS handshake",
        [&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 64]].concat(),
        "400",
    );
    cases.raw("no host", bare("GET /bucket HTTP/1.1"), "403 AccessDenied");
    cases.add(
        "headers of 40 KiB",
        get("/bucket")
            .header("x-long", &"x".repeat(40 << 10))
            .unsigned(stand),
        "400 RequestHeaderSectionTooLarge",
    );
    cases.raw(
        "a path of 1 MiB",
        bare(&format!("GET /{} HTTP/1.1\r\nhost: x", "y".repeat(1 << 20))),
        "431",
    );
    cases.add(
        "a method that does not exist",
        Request::new("BREW", "/bucket/k").signed(stand),
        "405 MethodNotAllowed",
    );
    cases.add(
        "a method that S3 does not have",
        Request::new("PATCH", "/bucket/k").signed(stand),
        "405 MethodNotAllowed",
    );
}

fn documents(cases: &mut Cases, stand: &Stand, complete: &str) {
    cases.1 = "documents";
    let delete = |document: &str| post("/bucket?delete", document).signed(stand);
    let object = "<Object><Key>x</Key></Object>";
    let tags = |count: usize| {
        let tag = |n: usize| format!("<Tag><Key>{n}</Key><Value>v</Value></Tag>");
        let tags: String = (0..count).map(tag).collect();
        put("/bucket/k?tagging").body(format!("<Tagging><TagSet>{tags}</TagSet></Tagging>"))
    };
    let part = |number: &str| {
        let part = format!("<Part><PartNumber>{number}</PartNumber><ETag>\"x\"</ETag></Part>");
        let document = format!("<CompleteMultipartUpload>{part}</CompleteMultipartUpload>");
        post(complete, document).signed(stand)
    };
    cases.add("nothing", delete(""), "400 MalformedXML");
    cases.add("another root", delete("<Other/>"), "400 MalformedXML");
    cases.add(
        "an element that does not end",
        delete(&format!("<Delete>{object}")),
        "400 MalformedXML",
    );
    cases.add(
        "two roots",
        delete(&format!("<Delete>{object}</Delete><Delete/>")),
        "400 MalformedXML",
    );
    cases.add(
        "a document type",
        delete(&format!(
            "<!DOCTYPE x [<!ENTITY a \"b\">]><Delete>{object}</Delete>"
        )),
        "400 MalformedXML",
    );
    cases.add(
        "a document type from elsewhere",
        delete(&format!(
            "<!DOCTYPE x SYSTEM \"file:///etc/passwd\"><Delete>{object}</Delete>"
        )),
        "400 MalformedXML",
    );
    cases.add(
        "an entity that nobody knows",
        delete("<Delete><Object><Key>&x;</Key></Object></Delete>"),
        "400 MalformedXML",
    );
    cases.add(
        "50,000 elements in each other",
        delete(&format!(
            "<Delete>{}{}</Delete>",
            "<a>".repeat(50_000),
            "</a>".repeat(50_000)
        )),
        "400 MalformedXML",
    );
    cases.add(
        "150,000 elements beside each other",
        delete(&format!("<Delete>{}</Delete>", "<a/>".repeat(150_000))),
        "400 MalformedXML",
    );
    cases.add(
        "5 MiB of text",
        delete(&format!(
            "<Delete><Object><Key>{}</Key></Object></Delete>",
            "x".repeat(5 << 20)
        )),
        "400 MalformedXML",
    );
    cases.add(
        "bytes that are not UTF-8",
        post("/bucket?delete", b"<Delete>\xff\xfe</Delete>").signed(stand),
        "400 MalformedXML",
    );
    cases.add(
        "no key to delete",
        delete("<Delete></Delete>"),
        "400 MalformedXML",
    );
    cases.add(
        "1,001 keys to delete",
        delete(&format!("<Delete>{}</Delete>", object.repeat(1001))),
        "400 MalformedXML",
    );
    cases.add(
        "a size that is no number",
        delete("<Delete><Object><Key>k</Key><Size>x</Size></Object></Delete>"),
        "400 MalformedXML",
    );
    cases.add(
        "no part",
        post(complete, "<CompleteMultipartUpload/>").signed(stand),
        "400 MalformedXML",
    );
    cases.add("part 0", part("0"), "400 InvalidArgument");
    cases.add("part 10,001", part("10001"), "400 InvalidArgument");
    cases.add("a part that was not sent", part("7"), "400 InvalidPart");
    cases.add("eleven tags", tags(11).signed(stand), "400 BadRequest");
    cases.add(
        "a tag without a value",
        put("/bucket/k?tagging")
            .body("<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>")
            .signed(stand),
        "400 MalformedXML",
    );
    cases.add(
        "a tag twice in a header",
        after("/bucket/k")
            .header("x-amz-tagging", "a=1&a=2")
            .signed(stand),
        "400 InvalidArgument",
    );
    cases.add(
        "a bucket with settings",
        put("/another")
            .body("<CreateBucketConfiguration><Bucket/></CreateBucketConfiguration>")
            .signed(stand),
        "501 NotImplemented",
    );
}

fn paths(cases: &mut Cases, stand: &Stand) {
    cases.1 = "names";
    let long = format!("/bucket/{}", "k".repeat(1025));
    for (sent, target, expected) in [
        ("an escape that is none", "/bucket/%zz", "400 InvalidURI"),
        ("an escape that is cut off", "/bucket/%2", "400 InvalidURI"),
        ("bytes that are not UTF-8", "/bucket/%ff", "400 InvalidURI"),
        (
            "`..` in the middle",
            "/bucket/a/../b",
            "400 InvalidArgument",
        ),
        ("`..` in escapes", "/bucket/%2e%2e/b", "400 InvalidArgument"),
        (
            "`..` with an escaped slash",
            "/bucket/a%2f..%2fb",
            "400 InvalidArgument",
        ),
        ("`.` in the middle", "/bucket/a/./b", "400 InvalidArgument"),
        ("two slashes", "/bucket/a//b", "400 InvalidArgument"),
        ("a leading slash", "/bucket//a", "400 InvalidArgument"),
        ("a zero byte", "/bucket/a%00b", "400 InvalidArgument"),
        ("a line feed", "/bucket/a%0ab", "400 InvalidArgument"),
        ("a backslash", "/bucket/a%5cb", "400 InvalidArgument"),
        (
            "the hidden prefix",
            "/bucket/.hugbucket/x",
            "400 InvalidArgument",
        ),
        (
            "the hidden prefix in escapes",
            "/bucket/%2ehugbucket%2fx",
            "400 InvalidArgument",
        ),
        (
            "the name of markers",
            "/bucket/a/.hugbucket_keep",
            "400 InvalidArgument",
        ),
        ("a key of 1,025 bytes", long.as_str(), "400 KeyTooLongError"),
        ("a bucket with a space", "/a%20b/k", "400 InvalidBucketName"),
        ("a bucket named `..`", "/%2e%2e/k", "400 InvalidBucketName"),
        (
            "a bucket that does not exist",
            "/absent/k",
            "404 NoSuchBucket",
        ),
        (
            "a sub-resource that nobody knows",
            "/bucket/k?something-new",
            "501 NotImplemented",
        ),
        ("an ACL", "/bucket/k?acl", "501 NotImplemented"),
        ("a version", "/bucket/k?versionId=1", "404 NoSuchVersion"),
        (
            "an upload that does not exist",
            "/bucket/k?partNumber=1&uploadId=00112233445566778899aabbccddeeff",
            "404 NoSuchUpload",
        ),
        (
            "an upload id that is none",
            "/bucket/k?partNumber=1&uploadId=../x",
            "404 NoSuchUpload",
        ),
        (
            "a part number that is none",
            "/bucket/k?partNumber=x&uploadId=00112233445566778899aabbccddeeff",
            "400 InvalidArgument",
        ),
    ] {
        cases.add(sent, after(target).signed(stand), expected);
    }
    for (sent, source, expected) in [
        ("a copy of `..`", "/bucket/../x", "400 InvalidArgument"),
        (
            "a copy of hidden state",
            "/bucket/.hugbucket%2Fuploads%2Fx",
            "400 InvalidArgument",
        ),
        ("a copy without a key", "/bucket", "400 InvalidArgument"),
        (
            "a copy of what is not there",
            "/bucket/absent",
            "404 NoSuchKey",
        ),
    ] {
        let copy = put("/bucket/copy")
            .body("")
            .header("x-amz-copy-source", source);
        cases.add(sent, copy.signed(stand), expected);
    }
    cases.1 = "parameters and conditions";
    for (sent, target, expected) in [
        (
            "a continuation token that was not issued",
            "/bucket?list-type=2&continuation-token=AAAAAAAAAAB7fQ",
            "400 InvalidArgument",
        ),
        (
            "fewer keys than none",
            "/bucket?max-keys=-1",
            "400 InvalidArgument",
        ),
        (
            "an encoding that nobody knows",
            "/bucket?encoding-type=x",
            "400 InvalidArgument",
        ),
        (
            "a listing of another kind",
            "/bucket?list-type=3",
            "400 InvalidArgument",
        ),
    ] {
        cases.add(sent, get(target).signed(stand), expected);
    }
    let range = |value: &str| get("/bucket/k").header("range", value).signed(stand);
    cases.add(
        "a range behind the end",
        range("bytes=100-200"),
        "416 InvalidRange",
    );
    cases.add(
        "a range beyond 64 bits",
        range("bytes=99999999999999999999-"),
        "416 InvalidRange",
    );
    cases.add("the last 0 bytes", range("bytes=-0"), "416 InvalidRange");
    let when = |name: &str, value: &str| after("/bucket/k").header(name, value).signed(stand);
    cases.add(
        "`If-None-Match: *` on what is there",
        when("if-none-match", "*"),
        "412 PreconditionFailed",
    );
    cases.add(
        "`If-Match` of another content",
        when("if-match", "\"x\""),
        "412 PreconditionFailed",
    );
    cases.add(
        "a condition that is not offered",
        when("if-unmodified-since", "x"),
        "501 NotImplemented",
    );
    cases.add(
        "encryption with a key",
        when("x-amz-server-side-encryption", "aws:kms"),
        "501 NotImplemented",
    );
    cases.add(
        "metadata of 3 KiB",
        after("/bucket/k")
            .header("x-amz-meta-a", &"x".repeat(3 << 10))
            .signed(stand),
        "400 MetadataTooLarge",
    );
}

fn forms(cases: &mut Cases, stand: &Stand) {
    cases.1 = "forms";
    let good = || Form::new("content").signed();
    let cut = |form: Form| {
        let mut body = form.body();
        body.truncate(body.len() - 30);
        request_of(stand, body)
    };
    let sent = |form: Form| request_of(stand, form.body());
    cases.add(
        "no form",
        post("/bucket", "x").unsigned(stand),
        "412 PreconditionFailed",
    );
    cases.add("a form that is cut off", cut(good()), "400 IncompleteBody");
    cases.add(
        "a form without a signature",
        sent(Form::new("content")),
        "403 AccessDenied",
    );
    cases.add(
        "a form with a changed policy",
        sent(good().replaced("policy", "e30=")),
        "400 InvalidPolicyDocument",
    );
    cases.add(
        "a form with another signature",
        sent(good().replaced("x-amz-signature", &"0".repeat(64))),
        "403 SignatureDoesNotMatch",
    );
    cases.add(
        "a form for another key",
        sent(good().replaced("key", "elsewhere/x")),
        "403 AccessDenied",
    );
    cases.add(
        "a form with a field that its policy does not name",
        sent(good().unnamed("x-amz-meta-a", "1")),
        "403 AccessDenied",
    );
    cases.add(
        "a form whose policy has ended",
        sent(Form::new("content").ended().signed()),
        "403 AccessDenied",
    );
    let small = || Form::new("content").condition("[\"content-length-range\", 1, 3]");
    cases.add(
        "a file that is too large",
        sent(small().signed()),
        "400 EntityTooLarge",
    );
    let large = || Form::new("content").condition("[\"content-length-range\", 100, 200]");
    cases.add(
        "a file that is too small",
        sent(large().signed()),
        "400 EntityTooSmall",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_input_has_its_answer_and_changes_nothing() {
    let stand = Stand::start().await;
    let put = put("/bucket/k")
        .body("before")
        .header("x-amz-tagging", "a=1")
        .signed(&stand);
    assert_eq!(put.send(&stand).await.status, 200);
    let begun = post("/bucket/joined?uploads", "")
        .signed(&stand)
        .send(&stand)
        .await;
    let upload = format!("/bucket/joined?uploadId={}", begun.element("UploadId"));
    let mut cases = Cases(Vec::new(), "");
    signatures(&mut cases, &stand);
    digests(&mut cases, &stand);
    framing(&mut cases, &stand);
    lengths(&mut cases, &stand);
    documents(&mut cases, &stand, &upload);
    paths(&mut cases, &stand);
    forms(&mut cases, &stand);
    let (mut rows, mut wrong) = (Vec::new(), String::new());
    let before = state(&stand, &upload).await;
    for case in cases.0 {
        let answer = answer(&stand, &case.bytes).await;
        if answer != case.expected {
            let _ = writeln!(
                wrong,
                "{}, {}: {answer}, not {}",
                case.about, case.sent, case.expected
            );
        }
        if state(&stand, &upload).await != before {
            let _ = writeln!(wrong, "{}, {}: it changed something", case.about, case.sent);
        }
        rows.push(Row {
            about: case.about,
            sent: case.sent.to_owned(),
            answer,
        });
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(rows.len() >= 60, "{} rows", rows.len());
    table::agrees("S3", &rows);
}
