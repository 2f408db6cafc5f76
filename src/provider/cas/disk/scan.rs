//! Looking through the directory: at start, and again and again, since others may share it.

use std::fs::{self, Metadata};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::provider::cas::disk::extent::{Extent, prefix_dir, temporary_dir};
use crate::provider::cas::disk::format::head_bytes;
use crate::provider::cas::disk::index::Found;

/// A temporary file of this age has no writer any more: writing one takes seconds.
const ABANDONED_AFTER: Duration = Duration::from_secs(600);

/// Returns the files of one directory. Those that are too short for what they are called are removed; those with names of
/// others are left alone.
pub(super) fn prefix(dir: &Path, prefix: u16) -> io::Result<Vec<Found>> {
    let entries = match fs::read_dir(prefix_dir(dir, prefix)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let Some(extent) = name.to_str().and_then(Extent::of_name) else {
            continue;
        };
        // Somebody may have removed it since.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        if extent.prefix() != prefix || metadata.len() <= head_bytes(extent.count()) {
            let _ = fs::remove_file(entry.path());
            continue;
        }
        found.push(Found {
            extent,
            len_bytes: metadata.len(),
            stamped_at_ms: modified_ms(&metadata),
        });
    }
    Ok(found)
}

/// Removes what writers left behind that were killed.
pub(super) fn sweep(dir: &Path) {
    let Ok(entries) = fs::read_dir(temporary_dir(dir)) else {
        return;
    };
    for entry in entries.flatten() {
        let age = entry
            .metadata()
            .and_then(|metadata| metadata.modified())
            .map(|modified| SystemTime::now().duration_since(modified));
        if matches!(age, Ok(Ok(age)) if age > ABANDONED_AFTER) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn modified_ms(metadata: &Metadata) -> u64 {
    let modified = metadata.modified().unwrap_or(UNIX_EPOCH);
    let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
