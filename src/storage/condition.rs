//! Preconditions of reads and of writes.

use time::OffsetDateTime;

use crate::storage::error::StorageError;
use crate::storage::name::{ContentHash, ObjectKey};
use crate::storage::object::ObjectInfo;

/// Entity tags of an `If-Match` or `If-None-Match` header, without quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EtagMatch {
    /// `*`
    Any,
    /// One or more tags.
    Tags(Vec<String>),
}

impl EtagMatch {
    /// Parses a header value. Quotes are optional, and a weak tag (`W/`) counts as its strong one, as S3 does.
    pub fn parse(value: &str) -> Self {
        let value = value.trim();
        if value == "*" {
            return Self::Any;
        }
        let tags = value.split(',').map(|tag| {
            let tag = tag.trim();
            tag.strip_prefix("W/")
                .unwrap_or(tag)
                .trim_matches('"')
                .to_owned()
        });
        Self::Tags(tags.collect())
    }

    fn holds(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => tags.iter().any(|tag| tag == etag),
        }
    }
}

/// Preconditions on an existing object, judged in the order of RFC 9110 §13.2.2.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadConditions {
    /// `If-Match`
    pub if_match: Option<EtagMatch>,
    /// `If-None-Match`
    pub if_none_match: Option<EtagMatch>,
    /// `If-Modified-Since`
    pub if_modified_since: Option<OffsetDateTime>,
    /// `If-Unmodified-Since`
    pub if_unmodified_since: Option<OffsetDateTime>,
}

impl ReadConditions {
    /// Judges the conditions against an object.
    ///
    /// Errors: [`StorageError::PreconditionFailed`] or [`StorageError::NotModified`].
    pub fn check(&self, object: &ObjectInfo) -> Result<(), StorageError> {
        let etag = object.etag();
        let modified = whole_seconds(object.last_modified);
        match (&self.if_match, self.if_unmodified_since) {
            (Some(wanted), _) if !wanted.holds(&etag) => {
                return Err(StorageError::PreconditionFailed {
                    condition: "If-Match",
                });
            }
            (None, Some(since)) if modified > since => {
                return Err(StorageError::PreconditionFailed {
                    condition: "If-Unmodified-Since",
                });
            }
            _ => {}
        }
        let is_unchanged = match (&self.if_none_match, self.if_modified_since) {
            (Some(known), _) => known.holds(&etag),
            (None, Some(since)) => modified <= since,
            (None, None) => false,
        };
        if is_unchanged {
            return Err(StorageError::NotModified {
                etag,
                last_modified: object.last_modified,
            });
        }
        Ok(())
    }

    /// Judges the conditions as a copy source's: what a read answers with 304 is 412 here, as S3 does, and the condition
    /// is named as the source's.
    ///
    /// Errors: [`StorageError::PreconditionFailed`].
    pub fn check_copy_source(&self, source: &ObjectInfo) -> Result<(), StorageError> {
        let condition = match self.check(source) {
            Ok(()) => return Ok(()),
            Err(StorageError::NotModified { .. }) if self.if_none_match.is_some() => {
                "x-amz-copy-source-If-None-Match"
            }
            Err(StorageError::NotModified { .. }) => "x-amz-copy-source-If-Modified-Since",
            Err(_) if self.if_match.is_some() => "x-amz-copy-source-If-Match",
            Err(_) => "x-amz-copy-source-If-Unmodified-Since",
        };
        Err(StorageError::PreconditionFailed { condition })
    }
}

/// Preconditions on what a write replaces or removes. All empty by default: then everything goes.
///
/// They bind in commit order: of two writes to a key, the later one is judged against what the earlier one left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteConditions {
    /// `If-Match`: the object is there, with one of these tags.
    pub if_match: Option<EtagMatch>,
    /// `If-None-Match`: there is no object, or none with one of these tags.
    pub if_none_match: Option<EtagMatch>,
    /// The object has this size in bytes. Holds where there is none.
    pub if_size: Option<u64>,
    /// The object was last modified in this second. Holds where there is none.
    pub if_last_modified: Option<OffsetDateTime>,
}

/// What stands under a key, as far as the conditions of a write look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Xet hash of the content.
    pub hash: ContentHash,
    /// Size in bytes.
    pub size: u64,
    /// When the content was registered.
    pub last_modified: OffsetDateTime,
}

