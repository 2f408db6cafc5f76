//! The configuration file: TOML with the settings as top-level keys, lists of credentials, users, and CORS rules, and the table
//! of buckets with undo.
//!
//! ```toml
//! namespace = "my-org"
//! file_info_cache_ttl = "10 s"
//!
//! [[s3_credentials]]
//! access_key_id = "ci-runner"
//! secret_access_key_file = "/run/secrets/ci-runner"
//! rights = "read-only"
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::config::entitlement::EntitlementEntry;
use crate::config::error::ConfigError;
use crate::config::setting::{self, Setting};

/// What a configuration file holds.
#[derive(Debug, Default)]
pub struct FileContents {
    /// Settings by the key in the file: the setting, whether the value is the name of a file with the value, the text.
    pub values: Vec<FileValue>,
    /// S3 credentials beyond the first.
    pub s3_credentials: Vec<S3CredentialEntry>,
    /// FTP users beyond the first.
    pub ftp_users: Vec<FtpUserEntry>,
    /// CORS of single buckets.
    pub cors_rules: Vec<CorsRuleEntry>,
    /// How long what is overwritten or deleted is kept, by bucket.
    pub undo: BTreeMap<String, String>,
}

/// A setting in a configuration file.
pub struct FileValue {
    /// Which one.
    pub setting: &'static Setting,
    /// The key as written.
    pub key: String,
    /// Whether `text` is the path of a file with the value (a key ending in `_file`).
    pub is_path: bool,
    /// The value.
    pub text: String,
}

impl std::fmt::Debug for FileValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileValue({})", self.key) // The text may be a secret.
    }
}

/// A `[[s3_credentials]]` table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3CredentialEntry {
    /// The public half of the credential.
    pub access_key_id: String,
    /// The secret half; this or the next is given.
    pub secret_access_key: Option<String>,
    /// Path of a file with the secret half.
    pub secret_access_key_file: Option<String>,
    /// Requests in flight at most; 0 for no limit. By default, as for everybody.
    pub max_requests: Option<usize>,
    /// Bytes a second of all its downloads together, such as `50 MiB`; `0` for no limit.
    pub download_rate: Option<String>,
    /// The same of uploads.
    pub upload_rate: Option<String>,
    /// What it may do: the other keys of the table.
    #[serde(skip)]
    pub entitlement: EntitlementEntry,
}

/// A `[[ftp_users]]` table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FtpUserEntry {
    /// The name the user logs in with.
    pub name: String,
    /// The password; one of this and the next two is given.
    pub password: Option<String>,
    /// Path of a file with the password.
    pub password_file: Option<String>,
    /// Argon2 hash of the password, in PHC form: `$argon2id$…`.
    pub password_hash: Option<String>,
    /// Requests in flight at most; 0 for no limit. By default, as for everybody.
    pub max_requests: Option<usize>,
    /// Bytes a second of all its downloads together, such as `50 MiB`; `0` for no limit.
    pub download_rate: Option<String>,
    /// The same of uploads.
    pub upload_rate: Option<String>,
    /// What it may do: the other keys of the table.
    #[serde(skip)]
    pub entitlement: EntitlementEntry,
}

/// A `[[cors_rules]]` table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorsRuleEntry {
    /// The bucket, as clients name it.
    pub bucket: String,
    /// Origins of the pages that may use it, each with at most one `*`.
    pub origins: Vec<String>,
    /// Methods that they may use, in capital letters.
    pub methods: Vec<String>,
    /// Headers that their requests may have, each with at most one `*`.
    #[serde(default)]
    pub headers: Vec<String>,
    /// Headers of the answers that they may read.
    #[serde(default)]
    pub expose: Vec<String>,
    /// How long a browser may remember that it asked.
    pub max_age: Option<String>,
}

impl std::fmt::Debug for S3CredentialEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "S3CredentialEntry({})", self.access_key_id)
    }
}

impl std::fmt::Debug for FtpUserEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FtpUserEntry({})", self.name)
    }
}

/// Reads a configuration file.
///
/// Errors: the file cannot be read, is not TOML, or has a key or a type of value that is not known.
pub fn read(path: &Path) -> Result<FileContents, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        ConfigError::new(format!(
            "cannot read the configuration file {}: {error}",
            path.display()
        ))
    })?;
    parse(&text).map_err(|problem| ConfigError::new(format!("{}: {problem}", path.display())))
}

fn parse(text: &str) -> Result<FileContents, String> {
    let table: toml::Table = text.parse().map_err(|error| located(&error, text))?;
    let mut contents = FileContents::default();
    for (key, value) in table {
        match key.as_str() {
            "s3_credentials" => {
                contents.s3_credentials =
                    entitled(&key, value, |entry: &mut S3CredentialEntry| {
                        &mut entry.entitlement
                    })?;
            }
            "ftp_users" => {
                contents.ftp_users = entitled(&key, value, |entry: &mut FtpUserEntry| {
                    &mut entry.entitlement
                })?;
            }
            "cors_rules" => contents.cors_rules = list(&key, value)?,
            "undo" => contents.undo = list(&key, value)?,
            _ => contents.values.push(setting_value(key, &value)?),
        }
    }
    Ok(contents)
}

