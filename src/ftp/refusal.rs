//! Why the backend refused, in FTP's words: what the engine's fixed sentences leave out.

use std::sync::{Arc, Mutex, PoisonError};

/// A negative reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The three digits.
    pub(super) code: u16,
    /// One line without the code and the line end; names what was refused and why, never a secret.
    pub(super) text: String,
}

/// Where the backend leaves the reason of a refusal for its session.
///
/// The engine knows a dozen kinds of errors with one sentence each, and turns some into others on its way. The backend
/// therefore leaves the true code and text here whenever it returns an error, and the session puts them into the reply
/// that follows. A cheap clone; one for every engine.
#[derive(Debug, Clone, Default)]
pub(super) struct RefusalSlot(Arc<Mutex<Option<Refusal>>>);

impl RefusalSlot {
    /// Leaves a reason; it replaces an earlier one.
    pub(super) fn leave(&self, refusal: Refusal) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
    }

    /// Takes the reason, if one was left.
    pub(super) fn take(&self) -> Option<Refusal> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slot.take()
    }
}
