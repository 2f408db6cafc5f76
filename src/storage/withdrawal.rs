//! Taking back a write that nobody waits for any more, because its caller was told that it failed.

use std::sync::{Arc, Mutex, PoisonError};

/// Whether a write may still take its place among the others. Clones are one.
///
/// A write outlives its caller, which is right for one that has left without an answer. But whoever was told that a write
/// failed may write again, and the earlier write must not come after the later one. So a layer that gives a write up
/// withdraws it, and whoever carries it out takes its place in the line of its key only if it was not withdrawn: from then
/// on later writes of the key come after it anyway.
#[derive(Debug, Clone, Default)]
pub struct Withdrawal(Arc<Mutex<bool>>);

impl Withdrawal {
    /// Withdraws the write: after this, it takes no place any more.
    pub fn withdraw(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// Has the write take its place, unless it is withdrawn; a withdrawal waits for the end of that. Reports whether it did.
    pub fn unless_withdrawn(&self, take_place: impl FnOnce()) -> bool {
        let is_withdrawn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !*is_withdrawn {
            take_place();
        }
        !*is_withdrawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_withdrawn_takes_no_place_and_what_has_one_keeps_it() {
        let withdrawal = Withdrawal::default();
        let mut places = 0;
        assert!(withdrawal.unless_withdrawn(|| places += 1));
        withdrawal.clone().withdraw();
        assert!(!withdrawal.unless_withdrawn(|| places += 1));
        assert_eq!(places, 1);
    }
}
