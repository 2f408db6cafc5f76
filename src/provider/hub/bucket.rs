//! Buckets as a whole: list, look up, create, delete.

use http::{Method, StatusCode};

use crate::provider::hub::call::Call;
use crate::provider::hub::client::HubClient;
use crate::provider::hub::error;
use crate::provider::hub::record::BucketRecord;
use crate::provider::hub::wire::{WireBucket, WireCreateBucket};
use crate::storage::{BucketId, BucketName, Namespace, Secret, StorageError, Visibility};

/// Pages of a bucket list that are followed; a namespace has a few at most, so more is a loop.
const MAX_PAGES: usize = 1000;

/// What creating a bucket found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateOutcome {
    /// It is new.
    Created,
    /// It was there before, in the caller's own namespace, and is unchanged.
    Exists,
}

impl HubClient {
    /// Returns all buckets of a namespace that the token may see, in the Hub's order.
    pub async fn list_buckets(
        &self,
        token: &Secret,
        namespace: &Namespace,
    ) -> Result<Vec<BucketRecord>, StorageError> {
        let mut url = self.url(["buckets", namespace.as_str()]);
        let mut buckets = Vec::new();
        for _ in 0..MAX_PAGES {
            let answer = self
                .send(token, Call::get("list_buckets", url.clone()))
                .await?;
            if !answer.status.is_success() {
                return Err(namespace_refusal(&answer, namespace));
            }
            let page: Vec<WireBucket> = answer.json()?;
            buckets.extend(page.iter().filter_map(BucketRecord::from_wire));
            match answer.next_page() {
                Some(query) if url.query() != Some(query.as_str()) => url.set_query(Some(&query)),
                _ => return Ok(buckets),
            }
        }
        Err(StorageError::internal("the bucket list does not end"))
    }

    /// Returns a bucket. Errors: `NoSuchBucket`.
    pub async fn bucket(
        &self,
        token: &Secret,
        bucket: &BucketId,
    ) -> Result<BucketRecord, StorageError> {
        let call = Call::get("head_bucket", self.bucket_url(bucket, &[]));
        let answer = self.send(token, call).await?.accepted(bucket)?;
        let wire: WireBucket = answer.json()?;
        BucketRecord::from_wire(&wire).ok_or_else(|| error::senseless(&answer, "no bucket id"))
    }

    /// Creates a bucket. One that is there already is left as it is.
    ///
    /// A refusal can hide that the bucket exists, so 401, 403, and 409 are followed by a look.
    ///
    /// Errors: `BucketAlreadyExists` if the name is taken and the token may not see by what.
    pub async fn create_bucket(
        &self,
        token: &Secret,
        bucket: &BucketId,
        visibility: Visibility,
    ) -> Result<CreateOutcome, StorageError> {
        let call = Call::new("create_bucket", Method::POST, self.bucket_url(bucket, &[])).json(
            &WireCreateBucket {
                private: visibility == Visibility::Private,
            },
        )?;
        let answer = self.send(token, call).await?;
        let is_taken = answer.status == StatusCode::CONFLICT;
        if matches!(answer.status.as_u16(), 401 | 403 | 409) {
            return match self.bucket(token, bucket).await {
                Ok(_) => Ok(CreateOutcome::Exists),
                Err(_) if is_taken => Err(StorageError::BucketAlreadyExists {
                    bucket: bucket.name.to_string(),
                }),
                Err(_) => Err(error::refusal(&answer, bucket)),
            };
        }
        answer.accepted(bucket)?;
        self.forget_bucket(bucket);
        Ok(CreateOutcome::Created)
    }

    /// Deletes a bucket **with everything in it**; whether it may is the caller's affair.
    ///
    /// Errors: `NoSuchBucket`, unless an earlier attempt of this very call has deleted it.
    pub async fn delete_bucket(
        &self,
        token: &Secret,
        bucket: &BucketId,
    ) -> Result<(), StorageError> {
        let url = self.bucket_url(bucket, &[]);
        let sent = self
            .send(token, Call::new("delete_bucket", Method::DELETE, url))
            .await;
        // Also without an answer: the bucket may be gone.
        self.forget_bucket(bucket);
        let answer = sent?;
        if answer.status == StatusCode::NOT_FOUND && answer.attempt > 1 {
            return Ok(());
        }
        answer.accepted(bucket)?;
        Ok(())
    }
}

