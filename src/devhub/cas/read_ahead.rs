//! Streams parts of files from disk, one piece being read while the one before it is sent.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt, TryStreamExt};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::devhub::store::ByteSpan;

/// Bytes read at once; a stream holds two such pieces. Measured: smaller ones cost throughput, larger ones gain none.
const PIECE_BYTES: u64 = 512 << 10;

type Reading = JoinHandle<io::Result<(File, Bytes)>>;

/// Streams the bytes of `span`, which must lie within the file.
pub(super) fn stream_file(
    file: File,
    span: ByteSpan,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let start = async move {
        let mut file = file;
        let file = spawn_blocking(move || file.seek(SeekFrom::Start(span.start)).map(|_| file));
        let file = file.await.map_err(io::Error::other)??;
        Ok::<_, io::Error>(stream::try_unfold(begin(file, span.len()), next))
    };
    stream::once(start).try_flatten().boxed()
}

/// What is being read, and how much is left with it.
type Ahead = (Option<Reading>, u64);

fn begin(file: File, left: u64) -> Ahead {
    let reading = (left > 0).then(|| read(file, left.min(PIECE_BYTES)));
    (reading, left)
}

async fn next((reading, left): Ahead) -> io::Result<Option<(Bytes, Ahead)>> {
    let Some(reading) = reading else {
        return Ok(None);
    };
    let (file, piece) = reading.await.map_err(io::Error::other)??;
    let left = left - piece.len() as u64;
    Ok(Some((piece, begin(file, left))))
}

/// Begins to read the next `len` bytes.
fn read(file: File, len: u64) -> Reading {
    spawn_blocking(move || {
        let mut piece = Vec::with_capacity(usize::try_from(len).map_err(io::Error::other)?);
        (&file).take(len).read_to_end(&mut piece)?;
        if piece.len() as u64 != len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok((file, piece.into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn exactly_the_asked_bytes_come_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let content: Vec<u8> = (0..1_300_000u32).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let span = ByteSpan {
            start: 7,
            end: 1_250_003,
        };
        let pieces: Vec<Bytes> = stream_file(File::open(path).unwrap(), span)
            .try_collect()
            .await
            .unwrap();
        assert!(pieces.iter().all(|piece| piece.len() as u64 <= PIECE_BYTES));
        assert_eq!(pieces.concat(), content[7..1_250_003]);
    }

    #[tokio::test]
    async fn a_file_that_is_too_short_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        std::fs::write(&path, b"short").unwrap();
        let span = ByteSpan { start: 0, end: 9 };
        let pieces: Result<Vec<Bytes>, _> = stream_file(File::open(path).unwrap(), span)
            .try_collect()
            .await;
        assert!(pieces.is_err());
    }
}
