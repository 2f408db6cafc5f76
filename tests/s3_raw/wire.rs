//! Requests as bytes: signed by the signer of AWS's own SDK, written by hand, and answered into plain text.

use std::time::{Duration, SystemTime};

use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::stand::{ACCESS_KEY, SECRET_KEY, Stand};

const REGION: &str = "eu-north-1";

/// A request under construction.
pub(crate) struct Request {
    method: &'static str,
    target: String,
    host: Option<String>,
    headers: Vec<(String, String)>,
    /// The value of `x-amz-content-sha256`.
    payload_hash: String,
    access_key: &'static str,
    secret: &'static str,
    region: String,
    at: SystemTime,
    body: Vec<u8>,
}

impl Request {
    pub(crate) fn new(method: &'static str, target: &str) -> Self {
        Self {
            method,
            target: target.into(),
            host: None,
            headers: Vec::new(),
            payload_hash: "UNSIGNED-PAYLOAD".into(),
            access_key: ACCESS_KEY,
            secret: SECRET_KEY,
            region: REGION.into(),
            at: SystemTime::now(),
            body: Vec::new(),
        }
    }

    /// A body whose SHA-256 is signed.
    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.payload_hash = hex::encode(Sha256::digest(body.as_ref()));
        self.body = body.as_ref().to_vec();
        let len_bytes = self.body.len().to_string();
        self.header("content-length", &len_bytes)
    }

    /// A body as it goes over the wire, framed or false, under a value of `x-amz-content-sha256` that says what it is.
    pub(crate) fn framed(
        mut self,
        payload_hash: &str,
        decoded_length: usize,
        body: impl AsRef<[u8]>,
    ) -> Self {
        self.payload_hash = payload_hash.into();
        self.body = body.as_ref().to_vec();
        let len_bytes = self.body.len().to_string();
        self.header("content-length", &len_bytes)
            .header("x-amz-decoded-content-length", &decoded_length.to_string())
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn host(mut self, host: &str) -> Self {
        self.host = Some(host.into());
        self
    }

    pub(crate) fn access_key(mut self, access_key: &'static str) -> Self {
        self.access_key = access_key;
        self
    }

    pub(crate) fn secret(mut self, secret: &'static str) -> Self {
        self.secret = secret;
        self
    }

    pub(crate) fn region(mut self, region: &str) -> Self {
        self.region = region.into();
        self
    }

    pub(crate) fn at(mut self, at: SystemTime) -> Self {
        self.at = at;
        self
    }

    /// Signs in the header.
    pub(crate) fn signed(self, stand: &Stand) -> Signed {
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        self.sign(stand, settings)
    }

    /// Signs in the query, for a minute.
    pub(crate) fn presigned(self, stand: &Stand) -> Signed {
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_secs(60));
        self.sign(stand, settings)
    }

    /// Signs nothing.
    pub(crate) fn unsigned(self, stand: &Stand) -> Signed {
        let host = self.host.unwrap_or_else(|| stand.address.to_string());
        let mut headers = vec![("host".to_owned(), host)];
        headers.extend(self.headers);
        Signed {
            head: head(self.method, &self.target, &headers),
            body: self.body,
            signature: String::new(),
            at: self.at,
        }
    }

    fn sign(self, stand: &Stand, mut settings: SigningSettings) -> Signed {
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        let identity =
            aws_sdk_s3::config::Credentials::new(self.access_key, self.secret, None, None, "test")
                .into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region.as_str())
            .name("s3")
            .time(self.at)
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let host = self.host.unwrap_or_else(|| stand.address.to_string());
        let uri = format!("http://{host}{}", self.target);
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let body = SignableBody::Precomputed(self.payload_hash);
        let signable = SignableRequest::new(self.method, uri.clone(), headers, body).unwrap();
        let (instructions, signature) = sign(signable, &params).unwrap().into_parts();
        let mut carrier = http::Request::builder().uri(uri).body(()).unwrap();
        instructions.apply_to_request_http1x(&mut carrier);
        let mut all = vec![("host".to_owned(), host)];
        all.extend(self.headers);
        for (name, value) in carrier.headers() {
            all.push((name.to_string(), value.to_str().unwrap().to_owned()));
        }
        let target = carrier.uri().path_and_query().unwrap().as_str();
        Signed {
            head: head(self.method, target, &all),
            body: self.body,
            signature,
            at: self.at,
        }
    }
}

