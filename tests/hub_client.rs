//! The Hub client, buckets, and listings over real HTTP against the development Hub.
#![cfg(feature = "devhub")]
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::collections::BTreeSet;
use std::time::Duration;

use hugbucket::devhub::{DevHub, DevHubConfig, DevUser, Effect, Fault, Route, TokenRole};
use hugbucket::provider::bucket;
use hugbucket::provider::http::HttpConfig;
use hugbucket::provider::hub::{BatchError, BatchLine, HubClient, HubConfig, TokenScope};
use hugbucket::provider::list::Lister;
use hugbucket::provider::recent::RecentWrites;
use hugbucket::storage::{
    BucketId, BucketName, ContentHash, ListEntry, ListObjects, ListStart, Namespace, Principal,
    Secret, Tenant, Visibility,
};
use hugbucket::telemetry::Metrics;

/// Keys with everything that a Hub path may hold, and that an address must escape.
const PATHS: [&str; 18] = [
    ".hugbucket/meta/00/x",
    ".hugbucket/uploads/1/part",
    "100%/a+b.txt",
    "a b",
    "a#?&=;b",
    "data",
    "data-1/x",
    "data.csv",
    "data/ space",
    "data/!",
    "data/-/deep/er",
    "data/.hugbucket_keep",
    "data/a/.hugbucket_keep",
    "data/a/b",
    "data0",
    "empty/.hugbucket_keep",
    "ünï/日本語",
    "~",
];

const PREFIXES: [&str; 9] = [
    "", "data", "data/", "data/-", "100%", "a#", "ünï/", ".", "..",
];

struct Fixture {
    dev: DevHub,
    hub: HubClient,
    tenant: Tenant,
    id: BucketId,
    _dir: tempfile::TempDir,
}

impl Fixture {
    /// Starts a Hub with a bucket that holds empty files at these paths.
    async fn start(paths: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let token = Secret::new("hf_dev");
        let mut config = DevHubConfig::new(dir.path(), token.clone(), "acme");
        config.others.push(DevUser {
            name: "you".into(),
            token: Secret::new("hf_you"),
            role: TokenRole::Write,
            organizations: Vec::new(),
        });
        let dev = DevHub::start(config).await.unwrap();
        let config = HubConfig {
            endpoint: dev.url(),
            http: HttpConfig {
                min_backoff: Duration::from_millis(1),
                max_backoff: Duration::from_millis(5),
                uses_env_proxy: false,
                ..HttpConfig::default()
            },
        };
        let tenant = Tenant {
            principal: Principal::unlimited("key"),
            namespace: Namespace::new("acme").unwrap(),
            extra_namespaces: [].into(),
            hub_token: token,
        };
        let fixture = Self {
            hub: HubClient::new(config, Metrics::new()).unwrap(),
            id: tenant.bucket(&name()),
            dev,
            tenant,
            _dir: dir,
        };
        bucket::create(&fixture.hub, &fixture.tenant, &name(), Visibility::Private)
            .await
            .unwrap();
        if !paths.is_empty() {
            let lines: Vec<_> = paths.iter().map(|path| add(path)).collect();
            let verdicts = fixture.batch(&lines).await.unwrap();
            assert!(verdicts.iter().all(Result::is_ok), "{verdicts:?}");
        }
        fixture.dev.calls().reset();
        fixture
    }

    async fn batch(
        &self,
        lines: &[BatchLine],
    ) -> Result<Vec<Result<(), hugbucket::provider::hub::EntryError>>, BatchError> {
        let token = &self.tenant.hub_token;
        self.hub.batch(token, &self.id, lines).await
    }

    async fn has(&self, path: &str) -> bool {
        let token = &self.tenant.hub_token;
        let found = self.hub.paths_info(token, &self.id, &[path.into()]).await;
        !found.unwrap().is_empty()
    }

    /// Lists everything, in answers of at most `max_entries`; returns names, common prefixes with a `*` behind.
    async fn list(&self, prefix: &str, delimiter: Option<&str>, max_entries: usize) -> Vec<String> {
        let mut operation = ListObjects {
            bucket: name(),
            prefix: prefix.into(),
            delimiter: delimiter.map(Into::into),
            start: ListStart::Beginning,
            max_entries,
        };
        let lister = Lister::new(self.hub.clone(), RecentWrites::default());
        let mut names = Vec::new();
        loop {
            let token = &self.tenant.hub_token;
            let page = lister.list_objects(token, &self.id, &operation).await;
            let page = page.unwrap();
            assert!(page.entries.len() <= max_entries);
            names.extend(page.entries.iter().map(|entry| match entry {
                ListEntry::Object(object) => object.key.clone(),
                ListEntry::Prefix(prefix) => format!("{}*", prefix.name),
            }));
            match page.next {
                Some(next) => operation.start = ListStart::Token(next),
                None => return names,
            }
        }
    }
}