/// Returns the error of a refused list: there is no bucket that it could be about.
fn namespace_refusal(
    answer: &crate::provider::hub::call::Answer,
    namespace: &Namespace,
) -> StorageError {
    if answer.status == StatusCode::NOT_FOUND {
        return StorageError::denied(format!("the hub knows no namespace `{namespace}`"));
    }
    let nobody = BucketName::new("buckets").expect("a constant name is valid");
    error::refusal(
        answer,
        &BucketId {
            namespace: namespace.clone(),
            name: nobody,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::hub::fake::{FakeHub, Reply, bucket_id, token};

    fn wire(id: &str) -> serde_json::Value {
        serde_json::json!({"id": id, "private": true, "createdAt": "2026-01-02T03:04:05.000Z"})
    }

    #[tokio::test]
    async fn all_pages_of_a_list_are_read_from_the_same_origin() {
        let (hub, fake) = FakeHub::start(vec![
            Reply::json(
                200,
                &serde_json::json!([wire("me/a"), wire("not addressable")]),
            )
            .header(
                "link",
                "<http://elsewhere.example/steal?cursor=2>; rel=\"next\"",
            ),
            Reply::json(200, &serde_json::json!([wire("me/b")])),
        ])
        .await;
        let namespace = Namespace::new("me").unwrap();
        let buckets = hub.list_buckets(&token(), &namespace).await.unwrap();
        let ids: Vec<_> = buckets.iter().map(|bucket| bucket.id.to_string()).collect();
        assert_eq!(ids, ["me/a", "me/b"]);
        assert_eq!(
            fake.lines(),
            ["GET /api/buckets/me", "GET /api/buckets/me?cursor=2"]
        );
    }

    #[tokio::test]
    async fn a_refusal_to_create_is_followed_by_a_look() {
        for status in [401, 403, 409] {
            let (hub, _) = FakeHub::start(vec![
                Reply::empty(status),
                Reply::json(200, &wire("me/data")),
            ])
            .await;
            let outcome = hub
                .create_bucket(&token(), &bucket_id(), Visibility::Private)
                .await;
            assert_eq!(outcome.unwrap(), CreateOutcome::Exists, "{status}");
        }
        for (status, expected) in [(403, "access_denied"), (409, "bucket_already_exists")] {
            let (hub, _) = FakeHub::start(vec![Reply::empty(status), Reply::empty(404)]).await;
            let error = hub
                .create_bucket(&token(), &bucket_id(), Visibility::Private)
                .await
                .unwrap_err();
            assert_eq!(error.outcome(), expected);
        }
    }

    #[tokio::test]
    async fn a_new_bucket_gets_the_visibility_asked_for() {
        let (hub, fake) = FakeHub::start(vec![Reply::json(200, &wire("me/data"))]).await;
        let outcome = hub
            .create_bucket(&token(), &bucket_id(), Visibility::Public)
            .await;
        assert_eq!(outcome.unwrap(), CreateOutcome::Created);
        assert_eq!(fake.lines(), ["POST /api/buckets/me/data"]);
        assert_eq!(fake.asked()[0].body, "{\"private\":false}");
    }

    #[tokio::test]
    async fn a_404_is_success_only_after_an_earlier_attempt_to_delete() {
        let (hub, _) = FakeHub::start(vec![Reply::empty(502), Reply::empty(404)]).await;
        assert!(hub.delete_bucket(&token(), &bucket_id()).await.is_ok());
        let (hub, fake) = FakeHub::start(vec![Reply::empty(404)]).await;
        let error = hub.delete_bucket(&token(), &bucket_id()).await.unwrap_err();
        assert_eq!(error.outcome(), "no_such_bucket");
        assert_eq!(fake.lines(), ["DELETE /api/buckets/me/data"]);
    }
}