fn head(method: &str, target: &str, headers: &[(String, String)]) -> String {
    let lines: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    format!("{method} {target} HTTP/1.1\r\n{lines}\r\n")
}

/// A request ready to be sent.
pub(crate) struct Signed {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    signature: String,
    at: SystemTime,
}

impl Signed {
    /// Writes the target in another way than it was signed.
    pub(crate) fn sent_as(mut self, signed: &str, sent: &str) -> Self {
        self.head = self.head.replacen(signed, sent, 1);
        self
    }

    /// Sends the request over a connection of its own.
    pub(crate) async fn send(self, stand: &Stand) -> Answer {
        self.send_over(&mut connect(stand).await).await
    }

    pub(crate) async fn send_over(self, stream: &mut TcpStream) -> Answer {
        stream.write_all(self.head.as_bytes()).await.unwrap();
        stream.write_all(&self.body).await.unwrap();
        Answer::read(stream, self.head.starts_with("HEAD")).await
    }

    /// Frames chunks with their signatures, which begin with the request's own, and puts them into the body.
    pub(crate) fn with_signed_chunks(mut self, chunks: &[&[u8]]) -> Self {
        let stamp = stamp(self.at);
        let scope = format!("{}/{REGION}/s3/aws4_request", &stamp[..8]);
        let key = signing_key(&scope);
        let empty = hex::encode(Sha256::digest(b""));
        let mut previous = self.signature.clone();
        self.body.clear();
        for chunk in chunks.iter().copied().chain([&b""[..]]) {
            let digest = hex::encode(Sha256::digest(chunk));
            let text = format!(
                "AWS4-HMAC-SHA256-PAYLOAD\n{stamp}\n{scope}\n{previous}\n{empty}\n{digest}"
            );
            previous = hex::encode(hmac(&key, &text));
            let line = format!("{:x};chunk-signature={previous}\r\n", chunk.len());
            self.body.extend_from_slice(line.as_bytes());
            self.body.extend_from_slice(chunk);
            self.body.extend_from_slice(b"\r\n");
        }
        self
    }
}

/// Returns how long a body of signed chunks is on the wire.
pub(crate) fn framed_length(chunks: &[&[u8]]) -> usize {
    let overhead = ";chunk-signature=".len() + 64 + 4;
    let chunks = chunks.iter().map(|chunk| chunk.len()).chain([0]);
    chunks
        .map(|len| format!("{len:x}").len() + overhead + len)
        .sum()
}

/// Returns the signature of a text, for the scope of this moment, and that scope.
pub(crate) fn signature_of(text: &str, stamp: &str) -> (String, String) {
    let scope = format!("{}/{REGION}/s3/aws4_request", &stamp[..8]);
    let key = signing_key(&scope);
    (hex::encode(hmac(&key, text)), scope)
}

fn signing_key(scope: &str) -> Vec<u8> {
    let secret = format!("AWS4{SECRET_KEY}").into_bytes();
    scope.split('/').fold(secret, |key, part| hmac(&key, part))
}

/// Returns a moment as signatures have it.
pub(crate) fn stamp(at: SystemTime) -> String {
    OffsetDateTime::from(at)
        .format(format_description!(
            "[year][month][day]T[hour][minute][second]Z"
        ))
        .unwrap()
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

pub(crate) async fn connect(stand: &Stand) -> TcpStream {
    TcpStream::connect(stand.address).await.unwrap()
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Reads one answer, and not a byte more.
    pub(crate) async fn read(stream: &mut TcpStream, is_head: bool) -> Self {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let status = head[9..12].parse().unwrap();
        let mut answer = Self {
            status,
            head,
            body: Vec::new(),
        };
        if !is_head && status != 304 {
            let len_bytes = answer.header("content-length").parse().unwrap_or(0);
            answer.body = vec![0; len_bytes];
            stream.read_exact(&mut answer.body).await.unwrap();
        }
        answer
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let prefix = format!("{name}: ");
        let line = self
            .head
            .lines()
            .find(|line| line.to_ascii_lowercase().starts_with(&prefix));
        line.map_or("", |line| &line[prefix.len()..])
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Returns the text of the first element with this name, or the empty text.
    pub(crate) fn element(&self, name: &str) -> &str {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let inner = self
            .text()
            .split_once(&open)
            .and_then(|(_, rest)| rest.split_once(&close));
        inner.map_or("", |(inner, _)| inner)
    }

    /// Returns status and error code.
    pub(crate) fn verdict(&self) -> (u16, &str) {
        (self.status, self.element("Code"))
    }
}
