//! Why a window could not go on, by what can be done about it.

use crate::storage::StorageError;

/// A failure below the plan. Clones, since callers that share a fetch share its failure.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// Trying again gives the same.
    Final(StorageError),
    /// The storage refused the address: it has expired, so that a new plan helps.
    Refused(StorageError),
    /// The body ended before its time: the rest can be asked for.
    Cut(StorageError),
    /// A chunk that others had fetched was not kept for long enough: the rest can be asked for.
    Missed,
}

impl From<StorageError> for Fault {
    fn from(error: StorageError) -> Self {
        Self::Final(error)
    }
}

/// How often a window tries again without getting anywhere.
///
/// Every byte delivered starts the count anew: a slow reader of a large object outlives many addresses and connections.
#[derive(Debug, Default)]
pub(super) struct Patience {
    refusals: u32,
    cuts: u32,
}

impl Patience {
    const MAX_REFUSALS: u32 = 1;
    const MAX_CUTS: u32 = 4;

    /// Starts anew after progress.
    pub(super) fn restore(&mut self) {
        *self = Self::default();
    }

    /// Returns the number of attempts that were cut so far, or the error if there is no sense in going on.
    pub(super) fn consider(&mut self, fault: Fault) -> Result<u32, StorageError> {
        let (count, limit, error) = match fault {
            Fault::Final(error) => return Err(error),
            Fault::Missed => return Ok(self.cuts),
            Fault::Refused(error) => (&mut self.refusals, Self::MAX_REFUSALS, error),
            Fault::Cut(error) => (&mut self.cuts, Self::MAX_CUTS, error),
        };
        *count += 1;
        if *count > limit {
            return Err(error);
        }
        Ok(self.cuts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_ends_and_progress_restores_it() {
        let lost = || StorageError::internal("lost");
        let mut patience = Patience::default();
        assert!(patience.consider(Fault::Final(lost())).is_err());
        assert!(patience.consider(Fault::Refused(lost())).is_ok());
        assert!(patience.consider(Fault::Refused(lost())).is_err());
        for _ in 0..4 {
            assert!(patience.consider(Fault::Cut(lost())).is_ok());
        }
        assert!(patience.consider(Fault::Cut(lost())).is_err());
        patience.restore();
        assert!(patience.consider(Fault::Refused(lost())).is_ok());
    }
}
