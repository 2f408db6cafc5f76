//! What one key may hold: a set of writes with their times, and what follows from them for a read.
//!
//! The model is sound rather than complete. A write takes effect at one moment between its beginning and its end, or, if it
//! was not acknowledged, perhaps never. So a read that began after a write was known to be done must not show what another
//! write left that had ended before that one began. Everything else may be shown. Where many write at once, that allows
//! every order; it never takes a right answer for a wrong one.

use std::collections::HashSet;
use std::sync::Arc;

use crate::content::{Content, Digest};

/// Microseconds since the beginning of the run.
pub(crate) type Moment = u64;

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Value {
    Absent,
    Bytes(Digest),
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is under way.
    Open,
    /// It was acknowledged.
    Done,
    /// It was refused for good, and must never be seen.
    Refused,
    /// It failed with an answer that promises nothing, but that it is over.
    Failed,
    /// No answer came. It is over when the process that it was sent to is.
    Unanswered,
}

/// A write of one key.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) value: Value,
    /// How to make the bytes again, where somebody may want to.
    pub(crate) content: Option<Arc<Content>>,
    /// What is written beside the bytes.
    pub(crate) mark: Option<String>,
}

impl Write {
    pub(crate) fn absence() -> Self {
        Self {
            value: Value::Absent,
            content: None,
            mark: None,
        }
    }

    fn len(&self) -> Option<u64> {
        self.content.as_ref().map(|content| content.len())
    }
}

/// Names a write of one register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WriteId(u64);

#[derive(Debug)]
struct Entry {
    id: WriteId,
    write: Write,
    /// The process that it was sent to.
    generation: u32,
    begun: Moment,
    /// The last moment at which it can take effect.
    ended: Moment,
    /// A moment by which it had certainly taken effect.
    done_by: Moment,
    fate: Fate,
}

impl Entry {
    fn may_be_seen(&self) -> bool {
        self.fate != Fate::Refused
    }
}

/// What is wrong with what was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// Something older than an acknowledged write, or nothing at all.
    Lost,
    /// A write that was refused.
    Refused,
    /// Bytes that nobody wrote, in whole or in part.
    Foreign,
    /// The right bytes with something else beside them than was written.
    Beside,
}

/// The history of one key.
#[derive(Debug)]
pub(crate) struct Register {
    writes: Vec<Entry>,
    next: u64,
    /// Values of writes that were forgotten, because nothing can show them any more.
    past: HashSet<Value>,
    /// Whether a read that shows a write proves that it is done. Not where a failed write may show for a while.
    infers: bool,
}

const NEVER: Moment = Moment::MAX;

/// Writes from which on the old ones are forgotten.
const MANY: usize = 64;

impl Register {
    /// Begins with nothing.
    pub(crate) fn new(infers: bool) -> Self {
        let nothing = Entry {
            id: WriteId(0),
            write: Write::absence(),
            generation: 0,
            begun: 0,
            ended: 0,
            done_by: 0,
            fate: Fate::Done,
        };
        Self {
            writes: vec![nothing],
            next: 1,
            past: HashSet::new(),
            infers,
        }
    }

    pub(crate) fn begin(&mut self, write: Write, now: Moment, generation: u32) -> WriteId {
        let id = WriteId(self.next);
        self.next += 1;
        self.writes.push(Entry {
            id,
            write,
            generation,
            begun: now,
            ended: NEVER,
            done_by: NEVER,
            fate: Fate::Open,
        });
        id
    }

    /// Notes what became of a write. Errors: it was refused, and had been seen.
    pub(crate) fn end(&mut self, id: WriteId, fate: Fate, now: Moment) -> Result<(), Wrong> {
        let Some(entry) = self.writes.iter_mut().find(|entry| entry.id == id) else {
            return Ok(());
        };
        entry.fate = fate;
        match fate {
            Fate::Done => {
                entry.ended = now;
                entry.done_by = entry.done_by.min(now);
            }
            Fate::Refused if entry.done_by != NEVER => return Err(Wrong::Refused),
            Fate::Refused | Fate::Failed => entry.ended = now,
            Fate::Open | Fate::Unanswered => {}
        }
        Ok(())
    }

    /// Notes that all processes up to this one are over since a moment: what they left unanswered can do nothing any more.
    pub(crate) fn close(&mut self, generation: u32, at: Moment) {
        for entry in &mut self.writes {
            if entry.fate == Fate::Unanswered && entry.generation <= generation {
                entry.ended = entry.ended.min(at.max(entry.begun));
            }
        }
    }

    /// Reports whether no write is under way, nor may still take effect.
    pub(crate) fn is_settled(&self) -> bool {
        self.writes.iter().all(|entry| entry.ended != NEVER)
    }

    /// Returns since when the newest write began that was certainly done before `from`: what ended before that is gone.
    fn floor(&self, from: Moment) -> Moment {
        let done = self.writes.iter().filter(|entry| entry.done_by < from);
        done.map(|entry| entry.begun).max().unwrap_or(0)
    }

    /// Returns the writes that a look between two moments may show.
    fn shown(&self, from: Moment, to: Moment) -> impl Iterator<Item = &Entry> {
        let floor = self.floor(from);
        self.writes
            .iter()
            .filter(move |entry| entry.may_be_seen() && entry.begun <= to && entry.ended >= floor)
    }

