//! What a client of FTP does all day.

use std::io;
use std::sync::Arc;

use crate::content::Content;
use crate::dice::Dice;
use crate::ftp::{Ending, Session};
use crate::ledger::Fault;
use crate::register::{Fate, Value};
use crate::stand::{Address, BUCKET, DEADLINE};
use crate::world::{World, shared_key};

/// A kind of operation.
#[derive(Debug, Clone, Copy)]
enum Work {
    Store,
    StoreThenRetrieve,
    Append,
    Retrieve,
    Rename,
    Delete,
    Abort,
    Reset,
    Quit,
}

/// How often each is done.
const WORK: &[(u64, Work)] = &[
    (10, Work::Store),
    (8, Work::StoreThenRetrieve),
    (6, Work::Append),
    (12, Work::Retrieve),
    (6, Work::Rename),
    (4, Work::Delete),
    (4, Work::Abort),
    (3, Work::Reset),
    (2, Work::Quit),
];

/// A client.
pub(crate) struct Worker {
    world: Arc<World>,
    number: u64,
    dice: Dice,
    session: Option<(u32, Session)>,
}

impl Worker {
    pub(crate) fn new(world: Arc<World>, number: u64) -> Self {
        Self {
            dice: Dice::of(world.seed, 1000 + number),
            world,
            number,
            session: None,
        }
    }

    /// Works until the time is over, and ends with a write that nobody replaces.
    pub(crate) async fn work(mut self) {
        while self.world.goes_on() {
            self.world.stand.is_up().await;
            match self.dice.weighted(WORK) {
                Work::Store => {
                    let key = self.any_key();
                    self.store(&key).await;
                }
                Work::StoreThenRetrieve => {
                    let key = self.own_key();
                    self.store(&key).await;
                    self.retrieve(&key).await;
                }
                Work::Append => self.append().await,
                Work::Retrieve => {
                    let key = self.any_key();
                    self.retrieve(&key).await;
                }
                Work::Rename => self.rename().await,
                Work::Delete => self.delete().await,
                Work::Abort => self.break_off(Ending::Abort).await,
                Work::Reset => self.break_off(Ending::Reset).await,
                Work::Quit => self.quit().await,
            }
        }
        let key = format!("end/f{}", self.number);
        while self.store(&key).await != Fate::Done && self.world.has_time() {
            self.world.stand.is_up().await;
        }
        self.quit().await;
    }

    fn own_key(&mut self) -> String {
        format!("own/f{}/k{}", self.number, self.dice.below(4))
    }

    fn any_key(&mut self) -> String {
        match self.dice.below(2) {
            0 => self.own_key(),
            _ => shared_key(&mut self.dice),
        }
    }

    async fn store(&mut self, key: &str) -> Fate {
        let content = Content::draw(&mut self.dice);
        let address = self.world.stand.address();
        let pending = (self.world.ledger).begin(key, Some(&content), None, address.generation);
        let command = format!("STOR {}", path(key));
        let bytes = content.bytes();
        let done = self.within("STOR", key, &address, async |session| {
            session.upload(&command, &bytes, Ending::Whole).await
        });
        let done = done.await;
        let fate = self.fate("STOR", key, &done, &[]);
        self.world.ledger.end(&pending, fate);
        self.world.operation("STOR", &pending, fate);
        fate
    }

    /// Begins to store something, and breaks off.
    async fn break_off(&mut self, ending: Ending) {
        let key = self.any_key();
        let content = Content::of(self.dice.next(), 2 + self.dice.index(300_000));
        let address = self.world.stand.address();
        let pending = (self.world.ledger).begin(&key, Some(&content), None, address.generation);
        let command = format!("STOR {}", path(&key));
        let bytes = content.bytes();
        let done = self.within("break off", &key, &address, async |session| {
            session.upload(&command, &bytes, ending).await
        });
        let code = done.await;
        if matches!(code, Ok(226 | 250)) {
            let text = format!("{key}: an upload that was broken off is acknowledged ({ending:?})");
            self.world.ledger.tell(Fault::False, text);
        }
        self.world.ledger.end(&pending, Fate::Refused);
        (self.world).operation("break off", &pending, Fate::Refused);
    }

    /// Reads a file, and returns what it holds if that is known.
    async fn retrieve(&mut self, key: &str) -> Option<Value> {
        let address = self.world.stand.address();
        let from = self.world.ledger.now();
        let path = path(key);
        let done = self.within("RETR", key, &address, async |session| {
            session.download(&path).await
        });
        let done = done.await;
        let ledger = &self.world.ledger;
        let has_failed = !matches!(done, Ok((Some(_), _) | (None, 550)));
        ledger.operation("RETR", from, has_failed);
        match done {
            Ok((Some(bytes), _)) => Some(ledger.read("RETR", key, Some(&bytes), from)),
            Ok((None, 550)) => Some(ledger.read("RETR", key, None, from)),
            Ok((None, code)) if code >= 500 => {
                ledger.tell(Fault::Refused, format!("RETR of {key}: {code}"));
                None
            }
            _ => None,
        }
    }

