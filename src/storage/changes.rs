//! What other writers do to buckets, as far as it is told.
//!
//! Whoever learns of changes publishes them here; whoever keeps what changes make stale listens. Neither knows the other.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use time::OffsetDateTime;

use crate::storage::{BucketId, ContentHash, ObjectKey};

/// Something that was told of a bucket.
#[derive(Clone)]
pub enum Notice {
    /// From now on, every change in the bucket is told.
    Connected(BucketId),
    /// From now on, changes in the bucket may be missed.
    Disconnected(BucketId),
    /// Anything in the bucket may have changed.
    Anything(BucketId),
    /// An object was written or deleted.
    Object {
        /// Where.
        bucket: BucketId,
        /// Which.
        key: ObjectKey,
        /// What it is now, if it is anything, and if that is known.
        now: Option<ObjectVersion>,
    },
    /// Something about objects was changed that only the teller can name.
    Objects {
        /// Where.
        bucket: BucketId,
        /// Whether a key is that of one of them.
        are: KeyTest,
    },
}

/// Recognises keys.
pub type KeyTest = Arc<dyn Fn(&ObjectKey) -> bool + Send + Sync>;

/// What tells one write of an object from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectVersion {
    /// Its content.
    pub hash: ContentHash,
    /// When that was registered.
    pub uploaded_at: OffsetDateTime,
}

/// Where changes are told. Clones are the same place.
#[derive(Clone, Default)]
pub struct Changes(Arc<RwLock<Vec<Listener>>>);

type Listener = Box<dyn Fn(&Notice) + Send + Sync>;

impl Changes {
    /// Has `listener` called with every notice from now on, one after the other. It must be quick.
    pub fn listen(&self, listener: impl Fn(&Notice) + Send + Sync + 'static) {
        let mut listeners = self.0.write().unwrap_or_else(PoisonError::into_inner);
        listeners.push(Box::new(listener));
    }

    /// Tells everybody who listens, before it returns.
    pub fn publish(&self, notice: &Notice) {
        let listeners = self.0.read().unwrap_or_else(PoisonError::into_inner);
        for listener in &*listeners {
            listener(notice);
        }
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Changes")
    }
}

impl fmt::Debug for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected(bucket) => write!(f, "Connected({bucket})"),
            Self::Disconnected(bucket) => write!(f, "Disconnected({bucket})"),
            Self::Anything(bucket) => write!(f, "Anything({bucket})"),
            Self::Object { bucket, key, now } => {
                write!(f, "Object({bucket}, {}, {now:?})", key.as_str())
            }
            Self::Objects { bucket, .. } => write!(f, "Objects({bucket})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::storage::{BucketName, Namespace};

    #[test]
    fn all_who_listen_hear_everything_in_order() {
        let bucket = BucketId {
            namespace: Namespace::new("me").unwrap(),
            name: BucketName::new("data").unwrap(),
        };
        let changes = Changes::default();
        let heard = Arc::new(Mutex::new(Vec::new()));
        for listener in 0..2 {
            let heard = heard.clone();
            changes.clone().listen(move |notice| {
                let mut heard = heard.lock().unwrap();
                heard.push((listener, format!("{notice:?}")));
            });
        }
        changes.publish(&Notice::Connected(bucket.clone()));
        changes.publish(&Notice::Anything(bucket));
        let texts = ["Connected(me/data)", "Anything(me/data)"];
        let expected = texts.map(|text| [(0, text.to_owned()), (1, text.to_owned())]);
        assert_eq!(*heard.lock().unwrap(), expected.concat());
    }
}
