//! A lean S3 client: `reqwest` with Signature Version 4, so that the load generator takes little of the machine.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::{Method, Response};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::client::Sample;
use crate::download::Downloads;

/// The development Hub's built-in credentials.
const ACCESS_KEY: &str = "hugbucket";
const SECRET_KEY: &str = "hugbucket";

pub(crate) struct Client {
    http: reqwest::Client,
    endpoint: String,
    host: String,
    bucket: String,
    is_signed: bool,
    downloads: Arc<Downloads>,
}

impl Client {
    pub(crate) fn new(endpoint: &str, bucket: &str, is_signed: bool) -> Result<Self> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .tcp_nodelay(true)
            .pool_max_idle_per_host(512)
            .build()?;
        let host = endpoint
            .strip_prefix("http://")
            .context("the endpoint is plain http")?
            .to_owned();
        Ok(Self {
            http,
            endpoint: endpoint.to_owned(),
            host,
            bucket: bucket.to_owned(),
            is_signed,
            downloads: Arc::default(),
        })
    }

    pub(crate) async fn create_bucket(&self) -> Result<()> {
        self.send(Method::PUT, "", "", Bytes::new(), None)
            .await
            .map(|_| ())
    }

    pub(crate) async fn put(&self, key: &str, body: Bytes) -> Result<Sample> {
        let bytes = body.len() as u64;
        self.send(Method::PUT, key, "", body, None).await?;
        Ok(Sample {
            bytes,
            first_byte: None,
        })
    }

    pub(crate) async fn get(&self, key: &str, range: Option<(u64, u64)>) -> Result<Sample> {
        let path = format!("/{}/{key}", self.bucket);
        let payload_hash = "UNSIGNED-PAYLOAD";
        let (date_time, authorization) = self.sign(&Method::GET, &path, "", payload_hash)?;
        let range = range.map_or_else(String::new, |(first, last)| {
            format!("range: bytes={first}-{last}\r\n")
        });
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nx-amz-date: {date_time}\r\n\
             x-amz-content-sha256: {payload_hash}\r\nauthorization: {authorization}\r\n{range}\r\n",
            self.host
        );
        let (downloads, host) = (self.downloads.clone(), self.host.clone());
        tokio::task::spawn_blocking(move || downloads.fetch(&host, &request)).await?
    }

    pub(crate) async fn multipart(
        &self,
        key: &str,
        body: Bytes,
        part_bytes: usize,
        at_once: usize,
    ) -> Result<Sample> {
        let begun = self
            .send(Method::POST, key, "uploads=", Bytes::new(), None)
            .await?
            .text()
            .await?;
        let upload_id = between(&begun, "<UploadId>", "</UploadId>")?.to_owned();
        let count = body.len().div_ceil(part_bytes);
        let tags: Vec<String> = stream::iter(0..count)
            .map(|n| {
                let part = body.slice(n * part_bytes..body.len().min((n + 1) * part_bytes));
                let query = format!("partNumber={}&uploadId={upload_id}", n + 1);
                async move {
                    let answer = self.send(Method::PUT, key, &query, part, None).await?;
                    anyhow::Ok(answer.headers()["etag"].to_str()?.to_owned())
                }
            })
            .buffered(at_once)
            .try_collect()
            .await?;
        let parts = tags.iter().enumerate().map(|(n, tag)| {
            format!(
                "<Part><PartNumber>{}</PartNumber><ETag>{tag}</ETag></Part>",
                n + 1
            )
        });
        let document = format!(
            "<CompleteMultipartUpload>{}</CompleteMultipartUpload>",
            parts.collect::<String>()
        );
        let query = format!("uploadId={upload_id}");
        let answer = self
            .send(Method::POST, key, &query, document.into(), None)
            .await?
            .text()
            .await?;
        ensure!(
            answer.contains("<CompleteMultipartUploadResult"),
            "not completed: {answer}"
        );
        Ok(Sample {
            bytes: body.len() as u64,
            first_byte: None,
        })
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        key: &str,
        query: &str,
        body: Bytes,
        range: Option<(u64, u64)>,
    ) -> Result<Response> {
        let path = if key.is_empty() {
            format!("/{}", self.bucket)
        } else {
            format!("/{}/{key}", self.bucket)
        };
        let separator = if query.is_empty() { "" } else { "?" };
        let payload_hash = if self.is_signed {
            hex::encode(Sha256::digest(&body))
        } else {
            "UNSIGNED-PAYLOAD".into()
        };
        let (date_time, authorization) = self.sign(&method, &path, query, &payload_hash)?;
        let mut request = self
            .http
            .request(method, format!("{}{path}{separator}{query}", self.endpoint))
            .header("x-amz-date", date_time)
            .header("x-amz-content-sha256", payload_hash)
            .header("authorization", authorization)
            .body(body);
        if let Some((first, last)) = range {
            request = request.header("range", format!("bytes={first}-{last}"));
        }
        let response = request.send().await?;
        if !response.status().is_success() {
            anyhow::bail!(
                "{path}: {} {}",
                response.status(),
                response.text().await.unwrap_or_default()
            );
        }
        Ok(response)
    }

    fn sign(
        &self,
        method: &Method,
        path: &str,
        query: &str,
        payload_hash: &str,
    ) -> Result<(String, String)> {
        let format = format_description!("[year][month][day]T[hour][minute][second]Z");
        let date_time = OffsetDateTime::now_utc().format(format)?;
        let scope = format!("{}/us-east-1/s3/aws4_request", &date_time[..8]);
        let signed = "host;x-amz-content-sha256;x-amz-date";
        let headers = format!(
            "host:{}\nx-amz-content-sha256:{payload_hash}\nx-amz-date:{date_time}\n",
            self.host
        );
        let canonical = format!("{method}\n{path}\n{query}\n{headers}\n{signed}\n{payload_hash}");
        let digest = hex::encode(Sha256::digest(canonical.as_bytes()));
        let to_sign = format!("AWS4-HMAC-SHA256\n{date_time}\n{scope}\n{digest}");
        let seed = format!("AWS4{SECRET_KEY}").into_bytes();
        let key = [&date_time[..8], "us-east-1", "s3", "aws4_request"]
            .iter()
            .fold(seed, |key, text| hmac_sha256(&key, text));
        let signature = hex::encode(hmac_sha256(&key, &to_sign));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, SignedHeaders={signed}, Signature={signature}"
        );
        Ok((date_time, authorization))
    }
}

fn hmac_sha256(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

pub(crate) fn between<'a>(text: &'a str, start: &str, end: &str) -> Result<&'a str> {
    let after = text
        .split_once(start)
        .with_context(|| format!("no {start} in {text}"))?
        .1;
    Ok(after
        .split_once(end)
        .with_context(|| format!("no {end} in {text}"))?
        .0)
}
