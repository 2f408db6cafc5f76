//! Tags of objects: what they may be, and the operations on them alone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::storage::name::{BucketName, ObjectKey};

/// The most tags of an object. Source of all limits: AWS, "Categorizing your objects using tags".
pub const MAX_TAGS: usize = 10;

/// The longest key and the longest value of a tag, in units of UTF-16, as S3 counts.
const MAX_KEY_UNITS: usize = 128;
const MAX_VALUE_UNITS: usize = 256;

/// The beginning of keys that only the system may set, whatever its case.
const SYSTEM_PREFIX: &str = "aws:";

/// The tags of an object, each key once, by key in byte order. Usually there are none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tags(BTreeMap<String, String>);

/// Why tags cannot be an object's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// A key is empty, longer than 128 units of UTF-16, or has a character that tags do not take.
    #[error("a tag's key is empty, too long, or holds an invalid character")]
    InvalidKey,
    /// A value is longer than 256 units of UTF-16, or has a character that tags do not take.
    #[error("a tag's value is too long, or holds an invalid character")]
    InvalidValue,
    /// A key begins with `aws:`.
    #[error("a tag's key belongs to the system")]
    SystemKey,
    /// Two tags have the same key.
    #[error("two tags have the same key")]
    DuplicateKey,
    /// There are more than ten.
    #[error("there are more than {MAX_TAGS} tags")]
    TooMany,
}

impl Tags {
    /// Checks tags. They may hold letters, digits, and blanks of any script, and `+ - = . _ : / @`.
    ///
    /// Errors: the first of [`TagError`] that applies to a tag, in their order; [`TagError::TooMany`] at the end.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Self, TagError> {
        let mut tags = BTreeMap::new();
        for (key, value) in pairs {
            if key.is_empty() || !is_text(&key, MAX_KEY_UNITS) {
                return Err(TagError::InvalidKey);
            }
            if !is_text(&value, MAX_VALUE_UNITS) {
                return Err(TagError::InvalidValue);
            }
            let prefix = key.get(..SYSTEM_PREFIX.len());
            if prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(SYSTEM_PREFIX)) {
                return Err(TagError::SystemKey);
            }
            if tags.insert(key, value).is_some() {
                return Err(TagError::DuplicateKey);
            }
        }
        if tags.len() > MAX_TAGS {
            return Err(TagError::TooMany);
        }
        Ok(Self(tags))
    }

    /// Reports whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns keys and values, by key in byte order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

fn is_text(text: &str, max_units: usize) -> bool {
    let is_blank = |c: char| c.is_whitespace() && !c.is_control();
    let is_taken = |c: char| c.is_alphanumeric() || is_blank(c) || "+-=._:/@".contains(c);
    text.encode_utf16().count() <= max_units && text.chars().all(is_taken)
}

/// Looks the tags of an object up. Errors: `NoSuchKey`, `NoSuchBucket`.
#[derive(Debug, Clone)]
pub struct GetTags {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: ObjectKey,
}

/// The tags of an object; empty if it has none.
#[derive(Debug, Clone)]
pub struct TagsFound {
    /// The tags.
    pub tags: Tags,
}

/// Replaces all tags of an object, and nothing else of it: content, metadata, and the time of its last change stay.
///
/// Errors: `NoSuchKey`, `NoSuchBucket`; `ConditionalRequestConflict` if the object changes again and again meanwhile.
#[derive(Debug, Clone)]
pub struct PutTags {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: ObjectKey,
    /// The tags; without any, the object has none afterwards.
    pub tags: Tags,
}

/// The object has these tags now.
#[derive(Debug, Clone)]
pub struct TagsPut {}

/// Removes all tags of an object, and nothing else of it. Removing none succeeds. Errors: as [`PutTags`].
#[derive(Debug, Clone)]
pub struct DeleteTags {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: ObjectKey,
}

/// The object has no tags now.
#[derive(Debug, Clone)]
pub struct TagsDeleted {}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Result<Tags, TagError> {
        let owned = |&(key, value): &(&str, &str)| (key.to_owned(), value.to_owned());
        Tags::new(pairs.iter().map(owned))
    }

    #[test]
    fn tags_come_by_key_and_may_be_empty_texts_of_any_script() {
        let tags = of(&[("z", ""), ("größe +-=._:/@", "日本 7")]).unwrap();
        let pairs: Vec<_> = tags.iter().collect();
        assert_eq!(pairs, [("größe +-=._:/@", "日本 7"), ("z", "")]);
        assert!(of(&[]).unwrap().is_empty());
    }

    #[test]
    fn what_no_tag_may_be_is_refused() {
        for (pairs, error) in [
            (&[("", "v")][..], TagError::InvalidKey),
            (&[("a,b", "v")], TagError::InvalidKey),
            (&[("a", "<v>")], TagError::InvalidValue),
            (&[("a", "v\n")], TagError::InvalidValue),
            (&[("aws:a", "v")], TagError::SystemKey),
            (&[("AWS:a", "v")], TagError::SystemKey),
            (&[("a", "v"), ("a", "w")], TagError::DuplicateKey),
        ] {
            assert_eq!(of(pairs), Err(error), "{pairs:?}");
        }
        // Upper and lower case are different keys.
        assert!(of(&[("a", "v"), ("A", "v"), ("aws", "v")]).is_ok());
    }

    #[test]
    fn lengths_and_count_are_bounded() {
        let (key, value) = ("k".repeat(128), "v".repeat(256));
        assert!(of(&[(&key, &value)]).is_ok());
        assert_eq!(of(&[(&format!("{key}k"), "")]), Err(TagError::InvalidKey));
        let longer = format!("{value}v");
        assert_eq!(of(&[("k", &longer)]), Err(TagError::InvalidValue));
        // A character beyond the basic plane counts twice.
        assert!(of(&[(&"𝐤".repeat(64), "")]).is_ok());
        assert_eq!(of(&[(&"𝐤".repeat(65), "")]), Err(TagError::InvalidKey));
        let many = |count: usize| Tags::new((0..count).map(|n| (n.to_string(), String::new())));
        assert_eq!(many(MAX_TAGS).unwrap().len(), MAX_TAGS);
        assert_eq!(many(MAX_TAGS + 1), Err(TagError::TooMany));
    }
}
