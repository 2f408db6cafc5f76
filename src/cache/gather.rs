//! Gathering: those who come while calls are under way wait, and then leave together in one call.
//!
//! Where one call does for many what many calls would do, this makes their number depend on how long a call takes instead
//! of on how many ask. Whoever finds a free slot waits for nobody, so without company there is no delay.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Items that wait, by key. Items of different keys never meet. Clones share the queues.
///
/// # Behaviour
/// - At most [`Gatherer::new`]'s number of turns per key are under way; each takes group after group until nobody waits.
/// - Items leave in the order in which they came, and each in exactly one group.
/// - A key has an entry only while a turn of it is under way.
pub struct Gatherer<K, T> {
    lanes: Arc<Mutex<HashMap<K, Lane<T>>>>,
    turns_at_once: usize,
}

struct Lane<T> {
    waiting: VecDeque<T>,
    turns: usize,
}

/// The right, and the duty, to take groups of one key until there is none. Dropping it earlier leaves what waits to the
/// next who joins.
pub struct Turn<K: Eq + Hash, T> {
    lanes: Arc<Mutex<HashMap<K, Lane<T>>>>,
    key: K,
    is_over: bool,
}

// === impl Gatherer ===

impl<K: Eq + Hash + Clone, T> Gatherer<K, T> {
    /// Creates an empty gatherer with so many turns at once for each key; at least one.
    pub fn new(turns_at_once: usize) -> Self {
        Self {
            lanes: Arc::default(),
            turns_at_once: turns_at_once.max(1),
        }
    }

    /// Adds an item. Whoever gets a turn must see to it that the item is taken, together with all that come meanwhile;
    /// without one, a turn under way takes it.
    pub fn join(&self, key: &K, item: T) -> Option<Turn<K, T>> {
        let mut lanes = lock(&self.lanes);
        let lane = lanes.entry(key.clone()).or_insert_with(|| Lane {
            waiting: VecDeque::new(),
            turns: 0,
        });
        lane.waiting.push_back(item);
        if lane.turns == self.turns_at_once {
            return None;
        }
        lane.turns += 1;
        Some(Turn {
            lanes: self.lanes.clone(),
            key: key.clone(),
            is_over: false,
        })
    }

    /// Reports whether nothing waits and no turn is under way.
    pub fn is_idle(&self) -> bool {
        lock(&self.lanes).is_empty()
    }
}

impl<K, T> fmt::Debug for Gatherer<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gatherer")
    }
}

// === impl Turn ===

impl<K: Eq + Hash, T> Turn<K, T> {
    /// Takes those that leave together: the first, and those behind it while all their weights together are at most
    /// `max_weight`. Empty once nobody waits: then the turn is over.
    pub fn next_group(&mut self, max_weight: usize, weight: impl Fn(&T) -> usize) -> Vec<T> {
        if self.is_over {
            return Vec::new();
        }
        let mut lanes = lock(&self.lanes);
        let Some(lane) = lanes.get_mut(&self.key) else {
            return Vec::new();
        };
        let mut total = 0_usize;
        let fitting = lane.waiting.iter().take_while(|item| {
            total = total.saturating_add(weight(item));
            total <= max_weight
        });
        let count = fitting.count().max(1).min(lane.waiting.len());
        let group: Vec<T> = lane.waiting.drain(..count).collect();
        if group.is_empty() {
            // Under the same lock, so that nobody can join in between and be left behind.
            self.is_over = true;
            end_turn(&mut lanes, &self.key);
        }
        group
    }
}

impl<K: Eq + Hash, T> Drop for Turn<K, T> {
    fn drop(&mut self) {
        if !self.is_over {
            end_turn(&mut lock(&self.lanes), &self.key);
        }
    }
}

impl<K: Eq + Hash, T> fmt::Debug for Turn<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Turn")
    }
}

fn end_turn<K: Eq + Hash, T>(lanes: &mut HashMap<K, Lane<T>>, key: &K) {
    if let Some(lane) = lanes.get_mut(key) {
        lane.turns -= 1;
        if lane.turns == 0 && lane.waiting.is_empty() {
            lanes.remove(key);
        }
    }
}

fn lock<K, T>(lanes: &Mutex<HashMap<K, Lane<T>>>) -> MutexGuard<'_, HashMap<K, Lane<T>>> {
    lanes.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(turn: &mut Turn<&'static str, usize>) -> Vec<usize> {
        turn.next_group(10, |item| *item)
    }

    #[test]
    fn those_who_come_during_a_turn_leave_with_its_next_group() {
        let gatherer = Gatherer::new(1);
        let mut turn = gatherer.join(&"a", 1).unwrap();
        assert_eq!(group(&mut turn), [1]);
        assert!(gatherer.join(&"a", 2).is_none());
        assert!(gatherer.join(&"a", 3).is_none());
        let mut other = gatherer.join(&"b", 4).unwrap();
        assert_eq!(group(&mut turn), [2, 3]);
        assert_eq!(group(&mut other), [4]);
        assert_eq!(group(&mut turn), [0_usize; 0]);
        assert_eq!(group(&mut other), [0_usize; 0]);
        assert!(gatherer.is_idle());
        assert!(gatherer.join(&"a", 5).is_some(), "the next one leads again");
    }

    #[test]
    fn a_group_weighs_no_more_than_it_may_unless_it_is_a_single_item() {
        let gatherer = Gatherer::new(1);
        let mut turn = gatherer.join(&"a", 99).unwrap();
        for item in [4, 5, 2, 10] {
            assert!(gatherer.join(&"a", item).is_none());
        }
        let mut groups = Vec::new();
        loop {
            match group(&mut turn) {
                group if group.is_empty() => break,
                group => groups.push(group),
            }
        }
        assert_eq!(groups, [vec![99], vec![4, 5], vec![2], vec![10]]);
    }

    #[test]
    fn as_many_turns_as_allowed_are_under_way() {
        let gatherer = Gatherer::new(2);
        let mut first = gatherer.join(&"a", 1).unwrap();
        let mut second = gatherer.join(&"a", 2).unwrap();
        assert!(gatherer.join(&"a", 3).is_none());
        assert_eq!(group(&mut second), [1, 2, 3]);
        assert!(group(&mut first).is_empty());
        let third = gatherer.join(&"a", 4);
        assert!(third.is_some(), "the first turn is over");
        assert_eq!(group(&mut second), [4]);
    }

    #[test]
    fn a_turn_that_is_dropped_frees_its_slot() {
        let gatherer = Gatherer::new(1);
        drop(gatherer.join(&"a", 1));
        let mut turn = gatherer.join(&"a", 2).unwrap();
        assert_eq!(group(&mut turn), [1, 2]);
        drop(turn);
        assert!(gatherer.is_idle());
    }
}
