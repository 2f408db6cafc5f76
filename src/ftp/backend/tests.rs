//! FTP's commands over a stack in memory.

use std::time::Duration;

use time::macros::datetime;
use unftp_core::storage::{ErrorKind, Metadata as _};

use super::*;
use crate::ftp::backend::testing::{Memory, UPLOADED};
use crate::storage::{Entitlement, Principal, Reach, Secret, StorageError};

struct Bench {
    memory: Memory,
    backend: Backend,
    user: User,
}

impl Bench {
    fn new(names: &[&str]) -> Self {
        Self::rooted("", names)
    }

    fn rooted(root: &str, names: &[&str]) -> Self {
        let memory = Memory::with(names);
        let principal = Principal {
            id: "ann".into(),
            entitlement: Entitlement {
                reach: Reach {
                    root: root.into(),
                    ..Reach::default()
                },
                ..Entitlement::default()
            },
        };
        let settings = BackendSettings {
            max_list_entries: 2500,
            metrics: Metrics::new(),
        };
        let gateway = memory.gateway();
        Self {
            backend: Backend::new(gateway, Links::new(), settings),
            user: User::new(principal, Secret::new("hush"), None),
            memory,
        }
    }

    /// Returns the reply's code, and nothing else was left for the session.
    fn code<T>(&self, outcome: storage::Result<T>) -> u16 {
        match (outcome, self.backend.links.refusals.take()) {
            (Ok(_), None) => 200,
            (Err(_), Some(refusal)) => refusal.code,
            (outcome, left) => panic!("{:?} {left:?}", outcome.err()),
        }
    }

    /// STOR, which the engine carries out in a task of its own.
    async fn put(&self, path: &str, offset: u64, bytes: &'static str) -> u16 {
        self.backend.links.gate.end(Duration::ZERO);
        let (backend, user, path) = (self.backend.clone(), self.user.clone(), path.to_owned());
        let put = async move { backend.put(&user, bytes.as_bytes(), path, offset).await };
        let outcome = tokio::spawn(put).await.unwrap();
        if let Ok(written) = &outcome {
            assert_eq!(*written, bytes.len() as u64);
        }
        self.code(outcome)
    }

    /// APPE, which the engine carries out as a look and an upload, in one task. Something may happen between them.
    async fn append_after(
        &self,
        path: &str,
        bytes: &'static str,
        meanwhile: impl FnOnce() + Send + 'static,
    ) -> u16 {
        self.backend.links.gate.end(Duration::ZERO);
        let (backend, user, path) = (self.backend.clone(), self.user.clone(), path.to_owned());
        let append = async move {
            let found = backend.metadata(&user, &path).await;
            let offset = found.map_or(0, |facts| facts.len());
            backend.links.refusals.take();
            meanwhile();
            backend.put(&user, bytes.as_bytes(), &path, offset).await
        };
        let outcome = tokio::spawn(append).await.unwrap();
        self.code(outcome)
    }

    async fn append(&self, path: &str, bytes: &'static str) -> u16 {
        self.append_after(path, bytes, || ()).await
    }

    async fn get(&self, path: &str, offset: u64) -> Result<String, u16> {
        let mut read = Vec::new();
        let get = self.backend.get_into(&self.user, path, offset, &mut read);
        match get.await {
            Ok(sent) => {
                assert_eq!(sent, read.len() as u64);
                Ok(String::from_utf8(read).unwrap())
            }
            refused => Err(self.code(refused)),
        }
    }

    async fn stat(&self, path: &str) -> Result<Facts, u16> {
        match self.backend.metadata(&self.user, path).await {
            Ok(facts) => Ok(facts),
            refused => Err(self.code(refused)),
        }
    }

    async fn names(&self, path: &str) -> Result<Vec<String>, u16> {
        match self.backend.list(&self.user, path).await {
            Ok(entries) => {
                let names = entries.iter().map(|entry| {
                    let name = entry.path.to_str().unwrap();
                    let slash = if entry.metadata.is_dir() { "/" } else { "" };
                    format!("{name}{slash}")
                });
                Ok(names.collect())
            }
            refused => Err(self.code(refused)),
        }
    }

