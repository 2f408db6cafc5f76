//! Files over FTP as the Hub sees them: what a command costs, what moves, and what an interruption leaves.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_s3::Client;
use futures::{StreamExt as _, stream};
use hugbucket::devhub::{Effect, Fault, Route};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::ftp_client::{Ftp, ftp_gateway, ftp_stand};
use crate::stand::{BUCKET, Stand, get, put, random_bytes};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Returns the calls since the last reset, and resets.
fn calls(stand: &Stand) -> BTreeMap<&'static str, u64> {
    let calls = stand.hub.calls();
    let counted = calls.snapshot().into_iter();
    let counted = counted.map(|(route, calls)| (route, calls.calls)).collect();
    calls.reset();
    counted
}

/// Returns the bytes of xorbs that were uploaded and read since the last reset, and resets.
fn moved(stand: &Stand) -> (u64, u64) {
    let calls = stand.hub.calls();
    let sent = calls.of(Route::XorbPost).received_bytes + calls.of(Route::GrantPut).received_bytes;
    let read = calls.of(Route::XorbGet).served_bytes;
    calls.reset();
    (sent, read)
}

async fn names(s3: &Client) -> Vec<String> {
    let list = s3.list_objects_v2().bucket(BUCKET).send().await.unwrap();
    let names = list.contents().iter();
    names
        .map(|object| object.key().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn small_files_cost_few_calls() {
    let stand = ftp_stand(&[]).await;
    let mut ftp = Ftp::login(&stand.gateway).await;
    assert_eq!(ftp.store("/data/d/first", b"1").await.code, 226);
    calls(&stand);
    assert_eq!(ftp.store("/data/d/second", b"2").await.code, 226);
    // As over S3, and one look whether the name is that of a directory.
    let upload = [("batch", 1), ("shard", 1), ("tree", 1), ("xorb-post", 1)];
    assert_eq!(calls(&stand), upload.into());
    assert_eq!(ftp.load("RETR /data/d/second").await.0, b"2");
    let cold = calls(&stand);
    assert!(cold.values().sum::<u64>() <= 4, "{cold:?}");
    assert_eq!(ftp.load("RETR /data/d/second").await.0, b"2");
    assert_eq!(ftp.command("SIZE /data/d/second").await.code, 213);
    assert_eq!(calls(&stand), BTreeMap::new());
    // A listing tells the times of directories too, for the same call.
    let (listed, _) = ftp.load("MLSD /data").await;
    let listed = String::from_utf8(listed).unwrap();
    assert!(
        listed.starts_with("type=dir;") && listed.contains("modify=20"),
        "{listed}"
    );
    assert_eq!(calls(&stand), [("tree", 1)].into());
    // A deletion looks for the file first, and for others in its directory then.
    assert_eq!(ftp.command("DELE /data/d/second").await.code, 250);
    let deletion = [("batch", 1), ("paths-info", 1), ("tree", 1)];
    assert_eq!(calls(&stand), deletion.into());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_uploads_hardly_more_than_its_bytes() {
    let stand = ftp_stand(&[]).await;
    let s3 = stand.s3();
    let mut content = random_bytes(1, 64 * MIB);
    put(&s3, "log", content.clone()).await;
    let mut ftp = Ftp::login(&stand.gateway).await;
    for round in 0..3 {
        let line = random_bytes(2 + round, KIB);
        moved(&stand);
        let mut data = ftp.begin("APPE /data/log").await;
        data.write_all(&line).await.unwrap();
        data.shutdown().await.unwrap();
        assert_eq!(ftp.reply().await.code, 226);
        let (sent, read) = moved(&stand);
        assert!(sent < 200 * KIB as u64, "round {round}: {sent} bytes sent");
        assert!(read < 300 * KIB as u64, "round {round}: {read} bytes read");
        content.extend_from_slice(&line);
    }
    assert!(get(&s3, "log").await.unwrap() == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_goes_behind_what_another_gateway_has_written() {
    let stand = ftp_stand(&[]).await;
    let other = ftp_gateway(&stand, &[]).await;
    let (mut here, mut there) = (Ftp::login(&stand.gateway).await, Ftp::login(&other).await);
    for round in 0..4 {
        let ftp = if round % 2 == 0 {
            &mut here
        } else {
            &mut there
        };
        let mut data = ftp.begin("APPE /data/log").await;
        data.write_all(format!("{round} ").as_bytes())
            .await
            .unwrap();
        data.shutdown().await.unwrap();
        assert_eq!(ftp.reply().await.code, 226);
        // Each remembers for a while what it has seen.
        assert_eq!(ftp.command("SIZE /data/log").await.code, 213);
    }
    assert_eq!(get(&other.s3(), "log").await.unwrap(), b"0 1 2 3 ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_renamed_in_few_calls_and_without_its_bytes() {
    const FILES: usize = 400;
    let stand = ftp_stand(&[]).await;
    let s3 = stand.s3();
    s3.create_bucket().bucket("elsewhere").send().await.unwrap();
    let writes = (0..FILES).map(|n| {
        let s3 = s3.clone();
        async move {
            put(
                &s3,
                &format!("old/{}/{n}", n % 7),
                random_bytes(n as u64, 4 * KIB),
            )
            .await;
        }
    });
    stream::iter(writes).buffer_unordered(32).count().await;
    let mut ftp = Ftp::login(&stand.gateway).await;
    // A copy between buckets has a file beside it for its content type, which the Hub's copies do not carry.
    let beside = 200 * FILES as u64;
    for (from, to, sends) in [
        ("/data/old", "/data/new", 0..1),
        ("/data/new", "/elsewhere/deep/new", 0..beside),
    ] {
        moved(&stand);
        assert_eq!(ftp.command(&format!("RNFR {from}")).await.code, 350);
        assert_eq!(ftp.command(&format!("RNTO {to}")).await.code, 250);
        let (sent, read) = moved(&stand);
        assert!(
            sends.contains(&sent) && read == 0,
            "{sent} sent, {read} read"
        );
    }
    let (listed, _) = ftp.load("NLST /elsewhere/deep/new/3").await;
    assert_eq!(listed.split(|byte| *byte == b'\n').count() - 1, FILES / 7);
    assert_eq!(ftp.load("NLST /data").await.0, b"");
    let (bytes, reply) = ftp.load("RETR /elsewhere/deep/new/3/10").await;
    assert!(
        reply.code == 226 && bytes == random_bytes(10, 4 * KIB),
        "{reply:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renaming_that_a_kill_interrupts_is_done_again() {
    let stand = ftp_stand(&[]).await;
    let s3 = stand.s3();
    put(&s3, "old/b/c", "content").await;
    let mut gateway = ftp_gateway(&stand, &[]).await;
    let mut ftp = Ftp::login(&gateway).await;
    assert_eq!(ftp.command("RNFR /data/old").await.code, 350);
    // The second batch takes away what the first one has added elsewhere.
    let effect = Effect::Delay { millis: 3_600_000 };
    stand.hub.faults().inject(Fault {
        after: 1,
        ..Fault::once(Route::Batch, effect)
    });
    ftp.send(b"RNTO /data/new\r\n").await;
    let mut look = tokio::time::interval(Duration::from_millis(5));
    while !stand.hub.faults().remaining().is_empty() {
        look.tick().await;
    }
    gateway.kill();
    assert_eq!(names(&s3).await, ["new/b/c", "old/b/c"]);

    let mut ftp = Ftp::login(&stand.gateway).await;
    assert_eq!(ftp.command("RNFR /data/old").await.code, 350);
    assert_eq!(ftp.command("RNTO /data/new").await.code, 250);
    assert_eq!(names(&s3).await, ["new/b/c"]);
    assert_eq!(get(&s3, "new/b/c").await.unwrap(), b"content");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_fails_is_said_and_changes_nothing() {
    let stand = ftp_stand(&[]).await;
    let s3 = stand.s3();
    put(&s3, "d/file", "old").await;
    let mut ftp = Ftp::login(&stand.gateway).await;
    let forbid = |route| {
        let effect = Effect::status(403);
        stand.hub.faults().inject(Fault::once(route, effect));
    };
    forbid(Route::Batch);
    assert_eq!(ftp.store("/data/d/file", b"new").await.code, 550);
    forbid(Route::Batch);
    assert_eq!(ftp.command("DELE /data/d/file").await.code, 550);
    forbid(Route::Batch);
    assert_eq!(ftp.command("RNFR /data/d").await.code, 350);
    assert_eq!(ftp.command("RNTO /data/e").await.code, 550);
    forbid(Route::Tree);
    let (listed, reply) = ftp.load("LIST /data/d").await;
    assert_eq!((listed.len(), reply.code), (0, 550));
    stand.hub.faults().clear();
    assert_eq!(names(&s3).await, ["d/file"]);
    assert_eq!(get(&s3, "d/file").await.unwrap(), b"old");
    // The session goes on.
    assert_eq!(ftp.store("/data/d/file", b"new").await.code, 226);
    assert_eq!(get(&s3, "d/file").await.unwrap(), b"new");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_breaks_off_is_not_said_to_be_whole() {
    let stand = ftp_stand(&[]).await;
    put(&stand.s3(), "large", random_bytes(1, 96 * MIB)).await;
    // Another gateway, which has nothing of it in memory.
    let gateway = ftp_gateway(&stand, &[]).await;
    let effect = Effect::status(404);
    stand.hub.faults().inject(Fault {
        after: 3,
        ..Fault::times(Route::XorbGet, 1000, effect)
    });
    let mut ftp = Ftp::login(&gateway).await;
    let mut data = ftp.passive().await;
    assert_eq!(ftp.command("RETR /data/large").await.code, 150);
    let (mut got, mut buffer) = (0, vec![0; 64 * KIB]);
    let is_clean_end = loop {
        match data.read(&mut buffer).await {
            Ok(0) => break true,
            Ok(read) => got += read,
            Err(_) => break false,
        }
    };
    assert!(got < 96 * MIB);
    assert!(
        !is_clean_end,
        "a client without SIZE would take it for the whole"
    );
    let reply = ftp.reply().await;
    assert!((400..500).contains(&reply.code), "{reply:?}");
    stand.hub.faults().clear();
    assert_eq!(ftp.load("RETR /data/large").await.0.len(), 96 * MIB);
}
