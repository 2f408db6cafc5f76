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
    demand: Demand,
}

/// What must hold for a change to leave.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Demand {
    /// The client's conditions on the object that is written.
    Conditions(WriteConditions),
    /// The object, which is not written, and the files beside it are what they were.
    Unchanged(Box<Beside>),
}

/// An object and what lies beside it, as a look-up has found them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    /// The object.
    pub object: FileRecord,
    /// Its companion, if there is one.
    pub companion: Option<FileRecord>,
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
        Self::about(key, Demand::Conditions(conditions), lines)
    }

    /// Changes an object's companion alone. The line leaves only if both are what was found when this change's turn comes.
    pub fn of_companion(key: &ObjectKey, found: Beside, line: BatchLine) -> Self {
        Self::about(key, Demand::Unchanged(Box::new(found)), vec![line])
    }

    fn about(key: &ObjectKey, demand: Demand, lines: Vec<BatchLine>) -> Self {
        let object = Object {
            key: key.clone(),
            path: key.hub_path(),
            demand,
        };
        Self {
            lines,
            object: Some(object),
        }
    }

    pub(super) fn lines(&self) -> &[BatchLine] {
        &self.lines
    }

    /// Returns every path that it writes or relies on: its place in the order of changes.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        let written = self.lines.iter().map(BatchLine::path);
        written.chain(self.relied_on())
    }

    /// Returns the path of the object that it relies on but does not write.
    pub(super) fn relied_on(&self) -> Option<&str> {
        match self.object.as_ref()? {
            Object {
                path,
                demand: Demand::Unchanged(_),
                ..
            } => Some(path),
            Object {
                demand: Demand::Conditions(_),
                ..
            } => None,
        }
    }

    /// Returns the key of the object that it writes or deletes; `None` for changes of hidden files alone.
    pub(super) fn written_key(&self) -> Option<&ObjectKey> {
        let object = self.object.as_ref()?;
        matches!(object.demand, Demand::Conditions(_)).then_some(&object.key)
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
        self.object
            .as_ref()
            .is_some_and(|object| match &object.demand {
                Demand::Conditions(conditions) => !conditions.is_empty(),
                Demand::Unchanged(_) => true,
            })
    }

    /// Judges what it demands against what a look-up of its paths has found.
    ///
    /// Errors: as [`WriteConditions::check`]; `ConditionalRequestConflict` if what it relies on has changed.
    pub(super) fn check(&self, found: &HashMap<String, FileRecord>) -> Result<(), StorageError> {
        let Some(object) = &self.object else {
            return Ok(());
        };
        let record = found.get(&object.path);
        match &object.demand {
            Demand::Conditions(conditions) => {
                let standing = record.map(|record| Standing {
                    hash: record.hash,
                    size: visible_size(&object.key, record.size),
                    last_modified: record.uploaded_at,
                });
                conditions.check(&object.key, standing.as_ref())
            }
            Demand::Unchanged(beside) => {
                let mut companions = self.lines.iter().map(|line| found.get(line.path()));
                let is_unchanged = record == Some(&beside.object)
                    && companions.all(|companion| companion == beside.companion.as_ref());
                is_unchanged
                    .then_some(())
                    .ok_or(StorageError::ConditionalRequestConflict)
            }
        }
    }
}
