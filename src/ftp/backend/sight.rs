//! What a session last saw of a file: a later command may rely on it.
//!
//! FTP says in two commands where a transfer goes on (SIZE, then REST). Between them the file may change. So the backend
//! remembers the content that the first command saw, and the second one goes on with that content or not at all.
//!
//! The engine carries an APPE out as a look and an upload behind what it saw, or of a whole file if it saw none. Both happen in
//! one task, as of no other command, and that tells an APPE from a STOR: the one goes behind whatever is there, the other
//! replaces it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task;

use crate::ftp::path::Entry;
use crate::storage::{ContentHash, ObjectInfo};

/// What was found under a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// A file with this content, and its size in bytes.
    File(ContentHash, u64),
    /// No file.
    Nothing,
    /// The look-up failed, so nobody knows. The engine then believes that there is no file, and would turn an append into
    /// an overwrite.
    Unknown,
}

impl Seen {
    /// Remembers a file.
    pub(super) fn file(info: &ObjectInfo) -> Self {
        Self::File(info.hash, info.size)
    }
}

/// The last path that a session looked at, and what it found. A cheap clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Sight(Arc<Mutex<Option<Look>>>);

#[derive(Debug)]
struct Look {
    entry: Entry,
    seen: Seen,
    /// The task that looked.
    by: Option<task::Id>,
}

impl Sight {
    /// Remembers what was found; it replaces what was remembered before.
    pub(super) fn note(&self, entry: &Entry, seen: Seen) {
        *self.lock() = Some(Look {
            entry: entry.clone(),
            seen,
            by: task::try_id(),
        });
    }

    /// Returns what was found, if the path is the one that was looked at last.
    pub(super) fn of(&self, entry: &Entry) -> Option<Seen> {
        let sight = self.lock();
        let look = sight.as_ref().filter(|look| look.entry == *entry)?;
        Some(look.seen)
    }

    /// Returns what was found, if the path is the one that was looked at last, and in the task that asks: what an APPE is
    /// about to append to.
    pub(super) fn of_append(&self, entry: &Entry) -> Option<Seen> {
        let sight = self.lock();
        let look = sight.as_ref().filter(|look| look.entry == *entry)?;
        let is_same_task = look.by.is_some() && look.by == task::try_id();
        is_same_task.then_some(look.seen)
    }

    /// Forgets everything: the session itself changes what it saw.
    pub(super) fn forget(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Look>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