    async fn nlst(&self, path: &str) -> String {
        let lines = self.backend.nlst(&self.user, path).await.unwrap();
        String::from_utf8(lines.into_inner()).unwrap()
    }

    async fn mkd(&self, path: &str) -> u16 {
        self.code(self.backend.mkd(&self.user, path).await)
    }

    async fn rmd(&self, path: &str) -> u16 {
        self.code(self.backend.rmd(&self.user, path).await)
    }

    async fn dele(&self, path: &str) -> u16 {
        self.code(self.backend.del(&self.user, path).await)
    }

    async fn cwd(&self, path: &str) -> u16 {
        self.code(self.backend.cwd(&self.user, path).await)
    }

    async fn rename(&self, from: &str, to: &str) -> u16 {
        self.code(self.backend.rename(&self.user, from, to).await)
    }

    /// Returns how many writes reached the stack since the last time.
    fn writes(&self) -> usize {
        let reads = [
            "HeadObject",
            "HeadBucket",
            "ListObjects",
            "ListBuckets",
            "GetObject",
        ];
        let is_write = |line: &&String| !reads.iter().any(|read| line.starts_with(read));
        self.memory.log().iter().filter(is_write).count()
    }
}

fn unavailable() -> StorageError {
    StorageError::Unavailable {
        service: "hub",
        reason: "connection refused".into(),
        is_safe_to_retry: false,
    }
}

// === Looking ===

#[tokio::test]
async fn files_directories_and_nothing_are_told_apart() {
    let bench = Bench::new(&["data/a/b", "data/c"]);
    assert!(bench.stat("/").await.unwrap().is_dir());
    assert!(bench.stat("/data").await.unwrap().is_dir());
    assert!(bench.stat("/data/a").await.unwrap().is_dir());
    let file = bench.stat("/data/a/b").await.unwrap();
    assert_eq!((file.is_file(), file.len()), (true, 8));
    assert_eq!(file.modified, Some(UPLOADED));
    for missing in [
        "/other",
        "/no bucket",
        "/data/x",
        "/data/a/x",
        "/data/a\\b",
        "/other/x",
    ] {
        let expected = if missing == "/no bucket" { 553 } else { 550 };
        assert_eq!(
            bench.stat(missing).await.unwrap_err(),
            expected,
            "{missing}"
        );
    }
    for odd in ["/data/a\nb", "/data//a", "/data/../x", "/data/\u{fffd}"] {
        assert_eq!(bench.stat(odd).await.unwrap_err(), 553, "{odd:?}");
    }
    let long = format!("/data/{}", "k".repeat(1025));
    assert_eq!(bench.stat(&long).await.unwrap_err(), 553);
    assert_eq!(bench.writes(), 0);
}

#[tokio::test]
async fn only_directories_are_entered() {
    let bench = Bench::new(&["data/a/b", "empty", "data/d/"]);
    for path in ["/", "/data", "/empty", "/data/a", "/data/d"] {
        assert_eq!(bench.cwd(path).await, 200, "{path}");
    }
    for path in ["/data/a/b", "/data/x", "/x"] {
        assert_eq!(bench.cwd(path).await, 550, "{path}");
    }
}

#[tokio::test]
async fn a_directory_is_as_old_as_its_newest_file() {
    let bench = Bench::new(&["data/a/", "data/a/1", "data/a/2", "data/only/deep/x"]);
    let newest = datetime!(2026-05-06 07:08:09 UTC);
    let set = bench.backend.set_modified(&bench.user, "/data/a/1", newest);
    set.await.unwrap();
    assert_eq!(bench.stat("/data/a").await.unwrap().modified, Some(newest));
    let above = bench.stat("/data/only").await.unwrap();
    assert_eq!(above.modified, Some(UPLOADED));
    let listed = bench.backend.list(&bench.user, "/data").await.unwrap();
    let times = listed.iter().map(|entry| entry.metadata.modified);
    assert_eq!(times.collect::<Vec<_>>(), [Some(UPLOADED); 2]);
    // Where nobody knows, nothing is told, and never now.
    assert!(bench.stat("/").await.unwrap().modified().is_err());
}

