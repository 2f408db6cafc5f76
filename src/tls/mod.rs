//! The server's certificate: read from two files, offered to listeners, and renewed while they run.
//!
//! A listener asks a [`Certificate`] for a configuration with the protocols that it speaks; all of them follow the files.
//! Kubernetes renews a mounted secret by swapping a symbolic link, and other tools write in place, so the files are simply
//! read again every few seconds and compared: they are small, and no watcher of the file system sees both.
//!
//! | file | holds |
//! |---|---|
//! | `certificate` | the pair, and what listeners get of it |
//! | `renewal` | the task that looks after the files |

mod certificate;
mod renewal;

pub use certificate::{Certificate, PemFiles, Renewal, TlsError};
pub use renewal::keep_fresh;
