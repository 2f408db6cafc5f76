//! What all clients share: the stand, the ledger, the clock, and the keys.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::content::Content;
use crate::dice::Dice;
use crate::ledger::{Fault, Ledger, Pending};
use crate::register::Fate;
use crate::s3::{Answer, Gone};
use crate::stand::Stand;

/// Objects that copies are made of.
pub(crate) const SOURCES: u64 = 3;

/// How a mark begins: metadata that tells whose bytes it lies beside.
pub(crate) const MARK: &str = "mark-";

/// How long the last writes of all may be tried.
const LAST_WORDS: Duration = Duration::from_secs(120);

pub(crate) struct World {
    pub(crate) stand: Arc<Stand>,
    pub(crate) ledger: Ledger,
    pub(crate) seed: u64,
    pub(crate) until: Instant,
}

impl World {
    pub(crate) fn goes_on(&self) -> bool {
        Instant::now() < self.until
    }

    /// Reports whether there is still time for last words.
    pub(crate) fn has_time(&self) -> bool {
        Instant::now() < self.until + LAST_WORDS
    }

    /// Returns what an answer says of a write. Refusals must be `expected`.
    pub(crate) fn fate(
        &self,
        name: &str,
        key: &str,
        answer: &Result<Answer, Gone>,
        expected: &[u16],
    ) -> Fate {
        match answer {
            Ok(answer) if answer.is_success() => {
                // An answer that takes long begins with 200, and may still tell of a failure.
                let may_fail = ["copy", "complete upload"].contains(&name);
                match may_fail && answer.element("Error").is_some() {
                    true => Fate::Failed,
                    false => Fate::Done,
                }
            }
            Ok(answer) if (400..500).contains(&answer.status) => {
                if !expected.contains(&answer.status) {
                    let text = format!("{name} of {key}: {} {}", answer.status, answer.text());
                    self.ledger.tell(Fault::Refused, text);
                }
                Fate::Refused
            }
            Ok(_) => Fate::Failed,
            Err(Gone::Late) => {
                self.ledger.tell(Fault::Hung, format!("{name} of {key}"));
                Fate::Unanswered
            }
            Err(Gone::Broken) => Fate::Unanswered,
        }
    }

    /// Counts a write.
    pub(crate) fn operation(&self, name: &'static str, pending: &Pending, fate: Fate) {
        let has_failed = matches!(fate, Fate::Failed | Fate::Unanswered);
        self.ledger.operation(name, pending.begun(), has_failed);
    }
}

/// Returns one of the keys that all clients use.
pub(crate) fn shared_key(dice: &mut Dice) -> String {
    format!("shared/d{}/k{}", dice.below(3), dice.below(5))
}

pub(crate) fn source_key(number: u64) -> String {
    format!("source/s{number}")
}

pub(crate) fn source_mark(number: u64) -> String {
    format!("{MARK}source-{number}")
}

pub(crate) fn source_content(number: u64) -> Content {
    Content::of(!number, 10 << (8 * number))
}
