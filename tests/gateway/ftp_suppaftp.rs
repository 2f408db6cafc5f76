//! A client library for Rust, as a program would use it: plain, encrypted, and with transfers that it takes back.

use std::sync::Arc;

use suppaftp::tokio::{AsyncFtpStream, AsyncRustlsConnector, AsyncRustlsFtpStream};
use suppaftp::types::FileType;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::ftp_client::{PASSWORD, USER, ftp_stand};
use crate::ftp_tls::{self, Files};
use crate::stand::{BUCKET, get, random_bytes};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_library_does_all_it_can() {
    let stand = ftp_stand(&[]).await;
    let address = stand.gateway.ftp.as_deref().unwrap();
    let mut ftp = AsyncFtpStream::connect(address).await.unwrap();
    ftp.login(USER, PASSWORD).await.unwrap();
    ftp.transfer_type(FileType::Binary).await.unwrap();
    let features = ftp.feat().await.unwrap();
    assert!(features.contains_key("MLST"), "{features:?}");

    ftp.cwd(format!("/{BUCKET}")).await.unwrap();
    ftp.mkdir("dir").await.unwrap();
    ftp.cwd("dir").await.unwrap();
    assert_eq!(ftp.pwd().await.unwrap(), format!("/{BUCKET}/dir"));
    let bytes = random_bytes(5, 1 << 20);
    assert_eq!(
        ftp.put_file("k", &mut bytes.as_slice()).await.unwrap(),
        1 << 20
    );
    assert_eq!(ftp.append_file("k", &mut &b"more"[..]).await.unwrap(), 4);
    assert_eq!(ftp.size("k").await.unwrap(), (1 << 20) + 4);
    ftp.mdtm("k").await.unwrap();
    assert!(ftp.mlst(Some("k")).await.unwrap().contains("type=file"));
    assert_eq!(ftp.nlst(None).await.unwrap(), ["k"]);
    assert_eq!(ftp.list(None).await.unwrap().len(), 1);
    assert_eq!(ftp.mlsd(None).await.unwrap().len(), 1);

    ftp.resume_transfer(1 << 20).await.unwrap();
    let mut end = Vec::new();
    let mut transfer = ftp.retr_as_stream("k").await.unwrap();
    transfer.read_to_end(&mut end).await.unwrap();
    transfer.finish().await.unwrap();
    assert_eq!(end, b"more");

    let mut transfer = ftp.put_with_stream("cut").await.unwrap();
    transfer.write_all(&bytes).await.unwrap();
    ftp.abort(transfer).await.unwrap();
    assert!(ftp.size("cut").await.is_err());

    ftp.rename("k", "l").await.unwrap();
    ftp.rm("l").await.unwrap();
    ftp.cdup().await.unwrap();
    ftp.rmdir("dir").await.unwrap();
    ftp.quit().await.unwrap();
    assert_eq!(get(&stand.s3(), "dir/cut").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_library_does_it_over_tls() {
    let (files, tls) = Files::new();
    let (stand, gateway) = ftp_tls::stand(&files, &[]).await;
    let address = gateway.ftp.as_deref().unwrap();
    let connector = AsyncRustlsConnector::from(tokio_rustls::TlsConnector::from(Arc::clone(&tls)));
    let ftp = AsyncRustlsFtpStream::connect(address).await.unwrap();
    let mut ftp = ftp.into_secure(connector, "127.0.0.1").await.unwrap();
    ftp.login(USER, PASSWORD).await.unwrap();
    ftp.transfer_type(FileType::Binary).await.unwrap();
    let path = format!("/{BUCKET}/k");
    let bytes = random_bytes(6, 3 << 20);
    ftp.put_file(&path, &mut bytes.as_slice()).await.unwrap();
    assert!(get(&stand.s3(), "k").await.unwrap() == bytes);
    let mut found = Vec::new();
    let mut transfer = ftp.retr_as_stream(&path).await.unwrap();
    transfer.read_to_end(&mut found).await.unwrap();
    transfer.finish().await.unwrap();
    assert!(found == bytes);
    ftp.quit().await.unwrap();
}
