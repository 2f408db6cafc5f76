//! Uploads that end in every way but the right one: nothing of them is ever seen, and what was there before stays.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::ftp_client::{Ftp, comes_to_rest, ftp_stand, reset};
use crate::ftp_tls::{self, Files};
use crate::stand::{BUCKET, Stand, get, put, random_bytes};

const OLD: &[u8] = b"what was there before";

/// More than the buffers between a client and storage hold.
const LEN: usize = 3 << 20;

fn stor() -> String {
    format!("STOR /{BUCKET}/k")
}

/// A stand with an object that a cut upload would replace.
async fn stand(more: &[(&str, &str)]) -> Stand {
    let stand = ftp_stand(more).await;
    put(&stand.s3(), "k", OLD).await;
    stand
}

/// Checks that the object is the old one, once nothing happens any more.
async fn stays(stand: &Stand) {
    comes_to_rest(&stand.gateway).await;
    assert_eq!(get(&stand.s3(), "k").await.as_deref(), Some(OLD));
}

/// Begins an upload and sends half of it.
async fn half(ftp: &mut Ftp) -> TcpStream {
    let mut data = ftp.begin(&stor()).await;
    data.write_all(&random_bytes(1, LEN)).await.unwrap();
    data
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_of_the_data_connection_stores_nothing() {
    let stand = stand(&[]).await;
    let mut ftp = Ftp::login(&stand.gateway).await;
    for command in [stor(), format!("APPE /{BUCKET}/k")] {
        let mut data = ftp.begin(&command).await;
        data.write_all(&random_bytes(1, LEN)).await.unwrap();
        reset(data);
        assert_eq!(ftp.reply().await.code, 426, "{command}");
    }
    // An upload that goes on where the object ends.
    assert_eq!(ftp.command(&format!("REST {}", OLD.len())).await.code, 350);
    let data = half(&mut ftp).await;
    reset(data);
    assert_eq!(ftp.reply().await.code, 426);
    // The session goes on, and an upload that ends well is stored.
    assert_eq!(
        ftp.store(&format!("/{BUCKET}/other"), b"whole").await.code,
        226
    );
    drop(ftp);
    stays(&stand).await;
    assert_eq!(
        get(&stand.s3(), "other").await.as_deref(),
        Some(&b"whole"[..])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_stores_nothing_at_any_moment() {
    let stand = stand(&[]).await;
    let mut ftp = Ftp::login(&stand.gateway).await;
    // In the middle; as old clients say it, with telnet's signs; and as urgent data without its last byte.
    for abort in [
        &b"ABOR\r\n"[..],
        b"\xff\xf4\xff\xf2ABOR\r\n",
        b"\xff\xf4\xffABOR\r",
    ] {
        let data = half(&mut ftp).await;
        ftp.send(abort).await;
        assert_eq!(ftp.reply().await.code, 426, "{abort:?}");
        assert_eq!(ftp.reply().await.code, 226, "{abort:?}");
        drop(data);
    }
    // Before the client even opened its data connection.
    let data = ftp.passive().await;
    ftp.send(format!("{}\r\nABOR\r\n", stor()).as_bytes()).await;
    let codes = [ftp.reply().await.code, ftp.reply().await.code];
    assert!(matches!(codes, [150, 426] | [426, 226]), "{codes:?}");
    if codes[0] == 150 {
        assert_eq!(ftp.reply().await.code, 226);
    }
    drop(data);
    drop(ftp);
    stays(&stand).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_behind_the_end_of_the_data_is_answered_with_the_truth() {
    let stand = stand(&[]).await;
    let mut ftp = Ftp::login(&stand.gateway).await;
    let mut data = ftp.begin(&stor()).await;
    data.write_all(b"whole").await.unwrap();
    data.shutdown().await.unwrap();
    ftp.send(b"ABOR\r\n").await;
    let code = ftp.reply().await.code;
    assert_eq!(ftp.reply().await.code, 226);
    drop(ftp);
    comes_to_rest(&stand.gateway).await;
    let found = get(&stand.s3(), "k").await.unwrap();
    match code {
        426 => assert_eq!(found, OLD),
        226 => assert_eq!(found, b"whole"),
        code => panic!("{code}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_stores_nothing_whichever_connection_it_closes_first() {
    let stand = stand(&[]).await;
    // The control connection only.
    let mut ftp = Ftp::login(&stand.gateway).await;
    let data = half(&mut ftp).await;
    drop(ftp);
    stays(&stand).await;
    drop(data);
    // The control connection, then the data connection, cleanly.
    let mut ftp = Ftp::login(&stand.gateway).await;
    let mut data = half(&mut ftp).await;
    drop(ftp);
    let _ = data.shutdown().await;
    stays(&stand).await;
    // The other way round, within a moment: a process that is killed may do so.
    let mut ftp = Ftp::login(&stand.gateway).await;
    let data = half(&mut ftp).await;
    let data = data.into_std().unwrap();
    data.shutdown(std::net::Shutdown::Both).unwrap();
    drop(ftp);
    stays(&stand).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_stands_still_is_cut_and_stores_nothing() {
    let stand = stand(&[("HUGBUCKET_IDLE_TIMEOUT", "1 s")]).await;
    let mut ftp = Ftp::login(&stand.gateway).await;
    let data = half(&mut ftp).await;
    assert_eq!(ftp.reply().await.code, 426);
    drop((data, ftp));
    stays(&stand).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_stores_nothing() {
    let mut stand = stand(&[]).await;
    let mut ftp = Ftp::login(&stand.gateway).await;
    let data = half(&mut ftp).await;
    stand.gateway.kill();
    drop((data, ftp));
    stand.restart_gateway().await;
    assert_eq!(get(&stand.s3(), "k").await.as_deref(), Some(OLD));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_ends_lets_uploads_finish_and_cuts_those_that_do_not() {
    let mut stand = stand(&[("HUGBUCKET_SHUTDOWN_TIMEOUT", "1 s")]).await;
    let mut idle = Ftp::login(&stand.gateway).await;
    let mut finishing = Ftp::login(&stand.gateway).await;
    let mut whole = finishing.begin(&format!("STOR /{BUCKET}/whole")).await;
    whole.write_all(b"first ").await.unwrap();
    let mut cut = Ftp::login(&stand.gateway).await;
    let data = half(&mut cut).await;
    let ending = stand.gateway.terminate();
    let watching = async {
        assert_eq!(idle.reply().await.code, 421);
        assert_eq!(idle.next_reply().await, None);
        whole.write_all(b"second").await.unwrap();
        whole.shutdown().await.unwrap();
        assert_eq!(finishing.reply().await.code, 226);
        assert_eq!(finishing.reply().await.code, 421);
    };
    let (code, ()) = tokio::join!(ending, watching);
    assert_eq!(code, Some(0));
    drop((data, cut));
    stand.restart_gateway().await;
    assert_eq!(get(&stand.s3(), "k").await.as_deref(), Some(OLD));
    let whole = get(&stand.s3(), "whole").await;
    assert_eq!(whole.as_deref(), Some(&b"first second"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_upload_without_its_farewell_stores_nothing() {
    let (files, tls) = Files::new();
    let (_stand, gateway) = ftp_tls::stand(&files, &[]).await;
    let mut ftp = Ftp::login_encrypted(&gateway, &tls).await;
    let path = format!("/{BUCKET}/k");
    let mut data = ftp.begin_encrypted(&format!("STOR {path}"), &tls).await;
    data.write_all(OLD).await.unwrap();
    data.shutdown().await.unwrap();
    assert_eq!(ftp.reply().await.code, 226);

    // TCP ends well, TLS does not: what an attacker can do, and a client that dies.
    let mut data = ftp.begin_encrypted(&format!("STOR {path}"), &tls).await;
    data.write_all(&random_bytes(2, LEN)).await.unwrap();
    data.flush().await.unwrap();
    let (mut tcp, _tls) = data.into_inner();
    tcp.shutdown().await.unwrap();
    assert_eq!(ftp.reply().await.code, 426);
    // A reset.
    let mut data = ftp.begin_encrypted(&format!("STOR {path}"), &tls).await;
    data.write_all(&random_bytes(2, LEN)).await.unwrap();
    reset(data.into_inner().0);
    assert_eq!(ftp.reply().await.code, 426);
    // Both connections at once.
    let mut data = ftp.begin_encrypted(&format!("STOR {path}"), &tls).await;
    data.write_all(&random_bytes(2, LEN)).await.unwrap();
    drop((data, ftp));

    comes_to_rest(&gateway).await;
    let mut ftp = Ftp::login_encrypted(&gateway, &tls).await;
    let mut data = ftp.begin_encrypted(&format!("RETR {path}"), &tls).await;
    let mut found = Vec::new();
    // A download does end with a farewell, without which this would be an error.
    data.read_to_end(&mut found).await.unwrap();
    assert_eq!(found, OLD);
    assert_eq!(ftp.reply().await.code, 226);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_slowly_arrives_whole() {
    let stand = stand(&[("HUGBUCKET_IDLE_TIMEOUT", "2 s")]).await;
    let mut ftp = Ftp::login(&stand.gateway).await;
    let mut data = ftp.begin(&stor()).await;
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    for _ in 0..25 {
        ticks.tick().await;
        data.write_all(b"x").await.unwrap();
    }
    data.shutdown().await.unwrap();
    assert_eq!(ftp.reply().await.code, 226);
    assert_eq!(get(&stand.s3(), "k").await, Some(vec![b'x'; 25]));
}
