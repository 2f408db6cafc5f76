//! A write as the committer sees it: its lines, and what must hold for them to leave.

use std::collections::HashMap;

use crate::provider::hub::{BatchLine, FileRecord};
use crate::provider::read::visible_size;
use crate::storage::{ObjectKey, Standing, StorageError, WriteConditions};

/// The lines of one write: they succeed or fail as one for its caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    lines: Vec<BatchLine>,
    object: Option<Object>,
}

/// The object that a change is about. Its other lines are companions, which must not outlive a failure of the object's.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Object {
    key: ObjectKey,
    path: String,
    conditions: WriteConditions,
}

impl Change {
    /// Bundles lines of hidden files; every path at most once.
    pub fn new(lines: Vec<BatchLine>) -> Self {
        Self {
            lines,
            object: None,
        }
    }

    /// Bundles the line of an object with those of its companions; every path at most once. They leave only if the
    /// conditions hold for what stands under the key when this change's turn comes.
    pub fn of_object(key: &ObjectKey, conditions: WriteConditions, lines: Vec<BatchLine>) -> Self {
        let object = Object {
            key: key.clone(),
            path: key.hub_path(),
            conditions,
        };
        Self {
            lines,
            object: Some(object),
        }
    }

    pub(super) fn lines(&self) -> &[BatchLine] {
        &self.lines
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(BatchLine::path)
    }

    /// Returns the lines beside the object's own.
    pub(super) fn companions(&self) -> impl Iterator<Item = &BatchLine> {
        let object = self.object.as_ref();
        let is_companion = move |line: &&BatchLine| object.is_some_and(|o| o.path != line.path());
        self.lines.iter().filter(is_companion)
    }

    /// Reports whether one of these lines is the object's own.
    pub(super) fn has_object_in(&self, lines: &[BatchLine]) -> bool {
        let object = self.object.as_ref();
        object.is_some_and(|object| lines.iter().any(|line| line.path() == object.path))
    }

    /// Reports whether it must be judged before it may leave.
    pub(super) fn is_conditional(&self) -> bool {
        let object = self.object.as_ref();
        object.is_some_and(|object| !object.conditions.is_empty())
    }

    /// Judges the conditions against what a look-up of the change's paths has found.
    ///
    /// Errors: as [`WriteConditions::check`].
    pub(super) fn check(&self, found: &HashMap<String, FileRecord>) -> Result<(), StorageError> {
        let Some(object) = &self.object else {
            return Ok(());
        };
        let standing = found.get(&object.path).map(|record| Standing {
            hash: record.hash,
            size: visible_size(&object.key, record.size),
            last_modified: record.uploaded_at,
        });
        object.conditions.check(&object.key, standing.as_ref())
    }
}
