//! Bytes that wait for their signature.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Smaller pieces are copied together, so that a client that sends byte by byte costs a byte per byte.
const MIN_SHARED_LEN: usize = 4096;

/// The content of one signed chunk, in order: large pieces as they came, small ones copied together.
#[derive(Debug, Default)]
pub(super) struct Held {
    pieces: VecDeque<Bytes>,
    small: BytesMut,
}

impl Held {
    pub(super) fn push(&mut self, piece: Bytes) {
        if piece.len() < MIN_SHARED_LEN {
            self.small.extend_from_slice(&piece);
        } else {
            self.seal();
            self.pieces.push_back(piece);
        }
    }

    /// Moves everything to the end of `released`.
    pub(super) fn release_into(&mut self, released: &mut VecDeque<Bytes>) {
        self.seal();
        released.append(&mut self.pieces);
    }

    fn seal(&mut self) {
        if !self.small.is_empty() {
            self.pieces.push_back(self.small.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pieces_are_copied_together_and_large_ones_are_shared() {
        let large = Bytes::from(vec![7; MIN_SHARED_LEN]);
        let mut held = Held::default();
        for _ in 0..3 {
            held.push(Bytes::from_static(b"a"));
        }
        held.push(large.clone());
        held.push(Bytes::from_static(b"b"));
        let mut released = VecDeque::new();
        held.release_into(&mut released);
        assert_eq!(released, ["aaa".into(), large.clone(), Bytes::from("b")]);
        assert_eq!(released[1].as_ptr(), large.as_ptr());
    }
}
