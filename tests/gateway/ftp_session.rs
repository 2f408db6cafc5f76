//! The session: the order of replies, what a transfer listens to, what is refused, and what the session survives.

use argon2::password_hash::PasswordHasher as _;
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::ftp_client::{Ftp, PASSWORD, comes_to_rest, ftp_stand, reset};
use crate::stand::{BUCKET, get, put, random_bytes};

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_come_together_are_answered_in_their_order() {
    let stand = ftp_stand(&[]).await;
    put(&stand.s3(), "k", "12345").await;
    let mut ftp = Ftp::login(&stand.gateway).await;
    let commands = format!(
        "NOOP\r\nPWD\r\nSIZE /{BUCKET}/k\r\nCWD /{BUCKET}\r\nSIZE k\r\nRNFR k\r\nRNTO l\r\nSIZE k\r\n\
         EVIL\r\nMDTM l\r\nQUIT\r\n"
    );
    ftp.send(commands.as_bytes()).await;
    for code in [200, 257, 213, 250, 213, 350, 250, 550, 500, 213, 221] {
        let reply = ftp.reply().await;
        assert_eq!(reply.code, code, "{}", reply.text);
    }
    assert_eq!(ftp.next_reply().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_lets_others_wait_and_tells_how_far_it_is() {
    let stand = ftp_stand(&[]).await;
    let mut ftp = Ftp::login(&stand.gateway).await;
    let mut data = ftp.begin(&format!("STOR /{BUCKET}/k")).await;
    data.write_all(b"12345").await.unwrap();
    assert_eq!(ftp.command("NOOP").await.code, 200);
    loop {
        let status = ftp.command("STAT").await;
        assert_eq!(status.code, 211);
        if status.text.contains("Transfer under way: 5 bytes") {
            break;
        }
    }
    let commands = format!("SIZE /{BUCKET}/k\r\nNOOP\r\nQUIT\r\n");
    ftp.send(commands.as_bytes()).await;
    data.shutdown().await.unwrap();
    for code in [226, 213, 200, 221] {
        assert_eq!(ftp.reply().await.code, code);
    }
    assert_eq!(get(&stand.s3(), "k").await.as_deref(), Some(&b"12345"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_commands_during_an_upload_ends_it() {
    let stand = ftp_stand(&[]).await;
    let mut ftp = Ftp::login(&stand.gateway).await;
    let mut data = ftp.begin(&format!("STOR /{BUCKET}/k")).await;
    data.write_all(b"12345").await.unwrap();
    ftp.send("PWD\r\n".repeat(1000).as_bytes()).await;
    assert_eq!(ftp.reply().await.code, 421);
    comes_to_rest(&stand.gateway).await;
    assert_eq!(get(&stand.s3(), "k").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_megabytes_without_an_end_cost_nothing() {
    let stand = ftp_stand(&[]).await;
    let mut ftp = Ftp::login(&stand.gateway).await;
    let resident_kib = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", stand.gateway.pid()));
        let status = status.unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.unwrap().trim().trim_end_matches(" kB");
        number.parse::<u64>().unwrap()
    };
    let before = resident_kib();
    for _ in 0..160 {
        ftp.send(&[b'x'; 64 << 10]).await;
    }
    ftp.send(b"\r\nNOOP\r\n").await;
    assert_eq!(ftp.reply().await.code, 500);
    assert_eq!(ftp.reply().await.code, 200);
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 2 << 10, "{grown} KiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_changes_nothing_and_the_session_goes_on() {
    let stand = ftp_stand(&[]).await;
    put(&stand.s3(), "k", "old").await;
    let mut ftp = Ftp::connect(&stand.gateway).await;
    for (line, code) in [
        ("PASS x", 503),
        ("PWD", 530),
        ("PASV", 530),
        ("AUTH TLS", 502),
        ("PROT P", 503),
        ("FEAT", 211),
        ("SYST", 215),
    ] {
        assert_eq!(ftp.command(line).await.code, code, "{line}");
    }
    ftp.log_in().await;
    let long = format!("STOR /{BUCKET}/{}", "x".repeat(1100));
    for (line, code) in [
        ("USER other", 503),
        ("RETR /data/k", 425),
        ("RNTO /data/l", 503),
        ("PORT 127,0,0,1,200,1", 502),
        ("SITE CHMOD 644 k", 202),
        ("OPTS UTF8 ON", 200),
        ("HELP", 214),
        ("STAT /data", 213),
        ("STAT /data/missing", 550),
        ("CWD /data/missing", 550),
        ("SIZE /data", 550),
        ("DELE /data/missing", 550),
        ("RMD /data", 550),
        ("MKD /", 550),
    ] {
        let reply = ftp.command(line).await;
        assert_eq!(reply.code, code, "{line}: {}", reply.text);
    }
    for bytes in [
        &b"DELE /data/\x01\r\n"[..],
        b"DELE /data/\xff\xfe\r\n",
        b"DELE \xc3\x28\r\n",
    ] {
        ftp.send(bytes).await;
        assert_eq!(ftp.reply().await.code, 501, "{bytes:?}");
    }
    for command in ["STOR /k", "STOR /data/a/", &long] {
        let _data = ftp.passive().await;
        let mut code = ftp.command(command).await.code;
        if code == 150 {
            code = ftp.reply().await.code;
        }
        assert_eq!(code, 553, "{command}");
    }
    assert_eq!(get(&stand.s3(), "k").await.as_deref(), Some(&b"old"[..]));
    let (listing, reply) = ftp.load("NLST /data").await;
    assert_eq!((reply.code, listing.as_slice()), (226, &b"k\r\n"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_or_download_that_breaks_leaves_the_session_usable() {
    let stand = ftp_stand(&[]).await;
    put(&stand.s3(), "k", random_bytes(3, 8 << 20)).await;
    let mut ftp = Ftp::login(&stand.gateway).await;
    for command in ["RETR /data/k", "LIST /data", "MLSD /data"] {
        let data = ftp.passive().await;
        assert_eq!(ftp.command(command).await.code, 150);
        reset(data);
        let code = ftp.reply().await.code;
        // A listing may have been gone before its connection was.
        assert!(matches!(code, 226 | 426), "{command}: {code}");
        let (listing, reply) = ftp.load("NLST /data").await;
        assert_eq!((reply.code, listing.as_slice()), (226, &b"k\r\n"[..]));
    }
    // A client that never opens its data connection, and takes the command back.
    assert_eq!(ftp.command("EPSV").await.code, 229);
    assert_eq!(ftp.command("RETR /data/k").await.code, 150);
    ftp.send(b"ABOR\r\n").await;
    assert_eq!(ftp.reply().await.code, 426);
    assert_eq!(ftp.reply().await.code, 226);
    let (part, reply) = {
        assert_eq!(ftp.command("REST 8388600").await.code, 350);
        ftp.load("RETR /data/k").await
    };
    assert_eq!((part.len(), reply.code), (8, 226));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sessions_work_at_once() {
    let stand = ftp_stand(&[]).await;
    let sessions = (0..64_u64).map(|number| {
        let gateway = &stand.gateway;
        async move {
            let mut ftp = Ftp::login(gateway).await;
            let (path, bytes) = (format!("/{BUCKET}/{number}"), random_bytes(number, 50_000));
            assert_eq!(ftp.store(&path, &bytes).await.code, 226);
            let (found, reply) = ftp.load(&format!("RETR {path}")).await;
            assert_eq!(reply.code, 226);
            assert!(found == bytes, "{path}");
        }
    });
    futures::future::join_all(sessions).await;
    let mut ftp = Ftp::login(&stand.gateway).await;
    let (listing, _) = ftp.load(&format!("NLST /{BUCKET}")).await;
    assert_eq!(listing.split(|byte| *byte == b'\n').count(), 65);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_is_sent_away() {
    let stand = ftp_stand(&[]).await;
    let mut ftp = Ftp::connect(&stand.gateway).await;
    for attempt in 1..=5 {
        // Unknown names are asked for their password like all others.
        let name = if attempt % 2 == 0 { "nobody" } else { "ann" };
        assert_eq!(ftp.command(&format!("USER {name}")).await.code, 331);
        let reply = ftp.command("PASS wrong").await;
        assert_eq!(reply.code, if attempt < 5 { 530 } else { 421 });
        assert!(!reply.text.contains(name), "{}", reply.text);
    }
    assert_eq!(ftp.next_reply().await, None);
    Ftp::login(&stand.gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_the_file_have_their_own_rights_and_roots() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hugbucket.toml");
    std::fs::write(
        &file,
        format!(
            "[[ftp_users]]\nname = \"reader\"\npassword_hash = \"{}\"\nrights = \"read-only\"\n\
             [[ftp_users]]\nname = \"team\"\npassword = \"{PASSWORD}\"\nroot = \"{BUCKET}/team\"\n",
            hash()
        ),
    )
    .unwrap();
    let stand = ftp_stand(&[("HUGBUCKET_CONFIG", file.to_str().unwrap())]).await;
    put(&stand.s3(), "secret", "hidden").await;
    put(&stand.s3(), "team/k", "shown").await;
    let mut reader = Ftp::connect(&stand.gateway).await;
    reader.command("USER reader").await;
    assert_eq!(reader.command(&format!("PASS {PASSWORD}")).await.code, 230);
    let (found, _) = reader.load(&format!("RETR /{BUCKET}/secret")).await;
    assert_eq!(found, b"hidden");
    assert_eq!(
        reader.command(&format!("DELE /{BUCKET}/secret")).await.code,
        550
    );
    let mut team = Ftp::connect(&stand.gateway).await;
    team.command("USER team").await;
    assert_eq!(team.command(&format!("PASS {PASSWORD}")).await.code, 230);
    let (listing, _) = team.load("NLST /").await;
    assert_eq!(listing, b"k\r\n");
    for path in ["/secret", "/../secret", &format!("/{BUCKET}/secret")] {
        assert_eq!(
            team.command(&format!("SIZE {path}")).await.code,
            550,
            "{path}"
        );
    }
    assert_eq!(team.store("new", b"own").await.code, 226);
    assert_eq!(
        get(&stand.s3(), "team/new").await.as_deref(),
        Some(&b"own"[..])
    );
    assert_eq!(
        get(&stand.s3(), "secret").await.as_deref(),
        Some(&b"hidden"[..])
    );
}

/// Hashes the password with the least that Argon2 allows.
fn hash() -> String {
    let params = Params::new(8, 1, 1, None).unwrap();
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2
        .hash_password(PASSWORD.as_bytes())
        .unwrap()
        .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_connects_to_its_client_if_it_may_and_to_nobody_else() {
    let stand = ftp_stand(&[("HUGBUCKET_FTP_ACTIVE", "true")]).await;
    put(&stand.s3(), "k", "12345").await;
    let mut ftp = Ftp::login(&stand.gateway).await;
    for refused in [
        "PORT 192,0,2,1,200,1",
        "PORT 127,0,0,1,0,22",
        "EPRT |1|192.0.2.1|5000|",
    ] {
        assert_eq!(ftp.command(refused).await.code, 501, "{refused}");
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let eprt = format!("EPRT |1|127.0.0.1|{port}|");
    assert_eq!(ftp.command(&eprt).await.code, 200);
    ftp.send(format!("RETR /{BUCKET}/k\r\n").as_bytes()).await;
    let (mut data, _) = listener.accept().await.unwrap();
    let mut found = String::new();
    data.read_to_string(&mut found).await.unwrap();
    assert_eq!(found, "12345");
    assert_eq!(ftp.reply().await.code, 150);
    assert_eq!(ftp.reply().await.code, 226);
    assert_eq!(ftp.command("EPSV ALL").await.code, 200);
    assert_eq!(ftp.command(&eprt).await.code, 503);
    assert_eq!(ftp.command("PASV").await.code, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn ipv6_is_spoken() {
    let stand = ftp_stand(&[("HUGBUCKET_FTP_ADDR", "[::1]:0")]).await;
    let mut ftp = Ftp::login(&stand.gateway).await;
    assert_eq!(ftp.command("PASV").await.code, 425);
    assert_eq!(ftp.command("EPSV 1").await.code, 522);
    let reply = ftp.command("EPSV 2").await;
    let port: u16 = reply.text.split('|').nth(3).unwrap().parse().unwrap();
    let mut data = TcpStream::connect(("::1", port)).await.unwrap();
    assert_eq!(ftp.command(&format!("STOR /{BUCKET}/k")).await.code, 150);
    data.write_all(b"six").await.unwrap();
    data.shutdown().await.unwrap();
    assert_eq!(ftp.reply().await.code, 226);
    assert_eq!(get(&stand.s3(), "k").await.as_deref(), Some(&b"six"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_counted() {
    let stand = ftp_stand(&[]).await;
    let mut ftp = Ftp::login(&stand.gateway).await;
    assert_eq!(ftp.store(&format!("/{BUCKET}/k"), b"12345").await.code, 226);
    ftp.command("EVIL").await;
    drop(ftp);
    comes_to_rest(&stand.gateway).await;
    let metrics = reqwest::get(format!("{}/metrics", stand.gateway.admin)).await;
    let metrics = metrics.unwrap().text().await.unwrap();
    for line in [
        "hugbucket_ftp_commands_total{verb=\"STOR\"} 1",
        "hugbucket_ftp_commands_total{verb=\"OTHER\"} 1",
        "hugbucket_ftp_commands_total{verb=\"RETR\"} 0",
        "hugbucket_ftp_sessions_total{result=\"served\"} 1",
        "hugbucket_ftp_sessions_total{result=\"refused\"} 0",
        "hugbucket_ftp_replies_total{class=\"5xx\"} 1",
        "hugbucket_ftp_passive_ports 200",
        "hugbucket_ftp_passive_ports_in_use 0",
        "hugbucket_received_bytes_total{operation=\"PutObject\",protocol=\"ftp\"} 5",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}");
    }
}