    /// Reads one of this client's own files, which nobody else writes, and returns what it holds from now on.
    async fn settled(&mut self, key: &str) -> Option<Value> {
        if !self.world.ledger.is_settled(key) {
            return None;
        }
        self.retrieve(key).await
    }

    async fn append(&mut self) {
        let key = self.own_key();
        let Some(before) = self.settled(&key).await else {
            return;
        };
        let new = Content::of(self.dice.next(), self.dice.index(100_000));
        let content = match (before, self.world.ledger.content(&key, before)) {
            (Value::Absent, _) => new.clone(),
            (Value::Bytes(_), Some(old)) => old.then(&new),
            (Value::Bytes(_), None) => return,
        };
        let address = self.world.stand.address();
        let pending = (self.world.ledger).begin(&key, Some(&content), None, address.generation);
        let command = format!("APPE {}", path(&key));
        let bytes = new.bytes();
        let done = self.within("APPE", &key, &address, async |session| {
            session.upload(&command, &bytes, Ending::Whole).await
        });
        let done = done.await;
        let fate = self.fate("APPE", &key, &done, &[]);
        self.world.ledger.end(&pending, fate);
        self.world.operation("APPE", &pending, fate);
    }

    async fn rename(&mut self) {
        let (from, to) = (self.own_key(), shared_key(&mut self.dice));
        let Some(before) = self.settled(&from).await else {
            return;
        };
        let Some(content) = self.world.ledger.content(&from, before) else {
            return;
        };
        let address = self.world.stand.address();
        let ledger = &self.world.ledger;
        let arrival = ledger.begin(&to, Some(&content), None, address.generation);
        let departure = ledger.begin(&from, None, None, address.generation);
        let (rnfr, rnto) = (
            format!("RNFR {}", path(&from)),
            format!("RNTO {}", path(&to)),
        );
        let done = self.within("rename", &from, &address, async |session| {
            match session.command(&rnfr).await? {
                350 => session.command(&rnto).await,
                // Nothing was asked for yet.
                code => Ok(code),
            }
        });
        let done = done.await;
        let fate = self.fate("rename", &from, &done, &[]);
        for pending in [&arrival, &departure] {
            self.world.ledger.end(pending, fate);
        }
        self.world.operation("rename", &arrival, fate);
    }

    async fn delete(&mut self) {
        let key = self.any_key();
        let address = self.world.stand.address();
        let from = self.world.ledger.now();
        let pending = (self.world.ledger).begin(&key, None, None, address.generation);
        let command = format!("DELE {}", path(&key));
        let done = self.within("DELE", &key, &address, async |session| {
            session.command(&command).await
        });
        let done = done.await;
        let is_missing = matches!(done, Ok(550));
        let fate = self.fate("DELE", &key, &done, &[550]);
        self.world.ledger.end(&pending, fate);
        self.world.operation("DELE", &pending, fate);
        if is_missing {
            self.world.ledger.told("DELE", &key, None, from);
        }
    }

    async fn quit(&mut self) {
        if let Some((_, mut session)) = self.session.take() {
            let _ = tokio::time::timeout(DEADLINE, session.command("QUIT")).await;
        }
    }

    /// Does something with a session, a fresh one if need be. A session that has failed is not used again.
    async fn within<T>(
        &mut self,
        name: &str,
        key: &str,
        address: &Address,
        work: impl AsyncFnOnce(&mut Session) -> io::Result<T>,
    ) -> io::Result<T> {
        let kept = self.session.take();
        let done = async {
            let mut session = match kept {
                Some((generation, session)) if generation == address.generation => session,
                _ => Session::open(&address.ftp).await?,
            };
            let done = work(&mut session).await?;
            Ok((session, done))
        };
        match tokio::time::timeout(DEADLINE, done).await {
            Ok(Ok((session, done))) => {
                self.session = Some((address.generation, session));
                Ok(done)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => {
                let text = format!("{name} of {key}");
                self.world.ledger.tell(Fault::Hung, text);
                Err(io::ErrorKind::TimedOut.into())
            }
        }
    }

    /// Returns what a reply says of a write. Refusals for good must be `expected`.
    fn fate(&self, name: &str, key: &str, done: &io::Result<u16>, expected: &[u16]) -> Fate {
        match *done {
            Ok(200..300) => Fate::Done,
            Ok(code @ 500..) => {
                if !expected.contains(&code) {
                    let text = format!("{name} of {key}: {code}");
                    self.world.ledger.tell(Fault::Refused, text);
                }
                Fate::Refused
            }
            Ok(_) => Fate::Failed,
            Err(_) => Fate::Unanswered,
        }
    }
}

fn path(key: &str) -> String {
    format!("/{BUCKET}/{key}")
}
