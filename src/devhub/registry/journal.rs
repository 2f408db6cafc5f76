//! The journal: one JSON line for each change, appended with one write.
//!
//! A process that dies leaves whole lines and at most one cut line at the end, which is dropped at the next start; its
//! change was never acknowledged. A journal that is mostly history is rewritten at the start.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::State;
use super::bucket::{BucketKey, Change};

/// Changes of files below which history is never rewritten.
const SMALL_HISTORY: usize = 10_000;
/// Files in one line of a rewritten journal.
const FILES_PER_LINE: usize = 1000;

/// A change of the registry. Times are unix milliseconds.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Event {
    Created {
        bucket: BucketKey,
        id: String,
        private: bool,
        at: i64,
    },
    Deleted {
        bucket: BucketKey,
    },
    Visibility {
        bucket: BucketKey,
        private: bool,
        at: i64,
    },
    Renamed {
        from: BucketKey,
        to: BucketKey,
        at: i64,
    },
    Files {
        bucket: BucketKey,
        at: i64,
        changes: Vec<Change>,
    },
}

/// The open end of the journal.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
}

impl Journal {
    /// Replays the journal into `state` and opens it for appending.
    pub(super) fn open(path: &Path, state: &mut State) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)?;
        let (whole, changes) = replay(BufReader::new(&file), state)?;
        file.set_len(whole)?;
        let files: usize = state
            .buckets
            .values()
            .map(|bucket| bucket.files.len())
            .sum();
        if changes < SMALL_HISTORY.max(4 * files) {
            return Ok(Self { file });
        }
        rewrite(path, state)?;
        let file = OpenOptions::new().append(true).open(path)?;
        Ok(Self { file })
    }

    pub(super) fn append(&mut self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        self.file.write_all(&line)
    }
}

/// Applies whole lines. Returns their length and the number of changes of files in them.
fn replay(mut reader: impl BufRead, state: &mut State) -> io::Result<(u64, usize)> {
    let (mut whole, mut changes) = (0, 0);
    let mut line = Vec::new();
    loop {
        line.clear();
        let len = reader.read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            return Ok((whole, changes));
        }
        let event: Event = serde_json::from_slice(&line)?;
        if let Event::Files { changes: some, .. } = &event {
            changes += some.len();
        }
        state.apply(event);
        whole += len as u64;
    }
}

/// Replaces the journal by one that only says what is the case now.
fn rewrite(path: &Path, state: &State) -> io::Result<()> {
    let draft = path.with_extension("draft");
    let mut writer = BufWriter::new(File::create(&draft)?);
    for (key, bucket) in &state.buckets {
        write_line(
            &mut writer,
            &Event::Created {
                bucket: key.clone(),
                id: bucket.id.clone(),
                private: bucket.private,
                at: bucket.created_at,
            },
        )?;
        let mut files = bucket.files.iter().peekable();
        while files.peek().is_some() {
            let changes = (files.by_ref().take(FILES_PER_LINE))
                .map(|(path, file)| Change::Put {
                    path: path.clone(),
                    file: file.clone(),
                })
                .collect();
            let (bucket, at) = (key.clone(), bucket.updated_at);
            write_line(
                &mut writer,
                &Event::Files {
                    bucket,
                    at,
                    changes,
                },
            )?;
        }
    }
    writer.flush()?;
    drop(writer);
    std::fs::rename(draft, path)
}

fn write_line(writer: &mut impl Write, event: &Event) -> io::Result<()> {
    serde_json::to_writer(&mut *writer, event)?;
    writer.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::super::{FileEntry, Registry};
    use super::*;

    #[test]
    fn a_journal_that_is_mostly_history_is_rewritten_and_says_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let key = BucketKey::new("me", "bucket");
        let registry = Registry::open(&path).unwrap();
        registry.create(&key, false).unwrap();
        let file = FileEntry {
            hash: "0".repeat(64),
            size: 0,
            mtime: None,
            uploaded_at: 5,
            content_type: Some("text/plain".into()),
        };
        let put = Change::Put {
            path: "same".into(),
            file: file.clone(),
        };
        for _ in 0..11 {
            registry.commit(&key, vec![put.clone(); 1000]).unwrap();
        }
        drop(registry);
        let before = std::fs::metadata(&path).unwrap().len();
        let registry = Registry::open(&path).unwrap();
        let after = std::fs::metadata(&path).unwrap().len();
        assert!(after * 100 < before, "{after} of {before} bytes are left");
        let seen = registry.with(&key, |bucket| bucket.files.get("same").cloned());
        assert_eq!(seen, Some(Some(file)));
    }
}
