//! The configuration file on disk: read, locked against other commands, and replaced in one step.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::app::Failure;
use crate::config::ConfigError;

/// Who may read a file with secrets in it.
const OWNER_ONLY: u32 = 0o600;

/// The file, locked: no other command changes it meanwhile.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    text: String,
    locked: File,
}

/// A file beside the real one, gone when it is dropped.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Store {
    /// Returns the text of the file.
    ///
    /// Errors: it cannot be read.
    pub(super) fn read(path: &Path) -> Result<String, Failure> {
        std::fs::read_to_string(path).map_err(|error| failed("read", path, &error))
    }

    /// Opens the file, or begins one, and waits for its lock.
    ///
    /// Errors: it cannot be opened or read.
    pub(super) fn lock(path: &Path) -> Result<Self, Failure> {
        // A link stays what it is; the file that it names is replaced.
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            let opened = options.mode(OWNER_ONLY).open(&path);
            let mut locked = opened.map_err(|error| failed("open", &path, &error))?;
            locked
                .lock()
                .map_err(|error| failed("lock", &path, &error))?;
            if !is_current(&locked, &path) {
                // Somebody replaced it while this one waited.
                continue;
            }
            let mut text = String::new();
            let read = locked.read_to_string(&mut text);
            read.map_err(|error| failed("read", &path, &error))?;
            return Ok(Self { path, text, locked });
        }
    }

    /// Returns the text of the file.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Replaces the file whole, readable for its owner alone, and gives the lock free.
    ///
    /// Errors: its directory cannot be written. Then the file is what it was.
    pub(super) fn replace(self, text: &str) -> Result<(), Failure> {
        let scratch = scratch(&self.path, text)?;
        let replaced = keep_owner(&self.locked, scratch.path())
            .and_then(|()| std::fs::rename(scratch.path(), &self.path))
            .and_then(|()| sync_directory(&self.path));
        replaced.map_err(|error| failed("replace", &self.path, &error))
    }
}

/// Writes a file beside `path` that its owner alone may read.
///
/// Errors: the directory cannot be written.
pub(super) fn scratch(path: &Path, text: &str) -> Result<Scratch, Failure> {
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let scratch = path.with_file_name(format!(".{name}.{:016x}", rand::random::<u64>()));
    let scratch = Scratch(scratch);
    let write = || -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(OWNER_ONLY)
            .open(scratch.path())?;
        file.write_all(text.as_bytes())?;
        // A mask of the process may have taken more than was asked for.
        file.set_permissions(std::fs::Permissions::from_mode(OWNER_ONLY))?;
        file.sync_all()
    };
    match write() {
        Ok(()) => Ok(scratch),
        Err(error) => Err(failed("write beside", &path, &error)),
    }
}

impl Scratch {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It is gone already if it took the place of the real one.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn is_current(locked: &File, path: &Path) -> bool {
    let (Ok(locked), Ok(current)) = (locked.metadata(), std::fs::metadata(path)) else {
        return false;
    };
    (locked.dev(), locked.ino()) == (current.dev(), current.ino())
}

/// Gives the new file to the owner of the old one: a gateway that could read that must be able to read this.
fn keep_owner(old: &File, new: &Path) -> io::Result<()> {
    let (old, own) = (old.metadata()?, std::fs::metadata(new)?);
    if (old.uid(), old.gid()) == (own.uid(), own.gid()) {
        return Ok(());
    }
    std::os::unix::fs::chown(new, Some(old.uid()), Some(old.gid()))
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Failure {
    ConfigError::new(format!("cannot {what} {}: {error}", path.display())).into()
}
