//! The `hf-xet` client without any gateway, against the same upstream.

use std::collections::HashMap;
use std::sync::Mutex;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use serde_json::{Value, json};
use tempfile::TempDir;
use xet::xet_session::{Sha256Policy, XetFileInfo, XetSession, XetSessionBuilder};

pub(crate) struct Client {
    http: reqwest::Client,
    session: XetSession,
    hub_token: String,
    /// Address of the bucket in the Hub's API.
    bucket: String,
    write: Access,
    read: Access,
    known: Mutex<HashMap<String, XetFileInfo>>,
    _cache: TempDir,
}

#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) url: String,
    pub(crate) token: String,
    expires: u64,
}

impl Client {
    /// Takes the Hub's address, a token, and the bucket as `namespace/name`.
    pub(crate) async fn new(hub: &str, hub_token: &str, bucket: &str) -> Result<Self> {
        // Whoever comes first installs it; the client is built without a provider of its own.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build()?;
        let bucket = format!("{}/api/buckets/{bucket}", hub.trim_end_matches('/'));
        let cache = tempfile::tempdir()?;
        let session = XetSessionBuilder::new()
            .with_cache_dir(cache.path())
            .build()?;
        let write = access(&http, hub_token, &bucket, "write").await?;
        let read = access(&http, hub_token, &bucket, "read").await?;
        let known = Mutex::default();
        Ok(Self {
            http,
            session,
            hub_token: hub_token.to_owned(),
            bucket,
            write,
            read,
            known,
            _cache: cache,
        })
    }

    /// Uploads and registers, as one `hf` upload does.
    pub(crate) async fn put(&self, key: &str, body: Bytes) -> Result<()> {
        let commit = self
            .session
            .new_upload_commit()?
            .with_endpoint(&self.write.url)
            .with_token_info(&self.write.token, self.write.expires)
            .build()
            .await?;
        let _upload = commit
            .upload_bytes(body.to_vec(), Sha256Policy::Skip, Some(key.to_owned()))
            .await?;
        let report = commit.commit().await?;
        let info = report
            .uploads
            .values()
            .next()
            .context("one upload")?
            .xet_info
            .clone();
        let line = json!({"type": "addFile", "path": key, "xetHash": info.hash()});
        let answer: Value = self
            .http
            .post(format!("{}/batch", self.bucket))
            .bearer_auth(&self.hub_token)
            .header("content-type", "application/x-ndjson")
            .body(format!("{line}\n"))
            .send()
            .await?
            .json()
            .await?;
        ensure!(answer["success"] == true, "not registered: {answer}");
        Ok(())
    }

    /// Looks the file up and streams it.
    pub(crate) async fn get(&self, key: &str, mut take: impl FnMut(&[u8])) -> Result<()> {
        let info = self.info(key).await?;
        let group = self
            .session
            .new_download_stream_group()?
            .with_endpoint(&self.read.url)
            .with_token_info(&self.read.token, self.read.expires)
            .build()
            .await?;
        let mut stream = group.download_stream(info, None).await?;
        while let Some(frame) = stream.next().await? {
            take(&frame);
        }
        Ok(())
    }

    async fn info(&self, key: &str) -> Result<XetFileInfo> {
        let remembered = self
            .known
            .lock()
            .ok()
            .and_then(|known| known.get(key).cloned());
        if let Some(info) = remembered {
            return Ok(info);
        }
        let found: Value = self
            .http
            .post(format!("{}/paths-info", self.bucket))
            .bearer_auth(&self.hub_token)
            .json(&json!({"paths": [key]}))
            .send()
            .await?
            .json()
            .await?;
        let file = &found[0];
        let hash = file["xetHash"]
            .as_str()
            .with_context(|| format!("{key}: {found}"))?;
        Ok(XetFileInfo::new(
            hash.to_owned(),
            file["size"].as_u64().context("a size")?,
        ))
    }
}

pub(crate) async fn access(
    http: &reqwest::Client,
    hub_token: &str,
    bucket: &str,
    scope: &str,
) -> Result<Access> {
    let url = format!("{bucket}/xet-{scope}-token");
    let answer: Value = http
        .get(url)
        .bearer_auth(hub_token)
        .send()
        .await?
        .error_for_status()?
        .json()
        .await?;
    Ok(Access {
        url: answer["casUrl"].as_str().context("casUrl")?.to_owned(),
        token: answer["accessToken"]
            .as_str()
            .context("accessToken")?
            .to_owned(),
        expires: answer["exp"].as_u64().context("exp")?,
    })
}
