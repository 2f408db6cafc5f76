//! The upstream round trips that a cold read takes, with nobody between: the first byte of a gateway cannot come earlier.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::client::Sample;
use crate::xet::access;

/// The first window of a read, inclusive, as a gateway asks for it.
const FIRST_WINDOW: &str = "bytes=0-8388607";

pub(crate) struct Client {
    http: reqwest::Client,
    hub_token: String,
    /// Address of the bucket in the Hub's API.
    bucket: String,
}

impl Client {
    /// Takes the Hub's address, a token, and the bucket as `namespace/name`.
    pub(crate) fn new(hub: &str, hub_token: &str, bucket: &str) -> Result<Self> {
        Ok(Self {
            http: reqwest::Client::builder().no_proxy().build()?,
            hub_token: hub_token.to_owned(),
            bucket: format!("{}/api/buckets/{bucket}", hub.trim_end_matches('/')),
        })
    }

    /// Looks the file up, takes a token, asks for a plan, and waits for the first bytes of its first range.
    pub(crate) async fn first_byte(&self, key: &str) -> Result<Sample> {
        let started = Instant::now();
        let found: Value = self
            .http
            .post(format!("{}/paths-info", self.bucket))
            .bearer_auth(&self.hub_token)
            .json(&json!({ "paths": [key] }))
            .send()
            .await?
            .json()
            .await?;
        let hash = found[0]["xetHash"].as_str().context("a hash")?;
        let access = access(&self.http, &self.hub_token, &self.bucket, "read").await?;
        let plan: Value = self
            .http
            .get(format!("{}/v2/reconstructions/{hash}", access.url))
            .bearer_auth(&access.token)
            .header("range", FIRST_WINDOW)
            .send()
            .await?
            .json()
            .await?;
        let xorb = plan["terms"][0]["hash"].as_str().context("a term")?;
        let fetch = &plan["xorbs"][xorb][0];
        let bytes = &fetch["ranges"][0]["bytes"];
        let range = format!("bytes={}-{}", bytes["start"], bytes["end"]);
        let url = fetch["url"].as_str().context("an address")?;
        let mut body = self.http.get(url).header("range", range).send().await?;
        let first = body.chunk().await?.context("a first piece")?;
        ensure!(!first.is_empty(), "an empty piece");
        Ok(Sample {
            bytes: first.len() as u64,
            first_byte: Some(started.elapsed()),
        })
    }
}