impl WriteConditions {
    /// Reports whether nothing is asked, so that nothing needs to be looked up.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Judges the conditions against what stands under the key.
    ///
    /// Errors: [`StorageError::NoSuchKey`] for `If-Match` without an object, [`StorageError::PreconditionFailed`].
    pub fn check(&self, key: &ObjectKey, standing: Option<&Standing>) -> Result<(), StorageError> {
        let Some(standing) = standing else {
            return match self.if_match {
                Some(_) => Err(StorageError::NoSuchKey {
                    key: key.to_string(),
                }),
                None => Ok(()),
            };
        };
        let etag = standing.hash.etag();
        let fails = |condition| Err(StorageError::PreconditionFailed { condition });
        if self
            .if_match
            .as_ref()
            .is_some_and(|tags| !tags.holds(&etag))
        {
            return fails("If-Match");
        }
        if self
            .if_none_match
            .as_ref()
            .is_some_and(|tags| tags.holds(&etag))
        {
            return fails("If-None-Match");
        }
        if self.if_size.is_some_and(|size| size != standing.size) {
            return fails("x-amz-if-match-size");
        }
        let modified = whole_seconds(standing.last_modified);
        if self
            .if_last_modified
            .is_some_and(|wanted| whole_seconds(wanted) != modified)
        {
            return fails("x-amz-if-match-last-modified-time");
        }
        Ok(())
    }
}

