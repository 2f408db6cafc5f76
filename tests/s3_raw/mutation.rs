//! Ten thousand requests that were changed at random, mixed with whole ones: none makes the gateway panic, hang, or fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use crate::stand::Stand;
use crate::wire::{Request, Signed, connect};

/// Requests in all, and clients that send them.
const REQUESTS: u64 = 10_000;
const CLIENTS: u64 = 8;

/// How long an answer may take before the client sends its end: some requests promise a body that never comes.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long the gateway may then take to close.
const FAREWELL: Duration = Duration::from_secs(20);

/// Where the numbers begin; a failure names the request's own.
const SEED: u64 = 0x5eed_2026;

/// Texts that have hurt parsers before.
const NASTY: &[&str] = &[
    "",
    " ",
    "0",
    "-1",
    "+1",
    "1e9",
    "18446744073709551616",
    "99999999999999999999999999",
    "null",
    "true",
    "*",
    "\"",
    "\"\"",
    "W/\"x\"",
    ",",
    ";;;===",
    "%",
    "%00",
    "%ff%fe",
    "%2e%2e%2f",
    "../../etc/passwd",
    "bytes=",
    "bytes=0-0,2-3",
    "bytes=99999999999999999999-",
    "bytes=-0",
    "a=b&c",
    "${filename}",
    "<x/>",
    "Fri, 31 Feb 2026 99:99:99 GMT",
    "20261399T999999Z",
    "AWS4-HMAC-SHA256 Credential=////, SignedHeaders=;;, Signature=",
    "AWS4-HMAC-SHA256 Credential=a/20260101/r/s3/aws4_request,SignedHeaders=host,Signature=ff",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "aws-chunked,aws-chunked",
    "x-amz-checksum-crc64nvme",
    "multipart/form-data; boundary=",
    "multipart/form-data; boundary=x",
    "/bucket/known?versionId=",
    "%2Fbucket%2Fknown",
    "\u{e4}\u{1f600}",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
];

/// Headers that mean something.
const HEADERS: &[&str] = &[
    "accept-encoding",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "expect",
    "expires",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "origin",
    "range",
    "access-control-request-method",
    "traceparent",
    "transfer-encoding",
    "upgrade",
    "x-amz-acl",
    "x-amz-checksum-crc32",
    "x-amz-checksum-mode",
    "x-amz-content-sha256",
    "x-amz-copy-source",
    "x-amz-copy-source-range",
    "x-amz-date",
    "x-amz-decoded-content-length",
    "x-amz-meta-",
    "x-amz-meta-a",
    "x-amz-metadata-directive",
    "x-amz-mp-object-size",
    "x-amz-object-attributes",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-security-token",
    "x-amz-tagging",
    "x-amz-tagging-directive",
    "x-amz-trailer",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-request-id",
];

/// Parameters that mean something.
const PARAMETERS: &[&str] = &[
    "acl",
    "attributes",
    "cors",
    "delete",
    "location",
    "list-type",
    "prefix",
    "delimiter",
    "marker",
    "max-keys",
    "encoding-type",
    "continuation-token",
    "start-after",
    "fetch-owner",
    "max-buckets",
    "partNumber",
    "policy",
    "response-content-type",
    "response-expires",
    "tagging",
    "uploadId",
    "uploads",
    "versionId",
    "versions",
    "x-id",
    "x-amz-copy-source",
    "x-amz-meta-q",
    "AWSAccessKeyId",
    "Signature",
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
    "X-Amz-Content-Sha256",
    "X-Amz-Security-Token",
];

/// Numbers that depend on the seed alone (xorshift64*).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap() % sides
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len())]
    }
}

/// Chooses a request that the gateway knows; `extra` is for its query, and changed before it is signed.
fn ordinary(dice: &mut Dice, extra: &str) -> Request {
    let (method, target) = dice.pick(&[
        ("GET", "/"),
        ("GET", "/bucket"),
        ("GET", "/bucket?list-type=2&prefix=a&delimiter=%2F"),
        ("HEAD", "/bucket"),
        ("GET", "/bucket?location"),
        ("GET", "/bucket/known"),
        ("HEAD", "/bucket/known"),
        ("GET", "/bucket/known?tagging"),
        ("PUT", "/bucket/written?tagging"),
        ("DELETE", "/bucket/written?tagging"),
        ("PUT", "/bucket/written"),
        ("PUT", "/bucket/d/written%20too"),
        ("DELETE", "/bucket/absent"),
        ("POST", "/bucket?delete"),
        ("POST", "/bucket"),
        ("POST", "/bucket/k?uploads"),
        (
            "PUT",
            "/bucket/k?partNumber=1&uploadId=00112233445566778899aabbccddeeff",
        ),
        (
            "POST",
            "/bucket/k?uploadId=00112233445566778899aabbccddeeff",
        ),
        (
            "DELETE",
            "/bucket/k?uploadId=00112233445566778899aabbccddeeff",
        ),
        ("OPTIONS", "/bucket/known"),
        ("PATCH", "/bucket/known"),
    ]);
    let joined = match (extra.is_empty(), target.contains('?')) {
        (true, _) => target.to_owned(),
        (false, true) => format!("{target}&{extra}"),
        (false, false) => format!("{target}?{extra}"),
    };
    let request = Request::new(method, &joined);
    match (method, target) {
        ("POST", "/bucket?delete") => {
            request.body("<Delete><Object><Key>absent</Key></Object></Delete>")
        }
        ("POST", "/bucket") => request
            .header("content-type", "multipart/form-data; boundary=x")
            .body("--x\r\ncontent-disposition: form-data; name=\"key\"\r\n\r\nk\r\n--x--"),
        ("POST", _) => request.body("<CompleteMultipartUpload/>"),
        ("PUT", "/bucket/written?tagging") => request
            .body("<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>"),
        ("PUT", _) if dice.roll(2) == 0 => {
            let body = "3\r\nabc\r\n0\r\nx-amz-checksum-crc32:NSRBwg==\r\n\r\n";
            request
                .header("x-amz-trailer", "x-amz-checksum-crc32")
                .framed("STREAMING-UNSIGNED-PAYLOAD-TRAILER", 3, body)
        }
        ("PUT", _) => request.body("abc"),
        _ => request,
    }
}

