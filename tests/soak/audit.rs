//! The end of a run: every key is read once more, through a fresh gateway and straight from the Hub.

use std::collections::BTreeMap;
use std::sync::Arc;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Client;
use reqwest::header::LOCATION;
use serde_json::Value as Json;

use crate::content::digest;
use crate::ledger::Fault;
use crate::register::Value;
use crate::s3_work::Worker;
use crate::stand::{BUCKET, HUB_TOKEN, NAMESPACE};
use crate::world::World;

/// Compares what clients see, what the Hub holds, and what may be there.
pub(crate) async fn audit(world: &Arc<World>) {
    let hub = Hub::new(world);
    let files = hub.files().await;
    let client = Worker::new(world.clone(), 0);
    let names = world.ledger.names();
    for key in &names {
        let from = world.ledger.now();
        let seen = client.get_from(key).await.map(|(value, _)| value);
        let bytes = match files.get(key) {
            Some(_) => Some(hub.read(key).await),
            None => None,
        };
        world.ledger.read("the Hub", key, bytes.as_deref(), from);
        let held = bytes.map(|bytes| Value::Bytes(digest(&bytes)));
        if seen != held {
            let text = format!("{key}: the gateway shows {seen:?}, the Hub holds {held:?}");
            world.ledger.tell(Fault::Corrupt, text);
        }
    }
    for path in files.keys() {
        let is_known = names.contains(path)
            || path.starts_with("source/")
            || path.starts_with(".hugbucket/")
            || path.ends_with("/.hugbucket_keep");
        if !is_known {
            let text = format!("{path} is there, and nobody wrote it");
            world.ledger.tell(Fault::False, text);
        }
    }
}

/// The Hub, without any gateway.
struct Hub {
    http: Client,
    url: String,
}

impl Hub {
    fn new(world: &World) -> Self {
        let no_redirect = reqwest::redirect::Policy::none();
        let http = Client::builder().no_proxy().redirect(no_redirect);
        let url = world.stand.hub.url();
        Self {
            http: http.build().unwrap(),
            url: url.as_str().trim_end_matches('/').to_owned(),
        }
    }

    /// Returns the paths of all files, with the hashes of their content.
    async fn files(&self) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        let path = format!("/api/buckets/{NAMESPACE}/{BUCKET}/tree?recursive=true&limit=5000");
        let mut next = Some(format!("{}{path}", self.url));
        while let Some(url) = next {
            let answer = self.http.get(url).bearer_auth(HUB_TOKEN).send().await;
            let answer = answer.unwrap().error_for_status().unwrap();
            let link = answer.headers().get("link");
            next = link.map(|link| {
                let link = link.to_str().unwrap().trim_start_matches('<');
                link.split_once('>').unwrap().0.to_owned()
            });
            let page: Vec<Json> = answer.json().await.unwrap();
            let text = |entry: &Json, name: &str| entry[name].as_str().unwrap().to_owned();
            files.extend(
                page.iter()
                    .map(|entry| (text(entry, "path"), text(entry, "xetHash"))),
            );
        }
        files
    }

    async fn read(&self, path: &str) -> Vec<u8> {
        let path: Vec<String> = path
            .split('/')
            .map(|segment| utf8_percent_encode(segment, NON_ALPHANUMERIC).to_string())
            .collect();
        let url = format!(
            "{}/buckets/{NAMESPACE}/{BUCKET}/resolve/{}",
            self.url,
            path.join("/")
        );
        let answer = self.http.get(url).bearer_auth(HUB_TOKEN).send().await;
        let answer = answer.unwrap();
        let location = answer.headers()[LOCATION].to_str().unwrap();
        let answer = self.http.get(location).send().await.unwrap();
        let answer = answer.error_for_status().unwrap();
        answer.bytes().await.unwrap().to_vec()
    }
}
