//! All keys together: what was written, what was seen, and what is wrong with it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::content::{Content, digest};
use crate::register::{Fate, Moment, Register, Value, Write, WriteId, Wrong};

/// Every operation is over long before this, so what was over before it can be forgotten.
const MEMORY: Duration = Duration::from_secs(400);

/// Size up to which the gateway checks parts of objects too.
const CHECKED_BYTES: u64 = 1 << 20;

/// Findings that are told in full; the others are only counted.
const TOLD: usize = 20;

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// An acknowledged write is not there, or something older is.
    Lost,
    /// A refused write appeared.
    False,
    /// Bytes or metadata that do not belong there.
    Corrupt,
    /// An operation was not answered within its time.
    Hung,
    /// An operation was refused for which there was no reason.
    Refused,
    /// A listing is out of order, or names a key twice.
    Disorder,
    /// The process did not come back to its rest.
    Leak,
}

/// Counts and findings of a run.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally {
    pub(crate) operations: u64,
    pub(crate) acknowledged: u64,
    pub(crate) refused: u64,
    pub(crate) failed: u64,
    pub(crate) unanswered: u64,
    pub(crate) reads: u64,
    pub(crate) kills: u64,
    /// Parts of large objects that were damaged upstream: Xet has nothing that a part could be checked against.
    pub(crate) unchecked: u64,
    pub(crate) faults: BTreeMap<Fault, u64>,
    pub(crate) told: Vec<String>,
    /// Operations by name: how many, how many failed, and the longest time, in milliseconds.
    pub(crate) by_name: BTreeMap<&'static str, (u64, u64, u64)>,
}

impl Tally {
    pub(crate) fn count(&self, fault: Fault) -> u64 {
        self.faults.get(&fault).copied().unwrap_or(0)
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }
}

/// A key and what lies beside it: two registers.
#[derive(Debug)]
struct Keys {
    objects: BTreeMap<String, Register>,
    tags: BTreeMap<String, Register>,
    /// The newest process that is over, and since when.
    closed: (u32, Moment),
}

impl Keys {
    fn object(&mut self, key: &str) -> &mut Register {
        let objects = &mut self.objects;
        (objects.entry(key.to_owned())).or_insert_with(|| Register::new(true))
    }

    fn tags(&mut self, key: &str) -> &mut Register {
        let tags = &mut self.tags;
        (tags.entry(key.to_owned())).or_insert_with(|| Register::new(false))
    }
}

/// The ledger of a run. All its methods take a moment only.
#[derive(Debug)]
pub(crate) struct Ledger {
    origin: Instant,
    keys: Mutex<Keys>,
    tally: Mutex<Tally>,
    progress: AtomicU64,
}

/// A write under way.
#[derive(Debug)]
#[must_use]
pub(crate) struct Pending {
    key: String,
    id: WriteId,
    tags: Option<WriteId>,
    begun: Moment,
}

