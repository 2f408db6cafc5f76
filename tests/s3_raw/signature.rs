//! Signatures as clients, proxies, and attackers send them.

use std::time::{Duration, SystemTime};

use hugbucket::s3::{S3Config, TrustedProxies};

use crate::stand::Stand;
use crate::wire::{Request, Signed};

/// AWS's text for every signature version that it does not verify.
const UNSUPPORTED: &str =
    "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.";

fn get(target: &str) -> Request {
    Request::new("GET", target)
}

/// Adds a line to the head, past the signature.
pub(crate) fn with_line(mut request: Signed, line: &str) -> Signed {
    request.head = request
        .head
        .replacen("\r\n\r\n", &format!("\r\n{line}\r\n\r\n"), 1);
    request
}

/// Removes a header from the head.
pub(crate) fn without(mut request: Signed, name: &str) -> Signed {
    let lines = request.head.split("\r\n");
    let kept: Vec<_> = lines
        .filter(|line| !line.starts_with(&format!("{name}: ")))
        .collect();
    request.head = kept.join("\r\n");
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plus_in_a_query_may_have_been_signed_as_a_space() {
    let stand = Stand::start().await;
    let put = Request::new("PUT", "/bucket/a%20b")
        .body("x")
        .signed(&stand);
    assert_eq!(put.send(&stand).await.status, 200);
    for (signed, sent) in [("a%20b", "a+b"), ("a%20b", "a%20b")] {
        let list = get(&format!("/bucket?prefix={signed}")).signed(&stand);
        let answer = list.sent_as(signed, sent).send(&stand).await;
        assert_eq!(answer.element("Key"), "a b", "{sent}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_mechanism_and_only_version_4_is_taken() {
    let stand = Stand::start().await;
    let both = with_line(
        get("/bucket/k").presigned(&stand),
        "authorization: AWS4-HMAC-SHA256 x",
    );
    let answer = both.send(&stand).await;
    assert_eq!(answer.verdict(), (400, "InvalidArgument"));
    assert!(
        answer
            .element("Message")
            .starts_with("Only one auth mechanism allowed")
    );
    for (target, line) in [
        (
            "/bucket/k",
            "authorization: AWS AKIAIOSFODNN7EXAMPLE:frJIUN8DYpKDtOLCwo//yllqDzg=",
        ),
        (
            "/bucket/k",
            "authorization: AWS4-ECDSA-P256-SHA256 Credential=x",
        ),
        (
            "/bucket/k?AWSAccessKeyId=a&Expires=1&Signature=b",
            "accept: */*",
        ),
        (
            "/bucket/k?X-Amz-Algorithm=AWS4-ECDSA-P256-SHA256&X-Amz-Credential=a&X-Amz-Signature=b",
            "accept: */*",
        ),
    ] {
        let answer = with_line(get(target).unsigned(&stand), line)
            .send(&stand)
            .await;
        assert_eq!(answer.verdict(), (400, "InvalidRequest"), "{target} {line}");
        assert_eq!(answer.element("Message"), UNSUPPORTED);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_added_on_the_way_is_named() {
    let stand = Stand::start().await;
    for line in ["x-amz-meta-color: red", "x-amz-acl: private"] {
        for request in [
            get("/bucket/k").signed(&stand),
            get("/bucket/k").presigned(&stand),
        ] {
            let answer = with_line(request, line).send(&stand).await;
            assert_eq!(answer.verdict(), (403, "AccessDenied"), "{line}");
            let name = line.split(':').next().unwrap();
            assert_eq!(answer.element("HeadersNotSigned"), name);
        }
    }
    let two_hosts = with_line(get("/bucket/k").signed(&stand), "host: elsewhere");
    assert_eq!(
        two_hosts.send(&stand).await.verdict(),
        (400, "InvalidRequest")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forwarded_host_is_tried_second_and_only_for_trusted_proxies() {
    let through_a_proxy = |stand: &Stand, forwarded: &str| {
        let request = get("/bucket?location")
            .host("s3.example.org:8443")
            .signed(stand);
        let request = request.sent_as("host: s3.example.org:8443", "host: inner:9000");
        with_line(request, forwarded)
    };
    let both = "x-forwarded-host: s3.example.org\r\nx-forwarded-port: 8443";
    let trusting = || S3Config {
        trusted_proxies: TrustedProxies::new(|_| true),
        ..S3Config::default()
    };
    let stand = Stand::start_with(trusting()).await;
    for forwarded in [both, "x-forwarded-host: s3.example.org:8443"] {
        let answer = through_a_proxy(&stand, forwarded).send(&stand).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    // The received host still counts, whatever a proxy says.
    let direct = with_line(
        get("/bucket?location").signed(&stand),
        "x-forwarded-host: other",
    );
    assert_eq!(direct.send(&stand).await.status, 200);
    let wrong = through_a_proxy(&stand, "x-forwarded-host: other")
        .send(&stand)
        .await;
    assert_eq!(wrong.verdict(), (403, "SignatureDoesNotMatch"));
    // A proxy that compresses for the client.
    let encoding = get("/bucket?location").header("accept-encoding", "identity");
    let encoding = encoding
        .signed(&stand)
        .sent_as("accept-encoding: identity", "accept-encoding: gzip, br");
    assert_eq!(encoding.send(&stand).await.status, 200);

    let stand = Stand::start().await;
    let answer = through_a_proxy(&stand, both).send(&stand).await;
    assert_eq!(answer.verdict(), (403, "SignatureDoesNotMatch"));
    assert!(
        answer
            .element("CanonicalRequest")
            .contains("host:inner:9000")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn times_are_judged_with_what_a_client_needs_to_correct_its_own() {
    let stand = Stand::start().await;
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    for at in [
        SystemTime::now() - minutes(16),
        SystemTime::now() + minutes(16),
    ] {
        let answer = get("/bucket").at(at).signed(&stand).send(&stand).await;
        assert_eq!(answer.verdict(), (403, "RequestTimeTooSkewed"));
        for element in ["RequestTime", "ServerTime"] {
            assert!(answer.element(element).ends_with('Z'), "{}", answer.text());
        }
    }
    let expired = get("/bucket/k")
        .at(SystemTime::now() - minutes(2))
        .presigned(&stand);
    let answer = expired.send(&stand).await;
    assert_eq!(answer.verdict(), (403, "AccessDenied"));
    assert_eq!(answer.element("Message"), "Request has expired");
    assert_eq!(answer.element("X-Amz-Expires"), "60");
    assert!(answer.element("Expires") < answer.element("ServerTime"));
    let early = get("/bucket/k")
        .at(SystemTime::now() + minutes(16))
        .presigned(&stand);
    let answer = early.send(&stand).await;
    assert_eq!(answer.verdict(), (403, "AccessDenied"));
    assert_eq!(answer.element("Message"), "Request is not valid yet");
    for (expires, text) in [
        ("soon", "X-Amz-Expires should be a number"),
        ("-1", "X-Amz-Expires must be non-negative"),
        (
            "604801",
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than \
             604800 seconds",
        ),
    ] {
        let request = get("/bucket/k").presigned(&stand);
        let request = request.sent_as("X-Amz-Expires=60", &format!("X-Amz-Expires={expires}"));
        let answer = request.send(&stand).await;
        assert_eq!(answer.verdict(), (400, "AuthorizationQueryParametersError"));
        assert_eq!(answer.element("Message"), text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_token_of_somebody_else_is_named() {
    let stand = Stand::start().await;
    let request = get("/bucket").header("x-amz-security-token", "left over");
    let answer = request.signed(&stand).send(&stand).await;
    assert_eq!(answer.verdict(), (400, "InvalidToken"));
    assert!(answer.element("Message").contains("AWS_SESSION_TOKEN"));
    let empty = get("/bucket").header("x-amz-security-token", "");
    assert_eq!(empty.signed(&stand).send(&stand).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_signature_needs_its_payload_hash_and_a_stranger_no_signed_one() {
    let stand = Stand::start().await;
    let answer = without(get("/bucket").signed(&stand), "x-amz-content-sha256");
    let answer = answer.send(&stand).await;
    assert_eq!(answer.verdict(), (400, "InvalidRequest"));
    assert_eq!(
        answer.element("Message"),
        "Missing required header for this request: x-amz-content-sha256"
    );
    for (hash, verdict) in [
        ("UNSIGNED-PAYLOAD", (403, "AccessDenied")),
        ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", (403, "AccessDenied")),
        (
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            (400, "InvalidRequest"),
        ),
        ("nonsense", (400, "InvalidRequest")),
    ] {
        let request = get("/bucket").header("x-amz-content-sha256", hash);
        let answer = request.unsigned(&stand).send(&stand).await;
        assert_eq!(answer.verdict(), verdict, "{hash}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_is_required_only_if_that_is_configured() {
    let strict = S3Config {
        requires_region: true,
        ..S3Config::default()
    };
    let stand = Stand::start_with(strict).await;
    for (request, code) in [
        (
            get("/bucket").signed(&stand),
            "AuthorizationHeaderMalformed",
        ),
        (
            get("/bucket").presigned(&stand),
            "AuthorizationQueryParametersError",
        ),
    ] {
        let answer = request.send(&stand).await;
        assert_eq!(answer.verdict(), (400, code), "{}", answer.text());
        assert_eq!(answer.element("Region"), "us-east-1");
    }
    let answer = get("/bucket")
        .region("us-east-1")
        .signed(&stand)
        .send(&stand)
        .await;
    assert_eq!(answer.status, 200);
}