// === Listings ===

#[tokio::test]
async fn a_listing_shows_children_and_no_marker() {
    let bench = Bench::new(&[
        "data/a",
        "data/b/",
        "data/b/c",
        "data/b/d/e",
        "data/f/",
        "zoo",
    ]);
    assert_eq!(bench.names("/").await.unwrap(), ["data/", "zoo/"]);
    assert_eq!(bench.names("/data").await.unwrap(), ["a", "b/", "f/"]);
    assert_eq!(bench.names("/data/b").await.unwrap(), ["c", "d/"]);
    assert_eq!(bench.nlst("/data/b").await, "c\r\nd\r\n");
    let long = bench
        .backend
        .list_fmt(&bench.user, "/data/b")
        .await
        .unwrap();
    let long = String::from_utf8(long.into_inner()).unwrap();
    let lines: Vec<_> = long.split_terminator("\r\n").collect();
    assert!(
        lines[0].starts_with("-rw-r--r-- ") && lines[0].ends_with(" c"),
        "{long}"
    );
    assert!(
        lines[1].starts_with("drwxr-xr-x ") && lines[1].ends_with(" d"),
        "{long}"
    );
}

#[tokio::test]
async fn what_is_missing_is_an_empty_listing_and_a_file_is_itself() {
    let bench = Bench::new(&["data/a", "data/d/"]);
    for missing in ["/data/x", "/data/a/x", "/other", "/other/x", "/data/d"] {
        assert_eq!(bench.names(missing).await.unwrap(), [""; 0], "{missing}");
        assert_eq!(bench.nlst(missing).await, "", "{missing}");
    }
    assert_eq!(bench.nlst("/data/a").await, "a\r\n");
    assert_eq!(bench.names("/data/a").await.unwrap_err(), 550);
    bench.memory.fail("ListObjects", unavailable());
    assert_eq!(bench.names("/data").await.unwrap_err(), 451);
}

#[tokio::test]
async fn names_that_break_a_listing_are_left_out_and_counted() {
    let bench = Bench::new(&[
        "data/a",
        "data/b\r\nc",
        "data/d\ne/f",
        "data//g",
        "data/ h ",
    ]);
    assert_eq!(bench.names("/data").await.unwrap(), [" h ", "a"]);
    let count = "hugbucket_ftp_names_left_out_total 3";
    let text = bench.backend.settings.metrics.render();
    assert!(text.lines().any(|line| line == count), "{text}");
}

