//! Sweeping: what nobody will complete any more is removed.
//!
//! # Behaviour
//! - An upload is abandoned once neither its record nor any of its parts is younger than the expiry; without an expiry it
//!   never is.
//! - Parts without a record, and what a completion or an abort left behind, are removed after an hour: by then whoever was
//!   removing them has failed.
//! - The mark of a completion is removed after a day.
//! - Ages are those of the Hub's clock, which also gave the files their times. While it is not known, nothing is removed.
//! - A record goes before its parts. Two sweepers at once are harmless: each removes what is gone already.
//! - Where less than half of the Hub's budget is left, the sweep ends; the next one goes on.

use std::collections::BTreeMap;

use time::{Duration, OffsetDateTime};

use crate::provider::HfProvider;
use crate::provider::hub::FileRecord;
use crate::provider::multipart::Layout;
use crate::provider::multipart::layout::{Kind, kind_of, marks, parts, records};
use crate::storage::{BucketId, StorageError, Tenant, UploadId};
use crate::telemetry::UploadEvent;

/// How long after the youngest file whoever removes an upload must have finished.
const GRACE: Duration = Duration::hours(1);

/// How long a repeated completion is answered.
const MARK_LIFE: Duration = Duration::hours(24);

/// Uploads looked at in one sweep at most, some 150 bytes each.
const MAX_UPLOADS: usize = 50_000;

/// What a sweep removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Uploads, or what was left of them.
    pub uploads: usize,
    /// Marks of completions.
    pub marks: usize,
}

/// When the files of an upload were registered; each is `None` if there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Ages {
    record: Option<OffsetDateTime>,
    newest_part: Option<OffsetDateTime>,
    mark: Option<OffsetDateTime>,
}

/// What is to be removed of an upload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Doom {
    /// Its record and its parts.
    files: bool,
    mark: bool,
}

impl Ages {
    fn note(&mut self, kind: Kind, uploaded_at: OffsetDateTime) {
        let age = match kind {
            Kind::Record => &mut self.record,
            Kind::Part => &mut self.newest_part,
            Kind::Mark => &mut self.mark,
        };
        *age = Some(uploaded_at).max(*age);
    }

    fn doom(&self, now: OffsetDateTime, expiry: Option<Duration>) -> Doom {
        let is_older = |time: Option<OffsetDateTime>, than| time.is_some_and(|t| now - t > than);
        let newest = self.record.max(self.newest_part);
        let files = match (self.record, self.mark) {
            (_, Some(_)) => newest.is_some() && is_older(newest.max(self.mark), GRACE),
            (None, None) => is_older(self.newest_part, GRACE),
            (Some(_), None) => expiry.is_some_and(|expiry| is_older(newest, expiry.max(GRACE))),
        };
        Doom {
            files,
            mark: is_older(self.mark, MARK_LIFE),
        }
    }
}

impl HfProvider {
    /// Sweeps a bucket: at least three calls, and two or three for each upload that is removed.
    ///
    /// Errors: what the Hub says. What was removed until then stays so.
    pub async fn sweep(&self, tenant: &Tenant, bucket: &BucketId) -> Result<Swept, StorageError> {
        let mut swept = Swept::default();
        for (upload_id, _) in self.doomed(tenant, bucket).await? {
            if !self.hub().has_spare(&tenant.hub_token) {
                tracing::info!(%bucket, "the sweep ends early, since the hub's budget is scarce");
                break;
            }
            let removed = self.sweep_upload(tenant, bucket, &upload_id).await?;
            swept.uploads += usize::from(removed.files);
            swept.marks += usize::from(removed.mark);
        }
        if swept != Swept::default() {
            tracing::info!(%bucket, uploads = swept.uploads, marks = swept.marks, "swept");
        }
        Ok(swept)
    }

    /// Looks for uploads of which something is to be removed.
    async fn doomed(
        &self,
        tenant: &Tenant,
        bucket: &BucketId,
    ) -> Result<Vec<(UploadId, Doom)>, StorageError> {
        let mut ages: BTreeMap<UploadId, Ages> = BTreeMap::new();
        // Parts come first: one that is taken in between has a record by the time records are listed.
        for prefix in [parts(), records(), marks()] {
            self.scan(tenant, bucket, prefix, |file| {
                if let Some((kind, upload_id)) = kind_of(&file.path)
                    && (ages.len() < MAX_UPLOADS || ages.contains_key(&upload_id))
                {
                    let upload = ages.entry(upload_id).or_default();
                    upload.note(kind, file.uploaded_at);
                }
                Ok(())
            })
            .await?;
        }
        let Some(now) = self.hub().now() else {
            return Ok(Vec::new());
        };
        let expiry = self.0.sweeper.expiry();
        let doomed = ages
            .into_iter()
            .map(|(upload_id, ages)| (upload_id, ages.doom(now, expiry)));
        Ok(doomed
            .filter(|(_, doom)| *doom != Doom::default())
            .collect())
    }

