//! Tokens of the CAS. Each fetch costs budget, so they are kept until shortly before they expire.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use time::OffsetDateTime;
use tracing::Instrument;
use url::Url;

use crate::cache::{ExpiringMap, Flight, SingleFlight};
use crate::provider::http::Destinations;
use crate::provider::hub::call::Call;
use crate::provider::hub::client::HubClient;
use crate::provider::hub::error;
use crate::provider::hub::wire::WireXetToken;
use crate::storage::{BucketId, Secret, SecretId, StorageError};
use crate::telemetry::{CacheName, CacheResult, Metrics};

/// A token is not handed out in its last minute: the call it is for takes time too.
const MARGIN: Duration = Duration::from_secs(60);

/// Tokens kept.
const MAX_TOKENS: usize = 1024;

/// What a CAS token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenScope {
    /// Reading.
    Read,
    /// Writing; it also reads.
    Write,
}

/// Where the CAS of a bucket is, and the token that opens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XetAccess {
    /// Base address of the CAS.
    pub cas_url: Url,
    /// Bearer token for it.
    pub token: Secret,
    /// When the token ends.
    pub expires_at: OffsetDateTime,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    hub_token: SecretId,
    bucket: BucketId,
    scope: TokenScope,
}

/// The tokens at hand.
pub(super) struct TokenCache {
    metrics: Metrics,
    kept: ExpiringMap<Key, XetAccess>,
    /// Fetches under way; the number is the generation that they began in.
    fetches: SingleFlight<(Key, u64), XetAccess, StorageError>,
    /// Raised whenever a bucket appears or disappears: what was fetched before is not kept and not joined afterwards.
    generation: AtomicU64,
}

impl TokenCache {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self {
            metrics,
            kept: ExpiringMap::new(MAX_TOKENS, MARGIN),
            fetches: SingleFlight::new(StorageError::internal("a token fetch panicked")),
            generation: AtomicU64::new(0),
        }
    }

    fn forget_bucket(&self, bucket: &BucketId) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.kept.retain(|key, _| key.bucket != *bucket);
        self.show();
    }

    /// Returns a kept token, dropping the refused one if it is what was kept. A token for writing serves readers too.
    fn find(&self, key: &Key, refused: Option<&Secret>) -> Option<XetAccess> {
        let scopes: &[TokenScope] = match key.scope {
            TokenScope::Read => &[TokenScope::Read, TokenScope::Write],
            TokenScope::Write => &[TokenScope::Write],
        };
        for scope in scopes {
            let key = Key {
                scope: *scope,
                ..key.clone()
            };
            match self.kept.get(&key) {
                Some(access) if Some(&access.token) == refused => self.kept.remove(&key),
                Some(access) => return Some(access),
                None => {}
            }
        }
        None
    }

    fn keep(&self, key: Key, access: &XetAccess, generation: u64) {
        let ttl = access.expires_at - OffsetDateTime::now_utc() - MARGIN;
        let is_current = self.generation.load(Ordering::SeqCst) == generation;
        if let (Ok(ttl), true) = (Duration::try_from(ttl), is_current) {
            self.kept.insert_for(key, access.clone(), ttl);
            self.show();
        }
    }

    fn show(&self) {
        self.metrics
            .cache_holds(CacheName::Token, 0, self.kept.len() as u64);
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenCache")
    }
}

