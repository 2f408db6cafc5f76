//! A lean S3 client that tries nothing twice, so that an answer is about one request.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::stand::{ACCESS_KEY, BUCKET, DEADLINE, SECRET_KEY};

/// What SigV4 leaves as it is in a query.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Bytes of a chunk of a signed stream; the least that AWS allows.
const CHUNK_BYTES: usize = 8 << 10;

const STREAMING: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";

/// How a body is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signing {
    /// Not at all.
    Unsigned,
    /// As a whole.
    Whole,
    /// Chunk by chunk.
    Chunks,
}

/// A request under construction.
#[derive(Debug)]
pub(crate) struct Request {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    signing: Signing,
}

/// A request as it goes over the wire.
#[derive(Debug)]
pub(crate) struct Signed {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Gone {
    /// It did not come within the deadline.
    Late,
    /// The connection broke, or there was none.
    Broken,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: reqwest::header::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// A request for a key of the bucket, or for the bucket itself if the key is empty.
    pub(crate) fn new(method: Method, key: &str) -> Self {
        let path = match key {
            "" => format!("/{BUCKET}"),
            key => format!("/{BUCKET}/{key}"),
        };
        Self {
            method,
            path,
            query: Vec::new(),
            headers: Vec::new(),
            body: Vec::new(),
            signing: Signing::Unsigned,
        }
    }

    pub(crate) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// Adds a header, which is signed. Its name is in lower case.
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn body(mut self, body: Vec<u8>, signing: Signing) -> Self {
        self.body = body;
        self.signing = signing;
        self
    }

    /// Signs the request for a host.
    pub(crate) fn sign(mut self, host: &str) -> Signed {
        let payload_hash = match self.signing {
            Signing::Unsigned => "UNSIGNED-PAYLOAD".to_owned(),
            Signing::Whole => hex::encode(Sha256::digest(&self.body)),
            Signing::Chunks => {
                let len_bytes = self.body.len().to_string();
                self.headers
                    .push(("content-encoding", "aws-chunked".into()));
                self.headers
                    .push(("x-amz-decoded-content-length", len_bytes));
                STREAMING.to_owned()
            }
        };
        let at = now();
        let mut headers = self.headers;
        headers.push(("host", host.to_owned()));
        headers.push(("x-amz-content-sha256", payload_hash.clone()));
        headers.push(("x-amz-date", at.clone()));
        headers.sort_unstable();
        self.query.sort_unstable();
        let encode = |text: &str| utf8_percent_encode(text, QUERY).to_string();
        let query: Vec<String> = (self.query.iter())
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        let query = query.join("&");
        let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let lines: String = (headers.iter())
            .map(|(name, value)| format!("{name}:{value}\n"))
            .collect();
        let canonical = format!(
            "{}\n{}\n{query}\n{lines}\n{names}\n{payload_hash}",
            self.method, self.path
        );
        let scope = format!("{}/us-east-1/s3/aws4_request", &at[..8]);
        let digest = hex::encode(Sha256::digest(canonical));
        let to_sign = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{digest}");
        let key = scope
            .split('/')
            .fold(format!("AWS4{SECRET_KEY}").into_bytes(), |key, part| {
                hmac(&key, part)
            });
        let signature = hex::encode(hmac(&key, &to_sign));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, SignedHeaders={names}, Signature={signature}"
        );
        let body = match self.signing {
            Signing::Chunks => framed(&self.body, &key, &at, &scope, signature),
            Signing::Unsigned | Signing::Whole => self.body,
        };
        let mut headers: Vec<_> = (headers.into_iter())
            .filter(|(name, _)| *name != "host")
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        headers.push(("authorization".to_owned(), authorization));
        Signed {
            method: self.method,
            target: match query.as_str() {
                "" => self.path,
                query => format!("{}?{query}", self.path),
            },
            headers,
            body,
        }
    }

    /// Signs and sends the request, and reads the answer to its end.
    pub(crate) async fn send(self, http: &reqwest::Client, host: &str) -> Result<Answer, Gone> {
        let Signed {
            method,
            target,
            headers,
            body,
        } = self.sign(host);
        let mut request = http.request(method, format!("http://{host}{target}"));
        if body.is_empty() {
            // Otherwise nothing is said of a body that is empty.
            request = request.header("content-length", "0");
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let whole = async {
            let response = request.body(body).send().await?;
            let status = response.status().as_u16();
            let headers = response.headers().clone();
            let body = response.bytes().await?.to_vec();
            Ok::<_, reqwest::Error>(Answer {
                status,
                headers,
                body,
            })
        };
        match tokio::time::timeout(DEADLINE, whole).await {
            Err(_) => Err(Gone::Late),
            Ok(answer) => answer.map_err(|_| Gone::Broken),
        }
    }
}

impl Answer {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the text of the first element of this name.
    pub(crate) fn element(&self, name: &str) -> Option<String> {
        element(&self.text(), name).map(str::to_owned)
    }
}

/// Returns a client with a pool of its own.
pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .tcp_nodelay(true)
        .connect_timeout(Duration::from_secs(10))
        .build()
        .unwrap()
}

/// Returns the text of the first element of this name.
pub(crate) fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0)
}

/// Returns the insides of all elements of this name.
pub(crate) fn elements<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let parts = text.split(&open).skip(1);
    parts
        .filter_map(|part| part.split_once(&close))
        .map(|(inside, _)| inside)
        .collect()
}

/// Frames a body into chunks, each signed on top of the one before.
fn framed(body: &[u8], key: &[u8], at: &str, scope: &str, seed: String) -> Vec<u8> {
    let empty = hex::encode(Sha256::digest(b""));
    let mut previous = seed;
    let mut framed = Vec::new();
    for chunk in body.chunks(CHUNK_BYTES).chain([&b""[..]]) {
        let digest = hex::encode(Sha256::digest(chunk));
        let to_sign =
            format!("AWS4-HMAC-SHA256-PAYLOAD\n{at}\n{scope}\n{previous}\n{empty}\n{digest}");
        previous = hex::encode(hmac(key, &to_sign));
        let line = format!("{:x};chunk-signature={previous}\r\n", chunk.len());
        framed.extend_from_slice(line.as_bytes());
        framed.extend_from_slice(chunk);
        framed.extend_from_slice(b"\r\n");
    }
    framed
}

fn now() -> String {
    OffsetDateTime::now_utc()
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