    /// Looks at an upload again, alone, and removes what is still to be removed of it.
    async fn sweep_upload(
        &self,
        tenant: &Tenant,
        bucket: &BucketId,
        upload_id: &UploadId,
    ) -> Result<Doom, StorageError> {
        let _turn = self.0.uploads.turns.take(bucket, upload_id).await;
        let layout = Layout::of(upload_id);
        let files = self.files_of(tenant, bucket, &layout).await?;
        let state_paths = [layout.record(), layout.done_record(), layout.done_object()];
        let state = self
            .hub()
            .paths_info(&tenant.hub_token, bucket, &state_paths)
            .await?;
        let Some(now) = self.hub().now() else {
            return Ok(Doom::default());
        };
        let mut ages = Ages::default();
        for FileRecord {
            path, uploaded_at, ..
        } in files.iter().chain(&state)
        {
            if let Some((kind, _)) = kind_of(path) {
                ages.note(kind, *uploaded_at);
            }
        }
        let doom = ages.doom(now, self.0.sweeper.expiry());
        if doom.files {
            self.remove_upload(tenant, bucket, upload_id, &files)
                .await?;
            // What is left of a completed upload has no record, or stands beside the mark.
            if ages.record.is_some() && ages.mark.is_none() {
                let metrics = &self.0.uploads.metrics;
                metrics.multipart_upload(UploadEvent::Expired);
            }
        }
        if doom.mark {
            self.remove_paths(tenant, bucket, &state_paths[1..]).await?;
        }
        Ok(doom)
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-01-31 12:00 UTC);
    const WEEK: Option<Duration> = Some(Duration::days(7));

    /// Ages in hours, of the record, the newest part, and the mark.
    fn doom(ages: [Option<i64>; 3], expiry: Option<Duration>) -> (bool, bool) {
        let [record, newest_part, mark] =
            ages.map(|hours| hours.map(|hours| NOW - Duration::hours(hours)));
        let ages = Ages {
            record,
            newest_part,
            mark,
        };
        let doom = ages.doom(NOW, expiry);
        (doom.files, doom.mark)
    }

    #[test]
    fn an_upload_lives_until_its_newest_file_is_too_old() {
        let files = |record, part| doom([Some(record), part, None], WEEK).0;
        assert!(!files(7 * 24, None));
        assert!(files(7 * 24 + 1, None));
        assert!(!files(30 * 24, Some(7 * 24)));
        assert!(files(30 * 24, Some(7 * 24 + 1)));
        assert!(!files(1, Some(30 * 24)));
    }

    #[test]
    fn without_an_expiry_no_upload_is_abandoned() {
        assert_eq!(doom([Some(9999), Some(9999), None], None), (false, false));
        let short = Some(Duration::minutes(1));
        assert_eq!(doom([Some(1), None, None], short), (false, false));
        assert_eq!(doom([Some(2), None, None], short), (true, false));
    }

    #[test]
    fn parts_without_a_record_have_an_hour() {
        assert_eq!(doom([None, Some(1), None], None), (false, false));
        assert_eq!(doom([None, Some(2), None], None), (true, false));
    }

    #[test]
    fn what_a_completion_left_behind_has_an_hour_and_its_mark_a_day() {
        assert_eq!(doom([Some(90), Some(90), Some(1)], None), (false, false));
        assert_eq!(doom([Some(90), Some(90), Some(2)], None), (true, false));
        assert_eq!(doom([None, None, Some(24)], WEEK), (false, false));
        assert_eq!(doom([None, None, Some(25)], WEEK), (false, true));
        assert_eq!(doom([Some(90), None, Some(25)], WEEK), (true, true));
    }

    #[test]
    fn the_newest_part_counts() {
        let mut ages = Ages::default();
        for minutes in [5, 9, 7] {
            ages.note(Kind::Part, NOW + Duration::minutes(minutes));
        }
        assert_eq!(ages.newest_part, Some(NOW + Duration::minutes(9)));
    }
}
