//! `hugbucket warm`: what it fetches, what it leaves on disk, and what it says when something is wrong.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use hugbucket::devhub::{Effect, Fault, Route};

use crate::disk_cache::{metric, reaches};
use crate::stand::{BUCKET, HUB_TOKEN, Stand, get, put, random_bytes};

/// Runs the command to its end, in front of the stand's Hub, with no credential but the Hub's token.
async fn warm(stand: &Stand, dir: Option<&Path>, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hugbucket"));
    command
        .env_clear()
        .env(
            "HF_ENDPOINT",
            stand.hub.url().as_str().trim_end_matches('/'),
        )
        .env("HF_TOKEN", HUB_TOKEN)
        .env("HUGBUCKET_LOG", "error")
        .args(["warm"])
        .args(arguments)
        .stdin(Stdio::null());
    if let Some(dir) = dir {
        command.env("HUGBUCKET_DISK_CACHE_DIR", dir);
    }
    let run = tokio::task::spawn_blocking(move || command.output());
    run.await.unwrap().unwrap()
}

fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    String::from_utf8_lossy(&[out.as_slice(), err].concat()).into_owned()
}

async fn contents(stand: &Stand) -> Vec<(String, Vec<u8>)> {
    let mut contents = Vec::new();
    for n in 0..12 {
        let key = format!("models/{n}");
        let size = if n == 0 { 9 << 20 } else { 100_000 + n };
        contents.push((key, random_bytes(n as u64, size)));
    }
    for (key, content) in &contents {
        put(&stand.s3(), key, content.clone()).await;
    }
    put(&stand.s3(), "models/empty", "").await;
    put(&stand.s3(), "other/large", random_bytes(99, 3 << 20)).await;
    contents
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_warmed_is_served_without_fetching_a_byte() {
    let dir = tempfile::tempdir().unwrap();
    let stand = Stand::start().await;
    let contents = contents(&stand).await;
    stand.hub.calls().reset();
    let target = format!("s3://{BUCKET}/models/");
    let warmed = warm(&stand, Some(dir.path()), &[&target]).await;
    assert_eq!(warmed.status.code(), Some(0), "{}", said(&warmed));
    assert!(
        said(&warmed).contains("12 of 12 objects"),
        "{}",
        said(&warmed)
    );
    assert_eq!(
        stand.hub.calls().count(Route::PathsInfo),
        0,
        "the listing tells enough"
    );
    // Of what lies beside the prefix, nothing was fetched.
    let fetched = stand.hub.calls().of(Route::XorbGet).served_bytes;
    assert!(fetched < 11 << 20, "{fetched}");

    let again = {
        stand.hub.calls().reset();
        warm(&stand, Some(dir.path()), &[&target]).await
    };
    assert_eq!(again.status.code(), Some(0));
    assert_eq!(stand.hub.calls().count(Route::XorbGet), 0);
    assert!(
        said(&again).contains(" 0 B were written"),
        "{}",
        said(&again)
    );

    let gateway = stand
        .another_gateway(&[("HUGBUCKET_DISK_CACHE_DIR", dir.path().to_str().unwrap())])
        .await;
    reaches(&gateway, "hugbucket_cache_entries{cache=\"disk\"}", 12).await;
    for (key, content) in &contents {
        assert!(get(&gateway.s3(), key).await.as_ref() == Some(content));
    }
    assert_eq!(stand.hub.calls().count(Route::XorbGet), 0);
    let read = metric(&gateway, "hugbucket_disk_cache_read_bytes_total").await;
    assert!(
        read >= contents
            .iter()
            .map(|(_, content)| content.len() as u64)
            .sum()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_told_and_the_rest_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let stand = Stand::start().await;
    contents(&stand).await;
    let faults = stand.hub.faults();
    let effect = Effect::Status {
        status: 404,
        retry_after: None,
        rate_limit_reset: None,
    };
    // Both versions of one object's plan.
    faults.inject(Fault::times(Route::Reconstruction, 2, effect));
    let target = format!("s3://{BUCKET}/models/");
    let warmed = warm(&stand, Some(dir.path()), &["--concurrency=1", &target]).await;
    let text = said(&warmed);
    assert_eq!(warmed.status.code(), Some(1), "{text}");
    assert!(text.contains("11 of 12 objects"), "{text}");
    assert!(text.contains("1 of 12 objects were not read"), "{text}");
    assert!(text.contains(&format!("s3://{BUCKET}/models/")), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let stand = Stand::start().await;
    put(&stand.s3(), "k", random_bytes(1, 100_000)).await;
    let target = format!("s3://{BUCKET}");
    let without = warm(&stand, None, &[&target]).await;
    assert_eq!(without.status.code(), Some(2));
    assert!(said(&without).contains("HUGBUCKET_DISK_CACHE_DIR"));
    let missing = warm(&stand, Some(dir.path()), &["s3://no-such-bucket/x"]).await;
    assert_eq!(missing.status.code(), Some(1));
    assert!(said(&missing).contains("cannot list s3://no-such-bucket/x"));
    // A disk that takes nothing is no success, whatever was read.
    let file = dir.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    let full = warm(&stand, Some(&file), &[&target]).await;
    assert_eq!(full.status.code(), Some(1), "{}", said(&full));
    assert!(said(&full).contains("could not be kept"), "{}", said(&full));
}