/// A query that may go under a signature: the signer takes what a URI can hold.
fn query(dice: &mut Dice) -> String {
    let pairs = (0..dice.roll(3)).map(|_| {
        let (name, value) = (dice.pick(PARAMETERS), dice.pick(NASTY));
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"%*-._=".contains(byte);
        let value: String = value.bytes().filter(is_plain).map(char::from).collect();
        format!("{name}={value}")
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// Changes a head past its signature: the query, a header, or its bytes.
fn mutated(dice: &mut Dice, head: &str) -> Vec<u8> {
    let (first, rest) = head.split_once("\r\n").unwrap();
    let mut first = first.to_owned();
    let mut lines: Vec<String> = rest.trim_end().split("\r\n").map(str::to_owned).collect();
    let at = dice.roll(lines.len());
    match dice.roll(8) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(at, lines[at].clone()),
        2 => {
            let (name, _) = lines[at].split_once(':').unwrap();
            lines[at] = format!("{name}: {}", dice.pick(NASTY));
        }
        3 | 4 => {
            let line = format!("{}: {}", dice.pick(HEADERS), dice.pick(NASTY));
            lines.insert(at, line);
        }
        5 => {
            let pair = format!(
                "{}={}",
                dice.pick(PARAMETERS),
                dice.pick(NASTY).replace(' ', "+")
            );
            let sign = if first.contains('?') { '&' } else { '?' };
            first = first.replacen(" HTTP/", &format!("{sign}{pair} HTTP/"), 1);
        }
        6 => {
            let method = dice.pick(&["GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "X"]);
            let (_, target) = first.split_once(' ').unwrap();
            first = format!("{method} {target}");
        }
        _ => {
            let cut = dice.roll(lines[at].len() + 1);
            let cut = (0..=cut)
                .rev()
                .find(|cut| lines[at].is_char_boundary(*cut))
                .unwrap();
            lines[at].truncate(cut);
        }
    }
    let mut bytes = format!(
        "{first}\r\n{}\r\nconnection: close\r\n\r\n",
        lines.join("\r\n")
    )
    .into_bytes();
    if dice.roll(10) == 0 {
        let at = dice.roll(bytes.len());
        bytes[at] = u8::try_from(dice.roll(256)).unwrap();
    }
    bytes
}

/// Returns the status that came back; `None` where the gateway closed without one, as it may for what is no HTTP.
async fn status_of(stand: &Stand, head: &[u8], body: &[u8]) -> Result<Option<u16>, &'static str> {
    let mut stream = connect(stand).await;
    // Refused before everything was read, the rest cannot be written.
    let _ = stream.write_all(head).await;
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let in_time = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    if in_time.is_err() {
        let _ = stream.shutdown().await;
        let ended = tokio::time::timeout(FAREWELL, stream.read_to_end(&mut answer)).await;
        ended.map_err(|_| "the connection hangs").map(drop)?;
    }
    // Interim answers come first.
    let text = String::from_utf8_lossy(&answer);
    let text = text.trim_start_matches("HTTP/1.1 100 Continue\r\n\r\n");
    Ok(text.get(9..12).and_then(|status| status.parse().ok()))
}

async fn attack(stand: Arc<Stand>, client: u64) -> Vec<String> {
    let mut failures = Vec::new();
    for number in 0..REQUESTS / CLIENTS {
        let seed = SEED ^ (client << 32) ^ (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut dice = Dice(seed | 1);
        let extra = query(&mut dice);
        let request = ordinary(&mut dice, &extra);
        let Signed { head, body, .. } = match dice.roll(3) {
            0 => request.presigned(&stand),
            1 => request.unsigned(&stand),
            _ => request.signed(&stand),
        };
        let head = mutated(&mut dice, &head);
        match status_of(&stand, &head, &body).await {
            Ok(None) | Ok(Some(100..=499 | 501)) => {}
            other => {
                let head = String::from_utf8_lossy(&head);
                failures.push(format!("seed {seed:#x}: {other:?} to {head}"));
            }
        }
        if number % 50 == 0 {
            let whole = Request::new("GET", "/bucket/known").signed(&stand);
            let answer = whole.send(&stand).await;
            if (answer.status, answer.text()) != (200, "known") {
                failures.push(format!(
                    "after seed {seed:#x}: a whole request got {}",
                    answer.status
                ));
            }
        }
    }
    failures
}

#[tokio::test(flavor = "multi_thread")]
async fn random_changes_never_break_the_gateway() {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // Those of other tests are theirs.
        if panic
            .location()
            .is_some_and(|place| place.file().starts_with("src/"))
        {
            PANICS.fetch_add(1, Ordering::SeqCst);
        }
        usual(panic);
    }));
    let stand = Arc::new(Stand::start().await);
    let put = Request::new("PUT", "/bucket/known").body("known");
    assert_eq!(put.signed(&stand).send(&stand).await.status, 200);
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        clients.spawn(attack(stand.clone(), client));
    }
    let failures: Vec<String> = clients.join_all().await.into_iter().flatten().collect();
    assert_eq!(failures, [] as [String; 0]);
    assert_eq!(PANICS.load(Ordering::SeqCst), 0);
}
