//! The inner loops by themselves: chunking, packing, decoding, signatures, XML. `cargo bench --features micro --bench micro`.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use http::Request;
use hugbucket::micro::{cut_and_hash, decode, list_document, pack, read_completion};
use hugbucket::sigv4::{ChunkDecoder, Claim, ClaimOptions, SigningKey, claim};

const CONTENT_BYTES: usize = 16 << 20;

/// Incompressible bytes.
fn random(len: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = (0..len.div_ceil(8)).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(len).collect()
}

/// Lines of a log.
fn text(len: usize) -> Bytes {
    let mut text = String::with_capacity(len + 64);
    let mut n = 0_u32;
    while text.len() < len {
        n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.push_str(&format!("level=info msg=\"request served\" id={n:08x}\n"));
    }
    text.truncate(len);
    text.into()
}

fn content(c: &mut Criterion) {
    for (name, content) in [
        ("random", random(CONTENT_BYTES)),
        ("text", text(CONTENT_BYTES)),
    ] {
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Bytes(CONTENT_BYTES as u64));
        group.sample_size(20);
        group.bench_function("cut and hash", |b| {
            b.iter(|| cut_and_hash(black_box(&content)));
        });
        group.bench_function("cut, hash, compress, pack", |b| {
            b.iter(|| pack(black_box(&content)));
        });
        let packed = pack(&content);
        group.bench_function("decode", |b| b.iter(|| decode(black_box(&packed))));
        group.finish();
    }
}

fn chunked(c: &mut Criterion) {
    let content = random(CONTENT_BYTES);
    let mut framed = BytesMut::new();
    for chunk in content.chunks(64 << 10) {
        framed.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        framed.extend_from_slice(chunk);
        framed.extend_from_slice(b"\r\n");
    }
    framed.extend_from_slice(b"0\r\n\r\n");
    let framed = framed.freeze();
    let mut group = c.benchmark_group("aws-chunked");
    group.throughput(Throughput::Bytes(CONTENT_BYTES as u64));
    group.bench_function("decode, unsigned", |b| {
        b.iter(|| {
            let mut decoder = ChunkDecoder::unsigned();
            let mut input = black_box(framed.clone());
            let mut bytes = 0;
            while let Ok(Some(piece)) = decoder.decode(&mut input) {
                bytes += piece.len();
            }
            assert_eq!(bytes, CONTENT_BYTES);
        });
    });
    group.finish();
}

fn signature(c: &mut Criterion) {
    let request = Request::builder()
        .uri("/bucket/path/to/object?x-id=GetObject")
        .header("host", "s3.example.com")
        .header("x-amz-date", "20260101T000000Z")
        .header("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
        .header(
            "authorization",
            "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request, \
             SignedHeaders=host;x-amz-content-sha256;x-amz-date, \
             Signature=0000000000000000000000000000000000000000000000000000000000000000",
        );
    let (head, ()) = request.body(()).expect("a request").into_parts();
    let claimed = || claim(&head, ClaimOptions::default()).expect("well formed");
    let Claim::Signed(evidence) = claimed() else {
        panic!("the request is signed");
    };
    c.bench_function("signature: canonicalise", |b| {
        b.iter(|| black_box(claimed()));
    });
    c.bench_function("signature: derive the key", |b| {
        b.iter(|| SigningKey::derive(black_box("secret"), &evidence.scope));
    });
    let key = SigningKey::derive("secret", &evidence.scope);
    c.bench_function("signature: verify", |b| {
        b.iter(|| black_box(evidence.verify(&key).is_ok()));
    });
}

fn xml(c: &mut Criterion) {
    c.bench_function("XML: write 1,000 keys", |b| {
        b.iter(|| list_document(black_box(1000)));
    });
    let parts: String = (1..=10_000)
        .map(|n| format!("<Part><PartNumber>{n}</PartNumber><ETag>\"{n:032x}-1\"</ETag></Part>"))
        .collect();
    let document = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    assert_eq!(read_completion(document.as_bytes()), Some(10_000));
    c.bench_function("XML: read 10,000 parts", |b| {
        b.iter_batched(
            || document.clone(),
            |document| read_completion(black_box(document.as_bytes())),
            BatchSize::LargeInput,
        );
    });
}

criterion_group!(benches, content, chunked, signature, xml);
criterion_main!(benches);