impl HubClient {
    /// Returns access to the CAS of a bucket: kept, or fetched once for all who ask at the same time.
    ///
    /// `refused` is the token that the CAS has just refused, if that is why the caller asks: another one is returned.
    ///
    /// Errors: `NoSuchBucket`; `AccessDenied` if the Hub token may not write.
    pub async fn xet_access(
        &self,
        token: &Secret,
        bucket: &BucketId,
        scope: TokenScope,
        refused: Option<&Secret>,
    ) -> Result<XetAccess, StorageError> {
        let tokens = &self.shared.tokens;
        let key = Key {
            hub_token: token.id(),
            bucket: bucket.clone(),
            scope,
        };
        if let Some(access) = tokens.find(&key, refused) {
            tokens
                .metrics
                .cache_request(CacheName::Token, CacheResult::Hit);
            return Ok(access);
        }
        let generation = tokens.generation.load(Ordering::SeqCst);
        let fetch = || {
            let (hub, token, key) = (self.clone(), token.clone(), key.clone());
            async move {
                let access = hub.fetch_access(&token, &key).await?;
                hub.shared.tokens.keep(key, &access, generation);
                Ok(access)
            }
            .in_current_span()
        };
        let (access, flight) = tokens.fetches.run((key.clone(), generation), fetch).await;
        let result = match flight {
            Flight::Led => CacheResult::Miss,
            Flight::Joined => CacheResult::Coalesced,
        };
        tokens.metrics.cache_request(CacheName::Token, result);
        access
    }

    /// Drops everything that is kept about a bucket: it was created or deleted.
    pub fn forget_bucket(&self, bucket: &BucketId) {
        self.shared.tokens.forget_bucket(bucket);
    }