impl Pending {
    /// Returns when the write began.
    pub(crate) fn begun(&self) -> Moment {
        self.begun
    }
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self {
            origin: Instant::now(),
            keys: Mutex::new(Keys {
                objects: BTreeMap::new(),
                tags: BTreeMap::new(),
                closed: (0, 0),
            }),
            tally: Mutex::default(),
            progress: AtomicU64::new(0),
        }
    }

    /// Returns the time since the beginning, later than all that were returned before.
    pub(crate) fn now(&self) -> Moment {
        let now = Moment::try_from(self.origin.elapsed().as_micros()).unwrap_or(Moment::MAX);
        let before = self.progress.fetch_max(now, Ordering::SeqCst);
        if now > before {
            return now;
        }
        self.progress.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Begins to write content, or nothing, under a key.
    pub(crate) fn begin(
        &self,
        key: &str,
        content: Option<&Content>,
        mark: Option<&str>,
        generation: u32,
    ) -> Pending {
        let write = match content {
            None => Write::absence(),
            Some(content) => Write {
                value: Value::Bytes(digest(&content.bytes())),
                content: Some(Arc::new(content.clone())),
                mark: mark.map(str::to_owned),
            },
        };
        let begun = self.now();
        let horizon = begun.saturating_sub(micros(MEMORY));
        let mut keys = self.keys();
        let register = keys.object(key);
        register.forget(horizon);
        let id = register.begin(write, begun, generation);
        // An object begins without tags.
        let tags = keys.tags(key);
        tags.forget(horizon);
        let tags = tags.begin(Write::absence(), begun, generation);
        Pending {
            key: key.to_owned(),
            id,
            tags: Some(tags),
            begun,
        }
    }

    /// Begins to change the tags of a key.
    pub(crate) fn begin_tags(&self, key: &str, tags: &str, generation: u32) -> Pending {
        let write = Write {
            value: Value::Bytes(digest(tags.as_bytes())),
            content: None,
            mark: None,
        };
        let begun = self.now();
        let id = self.keys().tags(key).begin(write, begun, generation);
        Pending {
            key: key.to_owned(),
            id,
            tags: None,
            begun,
        }
    }

    /// Notes what became of a write.
    pub(crate) fn end(&self, pending: &Pending, fate: Fate) {
        let now = self.now();
        {
            let mut tally = self.tally();
            match fate {
                Fate::Done => tally.acknowledged += 1,
                Fate::Refused => tally.refused += 1,
                Fate::Failed => tally.failed += 1,
                Fate::Open | Fate::Unanswered => tally.unanswered += 1,
            }
        }
        let mut keys = self.keys();
        let (object, tags) = match pending.tags {
            Some(tags) => (Some(pending.id), tags),
            None => (None, pending.id),
        };
        let (generation, at) = keys.closed;
        let ended = object.map(|id| {
            let register = keys.object(&pending.key);
            let ended = register.end(id, fate, now);
            register.close(generation, at);
            ended
        });
        let register = keys.tags(&pending.key);
        let tags = register.end(tags, fate, now);
        register.close(generation, at);
        drop(keys);
        for wrong in [ended, Some(tags)].into_iter().flatten() {
            self.judge(&pending.key, "a write that was seen is refused", wrong);
        }
    }

    /// Judges a conditional write that was done although nothing may have stood there.
    pub(crate) fn was_first(&self, pending: &Pending) {
        let now = self.now();
        let was_absent =
            (self.keys().object(&pending.key)).was_absent(Some(pending.id), pending.begun, now);
        if !was_absent {
            let text = "If-None-Match held although there was an object";
            self.judge(&pending.key, text, Err(Wrong::Lost));
        }
    }

    /// Judges a conditional write that was done because this value stood there.
    pub(crate) fn replaced(&self, pending: &Pending, value: Value) {
        let now = self.now();
        let stood = self.keys().object(&pending.key).stood(
            |write| write.value == value,
            Some(pending.id),
            pending.begun,
            now,
        );
        if !stood {
            let text = "If-Match held although there was another object";
            self.judge(&pending.key, text, Err(Wrong::Lost));
        }
    }

    /// Judges that a key held an object that a refusal speaks of.
    pub(crate) fn was_there(&self, pending: &Pending) {
        let now = self.now();
        let stood = self.keys().object(&pending.key).stood(
            |write| write.value != Value::Absent,
            Some(pending.id),
            pending.begun,
            now,
        );
        if !stood {
            let text = "If-None-Match failed although there was nothing";
            self.judge(&pending.key, text, Err(Wrong::Refused));
        }
    }

    /// Judges what a read has shown; `from` is when it began. Returns the value.
    pub(crate) fn read(&self, how: &str, key: &str, bytes: Option<&[u8]>, from: Moment) -> Value {
        let value = bytes.map_or(Value::Absent, |bytes| Value::Bytes(digest(bytes)));
        let now = self.now();
        self.tally().reads += 1;
        let verdict = self.keys().object(key).read(value, from, now);
        let len = bytes.map_or("nothing".to_owned(), |bytes| {
            format!("{} bytes", bytes.len())
        });
        self.judge(
            key,
            &format!("{how} from {from} to {now} shows {len}"),
            verdict,
        );
        value
    }

    /// Judges what a read has shown beside the bytes.
    pub(crate) fn beside(&self, key: &str, value: Value, mark: Option<&str>, from: Moment) {
        let now = self.now();
        let verdict = self.keys().object(key).beside(value, mark, from, now);
        self.judge(key, &format!("metadata {mark:?}"), verdict);
    }

    /// Judges the tags that were read.
    pub(crate) fn read_tags(&self, key: &str, tags: Option<&str>, from: Moment) {
        let value = tags.map_or(Value::Absent, |tags| Value::Bytes(digest(tags.as_bytes())));
        let now = self.now();
        self.tally().reads += 1;
        let verdict = self.keys().tags(key).read(value, from, now);
        if verdict.is_err() {
            let history = self.keys().tags(key).history();
            self.tell(kind(verdict), format!("tags {tags:?} of {key}\n{history}"));
        }
    }

    /// Judges part of an object: `bytes` from `first` on, of an object of `len` bytes. What the gateway cannot check is counted
    /// apart.
    pub(crate) fn range(&self, key: &str, first: u64, len: u64, bytes: &[u8], from: Moment) {
        let now = self.now();
        self.tally().reads += 1;
        let contents = self.keys().object(key).contents(from, now);
        let start = usize::try_from(first).unwrap_or(usize::MAX);
        let is_part = |content: &Content| {
            content.len() == len && content.bytes().get(start..start + bytes.len()) == Some(bytes)
        };
        if !contents.iter().any(|content| is_part(content)) {
            let wrong = self.keys().object(key).explain_part(len, is_part);
            if wrong == Wrong::Foreign && len > CHECKED_BYTES {
                self.tally().unchecked += 1;
                return;
            }
            let text = format!(
                "{} bytes at {first} of {len} from {from} to {now}",
                bytes.len()
            );
            self.judge(key, &text, Err(wrong));
        }
    }

    /// Judges what is told of an object without its bytes: its size, or that there is none.
    pub(crate) fn told(&self, how: &str, key: &str, len: Option<u64>, from: Moment) {
        let now = self.now();
        let mut keys = self.keys();
        let register = keys.object(key);
        let is_right = match len {
            None => register.was_absent(None, from, now),
            Some(len) => register.stood_with(len, from, now),
        };
        drop(keys);
        if !is_right {
            let text = format!("{how} from {from} to {now} tells {len:?} bytes");
            self.judge(key, &text, Err(Wrong::Lost));
        }
    }

    /// Judges a whole listing below a prefix: names and sizes in their order.
    pub(crate) fn listing(&self, prefix: &str, listed: &[(String, u64)], from: Moment) {
        if let Some(pair) = listed.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
            let text = format!("{} is listed before {}", pair[0].0, pair[1].0);
            self.tell(Fault::Disorder, text);
        }
        for (key, len) in listed {
            self.told("a listing", key, Some(*len), from);
        }
        for key in self.names() {
            if key.starts_with(prefix) && !listed.iter().any(|(listed, _)| *listed == key) {
                self.told("a listing", &key, None, from);
            }
        }
    }

    /// Returns all keys that were ever written.
    pub(crate) fn names(&self) -> Vec<String> {
        self.keys().objects.keys().cloned().collect()
    }

    /// Reports whether nothing is under way on a key, nor may still take effect.
    pub(crate) fn is_settled(&self, key: &str) -> bool {
        self.keys().object(key).is_settled()
    }

    /// Returns how to make the bytes of a value again.
    pub(crate) fn content(&self, key: &str, value: Value) -> Option<Arc<Content>> {
        self.keys().object(key).content(value)
    }

    /// Notes that all processes up to this one are over since a moment.
    pub(crate) fn close(&self, generation: u32, at: Moment) {
        let mut keys = self.keys();
        keys.closed = (generation, at);
        let Keys { objects, tags, .. } = &mut *keys;
        for register in objects.values_mut().chain(tags.values_mut()) {
            register.close(generation, at);
        }
    }

    /// Counts an operation that took from `from` until now.
    pub(crate) fn operation(&self, name: &'static str, from: Moment, has_failed: bool) {
        let took = (self.now() - from) / 1000;
        let mut tally = self.tally();
        tally.operations += 1;
        let entry = tally.by_name.entry(name).or_default();
        entry.0 += 1;
        entry.1 += u64::from(has_failed);
        entry.2 = entry.2.max(took);
    }

    pub(crate) fn killed(&self) {
        self.tally().kills += 1;
    }

    /// Notes a finding.
    pub(crate) fn tell(&self, fault: Fault, text: impl fmt::Display) {
        let mut tally = self.tally();
        *tally.faults.entry(fault).or_default() += 1;
        if tally.told.len() < TOLD {
            let text = format!("{fault:?}: {text}");
            eprintln!("{text}");
            tally.told.push(text);
        }
    }

    pub(crate) fn result(&self) -> Tally {
        self.tally().clone()
    }

    fn judge(&self, key: &str, what: &str, verdict: Result<(), Wrong>) {
        if verdict.is_err() {
            let history = self.keys().object(key).history();
            self.tell(
                kind(verdict),
                format!("{key}: {what} ({verdict:?})\n{history}"),
            );
        }
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap()
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap()
    }
}

fn kind(verdict: Result<(), Wrong>) -> Fault {
    match verdict {
        Ok(()) | Err(Wrong::Lost) => Fault::Lost,
        Err(Wrong::Refused) => Fault::False,
        Err(Wrong::Foreign | Wrong::Beside) => Fault::Corrupt,
    }
}

fn micros(time: Duration) -> Moment {
    Moment::try_from(time.as_micros()).unwrap_or(Moment::MAX)
}
