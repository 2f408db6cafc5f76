//! The JSON of the Hub's buckets API. Tolerant on the way in: unknown fields are ignored, and what may be absent is optional.
//!
//! Source: the Hub's OpenAPI document, and what `huggingface_hub` 2.4 sends and reads.

use serde::{Deserialize, Serialize};

/// Answer of `GET /api/whoami-v2`.
#[derive(Debug, Clone, Deserialize)]
pub struct WireWhoAmI {
    /// User or organisation name.
    pub name: String,
    /// Organisations the user belongs to.
    #[serde(default)]
    pub orgs: Vec<WireOrg>,
    /// How the caller proved its identity.
    #[serde(default)]
    pub auth: Option<WireAuth>,
}

/// An organisation of a user.
#[derive(Debug, Clone, Deserialize)]
pub struct WireOrg {
    /// Its name.
    pub name: String,
}

/// How a caller proved its identity.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WireAuth {
    /// The token, if it was one.
    #[serde(default)]
    pub access_token: Option<WireAccessToken>,
}

/// An access token of the Hub; not its text.
#[derive(Debug, Clone, Deserialize)]
pub struct WireAccessToken {
    /// `read`, `write`, or `fineGrained`.
    #[serde(default)]
    pub role: Option<String>,
}

/// A bucket, alone or in a list.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WireBucket {
    /// `namespace/name`
    pub id: String,
    /// Whether only the namespace's members see it.
    #[serde(default)]
    pub private: bool,
    /// ISO 8601.
    #[serde(default)]
    pub created_at: Option<String>,
    /// ISO 8601; moves on every mutation.
    #[serde(default)]
    pub updated_at: Option<String>,
    /// Bytes held.
    #[serde(default)]
    pub size: Option<u64>,
    /// Files held.
    #[serde(default)]
    pub total_files: Option<u64>,
}

/// Body of `POST /api/buckets/{namespace}/{name}`.
#[derive(Debug, Clone, Serialize)]
pub struct WireCreateBucket {
    /// Whether only the namespace's members see it.
    pub private: bool,
}

/// An entry of a tree or of a `paths-info` answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WireEntry {
    /// `file` or `directory`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The path; a directory's has no trailing slash.
    pub path: String,
    /// Bytes.
    #[serde(default)]
    pub size: Option<u64>,
    /// 64 hex digits.
    #[serde(default)]
    pub xet_hash: Option<String>,
    /// ISO 8601; the file's own modification time.
    #[serde(default)]
    pub mtime: Option<String>,
    /// ISO 8601; when the Hub registered the content.
    #[serde(default)]
    pub uploaded_at: Option<String>,
    /// The Content-Type given at registration.
    #[serde(default)]
    pub content_type: Option<String>,
}

/// Body of `paths-info`.
#[derive(Debug, Clone, Serialize)]
pub struct WirePaths<'a> {
    /// The paths to look up.
    pub paths: &'a [String],
}

/// A line of a batch.
#[derive(Debug, Clone, Serialize)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum WireLine<'a> {
    /// Registers a file by its content.
    AddFile {
        /// Where.
        path: &'a str,
        /// The content: 64 hex digits.
        xet_hash: &'a str,
        /// Milliseconds since 1970.
        #[serde(skip_serializing_if = "Option::is_none")]
        mtime: Option<i64>,
        /// Content-Type.
        #[serde(skip_serializing_if = "Option::is_none")]
        content_type: Option<&'a str>,
    },
    /// Registers a file by the content of another repository's.
    CopyFile {
        /// Where.
        path: &'a str,
        /// The content: 64 hex digits.
        xet_hash: &'a str,
        /// Milliseconds since 1970.
        #[serde(skip_serializing_if = "Option::is_none")]
        mtime: Option<i64>,
        /// `bucket`
        source_repo_type: &'a str,
        /// `namespace/name`
        source_repo_id: String,
    },
    /// Removes a file.
    DeleteFile {
        /// Where.
        path: &'a str,
    },
}

/// Answer of a batch.
#[derive(Debug, Clone, Deserialize)]
pub struct WireBatchAnswer {
    /// Lines that the Hub looked at.
    pub processed: u64,
    /// Lines that took effect.
    #[serde(default)]
    pub succeeded: Option<u64>,
    /// Lines that did not.
    #[serde(default)]
    pub failed: Vec<WireFailure>,
}

/// A line that did not take effect.
#[derive(Debug, Clone, Deserialize)]
pub struct WireFailure {
    /// The line's path.
    pub path: String,
    /// Why.
    #[serde(default)]
    pub error: String,
}

/// Answer of `xet-read-token` and `xet-write-token`. It holds a secret, and so there is no `Debug`.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WireXetToken {
    /// Base address of the CAS.
    pub cas_url: String,
    /// Unix seconds.
    pub exp: i64,
    /// Bearer token for the CAS.
    pub access_token: String,
}

/// Body of every refusal.
#[derive(Debug, Clone, Deserialize)]
pub struct WireError {
    /// What is wrong, for people.
    pub error: String,
}
