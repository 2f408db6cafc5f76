//! Properties of claims and canonical requests.

use http::HeaderValue;
use http::header::AUTHORIZATION;
use http::request::Parts;
use percent_encoding::percent_decode_str;

use crate::fuzzing::{Feed, head};
use crate::sigv4::canonical::{Plus, canonical_path, canonical_query, header_value};
use crate::sigv4::key::string_to_sign;
use crate::sigv4::{Claim, ClaimOptions, Evidence, SignatureKind, SigningKey, claim};

/// Any request: a head as [`head`] reads it, and a byte of options.
pub(crate) fn request(input: &[u8]) {
    let mut feed = Feed::new(input);
    let steer = feed.byte();
    let Some(head) = head(feed.rest()) else {
        return;
    };
    path_is_canonical(head.uri.path());
    query_is_canonical(head.uri.query().unwrap_or_default());
    for name in head.headers.keys() {
        let value = header_value(&head.headers, name.as_str());
        assert!(!value.contains("  ") && !value.contains('\n'), "{value:?}");
    }
    let options = ClaimOptions {
        region: (steer & 1 != 0).then_some("us-east-1"),
        trusts_forwarded_host: steer & 2 != 0,
        repairs_accept_encoding: steer & 4 != 0,
        ..ClaimOptions::default()
    };
    if let Ok(Claim::Signed(evidence)) = claim(&head, options) {
        signatures_are_judged(&head, options, &evidence);
    }
}

fn path_is_canonical(raw: &str) {
    let Ok(path) = canonical_path(raw) else {
        return;
    };
    assert!(is_encoded(&path, b"/"), "{path}");
    assert_eq!(canonical_path(&path).as_ref(), Ok(&path));
    let raw = if raw.is_empty() { "/" } else { raw };
    assert!(percent_decode_str(&path).eq(percent_decode_str(raw)));
}

fn query_is_canonical(raw: &str) {
    let reversed = raw.split('&').rev().collect::<Vec<_>>().join("&");
    for plus in [Plus::Literal, Plus::Blank] {
        let query = canonical_query(raw, plus);
        assert!(is_encoded(&query, b"=&"), "{query}");
        assert_eq!(canonical_query(&query, Plus::Literal), query);
        assert_eq!(canonical_query(&reversed, plus), query);
    }
}

/// Reports whether a text holds unreserved characters, whole escapes in upper case, and `kept` alone.
fn is_encoded(text: &str, kept: &[u8]) -> bool {
    let mut pieces = text.split('%');
    let is_plain = |piece: &str| {
        let mut bytes = piece.bytes();
        bytes.all(|byte| {
            byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || kept.contains(&byte)
        })
    };
    let is_upper_hex = |digit: &u8| digit.is_ascii_digit() || (b'A'..=b'F').contains(digit);
    is_plain(pieces.next().unwrap_or_default())
        && pieces.all(|piece| {
            let digits = piece.as_bytes().get(..2);
            digits.is_some_and(|digits| digits.iter().all(is_upper_hex)) && is_plain(&piece[2..])
        })
}

fn signatures_are_judged(head: &Parts, options: ClaimOptions<'_>, evidence: &Evidence) {
    assert!((1..=8).contains(&evidence.canonical_requests.len()));
    if let SignatureKind::Query { expires_secs } = evidence.kind {
        assert!(expires_secs <= 604_800);
    }
    // Whatever can be added on the way is part of what is signed.
    for name in head.headers.keys().filter(|name| {
        name.as_str().starts_with("x-amz-") && name.as_str() != "x-amz-content-sha256"
    }) {
        let line = format!("\n{name}:");
        assert!(evidence.canonical_requests[0].contains(&line), "{name}");
    }
    let key = SigningKey::derive("secret", &evidence.scope);
    for canonical in &evidence.canonical_requests {
        let text = string_to_sign(evidence.signed_at, &evidence.scope, canonical);
        let mut signed = evidence.clone();
        signed.signature = key.sign(&text);
        assert_eq!(signed.verify(&key), Ok(()));
        let last = if signed.signature.pop() == Some('0') {
            '1'
        } else {
            '0'
        };
        signed.signature.push(last);
        assert!(signed.verify(&key).is_err());
        signed.signature.pop();
        assert!(signed.verify(&key).is_err());
    }
    if evidence.kind == SignatureKind::Header {
        a_signed_head_verifies(head, options, evidence, &key);
    }
}

/// Signs the head itself as its client would, and has it judged anew.
fn a_signed_head_verifies(
    head: &Parts,
    options: ClaimOptions<'_>,
    evidence: &Evidence,
    key: &SigningKey,
) {
    let canonical = &evidence.canonical_requests[0];
    // Signed together with itself it has no end.
    if canonical.contains("\nauthorization:") {
        return;
    }
    let Some(Ok(value)) = head.headers.get(AUTHORIZATION).map(HeaderValue::to_str) else {
        return;
    };
    // A name that looks like the component hides where that begins.
    if value.matches("Signature=").count() != 1 {
        return;
    }
    let signature = key.sign(&string_to_sign(
        evidence.signed_at,
        &evidence.scope,
        canonical,
    ));
    let (before, after) = value.split_once("Signature=").expect("it was parsed");
    let (_, after) = after.split_at(after.find(',').unwrap_or(after.len()));
    let signed = format!("{before}Signature={signature}{after}");
    let mut head = head.clone();
    head.headers
        .insert(AUTHORIZATION, signed.parse().expect("it is ASCII"));
    match claim(&head, options) {
        Ok(Claim::Signed(again)) => {
            assert_eq!(again.canonical_requests, evidence.canonical_requests);
            assert_eq!(again.verify(key), Ok(()));
        }
        other => panic!("{other:?}"),
    }
}
