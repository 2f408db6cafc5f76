//! Properties of tokens, and of listings over whatever the Hub may answer.

use time::OffsetDateTime;

use crate::fuzzing::Feed;
use crate::provider::hub::{DirectoryRecord, FileRecord, TreeEntry, TreePage};
use crate::provider::list::token::{Position, Scope};
use crate::provider::list::walk::{Step, Walk};
use crate::storage::name::HIDDEN_PREFIX;
use crate::storage::{BucketId, BucketName, ContentHash, ListEntry, Namespace};

fn bucket(name: &str) -> BucketId {
    BucketId {
        namespace: Namespace::new("ann").expect("a name"),
        name: BucketName::new(name).expect("a name"),
    }
}

/// Any text for a token, and any document for a position.
pub(in crate::provider) fn token(input: &[u8]) {
    let (ours, theirs) = (bucket("ours"), bucket("theirs"));
    let scope = |bucket, prefix| Scope {
        bucket,
        prefix,
        delimiter: Some("/"),
    };
    if let Ok(text) = std::str::from_utf8(input)
        && let Ok(position) = Position::from_token(text, &scope(&ours, "p"))
    {
        let again = position.to_token(&scope(&ours, "p"));
        let read = Position::from_token(&again, &scope(&ours, "p"));
        assert_eq!(read.ok(), Some(position));
    }
    let Ok(position) = serde_json::from_slice::<Position>(input) else {
        return;
    };
    let token = position.to_token(&scope(&ours, "p"));
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    assert!(token.bytes().all(is_safe));
    let read = Position::from_token(&token, &scope(&ours, "p"));
    assert_eq!(read.as_ref().ok(), Some(&position));
    for (other, prefix) in [(&theirs, "p"), (&ours, "q"), (&ours, "")] {
        assert!(Position::from_token(&token, &scope(other, prefix)).is_err());
    }
}

/// Lines of paths, a blank line after each page; a line that ends in `/` is a directory. The last bytes say how it is listed.
pub(in crate::provider) fn walk(input: &[u8]) {
    let mut feed = Feed::new(input);
    let (how, max_entries) = (feed.byte(), 1 + usize::from(feed.byte()));
    let Ok(text) = std::str::from_utf8(feed.rest()) else {
        return;
    };
    let (start, pages) = text.split_once('\n').unwrap_or((text, ""));
    let id = bucket("ours");
    let scope = Scope {
        bucket: &id,
        prefix: ["", "a", "a/", "."][usize::from(how & 3)],
        delimiter: [None, Some("/"), Some("b"), Some("//")][usize::from(how >> 2 & 3)],
    };
    // A document is a position that somebody made up; anything else is where the client wants to begin.
    let made_up = serde_json::from_str::<Position>(start).ok();
    let is_honest = made_up.is_none();
    let after = (how & 16 != 0).then(|| start.to_owned());
    let begun = made_up.unwrap_or_else(|| Position::beginning(after.clone()));
    let mut walk = Walk::new(scope, begun, max_entries);
    let pages: Vec<&str> = pages.split("\n\n").collect();
    for (at, lines) in pages.iter().enumerate() {
        let page = TreePage {
            entries: lines
                .lines()
                .filter(|line| !line.is_empty())
                .map(entry)
                .collect(),
            next: (at + 1 < pages.len()).then(|| format!("cursor={at}")),
        };
        let markers = walk.wanted_markers(&page);
        let markers = if how & 32 != 0 { markers } else { Vec::new() };
        assert!((1..=5000).contains(&walk.limit()));
        match walk.take(page, markers.into_iter().map(file).collect()) {
            Step::More => {}
            Step::OutOfOrder => return,
            Step::Done(ended) => {
                let names: Vec<&str> = ended.entries.iter().map(ListEntry::name).collect();
                assert!(names.len() <= max_entries);
                assert!(names.iter().all(|name| name.starts_with(scope.prefix)));
                if is_honest {
                    assert!(!names.iter().any(|name| name.starts_with(HIDDEN_PREFIX)));
                    assert!(names.is_sorted_by(|one, next| one < next), "{names:?}");
                    let first = names.first().copied().unwrap_or_default();
                    let is_behind = |after: &str| first > after || after.starts_with(first);
                    assert!(names.is_empty() || after.as_deref().is_none_or(is_behind));
                }
                if let Some(position) = ended.position {
                    let token = position.to_token(&scope);
                    assert_eq!(Position::from_token(&token, &scope).ok(), Some(position));
                }
                return;
            }
        }
    }
}

fn entry(line: &str) -> TreeEntry {
    match line.strip_suffix('/') {
        Some(path) => TreeEntry::Directory(DirectoryRecord {
            path: path.into(),
            uploaded_at: None,
        }),
        None => TreeEntry::File(file(line.to_owned())),
    }
}

fn file(path: String) -> FileRecord {
    FileRecord {
        path,
        size: 1,
        hash: ContentHash::EMPTY,
        mtime: None,
        uploaded_at: OffsetDateTime::UNIX_EPOCH,
        content_type: None,
    }
}
