//! What a session shares with the backend of its engine.

use crate::ftp::conduit::Conduit;
use crate::ftp::gate::Gate;
use crate::ftp::refusal::RefusalSlot;

/// One set for every engine; replaced together with it, so that an upload of an engine that was cut finds its gate shut for
/// ever. A cheap clone.
#[derive(Debug, Clone)]
pub(super) struct Links {
    /// Lets uploads pass.
    pub(super) gate: Gate,
    /// Where the reasons of refusals lie.
    pub(super) refusals: RefusalSlot,
    /// Where the bytes of files pass.
    pub(super) conduit: Conduit,
}

impl Links {
    /// Creates a set of its own for an engine: the gate is shut, and nothing is under way.
    pub(super) fn new() -> Self {
        Self {
            gate: Gate::new(),
            refusals: RefusalSlot::default(),
            conduit: Conduit::default(),
        }
    }
}
