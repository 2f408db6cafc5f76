//! Xorbs on disk, one file each, with their footers cached.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use moka::sync::Cache;
use xet_core_structures::merklehash::MerkleHash;
use xet_core_structures::xorb_object::XorbObject;

use super::receiver::{XorbReceiver, XorbRefused};
use crate::devhub::config::DevHubError;

/// Bytes of footers kept in memory: those of about 90 GiB of xorbs with chunks of 64 KiB.
const FOOTER_CACHE_BYTES: u64 = 64 << 20;

/// All stored xorbs.
#[derive(Debug)]
pub(crate) struct Xorbs {
    dir: PathBuf,
    incoming: PathBuf,
    next_incoming: AtomicU64,
    footers: Cache<[u8; 32], Arc<XorbObject>>,
}

impl Xorbs {
    pub(super) fn open(dir: &Path) -> Result<Self, DevHubError> {
        let incoming = dir.join("incoming");
        if incoming.exists() {
            // Left by a process that died while receiving.
            std::fs::remove_dir_all(&incoming)?;
        }
        std::fs::create_dir_all(&incoming)?;
        Ok(Self {
            dir: dir.join("xorbs"),
            incoming,
            next_incoming: AtomicU64::new(0),
            footers: Cache::builder()
                .max_capacity(FOOTER_CACHE_BYTES)
                .weigher(|_, xorb: &Arc<XorbObject>| xorb.info_length)
                .build(),
        })
    }

    /// Starts to take in a xorb.
    pub(crate) fn receive(&self) -> io::Result<XorbReceiver> {
        let number = self.next_incoming.fetch_add(1, Ordering::Relaxed);
        XorbReceiver::create(self.incoming.join(number.to_string()))
    }

    /// Stores what was received as the xorb `hash`. Returns false when it was stored already.
    pub(crate) fn store(
        &self,
        mut received: XorbReceiver,
        hash: &MerkleHash,
    ) -> Result<bool, XorbRefused> {
        let object = received.finish(hash)?;
        if self.contains(hash) {
            return Ok(false);
        }
        let path = self.path(hash);
        if let Some(shelf) = path.parent() {
            std::fs::create_dir_all(shelf)?;
        }
        received.publish(&path)?;
        self.footers.insert(key(hash), Arc::new(object));
        Ok(true)
    }

    /// Reports whether the xorb is stored.
    pub(crate) fn contains(&self, hash: &MerkleHash) -> bool {
        self.footers.contains_key(&key(hash)) || self.path(hash).exists()
    }

    /// Returns the footer: chunk hashes and boundaries. None when the xorb is not stored.
    pub(crate) fn describe(&self, hash: &MerkleHash) -> io::Result<Option<Arc<XorbObject>>> {
        if let Some(known) = self.footers.get(&key(hash)) {
            return Ok(Some(known));
        }
        let Some(file) = self.open_file(hash)? else {
            return Ok(None);
        };
        let object =
            XorbObject::deserialize(&mut BufReader::new(file)).map_err(io::Error::other)?;
        let object = Arc::new(object);
        self.footers.insert(key(hash), object.clone());
        Ok(Some(object))
    }

    /// Opens the stored bytes: the chunks, then the footer. None when the xorb is not stored.
    pub(crate) fn open_file(&self, hash: &MerkleHash) -> io::Result<Option<File>> {
        match File::open(self.path(hash)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn path(&self, hash: &MerkleHash) -> PathBuf {
        let hex = hash.hex();
        self.dir.join(&hex[..2]).join(hex)
    }
}

fn key(hash: &MerkleHash) -> [u8; 32] {
    (*hash).into()
}
