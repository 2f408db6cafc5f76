//! What happened in buckets lately, for those who follow them: kept in memory for a quarter of an hour, as the Hub does.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::State;
use super::bucket::{BucketKey, Change};
use super::journal::Event;
use crate::devhub::clock::{iso, now_millis};

/// How long what happened can be asked for.
const REPLAY_MILLIS: i64 = 15 * 60 * 1000;

/// The logs of all buckets in which something happened since the start.
#[derive(Debug)]
pub(crate) struct Feeds {
    logs: Mutex<HashMap<BucketKey, Log>>,
    /// Tells cursors of this process from those of an earlier one, which know nothing of what was lost in between.
    instance: String,
    news: watch::Sender<u64>,
    cuts: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Log {
    /// Number of the first line.
    first: u64,
    lines: VecDeque<Line>,
}

#[derive(Debug, Clone)]
struct Line {
    at: i64,
    told: Told,
}

/// What followers of a bucket are told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Told {
    /// These files changed, all at once.
    Changes(Vec<Value>),
    /// Whatever was known of the bucket is void: it was deleted, or renamed.
    Void,
}

impl Default for Feeds {
    fn default() -> Self {
        Self {
            logs: Mutex::default(),
            instance: hex::encode(rand::random::<[u8; 4]>()),
            news: watch::Sender::new(0),
            cuts: watch::Sender::new(0),
        }
    }
}

impl Feeds {
    /// Returns the place behind everything that has happened in a bucket.
    pub(crate) fn end(&self, bucket: &BucketKey) -> u64 {
        self.lock().get(bucket).map_or(0, Log::end)
    }

    /// Returns the place of the first thing that happened at or after a time; `None` if that is too long ago.
    pub(crate) fn since(&self, bucket: &BucketKey, millis: i64) -> Option<u64> {
        if millis < now_millis() - REPLAY_MILLIS {
            return None;
        }
        let logs = self.lock();
        let Some(log) = logs.get(bucket) else {
            return Some(0);
        };
        let earlier = log.lines.iter().take_while(|line| line.at < millis);
        Some(log.first + earlier.count() as u64)
    }

    /// Returns what happened from a place on, and the place behind it; `None` if the place is not known any more, or not yet.
    pub(crate) fn after(&self, bucket: &BucketKey, place: u64) -> Option<(Vec<Told>, u64)> {
        let logs = self.lock();
        let Some(log) = logs.get(bucket) else {
            return (place == 0).then(|| (Vec::new(), 0));
        };
        let skipped = usize::try_from(place.checked_sub(log.first)?).ok()?;
        let lines = (skipped <= log.lines.len()).then(|| log.lines.iter().skip(skipped))?;
        Some((lines.map(|line| line.told.clone()).collect(), log.end()))
    }

    /// Writes a place as followers see it.
    pub(crate) fn cursor(&self, place: u64) -> String {
        format!("{}-{place}", self.instance)
    }

    /// Reads a cursor; `None` if it is none of this process.
    pub(crate) fn place(&self, cursor: &str) -> Option<u64> {
        let (instance, place) = cursor.split_once('-')?;
        (instance == self.instance).then(|| place.parse().ok())?
    }

    /// Returns what changes whenever something happens.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Returns what changes when all followers are to be cut off.
    pub(crate) fn cuts(&self) -> watch::Receiver<u64> {
        self.cuts.subscribe()
    }

    /// Cuts off everybody who follows now.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|count| *count += 1);
    }

    /// Adds what an event means, in the order in which events are applied.
    pub(super) fn publish(&self, told: Vec<(BucketKey, Told)>) {
        if told.is_empty() {
            return;
        }
        let at = now_millis();
        let mut logs = self.lock();
        for (bucket, told) in told {
            let log = logs.entry(bucket).or_default();
            log.lines.push_back(Line { at, told });
            while (log.lines.front()).is_some_and(|line| line.at < at - REPLAY_MILLIS) {
                log.lines.pop_front();
                log.first += 1;
            }
        }
        drop(logs);
        self.news.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BucketKey, Log>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn end(&self) -> u64 {
        self.first + self.lines.len() as u64
    }
}

/// Returns what an event that is about to be applied will mean to followers.
pub(super) fn told_of(state: &State, event: &Event) -> Vec<(BucketKey, Told)> {
    match event {
        Event::Created { .. } | Event::Visibility { .. } => Vec::new(),
        Event::Deleted { bucket } => vec![(bucket.clone(), Told::Void)],
        Event::Renamed { from, to, .. } => {
            vec![(from.clone(), Told::Void), (to.clone(), Told::Void)]
        }
        Event::Files {
            bucket, changes, ..
        } => {
            let exists = |path: &String| {
                let bucket = state.buckets.get(bucket);
                bucket.is_some_and(|bucket| bucket.files.contains_key(path))
            };
            let changes: Vec<Value> = changes
                .iter()
                .filter_map(|change| change_json(change, exists))
                .collect();
            let is_empty = changes.is_empty();
            (!is_empty)
                .then(|| (bucket.clone(), Told::Changes(changes)))
                .into_iter()
                .collect()
        }
    }
}

/// Returns the JSON of a change; `None` for the deletion of what is not there.
fn change_json(change: &Change, exists: impl Fn(&String) -> bool) -> Option<Value> {
    match change {
        Change::Delete { path } => {
            exists(path).then(|| json!({ "path": path, "op": "delete", "size": 0 }))
        }
        Change::Put { path, file } => {
            let op = if exists(path) { "update" } else { "add" };
            let mut json = json!({
                "path": path,
                "op": op,
                "size": file.size,
                "xetHash": file.hash,
                "uploadedAt": iso(file.uploaded_at),
            });
            if let Some(mtime) = file.mtime.and_then(iso) {
                json["mtime"] = mtime.into();
            }
            Some(json)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(n: u64) -> Told {
        Told::Changes(vec![json!({ "path": n.to_string() })])
    }

    #[test]
    fn followers_are_told_everything_from_their_place_on() {
        let (feeds, bucket) = (Feeds::default(), BucketKey::new("me", "data"));
        assert_eq!(feeds.after(&bucket, 0), Some((Vec::new(), 0)));
        assert_eq!(feeds.after(&bucket, 1), None);
        for n in 0..3 {
            feeds.publish(vec![(bucket.clone(), told(n))]);
        }
        assert_eq!(feeds.end(&bucket), 3);
        assert_eq!(feeds.after(&bucket, 1), Some((vec![told(1), told(2)], 3)));
        assert_eq!(feeds.after(&bucket, 4), None);
        assert_eq!(
            feeds.after(&BucketKey::new("me", "other"), 0),
            Some((Vec::new(), 0))
        );
    }

    #[test]
    fn cursors_of_another_process_are_not_known() {
        let (one, other) = (Feeds::default(), Feeds::default());
        assert_eq!(one.place(&one.cursor(7)), Some(7));
        assert_eq!(one.place(&other.cursor(7)), None);
        assert_eq!(one.place("7"), None);
    }

    #[test]
    fn what_is_too_old_to_be_replayed_is_said_to_be() {
        let (feeds, bucket) = (Feeds::default(), BucketKey::new("me", "data"));
        feeds.publish(vec![(bucket.clone(), told(1))]);
        assert_eq!(feeds.since(&bucket, now_millis() + 1000), Some(1));
        assert_eq!(feeds.since(&bucket, now_millis() - 1000), Some(0));
        assert_eq!(feeds.since(&bucket, now_millis() - REPLAY_MILLIS - 1), None);
    }
}
