//! What a client of S3 reads, and whether it is right.

use reqwest::Method;

use crate::ledger::Fault;
use crate::register::{Fate, Value};
use crate::s3::{Request, element, elements};
use crate::s3_work::Worker;
use crate::world::shared_key;

impl Worker {
    pub(super) async fn get(&mut self) {
        let key = self.any_key();
        self.get_from(&key).await;
    }

    /// Reads an object whole, and returns what it holds, and its tag.
    pub(crate) async fn get_from(&self, key: &str) -> Option<(Value, String)> {
        let ledger = &self.world.ledger;
        let from = ledger.now();
        let request = Request::new(Method::GET, key);
        let answer = request.send(&self.http, &self.address().s3).await;
        let fate = self.world.fate("get", key, &answer, &[404]);
        let is_missing = answer.as_ref().is_ok_and(|answer| answer.status == 404);
        ledger.operation("get", from, fate != Fate::Done && !is_missing);
        let answer = answer.ok()?;
        match answer.status {
            200 => {
                let value = ledger.read("GET", key, Some(&answer.body), from);
                ledger.beside(key, value, answer.header("x-amz-meta-mark"), from);
                Some((value, answer.header("etag")?.to_owned()))
            }
            404 => {
                ledger.read("GET", key, None, from);
                None
            }
            _ => None,
        }
    }

    pub(super) async fn get_range(&mut self) {
        let key = self.any_key();
        let first = self.dice.weighted(&[(3, 0), (3, 1000), (2, 100_000)]);
        let first = match first {
            0 => 0,
            most => self.dice.below(most),
        };
        let last = first + self.dice.below(100_000);
        let ledger = &self.world.ledger;
        let from = ledger.now();
        let request =
            Request::new(Method::GET, &key).header("range", format!("bytes={first}-{last}"));
        let answer = request.send(&self.http, &self.address().s3).await;
        let fate = self.world.fate("get range", &key, &answer, &[404, 416]);
        let is_known = (answer.as_ref()).is_ok_and(|answer| [404, 416].contains(&answer.status));
        ledger.operation("get range", from, fate != Fate::Done && !is_known);
        let Ok(answer) = answer else {
            return;
        };
        match answer.status {
            206 => {
                let range = answer.header("content-range").unwrap_or_default();
                let told = format!("bytes {first}-{}/", first + answer.body.len() as u64 - 1);
                match range.strip_prefix(&told).and_then(|len| len.parse().ok()) {
                    Some(len) => ledger.range(&key, first, len, &answer.body, from),
                    None => ledger.tell(Fault::Corrupt, format!("{key}: {range}, not {told}")),
                }
            }
            404 => ledger.told("GET of a range", &key, None, from),
            _ => {}
        }
    }

    /// Begins to read, and leaves.
    pub(super) async fn get_and_leave(&mut self) {
        let key = self.any_key();
        let host = self.address().s3;
        let signed = Request::new(Method::GET, &key).sign(&host);
        let mut request = (self.http).get(format!("http://{host}{}", signed.target));
        for (name, value) in signed.headers {
            request = request.header(name, value);
        }
        let from = self.world.ledger.now();
        if let Ok(mut response) = request.send().await {
            let _ = response.chunk().await;
        }
        self.world.ledger.operation("get and leave", from, false);
    }

    pub(super) async fn get_tags(&mut self) {
        let key = self.own_key();
        let ledger = &self.world.ledger;
        let from = ledger.now();
        let request = Request::new(Method::GET, &key).query("tagging", "");
        let answer = request.send(&self.http, &self.address().s3).await;
        let fate = self.world.fate("get tags", &key, &answer, &[404]);
        let is_missing = answer.as_ref().is_ok_and(|answer| answer.status == 404);
        ledger.operation("get tags", from, fate != Fate::Done && !is_missing);
        let Ok(answer) = answer else {
            return;
        };
        match answer.status {
            200 => ledger.read_tags(&key, element(&answer.text(), "Value"), from),
            404 => ledger.told("GET of tags", &key, None, from),
            _ => {}
        }
    }

    pub(super) async fn head(&mut self) {
        let key = self.any_key();
        let ledger = &self.world.ledger;
        let from = ledger.now();
        let request = Request::new(Method::HEAD, &key);
        let answer = request.send(&self.http, &self.address().s3).await;
        let fate = self.world.fate("head", &key, &answer, &[404]);
        let is_missing = answer.as_ref().is_ok_and(|answer| answer.status == 404);
        ledger.operation("head", from, fate != Fate::Done && !is_missing);
        let Ok(answer) = answer else {
            return;
        };
        let len = answer
            .header("content-length")
            .and_then(|len| len.parse().ok());
        match (answer.status, len) {
            (200, Some(len)) => ledger.told("HEAD", &key, Some(len), from),
            (404, _) => ledger.told("HEAD", &key, None, from),
            _ => {}
        }
    }

    /// Lists below a prefix, page by page.
    pub(super) async fn list(&mut self) {
        let key = shared_key(&mut self.dice);
        let prefix = match self.dice.below(3) {
            0 => String::new(),
            1 => "shared/".to_owned(),
            _ => key[..key.rfind('/').unwrap_or(0) + 1].to_owned(),
        };
        let page = 1 + self.dice.below(40);
        let from = self.world.ledger.now();
        let mut listed: Vec<(String, u64)> = Vec::new();
        let mut token = None;
        loop {
            let request = Request::new(Method::GET, "")
                .query("list-type", "2")
                .query("prefix", &prefix)
                .query("max-keys", page.to_string());
            let request = match token {
                Some(token) => request.query("continuation-token", token),
                None => request,
            };
            let begun = self.world.ledger.now();
            let answer = request.send(&self.http, &self.address().s3).await;
            let fate = self.world.fate("list", &prefix, &answer, &[]);
            (self.world.ledger).operation("list", begun, fate != Fate::Done);
            let (Ok(answer), Fate::Done) = (answer, fate) else {
                return;
            };
            let text = answer.text();
            for object in elements(&text, "Contents") {
                let key = element(object, "Key").unwrap_or_default();
                let size = element(object, "Size").and_then(|size| size.parse().ok());
                listed.push((key.to_owned(), size.unwrap_or(u64::MAX)));
            }
            match element(&text, "NextContinuationToken") {
                Some(next) => token = Some(next.to_owned()),
                None => break,
            }
        }
        // Markers of directories are FTP's, and the sources of copies nobody changes.
        listed.retain(|(key, _)| !key.ends_with('/') && !key.starts_with("source/"));
        self.world.ledger.listing(&prefix, &listed, from);
    }
}
