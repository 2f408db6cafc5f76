//! The disk tier of the xorb cache: decoded chunks in files, below the memory cache and above the network.
//!
//! ```text
//! Window ─► find ─► Index          is the whole run here?
//!    │        └───► DiskRun ─► format   read, and checked chunk by chunk
//!    └────► Spill ─► Keeper        one thread: writes, evicts, scans
//! ```
//! # Behaviour
//! - A file holds a run of consecutive chunks of one xorb, and the hash of each. What does not match its hash, its name, or
//!   its length is a miss, and the file is removed: it is never served.
//! - Only plans that the CAS has given to an authorised caller lead to a file; there is no listing of what is here. The
//!   files are readable for their owner only.
//! - Files appear by rename, so a process that is killed leaves nothing but a temporary file, which is swept later. They are
//!   not synchronised to the device: what a power failure leaves of one is found out by its hashes.
//! - Several processes may share a directory. Each sees what others wrote or removed at its next scan, so all together may
//!   exceed the bound by what they wrote since; a file that somebody else removed is a miss.
//! - The least recently read files go first. The time of the last reading is the file's own, to the nearest ten minutes, so
//!   it outlives restarts and is known to all.
//! - Writing is best effort: what does not fit into a small budget of memory, because the disk is slower than the network, is
//!   not kept. No reader ever waits for it.
//! - A directory that cannot be written, a full disk, and a disk that does not answer cost one warning; reads go on without.
//!
//! # Why not a library
//! foyer, the hybrid cache that would come closest, gives its device to one process, which manages regions of it by itself:
//! two pods on a node could not share a directory, and a foreign change is damage to it. It also has an in-memory tier of
//! its own, where this one must admit reads by rules that know files and plans. Files by content need neither a journal nor
//! recovery, and the check they need exists already: the hash of a chunk, which a verified read computes anyway.

mod extent;
mod format;
mod health;
mod index;
mod keeper;
mod read;
mod scan;
mod spill;
mod tier;

#[cfg(test)]
mod tests;

pub(super) use read::DiskRun;
pub(super) use spill::Spill;
pub use tier::DiskConfig;
pub(super) use tier::DiskTier;
