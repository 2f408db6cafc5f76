//! What shards registered: an append-only log, and its index in memory.
//!
//! One write per shard, so a process that dies leaves whole shards and at most one cut record at the end, which the next
//! start removes. A record is a length, a kind, and that many bytes.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Cursor, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use xet_core_structures::merklehash::MerkleHash;
use xet_core_structures::metadata_shard::file_structs::MDBFileInfo;

const KIND_FILE: u8 = 1;
const KIND_CHUNKS: u8 = 2;
const RECORD_HEADER_BYTES: usize = 5;
const HASH_BYTES: usize = 32;

/// A file that a shard described and that was found to be right.
#[derive(Debug, Default)]
pub(crate) struct RegisteredFile {
    /// Terms and their verification hashes.
    pub(crate) info: MDBFileInfo,
    /// Unpacked length in bytes.
    pub(crate) size: u64,
}

#[derive(Debug, Default)]
struct Index {
    files: HashMap<MerkleHash, Arc<RegisteredFile>>,
    xorb_of_chunk: HashMap<MerkleHash, MerkleHash>,
}

/// The log and its index.
#[derive(Debug)]
pub(super) struct ShardLog {
    index: RwLock<Index>,
    file: Mutex<File>,
}

impl ShardLog {
    /// Reads the log at `path`, creating it if need be. A cut record at the end is removed.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)?;
        let mut index = Index::default();
        let whole = replay(&mut BufReader::new(&file), &mut index)?;
        file.set_len(whole)?;
        Ok(Self {
            index: RwLock::new(index),
            file: Mutex::new(file),
        })
    }

    pub(super) fn file(&self, hash: &MerkleHash) -> Option<Arc<RegisteredFile>> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.files.get(hash).cloned()
    }

    pub(super) fn xorb_of_chunk(&self, chunk: &MerkleHash) -> Option<MerkleHash> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.xorb_of_chunk.get(chunk).copied()
    }

    /// Registers the files and chunks of one shard, durably before visibly.
    pub(super) fn append(
        &self,
        files: &[MDBFileInfo],
        chunks: &[(MerkleHash, MerkleHash)],
    ) -> io::Result<()> {
        let mut records = Vec::new();
        let mut payload = Vec::new();
        for file in files {
            payload.clear();
            file.serialize(&mut payload)?;
            push_record(&mut records, KIND_FILE, &payload)?;
        }
        if !chunks.is_empty() {
            payload.clear();
            for (chunk, xorb) in chunks {
                payload.extend_from_slice(chunk.as_bytes());
                payload.extend_from_slice(xorb.as_bytes());
            }
            push_record(&mut records, KIND_CHUNKS, &payload)?;
        }
        (self.file.lock().unwrap_or_else(PoisonError::into_inner)).write_all(&records)?;
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        for file in files {
            index.add_file(file.clone());
        }
        index.xorb_of_chunk.extend(chunks.iter().copied());
        Ok(())
    }
}

impl Index {
    fn add_file(&mut self, info: MDBFileInfo) {
        let hash = info.metadata.file_hash;
        self.files.entry(hash).or_insert_with(|| {
            let size = info.file_size();
            Arc::new(RegisteredFile { info, size })
        });
    }

    fn add_record(&mut self, kind: u8, payload: &[u8]) -> io::Result<()> {
        match kind {
            KIND_FILE => {
                let info = MDBFileInfo::deserialize(&mut Cursor::new(payload))?
                    .ok_or_else(|| io::Error::other("bookend in the shard log"))?;
                self.add_file(info);
            }
            KIND_CHUNKS => {
                let (pairs, _) = payload.as_chunks::<{ 2 * HASH_BYTES }>();
                for pair in pairs {
                    let (chunk, xorb) = pair.split_at(HASH_BYTES);
                    let read = |bytes| MerkleHash::from_slice(bytes).map_err(io::Error::other);
                    self.xorb_of_chunk.insert(read(chunk)?, read(xorb)?);
                }
            }
            other => {
                return Err(io::Error::other(format!(
                    "unknown kind {other} in the shard log"
                )));
            }
        }
        Ok(())
    }
}

fn push_record(records: &mut Vec<u8>, kind: u8, payload: &[u8]) -> io::Result<()> {
    let len = u32::try_from(payload.len()).map_err(io::Error::other)?;
    records.extend_from_slice(&len.to_le_bytes());
    records.push(kind);
    records.extend_from_slice(payload);
    Ok(())
}

/// Reads records until the end or the first cut one. Returns the length of the whole records.
fn replay(reader: &mut impl Read, index: &mut Index) -> io::Result<u64> {
    let mut whole = 0;
    loop {
        let mut header = [0; RECORD_HEADER_BYTES];
        if !read_fully(reader, &mut header)? {
            return Ok(whole);
        }
        let len = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        let mut payload = vec![0; len as usize];
        if !read_fully(reader, &mut payload)? {
            return Ok(whole);
        }
        index.add_record(header[4], &payload)?;
        whole += RECORD_HEADER_BYTES as u64 + u64::from(len);
    }
}

/// Fills `buffer`; returns false when the end comes first.
fn read_fully(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xet_core_structures::merklehash::compute_data_hash;

    fn hash(text: &str) -> MerkleHash {
        compute_data_hash(text.as_bytes())
    }

    #[test]
    fn a_cut_record_at_the_end_is_dropped_and_the_rest_survives() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = ShardLog::open(&path).unwrap();
        log.append(&[], &[(hash("chunk"), hash("xorb"))]).unwrap();
        drop(log);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(&[200, 0, 0, 0, KIND_CHUNKS, 1, 2]).unwrap();
        let log = ShardLog::open(&path).unwrap();
        assert_eq!(log.xorb_of_chunk(&hash("chunk")), Some(hash("xorb")));
        log.append(&[], &[(hash("other"), hash("xorb"))]).unwrap();
        drop(log);
        let log = ShardLog::open(&path).unwrap();
        assert_eq!(log.xorb_of_chunk(&hash("other")), Some(hash("xorb")));
    }
}
