//! A map with a bound on its entries and a lifetime for each of them, on `cached`'s expiring LRU store.

use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cached::{Cached, Expires, ExpiringLruCache};
use tokio::time::Instant;

/// A shared LRU map whose entries end at a moment of their own.
///
/// A capacity or a default lifetime of zero turns the map off: it keeps nothing.
#[derive(Debug)]
pub struct ExpiringMap<K, V> {
    entries: Option<Mutex<ExpiringLruCache<K, Timed<V>>>>,
    default_ttl: Duration,
}

#[derive(Debug, Clone)]
struct Timed<V> {
    value: V,
    ends_at: Instant,
}

impl<V> Expires for Timed<V> {
    fn is_expired(&self) -> bool {
        Instant::now() >= self.ends_at
    }
}

impl<K: Hash + Eq + Clone, V: Clone> ExpiringMap<K, V> {
    /// Creates a map of at most `capacity` entries that live for `default_ttl` unless told otherwise.
    pub fn new(capacity: usize, default_ttl: Duration) -> Self {
        let is_on = capacity > 0 && !default_ttl.is_zero();
        Self {
            entries: is_on.then(|| Mutex::new(ExpiringLruCache::new(capacity))),
            default_ttl,
        }
    }

    /// Returns the entry, if it is there and has not ended. Counts as a use.
    pub fn get(&self, key: &K) -> Option<V> {
        self.lock()?.cache_get(key).map(|timed| timed.value.clone())
    }

    /// Puts an entry that lives for the default time.
    pub fn insert(&self, key: K, value: V) {
        self.insert_for(key, value, self.default_ttl);
    }

    /// Puts an entry that lives for `ttl`.
    pub fn insert_for(&self, key: K, value: V, ttl: Duration) {
        if let Some(mut entries) = self.lock() {
            entries.cache_set(
                key,
                Timed {
                    value,
                    ends_at: Instant::now() + ttl,
                },
            );
        }
    }

    /// Removes the entry.
    pub fn remove(&self, key: &K) {
        if let Some(mut entries) = self.lock() {
            let _ = entries.cache_remove(key);
        }
    }

    /// Keeps only the entries for which `keep` holds.
    pub fn retain(&self, mut keep: impl FnMut(&K, &V) -> bool) {
        if let Some(mut entries) = self.lock() {
            entries.retain(|key, timed| keep(key, &timed.value));
        }
    }

    /// Removes the entries that have ended.
    pub fn sweep(&self) {
        if let Some(mut entries) = self.lock() {
            entries.retain(|_, timed| !timed.is_expired());
        }
    }

    /// Returns the number of entries, ended ones that were not yet swept included.
    pub fn len(&self) -> usize {
        self.lock().map_or(0, |entries| entries.cache_size())
    }

    /// Reports whether the map holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> Option<MutexGuard<'_, ExpiringLruCache<K, Timed<V>>>> {
        let entries = self.entries.as_ref()?;
        Some(entries.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn entries_end_at_their_own_moment() {
        let map = ExpiringMap::new(8, Duration::from_secs(30));
        map.insert("a", 1);
        map.insert_for("b", 2, Duration::from_secs(90));
        tokio::time::advance(Duration::from_secs(29)).await;
        assert_eq!((map.get(&"a"), map.get(&"b")), (Some(1), Some(2)));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((map.get(&"a"), map.get(&"b")), (None, Some(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_sweep_leaves_what_has_not_ended() {
        let map = ExpiringMap::new(8, Duration::from_secs(30));
        map.insert("a", 1);
        map.insert_for("b", 2, Duration::from_secs(90));
        tokio::time::advance(Duration::from_secs(30)).await;
        map.sweep();
        assert_eq!(map.len(), 1);
    }

    #[test]
    fn the_least_recently_used_entry_makes_room() {
        let map = ExpiringMap::new(2, Duration::from_secs(30));
        map.insert("a", 1);
        map.insert("b", 2);
        map.get(&"a");
        map.insert("c", 3);
        assert_eq!(
            (map.get(&"a"), map.get(&"b"), map.get(&"c")),
            (Some(1), None, Some(3))
        );
        assert_eq!(map.len(), 2);
    }

    #[test]
    fn zero_turns_the_map_off() {
        for map in [
            ExpiringMap::new(0, Duration::from_secs(30)),
            ExpiringMap::new(2, Duration::ZERO),
        ] {
            map.insert("a", 1);
            assert_eq!(map.get(&"a"), None);
            assert!(map.is_empty());
        }
    }

    #[test]
    fn retain_and_remove_take_entries_out() {
        let map = ExpiringMap::new(8, Duration::from_secs(30));
        for n in 0..4 {
            map.insert(n, n);
        }
        map.retain(|key, _| key % 2 == 0);
        map.remove(&0);
        assert_eq!(
            (map.get(&0), map.get(&1), map.get(&2)),
            (None, None, Some(2))
        );
    }
}
