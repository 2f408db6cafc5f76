//! The text of the configuration file, changed entry by entry: comments, order, and spaces of all else stay.

use std::fmt;

use toml_edit::{ArrayOfTables, DocumentMut, Item, Table};

use crate::app::Failure;
use crate::config::ConfigError;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `[[s3_credentials]]`
    S3,
    /// `[[ftp_users]]`
    Ftp,
}

impl Kind {
    const ALL: [Self; 2] = [Self::S3, Self::Ftp];

    /// The key of the list in the file.
    fn list(self) -> &'static str {
        match self {
            Self::S3 => "s3_credentials",
            Self::Ftp => "ftp_users",
        }
    }

    /// The key of the name in an entry.
    fn name(self) -> &'static str {
        match self {
            Self::S3 => "access_key_id",
            Self::Ftp => "name",
        }
    }

    /// What people call it.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::S3 => "the S3 credential",
            Self::Ftp => "the FTP user",
        }
    }
}

/// Keys of an entry that are shown: none of them holds a secret.
const SHOWN: [&str; 8] = [
    "rights",
    "root",
    "buckets",
    "manages_buckets",
    "namespace",
    "hub_token_file",
    "expires",
    "source_networks",
];

/// A configuration file as a text with structure.
#[derive(Debug, Default)]
pub(super) struct Document(DocumentMut);

impl Document {
    /// Reads the text.
    ///
    /// Errors: it is not TOML. The text itself is not quoted, since it may hold secrets.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        text.parse()
            .map(Self)
            .map_err(|error: toml_edit::TomlError| {
                let line = error.span().and_then(|span| text.get(..span.start));
                let line = line.map_or(1, |before| before.matches('\n').count() + 1);
                let problem = error.message().replace('\n', ", ");
                refused(format!("the configuration file, line {line}: {problem}"))
            })
    }

    /// Adds an entry behind all others of its kind.
    ///
    /// Errors: there is one of this name already, of either kind, or the list is not written as `[[…]]`.
    pub(super) fn add(&mut self, kind: Kind, name: &str, table: Table) -> Result<(), Failure> {
        for other in Kind::ALL {
            if self.position(other, name)?.is_some() {
                return Err(refused(format!(
                    "{} `{name}` is there already",
                    other.noun()
                )));
            }
        }
        let list = self
            .0
            .entry(kind.list())
            .or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
        let list = list
            .as_array_of_tables_mut()
            .ok_or_else(|| not_a_list(kind))?;
        let mut table = table;
        if list.is_empty() {
            table.decor_mut().set_prefix("\n");
        }
        list.push(table);
        Ok(())
    }

    /// Removes the entry of this name, with the comments that stand right above it, and returns what it was.
    ///
    /// Errors: there is none, or there are two.
    pub(super) fn revoke(&mut self, name: &str) -> Result<Kind, Failure> {
        let mut found = Vec::new();
        for kind in Kind::ALL {
            found.extend(self.position(kind, name)?.map(|at| (kind, at)));
        }
        let [(kind, at)] = found[..] else {
            let problem = match found.is_empty() {
                true => format!("there is no credential or user `{name}`"),
                false => format!(
                    "there is an S3 credential and an FTP user `{name}`: remove one by hand"
                ),
            };
            return Err(refused(problem));
        };
        let mut above = String::new();
        if let Some(list) = self.list_mut(kind)? {
            let prefix = list
                .get(at)
                .and_then(|table| table.decor().prefix()?.as_str());
            above = apart_from_the_entry(prefix.unwrap_or_default()).to_owned();
            list.remove(at);
            if let Some(next) = list.get_mut(at) {
                prepend(next, &above);
                above.clear();
            }
            if list.is_empty() {
                self.0.remove(kind.list());
            }
        }
        if !above.is_empty() {
            let trailing = self.0.trailing().as_str().unwrap_or_default().to_owned();
            self.0.set_trailing(format!("{above}{trailing}"));
        }
        Ok(kind)
    }

    /// Returns a line for each entry: kind, name, and what it may do.
    pub(super) fn listing(&self) -> String {
        let mut lines = String::new();
        for kind in Kind::ALL {
            let Some(list) = self.0.get(kind.list()) else {
                continue;
            };
            let entries: Vec<&dyn toml_edit::TableLike> = match list {
                Item::ArrayOfTables(tables) => tables.iter().map(|table| table as _).collect(),
                other => {
                    let inline = other.as_array().into_iter().flatten();
                    inline
                        .filter_map(|one| one.as_inline_table().map(|table| table as _))
                        .collect()
                }
            };
            for entry in entries {
                let text = |key: &str| {
                    let shown = entry.get(key)?.to_string();
                    Some(format!("{key}={}", shown.trim()))
                };
                let name = entry.get(kind.name()).and_then(Item::as_str).unwrap_or("?");
                let own_token = entry.get("hub_token").map(|_| "hub_token=(set)".to_owned());
                let grants = entry.get("grants").map(|grants| {
                    let count = grants.as_array_of_tables().map_or(1, ArrayOfTables::len);
                    format!("grants={count}")
                });
                let facts = SHOWN
                    .into_iter()
                    .filter_map(text)
                    .chain(own_token)
                    .chain(grants);
                let facts: Vec<String> = facts.collect();
                let protocol = if kind == Kind::S3 { "s3 " } else { "ftp" };
                lines.push_str(&format!("{protocol}  {name}  {}", facts.join("  ")));
                lines.truncate(lines.trim_end().len());
                lines.push('\n');
            }
        }
        lines
    }

    fn position(&self, kind: Kind, name: &str) -> Result<Option<usize>, Failure> {
        let Some(list) = self.0.get(kind.list()) else {
            return Ok(None);
        };
        let list = list.as_array_of_tables().ok_or_else(|| not_a_list(kind))?;
        let is_named = |table: &Table| table.get(kind.name()).and_then(Item::as_str) == Some(name);
        Ok(list.iter().position(is_named))
    }

    fn list_mut(&mut self, kind: Kind) -> Result<Option<&mut ArrayOfTables>, Failure> {
        let Some(list) = self.0.get_mut(kind.list()) else {
            return Ok(None);
        };
        list.as_array_of_tables_mut()
            .map(Some)
            .ok_or_else(|| not_a_list(kind))
    }
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Returns what stands above an entry and is about something else: everything up to the last empty line.
fn apart_from_the_entry(prefix: &str) -> &str {
    let end = prefix.rfind("\n\n").map_or(0, |at| at + 1);
    let above = &prefix[..end];
    if above.trim().is_empty() { "" } else { above }
}

fn prepend(table: &mut Table, above: &str) {
    let own = table.decor().prefix().and_then(|prefix| prefix.as_str());
    let joined = format!("{above}{}", own.unwrap_or_default());
    table.decor_mut().set_prefix(joined);
}

fn not_a_list(kind: Kind) -> Failure {
    let list = kind.list();
    refused(format!(
        "`{list}` is not written as [[{list}]] tables, so it can only be changed by hand"
    ))
}

fn refused(sentence: String) -> Failure {
    ConfigError::new(sentence).into()
}
