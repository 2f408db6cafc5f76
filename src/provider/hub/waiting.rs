//! Who waits for calls with a token: a share of the queue for each, so that nobody finds it full of one other's calls.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::storage::{Secret, SecretId};

/// Somebody's calls may wait as long as these times what is left of the queue: one alone fills eight ninths of it, two that
/// ask for everything eight seventeenths each, and so on. Whoever has none waiting finds room.
const TIMES_FREE: u32 = 8;

/// The calls that wait, by token and by whom they are made for.
#[derive(Debug, Clone, Default)]
pub(super) struct Waiting(Arc<Mutex<HashMap<SecretId, Line>>>);

#[derive(Debug, Default)]
struct Line {
    total: u32,
    by_holder: HashMap<Option<Arc<str>>, u32>,
}

impl Waiting {
    /// Returns how long a further call may have to wait at most, of `patience`: the less, the more of those that wait are of
    /// the same holder.
    pub(super) fn patience(&self, token: &Secret, patience: Duration) -> Duration {
        let waiting = self.lock();
        let Some(line) = waiting.get(&token.id()) else {
            return patience;
        };
        let own = line.by_holder.get(&token.holder().cloned());
        let own = own.copied().unwrap_or(0);
        // Of the time that the queue takes, own / total is the holder's. It is to be no more than so many times the rest.
        let all = line.total.saturating_mul(TIMES_FREE);
        patience.mul_f64(f64::from(all) / f64::from(all.saturating_add(own)))
    }

    /// Counts a call until what is returned is dropped.
    pub(super) fn enter(&self, token: &Secret) -> Place {
        let (token, holder) = (token.id(), token.holder().cloned());
        let mut waiting = self.lock();
        let line = waiting.entry(token).or_default();
        line.total += 1;
        *line.by_holder.entry(holder.clone()).or_default() += 1;
        drop(waiting);
        Place {
            waiting: self.clone(),
            token,
            holder,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SecretId, Line>> {
        // Every change leaves the counts whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call's place in the queue.
#[derive(Debug)]
pub(super) struct Place {
    waiting: Waiting,
    token: SecretId,
    holder: Option<Arc<str>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.waiting.lock();
        let Some(line) = waiting.get_mut(&self.token) else {
            return;
        };
        line.total = line.total.saturating_sub(1);
        if let Some(own) = line.by_holder.get_mut(&self.holder) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                line.by_holder.remove(&self.holder);
            }
        }
        if line.total == 0 {
            waiting.remove(&self.token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(9);

    fn shown(token: &str, holder: &str) -> Secret {
        Secret::new(token).on_behalf_of(&holder.into())
    }

    #[test]
    fn whoever_has_many_waiting_has_less_patience_left() {
        let waiting = Waiting::default();
        let secs = |token, holder| {
            let patience = waiting.patience(&shown(token, holder), PATIENCE);
            patience.as_secs_f64()
        };
        assert_eq!(secs("t", "hog"), 9.0);
        let mut places: Vec<_> = (0..50).map(|_| waiting.enter(&shown("t", "hog"))).collect();
        assert!((secs("t", "hog") - 8.0).abs() < 1e-9, "eight ninths");
        assert_eq!(secs("t", "other"), 9.0);
        assert_eq!(secs("u", "hog"), 9.0, "another token");
        places.extend((0..50).map(|_| waiting.enter(&shown("t", "other"))));
        assert!((secs("t", "hog") - 9.0 * 8.0 / 8.5).abs() < 1e-9);
        drop(places);
        assert!(waiting.lock().is_empty(), "nobody is remembered");
    }
}
