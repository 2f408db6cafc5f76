//! Undo: what is overwritten or deleted can be brought back, whatever happened to the gateway meanwhile.

use std::collections::BTreeSet;
use std::process::{Command, Output};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::types::{BucketCannedAcl, Delete, ObjectIdentifier};
use futures::future::join_all;
use hugbucket::devhub::{Effect, Fault, Route};
use hugbucket::provider::multipart::SweepConfig;
use hugbucket::storage::BucketName;
use suppaftp::tokio::AsyncFtpStream;
use tempfile::TempDir;

use crate::beside::Beside;
use crate::ftp_client::{FTP, PASSWORD, USER};
use crate::multipart::{begin, complete, send_part};
use crate::operate::text;
use crate::stand::{ACCESS_KEY, BUCKET, HUB_TOKEN, SECRET_KEY, Stand, get, put, random_bytes};
use crate::uploads::{hours_later, provider};

/// A stand whose gateway keeps what is replaced for a day, and what `hugbucket undelete` needs to work on the same Hub.
struct Undoing {
    stand: Stand,
    dir: TempDir,
}

impl Undoing {
    async fn start(more: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("hugbucket.toml");
        std::fs::write(&file, "[undo]\n\"*\" = \"1 d\"\n").unwrap();
        let settings = [
            ("HUGBUCKET_CONFIG", file.to_str().unwrap()),
            // Another process brings back.
            ("HUGBUCKET_FILE_INFO_CACHE_TTL", "0"),
        ];
        let stand = Stand::start_with(&[&settings, more].concat()).await;
        Self { stand, dir }
    }

    fn config(&self) -> String {
        let file = self.dir.path().join("hugbucket.toml");
        file.to_str().unwrap().to_owned()
    }

    fn s3(&self) -> Client {
        self.stand.s3()
    }

    /// Runs `hugbucket undelete`.
    async fn undelete(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hugbucket"));
        command
            .env_clear()
            .env("HF_ENDPOINT", self.stand.hub.url().as_str())
            .env("HF_TOKEN", HUB_TOKEN)
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .env("HUGBUCKET_CONFIG", self.config())
            .arg("undelete")
            .args(arguments);
        tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap()
    }

    /// Brings back, and returns what failed.
    async fn bring_back(&self, arguments: &[&str]) -> Result<(), String> {
        let output = self.undelete(arguments).await;
        match output.status.code() {
            Some(0) => Ok(()),
            Some(1) => Err(String::from_utf8(output.stderr).unwrap()),
            other => panic!("{other:?}: {output:?}"),
        }
    }

    /// Lists copies: when each was written, its size, and its key.
    async fn copies(&self, target: &str) -> Vec<(String, u64, String)> {
        let output = self.undelete(&[target, "--list"]).await;
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let mut lines = text.lines();
        let head = "replaced\twritten\tkept until\tbytes\tkey";
        assert_eq!(lines.next(), Some(head));
        let copy = |line: &str| {
            let columns: Vec<&str> = line.split('\t').collect();
            let size = columns[3].parse().unwrap();
            (columns[1].to_owned(), size, columns[4].to_owned())
        };
        lines.map(copy).collect()
    }

    /// Returns the sizes of the copies of a key, from the oldest to the newest.
    async fn sizes(&self, key: &str) -> Vec<u64> {
        let copies = self.copies(&format!("s3://{BUCKET}/{key}")).await;
        assert!(copies.iter().all(|copy| copy.2 == key), "{copies:?}");
        copies.into_iter().map(|copy| copy.1).collect()
    }
}

async fn delete(s3: &Client, key: &str) {
    let request = s3.delete_object().bucket(BUCKET).key(key);
    request.send().await.unwrap();
}

