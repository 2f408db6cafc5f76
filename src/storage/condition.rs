//! Preconditions of reads.

use time::OffsetDateTime;

use crate::storage::error::StorageError;
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
        // Header dates have whole seconds; the Hub's have milliseconds.
        let modified = object
            .last_modified
            .replace_nanosecond(0)
            .unwrap_or(object.last_modified);
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

    /// Judges the conditions as a copy source's: what a read answers with 304 is 412 here, as S3 does.
    ///
    /// Errors: [`StorageError::PreconditionFailed`].
    pub fn check_copy_source(&self, source: &ObjectInfo) -> Result<(), StorageError> {
        self.check(source).map_err(|error| match error {
            StorageError::NotModified { .. } => {
                let condition = if self.if_none_match.is_some() {
                    "x-amz-copy-source-if-none-match"
                } else {
                    "x-amz-copy-source-if-modified-since"
                };
                StorageError::PreconditionFailed { condition }
            }
            other => other,
        })
    }
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
            has_sidecar: false,
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
}
