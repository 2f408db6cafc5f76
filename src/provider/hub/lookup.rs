//! Files by their paths.

use http::Method;

use crate::provider::hub::call::Call;
use crate::provider::hub::client::HubClient;
use crate::provider::hub::gather::MAX_PATHS;
use crate::provider::hub::record::FileRecord;
use crate::provider::hub::wire::{WireEntry, WirePaths};
use crate::storage::{BucketId, Secret, StorageError};

impl HubClient {
    /// Looks paths up. Returns those that exist, in no particular order; missing ones are left out.
    ///
    /// Costs a call for 1,000 paths, and shares it with others who ask for the same bucket at the same time. What the answer
    /// tells was true after this was called.
    ///
    /// Errors: `NoSuchBucket`.
    pub async fn paths_info(
        &self,
        token: &Secret,
        bucket: &BucketId,
        paths: &[String],
    ) -> Result<Vec<FileRecord>, StorageError> {
        let mut found = Vec::new();
        for paths in paths.chunks(MAX_PATHS) {
            found.extend(self.look_up_together(token, bucket, paths.to_vec()).await?);
        }
        Ok(found)
    }

    /// Makes one call for at most [`MAX_PATHS`] paths.
    pub(super) async fn send_lookup(
        &self,
        token: &Secret,
        bucket: &BucketId,
        paths: &[String],
    ) -> Result<Vec<FileRecord>, StorageError> {
        let url = self.bucket_url(bucket, &["paths-info"]);
        let call = Call::new("paths_info", Method::POST, url).json(&WirePaths { paths })?;
        let answer = self.send(token, call).await?.accepted(bucket)?;
        let entries: Vec<WireEntry> = answer.json()?;
        Ok(entries
            .into_iter()
            .filter_map(FileRecord::from_wire)
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::hub::fake::{FakeHub, Reply, bucket_id, token};

    #[tokio::test]
    async fn many_paths_are_looked_up_in_several_calls() {
        let page = |path: &str| {
            Reply::json(
                200,
                &serde_json::json!([
                    {"type": "file", "path": path, "size": 0, "uploadedAt": "2026-01-02T03:04:05.000Z"},
                    {"type": "directory", "path": "d"}
                ]),
            )
        };
        let (hub, fake) = FakeHub::start(vec![page("a"), page("b")]).await;
        let mut paths: Vec<_> = (0..1000).map(|n| n.to_string()).collect();
        paths[0] = "a".into();
        paths.push("b".into());
        let found = hub
            .paths_info(&token(), &bucket_id(), &paths)
            .await
            .unwrap();
        let found: Vec<_> = found.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(found, ["a", "b"]);
        assert_eq!(fake.asked()[1].body, "{\"paths\":[\"b\"]}");
        assert_eq!(fake.lines(), ["POST /api/buckets/me/data/paths-info"; 2]);
    }

    #[tokio::test]
    async fn looking_nothing_up_costs_no_call() {
        let (hub, fake) = FakeHub::start(vec![]).await;
        assert_eq!(
            hub.paths_info(&token(), &bucket_id(), &[]).await.unwrap(),
            []
        );
        assert!(fake.asked().is_empty());
    }

    #[tokio::test]
    async fn a_missing_bucket_is_told() {
        let (hub, _) = FakeHub::start(vec![
            Reply::empty(404).header("x-error-code", "RepoNotFound"),
        ])
        .await;
        let error = hub
            .paths_info(&token(), &bucket_id(), &["a".into()])
            .await
            .unwrap_err();
        assert!(matches!(error, StorageError::NoSuchBucket { bucket } if bucket == "data"));
    }
}
