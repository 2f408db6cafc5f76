//! What the command line says of a credential.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use toml_edit::{Array, Table, value};

use crate::app::Failure;
use crate::config::ConfigError;

/// Arguments of `hugbucket credentials`.
#[derive(Debug, Clone, Args)]
pub struct CredentialsArguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Add a credential; its secret is made here, and shown this once.
    Add(Add),
    /// List credentials and users, without their secrets.
    List,
    /// Remove a credential or a user; with it end the temporary credentials that it has issued.
    Revoke {
        /// Access key id, or name of an FTP user.
        name: String,
    },
}

#[derive(Debug, Clone, Args)]
struct Add {
    #[command(subcommand)]
    what: New,
}

#[derive(Debug, Clone, Subcommand)]
enum New {
    /// An S3 key.
    S3(NewS3),
    /// An FTP user; the file gets the Argon2 hash of the password.
    Ftp(NewUser),
}

/// A new S3 key.
#[derive(Debug, Clone, Args)]
pub(super) struct NewS3 {
    /// The access key id; by default, a new one is made.
    #[arg(long)]
    pub(super) id: Option<String>,
    #[command(flatten)]
    pub(super) limits: Limits,
}

/// A new FTP user.
#[derive(Debug, Clone, Args)]
pub(super) struct NewUser {
    /// The name to log in with.
    pub(super) name: String,
    #[command(flatten)]
    pub(super) limits: Limits,
}

/// What the new one is entitled to.
#[derive(Debug, Clone, Args)]
pub(super) struct Limits {
    /// `all`, `read-only`, or a comma list of `read`, `write`, `delete`, `list`, `create-bucket`, `delete-bucket`; by default, `all`.
    #[arg(long)]
    rights: Option<String>,
    /// The only place that it may touch, and what an FTP user sees as /: `bucket`, or `bucket/directory`.
    #[arg(long)]
    root: Option<String>,
    /// A bucket that it may name; may be given several times. By default, all of them.
    #[arg(long = "bucket", value_name = "BUCKET")]
    buckets: Vec<String>,
    /// The moment from which on it is refused, such as 2027-01-01T00:00:00Z.
    #[arg(long, value_name = "MOMENT")]
    expires: Option<String>,
    /// A network that it is accepted from, such as 10.0.0.0/8; may be given several times. By default, all of them.
    #[arg(long = "source-network", value_name = "NETWORK")]
    source_networks: Vec<String>,
    /// File with a Hub token of its own.
    #[arg(long, value_name = "FILE")]
    hub_token_file: Option<PathBuf>,
    /// The namespace whose buckets it sees.
    #[arg(long)]
    namespace: Option<String>,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Action {
    AddS3(NewS3),
    AddFtp(NewUser),
    List,
    Revoke { name: String },
}

impl CredentialsArguments {
    /// Returns what is to be done.
    pub(super) fn into_action(self) -> Action {
        match self.what {
            What::Add(Add { what: New::S3(new) }) => Action::AddS3(new),
            What::Add(Add {
                what: New::Ftp(new),
            }) => Action::AddFtp(new),
            What::List => Action::List,
            What::Revoke { name } => Action::Revoke { name },
        }
    }
}

impl Limits {
    /// Writes the keys that were given into the table of the new entry.
    ///
    /// Errors: a path that is no text.
    pub(super) fn write_to(&self, table: &mut Table) -> Result<(), Failure> {
        match self.rights.as_deref() {
            None => {}
            Some(word @ ("all" | "read-only")) => {
                table.insert("rights", value(word));
            }
            Some(list) => {
                let rights = list.split(',').map(str::trim);
                table.insert("rights", value(rights.collect::<Array>()));
            }
        }
        let texts = [("root", &self.root), ("namespace", &self.namespace)];
        for (key, text) in texts {
            if let Some(text) = text {
                table.insert(key, value(text));
            }
        }
        if let Some(text) = &self.expires {
            // What is no datetime is judged, and named, by whoever reads the entry.
            let moment = text.parse::<toml_edit::Datetime>();
            table.insert("expires", moment.map_or_else(|_| value(text), value));
        }
        let lists = [
            ("buckets", &self.buckets),
            ("source_networks", &self.source_networks),
        ];
        for (key, list) in lists {
            if !list.is_empty() {
                table.insert(key, value(list.iter().collect::<Array>()));
            }
        }
        if let Some(path) = &self.hub_token_file {
            let text = path
                .to_str()
                .ok_or_else(|| ConfigError::new(format!("{} is not UTF-8", path.display())))?;
            table.insert("hub_token_file", value(text));
        }
        Ok(())
    }
}
