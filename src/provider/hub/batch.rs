//! Batches: the only way in which files appear, move, and disappear.
//!
//! A batch is not a transaction. A status of 200 says that all or *part* of it took effect, so every line has a verdict of
//! its own here; whoever looks only at the status loses writes.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use http::Method;
use time::OffsetDateTime;

use crate::provider::hub::call::{Answer, Call};
use crate::provider::hub::client::HubClient;
use crate::provider::hub::error;
use crate::provider::hub::wire::{WireBatchAnswer, WireLine};
use crate::storage::{BucketId, ContentHash, Secret, StorageError};

/// Lines in a batch at most.
pub const MAX_BATCH_LINES: usize = 1000;

/// A line of a batch. Adds and copies come before deletes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatchLine {
    /// Registers a file by its content, which the CAS must know.
    AddFile {
        /// Where.
        path: String,
        /// The content.
        hash: ContentHash,
        /// The file's modification time, kept in milliseconds.
        mtime: Option<OffsetDateTime>,
        /// Content-Type.
        content_type: Option<String>,
    },
    /// Registers a file by the content of another bucket's; no Content-Type comes along.
    CopyFile {
        /// Where.
        path: String,
        /// The content.
        hash: ContentHash,
        /// The file's modification time, kept in milliseconds.
        mtime: Option<OffsetDateTime>,
        /// The bucket that holds this content.
        source: BucketId,
    },
    /// Removes a file.
    DeleteFile {
        /// Where.
        path: String,
    },
}

impl BatchLine {
    /// Returns the path that the line is about.
    pub fn path(&self) -> &str {
        match self {
            Self::AddFile { path, .. }
            | Self::CopyFile { path, .. }
            | Self::DeleteFile { path } => path,
        }
    }

    fn wire(&self) -> WireLine<'_> {
        match self {
            Self::AddFile {
                path,
                hash,
                mtime,
                content_type,
            } => WireLine::AddFile {
                path,
                xet_hash: hash.as_str(),
                mtime: mtime.map(milliseconds),
                content_type: content_type.as_deref(),
            },
            Self::CopyFile {
                path,
                hash,
                mtime,
                source,
            } => WireLine::CopyFile {
                path,
                xet_hash: hash.as_str(),
                mtime: mtime.map(milliseconds),
                source_repo_type: "bucket",
                source_repo_id: source.to_string(),
            },
            Self::DeleteFile { path } => WireLine::DeleteFile { path },
        }
    }
}

/// Rounds down, before 1970 too.
fn milliseconds(moment: OffsetDateTime) -> i64 {
    let millis = moment.unix_timestamp_nanos().div_euclid(1_000_000);
    i64::try_from(millis).expect("years of at most six digits in milliseconds fit into 64 bits")
}

/// Why one line did not take effect. It may well do so when it is sent again a little later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the hub did not accept the line: {reason}")]
pub struct EntryError {
    /// The Hub's own words.
    pub reason: String,
}

/// Why a batch has no verdicts.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BatchError {
    /// Nothing took effect, and the reason may lie in a single line (400, 403, 413, 422 without entries): what remains
    /// when the batch is split tells which.
    #[error("refused as a whole: {0}")]
    Refused(StorageError),
    /// The batch was sent, and what took effect is not known: the paths must be looked up before anything is sent again.
    #[error("the answer is lost: {0}")]
    AnswerLost(StorageError),
    /// Nothing took effect, whatever the lines say: the Hub is out of reach, the budget is used up, the bucket is gone,
    /// or the token is refused.
    #[error("not carried out: {0}")]
    NotDone(StorageError),
}

impl HubClient {
    /// Sends a batch of 1 to 1,000 lines and returns one verdict for each line, in their order.
    ///
    /// Lines of the same path share a failure, since the Hub names failures by path.
    ///
    /// Errors: [`BatchError`] where the Hub gave no verdicts, or ones that do not add up.
    pub async fn batch(
        &self,
        token: &Secret,
        bucket: &BucketId,
        lines: &[BatchLine],
    ) -> Result<Vec<Result<(), EntryError>>, BatchError> {
        let body = ndjson(lines).map_err(BatchError::NotDone)?;
        let call = Call::new("batch", Method::POST, self.bucket_url(bucket, &["batch"]))
            .body("application/x-ndjson", body)
            .unrepeatable();
        match self.send(token, call).await {
            Ok(answer) => judge(&answer, bucket, lines),
            Err(no_answer) if no_answer.is_lost => Err(BatchError::AnswerLost(no_answer.error)),
            Err(no_answer) => Err(BatchError::NotDone(no_answer.error)),
        }
    }
}

fn ndjson(lines: &[BatchLine]) -> Result<Bytes, StorageError> {
    let mut body = Vec::with_capacity(lines.len() * 160);
    for line in lines {
        serde_json::to_writer(&mut body, &line.wire())
            .map_err(|error| StorageError::internal(format!("cannot write JSON: {error}")))?;
        body.push(b'\n');
    }
    Ok(body.into())
}

