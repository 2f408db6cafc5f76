//! An extent: a run of consecutive chunks of one xorb, and the name of the file that holds it.

use std::path::{Path, PathBuf};

use xet_core_structures::merklehash::MerkleHash;

/// The directory in the configured one that everything lies in: nothing else is ever touched. The number is the format's.
const ROOT: &str = "xorbs-1";
/// Where files are written before they get their name.
const TEMPORARY: &str = "tmp";
/// Directories that the files are spread over.
pub(super) const PREFIXES: u16 = 256;

/// Names an extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Extent {
    /// The xorb.
    pub(super) xorb: MerkleHash,
    /// Index of the first chunk.
    pub(super) start: u32,
    /// Index behind the last chunk.
    pub(super) end: u32,
}

impl Extent {
    /// Returns how many chunks it holds.
    pub(super) fn count(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Returns the number of the directory that its file lies in.
    pub(super) fn prefix(&self) -> u16 {
        prefix(&self.xorb)
    }

    /// Returns the path of its file below the configured directory.
    pub(super) fn path(&self, dir: &Path) -> PathBuf {
        let name = format!("{}-{}-{}", self.xorb.hex(), self.start, self.end);
        prefix_dir(dir, self.prefix()).join(name)
    }

    /// Reads a file's name; `None` if no file of this cache is called so.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        let mut parts = name.split('-');
        let xorb = MerkleHash::from_hex(parts.next()?).ok()?;
        let mut number = || parts.next()?.parse::<u32>().ok();
        let (start, end) = (number()?, number()?);
        let extent = Self { xorb, start, end };
        (start < end && parts.next().is_none()).then_some(extent)
    }
}

/// Returns the number of the directory that a xorb's files lie in: the first two digits of its hash.
pub(super) fn prefix(xorb: &MerkleHash) -> u16 {
    u16::from(xorb[0].to_le().to_be_bytes()[0])
}

/// Returns a directory of files by its number.
pub(super) fn prefix_dir(dir: &Path, prefix: u16) -> PathBuf {
    dir.join(ROOT).join(format!("{prefix:02x}"))
}

/// Returns the directory of files that have no name yet.
pub(super) fn temporary_dir(dir: &Path) -> PathBuf {
    dir.join(ROOT).join(TEMPORARY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let xorb = MerkleHash::from([0xab00_0000_0000_0001, 2, 3, 4]);
        let extent = Extent {
            xorb,
            start: 7,
            end: 19,
        };
        let path = extent.path(Path::new("/cache"));
        assert!(path.starts_with("/cache/xorbs-1/ab"), "{path:?}");
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(Extent::of_name(name), Some(extent));
        let hex = xorb.hex();
        for foreign in [
            "",
            "notes.txt",
            &hex,
            &format!("{hex}-7"),
            &format!("{hex}-7-7"),
            &format!("{hex}-7-19-1"),
            &format!("{hex}-7-x"),
            &format!("{}-7-19", &hex[1..]),
        ] {
            assert_eq!(Extent::of_name(foreign), None, "{foreign}");
        }
    }
}