/// Puts the line in front of a syntax error, on one line. The library's own rendering quotes the source, which may hold
/// a secret.
fn located(error: &toml::de::Error, text: &str) -> String {
    let line = error
        .span()
        .and_then(|span| text.get(..span.start))
        .map_or(1, |before| before.matches('\n').count() + 1);
    format!("line {line}: {}", error.message().replace('\n', ", "))
}

fn list<T: serde::de::DeserializeOwned>(key: &str, value: toml::Value) -> Result<T, String> {
    value
        .try_into()
        .map_err(|error: toml::de::Error| format!("`{key}`: {}", error.message()))
}

/// Reads tables of which some keys say what somebody is entitled to: these are taken out and read by themselves.
fn entitled<T: serde::de::DeserializeOwned>(
    key: &str,
    value: toml::Value,
    place: impl Fn(&mut T) -> &mut EntitlementEntry,
) -> Result<Vec<T>, String> {
    let tables: Vec<toml::Table> = list(key, value)?;
    let read = |mut table: toml::Table| {
        let shared = EntitlementEntry::KEYS.into_iter();
        let shared: toml::Table = shared.filter_map(|key| table.remove_entry(key)).collect();
        let mut entry: T = one(key, table)?;
        *place(&mut entry) = one(key, shared)?;
        Ok(entry)
    };
    tables.into_iter().map(read).collect()
}

fn one<T: serde::de::DeserializeOwned>(key: &str, table: toml::Table) -> Result<T, String> {
    table
        .try_into()
        .map_err(|error: toml::de::Error| format!("`{key}`: {}", error.message()))
}

fn setting_value(key: String, value: &toml::Value) -> Result<FileValue, String> {
    let found = setting::of_key(&key).map(|setting| (setting, false));
    let by_path = || {
        let setting = setting::of_key(key.strip_suffix("_file")?)?;
        setting.file_variable().map(|_| (setting, true))
    };
    let (setting, is_path) = found
        .or_else(by_path)
        .ok_or_else(|| format!("unknown key `{key}`"))?;
    let text = text_of(value).ok_or_else(|| {
        format!("`{key}` must be a string, a number, true or false, or a list of strings")
    })?;
    Ok(FileValue {
        setting,
        key,
        is_path,
        text,
    })
}

/// Returns a scalar as text, and a list of strings as a comma list.
fn text_of(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(switch) => Some(switch.to_string()),
        toml::Value::Array(items) => {
            let texts: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
            Some(texts?.join(","))
        }
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_and_lists_become_texts() {
        let contents = parse(
            "s3_addr = \"127.0.0.1:1\"\nmax_requests = 7\nstore_checksums = true\n\
             s3_domain = [\"a.test\", \"b.test\"]\nhf_token_file = \"/run/token\"",
        )
        .unwrap();
        let found: Vec<_> = contents
            .values
            .iter()
            .map(|value| (value.setting.variable, value.is_path, value.text.as_str()))
            .collect();
        assert!(found.contains(&("HUGBUCKET_MAX_REQUESTS", false, "7")));
        assert!(found.contains(&("HUGBUCKET_STORE_CHECKSUMS", false, "true")));
        assert!(found.contains(&("HUGBUCKET_S3_DOMAIN", false, "a.test,b.test")));
        assert!(found.contains(&("HF_TOKEN", true, "/run/token")));
    }

    #[test]
    fn unknown_keys_are_refused_at_every_level() {
        for (text, named) in [
            ("s3_adr = \"off\"", "`s3_adr`"),
            ("s3_addr_file = \"x\"", "`s3_addr_file`"),
            ("config = \"x\"", "`config`"),
            ("[s3]\naddr = \"off\"", "`s3`"),
            (
                "[[s3_credentials]]\naccess_key_id = \"a\"\nsecret = \"b\"",
                "`secret`",
            ),
            ("[[ftp_users]]\nname = \"a\"\nrights = \"some\"", "`some`"),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.contains(named), "{problem}");
        }
    }

    #[test]
    fn a_syntax_error_names_its_line_and_quotes_nothing() {
        let problem =
            parse("s3_addr = \"off\"\naws_secret_access_key = \"hush\" \"hush\"\n").unwrap_err();
        assert!(problem.starts_with("line 2: "), "{problem}");
        assert!(
            !problem.contains("hush") && !problem.contains('\n'),
            "{problem}"
        );
    }

    #[test]
    fn debug_shows_no_secret() {
        let contents = parse(
            "aws_secret_access_key = \"hush\"\n[[s3_credentials]]\naccess_key_id = \"id\"\nsecret_access_key = \"hush\"",
        )
        .unwrap();
        assert!(!format!("{contents:?}").contains("hush"));
    }
}
