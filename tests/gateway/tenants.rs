//! Tenants with Hub accounts, rights, lifetimes, and networks of their own behind one gateway.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, ObjectAttributes};
use bytes::Bytes;
use hugbucket::devhub::{DevUser, Route, TokenRole};
use hugbucket::storage::Secret;
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::ftp_client::Ftp;
use crate::stand::{BUCKET, NAMESPACE, Stand, get, put, random_bytes};

/// The account of somebody else on the Hub.
const ADA: &str = "hf_ada";
const BOB: &str = "hf_bob";

fn user(name: &str, token: &str, role: TokenRole, organizations: &[&str]) -> DevUser {
    DevUser {
        name: name.into(),
        token: Secret::new(token),
        role,
        organizations: organizations.iter().map(ToString::to_string).collect(),
    }
}

/// A credential of the file, whose secret is `s`.
pub(crate) fn credential(access_key_id: &str, more: &str) -> String {
    format!(
        "[[s3_credentials]]\naccess_key_id = \"{access_key_id}\"\nsecret_access_key = \"s\"\n{more}\n"
    )
}

/// A stand whose gateway reads a file that may change.
pub(crate) struct Tenants {
    pub(crate) stand: Stand,
    file: PathBuf,
    _dir: TempDir,
}

impl Tenants {
    pub(crate) async fn start(file: &str, settings: &[(&str, &str)]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hugbucket.toml");
        std::fs::write(&path, file).unwrap();
        let users = vec![
            user("ada", ADA, TokenRole::Write, &[]),
            user("bob", BOB, TokenRole::Write, &[]),
            user("reader", "hf_reader", TokenRole::Read, &[NAMESPACE]),
        ];
        let own = [("HUGBUCKET_CONFIG", path.to_str().unwrap())];
        let stand = Stand::start_among(users, &[&own, settings].concat()).await;
        Self {
            stand,
            file: path,
            _dir: dir,
        }
    }

    /// Returns a client with a credential of the file.
    pub(crate) fn client(&self, access_key_id: &str) -> Client {
        self.stand.gateway.s3_as(access_key_id, "s", None)
    }

    /// Replaces the file, and has it read.
    pub(crate) fn rewrite(&self, file: &str) {
        replace(&self.file, file);
        self.stand.gateway.reload();
    }
}

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// Returns status and code of a refusal; an answer that is none fails the test.
macro_rules! refusal {
    ($request:expr) => {{
        let refused = $request.send().await.expect_err("it was let through");
        let status = refused
            .raw_response()
            .map_or(0, |raw| raw.status().as_u16());
        (status, refused.code().unwrap_or_default().to_owned())
    }};
}

