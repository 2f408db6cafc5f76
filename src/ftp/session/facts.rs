//! Facts about a file or directory, as the engine tells them: `type=file;size=3;modify=20260304050607; /path`.

use crate::ftp::reply::Reply;

/// What is known of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    /// Whether it is a directory.
    pub(super) is_directory: bool,
    /// Its size in bytes; 0 for a directory.
    pub(super) size: u64,
    /// When it was modified, in UTC: `YYYYMMDDhhmmss`. Nothing if that is not known.
    pub(super) modified: Option<String>,
}

impl Facts {
    /// Reads the engine's reply to MLST, or returns nothing if it holds no facts.
    pub(super) fn read(reply: &Reply) -> Option<Self> {
        let line = reply.lines().iter().find(|line| line.contains("type="))?;
        let (facts, _) = line.trim_start().split_once(' ')?;
        let fact = |name: &str| {
            let mut facts = facts.split(';').filter_map(|fact| fact.split_once('='));
            facts
                .find(|(found, _)| *found == name)
                .map(|(_, value)| value)
        };
        Some(Self {
            is_directory: fact("type")? != "file",
            size: fact("size")?.parse().ok()?,
            modified: fact("modify").map(str::to_owned),
        })
    }

    /// Returns the facts as MLST shows them, without the path.
    pub(super) fn show(&self) -> String {
        let mut text = if self.is_directory {
            "type=dir;".to_owned()
        } else {
            format!("type=file;size={};", self.size)
        };
        if let Some(modified) = &self.modified {
            text.push_str(&format!("modify={modified};"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(line: &str) -> Reply {
        Reply::listing(250, " Listing", [line.to_owned()], "End")
    }

    #[test]
    fn facts_are_read_and_shown() {
        let file = Facts::read(&reply(
            "  type=file;size=3;modify=20260304050607; /a type=dir;",
        ));
        let file = file.unwrap();
        assert_eq!(file.size, 3);
        assert_eq!(file.show(), "type=file;size=3;modify=20260304050607;");
        let directory = Facts::read(&reply("type=dir;size=0; /a")).unwrap();
        assert!(directory.is_directory);
        assert_eq!(directory.show(), "type=dir;");
    }

    #[test]
    fn what_holds_no_facts_gives_none() {
        assert_eq!(Facts::read(&Reply::new(550, "no such file")), None);
        assert_eq!(Facts::read(&reply("type=file; /a")), None);
    }
}