fn judge(
    answer: &Answer,
    bucket: &BucketId,
    lines: &[BatchLine],
) -> Result<Vec<Result<(), EntryError>>, BatchError> {
    let refusal = || error::refusal(answer, bucket);
    match answer.status.as_u16() {
        200..=299 => accepted(answer, lines),
        422 => match none_succeeded(answer, lines) {
            Some(verdicts) => Ok(verdicts),
            None if error::is_explained(answer) => Err(BatchError::Refused(refusal())),
            // It may have named lines that can be sent again; a client must not pay for a damaged answer with a refusal.
            None => Err(BatchError::AnswerLost(error::senseless(
                answer,
                "a 422 without a reason",
            ))),
        },
        400 | 403 | 413 => Err(BatchError::Refused(refusal())),
        401 | 404 | 408 | 429 | 503 | 507 => Err(BatchError::NotDone(refusal())),
        _ => Err(BatchError::AnswerLost(refusal())),
    }
}

/// Judges the lines of an answer that speaks of success, unless its numbers contradict each other or the request: then
/// nothing it says is trusted.
fn accepted(
    answer: &Answer,
    lines: &[BatchLine],
) -> Result<Vec<Result<(), EntryError>>, BatchError> {
    let lost = |what: &str| BatchError::AnswerLost(error::senseless(answer, what));
    let wire: WireBatchAnswer = answer.json().map_err(BatchError::AnswerLost)?;
    let sent = lines.len() as u64;
    if wire.processed != sent {
        return Err(lost(&format!(
            "{sent} lines were sent, {} processed",
            wire.processed
        )));
    }
    let failed = wire.failed.len() as u64;
    if wire.succeeded.is_some_and(|count| count + failed != sent) {
        return Err(lost("succeeded and failed lines do not add up"));
    }
    let reasons = reasons(wire);
    let paths: HashSet<&str> = lines.iter().map(BatchLine::path).collect();
    if reasons.keys().any(|path| !paths.contains(path.as_str())) {
        return Err(lost("a path has failed that was not sent"));
    }
    let verdicts = lines.iter().map(|line| match reasons.get(line.path()) {
        Some(reason) => Err(EntryError {
            reason: reason.clone(),
        }),
        None => Ok(()),
    });
    Ok(verdicts.collect())
}

/// Judges the lines of a 422, under which no line has succeeded; `None` if it names no line.
fn none_succeeded(answer: &Answer, lines: &[BatchLine]) -> Option<Vec<Result<(), EntryError>>> {
    let wire: WireBatchAnswer = answer.json().ok()?;
    if wire.failed.is_empty() {
        return None;
    }
    let reasons = reasons(wire);
    let verdicts = lines.iter().map(|line| {
        let reason = reasons.get(line.path()).cloned();
        Err(EntryError {
            reason: reason.unwrap_or_else(|| "no line of the batch succeeded".into()),
        })
    });
    Some(verdicts.collect())
}