    async fn fetch_access(&self, token: &Secret, key: &Key) -> Result<XetAccess, StorageError> {
        let (name, path) = match key.scope {
            TokenScope::Read => ("xet_read_token", "xet-read-token"),
            TokenScope::Write => ("xet_write_token", "xet-write-token"),
        };
        let call = Call::get(name, self.bucket_url(&key.bucket, &[path]));
        let answer = self.send(token, call).await?.accepted(&key.bucket)?;
        let wire: WireXetToken = answer.json()?;
        // The token that comes along goes there.
        let cas_url = Destinations::beside(&self.shared.endpoint)
            .check(&wire.cas_url)
            .map_err(|reason| error::senseless(&answer, &format!("for the CAS {reason}")))?;
        let expires_at = OffsetDateTime::from_unix_timestamp(wire.exp)
            .map_err(|_| error::senseless(&answer, "no expiration"))?;
        Ok(XetAccess {
            cas_url,
            token: Secret::new(wire.access_token),
            expires_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::hub::fake::{FakeHub, Reply, bucket_id, token};

    fn reply(name: &str, life_secs: i64) -> Reply {
        let exp = OffsetDateTime::now_utc().unix_timestamp() + life_secs;
        let body =
            serde_json::json!({"casUrl": "http://cas.example/x", "exp": exp, "accessToken": name});
        Reply::json(200, &body)
    }

    async fn ask(hub: &HubClient, scope: TokenScope, refused: Option<&str>) -> String {
        let refused = refused.map(Secret::new);
        let access = hub
            .xet_access(&token(), &bucket_id(), scope, refused.as_ref())
            .await
            .unwrap();
        access.token.expose().to_owned()
    }

    #[tokio::test]
    async fn a_cas_without_tls_gets_no_token_behind_a_hub_with_tls() {
        // The Hub of these tests is reached by plain HTTP, and may name such a CAS; another one may not.
        let (hub, _fake) = FakeHub::start(vec![reply("r", 3600)]).await;
        assert_eq!(ask(&hub, TokenScope::Read, None).await, "r");
        let hub = Url::parse("https://huggingface.co").unwrap();
        for named in [
            "http://cas.example/x",
            "https://127.0.0.1/x",
            "https://localhost./x",
        ] {
            assert!(Destinations::beside(&hub).check(named).is_err(), "{named}");
        }
    }

    #[tokio::test]
    async fn an_address_of_the_cas_that_is_none_is_refused_without_a_word_of_it() {
        let exp = OffsetDateTime::now_utc().unix_timestamp() + 3600;
        let odd = |url: &str| {
            let body = serde_json::json!({"casUrl": url, "exp": exp, "accessToken": "cas-secret"});
            Reply::json(200, &body)
        };
        for url in [
            "file:///etc/passwd",
            "ftp://cas.example/?secret",
            "http://u:secret@cas.example",
            "secret",
        ] {
            let (hub, _fake) = FakeHub::start(vec![odd(url)]).await;
            let refused = hub
                .xet_access(&token(), &bucket_id(), TokenScope::Read, None)
                .await;
            let text = refused.unwrap_err().to_string();
            assert!(text.contains("for the CAS"), "{text}");
            assert!(!text.contains("secret"), "{text}");
        }
    }

    #[tokio::test]
    async fn a_token_is_fetched_once_for_all_who_ask() {
        let (hub, fake) = FakeHub::start(vec![reply("r", 3600)]).await;
        let (a, b) = tokio::join!(
            ask(&hub, TokenScope::Read, None),
            ask(&hub, TokenScope::Read, None)
        );
        assert_eq!((a.as_str(), b.as_str()), ("r", "r"));
        assert_eq!(ask(&hub, TokenScope::Read, None).await, "r");
        assert_eq!(fake.lines(), ["GET /api/buckets/me/data/xet-read-token"]);
    }

    #[tokio::test]
    async fn a_token_for_writing_serves_readers_but_not_the_reverse() {
        let (hub, fake) = FakeHub::start(vec![reply("r", 3600), reply("w", 3600)]).await;
        assert_eq!(ask(&hub, TokenScope::Read, None).await, "r");
        assert_eq!(ask(&hub, TokenScope::Write, None).await, "w");
        let (hub_of_writers, _) = FakeHub::start(vec![reply("w", 3600)]).await;
        assert_eq!(ask(&hub_of_writers, TokenScope::Write, None).await, "w");
        assert_eq!(ask(&hub_of_writers, TokenScope::Read, None).await, "w");
        assert_eq!(fake.asked().len(), 2);
    }

    #[tokio::test]
    async fn a_token_in_its_last_minute_is_not_kept() {
        let (hub, fake) = FakeHub::start(vec![reply("old", 59), reply("new", 3600)]).await;
        assert_eq!(ask(&hub, TokenScope::Read, None).await, "old");
        assert_eq!(ask(&hub, TokenScope::Read, None).await, "new");
        assert_eq!(ask(&hub, TokenScope::Read, None).await, "new");
        assert_eq!(fake.asked().len(), 2);
    }

    #[tokio::test]
    async fn a_refused_token_is_replaced_once() {
        let (hub, fake) = FakeHub::start(vec![reply("old", 3600), reply("new", 3600)]).await;
        assert_eq!(ask(&hub, TokenScope::Write, None).await, "old");
        let (a, b) = tokio::join!(
            ask(&hub, TokenScope::Write, Some("old")),
            ask(&hub, TokenScope::Write, Some("old"))
        );
        assert_eq!((a.as_str(), b.as_str()), ("new", "new"));
        assert_eq!(ask(&hub, TokenScope::Write, Some("old")).await, "new");
        assert_eq!(fake.asked().len(), 2);
    }

    #[tokio::test]
    async fn a_bucket_that_was_created_anew_needs_a_new_token() {
        let (hub, fake) = FakeHub::start(vec![reply("old", 3600), reply("new", 3600)]).await;
        assert_eq!(ask(&hub, TokenScope::Read, None).await, "old");
        hub.forget_bucket(&bucket_id());
        assert_eq!(ask(&hub, TokenScope::Read, None).await, "new");
        assert_eq!(fake.asked().len(), 2);
    }

    #[tokio::test]
    async fn other_hub_tokens_get_tokens_of_their_own_and_errors_are_not_kept() {
        let (hub, _) = FakeHub::start(vec![
            Reply::empty(403),
            reply("mine", 3600),
            reply("yours", 3600),
        ])
        .await;
        let refused = hub
            .xet_access(&token(), &bucket_id(), TokenScope::Write, None)
            .await;
        assert_eq!(refused.unwrap_err().outcome(), "access_denied");
        assert_eq!(ask(&hub, TokenScope::Write, None).await, "mine");
        let other = hub
            .xet_access(&Secret::new("hf_b"), &bucket_id(), TokenScope::Write, None)
            .await;
        assert_eq!(other.unwrap().token.expose(), "yours");
    }
}
