//! Reading files: a plan for each window of a file, its xorb ranges as streams of chunks, and the windows in order.
//!
//! ```text
//! open ─► Reader ─► Window ─► Planner            which chunks, and where they lie
//!           │         ├─────► XorbCache          chunks that are here already
//!           │         ├─────► DiskTier           chunks that are on this node's disk
//!           │         ├─────► RangeReader        one ranged GET ─► ChunkDecoder
//!           │         ├─────► SharedFetches      ranged GETs that others follow too
//!           │         └─────► Delivery           which bytes of the chunks are wanted
//!           ├─ Depth, Verifier                   how far to look ahead; whether the whole is what was asked for
//!           └─ Starts                            who waits for a first byte goes before who has it
//!  Part reads the whole of a small file for a part of it, so that this is verified too
//! ```
//! A window is a task that fills a buffer of bounded bytes; the reader empties the buffers in the order of the file.

mod buffer;
mod delivery;
mod depth;
#[cfg(test)]
mod disk_tests;
#[cfg(test)]
mod fake_cas;
mod fault;
mod open;
mod part;
mod range_reader;
mod reader;
mod shared_fetch;
mod starts;
#[cfg(test)]
mod tests;
mod verifier;
mod window;

pub(super) use open::DownloadState;
pub use open::FileRef;