#[tokio::test]
async fn pages_are_joined_up_to_a_limit() {
    let names: Vec<_> = (0..2501).map(|n| format!("data/d/{n:04}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let bench = Bench::new(&names[..2500]);
    let listed = bench.names("/data/d").await.unwrap();
    assert_eq!((listed.len(), listed[2499].as_str()), (2500, "2499"));
    bench.memory.put(names[2500], "one more");
    assert_eq!(bench.names("/data/d").await.unwrap_err(), 450);
}

// === Downloads ===

#[tokio::test]
async fn a_file_is_read_from_any_offset() {
    let bench = Bench::new(&["data/a"]);
    assert_eq!(bench.get("/data/a", 0).await.unwrap(), "data/a");
    assert_eq!(bench.get("/data/a", 4).await.unwrap(), "/a");
    assert_eq!(bench.get("/data/a", 6).await.unwrap(), "");
    assert_eq!(bench.get("/data/a", 7).await.unwrap_err(), 550);
    for missing in ["/", "/data", "/data/x", "/x/y"] {
        assert_eq!(bench.get(missing, 0).await.unwrap_err(), 550, "{missing}");
    }
}

#[tokio::test]
async fn a_download_goes_on_with_the_content_that_was_seen_or_not_at_all() {
    let bench = Bench::new(&["data/a"]);
    bench.stat("/data/a").await.unwrap();
    bench.memory.put("data/a", "another content");
    assert_eq!(bench.get("/data/a", 4).await.unwrap_err(), 450);
    // From its beginning it is whatever is there, and then it goes on with that.
    assert_eq!(bench.get("/data/a", 0).await.unwrap(), "another content");
    assert_eq!(bench.get("/data/a", 8).await.unwrap(), "content");
}

// === Uploads ===

#[tokio::test]
async fn an_upload_replaces_goes_on_or_is_refused() {
    let bench = Bench::new(&["data/a"]);
    assert_eq!(bench.put("/data/a", 0, "12345").await, 200);
    assert_eq!(bench.memory.get("data/a").unwrap(), "12345");
    assert_eq!(bench.put("/data/a", 5, "67").await, 200);
    assert_eq!(bench.memory.get("data/a").unwrap(), "1234567");
    assert_eq!(bench.put("/data/a", 2, "x").await, 200);
    assert_eq!(bench.memory.get("data/a").unwrap(), "12x");
    assert_eq!(bench.put("/data/a", 4, "y").await, 550);
    assert_eq!(bench.put("/data/new", 1, "y").await, 550);
    assert_eq!(bench.memory.get("data/a").unwrap(), "12x");
    assert_eq!(bench.memory.names(), ["data/a"]);
}

#[tokio::test]
async fn a_refused_upload_changes_nothing() {
    let bench = Bench::new(&["data/a", "data/d/x"]);
    // The session has not said that the data ended.
    let put = bench.backend.put(&bench.user, &b"new"[..], "/data/a", 0);
    assert_eq!(bench.code(put.await), 426);
    let put = bench.backend.put(&bench.user, &b"new"[..], "/data/a", 3);
    assert_eq!(bench.code(put.await), 426);
    for (path, code) in [
        ("/", 553),
        ("/file", 553),
        ("/data/d", 550),
        ("/other/x", 550),
        ("/data/a\\b", 553),
        ("/data/.hugbucket/x", 553),
    ] {
        assert_eq!(bench.put(path, 0, "new").await, code, "{path}");
    }
    assert_eq!(bench.memory.names(), ["data/a", "data/d/x"]);
    assert_eq!(bench.memory.get("data/a").unwrap(), "data/a");
}

#[tokio::test]
async fn an_append_goes_on_with_what_it_saw() {
    let bench = Bench::new(&["data"]);
    assert_eq!(bench.append("/data/log", "one ").await, 200);
    assert_eq!(bench.append("/data/log", "two ").await, 200);
    assert_eq!(bench.memory.get("data/log").unwrap(), "one two ");
    // Somebody else's change between the look and the upload, of the same length and of another.
    for other in ["three   ", "a longer line"] {
        let seen = bench.stat("/data/log").await.unwrap().len();
        bench.memory.put("data/log", other);
        assert_eq!(bench.put("/data/log", seen, "lost").await, 450);
        assert_eq!(bench.memory.get("data/log").unwrap(), other);
    }
}

#[tokio::test]
async fn an_append_overwrites_nobody() {
    let bench = Bench::new(&["data"]);
    for (name, old) in [
        ("data/new", None),
        ("data/empty", Some("")),
        ("data/old", Some("old")),
    ] {
        if let Some(old) = old {
            bench.memory.put(name, old);
        }
        let (path, memory) = (format!("/{name}"), bench.memory.clone());
        let other = move || memory.put(name, "another");
        let code = bench.append_after(&path, " line", other).await;
        if old.is_none() {
            // It would have made the file.
            let standing = bench.memory.get(name);
            assert_eq!((code, standing.as_deref()), (450, Some("another")));
            assert_eq!(bench.append(&path, " line").await, 200);
        } else {
            assert_eq!(code, 200);
        }
        assert_eq!(bench.memory.get(name).unwrap(), "another line");
        // A STOR replaces whatever is there, and whatever the session saw.
        bench.stat(&path).await.unwrap();
        bench.memory.put(name, "once more");
        assert_eq!(bench.put(&path, 0, "all").await, 200);
        assert_eq!(bench.memory.get(name).unwrap(), "all");
    }
}

#[tokio::test]
async fn an_append_whose_look_up_fails_overwrites_nothing() {
    let bench = Bench::new(&["data/log"]);
    for fails in ["HeadObject", "HeadObject"] {
        bench.memory.fail(fails, unavailable());
        assert_eq!(bench.append("/data/log", "new").await, 450);
        assert_eq!(bench.memory.get("data/log").unwrap(), "data/log");
    }
    // Only that one upload is refused, and no STOR.
    assert_eq!(bench.append("/data/log", " new").await, 200);
    assert_eq!(bench.memory.get("data/log").unwrap(), "data/log new");
    bench.memory.fail("HeadObject", unavailable());
    assert_eq!(bench.stat("/data/log").await.unwrap_err(), 451);
    assert_eq!(bench.put("/data/log", 0, "x").await, 200);
}

// === Changes ===

#[tokio::test]
async fn directories_are_made_and_removed() {
    let bench = Bench::new(&["data/a"]);
    assert_eq!(bench.mkd("/data/d").await, 200);
    assert_eq!(bench.mkd("/data/d/e").await, 200);
    assert_eq!(bench.memory.names(), ["data/a", "data/d/", "data/d/e/"]);
    for there in ["/", "/data", "/data/a", "/data/d"] {
        assert_eq!(bench.mkd(there).await, 550, "{there}");
    }
    assert_eq!(bench.rmd("/data/d").await, 550, "it is not empty");
    assert_eq!(bench.rmd("/data/d/e").await, 200);
    assert_eq!(bench.rmd("/data/d").await, 200);
    for not_there in ["/data/d", "/data/a", "/data/x/y"] {
        assert_eq!(bench.rmd(not_there).await, 550, "{not_there}");
    }
    assert_eq!(bench.memory.names(), ["data/a"]);
}

#[tokio::test]
async fn directories_of_the_root_are_buckets() {
    let bench = Bench::new(&["data/a"]);
    assert_eq!(bench.mkd("/new").await, 200);
    assert_eq!(bench.names("/").await.unwrap(), ["data/", "new/"]);
    assert_eq!(bench.mkd("/No").await, 553);
    assert_eq!(bench.rmd("/data").await, 550, "it is not empty");
    assert_eq!(bench.rmd("/new").await, 200);
    assert_eq!(bench.rmd("/new").await, 550);
    assert_eq!(bench.rmd("/").await, 550);
    assert_eq!(bench.names("/").await.unwrap(), ["data/"]);
}

#[tokio::test]
async fn a_directory_outlives_what_was_in_it() {
    let bench = Bench::new(&["data/d/a", "data/d/b", "data/x", "data/e/f/g"]);
    assert_eq!(bench.dele("/data/d/a").await, 200);
    assert_eq!(bench.dele("/data/d/b").await, 200);
    assert_eq!(bench.dele("/data/x").await, 200);
    assert_eq!(bench.memory.names(), ["data/d/", "data/e/f/g"]);
    for missing in ["/data/d/a", "/data/d", "/data", "/other/x"] {
        assert_eq!(bench.dele(missing).await, 550, "{missing}");
    }
    assert_eq!(bench.dele("/data/e/f/g").await, 200);
    assert_eq!(bench.rmd("/data/e/f").await, 200);
    assert_eq!(bench.memory.names(), ["data/d/", "data/e/"]);
}

#[tokio::test]
async fn a_time_is_set_on_files_only() {
    let bench = Bench::new(&["data/d/a"]);
    let at = datetime!(2024-05-06 07:08:09 UTC);
    let set =
        async |path: &str| bench.code(bench.backend.set_modified(&bench.user, path, at).await);
    assert_eq!(set("/data/d/a").await, 200);
    assert_eq!(bench.memory.mtime("data/d/a"), Some(at));
    assert_eq!(bench.stat("/data/d/a").await.unwrap().modified, Some(at));
    for other in ["/", "/data", "/data/d", "/data/x"] {
        assert_eq!(set(other).await, 550, "{other}");
    }
}

// === Renaming ===

#[tokio::test]
async fn a_file_is_added_first_and_taken_away_then() {
    let bench = Bench::new(&["data/d/a", "data/b", "other"]);
    bench.memory.log();
    assert_eq!(bench.rename("/data/d/a", "/data/b").await, 200);
    assert_eq!(bench.memory.names(), ["data/b", "data/d/"]);
    assert_eq!(bench.memory.get("data/b").unwrap(), "data/d/a");
    let log = bench.memory.log();
    let at = |name: &str| log.iter().position(|line| line.starts_with(name)).unwrap();
    assert!(at("CopyObject") < at("DeleteObject"), "{log:?}");
    assert!(!log.iter().any(|line| line.starts_with("GetObject")));
    assert_eq!(bench.rename("/data/b", "/other/x/y").await, 200);
    assert_eq!(bench.memory.get("other/x/y").unwrap(), "data/d/a");
}

#[tokio::test]
async fn a_renaming_that_fails_keeps_the_old_name() {
    let bench = Bench::new(&["data/d/a", "data/d/b"]);
    bench.memory.fail("CopyObject", unavailable());
    assert_eq!(bench.rename("/data/d/a", "/data/x").await, 451);
    bench.memory.fail("CopyObject", unavailable());
    assert_eq!(bench.rename("/data/d", "/data/e").await, 451);
    let log = bench.memory.log();
    assert!(
        !log.iter().any(|line| line.starts_with("Delete")),
        "{log:?}"
    );
    assert_eq!(bench.memory.get("data/d/a").unwrap(), "data/d/a");
    // Done again it goes on, also from the middle of the deletions.
    bench.memory.fail("DeleteObjects", unavailable());
    assert_eq!(bench.rename("/data/d", "/data/e").await, 451);
    assert_eq!(bench.dele("/data/d/a").await, 200);
    assert_eq!(bench.rename("/data/d", "/data/e").await, 200);
    assert_eq!(bench.memory.names(), ["data/e/a", "data/e/b"]);
    assert_eq!(bench.memory.get("data/e/b").unwrap(), "data/d/b");
}

#[tokio::test]
async fn a_directory_moves_with_all_below_it() {
    let bench = Bench::new(&["data/d/", "data/d/a", "data/d/b/c", "data/dd", "other"]);
    assert_eq!(bench.rename("/data/d", "/data/x/y").await, 200);
    assert_eq!(
        bench.memory.names(),
        ["data/dd", "data/x/y/", "data/x/y/a", "data/x/y/b/c"]
    );
    assert_eq!(bench.rename("/data/x", "/other/z").await, 200);
    assert_eq!(
        bench.memory.names(),
        ["data/dd", "other/z/y/", "other/z/y/a", "other/z/y/b/c"]
    );
}

#[tokio::test]
async fn what_cannot_be_renamed_stays_as_it_is() {
    let names = ["data/a", "data/d/x", "data/e/y", "other/z"];
    let bench = Bench::new(&names);
    for (from, to) in [
        ("/data/a", "/data/a/b"),
        ("/data/d", "/data/d/e"),
        ("/data/a", "/data/d"),
        ("/data/d", "/data/a"),
        ("/data/d", "/data/e"),
        ("/data/d/x", "/data/d"),
        ("/data/none", "/data/b"),
        ("/data", "/more"),
        ("/data/a", "/more"),
        ("/other", "/data/o"),
        ("/", "/data/o"),
        ("/data/a", "/none/a"),
    ] {
        assert_eq!(bench.rename(from, to).await, 550, "{from} {to}");
    }
    assert_eq!(bench.rename("/data/a", "/data/b\\c").await, 553);
    assert_eq!(bench.memory.names(), names);
    assert_eq!(bench.writes(), 0);
}

#[tokio::test]
async fn a_name_that_stays_the_same_changes_nothing() {
    let bench = Bench::new(&["data/a", "data/d/x"]);
    assert_eq!(bench.rename("/data/a", "/data/a").await, 200);
    assert_eq!(bench.rename("/data/d", "/data/d").await, 200);
    assert_eq!(bench.rename("/data/x", "/data/x").await, 550);
    assert_eq!(bench.writes(), 0);
    assert_eq!(bench.memory.get("data/a").unwrap(), "data/a");
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_renamed_is_not_lost() {
    let bench = Bench::new(&["data/a"]);
    let refused = StorageError::PreconditionFailed {
        condition: "If-Match",
    };
    bench.memory.fail("DeleteObject", refused);
    assert_eq!(bench.rename("/data/a", "/data/b").await, 450);
    assert_eq!(bench.memory.names(), ["data/a", "data/b"]);
}

#[tokio::test]
async fn too_large_a_directory_is_not_renamed() {
    let names: Vec<_> = (0..10_001).map(|n| format!("data/d/{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let bench = Bench::new(&names);
    assert_eq!(bench.rename("/data/d", "/data/e").await, 550);
    assert_eq!(bench.writes(), 0);
    assert_eq!(bench.dele("/data/d/10000").await, 200);
    assert_eq!(bench.rename("/data/d", "/data/e").await, 200);
    assert_eq!(bench.memory.names().len(), 10_000);
    assert!(bench.memory.get("data/e/9999").is_some());
}

// === Users ===

#[tokio::test]
async fn a_user_with_a_root_sees_nothing_else() {
    let bench = Bench::rooted("data/team", &["data/team/a", "data/x", "other/y"]);
    assert_eq!(bench.names("/").await.unwrap(), ["a"]);
    assert_eq!(bench.get("/a", 0).await.unwrap(), "data/team/a");
    assert_eq!(bench.get("/../x", 0).await.unwrap_err(), 553);
    assert_eq!(bench.get("/x", 0).await.unwrap_err(), 550);
    assert_eq!(bench.put("/b/c", 0, "new").await, 200);
    assert_eq!(bench.memory.get("data/team/b/c").unwrap(), "new");
    assert_eq!(bench.mkd("/d").await, 200);
    assert_eq!(bench.rmd("/").await, 550);
    assert_eq!(bench.rename("/", "/z").await, 550);
    assert_eq!(bench.dele("/a").await, 200);
    let left = ["data/team/b/c", "data/team/d/", "data/x", "other/y"];
    assert_eq!(bench.memory.names(), left);
}

#[tokio::test]
async fn an_empty_root_is_there_and_is_no_file() {
    let bench = Bench::rooted("data/team", &["data"]);
    bench.memory.put("data/team", "a file beside the root");
    assert_eq!(bench.cwd("/").await, 200);
    assert!(bench.stat("/").await.unwrap().is_dir());
    assert_eq!(bench.names("/").await.unwrap(), [""; 0]);
    assert_eq!(bench.nlst("/").await, "");
    assert_eq!(bench.put("/", 0, "new").await, 553);
    assert_eq!(bench.memory.names(), ["data/team"]);
}

#[tokio::test]
async fn a_root_that_is_a_bucket_stays() {
    let bench = Bench::rooted("data", &["data"]);
    assert_eq!(bench.cwd("/").await, 200);
    assert_eq!(bench.rmd("/").await, 550);
    assert_eq!(bench.mkd("/").await, 550);
    assert_eq!(bench.put("/file", 0, "new").await, 200);
    assert_eq!(bench.memory.names(), ["data/file"]);
}

#[tokio::test]
async fn the_engine_hears_of_the_kind_of_a_failure() {
    let bench = Bench::new(&["data/d/x"]);
    let refused = bench.backend.rmd(&bench.user, "/data/d").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermanentDirectoryNotEmpty);
    let refused = bench.backend.cwd(&bench.user, "/x").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermanentDirectoryNotAvailable);
}