async fn metrics(stand: &Stand) -> String {
    text(format!("{}/metrics", stand.gateway.admin)).await.1
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_overwritten_or_deleted_comes_back_with_its_metadata() {
    let undoing = Undoing::start(&[]).await;
    let (s3, target) = (undoing.s3(), format!("s3://{BUCKET}/d/k"));
    let first = s3
        .put_object()
        .bucket(BUCKET)
        .key("d/k")
        .body(b"one".to_vec().into());
    let first = first.content_type("text/x-one").metadata("state", "first");
    first.tagging("a=1").send().await.unwrap();
    put(&s3, "d/k", "second").await;
    assert_eq!(undoing.sizes("d/k").await, [3]);
    delete(&s3, "d/k").await;
    delete(&s3, "d/k").await;
    assert_eq!(
        undoing.sizes("d/k").await,
        [3, 6],
        "what is not there is not kept"
    );

    undoing.bring_back(&[&target]).await.unwrap();
    assert_eq!(get(&s3, "d/k").await.unwrap(), b"second");
    let refused = undoing.bring_back(&[&target]).await.unwrap_err();
    assert!(refused.contains("newer than the copy"), "{refused}");

    let (first_written, ..) = undoing.copies(&target).await[0].clone();
    let at = ["--at", first_written.as_str()];
    let refused = undoing
        .bring_back(&[&target, at[0], at[1]])
        .await
        .unwrap_err();
    assert!(refused.contains("--force"), "{refused}");
    assert_eq!(get(&s3, "d/k").await.unwrap(), b"second");
    let forced = [target.as_str(), at[0], at[1], "--force"];
    undoing.bring_back(&forced).await.unwrap();
    assert_eq!(get(&s3, "d/k").await.unwrap(), b"one");
    let head = s3
        .head_object()
        .bucket(BUCKET)
        .key("d/k")
        .send()
        .await
        .unwrap();
    assert_eq!(head.content_type(), Some("text/x-one"));
    assert_eq!(head.metadata().unwrap()["state"], "first");
    let tags = s3.get_object_tagging().bucket(BUCKET).key("d/k").send();
    assert_eq!(tags.await.unwrap().tag_set()[0].value(), "1");
    assert_eq!(
        undoing.sizes("d/k").await,
        [3, 6, 6],
        "and what it replaced was kept"
    );

    for (arguments, expected) in [
        (vec!["s3://data/other"], "nothing to bring back"),
        (
            vec![&target, "--at", "2001-01-01T00:00:00Z"],
            "nothing to bring back",
        ),
        (vec!["s3://missing/k"], "no such bucket"),
    ] {
        let refused = undoing.bring_back(&arguments).await.unwrap_err();
        assert!(refused.contains(expected), "{refused}");
    }
    assert_eq!(undoing.undelete(&["data/k"]).await.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_replace_an_object_keeps_it() {
    let undoing = Undoing::start(&FTP).await;
    let s3 = undoing.s3();
    for key in [
        "several",
        "copied",
        "completed",
        "stored",
        "appended",
        "from",
        "to",
        "gone",
    ] {
        put(&s3, key, "12345").await;
    }
    let doomed =
        ["several", "missing"].map(|key| ObjectIdentifier::builder().key(key).build().unwrap());
    let doomed = Delete::builder()
        .set_objects(Some(doomed.into()))
        .build()
        .unwrap();
    s3.delete_objects()
        .bucket(BUCKET)
        .delete(doomed)
        .send()
        .await
        .unwrap();
    let copy = s3.copy_object().bucket(BUCKET).key("copied");
    copy.copy_source(format!("{BUCKET}/gone"))
        .send()
        .await
        .unwrap();
    let upload = begin(&s3, "completed").await;
    let part = send_part(&s3, "completed", &upload, 1, b"123".to_vec()).await;
    complete(&s3, "completed", &upload, vec![part])
        .await
        .unwrap();

    let address = undoing.stand.gateway.ftp.as_deref().unwrap();
    let mut ftp = AsyncFtpStream::connect(address).await.unwrap();
    ftp.login(USER, PASSWORD).await.unwrap();
    ftp.cwd(format!("/{BUCKET}")).await.unwrap();
    ftp.put_file("stored", &mut &b"1"[..]).await.unwrap();
    ftp.append_file("appended", &mut &b"6"[..]).await.unwrap();
    ftp.rename("from", "to").await.unwrap();
    ftp.rm("gone").await.unwrap();
    ftp.quit().await.unwrap();

    for key in [
        "several",
        "copied",
        "completed",
        "stored",
        "appended",
        "from",
        "to",
        "gone",
    ] {
        assert_eq!(undoing.sizes(key).await, [5], "{key}");
    }
    assert_eq!(undoing.sizes("missing").await, [0; 0]);
    // All of a directory at once: what stands there stays, the rest comes back.
    let told = undoing.bring_back(&["s3://data/"]).await.unwrap_err();
    assert_eq!(told.matches("newer than the copy").count(), 5, "{told}");
    for key in ["several", "from", "gone"] {
        assert_eq!(get(&s3, key).await.unwrap(), b"12345", "{key}");
    }
    assert_eq!(get(&s3, "stored").await.unwrap(), b"1");
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_hidden_and_keep_their_bucket_from_being_deleted() {
    let undoing = Undoing::start(&[]).await;
    let s3 = undoing.s3();
    put(&s3, "k", "v").await;
    delete(&s3, "k").await;
    let listed = s3.list_objects_v2().bucket(BUCKET).send().await.unwrap();
    assert_eq!(listed.contents().len(), 0);
    let beside = Beside::of(&undoing.stand);
    let hidden = beside.hidden_paths().await;
    assert_eq!(hidden.len(), 1, "{hidden:?}");
    for path in &hidden {
        let read = s3.get_object().bucket(BUCKET).key(path).send().await;
        assert_eq!(read.unwrap_err().code(), Some("InvalidArgument"));
        let write = s3.delete_object().bucket(BUCKET).key(path).send().await;
        assert_eq!(write.unwrap_err().code(), Some("InvalidArgument"));
    }
    let refused = s3.delete_bucket().bucket(BUCKET).send().await.unwrap_err();
    assert_eq!(refused.code(), Some("BucketNotEmpty"));
    let message = refused.message().unwrap();
    assert!(message.contains("kept for undo"), "{message}");

    let (sweeper, tenant) = provider(&undoing.stand, SweepConfig::default());
    let bucket = tenant.bucket(&BucketName::new(BUCKET).unwrap());
    hours_later(&undoing.stand, 23);
    assert_eq!(sweeper.sweep_copies(&tenant, &bucket).await.unwrap(), 0);
    assert_eq!(undoing.sizes("k").await, [1]);
    hours_later(&undoing.stand, 24);
    assert_eq!(sweeper.sweep_copies(&tenant, &bucket).await.unwrap(), 1);
    assert_eq!(beside.hidden_paths().await, Vec::<String>::new());
    s3.delete_bucket().bucket(BUCKET).send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_racing_writers_every_content_but_the_last_is_kept() {
    let undoing = Undoing::start(&[]).await;
    let s3 = undoing.s3();
    let sizes: Vec<u64> = (1..=64).collect();
    let writes = sizes.iter().map(|size| {
        let (s3, bytes) = (
            s3.clone(),
            random_bytes(*size, usize::try_from(*size).unwrap()),
        );
        async move { put(&s3, "k", bytes).await }
    });
    join_all(writes).await;
    let last = get(&s3, "k").await.unwrap().len() as u64;
    let kept = undoing.sizes("k").await;
    assert_eq!(kept.len(), 63);
    let mut all: BTreeSet<u64> = kept.into_iter().collect();
    all.insert(last);
    assert_eq!(all, sizes.into_iter().collect());

    // Conditions hold as ever, and who is refused leaves no copy.
    let absent = s3.put_object().bucket(BUCKET).key("k").if_none_match("*");
    let refused = absent.body(b"x".to_vec().into()).send().await.unwrap_err();
    assert_eq!(refused.code(), Some("PreconditionFailed"));
    assert_eq!(undoing.sizes("k").await.len(), 63);
    let head = s3
        .head_object()
        .bucket(BUCKET)
        .key("k")
        .send()
        .await
        .unwrap();
    let expected = s3
        .put_object()
        .bucket(BUCKET)
        .key("k")
        .if_match(head.e_tag().unwrap());
    expected.body(b"x".to_vec().into()).send().await.unwrap();
    assert_eq!(undoing.sizes("k").await.len(), 64);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_costs_a_look_and_where_something_stood_a_call_more() {
    let undoing = Undoing::start(&[]).await;
    let s3 = undoing.s3();
    put(&s3, "other", "x").await;
    let calls = undoing.stand.hub.calls();
    let cost =
        || [Route::PathsInfo, Route::Batch, Route::BucketInfo].map(|route| calls.count(route));
    calls.reset();
    put(&s3, "k", "one").await;
    assert_eq!(cost(), [1, 1, 0], "new");
    calls.reset();
    put(&s3, "k", "two").await;
    assert_eq!(cost(), [1, 2, 0], "overwritten");
    calls.reset();
    delete(&s3, "k").await;
    assert_eq!(cost(), [1, 2, 0], "deleted");
    calls.reset();
    join_all((0..64).map(|n| {
        let s3 = s3.clone();
        async move { put(&s3, &format!("many/{n}"), "x").await }
    }))
    .await;
    calls.reset();
    let keys = (0..64).map(|n| {
        ObjectIdentifier::builder()
            .key(format!("many/{n}"))
            .build()
            .unwrap()
    });
    let keys = Delete::builder()
        .set_objects(Some(keys.collect()))
        .build()
        .unwrap();
    s3.delete_objects()
        .bucket(BUCKET)
        .delete(keys)
        .send()
        .await
        .unwrap();
    assert!(calls.count(Route::Batch) <= 4, "{:?}", cost());
    assert_eq!(undoing.copies("s3://data/many/").await.len(), 64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_the_copy_and_the_write_loses_neither() {
    let mut undoing = Undoing::start(&[]).await;
    put(&undoing.s3(), "k", "old").await;
    // The copy's batch passes; that of the write hangs until the gateway is dead.
    undoing.stand.hub.faults().inject(Fault {
        route: Route::Batch,
        after: 1,
        times: 1,
        effect: Effect::Delay { millis: 600_000 },
    });
    undoing.stand.hub.calls().reset();
    let s3 = undoing.s3();
    let dying = tokio::spawn(async move {
        let write = s3.put_object().bucket(BUCKET).key("k");
        write.body(b"newer".to_vec().into()).send().await
    });
    let mut look = tokio::time::interval(Duration::from_millis(2));
    while undoing.stand.hub.calls().count(Route::Batch) < 2 {
        look.tick().await;
    }
    undoing.stand.gateway.kill();
    assert!(dying.await.unwrap().is_err());
    undoing.stand.hub.faults().clear();
    let config = undoing.config();
    let settings = [
        ("HUGBUCKET_CONFIG", config.as_str()),
        ("HUGBUCKET_FILE_INFO_CACHE_TTL", "0"),
    ];
    undoing.stand.gateway = undoing.stand.another_gateway(&settings).await;
    assert_eq!(get(&undoing.s3(), "k").await.unwrap(), b"old");
    assert_eq!(undoing.sizes("k").await, [3]);
    // The same content, kept again when it is really replaced, shows once.
    delete(&undoing.s3(), "k").await;
    assert_eq!(undoing.sizes("k").await, [3]);
    undoing.bring_back(&["s3://data/k"]).await.unwrap();
    assert_eq!(get(&undoing.s3(), "k").await.unwrap(), b"old");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_kept_is_not_replaced() {
    let undoing = Undoing::start(&[]).await;
    let s3 = undoing.s3();
    put(&s3, "k", "old").await;
    let effect = Effect::FailEntries {
        path: ".hugbucket/undo/".into(),
        error: "busy".into(),
    };
    let faults = undoing.stand.hub.faults();
    // The second try succeeds.
    faults.inject(Fault::times(Route::Batch, 1, effect.clone()));
    put(&s3, "k", "newer").await;
    assert_eq!(undoing.sizes("k").await, [3]);
    faults.inject(Fault::times(Route::Batch, 1000, effect));
    let retry = s3
        .config()
        .to_builder()
        .retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled())
        .build();
    let once = Client::from_conf(retry);
    let refused = once.delete_object().bucket(BUCKET).key("k").send().await;
    assert_eq!(refused.unwrap_err().code(), Some("ServiceUnavailable"));
    faults.clear();
    assert_eq!(get(&s3, "k").await.unwrap(), b"newer");
    assert_eq!(undoing.sizes("k").await, [3]);
    assert!(
        metrics(&undoing.stand)
            .await
            .contains("hugbucket_undo_copies_total{result=\"failed\"}")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_bucket_keeps_nothing() {
    let undoing = Undoing::start(&[]).await;
    let s3 = undoing.s3();
    let create = s3.create_bucket().bucket("for-all");
    create
        .acl(BucketCannedAcl::PublicRead)
        .send()
        .await
        .unwrap();
    for _ in 0..2 {
        let write = s3.put_object().bucket("for-all").key("k");
        write.body(b"v".to_vec().into()).send().await.unwrap();
    }
    assert_eq!(undoing.copies("s3://for-all").await, []);
    let metrics = metrics(&undoing.stand).await;
    let line = "hugbucket_undo_copies_total{result=\"refused_public\"} 2";
    assert!(metrics.lines().any(|found| found == line));
    let delete = s3.delete_object().bucket("for-all").key("k");
    delete.send().await.unwrap();
    s3.delete_bucket().bucket("for-all").send().await.unwrap();
}
