//! What objects hold: bytes that can be made again from little, and that no two writes share by accident.

use sha2::{Digest as _, Sha256};

use crate::dice::Dice;

/// The size of a part of a multipart upload that is not the last one: the least that S3 allows.
const PART_BYTES: usize = 5 << 20;

/// Blocks that all big parts are made of, so that half an hour of them does not fill a disk.
const BLOCKS: u64 = 4;

/// The SHA-256 of some bytes.
pub(crate) type Digest = [u8; 32];

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

/// The recipe of some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    /// Seed and length of each run of random bytes.
    runs: Vec<(u64, usize)>,
}

impl Content {
    pub(crate) fn of(seed: u64, len: usize) -> Self {
        Self {
            runs: vec![(seed, len)],
        }
    }

    /// Mostly small, sometimes empty, seldom some MiB.
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        let most = dice.weighted(&[
            (4, 0),
            (4, 1),
            (60, 4 << 10),
            (24, 130 << 10),
            (6, 1 << 20),
            (1, 12 << 20),
        ]);
        let len = match most {
            0 | 1 => most,
            most => dice.index(most),
        };
        Self::of(dice.next(), len)
    }

    /// The content of a multipart upload: some big parts, and a small one.
    pub(crate) fn draw_parts(dice: &mut Dice) -> Vec<Self> {
        let big = 1 + dice.below(2);
        let mut parts: Vec<Self> = (0..big)
            .map(|_| Self::of(dice.below(BLOCKS), PART_BYTES))
            .collect();
        parts.push(Self::of(dice.next(), 1 + dice.index(50_000)));
        parts
    }

    /// Returns this content with other content behind it.
    pub(crate) fn then(&self, other: &Self) -> Self {
        let mut joined = self.clone();
        joined.runs.extend_from_slice(&other.runs);
        joined
    }

    pub(crate) fn len(&self) -> u64 {
        self.runs.iter().map(|(_, len)| *len as u64).sum()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (seed, len) in &self.runs {
            let end = bytes.len() + len;
            let mut dice = Dice::new(*seed);
            while bytes.len() < end {
                bytes.extend_from_slice(&dice.next().to_le_bytes());
            }
            bytes.truncate(end);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_the_same_each_time_and_joins() {
        let (one, two) = (Content::of(1, 13), Content::of(2, 9));
        assert_eq!(one.bytes(), one.bytes());
        assert_ne!(one.bytes()[..9], two.bytes()[..]);
        let joined = one.then(&two);
        assert_eq!(joined.len(), 22);
        assert_eq!(joined.bytes(), [one.bytes(), two.bytes()].concat());
    }
}
