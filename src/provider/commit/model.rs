//! The committer against a Hub with a state and with troubles, compared with what would happen if the writes came one by
//! one, in the order of their arrival.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use serde_json::{Value, json};

use super::tests::{content, if_absent, if_match, impatient_with, race};
use super::*;
use crate::provider::hub::fake;
use crate::provider::undo::UndoConfig;
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
    /// How often a line meets a trouble at most.
    most_troubles: u32,
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
        let strikes = *met < self.most_troubles && self.dice.below(4) == 0;
        *met += u32::from(strikes);
        strikes
    }

    /// Carries a batch out as far as it likes, and returns what it answers; sometimes nothing that makes sense.
    fn batch(&mut self, lines: &[&str]) -> Value {
        let mut failed = Vec::new();
        let mut has_copies = false;
        for line in lines {
            let wire: Value = serde_json::from_str(line).unwrap();
            let path = wire["path"].as_str().unwrap().to_owned();
            // Each copy has a path of its own, so what it is made of says which it is.
            let is_copy = path.starts_with(".hugbucket/undo/");
            let content = wire["xetHash"].as_str().unwrap_or_default();
            let name = match is_copy {
                true => &format!("{} {content}", path.split('/').nth(3).unwrap()),
                false => *line,
            };
            has_copies |= is_copy;
            if self.strikes(name) {
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
            0 if !has_copies => json!({"success": true}),
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
    let answer = match uri.path().rsplit('/').next().unwrap() {
        "batch" => hub.batch(&body.lines().collect::<Vec<_>>()),
        "paths-info" => hub.found(&serde_json::from_str(&body).unwrap()),
        _ => json!({"id": "me/data", "private": true}),
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

/// Lets random writes race, demands what would happen if they came one by one, and returns what of their contents was
/// replaced, and what was kept, both as key and hash.
async fn check(seed: u64, undo: UndoConfig) -> [BTreeSet<(String, String)>; 2] {
    let mut dice = Dice(seed * 0x9e37_79b9);
    let writes: Vec<Write> = (0..24).map(|_| Write::random(&mut dice)).collect();
    let hub = Arc::new(Mutex::new(Hub {
        files: Files::new(),
        dice,
        troubles: HashMap::new(),
        // With undo, one of the tries may already be spent on the copy.
        most_troubles: if undo == UndoConfig::default() { 2 } else { 1 },
    }));
    let router = Router::new().fallback(answer).with_state(hub.clone());
    let committer = impatient_with(fake::client_of(router).await, undo);
    let outcomes = race(&committer, writes.iter().map(Write::change).collect()).await;

    let (mut files, mut replaced) = (Files::new(), BTreeSet::new());
    let mut expected = Vec::new();
    for write in &writes {
        let before = files.get_key_value(write.key.as_str());
        let before = before.map(|(path, hash)| (path.clone(), hash.clone()));
        let outcome = write.alone(&mut files);
        // Who writes what stands there replaces nothing.
        replaced.extend(before.filter(|(path, hash)| files.get(path) != Some(hash)));
        expected.push(outcome);
    }
    assert_eq!(outcomes, expected, "seed {seed}: {writes:#?}");
    let stored = hub.lock().unwrap().files.clone();
    let (copies, objects): (Files, Files) = stored
        .into_iter()
        .partition(|(path, _)| path.starts_with(".hugbucket/undo/"));
    assert_eq!(objects, files, "seed {seed}");
    assert!(committer.buckets().is_empty(), "seed {seed}");
    let key = |path: &str| path.split('/').nth(3).unwrap().to_owned();
    let kept = copies.iter().map(|(path, hash)| (key(path), hash.clone()));
    [replaced, kept.collect()]
}

#[tokio::test]
async fn writes_take_effect_as_if_they_came_one_by_one() {
    for seed in 1..=60 {
        let [_, kept] = check(seed, UndoConfig::default()).await;
        assert!(kept.is_empty());
    }
}

#[tokio::test]
async fn with_undo_whatever_was_replaced_was_kept() {
    for seed in 1..=60 {
        let undo = UndoConfig {
            periods: [("*".to_owned(), Duration::from_secs(60))].into(),
        };
        let [replaced, kept] = check(seed, undo).await;
        assert!(!replaced.is_empty(), "seed {seed}");
        assert!(
            replaced.is_subset(&kept),
            "seed {seed}: {replaced:?} {kept:?}"
        );
    }
}
