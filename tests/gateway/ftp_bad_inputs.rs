//! Bad inputs over FTP, one by one: what each is answered with, that it changed nothing, and that the session goes on or ends.
//!
//! The table in `deploy/refusals.md` is made of this.

use std::fmt::Write as _;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use crate::ftp_client::{FTP, Ftp, PASSWORD, USER, reset};
use crate::stand::{BUCKET, Stand, put};
use crate::table::{self, Row};

/// Longest time that an answer, and the end of a session, may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a case is sent.
enum Way {
    /// Before the login: lines one after another; the last one is what is bad.
    Outside(Vec<Vec<u8>>),
    /// After the login.
    Inside(Vec<Vec<u8>>),
    /// After the login, with a data connection that carries bytes and ends well.
    Stored(String),
    /// Likewise, with one that is reset.
    Cut(String),
}

fn outside(lines: &[&str]) -> Way {
    Way::Outside(lines.iter().map(|line| line.as_bytes().to_vec()).collect())
}

fn inside(lines: &[&str]) -> Way {
    Way::Inside(lines.iter().map(|line| line.as_bytes().to_vec()).collect())
}

fn cases() -> Vec<(&'static str, &'static str, Way, u16)> {
    let user = format!("USER {USER}");
    let name = |len: usize| "n".repeat(len);
    let stored = |path: &str| Way::Stored(format!("STOR {path}"));
    let mut cases = Vec::new();
    let mut about = |about: &'static str, of: Vec<(&'static str, Way, u16)>| {
        cases.extend(
            of.into_iter()
                .map(|(sent, way, code)| (about, sent, way, code)),
        );
    };
    about(
        "login",
        vec![
            ("a command before it", outside(&["LIST"]), 530),
            ("an upload before it", outside(&["STOR /data/x"]), 530),
            (
                "a password before a name",
                outside(&[&format!("PASS {PASSWORD}")]),
                503,
            ),
            ("another password", outside(&[&user, "PASS wrong"]), 530),
            ("no password", outside(&[&user, "PASS"]), 530),
            (
                "a name that does not exist",
                outside(&["USER nobody", &format!("PASS {PASSWORD}")]),
                530,
            ),
            (
                "a name of 4,000 bytes",
                outside(&[&format!("USER {}", name(4000)), "PASS x"]),
                530,
            ),
            ("no name", outside(&["USER"]), 501),
            (
                "encryption that is not offered",
                outside(&["AUTH GSSAPI"]),
                504,
            ),
            (
                "encryption without a certificate",
                outside(&["AUTH TLS"]),
                502,
            ),
        ],
    );
    about(
        "lines",
        vec![
            ("a request of HTTP", inside(&["GET / HTTP/1.1"]), 500),
            ("a verb that does not exist", inside(&["XYZZY"]), 500),
            (
                "5,000 bytes",
                inside(&[&format!("STOR {}", name(5000))]),
                500,
            ),
            ("10 MiB", inside(&[&name(10 << 20)]), 500),
            (
                "bytes that are not UTF-8",
                Way::Inside(vec![b"MKD /data/\xff\xfe".to_vec()]),
                501,
            ),
            ("a zero byte", inside(&["MKD /data/a\0b"]), 501),
            (
                "a carriage return",
                inside(&["MKD /data/a\rDELE /data/k"]),
                501,
            ),
            ("an escape", inside(&["MKD /data/a\u{1b}[2J"]), 501),
            (
                "telnet's sign in the middle",
                Way::Inside(vec![b"MKD /data/a\xff\xf4b".to_vec()]),
                501,
            ),
            (
                "the beginning of a TLS handshake",
                Way::Inside(vec![vec![22, 3, 1, 0, 5, 1, 0]]),
                501,
            ),
        ],
    );
    about(
        "arguments",
        vec![
            ("none, where one is needed", inside(&["STOR"]), 501),
            ("one, where none is taken", inside(&["PASV now"]), 501),
            ("an offset below zero", inside(&["REST -1"]), 501),
            (
                "an offset beyond 64 bits",
                inside(&["REST 99999999999999999999"]),
                501,
            ),
            ("a month 13", inside(&["MFMT 20261301000000 /data/k"]), 501),
            ("a type that does not exist", inside(&["TYPE E"]), 504),
            ("records", inside(&["STRU R"]), 504),
            ("blocks", inside(&["MODE B"]), 504),
            ("a command for the machine", inside(&["SITE EXEC id"]), 504),
            ("a verb that is not offered", inside(&["STOU"]), 502),
            (
                "encryption of data without that of control",
                inside(&["PROT P"]),
                503,
            ),
        ],
    );
    about(
        "data connections",
        vec![
            ("none", inside(&["RETR /data/k"]), 425),
            ("none for an upload", inside(&["STOR /data/x"]), 425),
            ("to another machine", inside(&["PORT 192,0,2,1,4,1"]), 501),
            (
                "to another machine, by EPRT",
                inside(&["EPRT |1|192.0.2.1|1025|"]),
                501,
            ),
            (
                "to a port of the system's",
                inside(&["PORT 127,0,0,1,0,22"]),
                501,
            ),
            ("five numbers", inside(&["PORT 127,0,0,1,4"]), 501),
            ("seven numbers", inside(&["PORT 127,0,0,1,4,1,9"]), 501),
            (
                "a family that does not exist",
                inside(&["EPRT |3|x|5|"]),
                522,
            ),
            (
                "an address of another family",
                inside(&["EPRT |1|::1|1025|"]),
                501,
            ),
            (
                "an upload that is cut off",
                Way::Cut("STOR /data/x".into()),
                426,
            ),
            (
                "an append that is cut off",
                Way::Cut("APPE /data/k".into()),
                426,
            ),
        ],
    );
    about(
        "names",
        vec![
            ("a slash behind a file", inside(&["STOR /data/a/"]), 553),
            ("a backslash", stored("/data/a\\b"), 553),
            ("the hidden prefix", stored("/data/.hugbucket/x"), 553),
            (
                "the hidden prefix around a corner",
                stored("/data/a/../.hugbucket/x"),
                553,
            ),
            (
                "the name of markers",
                stored("/data/a/.hugbucket_keep"),
                553,
            ),
            ("1,025 bytes", stored(&format!("/data/{}", name(1025))), 553),
            ("a bucket that does not exist", stored("/absent/x"), 550),
            ("a bucket above the root", stored("/../../etc/passwd"), 550),
            ("a file in the root", stored("/x"), 553),
            ("a directory as a file", stored("/data/d"), 550),
            ("a file as a directory", inside(&["CWD /data/k"]), 550),
            (
                "hidden state as a directory",
                inside(&["CWD /data/.hugbucket"]),
                550,
            ),
            (
                "hidden state to delete",
                inside(&["DELE /data/.hugbucket/x"]),
                550,
            ),
            (
                "hidden state to rename",
                inside(&["RNFR /data/.hugbucket"]),
                550,
            ),
            (
                "a new name without an old one",
                inside(&["RNTO /data/x"]),
                503,
            ),
            (
                "a hidden new name",
                inside(&["RNFR /data/k", "RNTO /data/.hugbucket/k"]),
                553,
            ),
            (
                "a new name in itself",
                inside(&["RNFR /data/d", "RNTO /data/d/e"]),
                550,
            ),
            (
                "a directory that is not empty",
                inside(&["RMD /data/d"]),
                550,
            ),
            ("a bucket that is not empty", inside(&["RMD /data"]), 550),
            (
                "a directory to delete as a file",
                inside(&["DELE /data/d"]),
                550,
            ),
            ("what is not there", inside(&["SIZE /data/absent"]), 550),
            ("a bucket with a space", inside(&["MKD /a b"]), 553),
        ],
    );
    cases
}