    /// Judges what a read has shown that lasted from one moment to another.
    ///
    /// Errors: why it cannot have been there.
    pub(crate) fn read(&mut self, value: Value, from: Moment, to: Moment) -> Result<(), Wrong> {
        let shown = self.shown(from, to);
        let ids: Vec<WriteId> = shown
            .filter(|entry| entry.write.value == value)
            .map(|entry| entry.id)
            .collect();
        match ids.as_slice() {
            [] => Err(self.explain(value)),
            // Only one write can have left it, so it is done.
            [id] if self.infers => {
                let entry = self.writes.iter_mut().find(|entry| entry.id == *id);
                let entry = entry.expect("it was found a moment ago");
                entry.done_by = entry.done_by.min(to);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Judges a value that may have stood there at some moment, without concluding anything from it. `except` is a write
    /// that cannot have left it.
    pub(crate) fn stood(
        &self,
        is_right: impl Fn(&Write) -> bool,
        except: Option<WriteId>,
        from: Moment,
        to: Moment,
    ) -> bool {
        self.shown(from, to)
            .any(|entry| Some(entry.id) != except && is_right(&entry.write))
    }

    /// Reports whether an object of this size may have stood there.
    pub(crate) fn stood_with(&self, len: u64, from: Moment, to: Moment) -> bool {
        self.stood(|write| write.len() == Some(len), None, from, to)
    }

    /// Reports whether there may have been nothing.
    pub(crate) fn was_absent(&self, except: Option<WriteId>, from: Moment, to: Moment) -> bool {
        self.stood(|write| write.value == Value::Absent, except, from, to)
    }

    /// Judges what stood beside bytes. Of a write that failed, or was not done yet, the bytes may have landed alone; and it
    /// may have taken away what lies beside the bytes of another one.
    pub(crate) fn beside(
        &self,
        value: Value,
        mark: Option<&str>,
        from: Moment,
        to: Moment,
    ) -> Result<(), Wrong> {
        let mut shown = self.shown(from, to).peekable();
        if shown.peek().is_none() {
            return Ok(());
        }
        let is_right = |entry: &Entry| {
            if entry.write.value != value {
                return false;
            }
            let is_troubled = || {
                let troubles = |other: &&Entry| {
                    let is_clear = other.fate == Fate::Done && other.ended < from;
                    !is_clear && other.ended >= entry.begun
                };
                self.writes.iter().find(troubles).is_some()
            };
            entry.write.mark.as_deref() == mark || (mark.is_none() && is_troubled())
        };
        let is_known = self.shown(from, to).any(|entry| entry.write.value == value);
        let is_fine = !is_known || shown.any(is_right);
        is_fine.then_some(()).ok_or(Wrong::Beside)
    }

    /// Returns how to make the bytes of a value again.
    pub(crate) fn content(&self, value: Value) -> Option<Arc<Content>> {
        let entry = self.writes.iter().find(|entry| entry.write.value == value);
        entry.and_then(|entry| entry.write.content.clone())
    }

    /// Returns the contents that a look between two moments may show.
    pub(crate) fn contents(&self, from: Moment, to: Moment) -> Vec<Arc<Content>> {
        let shown = self.shown(from, to);
        shown
            .filter_map(|entry| entry.write.content.clone())
            .collect()
    }

    /// Says what is wrong with a part of an object of `len` bytes that no write can show any more.
    pub(crate) fn explain_part(&self, len: u64, is_part: impl Fn(&Content) -> bool) -> Wrong {
        let of_len = |entry: &&Entry| entry.write.len() == Some(len);
        let mut known = self.writes.iter().filter(of_len);
        let is_old = known.any(|entry| entry.write.content.as_deref().is_some_and(&is_part));
        match is_old {
            true => Wrong::Lost,
            false => Wrong::Foreign,
        }
    }

    fn explain(&self, value: Value) -> Wrong {
        let of_value = |entry: &&Entry| entry.write.value == value;
        let known = self.writes.iter().filter(of_value);
        let fates: Vec<Fate> = known.map(|entry| entry.fate).collect();
        if fates.iter().any(|fate| *fate != Fate::Refused) || self.past.contains(&value) {
            Wrong::Lost
        } else if fates.is_empty() && value != Value::Absent {
            Wrong::Foreign
        } else if value == Value::Absent {
            Wrong::Lost
        } else {
            Wrong::Refused
        }
    }

    /// Forgets what nothing can show that begins at `horizon` or later.
    pub(crate) fn forget(&mut self, horizon: Moment) {
        if self.writes.len() < MANY {
            return;
        }
        let floor = self.floor(horizon);
        let is_past = |entry: &Entry| entry.ended < floor && entry.fate != Fate::Refused;
        let past = self.writes.iter().filter(|entry| is_past(entry));
        self.past.extend(past.map(|entry| entry.write.value));
        self.writes.retain(|entry| !is_past(entry));
    }

    /// Returns the history as text, for a report.
    pub(crate) fn history(&self) -> String {
        let name = |value: Value| match value {
            Value::Absent => "nothing".to_owned(),
            Value::Bytes(digest) => hex::encode(&digest[..4]),
        };
        let moment = |at: Moment| match at {
            NEVER => "?".to_owned(),
            at => format!("{}.{:06}", at / 1_000_000, at % 1_000_000),
        };
        let lines = self.writes.iter().rev().take(12).map(|entry| {
            format!(
                "    {} {:?} bytes {:?} {}..{} done by {} generation {}\n",
                name(entry.write.value),
                entry.write.len(),
                entry.fate,
                moment(entry.begun),
                moment(entry.ended),
                moment(entry.done_by),
                entry.generation,
            )
        });
        lines.collect()
    }
}

#[cfg(test)]
mod tests;
