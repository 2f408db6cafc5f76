//! Where answers ended, for clients that name the last entry instead of handing the token back.
//!
//! The older listing operation goes on after a *name*, and the Hub has no start-after: without help each such answer would
//! walk the whole listing again. So the position behind each truncated answer is kept for a while. It is help only: a
//! replica that does not have it walks.

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::cache::ExpiringMap;
use crate::provider::list::token::{Position, Scope};

/// Positions kept, some hundred bytes to a few KiB each.
const MAX_HINTS: usize = 1024;

/// Life of a position. The Hub promises nothing about the life of its cursors.
const HINT_LIFE: Duration = Duration::from_secs(120);

/// Positions by the listing and the last name shown.
#[derive(Debug)]
pub(super) struct Hints(ExpiringMap<HintKey, Position>);

type HintKey = [u8; 16];

impl Hints {
    pub(super) fn new() -> Self {
        Self(ExpiringMap::new(MAX_HINTS, HINT_LIFE))
    }

    /// Returns the position behind the answer that ended with `name`.
    pub(super) fn find(&self, scope: &Scope<'_>, name: &str) -> Option<Position> {
        self.0.get(&key(scope, name))
    }

    /// Keeps the position behind an answer.
    pub(super) fn keep(&self, scope: &Scope<'_>, position: &Position) {
        if let Some(name) = &position.after {
            self.0.insert(key(scope, name), position.clone());
        }
    }

    /// Forgets a position that the Hub no longer knows.
    pub(super) fn forget(&self, scope: &Scope<'_>, name: &str) {
        self.0.remove(&key(scope, name));
    }
}

fn key(scope: &Scope<'_>, name: &str) -> HintKey {
    let mut digest = Sha256::new();
    scope.write_to(&mut digest);
    digest.update(name);
    let mut key = HintKey::default();
    key.copy_from_slice(&digest.finalize()[..16]);
    key
}
