//! Which changes may leave together: pure bookkeeping, no I/O.

use std::collections::{HashSet, VecDeque};

use tokio::sync::oneshot;
use tracing::Span;

use crate::provider::commit::Change;
use crate::provider::commit::keep::Keeping;
use crate::provider::hub::{BatchLine, MAX_BATCH_LINES};
use crate::storage::{Secret, StorageError};

/// A change that waits for its verdict.
pub(super) struct Pending {
    pub(super) change: Change,
    pub(super) token: Secret,
    pub(super) answer: oneshot::Sender<Result<(), StorageError>>,
    /// The span of the commit, which is told how many lines it left with.
    pub(super) span: Span,
    /// Whether what it replaces is kept, and what of it is. Known once its group is about to leave.
    pub(super) keeping: Option<Keeping>,
}

/// The changes of one bucket in the order in which they came.
#[derive(Default)]
pub(super) struct Queue {
    waiting: VecDeque<Pending>,
    /// Paths of changes that left and have no final verdict yet.
    busy: HashSet<String>,
    is_sending: bool,
}

impl Queue {
    pub(super) fn push(&mut self, pending: Pending) {
        self.waiting.push_back(pending);
    }

    /// Takes the changes that may leave now, and marks a batch call as in flight; `None` if one already is, or if nothing
    /// may leave.
    pub(super) fn start_group(&mut self) -> Option<Vec<Pending>> {
        match self.is_sending {
            true => None,
            false => self.take_group(),
        }
    }

    /// Marks a batch call as in flight, although its changes are still to be taken; false if one already is, or if none waits.
    pub(super) fn hold(&mut self) -> bool {
        let is_held = !self.is_sending && !self.waiting.is_empty();
        self.is_sending |= is_held;
        is_held
    }

    /// Takes the changes of the batch call that was marked as in flight; if nothing may leave, none is any more. What leaves
    /// in the end is told by [`Queue::depart`].
    ///
    /// A change stays behind if one of its paths is busy or belongs to an earlier change that stays behind: so the order on
    /// each path is kept. Conditional changes may share paths with each other: which of them leaves is for the judge to
    /// say. All changes of a group carry the same Hub token.
    pub(super) fn take_group(&mut self) -> Option<Vec<Pending>> {
        let mut group: Vec<Pending> = Vec::new();
        let mut staying = VecDeque::new();
        let mut claimed: HashSet<String> = HashSet::new();
        let mut contested: HashSet<String> = HashSet::new();
        let mut lines = 0;
        for pending in std::mem::take(&mut self.waiting) {
            let line_count = pending.change.lines().len();
            let has_room = lines + line_count <= MAX_BATCH_LINES || group.is_empty();
            let has_token = group
                .first()
                .is_none_or(|first| first.token == pending.token);
            let may_share = pending.change.is_conditional();
            let is_free = pending.change.paths().all(|path| {
                !self.busy.contains(path)
                    && !claimed.contains(path)
                    && (may_share || !contested.contains(path))
            });
            let is_taken = has_room && has_token && is_free;
            let paths = pending.change.paths().map(str::to_owned);
            if is_taken && may_share {
                contested.extend(paths);
            } else {
                claimed.extend(paths);
            }
            if is_taken {
                lines += line_count;
                group.push(pending);
            } else {
                staying.push_back(pending);
            }
        }
        self.waiting = staying;
        self.is_sending = !group.is_empty();
        self.is_sending.then_some(group)
    }

    /// Notes what of the group leaves, and puts back in front what has to wait for it: in its old order, so before
    /// everything that came later.
    pub(super) fn depart(&mut self, leaving: &[Pending], waiting: Vec<Pending>) {
        for pending in leaving {
            self.busy.extend(pending.change.paths().map(str::to_owned));
        }
        for pending in waiting.into_iter().rev() {
            self.waiting.push_front(pending);
        }
    }

    /// Notes that the batch call in flight has returned.
    pub(super) fn finish_group(&mut self) {
        self.is_sending = false;
    }

