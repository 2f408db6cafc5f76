//! Who may log in: S3 credentials and FTP users.

use std::collections::BTreeSet;
use std::path::Path;

use argon2::password_hash::phc::PasswordHash;

use crate::config::entitlement::entitlement;
use crate::config::error::ConfigError;
use crate::config::file::FtpUserEntry;
use crate::config::source::{Origin, Values, read_secret_file};
use crate::storage::{Entitlement, Secret, StoredPassword};

/// An S3 access key with its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Credential {
    /// The public half; fit for logs.
    pub access_key_id: String,
    /// The secret half, which signs requests.
    pub secret: Secret,
    /// What it may do.
    pub entitlement: Entitlement,
    /// Whether it is the well-known credential of the development Hub, and may therefore be shown.
    pub is_built_in: bool,
}

/// An FTP user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FtpUser {
    /// The name the user logs in with; fit for logs.
    pub name: String,
    /// What the password is checked against.
    pub password: StoredPassword,
    /// What the user may do.
    pub entitlement: Entitlement,
    /// Whether it is the well-known user of the development Hub, whose password may be shown.
    pub is_built_in: bool,
}

/// Returns the S3 credentials: first that of the environment, then those of the file. Empty if there is none.
///
/// The development Hub's own credential counts only if nobody gave another one.
///
/// Errors: half a credential, or two with the same access key id.
pub fn s3_credentials(values: &Values) -> Result<Vec<S3Credential>, ConfigError> {
    let mut credentials = Vec::new();
    let first = pair(values, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")?;
    if let Some((access_key_id, secret, is_given)) = first
        && (is_given || values.file.s3_credentials.is_empty())
    {
        credentials.push(S3Credential {
            access_key_id,
            secret,
            entitlement: Entitlement::default(),
            is_built_in: !is_given,
        });
    }
    for entry in &values.file.s3_credentials {
        credentials.push(S3Credential {
            secret: entry_secret(
                values,
                &format!("secret_access_key of `{}`", entry.access_key_id),
                entry.secret_access_key.as_deref(),
                entry.secret_access_key_file.as_deref(),
            )?,
            access_key_id: entry.access_key_id.clone(),
            entitlement: entitlement(
                values,
                &format!("S3 credential `{}`", entry.access_key_id),
                &entry.entitlement,
            )?,
            is_built_in: false,
        });
    }
    let ids = credentials.iter().map(|one| one.access_key_id.as_str());
    refuse_doubles("access key id", ids)?;
    Ok(credentials)
}

/// Returns the FTP users: first that of the environment, then those of the file. Empty if there is none.
///
/// Errors: a name without a password, a password without a name, or two users of the same name.
pub fn ftp_users(values: &Values) -> Result<Vec<FtpUser>, ConfigError> {
    let mut users = Vec::new();
    let first = pair(values, "FTP_USERNAME", "FTP_PASSWORD")?;
    if let Some((name, password, is_given)) = first
        && (is_given || values.file.ftp_users.is_empty())
    {
        users.push(FtpUser {
            name,
            password: StoredPassword::Plain(password),
            entitlement: Entitlement::default(),
            is_built_in: !is_given,
        });
    }
    for entry in &values.file.ftp_users {
        users.push(FtpUser {
            password: stored_password(values, entry)?,
            name: entry.name.clone(),
            entitlement: entitlement(
                values,
                &format!("FTP user `{}`", entry.name),
                &entry.entitlement,
            )?,
            is_built_in: false,
        });
    }
    refuse_doubles("FTP user", users.iter().map(|one| one.name.as_str()))?;
    Ok(users)
}

/// Returns a public name, its secret, and whether somebody gave them. Half a pair is refused: completed with a default
/// it would be a credential that nobody meant.
fn pair(
    values: &Values,
    name: &str,
    secret: &str,
) -> Result<Option<(String, Secret, bool)>, ConfigError> {
    let (given, missing) = match (values.is_given(name), values.is_given(secret)) {
        (true, false) => (name, secret),
        (false, true) => (secret, name),
        (is_given, _) => {
            let (name, secret) = (&values.get(name).text, &values.get(secret).text);
            let pair = (name.expose().to_owned(), secret.clone(), is_given);
            return Ok((!name.is_empty()).then_some(pair));
        }
    };
    let origin = &values.get(given).origin;
    Err(ConfigError::new(format!(
        "{origin} is set, but {missing} is not"
    )))
}

/// Returns a secret of a table of the file, given directly or by the path of a file.
///
/// Errors: it is missing, empty, given twice, or its file cannot be read.
pub(super) fn entry_secret(
    values: &Values,
    what: &str,
    direct: Option<&str>,
    path: Option<&str>,
) -> Result<Secret, ConfigError> {
    let file = values.file_path.clone().unwrap_or_default();
    let refuse = |problem: &str| {
        let file = file.display();
        Err(ConfigError::new(format!("{file}: the {what} {problem}")))
    };
    match (direct, path) {
        (Some(""), None) => refuse("is empty"),
        (Some(text), None) => Ok(Secret::new(text)),
        (None, Some(path)) => {
            let origin = Origin::File(file.clone(), format!("{what} (file)"));
            read_secret_file(Path::new(path), &origin).map(Secret::new)
        }
        (Some(_), Some(_)) => refuse("is given twice, directly and by file"),
        (None, None) => refuse("is missing"),
    }
}

/// Returns what a user's password is checked against: the password itself, or an Argon2 hash of it in PHC form.
fn stored_password(values: &Values, entry: &FtpUserEntry) -> Result<StoredPassword, ConfigError> {
    let what = format!("password of `{}`", entry.name);
    let Some(hash) = &entry.password_hash else {
        let (direct, path) = (entry.password.as_deref(), entry.password_file.as_deref());
        return entry_secret(values, &what, direct, path).map(StoredPassword::Plain);
    };
    let refuse = |problem| Err(refused_entry(values, &format!("the {what} {problem}")));
    if entry.password.is_some() || entry.password_file.is_some() {
        return refuse("is given twice, by hash and otherwise");
    }
    if PasswordHash::new(hash).is_err() || !hash.starts_with("$argon2") {
        return refuse(
            "has a hash that is not one of Argon2, such as $argon2id$v=19$m=19456,t=2,p=1$…",
        );
    }
    Ok(StoredPassword::Argon2(Secret::new(hash)))
}

/// Returns the error of something wrong in a table of the file.
pub(super) fn refused_entry(values: &Values, sentence: &str) -> ConfigError {
    let file = values.file_path.clone().unwrap_or_default();
    ConfigError::new(format!("{}: {sentence}", file.display()))
}

fn refuse_doubles<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<(), ConfigError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if name.is_empty() {
            return Err(ConfigError::new(format!("an {what} is empty")));
        }
        if !seen.insert(name) {
            return Err(ConfigError::new(format!(
                "the {what} `{name}` is given twice"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::storage::{BucketName, Rights};

    fn values(file: &str, pairs: &[(&str, &str)]) -> Values {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hugbucket.toml");
        std::fs::write(&path, file).unwrap();
        let environment = pairs
            .iter()
            .map(|(name, text)| ((*name).into(), (*text).into()))
            .collect();
        Values::gather(&environment, &BTreeMap::new(), Some(&path)).unwrap()
    }

    #[test]
    fn the_development_credential_is_there_without_a_token_only() {
        let built_in = s3_credentials(&values("", &[])).unwrap();
        assert_eq!(built_in.len(), 1);
        assert_eq!(built_in[0].access_key_id, "hugbucket");
        assert!(built_in[0].is_built_in);
        assert_eq!(
            s3_credentials(&values("", &[("HF_TOKEN", "x")])).unwrap(),
            []
        );
        assert_eq!(ftp_users(&values("", &[("HF_TOKEN", "x")])).unwrap(), []);
    }

    #[test]
    fn given_credentials_take_the_development_credentials_place() {
        let own = [("AWS_ACCESS_KEY_ID", "own"), ("AWS_SECRET_ACCESS_KEY", "s")];
        let from_environment = s3_credentials(&values("", &own)).unwrap();
        assert_eq!(from_environment.len(), 1);
        assert!(!from_environment[0].is_built_in);

        let file = "[[s3_credentials]]\naccess_key_id = \"ci\"\nsecret_access_key = \"s\"\nrights = \"read-only\"";
        let from_file = s3_credentials(&values(file, &[])).unwrap();
        assert_eq!(from_file.len(), 1);
        assert_eq!(
            (
                from_file[0].access_key_id.as_str(),
                &from_file[0].entitlement.rights
            ),
            ("ci", &Rights::ReadOnly)
        );
        assert_eq!(s3_credentials(&values(file, &own)).unwrap().len(), 2);
    }

    #[test]
    fn a_credential_may_be_confined() {
        let file = "[[s3_credentials]]\naccess_key_id = \"ci\"\nsecret_access_key = \"s\"\nroot = \"data/in\"";
        let confined = s3_credentials(&values(file, &[]))
            .unwrap()
            .remove(0)
            .entitlement
            .reach;
        assert_eq!(
            (&*confined.root, confined.manages_buckets),
            ("data/in", false)
        );
        let refused = s3_credentials(&values(&file.replace("data/in", "data/../x"), &[]));
        let sentence = refused.unwrap_err().to_string();
        assert!(
            sentence
                .ends_with("the S3 credential `ci` has the root `data/../x`, which cannot exist"),
            "{sentence}"
        );
    }

    #[test]
    fn half_a_credential_is_refused() {
        let refused = s3_credentials(&values("", &[("AWS_ACCESS_KEY_ID", "own")])).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not"
        );
        assert!(ftp_users(&values("", &[("FTP_PASSWORD", "p")])).is_err());
        let entry = values("[[s3_credentials]]\naccess_key_id = \"ci\"", &[]);
        let refused = s3_credentials(&entry).unwrap_err().to_string();
        assert!(
            refused.ends_with("the secret_access_key of `ci` is missing"),
            "{refused}"
        );
    }

    fn user(entry: &str) -> Result<FtpUser, String> {
        let file = format!("[[ftp_users]]\nname = \"ann\"\n{entry}");
        let users = ftp_users(&values(&file, &[("HF_TOKEN", "x")]));
        users
            .map(|users| users[0].clone())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_user_may_be_confined() {
        let ann = user(
            "password = \"p\"\nrights = \"read-only\"\nroot = \"/data/in/\"\nbuckets = [\"data\", \"more\"]",
        )
        .unwrap();
        let Entitlement { rights, reach, .. } = ann.entitlement;
        assert_eq!(rights, Rights::ReadOnly);
        assert_eq!(&*reach.root, "data/in");
        assert!(!reach.manages_buckets);
        assert!(reach.includes(&BucketName::new("more").unwrap()));
        assert!(!reach.includes(&BucketName::new("other").unwrap()));
        assert_eq!(
            user("password = \"p\"").unwrap().entitlement,
            Entitlement::default()
        );
        assert!(
            !user("password = \"p\"\nmanages_buckets = false")
                .unwrap()
                .entitlement
                .reach
                .manages_buckets
        );
    }

    #[test]
    fn a_password_may_be_an_argon2_hash() {
        let hash = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$mXXp0EQ1BhLc/aDdj2Pfyw";
        let ann = user(&format!("password_hash = \"{hash}\"")).unwrap();
        assert_eq!(ann.password, StoredPassword::Argon2(Secret::new(hash)));
        assert!(!format!("{ann:?}").contains("argon2id"));
        for (entry, problem) in [
            ("password_hash = \"hush\"", "not one of Argon2"),
            ("password_hash = \"$2b$12$x\"", "not one of Argon2"),
            (
                &format!("password = \"p\"\npassword_hash = \"{hash}\""),
                "is given twice",
            ),
            ("", "is missing"),
            ("password = \"p\"\nroot = \"data/../x\"", "cannot exist"),
            ("password = \"p\"\nbuckets = [\"a/b\"]", "cannot exist"),
        ] {
            let refused = user(entry).unwrap_err();
            assert!(
                refused.contains(problem) && !refused.contains("hush"),
                "{refused}"
            );
        }
    }

    #[test]
    fn an_access_key_id_is_given_once() {
        let file = "[[s3_credentials]]\naccess_key_id = \"own\"\nsecret_access_key = \"t\"";
        let own = [("AWS_ACCESS_KEY_ID", "own"), ("AWS_SECRET_ACCESS_KEY", "s")];
        let refused = s3_credentials(&values(file, &own)).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the access key id `own` is given twice"
        );
    }
}
