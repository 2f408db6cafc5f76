//! Removing copies that have been kept long enough.

use time::OffsetDateTime;

use crate::provider::HfProvider;
use crate::provider::hub::{FileRecord, MAX_BATCH_LINES};
use crate::provider::undo::{expiry_of, place};
use crate::storage::{BucketId, StorageError, Tenant};
use crate::telemetry::UndoEvent;

/// Files removed in one sweep at most, some 150 bytes each; the next one goes on.
const MAX_FILES: usize = 50_000;

impl HfProvider {
    /// Removes the copies of a bucket that have expired, and returns how many: at least one call, and one for 1,000 files.
    ///
    /// No path is ever used for two copies, so what has expired stays so. Ages are those of the Hub's clock; while it is
    /// not known, nothing is removed. Where less than half of the Hub's budget is left, the sweep ends.
    ///
    /// Errors: what the Hub says. What was removed until then stays so.
    pub async fn sweep_copies(
        &self,
        tenant: &Tenant,
        bucket: &BucketId,
    ) -> Result<usize, StorageError> {
        let hub = self.hub();
        let mut paths: Vec<String> = Vec::new();
        self.scan(tenant, bucket, place::all(), |file| {
            if paths.len() < MAX_FILES && hub.now().is_some_and(|now| is_expired(&file, now)) {
                paths.push(file.path);
            }
            Ok(())
        })
        .await?;
        let mut copies = 0;
        for some in paths.chunks(MAX_BATCH_LINES) {
            if !hub.has_spare(&tenant.hub_token) {
                tracing::info!(%bucket, "the sweep ends early, since the hub's budget is scarce");
                break;
            }
            self.remove_paths(tenant, bucket, some).await?;
            copies += some
                .iter()
                .filter(|path| path.ends_with("/content"))
                .count();
        }
        if copies > 0 {
            self.0.metrics.undo(UndoEvent::Expired, copies);
            tracing::info!(%bucket, copies, "copies that were kept for undo have expired");
        }
        Ok(copies)
    }
}

fn is_expired(file: &FileRecord, now: OffsetDateTime) -> bool {
    expiry_of(file).is_some_and(|expiry| expiry < now)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use time::macros::datetime;

    use super::*;
    use crate::provider::undo::lines_that_keep;
    use crate::storage::{ContentHash, ObjectKey};

    #[test]
    fn only_copies_expire_and_each_after_its_own_period() {
        let replaced = datetime!(2026-01-02 12:00 UTC);
        let record = |path: &str| FileRecord {
            path: path.into(),
            size: 1,
            hash: ContentHash::EMPTY,
            mtime: None,
            uploaded_at: replaced,
            content_type: None,
        };
        let kept = |secs| {
            let key = ObjectKey::new("k").unwrap();
            let lines = lines_that_keep(&key, &record("k"), None, Duration::from_secs(secs));
            record(lines[0].path())
        };
        let after = |secs| replaced + time::Duration::seconds(secs);
        assert!(!is_expired(&kept(10), after(10)));
        assert!(is_expired(&kept(10), after(11)));
        assert!(!is_expired(&kept(20), after(11)));
        assert!(!is_expired(&kept(u64::MAX), after(1_000_000)));
        assert!(!is_expired(&record("k"), after(1_000_000)));
        assert!(!is_expired(&record(".hugbucket/parts/x"), after(1_000_000)));
    }
}
