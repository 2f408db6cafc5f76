//! A running development Hub and a client for it.

use std::sync::Once;

use hugbucket::devhub::{DevHub, DevHubConfig, DevUser, TokenRole};
use hugbucket::storage::Secret;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::content::{Xorb, file_of, shard, xorb};

pub(crate) const TOKEN: &str = "hf_main";
pub(crate) const STRANGER: &str = "hf_stranger";
pub(crate) const READ_ONLY: &str = "hf_read_only";
/// The bucket that [`Hub::start`] creates, private.
pub(crate) const BUCKET: &str = "/api/buckets/main/data";

pub(crate) struct Hub {
    pub(crate) server: DevHub,
    pub(crate) client: Client,
    pub(crate) dir: TempDir,
}

pub(crate) fn config(dir: &TempDir) -> DevHubConfig {
    let mut config = DevHubConfig::new(dir.path(), Secret::new(TOKEN), "main");
    config.others = vec![
        DevUser {
            name: "stranger".into(),
            token: Secret::new(STRANGER),
            role: TokenRole::Write,
            organizations: Vec::new(),
        },
        DevUser {
            name: "main".into(),
            token: Secret::new(READ_ONLY),
            role: TokenRole::Read,
            organizations: Vec::new(),
        },
    ];
    config
}

/// Returns a client that follows no redirects and keeps no connection that a fault may have closed.
pub(crate) fn client() -> Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        rustls::crypto::ring::default_provider()
            .install_default()
            .expect("no other provider is installed");
    });
    Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(0)
        .build()
        .unwrap()
}

impl Hub {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = DevHub::start(config(&dir)).await.unwrap();
        let hub = Self {
            server,
            client: client(),
            dir,
        };
        let create = hub
            .request(Method::POST, BUCKET)
            .json(&json!({ "private": true }));
        assert_eq!(create.send().await.unwrap().status(), 200);
        hub
    }

    /// A call of the Hub by the main user.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path).bearer_auth(TOKEN)
    }

    pub(crate) fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, self.server.url().join(path).unwrap())
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    /// A call of the CAS with `token`.
    pub(crate) fn cas(&self, method: Method, path: &str, token: &str) -> RequestBuilder {
        self.client
            .request(method, self.server.storage_url().join(path).unwrap())
            .bearer_auth(token)
    }

    pub(crate) async fn cas_token(&self, scope: &str) -> String {
        let answer: Value = self
            .get(&format!("{BUCKET}/xet-{scope}-token"))
            .await
            .json()
            .await
            .unwrap();
        answer["accessToken"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn post_xorb(&self, xorb: &Xorb, body: Vec<u8>) -> Response {
        let token = self.cas_token("write").await;
        let path = format!("/v1/xorbs/default/{}", xorb.hash.hex());
        self.cas(Method::POST, &path, &token)
            .body(body)
            .send()
            .await
            .unwrap()
    }

    pub(crate) async fn post_shard(&self, shard: Vec<u8>) -> Response {
        let token = self.cas_token("write").await;
        self.cas(Method::POST, "/v1/shards", &token)
            .body(shard)
            .send()
            .await
            .unwrap()
    }

    /// Uploads a xorb and registers the file that it makes up. Returns the file's hash.
    pub(crate) async fn upload(&self, seed: u8, chunks: u8) -> (Xorb, String) {
        let xorb = xorb(seed, chunks);
        let posted = self.post_xorb(&xorb, xorb.bytes.clone()).await;
        assert_eq!(posted.status(), 200);
        let file = file_of(&xorb);
        let registered = self.post_shard(shard(&[&file], &[&xorb])).await;
        assert_eq!(registered.status(), 200, "{:?}", registered.text().await);
        (xorb, file.metadata.file_hash.hex())
    }

    pub(crate) async fn batch(&self, lines: &[Value]) -> Response {
        let body: Vec<String> = lines.iter().map(Value::to_string).collect();
        self.request(Method::POST, &format!("{BUCKET}/batch"))
            .header("content-type", "application/x-ndjson")
            .body(body.join("\n"))
            .send()
            .await
            .unwrap()
    }

    /// Returns the paths of all files in the bucket.
    pub(crate) async fn paths(&self) -> Vec<String> {
        let entries: Vec<Value> = self
            .get(&format!("{BUCKET}/tree?recursive=true"))
            .await
            .json()
            .await
            .unwrap();
        let path = |entry: &Value| entry["path"].as_str().unwrap().to_owned();
        entries.iter().map(path).collect()
    }
}

pub(crate) fn add(path: &str, hash: &str) -> Value {
    json!({ "type": "addFile", "path": path, "xetHash": hash, "mtime": 1_770_399_477_005_i64 })
}

pub(crate) fn delete(path: &str) -> Value {
    json!({ "type": "deleteFile", "path": path })
}

pub(crate) fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers()[name].to_str().unwrap()
}
