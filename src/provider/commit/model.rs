//! The committer against a Hub with a state and with troubles, compared with what would happen if the writes came one by
//! one, in the order of their arrival.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use serde_json::{Value, json};

use super::tests::{content, if_absent, if_match, impatient, race};
use super::*;
use crate::provider::hub::fake;
use crate::storage::{ContentHash, EtagMatch, ObjectKey, WriteConditions};

type Files = BTreeMap<String, String>;

/// Numbers that depend only on the seed.
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// A Hub that keeps files, lets lines fail, and loses answers, but no line more often than it is sent again.
struct Hub {
    files: Files,
    dice: Dice,
    troubles: HashMap<String, u32>,
}

impl Hub {
    fn found(&self, body: &Value) -> Value {
        let paths = body["paths"].as_array().unwrap().iter();
        let found = paths.filter_map(|path| {
            let path = path.as_str().unwrap();
            let hash = self.files.get(path)?;
            Some(json!({"type": "file", "path": path, "size": 1, "xetHash": hash}))
        });
        found.collect::<Vec<_>>().into()
    }

    /// Whether this line meets a trouble now.
    fn strikes(&mut self, line: &str) -> bool {
        let met = self.troubles.entry(line.to_owned()).or_default();
        let strikes = *met < 2 && self.dice.below(4) == 0;
        *met += u32::from(strikes);
        strikes
    }

    /// Carries a batch out as far as it likes, and returns what it answers; sometimes nothing that makes sense.
    fn batch(&mut self, lines: &[&str]) -> Value {
        let mut failed = Vec::new();
        for line in lines {
            let wire: Value = serde_json::from_str(line).unwrap();
            let path = wire["path"].as_str().unwrap().to_owned();
            if self.strikes(line) {
                failed.push(json!({"path": path, "error": "busy"}));
                continue;
            }
            match wire["xetHash"].as_str() {
                Some(hash) => self.files.insert(path, hash.to_owned()),
                None => self.files.remove(&path),
            };
        }
        let (sent, count) = (lines.len(), lines.len() - failed.len());
        match self.dice.below(6) {
            0 => json!({"success": true}),
            _ => json!({"success": true, "processed": sent, "succeeded": count, "failed": failed}),
        }
    }
}

async fn answer(
    State(hub): State<Arc<Mutex<Hub>>>,
    uri: Uri,
    body: String,
) -> (StatusCode, String) {
    let mut hub = hub.lock().unwrap();
    let answer = match uri.path().ends_with("/batch") {
        true => hub.batch(&body.lines().collect::<Vec<_>>()),
        false => hub.found(&serde_json::from_str(&body).unwrap()),
    };
    (StatusCode::OK, answer.to_string())
}

/// A write to one of three keys: new content, or none to delete.
#[derive(Debug, Clone)]
struct Write {
    key: ObjectKey,
    content: Option<ContentHash>,
    conditions: WriteConditions,
}

impl Write {
    fn random(dice: &mut Dice) -> Self {
        let digit =
            |dice: &mut Dice| content(char::from(b"123"[usize::try_from(dice.below(3)).unwrap()]));
        let is_deletion = dice.below(4) == 0;
        Self {
            key: ObjectKey::new(&format!("k{}", dice.below(3))).unwrap(),
            content: (!is_deletion).then(|| digit(dice)),
            conditions: match dice.below(4) {
                0 => WriteConditions::default(),
                1 if !is_deletion => if_absent(),
                2 => if_match(digit(dice)),
                _ => WriteConditions {
                    if_match: Some(EtagMatch::Any),
                    ..WriteConditions::default()
                },
            },
        }
    }

    fn change(&self) -> Change {
        let path = self.key.hub_path();
        let line = match self.content {
            Some(hash) => BatchLine::AddFile {
                path,
                hash,
                mtime: None,
                content_type: None,
            },
            None => BatchLine::DeleteFile { path },
        };
        Change::of_object(&self.key, self.conditions.clone(), vec![line])
    }

    /// Carries it out on files that nobody else changes.
    fn alone(&self, files: &mut Files) -> &'static str {
        let path = self.key.hub_path();
        let present = files.get(&path).map(|hash| crate::storage::Standing {
            hash: hash.parse().unwrap(),
            size: 1,
            last_modified: time::OffsetDateTime::UNIX_EPOCH,
        });
        if let Err(refusal) = self.conditions.check(&self.key, present.as_ref()) {
            return refusal.outcome();
        }
        match self.content {
            Some(hash) => files.insert(path, hash.to_string()),
            None => files.remove(&path),
        };
        "ok"
    }
}

#[tokio::test]
async fn writes_take_effect_as_if_they_came_one_by_one() {
    for seed in 1..=60 {
        let mut dice = Dice(seed * 0x9e37_79b9);
        let writes: Vec<Write> = (0..24).map(|_| Write::random(&mut dice)).collect();
        let hub = Arc::new(Mutex::new(Hub {
            files: Files::new(),
            dice,
            troubles: HashMap::new(),
        }));
        let router = Router::new().fallback(answer).with_state(hub.clone());
        let committer = impatient(fake::client_of(router).await);
        let outcomes = race(&committer, writes.iter().map(Write::change).collect()).await;

        let mut files = Files::new();
        let expected: Vec<_> = writes.iter().map(|write| write.alone(&mut files)).collect();
        assert_eq!(outcomes, expected, "seed {seed}: {writes:#?}");
        assert_eq!(hub.lock().unwrap().files, files, "seed {seed}");
        assert!(committer.buckets().is_empty(), "seed {seed}");
    }
}
