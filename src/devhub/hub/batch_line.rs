//! The lines of a batch, and what makes a batch unacceptable as a whole.

use serde::Deserialize;

use crate::devhub::refusal::Refusal;

/// Lines of a batch at most.
pub(super) const MAX_LINES: usize = 1000;

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub(super) enum Line {
    #[serde(rename = "addFile")]
    Add {
        path: String,
        xet_hash: String,
        mtime: Option<i64>,
        content_type: Option<String>,
    },
    #[serde(rename = "copyFile")]
    Copy {
        path: String,
        xet_hash: String,
        mtime: Option<i64>,
        source_repo_type: String,
        source_repo_id: String,
    },
    #[serde(rename = "deleteFile")]
    Delete { path: String },
}

impl Line {
    pub(super) fn path(&self) -> &str {
        match self {
            Self::Add { path, .. } | Self::Copy { path, .. } | Self::Delete { path } => path,
        }
    }

    /// A path that the Hub cannot hold is 422, a malformed hash 400.
    fn check(&self) -> Result<(), Refusal> {
        if !is_path(self.path()) {
            let message = format!("Invalid path: {:?}", self.path());
            return Err(Refusal::unprocessable(message));
        }
        match self {
            Self::Add { xet_hash, .. } | Self::Copy { xet_hash, .. } if !is_hash(xet_hash) => {
                let message = format!("Invalid xetHash: {xet_hash:?}");
                Err(Refusal::bad_request(message))
            }
            Self::Add { .. } | Self::Copy { .. } | Self::Delete { .. } => Ok(()),
        }
    }
}

/// Parses a body and checks what must hold for all of it: number and order of the lines, paths, and hashes.
pub(super) fn parse(body: &[u8]) -> Result<Vec<Line>, Refusal> {
    let mut lines: Vec<Line> = Vec::new();
    let mut deletes = false;
    for (index, text) in body.split(|byte| *byte == b'\n').enumerate() {
        if text.trim_ascii().is_empty() {
            continue;
        }
        let line: Line = serde_json::from_slice(text)
            .map_err(|error| Refusal::bad_request(format!("line {}: {error}", index + 1)))?;
        if lines.len() == MAX_LINES {
            return Err(Refusal::bad_request(format!(
                "more than {MAX_LINES} operations"
            )));
        }
        line.check()?;
        match &line {
            Line::Delete { .. } => deletes = true,
            Line::Add { .. } | Line::Copy { .. } if deletes => {
                let message = "addFile and copyFile must precede deleteFile";
                return Err(Refusal::bad_request(message));
            }
            Line::Add { .. } | Line::Copy { .. } => {}
        }
        lines.push(line);
    }
    if lines.is_empty() {
        return Err(Refusal::bad_request("no operations"));
    }
    Ok(lines)
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Forbidden: empty, leading or trailing `/`, `//`, `../`, a leading `./`, a trailing `..`, `\`, NUL.
fn is_path(path: &str) -> bool {
    !(path.is_empty()
        || path.starts_with('/')
        || path.ends_with('/')
        || path.contains("//")
        || path.contains("../")
        || path.starts_with("./")
        || path.ends_with("..")
        || path.contains(['\\', '\0']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_the_hub_cannot_hold_are_refused() {
        for path in ["a", "a/b", ".hidden", "a b#?%", "a..b", "ü"] {
            assert!(is_path(path), "{path}");
        }
        for path in [
            "", "/a", "a/", "a//b", "../a", "a/../b", "./a", "a/..", "a\\b", "a\0",
        ] {
            assert!(!is_path(path), "{path}");
        }
    }

    #[test]
    fn a_delete_may_not_precede_an_add() {
        let add = format!(
            r#"{{"type":"addFile","path":"a","xetHash":"{}"}}"#,
            "0".repeat(64)
        );
        let delete = r#"{"type":"deleteFile","path":"a"}"#;
        assert_eq!(
            parse(format!("{add}\n{delete}\n").as_bytes())
                .unwrap()
                .len(),
            2
        );
        assert!(parse(format!("{delete}\n{add}").as_bytes()).is_err());
    }

    #[test]
    fn at_most_a_thousand_lines_are_taken() {
        let delete = "{\"type\":\"deleteFile\",\"path\":\"a\"}\n";
        assert!(parse(delete.repeat(1000).as_bytes()).is_ok());
        assert!(parse(delete.repeat(1001).as_bytes()).is_err());
    }
}