    /// Frees the paths of a change that has its final verdict.
    pub(super) fn release(&mut self, change: &Change) {
        for path in change.paths() {
            self.busy.remove(path);
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.busy.is_empty() && !self.is_sending
    }
}

/// Returns lines in the order that the Hub demands: every addition and copy before any deletion.
pub(super) fn ordered_lines<'a>(changes: impl Iterator<Item = &'a [BatchLine]>) -> Vec<BatchLine> {
    let (deletions, mut ordered): (Vec<_>, Vec<_>) = changes
        .flatten()
        .cloned()
        .partition(|line| matches!(line, BatchLine::DeleteFile { .. }));
    ordered.extend(deletions);
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::hub::fake::{add_line as add, delete_line as delete};
    use crate::storage::{EtagMatch, ObjectKey, WriteConditions};

    fn pending(token: &str, lines: Vec<BatchLine>) -> Pending {
        Pending {
            change: Change::new(lines),
            token: Secret::new(token),
            answer: oneshot::channel().0,
            span: Span::none(),
            keeping: None,
        }
    }

    /// Starts a group that leaves whole, and returns its paths.
    fn group_paths(queue: &mut Queue) -> Option<Vec<String>> {
        let group = queue.start_group()?;
        queue.depart(&group, Vec::new());
        Some(
            group
                .iter()
                .flat_map(|pending| pending.change.paths())
                .map(str::to_owned)
                .collect(),
        )
    }

    #[test]
    fn changes_of_one_path_leave_one_after_the_other() {
        let mut queue = Queue::default();
        queue.push(pending("t", vec![add("a")]));
        queue.push(pending("t", vec![delete("a"), delete("x")]));
        queue.push(pending("t", vec![add("x")]));
        queue.push(pending("t", vec![add("b")]));
        // `x` waits behind the deletion that waits behind `a`.
        assert_eq!(group_paths(&mut queue).unwrap(), ["a", "b"]);
        assert_eq!(group_paths(&mut queue), None, "one batch call at a time");
        queue.finish_group();
        assert_eq!(group_paths(&mut queue), None, "no verdict on `a` yet");
        queue.release(&Change::new(vec![add("a")]));
        assert_eq!(group_paths(&mut queue).unwrap(), ["a", "x"]);
        queue.finish_group();
        queue.release(&Change::new(vec![add("a"), add("x"), add("b")]));
        assert_eq!(group_paths(&mut queue).unwrap(), ["x"]);
    }

    #[test]
    fn a_batch_that_is_held_takes_what_came_meanwhile() {
        let mut queue = Queue::default();
        assert!(!queue.hold(), "nothing waits");
        queue.push(pending("t", vec![add("a")]));
        assert!(queue.hold());
        assert!(!queue.hold());
        queue.push(pending("t", vec![add("b")]));
        assert!(queue.start_group().is_none());
        assert_eq!(queue.take_group().unwrap().len(), 2);
        assert!(queue.take_group().is_none());
        assert!(queue.is_idle(), "nothing is held any more");
    }

    fn conditional(path: &str) -> Pending {
        let key = ObjectKey::new(path).unwrap();
        let conditions = WriteConditions {
            if_none_match: Some(EtagMatch::Any),
            ..WriteConditions::default()
        };
        Pending {
            change: Change::of_object(&key, conditions, vec![add(path)]),
            ..pending("t", Vec::new())
        }
    }

    #[test]
    fn conditional_changes_share_a_path_with_each_other_only() {
        let mut queue = Queue::default();
        queue.push(conditional("a"));
        queue.push(conditional("a"));
        queue.push(pending("t", vec![add("a")]));
        queue.push(conditional("a"));
        queue.push(pending("t", vec![add("b")]));
        queue.push(conditional("b"));
        let mut group = queue.start_group().unwrap();
        let paths: Vec<_> = group
            .iter()
            .flat_map(|pending| pending.change.paths())
            .collect();
        // The unconditional one of `a` waits, and so does whoever came after it.
        assert_eq!(paths, ["a", "a", "b"]);
        let waiting = vec![group.remove(1)];
        queue.depart(&group, waiting);
        queue.finish_group();
        assert_eq!(
            group_paths(&mut queue),
            None,
            "no verdict on `a` and `b` yet"
        );
        queue.release(&Change::new(vec![add("a")]));
        let again = queue.start_group().unwrap();
        assert!(
            again.len() == 1 && again[0].change.is_conditional(),
            "the one put back is first"
        );
        queue.depart(&[], Vec::new());
        queue.finish_group();
        assert_eq!(group_paths(&mut queue).unwrap(), ["a"]);
    }

    #[test]
    fn a_group_has_at_most_a_thousand_lines_and_one_token() {
        let mut queue = Queue::default();
        for n in 0..1001 {
            queue.push(pending("t", vec![add(&n.to_string())]));
        }
        queue.push(pending("u", vec![add("other")]));
        assert_eq!(group_paths(&mut queue).unwrap().len(), 1000);
        queue.finish_group();
        assert_eq!(group_paths(&mut queue).unwrap(), ["1000"]);
        queue.finish_group();
        assert_eq!(group_paths(&mut queue).unwrap(), ["other"]);
    }

    #[test]
    fn additions_come_before_deletions() {
        let changes = [
            vec![delete("a")],
            vec![add("b"), delete("c")],
            vec![add("d")],
        ];
        let ordered = ordered_lines(changes.iter().map(Vec::as_slice));
        assert_eq!(
            ordered.iter().map(BatchLine::path).collect::<Vec<_>>(),
            ["b", "d", "a", "c"]
        );
    }
}