/// Dates in headers have whole seconds; the Hub's have milliseconds.
fn whole_seconds(time: OffsetDateTime) -> OffsetDateTime {
    time.replace_nanosecond(0).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::object::ObjectMetadata;
    use time::macros::datetime;

    fn object() -> ObjectInfo {
        ObjectInfo {
            key: crate::storage::ObjectKey::new("k").unwrap(),
            size: 1,
            hash: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
                .parse()
                .unwrap(),
            last_modified: datetime!(2026-01-02 03:04:05.678 UTC),
            mtime: None,
            metadata: ObjectMetadata::default(),
            checksum: None,
            has_sidecar: false,
            parts_file: None,
        }
    }

    fn check(conditions: &ReadConditions) -> &'static str {
        match conditions.check(&object()) {
            Ok(()) => "ok",
            Err(error) => error.outcome(),
        }
    }

    #[test]
    fn conditions_hold_as_rfc_9110_orders_them() {
        let tag = Some(EtagMatch::parse("\"0123456789abcdef0123456789abcdef-1\""));
        let other = Some(EtagMatch::parse("\"x\", W/\"y\""));
        let none = ReadConditions::default;
        assert_eq!(check(&none()), "ok");
        assert_eq!(
            check(&ReadConditions {
                if_match: tag.clone(),
                ..none()
            }),
            "ok"
        );
        assert_eq!(
            check(&ReadConditions {
                if_match: other.clone(),
                ..none()
            }),
            "precondition_failed"
        );
        assert_eq!(
            check(&ReadConditions {
                if_none_match: tag.clone(),
                ..none()
            }),
            "not_modified"
        );
        assert_eq!(
            check(&ReadConditions {
                if_none_match: other.clone(),
                ..none()
            }),
            "ok"
        );
        let second = Some(datetime!(2026-01-02 03:04:05 UTC));
        let earlier = Some(datetime!(2026-01-02 03:04:04 UTC));
        assert_eq!(
            check(&ReadConditions {
                if_modified_since: second,
                ..none()
            }),
            "not_modified"
        );
        assert_eq!(
            check(&ReadConditions {
                if_modified_since: earlier,
                ..none()
            }),
            "ok"
        );
        assert_eq!(
            check(&ReadConditions {
                if_unmodified_since: second,
                ..none()
            }),
            "ok"
        );
        assert_eq!(
            check(&ReadConditions {
                if_unmodified_since: earlier,
                ..none()
            }),
            "precondition_failed"
        );
        // If-Match that holds overrules If-Unmodified-Since; If-None-Match overrules If-Modified-Since.
        assert_eq!(
            check(&ReadConditions {
                if_match: tag,
                if_unmodified_since: earlier,
                ..none()
            }),
            "ok"
        );
        assert_eq!(
            check(&ReadConditions {
                if_none_match: other,
                if_modified_since: second,
                ..none()
            }),
            "ok"
        );
    }

    #[test]
    fn conditions_of_a_copy_source_fail_under_their_own_names() {
        let tag = Some(EtagMatch::parse("\"0123456789abcdef0123456789abcdef-1\""));
        let other = Some(EtagMatch::parse("\"x\""));
        let second = Some(datetime!(2026-01-02 03:04:05 UTC));
        let earlier = Some(datetime!(2026-01-02 03:04:04 UTC));
        let failed = |conditions: ReadConditions| match conditions.check_copy_source(&object()) {
            Ok(()) => "",
            Err(StorageError::PreconditionFailed { condition }) => condition,
            Err(other) => other.outcome(),
        };
        let none = ReadConditions::default;
        assert_eq!(
            failed(ReadConditions {
                if_match: tag.clone(),
                if_unmodified_since: earlier,
                ..none()
            }),
            ""
        );
        assert_eq!(
            failed(ReadConditions {
                if_match: other.clone(),
                ..none()
            }),
            "x-amz-copy-source-If-Match"
        );
        assert_eq!(
            failed(ReadConditions {
                if_unmodified_since: earlier,
                ..none()
            }),
            "x-amz-copy-source-If-Unmodified-Since"
        );
        assert_eq!(
            failed(ReadConditions {
                if_none_match: tag,
                if_modified_since: earlier,
                ..none()
            }),
            "x-amz-copy-source-If-None-Match"
        );
        assert_eq!(
            failed(ReadConditions {
                if_modified_since: second,
                ..none()
            }),
            "x-amz-copy-source-If-Modified-Since"
        );
        assert_eq!(
            failed(ReadConditions {
                if_none_match: other,
                if_modified_since: second,
                ..none()
            }),
            ""
        );
    }

    #[test]
    fn conditions_of_a_write_hold_or_name_what_failed() {
        let key = ObjectKey::new("k").unwrap();
        let standing = Standing {
            hash: object().hash,
            size: 7,
            last_modified: datetime!(2026-01-02 03:04:05.678 UTC),
        };
        let judge = |conditions: WriteConditions| {
            let outcome = |result| match result {
                Ok(()) => "ok",
                Err(StorageError::PreconditionFailed { condition }) => condition,
                Err(StorageError::NoSuchKey { .. }) => "no such key",
                Err(other) => panic!("{other}"),
            };
            let (there, gone) = (
                conditions.check(&key, Some(&standing)),
                conditions.check(&key, None),
            );
            (outcome(there), outcome(gone))
        };
        let if_match = |tags: &str| WriteConditions {
            if_match: Some(EtagMatch::parse(tags)),
            ..WriteConditions::default()
        };
        let if_none_match = |tags: &str| WriteConditions {
            if_none_match: Some(EtagMatch::parse(tags)),
            ..WriteConditions::default()
        };
        let tag = standing.hash.etag();
        assert_eq!(judge(WriteConditions::default()), ("ok", "ok"));
        assert_eq!(judge(if_match(&tag)), ("ok", "no such key"));
        assert_eq!(judge(if_match("*")), ("ok", "no such key"));
        assert_eq!(judge(if_match("\"x\"")), ("If-Match", "no such key"));
        assert_eq!(judge(if_none_match("*")), ("If-None-Match", "ok"));
        assert_eq!(
            judge(if_none_match(&format!("\"x\", \"{tag}\""))),
            ("If-None-Match", "ok")
        );
        assert_eq!(judge(if_none_match("\"x\"")), ("ok", "ok"));
        let size = |size| WriteConditions {
            if_size: Some(size),
            ..WriteConditions::default()
        };
        assert_eq!(judge(size(7)), ("ok", "ok"));
        assert_eq!(judge(size(8)), ("x-amz-if-match-size", "ok"));
        let modified = |time| WriteConditions {
            if_last_modified: Some(time),
            ..WriteConditions::default()
        };
        assert_eq!(
            judge(modified(datetime!(2026-01-02 03:04:05 UTC))),
            ("ok", "ok")
        );
        assert_eq!(
            judge(modified(datetime!(2026-01-02 03:04:06 UTC))),
            ("x-amz-if-match-last-modified-time", "ok")
        );
    }
}
