//! Where an answer ended, as a text that any replica can go on from.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::storage::{BucketId, StorageError};

/// Bytes of the tag in front. It guards against mix-ups, not against malice: a token can only ask for what its bearer may
/// list anyway.
const TAG_BYTES: usize = 8;

/// What is listed; a token belongs to one scope.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) bucket: &'a BucketId,
    pub(super) prefix: &'a str,
    pub(super) delimiter: Option<&'a str>,
}

impl Scope<'_> {
    /// Adds the scope to a digest.
    pub(super) fn write_to(&self, digest: &mut Sha256) {
        // Neither bucket ids nor keys contain a zero byte, so the parts cannot run into each other.
        for part in [
            self.bucket.to_string().as_str(),
            self.prefix,
            self.delimiter.unwrap_or_default(),
        ] {
            digest.update(part);
            digest.update([0]);
        }
    }
}

/// Where to go on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Position {
    /// The Hub's cursor of the next tree page; `None` for the first.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub(super) cursor: Option<String>,
    /// The last path before that page; empty before the first. Tells which directories were entered already.
    #[serde(rename = "p", default, skip_serializing_if = "String::is_empty")]
    pub(super) previous: String,
    /// The last name that was listed, or that the client wants to start behind.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<String>,
    /// Directories that were seen, but must not be listed yet; without their slashes.
    #[serde(rename = "h", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) held: Vec<String>,
    /// Whether a part of that page was listed already: names up to `after` are then expected in it.
    #[serde(rename = "r", default, skip_serializing_if = "is_false")]
    pub(super) is_within_page: bool,
    /// Whether the Hub's pages are not sorted, so that the cursor means nothing.
    #[serde(rename = "u", default, skip_serializing_if = "is_false")]
    pub(super) is_unsorted: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl Position {
    /// Returns the beginning of the Hub's listing, to be shown from behind `after`.
    pub(super) fn beginning(after: Option<String>) -> Self {
        Self {
            after,
            is_within_page: true,
            ..Self::default()
        }
    }

    /// Returns the token: printable, safe in a query.
    pub(super) fn to_token(&self, scope: &Scope<'_>) -> String {
        let json = serde_json::to_vec(self).expect("texts and flags can always be written as JSON");
        let mut bytes = tag(scope, &json).to_vec();
        bytes.extend_from_slice(&json);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a token. Errors: `InvalidArgument` for one that was not issued for this scope.
    pub(super) fn from_token(text: &str, scope: &Scope<'_>) -> Result<Self, StorageError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid())?;
        let (given, json) = bytes.split_at_checked(TAG_BYTES).ok_or_else(invalid)?;
        if given != tag(scope, json) {
            return Err(invalid());
        }
        serde_json::from_slice(json).map_err(|_| invalid())
    }
}

/// Returns the error for a token that is none.
pub(super) fn invalid() -> StorageError {
    StorageError::InvalidArgument {
        name: "continuation-token",
        reason: "The continuation token provided is incorrect".into(),
    }
}

fn tag(scope: &Scope<'_>, json: &[u8]) -> [u8; TAG_BYTES] {
    let mut digest = Sha256::new();
    scope.write_to(&mut digest);
    digest.update(json);
    let mut tag = [0; TAG_BYTES];
    tag.copy_from_slice(&digest.finalize()[..TAG_BYTES]);
    tag
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::hub::fake::bucket_id;

    #[test]
    fn a_token_belongs_to_one_scope() {
        let bucket = bucket_id();
        let scope = |prefix, delimiter| Scope {
            bucket: &bucket,
            prefix,
            delimiter,
        };
        let position = Position {
            cursor: Some("limit=2&cursor=%C3%BC".into()),
            previous: "ü/".into(),
            after: Some("ü".into()),
            held: vec!["a".into()],
            is_within_page: true,
            is_unsorted: false,
        };
        let token = position.to_token(&scope("p", Some("/")));
        assert!(token.bytes().all(|byte| byte.is_ascii_graphic()));
        let read = |prefix, delimiter| Position::from_token(&token, &scope(prefix, delimiter));
        assert_eq!(read("p", Some("/")).unwrap(), position);
        assert!(read("p", None).is_err());
        assert!(read("q", Some("/")).is_err());
        assert!(read("p/", Some("")).is_err());
    }

    #[test]
    fn no_single_changed_character_passes() {
        let bucket = bucket_id();
        let scope = Scope {
            bucket: &bucket,
            prefix: "",
            delimiter: None,
        };
        let token = Position::beginning(Some("a".into())).to_token(&scope);
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(Position::from_token(&changed, &scope).is_err(), "{at}");
        }
    }
}
