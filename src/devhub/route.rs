//! The calls that the development Hub serves, by name.

use serde::{Deserialize, Serialize};

/// A kind of call. Names are in kebab case: `paths-info`, `xorb-get`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are those of the calls")]
pub enum Route {
    Whoami,
    BucketList,
    BucketInfo,
    BucketCreate,
    BucketDelete,
    BucketSettings,
    BucketMove,
    Tree,
    PathsInfo,
    Batch,
    Events,
    ReadToken,
    WriteToken,
    Resolve,
    Reconstruction,
    FileChunkHashes,
    Chunk,
    XorbHead,
    XorbPost,
    Grant,
    GrantPut,
    GrantCommit,
    Shard,
    Telemetry,
    XorbGet,
    FileGet,
}

/// Who answers a call: decides latency and rate limits. Names in JSON are in kebab case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouteClass {
    /// The Hub's API.
    Api,
    /// The Hub's resolver.
    Resolver,
    /// The CAS.
    Cas,
    /// Storage and CDN, reached by signed addresses.
    Storage,
}

impl Route {
    /// All routes, in the order of their declaration.
    pub const ALL: [Self; 26] = [
        Self::Whoami,
        Self::BucketList,
        Self::BucketInfo,
        Self::BucketCreate,
        Self::BucketDelete,
        Self::BucketSettings,
        Self::BucketMove,
        Self::Tree,
        Self::PathsInfo,
        Self::Batch,
        Self::Events,
        Self::ReadToken,
        Self::WriteToken,
        Self::Resolve,
        Self::Reconstruction,
        Self::FileChunkHashes,
        Self::Chunk,
        Self::XorbHead,
        Self::XorbPost,
        Self::Grant,
        Self::GrantPut,
        Self::GrantCommit,
        Self::Shard,
        Self::Telemetry,
        Self::XorbGet,
        Self::FileGet,
    ];

    /// Returns the name of the route.
    pub fn name(self) -> &'static str {
        match self {
            Self::Whoami => "whoami",
            Self::BucketList => "bucket-list",
            Self::BucketInfo => "bucket-info",
            Self::BucketCreate => "bucket-create",
            Self::BucketDelete => "bucket-delete",
            Self::BucketSettings => "bucket-settings",
            Self::BucketMove => "bucket-move",
            Self::Tree => "tree",
            Self::PathsInfo => "paths-info",
            Self::Batch => "batch",
            Self::Events => "events",
            Self::ReadToken => "read-token",
            Self::WriteToken => "write-token",
            Self::Resolve => "resolve",
            Self::Reconstruction => "reconstruction",
            Self::FileChunkHashes => "file-chunk-hashes",
            Self::Chunk => "chunk",
            Self::XorbHead => "xorb-head",
            Self::XorbPost => "xorb-post",
            Self::Grant => "grant",
            Self::GrantPut => "grant-put",
            Self::GrantCommit => "grant-commit",
            Self::Shard => "shard",
            Self::Telemetry => "telemetry",
            Self::XorbGet => "xorb-get",
            Self::FileGet => "file-get",
        }
    }

    /// Returns who answers the call.
    pub fn class(self) -> RouteClass {
        match self {
            Self::Whoami
            | Self::BucketList
            | Self::BucketInfo
            | Self::BucketCreate
            | Self::BucketDelete
            | Self::BucketSettings
            | Self::BucketMove
            | Self::Tree
            | Self::PathsInfo
            | Self::Batch
            | Self::Events
            | Self::ReadToken
            | Self::WriteToken => RouteClass::Api,
            Self::Resolve => RouteClass::Resolver,
            Self::Reconstruction
            | Self::FileChunkHashes
            | Self::Chunk
            | Self::XorbHead
            | Self::XorbPost
            | Self::Grant
            | Self::GrantCommit
            | Self::Shard
            | Self::Telemetry => RouteClass::Cas,
            Self::GrantPut | Self::XorbGet | Self::FileGet => RouteClass::Storage,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_json_and_in_code_agree_and_the_list_is_in_order() {
        for (index, route) in Route::ALL.into_iter().enumerate() {
            assert_eq!(route as usize, index);
            assert_eq!(serde_json::to_value(route).unwrap(), route.name());
        }
    }
}
