//! Buckets and their files: an index in memory over a journal on disk.

mod bucket;
mod feed;
mod journal;
mod listing;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};

pub(crate) use bucket::{Bucket, BucketKey, Change, FileEntry};
pub(crate) use feed::{Feeds, Told};
pub(crate) use listing::{Cursor, Entry, Listing};

use super::clock::now_millis;
use bucket::new_bucket_id;
use journal::{Event, Journal};

/// All buckets.
#[derive(Debug)]
pub(crate) struct Registry {
    state: RwLock<State>,
    /// Taken after `state`, so that the order of the lines is that of the changes.
    journal: Mutex<Journal>,
    feeds: Feeds,
}

#[derive(Debug, Default)]
pub(super) struct State {
    buckets: BTreeMap<BucketKey, Bucket>,
    ids: HashSet<String>,
}

/// How an attempt to create a bucket ended; either way the bucket's id.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Creation {
    Created(String),
    Exists(String),
}

/// How an attempt to rename a bucket ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Rename {
    Done,
    NoSuchBucket,
    TargetExists,
}

impl Registry {
    /// Replays the journal at `path`, creating it if need be.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut state = State::default();
        let journal = Journal::open(path, &mut state)?;
        Ok(Self {
            state: RwLock::new(state),
            journal: Mutex::new(journal),
            feeds: Feeds::default(),
        })
    }

    /// Returns what happened lately.
    pub(crate) fn feeds(&self) -> &Feeds {
        &self.feeds
    }

    /// Looks at a bucket. None when there is no such bucket.
    pub(crate) fn with<T>(&self, key: &BucketKey, look: impl FnOnce(&Bucket) -> T) -> Option<T> {
        self.read().buckets.get(key).map(look)
    }

    /// Looks at the buckets of a namespace, in the order of their names.
    pub(crate) fn map_namespace<T>(
        &self,
        namespace: &str,
        mut look: impl FnMut(&BucketKey, &Bucket) -> T,
    ) -> Vec<T> {
        let state = self.read();
        let start = BucketKey::new(namespace, "");
        (state.buckets.range(start..))
            .take_while(|(key, _)| key.namespace == namespace)
            .map(|(key, bucket)| look(key, bucket))
            .collect()
    }

    /// Reports whether a bucket with this id exists.
    pub(crate) fn has_id(&self, id: &str) -> bool {
        self.read().ids.contains(id)
    }

    /// Creates an empty bucket.
    pub(crate) fn create(&self, key: &BucketKey, private: bool) -> io::Result<Creation> {
        self.change(|state| {
            if let Some(bucket) = state.buckets.get(key) {
                return (Creation::Exists(bucket.id.clone()), None);
            }
            let id = new_bucket_id();
            let event = Event::Created {
                bucket: key.clone(),
                id: id.clone(),
                private,
                at: now_millis(),
            };
            (Creation::Created(id), Some(event))
        })
    }

    /// Deletes a bucket with all its files. Returns false when there is no such bucket.
    pub(crate) fn delete(&self, key: &BucketKey) -> io::Result<bool> {
        self.change(|state| {
            let exists = state.buckets.contains_key(key);
            let event = exists.then(|| Event::Deleted {
                bucket: key.clone(),
            });
            (exists, event)
        })
    }

    /// Changes the visibility. Returns false when there is no such bucket.
    pub(crate) fn set_private(&self, key: &BucketKey, private: bool) -> io::Result<bool> {
        self.change(|state| {
            let exists = state.buckets.contains_key(key);
            let event = exists.then(|| Event::Visibility {
                bucket: key.clone(),
                private,
                at: now_millis(),
            });
            (exists, event)
        })
    }

    /// Renames a bucket, or moves it to another namespace.
    pub(crate) fn rename(&self, from: &BucketKey, to: &BucketKey) -> io::Result<Rename> {
        self.change(|state| {
            if !state.buckets.contains_key(from) {
                return (Rename::NoSuchBucket, None);
            }
            if state.buckets.contains_key(to) {
                return (Rename::TargetExists, None);
            }
            let event = Event::Renamed {
                from: from.clone(),
                to: to.clone(),
                at: now_millis(),
            };
            (Rename::Done, Some(event))
        })
    }

    /// Applies changes to files, all in one line of the journal. Returns false when there is no such bucket.
    pub(crate) fn commit(&self, key: &BucketKey, changes: Vec<Change>) -> io::Result<bool> {
        self.change(|state| {
            let exists = state.buckets.contains_key(key);
            let event = (exists && !changes.is_empty()).then(|| Event::Files {
                bucket: key.clone(),
                at: now_millis(),
                changes,
            });
            (exists, event)
        })
    }

    /// Decides under the lock, writes the event to the journal, and only then applies it.
    fn change<T>(&self, decide: impl FnOnce(&State) -> (T, Option<Event>)) -> io::Result<T> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let (outcome, event) = decide(&state);
        if let Some(event) = event {
            (self.journal.lock().unwrap_or_else(PoisonError::into_inner)).append(&event)?;
            let told = feed::told_of(&state, &event);
            state.apply(event);
            // Still under the lock: followers are told in the order of the changes, and can see them already.
            self.feeds.publish(told);
        }
        Ok(outcome)
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Applies an event that fits the present state; one that does not is ignored.
    fn apply(&mut self, event: Event) {
        match event {
            Event::Created {
                bucket,
                id,
                private,
                at,
            } => {
                self.ids.insert(id.clone());
                self.buckets.insert(bucket, Bucket::new(id, private, at));
            }
            Event::Deleted { bucket } => {
                if let Some(bucket) = self.buckets.remove(&bucket) {
                    self.ids.remove(&bucket.id);
                }
            }
            Event::Visibility {
                bucket,
                private,
                at,
            } => {
                if let Some(bucket) = self.buckets.get_mut(&bucket) {
                    bucket.private = private;
                    bucket.updated_at = at;
                }
            }
            Event::Renamed { from, to, at } => {
                if let Some(mut bucket) = self.buckets.remove(&from) {
                    bucket.updated_at = at;
                    self.buckets.insert(to, bucket);
                }
            }
            Event::Files {
                bucket,
                at,
                changes,
            } => {
                if let Some(bucket) = self.buckets.get_mut(&bucket) {
                    bucket.apply(changes, at);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(path: &str, size: u64) -> Change {
        Change::Put {
            path: path.into(),
            file: FileEntry {
                hash: "ab".repeat(32),
                size,
                mtime: Some(1),
                uploaded_at: 2,
                content_type: None,
            },
        }
    }

    #[test]
    fn everything_survives_a_restart_and_a_cut_line_does_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hub.journal");
        let (kept, gone) = (BucketKey::new("me", "kept"), BucketKey::new("me", "gone"));
        let registry = Registry::open(&path).unwrap();
        registry.create(&kept, true).unwrap();
        registry.create(&gone, false).unwrap();
        registry
            .commit(&kept, vec![put("a", 3), put("b", 4)])
            .unwrap();
        registry
            .commit(&kept, vec![Change::Delete { path: "a".into() }])
            .unwrap();
        registry.delete(&gone).unwrap();
        drop(registry);
        let mut text = std::fs::read(&path).unwrap();
        text.extend_from_slice(b"{\"Files\":{\"bucket\":");
        std::fs::write(&path, text).unwrap();

        let registry = Registry::open(&path).unwrap();
        assert_eq!(registry.with(&gone, |_| ()), None);
        let seen = registry.with(&kept, |bucket| {
            (
                bucket.files.keys().cloned().collect::<Vec<_>>(),
                bucket.size,
                bucket.private,
            )
        });
        assert_eq!(seen, Some((vec!["b".to_owned()], 4, true)));
        assert!(registry.commit(&kept, vec![put("c", 1)]).unwrap());
        drop(registry);
        let registry = Registry::open(&path).unwrap();
        assert_eq!(registry.with(&kept, |bucket| bucket.files.len()), Some(2));
    }

    #[test]
    fn a_bucket_that_exists_is_not_created_again_nor_overwritten_by_a_rename() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::open(&dir.path().join("journal")).unwrap();
        let (one, two) = (BucketKey::new("me", "one"), BucketKey::new("me", "two"));
        let Creation::Created(id) = registry.create(&one, true).unwrap() else {
            panic!("the bucket is new");
        };
        assert_eq!(registry.create(&one, true).unwrap(), Creation::Exists(id));
        registry.create(&two, true).unwrap();
        assert_eq!(registry.rename(&one, &two).unwrap(), Rename::TargetExists);
        let three = BucketKey::new("me", "three");
        assert_eq!(registry.rename(&one, &three).unwrap(), Rename::Done);
        assert_eq!(registry.rename(&one, &three).unwrap(), Rename::NoSuchBucket);
    }
}
