//! Another writer beside the gateway: the Hub's own API, as the `hf` command uses it.

use hugbucket::provider::http::HttpConfig;
use hugbucket::provider::hub::{BatchLine, FileRecord, HubClient, HubConfig, TreeEntry, TreeQuery};
use hugbucket::storage::name::HIDDEN_PREFIX;
use hugbucket::storage::{BucketId, BucketName, Namespace, Secret};
use hugbucket::telemetry::Metrics;

use crate::stand::{BUCKET, HUB_TOKEN, NAMESPACE, Stand};

/// A client of the Hub, for the bucket of the stand.
pub(crate) struct Beside {
    hub: HubClient,
    token: Secret,
    bucket: BucketId,
}

impl Beside {
    pub(crate) fn of(stand: &Stand) -> Self {
        let config = HubConfig {
            endpoint: stand.hub.url(),
            http: HttpConfig {
                uses_env_proxy: false,
                ..HttpConfig::default()
            },
        };
        Self {
            hub: HubClient::new(config, Metrics::new()).unwrap(),
            token: Secret::new(HUB_TOKEN),
            bucket: BucketId {
                namespace: Namespace::new(NAMESPACE).unwrap(),
                name: BucketName::new(BUCKET).unwrap(),
            },
        }
    }

    /// Returns what the Hub knows of a path.
    pub(crate) async fn file(&self, path: &str) -> Option<FileRecord> {
        let wanted = [path.to_owned()];
        let found = self.hub.paths_info(&self.token, &self.bucket, &wanted);
        found.await.unwrap().pop()
    }

    /// Returns the paths of the gateway's own files.
    pub(crate) async fn hidden_paths(&self) -> Vec<String> {
        let query = TreeQuery {
            prefix: HIDDEN_PREFIX.into(),
            is_recursive: true,
            limit: 1000,
        };
        let page = self.hub.tree_page(&self.token, &self.bucket, &query, None);
        let files = page.await.unwrap().entries.into_iter();
        files
            .filter_map(|entry| match entry {
                TreeEntry::File(file) => Some(file.path),
                TreeEntry::Directory(_) => None,
            })
            .collect()
    }

    /// Registers the content of one file under another path, with nothing else.
    pub(crate) async fn overwrite(&self, path: &str, with: &FileRecord) {
        self.send(BatchLine::AddFile {
            path: path.into(),
            hash: with.hash,
            mtime: with.mtime,
            content_type: None,
        })
        .await;
    }

    /// Deletes a file.
    pub(crate) async fn delete(&self, path: &str) {
        self.send(BatchLine::DeleteFile { path: path.into() }).await;
    }

    async fn send(&self, line: BatchLine) {
        let lines = [line];
        let verdicts = self.hub.batch(&self.token, &self.bucket, &lines).await;
        assert!(verdicts.unwrap().iter().all(Result::is_ok));
    }
}