fn name() -> BucketName {
    BucketName::new("data").unwrap()
}

fn add(path: &str) -> BatchLine {
    BatchLine::AddFile {
        path: path.into(),
        hash: ContentHash::EMPTY,
        mtime: None,
        content_type: None,
    }
}

fn delete(path: &str) -> BatchLine {
    BatchLine::DeleteFile { path: path.into() }
}

/// What S3 lists of [`PATHS`], from the definition.
fn expected(prefix: &str, delimiter: Option<&str>) -> Vec<String> {
    let keys = PATHS
        .iter()
        .filter(|path| !path.starts_with(".hugbucket/"))
        .map(|path| path.strip_suffix(".hugbucket_keep").unwrap_or(path))
        .filter(|key| key.starts_with(prefix));
    let names: BTreeSet<(String, &str)> = keys
        .map(
            |key| match delimiter.and_then(|d| Some(key[prefix.len()..].find(d)? + d.len())) {
                Some(end) => (key[..prefix.len() + end].to_owned(), "*"),
                None => (key.to_owned(), ""),
            },
        )
        .collect();
    names.into_iter().map(|(name, mark)| name + mark).collect()
}

#[tokio::test]
async fn listings_are_what_s3_lists_also_if_pages_are_small_or_unsorted() {
    let fixture = Fixture::start(&PATHS).await;
    for is_unsorted in [false, true] {
        fixture
            .dev
            .faults()
            .turn(|knobs| knobs.tree_unsorted = is_unsorted);
        for prefix in PREFIXES {
            for delimiter in [None, Some("/"), Some("a"), Some("-/")] {
                for max_entries in [1, 3, 1000] {
                    assert_eq!(
                        fixture.list(prefix, delimiter, max_entries).await,
                        expected(prefix, delimiter),
                        "{prefix:?} {delimiter:?} {max_entries} {is_unsorted}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn a_full_listing_costs_a_call_for_its_first_page_and_one_for_each_page_of_the_hub() {
    let paths: Vec<_> = (0..1000).map(|n| format!("{n:04}")).collect();
    let paths: Vec<_> = paths.iter().map(String::as_str).collect();
    let fixture = Fixture::start(&paths).await;
    assert_eq!(fixture.list("", None, 100).await, paths);
    assert_eq!(fixture.dev.calls().total(), 2);
    fixture.dev.calls().reset();
    assert_eq!(fixture.list("", None, 50).await, paths);
    assert_eq!(fixture.dev.calls().total(), 20);
    fixture.dev.calls().reset();
    assert_eq!(fixture.list("00", Some("/"), 1000).await, paths[..100]);
    assert_eq!(fixture.dev.calls().total(), 1);
}

#[tokio::test]
async fn only_an_empty_bucket_is_deleted_and_hidden_state_does_not_count() {
    let fixture = Fixture::start(&[".hugbucket/meta/00/x", "a"]).await;
    let name = name();
    let delete_it = || bucket::delete(&fixture.hub, &fixture.tenant, &name);
    let refused = delete_it().await.unwrap_err();
    assert_eq!(refused.outcome(), "bucket_not_empty");
    assert!(fixture.has("a").await);
    fixture.batch(&[delete("a")]).await.unwrap();
    delete_it().await.unwrap();
    let missing = delete_it().await.unwrap_err();
    assert_eq!(missing.outcome(), "no_such_bucket");
}

#[tokio::test]
async fn buckets_are_created_once_and_seen_by_their_owners_only() {
    let fixture = Fixture::start(&[]).await;
    let (hub, tenant) = (&fixture.hub, &fixture.tenant);
    bucket::create(hub, tenant, &name(), Visibility::Public)
        .await
        .unwrap();
    let found = bucket::head(hub, tenant, &name()).await.unwrap();
    assert_eq!(found.info.visibility, Visibility::Private);
    let listed = bucket::list(hub, tenant).await.unwrap();
    assert_eq!(listed.buckets.len(), 1);

    let stranger = Tenant {
        hub_token: Secret::new("hf_you"),
        ..tenant.clone()
    };
    let hidden = bucket::head(hub, &stranger, &name()).await.unwrap_err();
    assert_eq!(hidden.outcome(), "no_such_bucket");
    let refused = bucket::create(hub, &stranger, &name(), Visibility::Private).await;
    assert_eq!(refused.unwrap_err().outcome(), "access_denied");
}

#[tokio::test]
async fn every_line_of_a_batch_has_its_own_verdict() {
    let fixture = Fixture::start(&[]).await;
    let fail = |path: &str| Effect::FailEntries {
        path: path.into(),
        error: "try again".into(),
    };
    fixture
        .dev
        .faults()
        .inject(Fault::once(Route::Batch, fail("b")));
    let verdicts = fixture
        .batch(&[add("a"), add("b"), add("c")])
        .await
        .unwrap();
    let is_ok: Vec<_> = verdicts.iter().map(Result::is_ok).collect();
    assert_eq!(is_ok, [true, false, true]);
    assert!(fixture.has("a").await && !fixture.has("b").await);

    fixture
        .dev
        .faults()
        .inject(Fault::times(Route::Batch, 2, fail("")));
    let verdicts = fixture.batch(&[add("b"), add("d")]).await.unwrap();
    assert!(verdicts.iter().all(Result::is_err));
}

#[tokio::test]
async fn a_lost_answer_is_told_and_the_batch_is_not_sent_again() {
    let fixture = Fixture::start(&[]).await;
    for effect in [
        Effect::ResetAfter,
        Effect::Truncate { after_bytes: 3 },
        Effect::status(500),
    ] {
        fixture
            .dev
            .faults()
            .inject(Fault::once(Route::Batch, effect.clone()));
        fixture.dev.calls().reset();
        let lost = fixture.batch(&[add("a")]).await.unwrap_err();
        assert!(
            matches!(lost, BatchError::AnswerLost(_)),
            "{effect:?} {lost}"
        );
        assert_eq!(fixture.dev.calls().count(Route::Batch), 1, "{effect:?}");
    }
}

#[tokio::test]
async fn passing_failures_are_waited_out_and_lasting_ones_are_told() {
    let fixture = Fixture::start(&["a"]).await;
    let faults = fixture.dev.faults();
    faults.inject(Fault::once(Route::PathsInfo, Effect::ResetBefore));
    faults.inject(Fault::times(Route::PathsInfo, 2, Effect::status(503)));
    faults.inject(Fault::once(Route::PathsInfo, Effect::rate_limited(1)));
    assert!(fixture.has("a").await);
    assert_eq!(fixture.dev.calls().count(Route::PathsInfo), 5);

    faults.inject(Fault::once(Route::PathsInfo, Effect::rate_limited(250)));
    let token = &fixture.tenant.hub_token;
    for _ in 0..2 {
        let refused = fixture
            .hub
            .paths_info(token, &fixture.id, &["a".into()])
            .await;
        assert_eq!(refused.unwrap_err().outcome(), "rate_limited");
    }
    assert_eq!(fixture.dev.calls().count(Route::PathsInfo), 6);
}

#[tokio::test]
async fn tokens_are_kept_and_replaced_when_refused_or_when_the_bucket_is_new() {
    let fixture = Fixture::start(&[]).await;
    let (hub, token) = (&fixture.hub, &fixture.tenant.hub_token);
    let ask = |refused| hub.xet_access(token, &fixture.id, TokenScope::Write, refused);
    let first = ask(None).await.unwrap();
    assert_eq!(ask(None).await.unwrap(), first);
    assert_eq!(fixture.dev.calls().count(Route::WriteToken), 1);
    ask(Some(&first.token)).await.unwrap();
    assert_eq!(fixture.dev.calls().count(Route::WriteToken), 2);
    bucket::delete(hub, &fixture.tenant, &name()).await.unwrap();
    let missing = ask(None).await.unwrap_err();
    assert_eq!(missing.outcome(), "no_such_bucket");
}

#[tokio::test]
async fn a_refused_token_is_our_fault_and_an_account_knows_its_name() {
    let fixture = Fixture::start(&[]).await;
    let me = fixture.hub.whoami(&fixture.tenant.hub_token).await.unwrap();
    assert_eq!(me.name.as_str(), "acme");
    let wrong = Secret::new("hf_wrong");
    let refused = fixture.hub.whoami(&wrong).await.unwrap_err();
    assert_eq!(refused.outcome(), "access_denied");
    let refused = fixture.hub.bucket(&wrong, &fixture.id).await.unwrap_err();
    assert_eq!(refused.outcome(), "unavailable");
}
