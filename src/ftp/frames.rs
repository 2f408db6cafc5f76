//! Frames of a body that leave together.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};
use futures::stream::Fuse;
use futures::{FutureExt as _, StreamExt as _};

use crate::storage::{ByteStream, StorageError};

/// Frames that leave with one call at most.
const FRAMES_AT_ONCE: usize = 16;

/// Frames as one buffer. None of them is empty.
#[derive(Debug, Default)]
pub(super) struct Frames(VecDeque<Bytes>);

impl Frames {
    /// Waits for the next frame of a body, and takes those along that are there already: they are short where a chunk came
    /// in several pieces, and each call costs a wake-up at the other end. Has nothing remaining at the body's end.
    ///
    /// Errors: the body's own. What came before it is lost with it.
    pub(super) async fn next(body: &mut Fuse<ByteStream>) -> Result<Self, StorageError> {
        let mut frames = VecDeque::new();
        frames.extend(body.next().await.transpose()?);
        while (1..FRAMES_AT_ONCE).contains(&frames.len())
            && let Some(Some(ready)) = body.next().now_or_never()
        {
            frames.push_back(ready?);
        }
        frames.retain(|frame| !frame.is_empty());
        Ok(Self(frames))
    }
}

impl Buf for Frames {
    fn remaining(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    fn chunk(&self) -> &[u8] {
        self.0.front().map_or(&[], |frame| frame)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let filled = self.0.iter().zip(slices);
        filled
            .map(|(frame, slice)| *slice = IoSlice::new(frame))
            .count()
    }

    fn advance(&mut self, mut len_bytes: usize) {
        while let Some(front) = self.0.front_mut()
            && len_bytes > 0
        {
            let step = len_bytes.min(front.len());
            front.advance(step);
            len_bytes -= step;
            if front.is_empty() {
                self.0.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn many_frames_arrive_in_order_however_little_is_taken_at_once() {
        let frames: Vec<Bytes> = (0_u8..100)
            .map(|n| vec![n; 1 + usize::from(n) * 7].into())
            .collect();
        let whole = frames.concat();
        // A stream that must not be asked again after its end.
        let rest = frames.into_iter();
        let frames = stream::unfold(rest, async |mut rest| Some((Ok(rest.next()?), rest)));
        let mut body = ByteStream::new(frames, None).fuse();
        let (mut output, mut input) = tokio::io::duplex(11);
        let mut received = Vec::new();
        let sending = async {
            let mut calls = 0;
            loop {
                let mut frames = Frames::next(&mut body).await.unwrap();
                if !frames.has_remaining() {
                    drop(output);
                    return calls;
                }
                output.write_all_buf(&mut frames).await.unwrap();
                calls += 1;
            }
        };
        let (calls, _) = tokio::join!(sending, input.read_to_end(&mut received));
        assert!(received == whole);
        assert_eq!(calls, 100_usize.div_ceil(FRAMES_AT_ONCE));
    }

    #[tokio::test]
    async fn a_failure_is_not_an_end() {
        let frames = [Ok(Bytes::from("first")), Err(StorageError::internal("x"))];
        let mut body = ByteStream::new(stream::iter(frames), None).fuse();
        assert!(Frames::next(&mut body).await.is_err());
    }
}