fn reasons(wire: WireBatchAnswer) -> HashMap<String, String> {
    wire.failed
        .into_iter()
        .map(|failure| (failure.path, failure.error))
        .collect()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::provider::hub::fake::{FakeHub, Reply, bucket_id, token};

    fn delete(path: &str) -> BatchLine {
        BatchLine::DeleteFile { path: path.into() }
    }

    async fn send(
        replies: Vec<Reply>,
        lines: &[BatchLine],
    ) -> (Result<Vec<Result<(), EntryError>>, BatchError>, FakeHub) {
        let (hub, fake) = FakeHub::start(replies).await;
        (hub.batch(&token(), &bucket_id(), lines).await, fake)
    }

    fn failed(reason: &str) -> Result<(), EntryError> {
        Err(EntryError {
            reason: reason.into(),
        })
    }

    #[tokio::test]
    async fn lines_are_written_as_the_hub_reads_them() {
        let lines = [
            BatchLine::AddFile {
                path: "a \"b\"".into(),
                hash: ContentHash::EMPTY,
                mtime: Some(datetime!(1969-12-31 23:59:59.999_9 UTC)),
                content_type: Some("text/plain".into()),
            },
            BatchLine::CopyFile {
                path: "c".into(),
                hash: ContentHash::EMPTY,
                mtime: None,
                source: bucket_id(),
            },
            delete("d"),
        ];
        let body =
            serde_json::json!({"success": true, "processed": 3, "succeeded": 3, "failed": []});
        let (verdicts, fake) = send(vec![Reply::json(200, &body)], &lines).await;
        assert_eq!(verdicts.unwrap(), [Ok(()), Ok(()), Ok(())]);
        let asked = &fake.asked()[0];
        assert_eq!(asked.line, "POST /api/buckets/me/data/batch");
        assert_eq!(asked.headers["content-type"], "application/x-ndjson");
        let zeros = "0".repeat(64);
        assert_eq!(
            asked.body,
            format!(
                "{{\"type\":\"addFile\",\"path\":\"a \\\"b\\\"\",\"xetHash\":\"{zeros}\",\"mtime\":-1,\"contentType\":\"text/plain\"}}\n\
                 {{\"type\":\"copyFile\",\"path\":\"c\",\"xetHash\":\"{zeros}\",\"sourceRepoType\":\"bucket\",\"sourceRepoId\":\"me/data\"}}\n\
                 {{\"type\":\"deleteFile\",\"path\":\"d\"}}\n"
            )
        );
    }

    #[tokio::test]
    async fn every_line_has_its_own_verdict() {
        let body = serde_json::json!({
            "success": false, "processed": 3, "succeeded": 2, "failed": [{"path": "b", "error": "not now"}]
        });
        let lines = [delete("a"), delete("b"), delete("c")];
        let (verdicts, _) = send(vec![Reply::json(200, &body)], &lines).await;
        assert_eq!(verdicts.unwrap(), [Ok(()), failed("not now"), Ok(())]);
    }

    #[tokio::test]
    async fn an_answer_that_does_not_add_up_is_no_verdict() {
        for body in [
            serde_json::json!({"success": true, "processed": 1}),
            serde_json::json!({"success": true, "processed": 2, "succeeded": 1, "failed": []}),
            serde_json::json!({"success": true, "processed": 2, "failed": [{"path": "x", "error": ""}]}),
            serde_json::json!({"success": true}),
        ] {
            let (verdicts, _) =
                send(vec![Reply::json(200, &body)], &[delete("a"), delete("b")]).await;
            assert!(matches!(verdicts, Err(BatchError::AnswerLost(_))), "{body}");
        }
    }

    #[tokio::test]
    async fn a_422_fails_every_line_or_the_batch() {
        let body = serde_json::json!({
            "success": false, "processed": 2, "succeeded": 0, "failed": [{"path": "a", "error": "bad path"}]
        });
        let lines = [delete("a"), delete("b")];
        let (verdicts, _) = send(vec![Reply::json(422, &body)], &lines).await;
        assert_eq!(
            verdicts.unwrap(),
            [failed("bad path"), failed("no line of the batch succeeded")]
        );
        let refusal = Reply::json(422, &serde_json::json!({"error": "line 1 is no JSON"}));
        let (verdicts, _) = send(vec![refusal], &lines).await;
        assert!(matches!(verdicts, Err(BatchError::Refused(_))));
        let bare = Reply::empty(422).header("x-error-message", "line 1 is no JSON");
        let (verdicts, _) = send(vec![bare], &lines).await;
        assert!(matches!(verdicts, Err(BatchError::Refused(_))));
    }

    #[tokio::test]
    async fn a_damaged_422_refuses_nothing() {
        let damaged = serde_json::json!(["success", false]);
        for reply in [Reply::json(422, &damaged), Reply::empty(422)] {
            let (verdicts, fake) = send(vec![reply], &[delete("a")]).await;
            assert!(matches!(verdicts, Err(BatchError::AnswerLost(_))));
            assert_eq!(fake.asked().len(), 1, "it is not sent again unseen");
        }
    }

    #[tokio::test]
    async fn refusals_lost_answers_and_idle_hubs_are_told_apart() {
        let kind = async |status: u16| {
            let (verdicts, fake) = send(vec![Reply::empty(status)], &[delete("a")]).await;
            let kind = match verdicts.unwrap_err() {
                BatchError::Refused(_) => "refused",
                BatchError::AnswerLost(_) => "lost",
                BatchError::NotDone(_) => "not done",
            };
            (kind, fake.asked().len())
        };
        for status in [400, 403, 413] {
            assert_eq!(kind(status).await, ("refused", 1), "{status}");
        }
        for status in [500, 502, 504] {
            assert_eq!(kind(status).await, ("lost", 1), "{status}");
        }
        for status in [401, 404, 507] {
            assert_eq!(kind(status).await, ("not done", 1), "{status}");
        }
    }

    #[tokio::test]
    async fn a_batch_is_repeated_where_the_hub_did_not_act() {
        let done =
            serde_json::json!({"success": true, "processed": 1, "succeeded": 1, "failed": []});
        let replies = vec![
            Reply::empty(503),
            Reply::empty(429).header("retry-after", "0"),
            Reply::json(200, &done),
        ];
        let (verdicts, fake) = send(replies, &[delete("a")]).await;
        assert_eq!(verdicts.unwrap(), [Ok(())]);
        assert_eq!(fake.asked().len(), 3);
    }

    #[tokio::test]
    async fn a_used_up_budget_is_answered_at_once_and_stops_the_next_call() {
        let reply = Reply::empty(429).header("ratelimit", "\"api\";r=0;t=200");
        let (hub, fake) = FakeHub::start(vec![reply]).await;
        for _ in 0..2 {
            let error = hub.batch(&token(), &bucket_id(), &[delete("a")]).await;
            assert!(matches!(
                error,
                Err(BatchError::NotDone(StorageError::RateLimited { .. }))
            ));
        }
        assert_eq!(fake.asked().len(), 1);
    }
}
