//! Uploads of xorbs that were granted and are not committed yet.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use xet_core_structures::merklehash::MerkleHash;

use super::store::XorbReceiver;

/// Grants that are kept at most; the oldest ones are forgotten first.
const MAX_GRANTS: usize = 1024;

/// What a grant allows to be uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) xorb: MerkleHash,
    pub(crate) length: u64,
    pub(crate) crc64: u64,
}

#[derive(Default)]
struct Pending {
    granted: HashMap<String, (u64, Granted, Option<XorbReceiver>)>,
    next: u64,
}

/// All open grants, by id.
#[derive(Default)]
pub(crate) struct Grants(Mutex<Pending>);

impl std::fmt::Debug for Grants {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Grants")
    }
}

impl Grants {
    /// Opens a grant and returns its id.
    pub(crate) fn open(&self, granted: Granted) -> String {
        let id = hex::encode(rand::random::<[u8; 16]>());
        let mut pending = self.lock();
        if pending.granted.len() >= MAX_GRANTS {
            let oldest = (pending.granted.iter())
                .min_by_key(|(_, (number, ..))| *number)
                .map(|(id, _)| id.clone());
            if let Some(oldest) = oldest {
                pending.granted.remove(&oldest);
            }
        }
        let number = pending.next;
        pending.next += 1;
        pending.granted.insert(id.clone(), (number, granted, None));
        id
    }

    /// Returns what a grant allows, and whether it was used already.
    pub(crate) fn find(&self, id: &str) -> Option<(Granted, bool)> {
        let pending = self.lock();
        let (_, granted, staged) = pending.granted.get(id)?;
        Some((*granted, staged.is_some()))
    }

    /// Keeps what was uploaded through a grant.
    pub(crate) fn stage(&self, id: &str, received: XorbReceiver) {
        if let Some((_, _, staged)) = self.lock().granted.get_mut(id) {
            *staged = Some(received);
        }
    }

    /// Takes what was uploaded through a grant for `xorb`, and closes the grant.
    pub(crate) fn take(&self, id: &str, xorb: &MerkleHash) -> Option<XorbReceiver> {
        let mut pending = self.lock();
        let (_, granted, staged) = pending.granted.get(id)?;
        if granted.xorb != *xorb || staged.is_none() {
            return None;
        }
        pending.granted.remove(id).and_then(|(_, _, staged)| staged)
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