fn denied(code: &str) -> (u16, String) {
    (403, code.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tenant_sees_the_buckets_of_its_own_account() {
    let file = credential("ada", &format!("hub_token = \"{ADA}\""))
        + &credential(
            "bob",
            &format!("hub_token = \"{BOB}\"\nnamespace = \"bob\""),
        );
    let tenants = Tenants::start(&file, &[]).await;
    let (ours, ada, bob) = (
        tenants.stand.s3(),
        tenants.client("ada"),
        tenants.client("bob"),
    );
    for s3 in [&ada, &bob] {
        s3.create_bucket().bucket(BUCKET).send().await.unwrap();
    }
    for (s3, text) in [(&ours, "ours"), (&ada, "ada's"), (&bob, "bob's")] {
        put(s3, "k", text).await;
        put(s3, text, "own").await;
    }
    for _ in 0..2 {
        for (s3, text) in [(&ours, "ours"), (&ada, "ada's"), (&bob, "bob's")] {
            assert_eq!(get(s3, "k").await.unwrap(), text.as_bytes());
            let page = s3.list_objects_v2().bucket(BUCKET).send().await.unwrap();
            let mut keys: Vec<_> = page.contents().iter().filter_map(|one| one.key()).collect();
            keys.sort_unstable();
            let mut expected = ["k", text];
            expected.sort_unstable();
            assert_eq!(keys, expected);
            assert_eq!(get(s3, "nobody's").await, None);
        }
    }
    let owner = ada.list_buckets().send().await.unwrap().owner.unwrap();
    assert_eq!(owner.display_name(), Some("ada"));
    assert_eq!(
        tenants.stand.hub.calls().count(Route::Whoami),
        1,
        "asked for ada alone, and once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_remembered_for_one_token_is_not_shown_to_another() {
    let spy = format!("hub_token = \"{BOB}\"\nnamespace = \"{NAMESPACE}\"");
    let reader = format!("hub_token = \"hf_reader\"\nnamespace = \"{NAMESPACE}\"");
    let file = credential("spy", &spy) + &credential("reader", &reader);
    let tenants = Tenants::start(&file, &[]).await;
    let (ours, spy, reader) = (
        tenants.stand.s3(),
        tenants.client("spy"),
        tenants.client("reader"),
    );
    let secret = random_bytes(1, 300_000);
    let body = ByteStream::from(secret.clone());
    let write = ours.put_object().bucket(BUCKET).key("d/secret").body(body);
    write
        .metadata("a", "b")
        .tagging("t=1")
        .send()
        .await
        .unwrap();
    let upload = ours.create_multipart_upload().bucket(BUCKET).key("d/large");
    let upload_id = upload.send().await.unwrap().upload_id.unwrap();
    let part = ours
        .upload_part()
        .bucket(BUCKET)
        .key("d/large")
        .upload_id(&upload_id);
    let part = part.part_number(1).body(ByteStream::from(secret.clone()));
    let etag = part.send().await.unwrap().e_tag.unwrap();
    // All of it is in memory now: info, metadata, listing, plan, bytes, manifest.
    for _ in 0..2 {
        assert_eq!(get(&ours, "d/secret").await.unwrap(), secret);
        ours.list_objects_v2()
            .bucket(BUCKET)
            .prefix("d/")
            .send()
            .await
            .unwrap();
    }
    for round in 0..3 {
        let missing = (404, "NoSuchBucket".to_owned());
        let key = "d/secret";
        assert_eq!(
            refusal!(spy.get_object().bucket(BUCKET).key(key)),
            missing,
            "{round}"
        );
        assert_eq!(
            refusal!(spy.get_object().bucket(BUCKET).key(key).range("bytes=0-9")),
            missing
        );
        assert_eq!(refusal!(spy.head_object().bucket(BUCKET).key(key)).0, 404);
        assert_eq!(refusal!(spy.head_bucket().bucket(BUCKET)).0, 404);
        assert_eq!(
            refusal!(spy.get_object_tagging().bucket(BUCKET).key(key)),
            missing
        );
        let attributes = spy.get_object_attributes().bucket(BUCKET).key(key);
        let attributes = attributes.object_attributes(ObjectAttributes::ObjectSize);
        assert_eq!(refusal!(attributes), missing);
        assert_eq!(
            refusal!(spy.list_objects_v2().bucket(BUCKET).prefix("d/")),
            missing
        );
        assert_eq!(
            refusal!(spy.list_objects().bucket(BUCKET).marker("d/")),
            missing
        );
        assert_eq!(
            refusal!(spy.list_multipart_uploads().bucket(BUCKET)),
            missing
        );
        let parts = spy.list_parts().bucket(BUCKET).key("d/large");
        assert_eq!(refusal!(parts.upload_id(&upload_id)), missing);
        let part = spy
            .upload_part()
            .bucket(BUCKET)
            .key("d/large")
            .upload_id(&upload_id);
        assert_eq!(
            refusal!(part.part_number(2).body(b"x".to_vec().into())),
            missing
        );
        let done = CompletedPart::builder().part_number(1).e_tag(&etag).build();
        let done = CompletedMultipartUpload::builder().parts(done).build();
        let complete = spy
            .complete_multipart_upload()
            .bucket(BUCKET)
            .key("d/large");
        assert_eq!(
            refusal!(complete.upload_id(&upload_id).multipart_upload(done)),
            missing
        );
        let abort = spy.abort_multipart_upload().bucket(BUCKET).key("d/large");
        assert_eq!(refusal!(abort.upload_id(&upload_id)), missing);
        let copy = spy.copy_object().bucket(BUCKET).key("stolen");
        assert_eq!(
            refusal!(copy.copy_source(format!("{BUCKET}/{key}"))),
            missing
        );
        let write = spy.put_object().bucket(BUCKET).key(key);
        assert_eq!(
            refusal!(write.body(b"overwritten".to_vec().into())),
            missing
        );
        assert_eq!(
            refusal!(spy.delete_object().bucket(BUCKET).key(key)),
            missing
        );
        assert_eq!(
            refusal!(spy.delete_object_tagging().bucket(BUCKET).key(key)),
            missing
        );
    }
    // A token that reads the bucket is served, and changes nothing.
    assert_eq!(get(&reader, "d/secret").await.unwrap(), secret);
    let write = reader.put_object().bucket(BUCKET).key("d/secret");
    assert_eq!(
        refusal!(write.body(b"overwritten".to_vec().into())),
        denied("AccessDenied")
    );
    let delete = reader.delete_object().bucket(BUCKET).key("d/secret");
    assert_eq!(refusal!(delete), denied("AccessDenied"));
    assert_eq!(get(&ours, "d/secret").await.unwrap(), secret);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_stops_its_own_tenants_only() {
    let file = credential("ada", &format!("hub_token = \"{ADA}\""))
        + &credential("never", "hub_token = \"hf_never_was_one\"");
    let tenants = Tenants::start(&file, &[]).await;
    let (ours, ada, never) = (
        tenants.stand.s3(),
        tenants.client("ada"),
        tenants.client("never"),
    );
    ada.create_bucket().bucket(BUCKET).send().await.unwrap();
    put(&ada, "k", "ada's").await;
    tenants.stand.hub.revoke(&Secret::new(ADA));
    let write = ada.put_object().bucket(BUCKET).key("new");
    let unavailable = (503, "ServiceUnavailable".to_owned());
    assert_eq!(refusal!(write.body(b"x".to_vec().into())), unavailable);
    assert_eq!(refusal!(ada.list_buckets()), unavailable);
    assert_eq!(refusal!(never.list_buckets()), unavailable);
    put(&ours, "k", "ours").await;
    assert_eq!(get(&ours, "k").await.unwrap(), b"ours");
    let ready = reqwest::get(format!("{}/readyz", tenants.stand.gateway.admin)).await;
    assert_eq!(ready.unwrap().status(), 200);
}

/// Asks again until a credential is known, or is not any more.
async fn settle(s3: &Client, is_known: bool) {
    let mut look = tokio::time::interval(Duration::from_millis(10));
    loop {
        look.tick().await;
        let answer = s3.list_buckets().send().await;
        let refused = answer
            .err()
            .and_then(|error| error.code().map(str::to_owned));
        match refused.as_deref() {
            None if is_known => return,
            Some("InvalidAccessKeyId") if !is_known => return,
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_come_and_go_without_a_restart_and_pending_uploads_go_on() {
    let ada_entry = credential("ada", &format!("hub_token = \"{ADA}\""));
    let old_entry = credential("old", "");
    let tenants = Tenants::start(&(ada_entry.clone() + &old_entry), &[]).await;
    let (ada, old, bob) = (
        tenants.client("ada"),
        tenants.client("old"),
        tenants.client("bob"),
    );
    ada.create_bucket().bucket(BUCKET).send().await.unwrap();
    let upload = ada.create_multipart_upload().bucket(BUCKET).key("large");
    let upload_id = upload.send().await.unwrap().upload_id.unwrap();
    let bytes = random_bytes(3, 5 << 20);
    let part = |number| {
        let part = ada
            .upload_part()
            .bucket(BUCKET)
            .key("large")
            .upload_id(&upload_id);
        let sent = part.part_number(number).body(bytes.clone().into()).send();
        async move {
            let etag = sent.await.unwrap().e_tag.unwrap();
            CompletedPart::builder()
                .part_number(number)
                .e_tag(etag)
                .build()
        }
    };
    let first = part(1).await;
    // A body of which the second half comes only after its sender was removed.
    let expiry = PresigningConfig::expires_in(Duration::from_secs(600)).unwrap();
    let signed = old
        .put_object()
        .bucket(BUCKET)
        .key("slow")
        .presigned(expiry)
        .await
        .unwrap();
    let (more, frames) = mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    let frames = futures::stream::unfold(frames, |mut frames| async move {
        Some((frames.recv().await?, frames))
    });
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = http.put(signed.uri()).header("content-length", 10);
    let slow = tokio::spawn(request.body(reqwest::Body::wrap_stream(frames)).send());
    more.send(Ok(Bytes::from_static(b"first"))).await.unwrap();
    // The next send waits until this one was taken.
    more.send(Ok(Bytes::from_static(b""))).await.unwrap();
    more.reserve().await.unwrap();

    tenants.rewrite(&(ada_entry + &credential("bob", &format!("hub_token = \"{BOB}\""))));
    settle(&bob, true).await;
    settle(&old, false).await;
    more.send(Ok(Bytes::from_static(b"secnd"))).await.unwrap();
    drop(more);
    assert_eq!(slow.await.unwrap().unwrap().status(), 200);
    assert_eq!(
        get(&tenants.stand.s3(), "slow").await.unwrap(),
        b"firstsecnd"
    );

    let parts = CompletedMultipartUpload::builder()
        .parts(first)
        .parts(part(2).await);
    let complete = ada.complete_multipart_upload().bucket(BUCKET).key("large");
    let complete = complete
        .upload_id(&upload_id)
        .multipart_upload(parts.build());
    complete.send().await.unwrap();
    assert_eq!(get(&ada, "large").await.unwrap().len(), 10 << 20);

    // What a tenant's entry says is followed too: its account becomes another one.
    tenants.rewrite(&credential("ada", &format!("hub_token = \"{BOB}\"")));
    settle(&bob, false).await;
    let owner = ada.list_buckets().send().await.unwrap().owner.unwrap();
    assert_eq!(owner.display_name(), Some("bob"));
    let gone = refusal!(ada.get_object().bucket(BUCKET).key("large"));
    assert_eq!(gone, (404, "NoSuchBucket".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_used_changes_nothing() {
    let file = credential("ada", "");
    let tenants = Tenants::start(&file, &[]).await;
    let ada = tenants.client("ada");
    settle(&ada, true).await;
    for broken in [
        "expires = 2020-01-01",
        "rights = \"some\"",
        "source_networks = []",
    ] {
        tenants.rewrite(&credential("ada", broken));
        let mut look = tokio::time::interval(Duration::from_millis(10));
        loop {
            look.tick().await;
            let metrics = reqwest::get(format!("{}/metrics", tenants.stand.gateway.admin)).await;
            let metrics = metrics.unwrap().text().await.unwrap();
            let failed = |line: &str| line == "hugbucket_config_last_reload_successful 0";
            if metrics.lines().any(failed) {
                break;
            }
        }
        ada.list_buckets().send().await.unwrap();
        tenants.rewrite(&file);
        settle(&ada, true).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_and_far_away_tenants_are_refused_and_reach_nothing() {
    let ftp = |name: &str, more: &str| {
        format!("[[ftp_users]]\nname = \"{name}\"\npassword = \"s\"\n{more}\n")
    };
    let (past, future) = (
        "expires = 2020-01-01T00:00:00Z",
        "expires = 2100-01-01T00:00:00Z",
    );
    let (far, near) = (
        "source_networks = [\"10.0.0.0/8\"]",
        "source_networks = [\"127.0.0.0/8\"]",
    );
    let mut file = String::new();
    for (name, more) in [
        ("past", past),
        ("future", future),
        ("far", far),
        ("near", near),
    ] {
        file += &(credential(name, more) + &ftp(name, more));
    }
    let settings = [
        ("HUGBUCKET_FTP_ADDR", "127.0.0.1:0"),
        ("HUGBUCKET_TRUSTED_PROXIES", "127.0.0.1/32"),
    ];
    let tenants = Tenants::start(&file, &settings).await;
    tenants.stand.hub.calls().reset();
    for (name, code) in [("past", "InvalidAccessKeyId"), ("far", "AccessDenied")] {
        let s3 = tenants.client(name);
        assert_eq!(refusal!(s3.list_buckets()), denied(code));
        assert_eq!(
            refusal!(s3.get_object().bucket(BUCKET).key("k")),
            denied(code)
        );
        let body = b"x".to_vec().into();
        assert_eq!(
            refusal!(s3.put_object().bucket(BUCKET).key("k").body(body)),
            denied(code)
        );
        let mut session = Ftp::connect(&tenants.stand.gateway).await;
        assert_eq!(session.command(&format!("USER {name}")).await.code, 331);
        assert_eq!(session.command("PASS s").await.code, 530);
    }
    assert_eq!(tenants.stand.hub.calls().total(), 0);
    for name in ["future", "near"] {
        tenants.client(name).list_buckets().send().await.unwrap();
        let mut session = Ftp::connect(&tenants.stand.gateway).await;
        assert_eq!(session.command(&format!("USER {name}")).await.code, 331);
        assert_eq!(session.command("PASS s").await.code, 230);
    }
    // The address that counts is the one that a trusted proxy names.
    let expiry = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for (name, from, status) in [("far", "10.1.2.3", 404), ("near", "10.1.2.3", 403)] {
        let read = tenants.client(name).get_object().bucket(BUCKET).key("none");
        let signed = read.presigned(expiry.clone()).await.unwrap();
        let request = http.get(signed.uri()).header("x-forwarded-for", from);
        assert_eq!(request.send().await.unwrap().status(), status, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_are_all_that_a_tenant_may_do() {
    let grants = format!(
        "[[s3_credentials.grants]]\nbucket = \"{BUCKET}\"\nprefix = \"in/\"\nrights = [\"write\", \"list\"]\n\
         [[s3_credentials.grants]]\nbucket = \"{BUCKET}\"\nprefix = \"out/\"\nrights = \"read-only\"\n\
         [[s3_credentials.grants]]\nbucket = \"own-*\"\nrights = \"all\"\n"
    );
    let tenants = Tenants::start(&credential("worker", &grants), &[]).await;
    let (ours, worker) = (tenants.stand.s3(), tenants.client("worker"));
    ours.create_bucket().bucket("hidden").send().await.unwrap();
    for key in ["in/a", "out/a", "top"] {
        put(&ours, key, key).await;
    }
    put(&worker, "in/b", "b").await;
    assert_eq!(get(&worker, "out/a").await.unwrap(), b"out/a");
    worker
        .list_objects_v2()
        .bucket(BUCKET)
        .prefix("in/")
        .send()
        .await
        .unwrap();
    worker.head_bucket().bucket(BUCKET).send().await.unwrap();
    worker.create_bucket().bucket("own-1").send().await.unwrap();
    let copy = worker.copy_object().bucket("own-1").key("k");
    copy.copy_source(format!("{BUCKET}/out/a"))
        .send()
        .await
        .unwrap();
    worker
        .delete_object()
        .bucket("own-1")
        .key("k")
        .send()
        .await
        .unwrap();
    let listed = worker.list_buckets().send().await.unwrap();
    let names: Vec<_> = listed
        .buckets()
        .iter()
        .filter_map(|one| one.name())
        .collect();
    assert_eq!(names, [BUCKET, "own-1"]);
    worker.delete_bucket().bucket("own-1").send().await.unwrap();

    tenants.stand.hub.calls().reset();
    let no = denied("AccessDenied");
    assert_eq!(refusal!(worker.get_object().bucket(BUCKET).key("in/a")), no);
    assert_eq!(refusal!(worker.get_object().bucket(BUCKET).key("top")), no);
    assert_eq!(
        refusal!(worker.delete_object().bucket(BUCKET).key("in/a")),
        no
    );
    let write = worker.put_object().bucket(BUCKET).key("out/b");
    assert_eq!(refusal!(write.body(b"x".to_vec().into())), no);
    assert_eq!(refusal!(worker.list_objects_v2().bucket(BUCKET)), no);
    let copy = worker.copy_object().bucket(BUCKET).key("in/stolen");
    assert_eq!(refusal!(copy.copy_source(format!("{BUCKET}/in/a"))), no);
    let copy = worker.copy_object().bucket(BUCKET).key("out/changed");
    assert_eq!(refusal!(copy.copy_source(format!("{BUCKET}/out/a"))), no);
    assert_eq!(refusal!(worker.create_bucket().bucket("other")), no);
    assert_eq!(refusal!(worker.delete_bucket().bucket(BUCKET)), no);
    assert_eq!(refusal!(worker.head_bucket().bucket("hidden")).0, 403);
    assert_eq!(
        tenants.stand.hub.calls().total(),
        0,
        "nothing went on to the Hub"
    );
}

/// Runs `hugbucket credentials` on the file, and returns what it shows.
fn command(tenants: &Tenants, arguments: &[&str]) -> String {
    let done = std::process::Command::new(env!("CARGO_BIN_EXE_hugbucket"))
        .env_clear()
        .arg("--config")
        .arg(&tenants.file)
        .arg("credentials")
        .args(arguments)
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_gateway_follows_the_credentials_command() {
    let tenants = Tenants::start(&format!("# By hand.\n{}", credential("old", "")), &[]).await;
    let shown = command(
        &tenants,
        &["add", "s3", "--id", "new", "--rights", "read,list"],
    );
    let secret = shown
        .lines()
        .nth(1)
        .and_then(|line| line.split_once('='))
        .unwrap()
        .1;
    let new = tenants.stand.gateway.s3_as("new", secret, None);
    settle(&new, true).await;
    let write = new.put_object().bucket(BUCKET).key("k");
    assert_eq!(
        refusal!(write.body(b"x".to_vec().into())),
        denied("AccessDenied")
    );
    let listed = command(&tenants, &["list"]);
    assert!(
        listed.contains("new") && !listed.contains(secret),
        "{listed}"
    );
    command(&tenants, &["revoke", "new"]);
    settle(&new, false).await;
    settle(&tenants.client("old"), true).await;
    let text = std::fs::read_to_string(&tenants.file).unwrap();
    assert!(
        text.starts_with("# By hand.\n") && !text.contains(secret),
        "{text}"
    );
}