/// Sends a case; returns the code of the last reply. The session has to end within [`PATIENCE`].
async fn answer(stand: &Stand, way: &Way) -> u16 {
    let mut ftp = match way {
        Way::Outside(_) => Ftp::connect(&stand.gateway).await,
        Way::Inside(_) | Way::Stored(_) | Way::Cut(_) => Ftp::login(&stand.gateway).await,
    };
    let mut code = 0;
    match way {
        Way::Outside(lines) | Way::Inside(lines) => {
            for line in lines {
                ftp.send(&[line, &b"\r\n"[..]].concat()).await;
                code = ftp.reply().await.code;
            }
        }
        Way::Stored(command) | Way::Cut(command) => {
            let mut data = ftp.passive().await;
            code = ftp.command(command).await.code;
            // A refusal may come before the data, or behind it.
            let is_begun = code == 150;
            let _ = data.write_all(b"bytes that are not to be kept").await;
            if matches!(way, Way::Cut(_)) {
                reset(data);
            } else {
                let _ = data.shutdown().await;
            }
            if is_begun {
                code = ftp.reply().await.code;
            }
        }
    }
    // The session goes on, or it was ended with a word.
    ftp.send(b"NOOP\r\nQUIT\r\n").await;
    let mut said = Vec::new();
    while let Some(reply) = ftp.next_reply().await {
        said.push(reply.code);
    }
    assert!(
        matches!(said.as_slice(), [200 | 530, 221] | [421]),
        "then: {said:?}"
    );
    code
}

/// Returns everything that a bad input could have changed.
async fn state(stand: &Stand) -> String {
    let s3 = stand.s3();
    let buckets = s3.list_buckets().send().await.unwrap();
    let objects = s3.list_objects_v2().bucket(BUCKET).send().await.unwrap();
    let mut state = String::new();
    for bucket in buckets.buckets() {
        let _ = writeln!(state, "{:?}", bucket.name());
    }
    for object in objects.contents() {
        let _ = writeln!(
            state,
            "{:?} {:?} {:?}",
            object.key(),
            object.e_tag(),
            object.last_modified()
        );
    }
    state
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_input_has_its_answer_and_changes_nothing() {
    let active = [("HUGBUCKET_FTP_ACTIVE", "true")];
    let stand = Stand::start_with(&[&FTP[..], &active].concat()).await;
    put(&stand.s3(), "k", "before").await;
    put(&stand.s3(), "d/in it", "before").await;
    let before = state(&stand).await;
    let (mut rows, mut wrong) = (Vec::new(), String::new());
    for (about, sent, way, expected) in cases() {
        let answered = tokio::time::timeout(PATIENCE, answer(&stand, &way)).await;
        let code = answered.unwrap_or_else(|_| panic!("{about}, {sent}: the session hangs"));
        if code != expected {
            let _ = writeln!(wrong, "{about}, {sent}: {code}, not {expected}");
        }
        if state(&stand).await != before {
            let _ = writeln!(wrong, "{about}, {sent}: it changed something");
        }
        rows.push(Row {
            about,
            sent: sent.to_owned(),
            answer: code.to_string(),
        });
    }
    assert!(wrong.is_empty(), "{wrong}");
    table::agrees("FTP", &rows);
}
