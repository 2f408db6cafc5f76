//! The parts that an object was uploaded in.

use serde::{Deserialize, Serialize};

use crate::storage::checksum::Checksum;

/// The most parts of an object.
const MAX_PARTS: u64 = 10_000;

/// The parts that an object was uploaded in.
///
/// They serialise compactly: sizes as pairs of a size and the number of parts in a row that have it, hardly more than one
/// pair for most objects; checksums as their algorithm and the base64 of all values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectParts {
    /// Their sizes in bytes, the first part first; empty for an object that was uploaded whole.
    #[serde(
        default,
        rename = "part_sizes",
        skip_serializing_if = "Vec::is_empty",
        with = "runs"
    )]
    pub sizes: Vec<u64>,
    /// Their checksums in the same order, all with one algorithm; empty if none are kept.
    #[serde(
        default,
        rename = "part_checksums",
        skip_serializing_if = "Vec::is_empty",
        with = "values"
    )]
    pub checksums: Vec<Checksum>,
}

impl ObjectParts {
    /// Reports whether they can be those of an object of `size` bytes: there are parts, their sizes add up, and every part
    /// has a checksum if one has.
    pub fn are_of(&self, size: u64) -> bool {
        let total = self
            .sizes
            .iter()
            .try_fold(0_u64, |sum, size| sum.checked_add(*size));
        !self.sizes.is_empty()
            && total == Some(size)
            && (self.checksums.is_empty() || self.checksums.len() == self.sizes.len())
    }
}

mod runs {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::MAX_PARTS;

    pub(super) fn serialize<S: Serializer>(sizes: &[u64], to: S) -> Result<S::Ok, S::Error> {
        let runs = sizes.chunk_by(|one, next| one == next);
        let runs: Vec<(u64, usize)> = runs.map(|run| (run[0], run.len())).collect();
        runs.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u64>, D::Error> {
        let runs: Vec<(u64, u32)> = Vec::deserialize(from)?;
        let count: u64 = runs.iter().map(|(_, times)| u64::from(*times)).sum();
        if count > MAX_PARTS {
            return Err(D::Error::custom("too many parts"));
        }
        let sizes = runs
            .into_iter()
            .flat_map(|(size, times)| std::iter::repeat_n(size, times as usize));
        Ok(sizes.collect())
    }
}

mod values {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;
    use serde::de::Error as _;
    use serde::ser::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::storage::checksum::{Checksum, ChecksumAlgorithm};

    pub(super) fn serialize<S: Serializer>(
        checksums: &[Checksum],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let first = checksums.first();
        let algorithm = first.map(|first| first.algorithm);
        if checksums.iter().any(|one| Some(one.algorithm) != algorithm) {
            return Err(S::Error::custom("checksums with several algorithms"));
        }
        let values: Vec<u8> = checksums
            .iter()
            .flat_map(|checksum| checksum.value.iter().copied())
            .collect();
        (algorithm, BASE64.encode(values)).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<Checksum>, D::Error> {
        let (algorithm, values): (ChecksumAlgorithm, String) = Deserialize::deserialize(from)?;
        let values = BASE64.decode(values).map_err(D::Error::custom)?;
        let values = values.chunks(algorithm.len_bytes()).map(|value| {
            (value.len() == algorithm.len_bytes()).then(|| Checksum {
                algorithm,
                value: value.into(),
            })
        });
        let checksums: Option<Vec<_>> = values.collect();
        checksums.ok_or_else(|| D::Error::custom("a checksum is cut off"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(sizes: &[u64], checksums: &[&str]) -> ObjectParts {
        ObjectParts {
            sizes: sizes.to_vec(),
            checksums: checksums.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    fn reread(parts: &ObjectParts) -> Option<ObjectParts> {
        serde_json::from_slice(&serde_json::to_vec(parts).unwrap()).ok()
    }

    #[test]
    fn sizes_come_back_as_they_were() {
        for sizes in [&[][..], &[0], &[5, 5, 7, 5], &[u64::MAX], &[1; 10_000]] {
            let written = parts(sizes, &[]);
            assert_eq!(reread(&written), Some(written));
        }
        assert_eq!(reread(&parts(&[1; 10_001], &[])), None);
    }

    #[test]
    fn checksums_come_back_as_they_were() {
        let written = parts(&[5, 4], &["crc32-9be3e0a3", "crc32-131da070"]);
        let text = serde_json::to_string(&written).unwrap();
        assert_eq!(
            text,
            r#"{"part_sizes":[[5,1],[4,1]],"part_checksums":["crc32","m+PgoxMdoHA="]}"#
        );
        assert_eq!(reread(&written), Some(written));
        for odd in [
            "[\"crc32\",\"m+Pg\"]",
            "[\"md4\",\"\"]",
            "[\"crc32\",\"?\"]",
        ] {
            let text = format!("{{\"part_checksums\":{odd}}}");
            assert!(serde_json::from_str::<ObjectParts>(&text).is_err(), "{odd}");
        }
    }

    #[test]
    fn parts_that_contradict_their_object_are_not_its_own() {
        assert!(parts(&[5, 4], &[]).are_of(9));
        assert!(parts(&[0], &["crc32-00000000"]).are_of(0));
        assert!(!parts(&[5, 4], &[]).are_of(8));
        assert!(!parts(&[5, 4], &["crc32-00000000"]).are_of(9));
        assert!(!parts(&[u64::MAX, 1], &[]).are_of(0));
        assert!(!parts(&[], &[]).are_of(0));
    }
}
